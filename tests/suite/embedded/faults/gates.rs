//! Hooks: gates that open, that nobody opens, that send a release back, and what reports.

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use serin::sim::world::hooks::HookSays;

use super::replays;
use crate::embedded::{
    setting::{NAMESPACE, Setting, hook},
    stage::Stage,
};

/// A gate before each step, which is decided for after a while.
fn forgotten(setting: Setting, on_timeout: &str) -> Setting {
    let mut gate = hook("confirm-traffic-increase", "gate");
    gate["gateTimeout"] = "45s".into();
    gate["onTimeout"] = on_timeout.into();
    setting.analysis(&json!({ "webhooks": [gate] }))
}

async fn forget(stage: &Stage) {
    stage.hooks.answer("gate", [HookSays::No("nobody is here".into())]);
    stage.push("app:2").await;
}

/// What a hook sends along.
fn token() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "token", "namespace": NAMESPACE },
        "data": { "Authorization": ByteString(b"Bearer s3cret".to_vec()) },
    })
}

replays! {
    a_release_behind_gates_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| setting.hooks(&[
        ("confirm-rollout", "gate-start"),
        ("pre-rollout", "smoke"),
        ("confirm-promotion", "gate-promotion"),
        ("post-rollout", "report"),
        ("event", "listener"),
    ]),
    |stage| {
        for gate in ["gate-start", "gate-promotion"] {
            stage.hooks.answer(gate, [HookSays::No("not yet".into())]);
        }
        stage.push("app:2").await;
        stage.until_phase("Waiting").await;
        stage.pass(25).await;
        stage.hooks.answer("gate-start", [HookSays::Yes]);
        stage.until_phase("WaitingPromotion").await;
        stage.pass(25).await;
        stage.hooks.answer("gate-promotion", [HookSays::Yes]);
        stage.until_phase("Succeeded").await;
    }

    /// The revision that a gate keeps back is taken back.
    a_revert_before_the_start_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting.hooks(&[("confirm-rollout", "gate")]),
    |stage| {
        stage.hooks.answer("gate", [HookSays::No("not yet".into())]);
        stage.push("app:2").await;
        stage.until_phase("Waiting").await;
        stage.push("app:1").await;
        stage.until_stage("Resting").await;
    }

    a_gate_that_is_forgotten_and_approves_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| forgotten(setting, "approve"),
    |stage| {
        forget(stage).await;
        stage.until_phase("Succeeded").await;
    }

    a_gate_that_is_forgotten_and_sends_back_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| forgotten(setting, "rollback"),
    |stage| {
        forget(stage).await;
        stage.until_phase("Failed").await;
    }

    a_gate_that_is_forgotten_and_holds_ends_the_same_whatever_call_fails with "istio", taken_over,
    |setting| forgotten(setting, "hold"),
    |stage| {
        forget(stage).await;
        stage.until_stage("Raising").await;
        stage.pass(180).await;
        stage.hooks.answer("gate", [HookSays::Yes]);
        stage.until_phase("Succeeded").await;
    }

    a_hook_that_sends_a_release_back_ends_the_same_whatever_call_fails with "contour", taken_over,
    |setting| setting.hooks(&[("rollback", "panic-button"), ("post-rollout", "report")]),
    |stage| {
        stage.hooks.answer("panic-button", [HookSays::No("not pressed".into())]);
        stage.push("app:2").await;
        stage.until_weight(40).await;
        stage.hooks.answer("panic-button", [HookSays::Yes]);
        stage.until_phase("Failed").await;
    }

    hooks_that_send_a_secret_along_end_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| {
        let mut smoke = hook("pre-rollout", "smoke");
        smoke["headersFrom"] = json!({ "name": "token" });
        setting.object(token()).analysis(&json!({ "webhooks": [smoke] }))
    },
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
    }
}
