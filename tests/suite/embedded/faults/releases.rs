//! Releases by weight, from a push to the end.

use serde_json::json;
use serin::sim::world::script::{Life, Pods};

use super::{BAD, replays};

replays! {
    a_promotion_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| setting.analysis(&json!({ "stepWeightPromotion": 50 })),
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
    }

    a_promotion_with_contour_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting.analysis(&json!({ "stepWeightPromotion": 50 })),
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
    }

    a_promotion_with_istio_ends_the_same_whatever_call_fails with "istio", taken_over,
    |setting| setting.analysis(&json!({ "stepWeightPromotion": 50 })),
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
    }

    a_promotion_that_drains_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting.spec(&json!({ "rollback": { "drainSeconds": 20 } })),
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
    }

    a_rollback_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting.script(|script| script.answers("app:2", BAD)),
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Failed").await;
    }

    a_rollback_at_the_deadline_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| {
        setting
            .spec(&json!({ "progressDeadlineSeconds": 60 }))
            .script(|script| script.life(Pods::image("app:2"), Life::NeverReady))
    },
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Failed").await;
    }

    a_rollback_that_keeps_its_pods_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| {
        setting
            .spec(&json!({ "rollback": { "drainSeconds": 10, "scaleDownDelay": "60s" } }))
            .script(|script| script.answers("app:2", BAD))
    },
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Failed").await;
        stage.until("down", |stage| stage.replicas("app") == 0).await;
    }

    a_restart_on_a_newer_revision_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| setting,
    |stage| {
        stage.push("app:2").await;
        stage.until_weight(40).await;
        stage.push("app:3").await;
        stage.until_phase("Succeeded").await;
    }

    a_revert_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting,
    |stage| {
        stage.push("app:2").await;
        stage.until_weight(40).await;
        stage.push("app:1").await;
        stage.until_stage("Resting").await;
    }

    /// The failure is history once the team went back, and the same revision gets another run.
    a_revert_of_a_failed_release_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| setting.script(|script| script.answers("app:2", BAD)),
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Failed").await;
        stage.push("app:1").await;
        stage.until("ready", |stage| stage.condition("Ready").0 == "True").await;
        stage.world.change(|script| script.answers("app:2", serin::sim::world::traffic::Behaviour::default()));
        stage.pass(90).await;
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
    }

    a_release_without_analysis_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting.spec(&json!({ "skipAnalysis": true })),
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
    }

    /// For longer than its intervals.
    a_release_that_is_suspended_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| setting,
    |stage| {
        stage.push("app:2").await;
        stage.until_weight(40).await;
        stage.edit_canary(json!({ "suspend": true })).await;
        stage.pass(120).await;
        stage.edit_canary(json!({ "suspend": false })).await;
        stage.until_phase("Succeeded").await;
    }
}
