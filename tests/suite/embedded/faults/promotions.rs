//! Promotions whose primary does not come up, and a primary that is lost.

use std::time::Duration;

use serde_json::json;
use serin::sim::world::script::{Life, Pods};

use super::replays;
use crate::embedded::{setting::Setting, stage::Stage, strategies::iterations};

/// The primary does not come up with the second revision.
fn broken(setting: Setting) -> Setting {
    let primary = || Pods::image("app:2").and(Pods::named("app-primary"));
    setting.script(|script| script.life(primary(), Life::NeverReady))
}

fn mend(stage: &Stage) {
    stage
        .world
        .change(|script| script.life(Pods::Any, Life::ReadyAfter(Duration::from_secs(3))));
}

replays! {
    a_failed_promotion_that_recovers_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| broken(setting).deployment(&json!({ "strategy": { "type": "Recreate" } })),
    |stage| {
        stage.push("app:2").await;
        stage.until_stage("HoldOnCanary").await;
        mend(stage);
        stage.until_phase("Succeeded").await;
    }

    a_primary_that_is_restored_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| broken(setting).spec(&json!({ "promotion": { "onFailure": "restorePrimary" } })),
    |stage| {
        stage.push("app:2").await;
        stage.until_stage("Restoring").await;
        stage.until_phase("Failed").await;
    }

    a_promotion_that_is_tried_again_ends_the_same_whatever_call_fails with "istio", taken_over,
    |setting| broken(setting).spec(&json!({ "promotion": { "onFailure": "retry" } })),
    |stage| {
        stage.push("app:2").await;
        stage.until_stage("HoldOnCanary").await;
        stage.until("tried again", |stage| {
            stage.deployment("app-primary")["metadata"]["annotations"]["serin.dev/attempt"] == "1/1"
        }).await;
        mend(stage);
        stage.until_phase("Succeeded").await;
    }

    /// The fix comes while all traffic is held on the canary.
    a_fix_while_traffic_is_held_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    broken,
    |stage| {
        stage.push("app:2").await;
        stage.until_stage("HoldOnCanary").await;
        stage.push("app:3").await;
        stage.until_phase("Succeeded").await;
    }

    a_held_promotion_without_a_route_ends_the_same_whatever_call_fails with "kubernetes", taken_over,
    |setting| broken(setting).analysis(&iterations(2)).script(|script| script.load("app-canary")),
    |stage| {
        stage.push("app:2").await;
        stage.until_stage("HoldOnCanary").await;
        mend(stage);
        stage.until_phase("Succeeded").await;
    }
}
