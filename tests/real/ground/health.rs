//! What other tools make of a Canary: Argo CD's own health script and kstatus' own code read the status of every stage, as the core
//! publishes it (`spec/analysis.md` 7.3). Pipelines and deployment tools wait by their answers.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use serin::api::{Canary, Phase};
use serin::rollout::{Block, publish};

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::verdict::Expectation;

/// Where Argo CD keeps its script.
const SCRIPT: &str = "resource_customizations/flagger.app/Canary/health.lua";

/// A stage with an outcome, and what both tools must say. The reason is the one of a Canary that stands well.
const STAGES: [(&str, Option<&str>, &str, &str); 18] = [
    ("Initializing", None, "Unknown", "InProgress"),
    ("Resting", Some("initialized"), "Healthy", "Current"),
    ("Resting", Some("succeeded"), "Healthy", "Current"),
    ("Resting", Some("failed"), "Degraded", "Failed"),
    ("Waiting", Some("succeeded"), "Unknown", "InProgress"),
    ("Raising", None, "Progressing", "InProgress"),
    ("Stepping", None, "Progressing", "InProgress"),
    ("WaitingPromotion", None, "Unknown", "InProgress"),
    ("Shielding", None, "Progressing", "InProgress"),
    ("Promoting", None, "Progressing", "InProgress"),
    ("Returning", None, "Progressing", "InProgress"),
    ("Finalising", None, "Progressing", "InProgress"),
    ("RollingBack", Some("failed"), "Progressing", "InProgress"),
    ("Reverting", None, "Progressing", "InProgress"),
    ("Restarting", None, "Progressing", "InProgress"),
    ("HoldOnCanary", Some("failed"), "Degraded", "Failed"),
    ("Restoring", Some("failed"), "Progressing", "InProgress"),
    ("Leaving", Some("succeeded"), "Unknown", "Terminating"),
];

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
    for (stage, outcome, ..) in STAGES {
        objects.push(canary(stage, outcome, "Analysing")?);
    }
    // Whatever only a person can mend is a failure at once, and a spec that was just edited is not done.
    objects.push(canary("Resting", Some("succeeded"), "InvalidSpec")?);
    let mut edited = canary("Resting", Some("succeeded"), "Promoted")?;
    edited["metadata"]["generation"] = json!(8);
    objects.push(edited);
    let answers = ask(program, &script, &objects)?;
    let mut expected: Vec<(&str, &str)> = STAGES.iter().map(|(_, _, argo, kstatus)| (*argo, *kstatus)).collect();
    expected.extend([("Healthy", "Failed"), ("Healthy", "InProgress")]);
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
    Ok(vec![
        Expectation::new(
            format!(
                "Argo CD's health script and kstatus agree with the status of {} stages {wrong:?}",
                expected.len()
            ),
            all,
        ),
        Expectation::new("both have words for each of them", spoken),
    ])
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
