//! How much a release costs the API server: every request of the controller, counted by verb and resource.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::json;

use super::process::How;
use super::{process::Mishap, setting::Setting};

/// Requests by verb and resource, dry runs apart.
fn counted(mishap: &Mishap) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in mishap.requests() {
        let mut call = format!("{} {}", request.verb, request.resource);
        if !request.subresource.is_empty() {
            let _ = write!(call, "/{}", request.subresource);
        }
        if request.dry_run {
            call.push_str(" dry run");
        }
        *counts.entry(call).or_default() += 1;
    }
    counts
}

/// One canary alone, three steps, Istio objects.
#[tokio::test(start_paused = true)]
async fn a_release_in_three_steps_on_istio_costs_few_requests() {
    let mishap = Mishap::new(0, How::Counted);
    let stage = Setting::with_provider("istio")
        .mishap(mishap.clone())
        .initialized()
        .await;
    mishap.arm(&stage.serin);
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    stage.pass(120).await;
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
    let counts = counted(&mishap);
    println!("{}", stage.story.tell());
    println!("{counts:#?}");
    let _ = json!(null);
}
