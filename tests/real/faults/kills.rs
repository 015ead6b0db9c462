//! The controller is killed in the middle of its work, again and again, and started anew. Half of the moments are anywhere,
//! half of them right after a write of the status: between that and the writes that follow from it.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::faults::scene::{Findings, Scene};
use crate::faults::trial::Trial;
use crate::harness::Outcome;
use crate::harness::controller::Controller;
use crate::harness::process::Signal;

/// A kill at any moment of a release comes within this.
const ANY_MOMENT: Duration = Duration::from_secs(15);

/// A kill after a write of the status comes within this.
const SOON: Duration = Duration::from_millis(400);

/// How long a write of the status is waited for: a canary in a step writes nothing.
const QUIET: Duration = Duration::from_secs(20);

/// Two releases in `namespace`, under a controller that is killed a few times in each.
pub async fn run(scene: &Scene<'_>, number: u16, namespace: &str) -> Outcome<Findings> {
    let mut findings = Findings::default();
    let mut controller = scene.controller(number, namespace).await?;
    let trial = scene.trial(namespace).await?;
    let load = trial.traffic().await?;
    let kills = if scene.deep { 10 } else { 4 };
    let versions: &[&str] = if scene.deep {
        &["2.0.0", "3.0.0", "2.0.0", "3.0.0"]
    } else {
        &["2.0.0", "3.0.0"]
    };
    for (place, version) in versions.iter().enumerate() {
        let start = trial.release(version).await?;
        let run = place as u64 + 1;
        let is_over = |status: &Value| status["serin"]["run"] == run && status["serin"]["stage"] == "Resting";
        let during = During {
            purpose: (namespace, place),
            within: ANY_MOMENT,
            most: kills,
        };
        let times = during.kill(scene, &trial, &mut controller, is_over).await?;
        let phase = trial.until_rest(run).await?;
        findings.expect(
            format!("{namespace}: {version} is promoted, after {times} kills ({phase})"),
            phase == "Succeeded" && times > 0,
        );
        // In a deep run the releases go on; what they are compared with has two.
        if place < 2 {
            findings.ended(&trial, place, start).await?;
        }
        let weights = scene.ledger(namespace)?.weights(&trial.id(), start);
        findings.expect(
            format!("{namespace}: no step is lost ({weights:?})"),
            weights == [0, 30, 60, 0],
        );
    }
    let calls = scene.listener.calls(&trial.id());
    println!("{namespace}: the hook was called {} times", calls.len());
    findings.nothing_lost(&trial, load).await?;
    findings.expectations.push(controller.ends_cleanly().await?);
    Ok(findings)
}

/// Something in which the controller is killed.
pub struct During<'a> {
    /// What the moments are drawn for.
    pub purpose: (&'a str, usize),
    /// A kill at any moment comes within this.
    pub within: Duration,
    /// How often it is killed, unless it is over before.
    pub most: usize,
}

impl During<'_> {
    /// Kills the controller until it is over or enough. Tells how often.
    pub async fn kill(
        &self,
        scene: &Scene<'_>,
        trial: &Trial<'_>,
        controller: &mut Controller,
        is_over: impl Fn(&Value) -> bool,
    ) -> Outcome<usize> {
        let mut times = 0;
        while times < self.most && !is_over(&trial.status()) {
            self.moment(scene, trial, times, &is_over).await;
            kill(controller, trial).await?;
            times += 1;
        }
        Ok(times)
    }

    /// Waits until the moment of a kill has come.
    async fn moment(&self, scene: &Scene<'_>, trial: &Trial<'_>, time: usize, is_over: impl Fn(&Value) -> bool) {
        let purpose = (self.purpose.0, self.purpose.1, time);
        if scene.chance.below(2, (purpose, "where")) == 0 {
            let span = scene.chance.span_below(self.within, (purpose, "any"));
            let end = Instant::now() + span;
            while Instant::now() < end && !is_over(&trial.status()) {
                sleep(Duration::from_millis(20)).await;
            }
            return;
        }
        let before = trial.status();
        let patience = Instant::now() + QUIET;
        while trial.status() == before && Instant::now() < patience {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(scene.chance.span_below(SOON, (purpose, "soon"))).await;
    }
}

async fn kill(controller: &mut Controller, trial: &Trial<'_>) -> Outcome<()> {
    let block = &trial.status()["serin"];
    trial.say(&format!(
        "loses its controller in {} at {}",
        block["stage"], block["weight"]
    ));
    controller.process.must_run()?;
    controller
        .process
        .stop_by(Signal::Kill, Duration::from_secs(10))
        .await?;
    controller.process.start_again()?;
    controller.is_healthy().await
}
