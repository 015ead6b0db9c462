//! `ConfigMap`s and Secrets that the pods read.

use serde_json::json;

use super::replays;
use crate::embedded::{configs, configs_live, stage::Stage};

async fn turns_blue(stage: &Stage) {
    configs::change(stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
    stage.until_phase("Progressing").await;
}

replays! {
    a_change_of_a_config_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    configs::reading,
    |stage| {
        turns_blue(stage).await;
        stage.until_phase("Succeeded").await;
    }

    a_config_that_changes_again_in_its_run_ends_the_same_whatever_call_fails with "contour", taken_over,
    configs::reading,
    |stage| {
        turns_blue(stage).await;
        stage.until_weight(40).await;
        configs::change(stage, "ConfigMap", "app-env", &json!({ "color": "green" })).await;
        stage.until_phase("Succeeded").await;
    }

    a_config_that_fails_ends_the_same_whatever_call_fails with "istio", taken_over,
    configs::reading,
    |stage| {
        // The image is the same, so it is a person who finds that blue is wrong.
        turns_blue(stage).await;
        stage.until_weight(40).await;
        stage.say("abort", "1").await;
        stage.until_phase("Failed").await;
    }

    a_rotated_secret_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| configs::reading(setting)
        .spec(&json!({ "configTracking": [{ "kind": "Secret", "name": "app-key", "mode": "liveRestart" }] })),
    |stage| {
        // The first look at rest takes note of what there is.
        stage.pass(30).await;
        configs::change(stage, "Secret", "app-key", &json!({ "key": "new" })).await;
        stage.until("rolled", |stage| !configs_live::mark(stage).is_null()).await;
    }

    a_release_with_a_live_config_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| configs::reading(setting)
        .spec(&json!({ "configTracking": [{ "kind": "ConfigMap", "name": "app-env", "mode": "live" }] })),
    |stage| {
        configs::change(stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
        stage.pass(30).await;
        configs::change(stage, "Secret", "app-key", &json!({ "key": "new" })).await;
        stage.until_phase("Progressing").await;
        stage.until_phase("Succeeded").await;
    }
}
