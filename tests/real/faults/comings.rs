//! An application is taken over and given back, under load, and the controller is killed in the middle of both, again and again. The
//! first time nothing disturbs it; every other time must come to the same.

use std::time::Duration;

use chrono::Utc;
use serde_json::Value;

use crate::faults::as_undisturbed;
use crate::faults::kills::During;
use crate::faults::scene::{Findings, Scene};
use crate::faults::trial::is_initialised;
use crate::harness::Outcome;

const NAMESPACE: &str = "comings";

/// Taking over, or giving back, takes about this long.
const SPAN: Duration = Duration::from_secs(8);

/// How often the controller is killed in each.
const KILLS: usize = 4;

/// A Canary that comes and goes.
pub async fn run(scene: &Scene<'_>, number: u16) -> Outcome<Findings> {
    let mut findings = Findings::default();
    let mut controller = scene.controller(number, NAMESPACE).await?;
    let trial = scene.application(NAMESPACE).await?;
    let load = trial.traffic().await?;
    let rounds = if scene.deep { 8 } else { 2 };
    let mut undisturbed = None;
    for round in 0..=rounds {
        let during = |part: usize| During {
            purpose: (NAMESPACE, 2 * round + part),
            within: SPAN,
            most: if round == 0 { 0 } else { KILLS },
        };
        let start = Utc::now();
        trial.say("is taken over");
        trial.add_canary().await?;
        let kills = during(0).kill(scene, &trial, &mut controller, is_initialised).await?;
        trial.until("it is initialised", is_initialised).await?;
        let taken = trial.end(start).await?;

        trial.say(&format!("is given back, after {kills} kills"));
        trial.remove_canary().await?;
        let more = during(1).kill(scene, &trial, &mut controller, Value::is_null).await?;
        trial.until("the Canary is gone", Value::is_null).await?;
        let given_back = trial.given_back().await?;
        trial.say(&format!("is given back, {more} kills later"));

        let Some((first_taken, first_given_back)) = &undisturbed else {
            undisturbed = Some((taken, given_back));
            continue;
        };
        findings.expectations.push(as_undisturbed(
            &format!("{NAMESPACE}: taken over with {kills} kills, it"),
            &taken,
            first_taken,
        ));
        findings.expect(
            format!("{NAMESPACE}: given back with {more} kills, it stands as if undisturbed ({given_back:?})"),
            given_back == *first_given_back && more > 0,
        );
    }
    findings.nothing_lost(&trial, load).await?;
    findings.expectations.push(controller.ends_cleanly().await?);
    Ok(findings)
}
