//! Two controllers with one Lease. The one that leads is frozen in the middle of a step until the other one has taken over, and
//! thawed in the middle of the other one's work. What it had in mind is stale by then, and none of it may be written.

use std::time::Duration;

use chrono::Utc;
use tokio::time::{Instant, sleep};

use crate::faults::ledger::Request;
use crate::faults::scene::{Findings, Scene};
use crate::faults::trial::Trial;
use crate::harness::Outcome;
use crate::harness::process::Signal;

const NAMESPACE: &str = "frozen";

/// The Lease holds for a minute; whoever waits for it looks every five seconds.
const SUCCESSION: Duration = Duration::from_mins(4);

/// A process that was thawed notices that it leads no more at its next look at the Lease.
const NOTICES: Duration = Duration::from_mins(1);

/// One release under two controllers.
pub async fn run(scene: &Scene<'_>, numbers: [u16; 2]) -> Outcome<Findings> {
    let mut findings = Findings::default();
    let mut first = scene.candidate(numbers[0], NAMESPACE).await?;
    let trial = scene.trial(NAMESPACE).await?;
    let mut second = scene.candidate(numbers[1], NAMESPACE).await?;
    let leader = trial.lease_holder().await?;

    let start = trial.release("2.0.0").await?;
    trial.until_weight(30).await?;
    first.process.tell(Signal::Freeze)?;
    trial.say("has its leader frozen at 30");
    let successor = other_holder(&trial, &leader).await?;
    let since = Utc::now();
    trial.say("has another leader");
    trial.until_weight(60).await?;
    first.process.tell(Signal::Thaw)?;
    let thawed = Utc::now();
    trial.say("has its old leader thawed at 60");

    let deadline = Instant::now() + NOTICES;
    let ending = loop {
        match first.process.ended()? {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => sleep(Duration::from_millis(100)).await,
        }
    };
    let words = ending.map_or_else(|| "still there".to_owned(), |status| status.to_string());
    findings.expect(
        format!("The thawed leader steps down: its process ends for a new start ({words})"),
        ending.is_some_and(|status| status.code() == Some(1)),
    );
    let phase = trial.until_rest(1).await?;
    findings.expect(
        format!("Under its successor the release is promoted ({phase})"),
        phase == "Succeeded",
    );
    findings.ended(&trial, 0, start).await?;
    second.process.must_run()?;
    findings.expect(
        format!("The successor still leads at the end ({successor})"),
        trial.lease_holder().await? == successor,
    );

    let ledger = scene.ledger(NAMESPACE)?;
    let weights = ledger.weights(&trial.id(), start);
    findings.expect(
        format!("Frozen and thawed: no step is lost or made twice ({weights:?})"),
        weights == [0, 30, 60, 0],
    );
    let old = format!("controller-{}", numbers[0]);
    let of_old = || {
        let by_old = ledger.requests().filter(|request| request.user() == old);
        by_old.filter(|request| !["get", "list", "watch"].contains(&request.verb.as_str()))
    };
    let landed: Vec<_> = of_old()
        .filter(|request| request.is_write() && request.answered >= since)
        .map(Request::words)
        .collect();
    findings.expect(
        format!("After the takeover no write of the old leader is accepted ({landed:?})"),
        landed.is_empty(),
    );
    let sent: Vec<_> = of_old()
        .filter(|request| request.resource() != "leases" && request.received >= thawed)
        .map(Request::words)
        .collect();
    findings.expect(
        format!("Thawed, the old leader sends no write but for the Lease ({sent:?})"),
        sent.is_empty(),
    );
    let new = format!("controller-{}", numbers[1]);
    let acted = ledger
        .writes_by_controllers("canaries", since)
        .filter(|request| request.user() == new)
        .count();
    findings.expect(format!("The successor wrote the status ({acted} times)"), acted > 0);
    findings.expectations.push(second.ends_cleanly().await?);
    Ok(findings)
}

async fn other_holder(trial: &Trial<'_>, before: &str) -> Outcome<String> {
    let deadline = Instant::now() + SUCCESSION;
    while Instant::now() < deadline {
        let now = trial.lease_holder().await?;
        if now != before {
            return Ok(now);
        }
        sleep(Duration::from_millis(500)).await;
    }
    Err(format!("nobody took the Lease of {before} within {SUCCESSION:?}").into())
}
