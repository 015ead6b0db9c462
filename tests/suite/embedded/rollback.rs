//! What becomes of the canary's pods behind a run, and of a primary that does not come up (ranks 1, 44 and 48 of `spec/users.md`).

use std::time::Duration;

use serde_json::{Value, json};
use serin::sim::world::{
    manifests,
    script::{Life, Pods},
    traffic::Behaviour,
};

use super::{
    setting::{APP, NAMESPACE, Setting},
    stage::Stage,
    traffic::no_request_lost,
};

const CANARY: &str = "flagger.app/v1beta1";
const BAD: Behaviour = Behaviour {
    success: 80.0,
    latency: 90.0,
};

fn bad(setting: Setting) -> Setting {
    setting.script(|script| script.answers("app:2", BAD))
}

/// The pods of the primary never get ready with the new version.
fn broken(setting: Setting, on_failure: &str) -> Setting {
    setting
        .spec(&json!({ "promotion": { "onFailure": on_failure } }))
        .script(|script| script.life(Pods::image("app:2").and(Pods::named("app-primary")), Life::NeverReady))
}

/// Seconds from now until the Deployment is at zero replicas.
async fn takes_to_go_down(stage: &Stage, name: &str) -> i64 {
    let before = stage.clock.now();
    stage.until("down", |stage| stage.replicas(name) == 0).await;
    (stage.clock.now() - before).num_seconds()
}

fn salt(stage: &Stage) -> String {
    let annotations = stage.deployment("app-primary")["spec"]["template"]["metadata"]["annotations"].take();
    annotations["flagger-id"].as_str().unwrap_or_default().to_owned()
}

/// Rank 44: websockets and long polls end by themselves before their pods do, wherever pods are taken.
#[tokio::test(start_paused = true)]
async fn connections_have_time_to_end_before_pods_are_taken_away() {
    for provider in ["gatewayapi:v1", "contour", "istio"] {
        let stage = bad(Setting::with_provider(provider))
            .spec(&json!({ "rollback": { "drainSeconds": 40 } }))
            .initialized()
            .await;
        stage.push("app:2").await;
        stage.until_weight(20).await;
        stage.until_weight(0).await;
        stage.until_stage("RollingBack").await;
        let took = takes_to_go_down(&stage, APP).await;
        assert!((35..=60).contains(&took), "{provider}, rolled back: {took}");
        stage.until_phase("Failed").await;
        stage.push("app:3").await;
        stage.until_weight(60).await;
        stage.until_weight(0).await;
        let took = takes_to_go_down(&stage, APP).await;
        assert!((38..=60).contains(&took), "{provider}, promoted: {took}");
        stage.until_phase("Succeeded").await;
        stage.delete(CANARY, "Canary", APP).await;
        stage
            .until("handed back", |stage| {
                stage.selects(APP) == APP && stage.ready(APP) == 3
            })
            .await;
        let before = stage.clock.now();
        stage.until("gone", |stage| stage.canary().is_null()).await;
        let took = (stage.clock.now() - before).num_seconds();
        assert!((40..=80).contains(&took), "{provider}, deleted: {took}");
        no_request_lost(&stage);
    }
}

/// A takeover leaves the connections of the old pods the same time.
#[tokio::test(start_paused = true)]
async fn connections_have_time_to_end_when_an_application_is_taken_over() {
    let setting = Setting::new().spec(&json!({ "rollback": { "drainSeconds": 40 } }));
    let stage = setting.raise().await;
    stage
        .until("switched", |stage| stage.selects(APP) == "app-primary")
        .await;
    let took = takes_to_go_down(&stage, APP).await;
    assert!((38..=60).contains(&took), "{took}");
    stage.until_phase("Initialized").await;
    no_request_lost(&stage);
}

