//! The spec names another target, Service or provider than before (E23, E24 and E45 of `spec/core.md` 7.1): the canary moves, and no
//! request is lost.

use serde_json::{Value, json};
use serin::sim::world::{
    manifests,
    script::{Life, Pods},
    traffic::Behaviour,
};

use super::{
    setting::{NAMESPACE, Setting},
    stage::Stage,
};

const ROUTE: &str = "gateway.networking.k8s.io/v1";
const PROXY: &str = "projectcontour.io/v1";

/// The Services that a route's first rule leads to, with their weights.
fn leads(stage: &Stage, name: &str) -> Vec<(String, u64)> {
    let route = stage.object(ROUTE, "HTTPRoute", name);
    let backends = route["spec"]["rules"][0]["backendRefs"].as_array().cloned();
    let read = |backend: Value| {
        let service = backend["name"].as_str().unwrap_or_default().to_owned();
        (service, backend["weight"].as_u64().unwrap_or_default())
    };
    backends.unwrap_or_default().into_iter().map(read).collect()
}

fn stands(stage: &Stage, kind: &str, name: &str) -> bool {
    let api_version = if kind == "Service" { "v1" } else { "apps/v1" };
    !stage.object(api_version, kind, name).is_null()
}

fn lost(stage: &Stage) -> f64 {
    let names = ["app", "shop", "web"];
    let of = |name: &str| {
        let entry = (NAMESPACE.to_owned(), name.to_owned());
        stage.world.traffic().totals(&entry, stage.clock.now()).lost
    };
    names.into_iter().map(of).sum()
}

async fn until_moved(stage: &Stage) {
    stage.until_stage("Moving").await;
    stage.until_stage("Resting").await;
}

fn alarms(stage: &Stage) -> Vec<String> {
    let errors = stage.alerts().into_iter().filter(|(severity, _)| severity == "Error");
    errors.map(|(_, text)| text).collect()
}

/// E45.
#[tokio::test(start_paused = true)]
async fn another_provider_at_rest_takes_over_from_the_old_one() {
    let stage = Setting::new().initialized().await;
    let generation = |stage: &Stage| stage.deployment("app-primary")["metadata"]["generation"].clone();
    let before = generation(&stage);
    stage.edit_canary(json!({ "provider": "contour" })).await;
    until_moved(&stage).await;
    stage.pass(30).await;
    assert_eq!(generation(&stage), before, "the primary is as it was");
    assert_eq!(
        leads(&stage, "app"),
        [("app".into(), 100)],
        "the old route leads to the Service"
    );
    assert_eq!(
        (stage.phase(), stage.selects("app")),
        ("Initialized".into(), "app-primary".into())
    );
    assert_eq!(stage.status()["serin"]["former"], Value::Null);
    assert_eq!(
        (
            stage.events_with("Names changed!"),
            stage.events_with("Moved app.test from")
        ),
        (1, 1)
    );
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    let proxy = stage.object(PROXY, "HTTPProxy", "app");
    assert_eq!(proxy["spec"]["routes"][0]["services"][0]["name"], "app-primary");
    assert_eq!(leads(&stage, "app"), [("app".into(), 100)]);
    assert!(lost(&stage) < 1.0, "{} requests were lost", lost(&stage));
    assert_eq!(alarms(&stage), [""; 0]);
}

/// E45, in the middle of a run.
#[tokio::test(start_paused = true)]
async fn another_provider_in_a_run_ends_it_and_the_revision_is_released_there() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(40).await;
    stage.edit_canary(json!({ "provider": "contour" })).await;
    stage.until_stage("Reverting").await;
    stage
        .until("moved", |stage| stage.events_with("Moved app.test from") == 1)
        .await;
    stage
        .until("promoted", |stage| stage.image("app-primary") == "app:2")
        .await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.status()["serin"]["run"], 2);
    assert_eq!(leads(&stage, "app"), [("app".into(), 100)]);
    assert!(lost(&stage) < 1.0, "{} requests were lost", lost(&stage));
    assert_eq!(alarms(&stage), [""; 0], "no verdict was spoken");
    assert_eq!(stage.events_with("Names changed! Ending the run"), 1);
}

