//! What other tools make of a Canary: Argo CD's own health script and kstatus' own code read the status of every stage, as the core
//! publishes it (`spec/analysis.md` 7.3). Pipelines and deployment tools wait by their answers.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use serin::api::{Canary, Phase};
use serin::rollout::{Block, QUEUED, Stage, publish};

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::verdict::Expectation;

/// Where Argo CD keeps its script.
const SCRIPT: &str = "resource_customizations/flagger.app/Canary/health.lua";

/// A stage with an outcome and a reason, and what both tools must say: every stage, and every reason that changes what is said.
const STATES: [(&str, Option<&str>, &str, &str, &str); 31] = [
    ("Initializing", None, STEADY, "Unknown", "InProgress"),
    ("Resting", Some("initialized"), STEADY, "Healthy", "Current"),
    ("Resting", Some("succeeded"), STEADY, "Healthy", "Current"),
    ("Resting", Some("failed"), STEADY, "Degraded", "Failed"),
    ("Waiting", Some("succeeded"), STEADY, "Unknown", "InProgress"),
    ("Raising", None, STEADY, "Progressing", "InProgress"),
    ("Stepping", None, STEADY, "Progressing", "InProgress"),
    ("WaitingPromotion", None, STEADY, "Unknown", "InProgress"),
    ("Shielding", None, STEADY, "Progressing", "InProgress"),
    ("Promoting", None, STEADY, "Progressing", "InProgress"),
    ("Returning", None, STEADY, "Progressing", "InProgress"),
    ("Finalising", None, STEADY, "Progressing", "InProgress"),
    ("RollingBack", Some("failed"), STEADY, "Progressing", "InProgress"),
    ("Reverting", None, STEADY, "Progressing", "InProgress"),
    ("Restarting", None, STEADY, "Progressing", "InProgress"),
    ("HoldOnCanary", Some("failed"), STEADY, "Degraded", "Failed"),
    ("Restoring", Some("failed"), STEADY, "Progressing", "InProgress"),
    ("Moving", Some("succeeded"), STEADY, "Unknown", "InProgress"),
    ("Leaving", Some("succeeded"), STEADY, "Unknown", "Terminating"),
    // What waits for its turn is not done, whatever its phase.
    ("Initializing", None, QUEUED, "Unknown", "InProgress"),
    ("Resting", Some("succeeded"), QUEUED, "Healthy", "InProgress"),
    ("Waiting", Some("succeeded"), QUEUED, "Unknown", "InProgress"),
    // Nor is a primary that is being rebuilt.
    ("Resting", Some("succeeded"), "PrimaryLost", "Healthy", "InProgress"),
    (
        "Resting",
        Some("succeeded"),
        "PrimaryOvertaken",
        "Healthy",
        "InProgress",
    ),
    // Whatever only a person can mend is a failure at once.
    ("Resting", Some("succeeded"), "InvalidSpec", "Healthy", "Failed"),
    ("Resting", Some("succeeded"), "TargetTaken", "Healthy", "Failed"),
    ("Resting", Some("succeeded"), "TargetNotFound", "Healthy", "Failed"),
    ("Resting", Some("succeeded"), "Forbidden", "Healthy", "Failed"),
    ("Resting", Some("succeeded"), "KindNotServed", "Healthy", "Failed"),
    ("Initializing", None, "PrimaryNotReady", "Unknown", "Failed"),
    ("Initializing", None, "InvalidSpec", "Unknown", "Failed"),
];

/// A reason that says nothing about health.
const STEADY: &str = "Analysing";

/// What both tools say about one object.
#[derive(Debug, Deserialize)]
struct Answer {
    argo: Verdict,
    kstatus: Verdict,
}

/// What one of them says.
#[derive(Debug, Deserialize)]
struct Verdict {
    status: String,
    message: String,
}

