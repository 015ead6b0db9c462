//! The API server is away for longer than a Lease holds, in the middle of a step. The controller cannot know whether another one leads by
//! now, so it must end; it is started again as a pod would be, while nobody answers it and afterwards, and the release goes on.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use crate::faults::outage::{come_back, everyday_life};
use crate::faults::scene::{Findings, Scene};
use crate::faults::trial::Trial;
use crate::harness::Outcome;
use crate::harness::controller::Controller;
use crate::harness::process::Signal;

const NAMESPACE: &str = "dark";

/// The Lease holds for a minute.
const AWAY: Duration = Duration::from_secs(75);

/// Between the end of a controller and its next start.
const RESTART: Duration = Duration::from_secs(2);

/// A release with an outage in its first step; in a deep run another one while it is promoted.
pub async fn run(scene: &Scene<'_>, number: u16) -> Outcome<Findings> {
    let mut findings = Findings::default();
    let mut controller = scene.candidate(number, NAMESPACE).await?;
    let trial = scene.trial(NAMESPACE).await?;
    let load = trial.traffic().await?;
    let at_thirty: fn(&Value) -> bool = |status| status["canaryWeight"] == 30;
    let promoting: fn(&Value) -> bool = |status| status["serin"]["stage"] == "Promoting";
    let mut releases = vec![("2.0.0", at_thirty)];
    if scene.deep {
        releases.push(("3.0.0", promoting));
    }
    for (place, (version, moment)) in releases.into_iter().enumerate() {
        let start = trial.release(version).await?;
        trial.until("the moment has come", moment).await?;
        let before = trial.lease_holder().await?;
        go_dark(scene, &trial, &mut controller, &mut findings).await?;
        let phase = tokio::select! {
            phase = trial.until_rest(place as u64 + 1) => phase?,
            outcome = keep_running(&mut controller) => outcome?,
            () = everyday_life(&trial) => String::new(),
        };
        findings.expect(
            format!("After an outage of {AWAY:?} the release goes on and is promoted ({phase})"),
            phase == "Succeeded",
        );
        findings.ended(&trial, place, start).await?;
        let after = trial.lease_holder().await?;
        findings.expect(
            format!("The Lease has another holder than before the outage ({before}, {after})"),
            !after.is_empty() && after != before,
        );
        let weights = scene.ledger(NAMESPACE)?.weights(&trial.id(), start);
        findings.expect(
            format!("An outage of {AWAY:?}: no step is lost or made twice ({weights:?})"),
            weights == [0, 30, 60, 0],
        );
    }
    findings.nothing_lost(&trial, load).await?;
    findings.expectations.push(controller.ends_cleanly().await?);
    Ok(findings)
}

/// Takes the API server away for [`AWAY`], and looks at what the controller does meanwhile.
async fn go_dark(
    scene: &Scene<'_>,
    trial: &Trial<'_>,
    controller: &mut Controller,
    findings: &mut Findings,
) -> Outcome<()> {
    let cluster = scene.cluster;
    let mut server = cluster.process("kube-apiserver").await?;
    server.stop_by(Signal::Kill, Duration::from_secs(10)).await?;
    let (gone, back) = (Instant::now(), Instant::now() + AWAY);
    trial.say("has no API server");
    let mut ending = None;
    while ending.is_none() && Instant::now() < back {
        sleep(Duration::from_millis(100)).await;
        ending = controller.process.ended()?;
    }
    let words = ending.map_or_else(|| "it still runs".to_owned(), |status| status.to_string());
    findings.expect(
        format!(
            "A leader that cannot renew its Lease ends for a new start ({words}, {} s after the API server went)",
            gone.elapsed().as_secs()
        ),
        ending.is_some_and(|status| status.code() == Some(1)),
    );
    // Nobody answers the next one either.
    if ending.is_some() {
        controller.process.start_again()?;
    }
    sleep_until(back).await;
    come_back(cluster, &mut server).await?;
    trial.say("has its API server again");
    Ok(())
}

/// Starts the controller again whenever it ends.
async fn keep_running(controller: &mut Controller) -> Outcome<String> {
    loop {
        sleep(RESTART).await;
        if controller.process.ended()?.is_some() {
            controller.process.start_again()?;
        }
    }
}