/// E23.
#[tokio::test(start_paused = true)]
async fn another_service_is_served_by_the_same_primary_and_so_is_the_old_one() {
    let stage = Setting::new().initialized().await;
    let uid = |stage: &Stage| stage.deployment("app-primary")["metadata"]["uid"].clone();
    let before = uid(&stage);
    stage.edit_canary(json!({ "service": { "name": "shop" } })).await;
    until_moved(&stage).await;
    assert_eq!(uid(&stage), before);
    assert_eq!(
        (stage.selects("app"), stage.selects("shop")),
        ("app-primary".into(), "app-primary".into())
    );
    assert_eq!(leads(&stage, "app"), [("app".into(), 100)]);
    assert_eq!(
        leads(&stage, "shop"),
        [("shop-primary".into(), 100), ("shop-canary".into(), 0)]
    );
    assert!(!stands(&stage, "Service", "app-primary") && !stands(&stage, "Service", "app-canary"));
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert!(lost(&stage) < 1.0, "{} requests were lost", lost(&stage));
}

/// E24, behind the same Service: the old primary serves until the new one does.
#[tokio::test(start_paused = true)]
async fn another_target_behind_the_same_service_takes_over_from_the_old_primary() {
    let stage = Setting::new().initialized().await;
    stage.create(&manifests::deployment(NAMESPACE, "web", "web:1", 1)).await;
    let change = json!({ "targetRef": { "name": "web" }, "service": { "name": "app" } });
    stage.edit_canary(change).await;
    until_moved(&stage).await;
    stage.pass(30).await;
    assert_eq!(
        (stage.selects("app"), stage.image("web-primary")),
        ("web-primary".into(), "web:1".into())
    );
    assert_eq!(stage.replicas("web-primary"), 3, "no fewer pods serve than before");
    assert!(!stands(&stage, "Deployment", "app-primary"), "it is needed no more");
    assert_eq!(
        (stage.ready("app"), stage.replicas("web")),
        (3, 0),
        "the old target stands on its own"
    );
    assert_eq!(
        leads(&stage, "app"),
        [("app-primary".into(), 100), ("app-canary".into(), 0)]
    );
    stage.change(&manifests::image(NAMESPACE, "web", "web:2")).await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("web-primary"), "web:2");
    let revisions = stage.api.objects("apps/v1", "ControllerRevision", NAMESPACE);
    assert_eq!(revisions.len(), 2, "those of the old target are gone");
    assert!(lost(&stage) < 1.0, "{} requests were lost", lost(&stage));
    assert_eq!(alarms(&stage), [""; 0]);
}

/// E24, in the middle of a run, with the old target gone from Git in the same commit.
#[tokio::test(start_paused = true)]
async fn a_target_that_is_renamed_in_a_run_loses_no_request() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(40).await;
    stage.create(&manifests::deployment(NAMESPACE, "web", "web:1", 3)).await;
    let change = json!({ "targetRef": { "name": "web" }, "service": { "name": "app" } });
    stage.edit_canary(change).await;
    stage.until_stage("Moving").await;
    stage.delete("apps/v1", "Deployment", "app").await;
    stage.until_stage("Resting").await;
    stage.pass(30).await;
    assert_eq!(
        (stage.selects("app"), stage.ready("web-primary")),
        ("web-primary".into(), 3)
    );
    assert!(!stands(&stage, "Deployment", "app-primary"));
    assert!(lost(&stage) < 1.0, "{} requests were lost", lost(&stage));
}

/// E23 and E24 at once: the old application stands on its own again, as after a deletion of the Canary.
#[tokio::test(start_paused = true)]
async fn another_application_leaves_the_old_one_as_it_was_before_the_canary() {
    let stage = Setting::new().initialized().await;
    stage.create(&manifests::deployment(NAMESPACE, "web", "web:1", 2)).await;
    stage.edit_canary(json!({ "targetRef": { "name": "web" } })).await;
    until_moved(&stage).await;
    stage.pass(30).await;
    assert_eq!((stage.selects("app"), stage.ready("app")), ("app".into(), 3));
    assert_eq!(leads(&stage, "app"), [("app".into(), 100)]);
    for name in ["app-primary", "app-canary"] {
        assert!(!stands(&stage, "Service", name) && !stands(&stage, "Deployment", "app-primary"));
    }
    assert_eq!(
        (stage.selects("web"), stage.ready("web-primary")),
        ("web-primary".into(), 2)
    );
    assert_eq!(stage.status()["serin"]["former"], Value::Null);
    assert!(lost(&stage) < 1.0, "{} requests were lost", lost(&stage));
}

