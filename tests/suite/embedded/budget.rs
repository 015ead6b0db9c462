//! How much a release costs the API server: every request of the controller, counted by verb and resource.

use std::{collections::BTreeMap, fmt::Write as _};

use serin::{controller::settings::Election, sim::fault::RequestInfo};

use super::{
    process::{How, Mishap},
    setting::Setting,
};

/// Requests by verb and resource, dry runs apart. Watches and the Lease are no part of a release: they are renewed as time
/// goes by.
fn counted(mishap: &Mishap) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let renewal = |request: &RequestInfo| request.verb == "watch" || request.resource == "leases";
    for request in mishap.requests().into_iter().filter(|request| !renewal(request)) {
        let mut call = format!("{} {}", request.verb, request.resource);
        if !request.subresource.is_empty() {
            let _ = write!(call, "/{}", request.subresource);
        }
        if request.dry_run {
            call.push_str(" as a dry run");
        }
        *counts.entry(call).or_default() += 1;
    }
    counts
}

/// A process that leads: what it wrote last it need not read.
fn leader() -> Setting {
    Setting::with_provider("istio").settings(|settings| {
        settings.election = Election::Lease {
            namespace: "test".into(),
        };
    })
}

/// One canary alone, three steps, Istio's objects: no request is a read.
#[tokio::test(start_paused = true)]
async fn a_release_in_three_steps_on_istio_costs_few_requests() {
    let mishap = Mishap::new(0, How::Counted);
    let stage = leader().mishap(mishap.clone()).initialized().await;
    mishap.arm(&stage.serin);
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    stage.pass(120).await;
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
    let counts = counted(&mishap);
    let most = [
        ("update canaries/status", 8),
        ("patch virtualservices", 4),
        // Two for sizes, one for the primary's template.
        ("patch deployments", 3),
        ("create controllerrevisions", 2),
        ("create events", 11),
        ("patch virtualservices as a dry run", 2),
        ("patch deployments as a dry run", 2),
    ];
    for (call, count) in &counts {
        let allowed = most
            .iter()
            .find(|(known, _)| known == call)
            .map_or(0, |(_, most)| *most);
        assert!(
            *count <= allowed,
            "{call}: {count} times, at most {allowed}; all: {counts:?}"
        );
    }
}

/// At rest nothing but the watches is asked.
#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_asked() {
    let mishap = Mishap::new(0, How::Counted);
    let stage = Setting::with_provider("istio")
        .mishap(mishap.clone())
        .initialized()
        .await;
    mishap.arm(&stage.serin);
    stage.pass(3600).await;
    assert_eq!(counted(&mishap), BTreeMap::new());
}
