//! Somebody applies the route as it stands in his repository, every second, in the middle of a release.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;
use tokio::time::sleep;

use crate::faults::scene::{Findings, Scene};
use crate::harness::Outcome;

const NAMESPACE: &str = "rival";

/// The rival's field manager.
const RIVAL: &str = "gitops-of-somebody";

/// How often he applies, one a second: two intervals would have gone by.
const TIMES: usize = 25;

/// One release, with the rival at its first step.
pub async fn run(scene: &Scene<'_>, number: u16) -> Outcome<Findings> {
    let mut findings = Findings::default();
    let controller = scene.controller(number, NAMESPACE).await?;
    let trial = scene.trial(NAMESPACE).await?;
    let start = trial.release("2.0.0").await?;
    trial.until_weight(30).await?;

    let from = Utc::now();
    let mut said = None;
    let proxies: Api<DynamicObject> = trial.api("projectcontour.io", "v1", "HTTPProxy");
    trial.say("has a rival");
    for time in 0..TIMES {
        let halves = if time % 2 == 0 { [100, 0] } else { [50, 50] };
        let services = ["primary", "canary"]
            .into_iter()
            .zip(halves)
            .map(|(side, weight)| json!({ "name": format!("shop-{side}"), "port": 80, "weight": weight }))
            .collect::<Vec<_>>();
        let route = json!({ "conditions": [{ "prefix": "/" }], "services": services });
        let proxy = json!({
            "apiVersion": "projectcontour.io/v1",
            "kind": "HTTPProxy",
            "metadata": { "name": "shop" },
            "spec": { "routes": [route] },
        });
        proxies
            .patch("shop", &PatchParams::apply(RIVAL).force(), &Patch::Apply(&proxy))
            .await?;
        let why = trial.status()["serin"]["why"].clone();
        if why["reason"] == "Contested" {
            said = Some(why);
        }
        sleep(Duration::from_secs(1)).await;
    }
    let until = Utc::now();
    trial.say("has no rival any more");
    let named = said.as_ref().is_some_and(|why| why.to_string().contains(RIVAL));
    findings.expect(
        format!("A rival is named as the reason why nothing moves ({said:?})"),
        named,
    );
    let phase = trial.until_rest(1).await?;
    findings.expect(
        format!("When the rival stops the release is promoted ({phase})"),
        phase == "Succeeded",
    );
    let end = trial.end(start).await?;
    let told: Vec<_> = end.events.iter().filter(|event| event.contains(RIVAL)).collect();
    findings.expect(format!("The rival is told of once ({told:?})"), told.len() == 1);

    let ledger = scene.ledger(NAMESPACE)?;
    let weights = ledger.weights(&trial.id(), start);
    findings.expect(
        format!("With a rival: no step is lost, none counts twice ({weights:?})"),
        weights == [0, 30, 60, 0],
    );
    let next = ledger
        .writes_by_controllers("canaries", from)
        .find(|request| {
            request
                .object()
                .is_some_and(|canary| canary["status"]["canaryWeight"] == 60)
        })
        .map(|request| request.answered);
    findings.expect(
        format!("No step counts while the rival is there (60 comes at {next:?}, he stopped at {until})"),
        next.is_some_and(|next| next > until),
    );
    let repairs: Vec<_> = ledger
        .writes_by_controllers("httpproxies", from)
        .filter(|request| request.answered < until)
        .map(|request| request.answered)
        .collect();
    let waits: Vec<TimeDelta> = repairs.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The first of them is the step itself. The repair after it comes at once, or as soon as no other write comes between.
    let backed_off = |(place, wait): (u32, &TimeDelta)| *wait >= TimeDelta::seconds(1 << place);
    let seconds: Vec<_> = waits.iter().map(|wait| wait.num_milliseconds() / 1000).collect();
    findings.expect(
        format!(
            "The route is repaired, with longer and longer waits: {} times against {TIMES} ({seconds:?} s between)",
            repairs.len()
        ),
        waits.len() > 2 && repairs.len() * 3 <= TIMES && (0..).zip(waits.iter().skip(1)).all(backed_off),
    );
    findings.expectations.push(controller.ends_cleanly().await?);
    Ok(findings)
}