/// Rank 44: pods of a failed revision are kept for logs and dumps, out of the traffic, and the run is over all the same.
#[tokio::test(start_paused = true)]
async fn the_pods_of_a_failed_revision_are_kept_for_a_while() {
    let stage = bad(Setting::new())
        .spec(&json!({ "rollback": { "scaleDownDelay": "3m" } }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    assert_eq!((stage.ready(APP), stage.weight()), (3, Some(0)));
    assert_eq!(stage.events_with("Keeping the pods of app.test for 3m"), 1);
    assert_eq!(stage.why("then"), "the target is scaled to zero");
    stage.pass(120).await;
    stage.serin.kill();
    stage.serin.start();
    stage.pass(45).await;
    assert_eq!(stage.ready(APP), 3);
    let took = takes_to_go_down(&stage, APP).await;
    assert!(took <= 30, "{took}");
    stage.pass(60).await;
    assert_eq!(stage.status()["serin"]["keptUntil"], Value::Null);
    assert_eq!((stage.phase(), stage.replicas(APP)), ("Failed".into(), 0));
    assert_eq!(stage.answers().lost.to_string(), "0");
}

/// What is kept waits for nobody: a new revision uses the pods, and a return to the promoted one takes them away at once.
#[tokio::test(start_paused = true)]
async fn kept_pods_stand_in_nobodys_way() {
    let kept = json!({ "rollback": { "scaleDownDelay": "30m" } });
    for (image, phase) in [("app:3", "Succeeded"), ("app:1", "Succeeded")] {
        let stage = bad(Setting::new()).spec(&kept).initialized().await;
        stage.push("app:2").await;
        stage.until_phase("Failed").await;
        // The answers of the bad version are out of the metrics' window.
        stage.pass(90).await;
        let before = stage.clock.now();
        stage.push(image).await;
        stage.until_phase(phase).await;
        assert_eq!(takes_to_go_down(&stage, APP).await, 0, "{image}");
        assert!((stage.clock.now() - before).num_minutes() < 5, "{image}");
        assert_eq!(stage.image("app-primary"), image);
        stage.pass(30).await;
        assert_eq!(stage.status()["serin"]["keptUntil"], Value::Null);
    }
}

/// A target that is deleted and made anew at rest comes with the replicas of its manifest, which nobody needs.
#[tokio::test(start_paused = true)]
async fn a_target_that_is_made_anew_at_rest_is_scaled_down_once() {
    let stage = Setting::new().initialized().await;
    stage.delete("apps/v1", "Deployment", APP).await;
    stage.pass(20).await;
    stage.create(&manifests::deployment(NAMESPACE, APP, "app:1", 3)).await;
    stage.pass(8).await;
    takes_to_go_down(&stage, APP).await;
    stage.pass(60).await;
    assert_eq!(stage.phase(), "Initialized");
    assert_eq!(stage.events_with("was made anew"), 1);
    // Whom nobody asked may scale it up: that is a person's will.
    stage.edit_deployment(APP, json!({ "replicas": 1 })).await;
    stage.pass(120).await;
    assert_eq!((stage.replicas(APP), stage.events_with("was made anew")), (1, 1));
    no_request_lost(&stage);
}

/// `promotion.onFailure: restorePrimary`: the run has failed, and production is what it was.
#[tokio::test(start_paused = true)]
async fn a_primary_that_does_not_come_up_gets_its_last_good_revision_back() {
    for provider in ["gatewayapi:v1", "contour"] {
        for strategy in ["Recreate", "RollingUpdate"] {
            let stage = broken(Setting::with_provider(provider), "restorePrimary")
                .deployment(&json!({ "strategy": { "type": strategy } }))
                .initialized()
                .await;
            stage.push("app:2").await;
            stage.until_stage("Restoring").await;
            assert_eq!(
                stage.weight(),
                Some(100),
                "{provider}, {strategy}: the canary has the traffic"
            );
            stage.until_phase("Failed").await;
            let primary = (
                stage.image("app-primary"),
                stage.ready("app-primary"),
                stage.replicas(APP),
            );
            assert_eq!(primary, ("app:1".into(), 3, 0), "{provider}, {strategy}");
            assert_eq!(stage.condition("Stalled"), ("True".into(), "PromotionFailed".into()));
            let alerts = stage.alerts();
            let told = alerts
                .iter()
                .filter(|(_, text)| text.contains("Promotion failed"))
                .count();
            assert_eq!(told, 1, "{alerts:?}");
            stage.pass(120).await;
            assert_eq!(stage.phase(), "Failed", "the same revision is not tried again");
            no_request_lost(&stage);
            stage.push("app:3").await;
            stage.until_phase("Succeeded").await;
            assert_eq!(stage.image("app-primary"), "app:3");
            no_request_lost(&stage);
        }
    }
}

/// `promotion.onFailure: retry`: new pods each time that the patience with the old ones has run out.
#[tokio::test(start_paused = true)]
async fn the_pods_of_a_primary_that_does_not_come_up_are_made_anew() {
    let stage = broken(Setting::new(), "retry").initialized().await;
    stage.push("app:2").await;
    stage.until_stage("HoldOnCanary").await;
    let first = salt(&stage);
    assert_eq!(stage.why("then"), "the primary's pods are made anew");
    stage.until("retried", |stage| salt(stage) != first).await;
    let second = salt(&stage);
    assert_eq!(
        stage.deployment("app-primary")["metadata"]["annotations"]["serin.dev/attempt"],
        "1/1"
    );
    stage.serin.kill();
    stage.serin.start();
    stage.until("retried again", |stage| salt(stage) != second).await;
    assert_eq!(stage.events_with("Retrying the promotion of app-primary.test"), 2);
    assert_eq!((stage.phase(), stage.weight()), ("Failed".into(), Some(100)));
    stage
        .world
        .change(|script| script.life(Pods::Any, Life::ReadyAfter(Duration::from_secs(3))));
    stage.until_phase("Succeeded").await;
    assert_eq!(
        (stage.image("app-primary"), stage.ready("app-primary")),
        ("app:2".into(), 3)
    );
    no_request_lost(&stage);
    stage.push("app:3").await;
    stage
        .until("promoted", |stage| stage.image("app-primary") == "app:3")
        .await;
    stage.until_phase("Succeeded").await;
    assert_eq!(
        stage.deployment("app-primary")["metadata"]["annotations"]["serin.dev/attempt"],
        Value::Null
    );
    no_request_lost(&stage);
}

/// A primary that comes up while it is being restored is kept: both revisions were judged good enough to serve.
#[tokio::test(start_paused = true)]
async fn a_policy_that_changes_while_traffic_is_held_is_followed() {
    let stage = broken(Setting::new(), "hold").initialized().await;
    stage.push("app:2").await;
    stage.until_stage("HoldOnCanary").await;
    stage.pass(200).await;
    assert_eq!(stage.status()["serin"]["stage"], "HoldOnCanary");
    stage
        .edit_canary(json!({ "promotion": { "onFailure": "restorePrimary" } }))
        .await;
    stage.until_stage("Restoring").await;
    stage.until_phase("Failed").await;
    stage.until_stage("Resting").await;
    assert_eq!(
        (
            stage.image("app-primary"),
            stage.ready("app-primary"),
            stage.replicas(APP)
        ),
        ("app:1".into(), 3, 0)
    );
    no_request_lost(&stage);
}
