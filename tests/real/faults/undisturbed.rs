//! Two releases that nothing disturbs: what all others must come to. Then rest, at which a controller asks for nothing.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tokio::time::sleep;

use crate::faults::ledger::Request;
use crate::faults::scene::{Findings, Scene};
use crate::harness::Outcome;

const NAMESPACE: &str = "undisturbed";

/// What the last writes still bring, news of pods above all, is over after this.
const CALM: Duration = Duration::from_secs(15);

/// How long it is at rest.
const REST: Duration = Duration::from_secs(30);

/// The releases, the rest, and the judgement of both.
pub async fn run(scene: &Scene<'_>) -> Outcome<Findings> {
    let mut findings = Findings::default();
    let mut controller = scene.controller(0, NAMESPACE).await?;
    let trial = scene.trial(NAMESPACE).await?;
    for (number, version) in ["2.0.0", "3.0.0"].into_iter().enumerate() {
        let start = trial.release(version).await?;
        let phase = trial.until_rest(number as u64 + 1).await?;
        findings.expect(
            format!("Undisturbed, {version} is promoted ({phase})"),
            phase == "Succeeded",
        );
        findings.ended(&trial, number, start).await?;
        let weights = scene.ledger(NAMESPACE)?.weights(&trial.id(), start);
        findings.expect(
            format!("Undisturbed, the weights are 0, 30, 60, 0 ({weights:?})"),
            weights == [0, 30, 60, 0],
        );
    }

    sleep(CALM).await;
    let from = Utc::now();
    sleep(REST).await;
    controller.process.must_run()?;
    let until = Utc::now() - TimeDelta::seconds(1);
    let ledger = scene.ledger(NAMESPACE)?;
    let asked: Vec<_> = ledger
        .requests()
        .filter(|request| (from..until).contains(&request.answered) && request.user() == "controller-0")
        .filter(|request| request.verb != "watch")
        .map(Request::words)
        .collect();
    findings.expect(
        format!("At rest it asks the API server for nothing but watches in {REST:?} ({asked:?})"),
        asked.is_empty(),
    );
    findings.expectations.push(controller.ends_cleanly().await?);
    Ok(findings)
}
