//! Releases of a Deployment that a `HorizontalPodAutoscaler` scales: whose size is whose, and when.

use std::time::Duration;

use serde_json::{Value, json};
use serin::sim::fault::RequestInfo;
use serin::sim::world::{
    manifests,
    script::{Life, Pods},
};

use super::{
    process::{How, Mishap},
    setting::{APP, NAMESPACE, Setting},
    stage::{Stage, named},
};

const SCALER: &str = "HorizontalPodAutoscaler";
const SCALERS: &str = "autoscaling/v2";
const COPY: &str = "app-primary";
const CANARY: &str = "flagger.app/v1beta1";

/// Three pods and a scaler from 2 to 6 that is content with them.
pub fn scaled(setting: Setting) -> Setting {
    setting
        .object(manifests::autoscaler(NAMESPACE, APP, 2, 6))
        .spec(&json!({ "autoscalerRef": { "apiVersion": SCALERS, "kind": SCALER, "name": APP } }))
}

fn scaler(stage: &Stage, name: &str) -> Value {
    stage.object(SCALERS, SCALER, name)
}

fn bounds(stage: &Stage, name: &str) -> (u64, u64) {
    let spec = scaler(stage, name)["spec"].take();
    let number = |field: &str| spec[field].as_u64().unwrap_or_default();
    (number("minReplicas"), number("maxReplicas"))
}

async fn edit(stage: &Stage, name: &str, change: Value) {
    stage.note(&format!("edit scaler {name} {change}"));
    stage.change(&named(SCALERS, SCALER, name, &change)).await;
}

/// What the team wrote is the team's for ever.
fn team_s(stage: &Stage) -> Value {
    scaler(stage, APP)["spec"].take()
}

fn alerted(stage: &Stage, part: &str) -> bool {
    stage.alerts().iter().any(|(_, text)| text.contains(part))
}