/// The same where the old target is gone: what may still be called stays.
#[tokio::test(start_paused = true)]
async fn another_application_instead_of_one_that_is_gone_leaves_what_serves() {
    let stage = Setting::new().initialized().await;
    stage.create(&manifests::deployment(NAMESPACE, "web", "web:1", 2)).await;
    stage.delete("apps/v1", "Deployment", "app").await;
    stage.edit_canary(json!({ "targetRef": { "name": "web" } })).await;
    until_moved(&stage).await;
    stage.pass(30).await;
    assert_eq!(
        (stage.selects("app"), stage.ready("app-primary")),
        ("app-primary".into(), 3)
    );
    assert_eq!(
        (stage.selects("web"), stage.ready("web-primary")),
        ("web-primary".into(), 2)
    );
    let told = stage.alerts().into_iter();
    assert_eq!(
        told.filter(|(_, text)| text.contains("keeps serving Service app"))
            .count(),
        1
    );
    assert!(lost(&stage) < 1.0, "{} requests were lost", lost(&stage));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_up_for_names_that_cannot_be_taken_over() {
    let stage = Setting::new().initialized().await;
    stage.edit_canary(json!({ "targetRef": { "name": "wbe" } })).await;
    stage.until_reason("InvalidSpec").await;
    assert!(stage.why("message").contains("there is no Deployment wbe to move to"));
    stage.pass(60).await;
    assert_eq!(
        leads(&stage, "app"),
        [("app-primary".into(), 100), ("app-canary".into(), 0)]
    );
    stage.edit_canary(json!({ "targetRef": { "name": "app" } })).await;
    stage.until_reason("Initialized").await;
    assert_eq!(stage.events_with("Names changed!"), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_up_for_a_provider_whose_kind_is_not_served() {
    let stage = Setting::new().without_kind("HTTPProxy").initialized().await;
    stage.edit_canary(json!({ "provider": "contour" })).await;
    stage.until_reason("InvalidSpec").await;
    assert!(stage.why("message").contains("does not serve HTTPProxy"));
    stage.pass(60).await;
    assert_eq!(
        leads(&stage, "app"),
        [("app-primary".into(), 100), ("app-canary".into(), 0)]
    );
}

/// A primary that does not come up: the old one goes on serving, and so it does when the names are put back.
#[tokio::test(start_paused = true)]
async fn names_that_are_put_back_half_way_lead_back() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("web:bad"), Life::NeverReady))
        .initialized()
        .await;
    stage
        .create(&manifests::deployment(NAMESPACE, "web", "web:bad", 3))
        .await;
    let change = json!({ "targetRef": { "name": "web" }, "service": { "name": "app" } });
    stage.edit_canary(change).await;
    stage.until_stage("Moving").await;
    stage.until("the alert", |stage| alarms(stage).len() == 1).await;
    assert_eq!(
        (stage.selects("app"), stage.ready("app-primary")),
        ("app-primary".into(), 3)
    );
    stage.edit_canary(json!({ "targetRef": { "name": "app" } })).await;
    stage.until_stage("Resting").await;
    assert_eq!(
        leads(&stage, "app"),
        [("app-primary".into(), 100), ("app-canary".into(), 0)]
    );
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert!(lost(&stage) < 1.0, "{} requests were lost", lost(&stage));
}

/// Invariant 5: a move is no reason to try a failed revision again.
#[tokio::test(start_paused = true)]
async fn a_failed_canary_moves_and_stays_failed() {
    let stage = Setting::new()
        .script(|script| {
            script.answers(
                "app:2",
                Behaviour {
                    success: 80.0,
                    latency: 90.0,
                },
            )
        })
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    stage.edit_canary(json!({ "provider": "contour" })).await;
    until_moved(&stage).await;
    stage.pass(120).await;
    assert_eq!(
        (stage.phase(), stage.image("app-primary")),
        ("Failed".into(), "app:1".into())
    );
    assert_eq!(stage.status()["serin"]["run"], 1);
    assert!(lost(&stage) < 1.0, "{} requests were lost", lost(&stage));
}

/// Deleted on the way: everything is handed back all the same.
#[tokio::test(start_paused = true)]
async fn a_canary_that_is_deleted_while_it_moves_hands_back() {
    for stop in ["Moving", "Initializing"] {
        let stage = Setting::new().initialized().await;
        stage.edit_canary(json!({ "provider": "contour" })).await;
        stage.until_stage(stop).await;
        stage.delete("flagger.app/v1beta1", "Canary", "app").await;
        stage.until("gone", |stage| stage.canary().is_null()).await;
        stage.pass(60).await;
        assert_eq!((stage.selects("app"), stage.ready("app")), ("app".into(), 3), "{stop}");
        assert!(lost(&stage) < 1.0, "{stop}: {} requests were lost", lost(&stage));
    }
}
