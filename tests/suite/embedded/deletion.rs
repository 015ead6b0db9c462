//! Canaries that go, alone or with everything around them (rank 16 of `spec/users.md`).

use kube::api::{Patch, PatchParams};
use serde_json::json;
use serin::sim::world::{
    manifests,
    script::{Life, Pods},
};

use super::setting::Setting;

const CANARY: &str = "flagger.app/v1beta1";

/// Rank 16: the whole application is uninstalled.
#[tokio::test(start_paused = true)]
async fn a_canary_whose_target_goes_too_is_released_at_once() {
    let stage = Setting::new().initialized().await;
    stage.delete("apps/v1", "Deployment", "app").await;
    stage.delete(CANARY, "Canary", "app").await;
    let before = stage.clock.now();
    stage.until("gone", |stage| stage.canary().is_null()).await;
    assert!((stage.clock.now() - before).num_seconds() <= 20);
}

/// Rank 16.
#[tokio::test(start_paused = true)]
async fn a_namespace_goes_without_waiting_for_a_hand_back() {
    let stage = Setting::new()
        .spec(&json!({ "revertOnDeletion": true }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(stage.team.clone());
    namespaces
        .delete("test", &kube::api::DeleteParams::default())
        .await
        .expect("accepted");
    let before = stage.clock.now();
    stage.until("gone", |stage| stage.canary().is_null()).await;
    assert!((stage.clock.now() - before).num_seconds() <= 30);
}

/// Rank 16: bounded, whatever is missing.
#[tokio::test(start_paused = true)]
async fn core_037_a_hand_back_to_a_target_that_does_not_come_up_ends_at_its_deadline() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:2"), Life::NeverReady))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    stage.delete(CANARY, "Canary", "app").await;
    let before = stage.clock.now();
    stage.until("gone", |stage| stage.canary().is_null()).await;
    let took = (stage.clock.now() - before).num_seconds();
    assert!(
        (55..=90).contains(&took),
        "progressDeadlineSeconds is 60; it took {took}"
    );
    let lost = stage.answers().lost;
    stage.pass(120).await;
    assert_eq!(
        (
            stage.selects("app"),
            stage.ready("app-primary"),
            stage.image("app-primary")
        ),
        ("app-primary".into(), 3, "app:1".into()),
        "what serves stays, though nobody owns it any more"
    );
    assert!(stage.answers().lost - lost < 1.0, "the application went down");
    let alerts = stage.alerts();
    let told = alerts
        .iter()
        .filter(|(_, text)| text.contains("the target did not come up"))
        .count();
    assert_eq!(told, 1, "{alerts:?}");
    // And a Canary that is made again takes it over as it stands.
    stage.push("app:1").await;
    stage
        .create(&manifests::canary(
            "test",
            "app",
            "gatewayapi:v1",
            &manifests::analysis("10s", 2, 60, 20),
        ))
        .await;
    stage.until("taken over", |stage| stage.phase() == "Initialized").await;
    stage.push("app:4").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:4");
    assert!(stage.answers().lost - lost < 1.0, "the application went down");
}

/// A Canary that came second and goes with a finalizer touches nothing of the first one's.
#[tokio::test(start_paused = true)]
async fn a_canary_whose_target_is_anothers_takes_nothing_with_it() {
    let stage = Setting::new().initialized().await;
    let mut second = manifests::canary(
        "test",
        "second",
        "gatewayapi:v1",
        &manifests::analysis("10s", 2, 60, 20),
    );
    second["metadata"]["finalizers"] = json!(["finalizer.flagger.app"]);
    second["spec"]["targetRef"]["name"] = json!("app");
    second["spec"]["service"]["name"] = json!("app");
    stage.create(&second).await;
    stage.push("app:2").await;
    stage.until_weight(40).await;
    let before = stage.clock.now();
    stage.delete(CANARY, "Canary", "second").await;
    stage
        .until("gone", |stage| stage.object(CANARY, "Canary", "second").is_null())
        .await;
    assert!(
        (stage.clock.now() - before).num_seconds() <= 30,
        "there is nothing to wait for"
    );
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
    assert!(stage.answers().lost < 1.0);
}

/// A status that nobody here understands does not keep a Canary, or its namespace, from going.
#[tokio::test(start_paused = true)]
async fn a_status_of_a_newer_version_does_not_hold_a_deletion_up() {
    let stage = Setting::new().initialized().await;
    let patch = json!({ "status": { "serin": { "version": 99 } } });
    let person = PatchParams {
        field_manager: Some("kubectl-patch".into()),
        ..PatchParams::default()
    };
    stage
        .dynamic(CANARY, "Canary")
        .patch_status("app", &person, &Patch::Merge(&patch))
        .await
        .expect("accepted");
    stage
        .until("held", |stage| stage.condition("Stalled").1 == "StatusIsNewer")
        .await;
    stage.delete(CANARY, "Canary", "app").await;
    stage.until("gone", |stage| stage.canary().is_null()).await;
    stage.pass(30).await;
    assert_eq!((stage.selects("app"), stage.ready("app")), ("app".into(), 3));
    assert!(stage.answers().lost < 1.0);
}

/// Another controller wrote the status and went away: the deletion is bounded all the same.
#[tokio::test(start_paused = true)]
async fn a_rival_that_went_away_holds_a_deletion_up_for_the_deadline_only() {
    let stage = Setting::new().initialized().await;
    let patch = json!({ "status": { "failedChecks": 1 } });
    let flagger = PatchParams {
        field_manager: Some("flagger".into()),
        ..PatchParams::default()
    };
    stage
        .dynamic(CANARY, "Canary")
        .patch_status("app", &flagger, &Patch::Merge(&patch))
        .await
        .expect("accepted");
    stage
        .until("held", |stage| stage.condition("Stalled").1 == "RivalController")
        .await;
    stage.delete(CANARY, "Canary", "app").await;
    let before = stage.clock.now();
    stage.until("gone", |stage| stage.canary().is_null()).await;
    let took = (stage.clock.now() - before).num_seconds();
    assert!((60..=150).contains(&took), "it took {took}");
    stage.pass(30).await;
    assert_eq!((stage.selects("app"), stage.ready("app")), ("app".into(), 3));
}
