//! Canaries that go, alone or with everything around them (rank 16 of `spec/users.md`).

use serde_json::json;
use serin::sim::world::script::{Life, Pods};

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
async fn a_hand_back_to_a_target_that_does_not_come_up_ends_at_its_deadline() {
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
}
