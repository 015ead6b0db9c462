//! Releases of a workload that a `HorizontalPodAutoscaler` scales.

use serde_json::json;
use serin::sim::world::manifests;

use super::{BAD, CANARY, replays};
use crate::embedded::{
    scaler::scaled,
    setting::{APP, NAMESPACE},
    stage::named,
};

replays! {
    a_release_of_a_scaled_workload_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    scaled,
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
    }

    a_rollback_of_a_scaled_workload_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| scaled(setting).script(|script| script.answers("app:2", BAD)),
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Failed").await;
    }

    a_newer_revision_of_a_scaled_workload_ends_the_same_whatever_call_fails with "istio", taken_over,
    scaled,
    |stage| {
        stage.push("app:2").await;
        stage.until_weight(40).await;
        stage.push("app:3").await;
        stage.until_phase("Succeeded").await;
    }

    a_deletion_of_a_scaled_workload_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| scaled(setting).spec(&json!({ "revertOnDeletion": true })),
    |stage| {
        stage.delete(CANARY, "Canary", APP).await;
        stage.until("gone", |stage| stage.canary().is_null()).await;
    }

    a_scaler_that_is_edited_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| scaled(setting).spec(&json!({ "autoscalerRef": { "sync": "immediate" } })),
    |stage| {
        let larger = json!({ "spec": { "maxReplicas": 9 } });
        stage.change(&named("autoscaling/v2", "HorizontalPodAutoscaler", APP, &larger)).await;
        stage.until("followed", |stage| {
            stage.object("autoscaling/v2", "HorizontalPodAutoscaler", "app-primary")["spec"]["maxReplicas"] == 9
        }).await;
    }

    a_scaler_of_another_name_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| {
        let mut other = manifests::autoscaler(NAMESPACE, "other", 2, 7);
        other["spec"]["scaleTargetRef"]["name"] = APP.into();
        scaled(setting).object(other)
    },
    |stage| {
        stage.delete("autoscaling/v2", "HorizontalPodAutoscaler", APP).await;
        stage.edit_canary(json!({ "autoscalerRef": { "name": "other" } })).await;
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
    }
}
