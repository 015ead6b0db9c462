//! Coming, going, and going on under other names.

use serde_json::json;
use serin::sim::world::manifests;

use super::{CANARY, replays};
use crate::embedded::{
    setting::{APP, NAMESPACE, Setting},
    stage::Stage,
    strategies::iterations,
};

/// The team's Canary comes to an application that lives.
async fn comes(stage: &Stage, setting: Setting) {
    let canary = setting.canary.expect("the setting must have a Canary");
    stage.create(&canary).await;
    stage.until_phase("Initialized").await;
}

async fn goes(stage: &Stage) {
    stage.delete(CANARY, "Canary", APP).await;
    stage.until("gone", |stage| stage.canary().is_null()).await;
}

fn reverts(setting: Setting) -> Setting {
    setting.spec(&json!({ "revertOnDeletion": true }))
}

replays! {
    an_adoption_ends_the_same_whatever_call_fails with "gatewayapi:v1", not_yet,
    Setting::without_canary,
    |stage| { comes(stage, Setting::with_provider("gatewayapi:v1")).await; }

    an_adoption_with_istio_ends_the_same_whatever_call_fails with "istio", not_yet,
    Setting::without_canary,
    |stage| { comes(stage, Setting::with_provider("istio")).await; }

    an_adoption_without_a_route_ends_the_same_whatever_call_fails with "kubernetes", not_yet,
    Setting::without_canary,
    |stage| { comes(stage, Setting::with_provider("kubernetes").analysis(&iterations(3))).await; }

    an_adoption_that_drains_ends_the_same_whatever_call_fails with "contour", not_yet,
    Setting::without_canary,
    |stage| {
        let drains = json!({ "rollback": { "drainSeconds": 20 } });
        comes(stage, Setting::with_provider("contour").spec(&drains)).await;
    }

    /// What Flagger left at rest: a status without a word of Serin's.
    a_switch_from_flagger_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting,
    |stage| {
        stage.serin.kill();
        let api = stage.dynamic(CANARY, "Canary");
        let status = kube::api::Patch::Merge(json!({ "status": { "serin": null } }));
        api.patch_status(APP, &kube::api::PatchParams::default(), &status).await.expect("accepted");
        stage.serin.start();
        stage.until("adopted", |stage| stage.status()["serin"]["stage"] == "Resting").await;
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
    }

    a_deletion_ends_the_same_whatever_call_fails with "contour", taken_over,
    reverts, |stage| { goes(stage).await; }

    a_deletion_with_istio_ends_the_same_whatever_call_fails with "istio", taken_over,
    reverts, |stage| { goes(stage).await; }

    a_deletion_without_a_route_ends_the_same_whatever_call_fails with "kubernetes", taken_over,
    |setting| reverts(setting).analysis(&iterations(3)), |stage| { goes(stage).await; }

    a_deletion_that_hands_back_no_route_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| setting, |stage| { goes(stage).await; }

    a_deletion_that_drains_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| reverts(setting).spec(&json!({ "rollback": { "drainSeconds": 20 } })),
    |stage| { goes(stage).await; }

    a_deletion_in_a_run_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    reverts,
    |stage| {
        stage.push("app:2").await;
        stage.until_weight(40).await;
        goes(stage).await;
    }

    a_move_to_another_provider_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| setting,
    |stage| {
        stage.edit_canary(json!({ "provider": "contour" })).await;
        stage.until_stage("Moving").await;
        stage.until_stage("Resting").await;
    }

    a_move_to_another_service_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting,
    |stage| {
        stage.edit_canary(json!({ "service": { "name": "shop" } })).await;
        stage.until_stage("Moving").await;
        stage.until_stage("Resting").await;
    }

    a_move_to_another_target_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| setting.object(manifests::deployment(NAMESPACE, "web", "web:1", 3)),
    |stage| {
        stage.edit_canary(json!({ "targetRef": { "name": "web" }, "service": { "name": "app" } })).await;
        stage.until("moved", |stage| {
            stage.selects("app") == "web-primary" && stage.status()["serin"]["stage"] == "Resting"
        }).await;
    }
}