/// Case 52: the copy has the scaler's metrics and the overrides, and follows with the next promotion.
#[tokio::test(start_paused = true)]
async fn core_052_the_primary_has_a_copy_of_the_scaler_that_follows_with_the_promotion() {
    let stage = scaled(Setting::new())
        .spec(&json!({ "autoscalerRef": { "primaryScalerReplicas": { "minReplicas": 2, "maxReplicas": 15 } } }))
        .initialized()
        .await;
    let (team, copy) = (team_s(&stage), scaler(&stage, COPY));
    assert_eq!(copy["spec"]["metrics"], team["metrics"]);
    assert_eq!(copy["spec"]["scaleTargetRef"]["name"], COPY);
    assert_eq!(copy["metadata"]["labels"], json!({ "team": "shop" }));
    assert_eq!(copy["metadata"]["ownerReferences"][0]["kind"], "Canary");
    assert_eq!(bounds(&stage, COPY), (2, 15));
    assert_eq!((stage.replicas(APP), stage.replicas(COPY)), (0, 3));
    let metric = json!([{ "type": "Resource", "resource": {
        "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 55 } } }]);
    edit(&stage, APP, json!({ "spec": { "metrics": metric } })).await;
    stage.pass(60).await;
    assert_eq!(
        scaler(&stage, COPY)["spec"],
        copy["spec"],
        "an edit waits for the promotion"
    );
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(scaler(&stage, COPY)["spec"]["metrics"], metric);
    stage.pass(60).await;
    assert_eq!(bounds(&stage, COPY), (2, 15));
    assert_eq!((stage.replicas(APP), stage.image(COPY)), (0, "app:2".into()));
}

/// Case 69: the new value is there when the release is over.
#[tokio::test(start_paused = true)]
async fn core_069_a_new_utilisation_comes_with_the_next_image() {
    let stage = scaled(Setting::new()).initialized().await;
    let utilisation = |name: &str| {
        let metric = scaler(&stage, name)["spec"]["metrics"][0].take();
        metric["resource"]["target"]["averageUtilization"].as_u64()
    };
    assert_eq!((utilisation(APP), utilisation(COPY)), (Some(80), Some(80)));
    let metric = json!([{ "type": "Resource", "resource": {
        "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 55 } } }]);
    edit(&stage, APP, json!({ "spec": { "metrics": metric } })).await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!((utilisation(APP), utilisation(COPY)), (Some(55), Some(55)));
    assert_eq!(stage.image(COPY), "app:2");
}

/// Case 52: a missing scaler is an error, and production is not touched for it.
#[tokio::test(start_paused = true)]
async fn core_052_a_missing_scaler_is_named_and_waited_for() {
    let stage = Setting::new()
        .spec(&json!({ "autoscalerRef": { "apiVersion": SCALERS, "kind": SCALER, "name": APP } }))
        .raise()
        .await;
    stage.until_reason("InvalidSpec").await;
    let words = "HorizontalPodAutoscaler app.test get query error";
    assert!(stage.why("message").contains(words), "{}", stage.why("message"));
    stage.until("alerted", |stage| alerted(stage, words)).await;
    stage.pass(120).await;
    assert!(stage.deployment(COPY).is_null() && stage.replicas(APP) == 3);
    stage.create(&manifests::autoscaler(NAMESPACE, APP, 2, 6)).await;
    stage.until_phase("Initialized").await;
    assert_eq!(bounds(&stage, COPY).1, 6);
}

/// Rank 2 of `spec/users.md`: what the primary had when the run began is kept for it, and given back.
#[tokio::test(start_paused = true)]
async fn the_primary_keeps_its_size_through_a_run_though_its_metrics_ask_for_less() {
    let stage = scaled(Setting::new())
        .script(|script| script.demand(COPY, 5))
        .initialized()
        .await;
    stage.until("at its peak", |stage| stage.ready(COPY) == 5).await;
    let team = team_s(&stage);
    stage.push("app:2").await;
    stage.until_weight(20).await;
    assert_eq!(bounds(&stage, COPY), (5, 6));
    stage.world.change(|script| script.demand(COPY, 1));
    stage.until_weight(60).await;
    stage.pass(400).await;
    stage.until_phase("Succeeded").await;
    stage.until("given back", |stage| bounds(stage, COPY) == (2, 6)).await;
    assert!(stage.answers().lost < 1.0, "{:?}", stage.answers());
    stage
        .until("scaled by its own metrics again", |stage| stage.replicas(COPY) == 2)
        .await;
    assert_eq!(team_s(&stage), team, "nothing was written to the team's scaler");
}

/// The canary is raised to what its share needs, and not to the primary's size: that is the scaler's business.
#[tokio::test(start_paused = true)]
async fn the_canary_has_the_pods_that_its_share_needs() {
    let stage = scaled(Setting::new())
        .deployment(&json!({ "replicas": 6 }))
        .script(|script| script.demand(COPY, 6))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    assert!(
        (2..6).contains(&stage.replicas(APP)),
        "{} replicas",
        stage.replicas(APP)
    );
    stage.until_weight(60).await;
    assert!(stage.ready(APP) >= 4);
    stage.until_phase("Succeeded").await;
    assert_eq!((stage.replicas(APP), stage.replicas(COPY)), (0, 6));
}

/// A scaler that would rather have fewer pods for the canary than its share needs does not stop the release. Here its acts are seen at once:
/// what it took a moment ago cannot be known, and a step that comes then would be held to have gone past the pods.
#[tokio::test(start_paused = true)]
async fn a_scaler_that_lowers_the_canary_meanwhile_does_not_stop_the_release() {
    let stage = scaled(Setting::new())
        .watch_delay(Duration::ZERO)
        .deployment(&json!({ "replicas": 6 }))
        .spec(&json!({ "progressDeadlineSeconds": 600 }))
        .script(|script| script.demand(COPY, 6).demand(APP, 1))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.story.weights().iter().max(), Some(&60));
}

/// A scaler that takes the pods away before they are ready, again and again, does not keep a run for ever.
#[tokio::test(start_paused = true)]
async fn a_scaler_that_never_lets_the_canary_grow_ends_the_run_at_its_deadline() {
    let stage = scaled(Setting::new())
        .deployment(&json!({ "replicas": 6 }))
        .spec(&json!({ "progressDeadlineSeconds": 120 }))
        .script(|script| {
            let slow = Life::ReadyAfter(Duration::from_secs(40));
            script.demand(COPY, 6).demand(APP, 1).life(Pods::image("app:2"), slow)
        })
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    assert_eq!((stage.replicas(APP), stage.image("app-primary")), (0, "app:1".into()));
}

#[tokio::test(start_paused = true)]
async fn a_scaler_whose_maximum_is_too_low_for_the_weight_is_named_and_the_run_ends_at_its_deadline() {
    let stage = scaled(Setting::new())
        .deployment(&json!({ "replicas": 6 }))
        .spec(&json!({ "autoscalerRef": { "primaryScalerReplicas": { "maxReplicas": 6 } } }))
        .script(|script| script.demand(COPY, 6))
        .initialized()
        .await;
    edit(&stage, APP, json!({ "spec": { "maxReplicas": 3 } })).await;
    stage.pass(10).await;
    stage.push("app:2").await;
    stage.until_reason("CanaryTooSmall").await;
    assert!(
        stage
            .why("message")
            .contains("HorizontalPodAutoscaler app allows the canary at most 3"),
        "{}",
        stage.why("message")
    );
    assert_eq!(stage.weight(), Some(40));
    stage.until_phase("Failed").await;
    assert_eq!((stage.replicas(APP), stage.replicas(COPY)), (0, 6));
    stage.until("given back", |stage| bounds(stage, COPY) == (2, 6)).await;
}

#[tokio::test(start_paused = true)]
async fn a_canary_may_be_sized_apart() {
    let stage = scaled(Setting::new())
        .spec(&json!({ "autoscalerRef": { "canaryScalerReplicas": { "minReplicas": 4, "maxReplicas": 5 } } }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    assert_eq!(stage.replicas(APP), 4);
    stage.until_phase("Succeeded").await;
}

/// Rank 29: with `sync: immediate` what is raised arrives in a run, what is lowered after it.
#[tokio::test(start_paused = true)]
async fn an_edit_of_the_scaler_arrives_at_once_where_that_is_wanted() {
    let stage = scaled(Setting::new())
        .spec(&json!({ "autoscalerRef": { "sync": "immediate" } }))
        .initialized()
        .await;
    edit(&stage, APP, json!({ "spec": { "maxReplicas": 9 } })).await;
    stage
        .until("raised at rest", |stage| bounds(stage, COPY) == (2, 9))
        .await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    edit(&stage, APP, json!({ "spec": { "maxReplicas": 12 } })).await;
    stage
        .until("raised in the run", |stage| bounds(stage, COPY) == (3, 12))
        .await;
    edit(&stage, APP, json!({ "spec": { "minReplicas": 1, "maxReplicas": 4 } })).await;
    stage.pass(8).await;
    assert_eq!(bounds(&stage, COPY), (3, 12), "what is lowered waits");
    stage.until_phase("Succeeded").await;
    stage.until("lowered", |stage| bounds(stage, COPY) == (1, 4)).await;
}

/// What others change in the copy's spec is put right; their metadata stays (W21).
#[tokio::test(start_paused = true)]
async fn a_foreign_edit_of_the_copy_is_put_right_and_foreign_metadata_stays() {
    let stage = scaled(Setting::new()).initialized().await;
    let before = scaler(&stage, COPY)["spec"].take();
    edit(
        &stage,
        COPY,
        json!({ "metadata": { "annotations": { "their/own": "x" } }, "spec": { "minReplicas": 1, "maxReplicas": 1 } }),
    )
    .await;
    stage
        .until("put right", |stage| scaler(stage, COPY)["spec"] == before)
        .await;
    assert_eq!(scaler(&stage, COPY)["metadata"]["annotations"]["their/own"], "x");
}

/// E25: another scaler takes the place of the one before, whose copy goes first; without any the copy goes.
#[tokio::test(start_paused = true)]
async fn another_scaler_takes_the_place_of_the_one_before() {
    let stage = scaled(Setting::new()).initialized().await;
    stage.delete(SCALERS, SCALER, APP).await;
    let mut other = manifests::autoscaler(NAMESPACE, APP, 3, 7);
    other["metadata"]["name"] = "other".into();
    stage.create(&other).await;
    stage.edit_canary(json!({ "autoscalerRef": { "name": "other" } })).await;
    stage
        .until("the other copy", |stage| bounds(stage, "other-primary") == (3, 7))
        .await;
    assert!(scaler(&stage, COPY).is_null());
    stage.edit_canary(json!({ "autoscalerRef": null })).await;
    stage
        .until("no copy", |stage| scaler(stage, "other-primary").is_null())
        .await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.replicas(COPY), 3);
}

#[tokio::test(start_paused = true)]
async fn a_scaler_of_another_workload_or_a_copy_of_somebody_else_s_is_refused_by_name() {
    let mut theirs = manifests::autoscaler(NAMESPACE, "theirs", 1, 2);
    theirs["metadata"]["name"] = COPY.into();
    let mut elsewhere = manifests::autoscaler(NAMESPACE, "elsewhere", 1, 2);
    elsewhere["metadata"]["name"] = APP.into();
    for (setting, words) in [
        (scaled(Setting::new()).object(theirs), "app-primary stands already"),
        (
            Setting::new()
                .object(elsewhere)
                .spec(&json!({ "autoscalerRef": { "apiVersion": SCALERS, "kind": SCALER, "name": APP } })),
            "scales Deployment elsewhere, not Deployment app",
        ),
        (
            scaled(Setting::new()).spec(&json!({ "autoscalerRef": { "apiVersion": "apps/v1" } })),
            "spec.autoscalerRef.apiVersion",
        ),
    ] {
        let stage = setting.raise().await;
        stage.until_reason("InvalidSpec").await;
        assert!(stage.why("message").contains(words), "{}", stage.why("message"));
        assert!(stage.deployment(COPY).is_null());
    }
}

/// Deletion: the target gets the size that the primary's scaler gave it, and the copy goes with the primary.
#[tokio::test(start_paused = true)]
async fn a_deletion_hands_back_the_size_that_the_primary_had() {
    let stage = scaled(Setting::new())
        .script(|script| script.demand(COPY, 5).demand(APP, 5))
        .initialized()
        .await;
    stage.until("at its peak", |stage| stage.ready(COPY) == 5).await;
    let team = team_s(&stage);
    stage.delete(CANARY, "Canary", APP).await;
    stage.until("gone", |stage| stage.canary().is_null()).await;
    stage.until("collected", |stage| stage.deployment(COPY).is_null()).await;
    stage.pass(60).await;
    assert!(scaler(&stage, COPY).is_null(), "the copy goes with the primary");
    assert_eq!((stage.replicas(APP), stage.ready(APP)), (5, 5));
    assert_eq!(team_s(&stage), team);
    assert!(stage.answers().lost < 1.0, "{:?}", stage.answers());
}

/// Two writes of the copy a release, none at a check; at rest none at all, however often the scaler's status changes.
#[tokio::test(start_paused = true)]
async fn a_scaler_costs_two_writes_a_release_and_nothing_at_rest() {
    let mishap = Mishap::new(0, How::Counted);
    let stage = scaled(Setting::new()).mishap(mishap.clone()).initialized().await;
    mishap.arm(&stage.serin);
    let of_scalers = |mishap: &Mishap| {
        let is_one = |request: &RequestInfo| request.resource == "horizontalpodautoscalers" && request.verb != "watch";
        mishap.requests().into_iter().filter(is_one).count()
    };
    for pods in [4, 5, 4, 5] {
        stage.world.change(|script| script.demand(COPY, pods));
        stage.pass(60).await;
    }
    assert_eq!(of_scalers(&mishap), 0, "{:?}", mishap.requests());
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    stage.pass(60).await;
    assert_eq!(bounds(&stage, COPY), (2, 6));
    assert!(of_scalers(&mishap) <= 2, "{:?}", mishap.requests());
}