/// Asks both about every stage.
pub fn told(cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let program = cluster.programs.place("health")?;
    let script = cluster.programs.place("argo-source")?.join(SCRIPT);
    let mut objects = Vec::new();
    for (stage, outcome, reason, ..) in STATES {
        objects.push(canary(stage, outcome, reason)?);
    }
    // A spec that was just edited is not done.
    let mut edited = canary("Resting", Some("succeeded"), "Promoted")?;
    edited["metadata"]["generation"] = json!(8);
    objects.push(edited);
    let answers = ask(program, &script, &objects)?;
    let mut expected: Vec<(&str, &str)> = STATES.iter().map(|(.., argo, kstatus)| (*argo, *kstatus)).collect();
    expected.push(("Healthy", "InProgress"));
    let mut wrong = Vec::new();
    for ((object, answer), (argo, kstatus)) in objects.iter().zip(&answers).zip(&expected) {
        if (answer.argo.status.as_str(), answer.kstatus.status.as_str()) != (*argo, *kstatus) {
            let phase = &object["status"]["phase"];
            wrong.push(format!("{phase}: {answer:?}, not {argo} and {kstatus}"));
        }
    }
    let spoken = answers.iter().all(|answer| {
        let message = &answer.argo.message;
        message.contains(" --- ") && !message.ends_with(" --- ") && !answer.kstatus.message.is_empty()
    });
    let all = answers.len() == expected.len() && wrong.is_empty();
    let told: BTreeSet<_> = STATES.iter().map(|(stage, ..)| (*stage).to_owned()).collect();
    let missing: Vec<_> = stages()?.symmetric_difference(&told).cloned().collect();
    Ok(vec![
        Expectation::new(
            format!("Other tools are asked about every stage that there is {missing:?}"),
            missing.is_empty(),
        ),
        Expectation::new(
            format!(
                "Argo CD's health script and kstatus agree with {} statuses {wrong:?}",
                expected.len()
            ),
            all,
        ),
        Expectation::new("both have words for each of them", spoken),
    ])
}

/// The names of all stages, which the core gives whoever asks for one that there is not.
fn stages() -> Outcome<BTreeSet<String>> {
    let refusal = match serde_json::from_value::<Stage>(json!("")) {
        Ok(stage) => return Err(format!("a stage without a name: {stage:?}").into()),
        Err(refusal) => refusal.to_string(),
    };
    // Every second piece stands between two quotes; the first of them is the name that was asked for.
    let quoted = refusal.split('`').skip(1).step_by(2).skip(1);
    Ok(quoted.map(str::to_owned).collect())
}

/// A Canary in a stage.
fn canary(stage: &str, outcome: Option<&str>, reason: &str) -> Outcome<Value> {
    let now: DateTime<Utc> = DateTime::from_timestamp(1_700_000_000, 0).ok_or("no time")?;
    let canary: Canary = serde_json::from_value(json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "app", "namespace": "default", "generation": 7},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "service": {"port": 80},
            "analysis": {"stepWeight": 20},
        },
    }))?;
    let traffic = matches!(stage, "Stepping" | "WaitingPromotion" | "Promoting" | "HoldOnCanary");
    let block: Block = serde_json::from_value(json!({
        "version": 1,
        "stage": stage,
        "since": now,
        "subject": {"target": "app", "apex": "app", "provider": "contour"},
        "run": 3,
        "weight": if traffic { 40 } else { 0 },
        "outcome": outcome.map(|result| json!({"result": result, "reason": "Because", "message": "of that"})),
        "why": {"reason": reason, "message": "this is why"},
    }))?;
    let status = publish(&canary, &block, now);
    let mut whole = serde_json::to_value(&canary)?;
    whole["status"] = serde_json::to_value(&status)?;
    if status.phase == Phase::Terminating {
        whole["metadata"]["deletionTimestamp"] = json!(now);
    }
    Ok(whole)
}

fn ask(program: &Path, script: &Path, objects: &[Value]) -> Outcome<Vec<Answer>> {
    let mut health = Command::new(program)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = health.stdin.take() {
        input.write_all(&serde_json::to_vec(objects)?)?;
    }
    let output = health.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{} ended with {}", program.display(), output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
