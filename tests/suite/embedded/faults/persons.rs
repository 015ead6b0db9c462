//! Releases that persons steer by their words.

use serde_json::json;
use serin::sim::world::hooks::HookSays;

use super::{BAD, replays};

replays! {
    a_release_that_persons_steer_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| setting,
    |stage| {
        stage.push("app:2").await;
        stage.until_weight(20).await;
        stage.say("pause", "1").await;
        stage.until_reason("Paused").await;
        stage.say("goto", "2,35").await;
        stage.until_weight(35).await;
        stage.pass(60).await;
        stage.say("abort", "3,enough").await;
        stage.until_phase("Failed").await;
    }

    a_release_that_persons_hurry_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting.analysis(&json!({ "interval": "5m" })),
    |stage| {
        stage.push("app:2").await;
        stage.until_weight(20).await;
        stage.say("promote", "1").await;
        stage.until_weight(40).await;
        stage.say("pause", "2").await;
        stage.until_reason("Paused").await;
        stage.say("resume", "3").await;
        stage.until("it goes on", |stage| stage.why("reason") != "Paused").await;
        stage.say("promote-full", "4").await;
        stage.until_phase("Succeeded").await;
    }

    a_release_that_is_sent_home_and_on_again_ends_the_same_whatever_call_fails with "istio", taken_over,
    |setting| setting,
    |stage| {
        stage.push("app:2").await;
        stage.until_weight(40).await;
        stage.say("goto", "1,0").await;
        stage.until_weight(0).await;
        stage.pass(60).await;
        stage.say("promote", "2").await;
        stage.until_phase("Succeeded").await;
    }

    a_release_that_is_tried_again_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| setting.script(|script| script.answers("app:2", BAD)),
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Failed").await;
        stage.world.change(|script| script.answers("app:2", serin::sim::world::traffic::Behaviour::default()));
        stage.pass(90).await;
        stage.say("retry", "1").await;
        stage.until_phase("Succeeded").await;
    }

    gates_that_persons_answer_end_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting.hooks(&[("confirm-rollout", "gate-start"), ("confirm-promotion", "gate-promotion")]),
    |stage| {
        for gate in ["gate-start", "gate-promotion"] {
            stage.hooks.answer(gate, [HookSays::No("not yet".into())]);
        }
        stage.push("app:2").await;
        stage.until_phase("Waiting").await;
        stage.say("approve", "1").await;
        stage.until_phase("WaitingPromotion").await;
        stage.say("reject", "2").await;
        stage.until_phase("Failed").await;
    }
}
