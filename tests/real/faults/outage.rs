//! The API server and etcd are killed and started again in the middle of releases.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::faults::scene::{Findings, Scene};
use crate::faults::trial::Trial;
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::process::{Process, Signal};

const NAMESPACE: &str = "outage";

/// How long each is away: less than a leader's claim holds, so that the same controller goes on.
const AWAY: Duration = Duration::from_secs(5);

/// How long the API server may need to answer again.
const BACK: Duration = Duration::from_mins(3);

/// How often something else changes in the namespace, see [`everyday_life`].
const EVERYDAY: Duration = Duration::from_secs(10);

/// Two releases; in each the API server and etcd go once, at different places.
pub async fn run(scene: &Scene<'_>, number: u16) -> Outcome<Findings> {
    let mut findings = Findings::default();
    let mut controller = scene.candidate(number, NAMESPACE).await?;
    let trial = scene.trial(NAMESPACE).await?;
    tokio::select! {
        outcome = releases(scene, &trial, &mut findings) => outcome?,
        () = everyday_life(&trial) => {}
    }
    controller.process.must_run()?;
    findings.expectations.push(controller.ends_cleanly().await?);
    Ok(findings)
}

async fn releases(scene: &Scene<'_>, trial: &Trial<'_>, findings: &mut Findings) -> Outcome<()> {
    let at_weight = |weight: u64| move |status: &Value| status["canaryWeight"] == weight;
    let promoting = |status: &Value| status["serin"]["stage"] == "Promoting";

    let start = trial.release("2.0.0").await?;
    trial.until("it is at 30", at_weight(30)).await?;
    lose(scene, trial, "kube-apiserver").await?;
    trial.until("it is at 60", at_weight(60)).await?;
    lose(scene, trial, "etcd").await?;
    judge(findings, scene, trial, 0, start).await?;

    let start = trial.release("3.0.0").await?;
    trial.until("it is at 30", at_weight(30)).await?;
    lose(scene, trial, "etcd").await?;
    trial.until("it promotes", promoting).await?;
    lose(scene, trial, "kube-apiserver").await?;
    judge(findings, scene, trial, 1, start).await
}

/// Another route changes now and then. Contour writes its word on a route once: when the API server was killed at just that moment, the
/// word is lost, and a canary waits for it, until something else makes Contour look at its routes again.
pub async fn everyday_life(trial: &Trial<'_>) {
    let proxies: Api<DynamicObject> = trial.api("projectcontour.io", "v1", "HTTPProxy");
    let root = format!("root-of-{}", trial.name);
    loop {
        sleep(EVERYDAY).await;
        let note = json!({ "metadata": { "annotations": { "team.example/looked-at": Utc::now().to_rfc3339() } } });
        // The API server may be away; then it is done the next time.
        let _ = proxies
            .patch(&root, &PatchParams::default(), &Patch::Merge(&note))
            .await;
    }
}

async fn judge(
    findings: &mut Findings,
    scene: &Scene<'_>,
    trial: &Trial<'_>,
    place: usize,
    start: DateTime<Utc>,
) -> Outcome<()> {
    let phase = trial.until_rest(place as u64 + 1).await?;
    findings.expect(
        format!(
            "API server and etcd killed: release {} is promoted ({phase})",
            place + 1
        ),
        phase == "Succeeded",
    );
    findings.ended(trial, place, start).await?;
    let weights = scene.ledger(NAMESPACE)?.weights(&trial.id(), start);
    // A write may be in the log of nobody: the API server was killed before it wrote it down.
    let known: Vec<_> = [0, 30, 60, 0]
        .into_iter()
        .filter(|weight| weights.contains(weight))
        .collect();
    findings.expect(
        format!("API server and etcd killed: no step is lost or made twice ({weights:?})"),
        weights == [0, 30, 60, 0] || (weights == known && weights.len() > 2),
    );
    Ok(())
}

/// Kills one of the two, waits, starts it again, and waits until the API server is ready.
async fn lose(scene: &Scene<'_>, trial: &Trial<'_>, name: &str) -> Outcome<()> {
    let cluster = scene.cluster;
    let mut process = cluster.process(name).await?;
    process.stop_by(Signal::Kill, Duration::from_secs(10)).await?;
    trial.say(&format!("loses {name}"));
    sleep(AWAY).await;
    come_back(cluster, &mut process).await?;
    trial.say(&format!("has {name} again"));
    Ok(())
}

/// Starts the API server or etcd again, and waits until the API server is ready.
pub async fn come_back(cluster: &Cluster, process: &mut Process) -> Outcome<()> {
    process.start_again()?;
    let deadline = Instant::now() + BACK;
    while !cluster.is_ready().await.unwrap_or(false) {
        process.must_run()?;
        if Instant::now() > deadline {
            return Err(format!(
                "the API server is not ready {BACK:?} after {} was started again",
                process.name
            )
            .into());
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
