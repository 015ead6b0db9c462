//! Releases that do not only go by weight: tests of some callers, Blue/Green, copies of requests, cookies, no route at all.

use serde_json::{Value, json};

use super::{BAD, replays};
use crate::embedded::{setting::Setting, stage::Stage, strategies::iterations};

fn testers(setting: Setting) -> Setting {
    setting
        .analysis(&iterations(3))
        .analysis(&json!({ "match": [{ "headers": { "x-user": { "exact": "tester" } } }] }))
        .script(|script| script.load("app-canary"))
}

fn mirrored(setting: Setting) -> Setting {
    setting
        .analysis(&iterations(2))
        .analysis(&json!({ "mirror": true, "mirrorWeight": 50 }))
}

fn plain(setting: Setting) -> Setting {
    setting
        .analysis(&iterations(3))
        .script(|script| script.load("app-canary"))
}

fn cookies() -> Value {
    json!({ "sessionAffinity": { "cookieName": "side", "primaryCookieName": "home" } })
}

async fn promoted(stage: &Stage) {
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
}

replays! {
    a_test_of_testers_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    testers, |stage| { promoted(stage).await; }

    a_test_of_testers_with_contour_ends_the_same_whatever_call_fails with "contour", taken_over,
    testers, |stage| { promoted(stage).await; }

    a_test_of_testers_with_istio_ends_the_same_whatever_call_fails with "istio", taken_over,
    testers, |stage| { promoted(stage).await; }

    a_blue_green_release_ends_the_same_whatever_call_fails with "contour", taken_over,
    plain, |stage| { promoted(stage).await; }

    a_mirrored_release_ends_the_same_whatever_call_fails with "contour", taken_over,
    mirrored, |stage| { promoted(stage).await; }

    a_mirrored_release_with_istio_ends_the_same_whatever_call_fails with "istio", taken_over,
    mirrored, |stage| { promoted(stage).await; }

    a_mirrored_release_with_a_gateway_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    mirrored, |stage| { promoted(stage).await; }

    /// Weights, and copies before the first of them.
    a_mirrored_first_step_ends_the_same_whatever_call_fails with "istio", taken_over,
    |setting| setting.analysis(&json!({ "mirror": true, "mirrorWeight": 50 })),
    |stage| { promoted(stage).await; }

    a_release_with_cookies_ends_the_same_whatever_call_fails with "istio", taken_over,
    |setting| setting.analysis(&cookies()), |stage| { promoted(stage).await; }

    a_release_with_cookies_and_a_gateway_ends_the_same_whatever_call_fails with "gatewayapi:v1", taken_over,
    |setting| setting.analysis(&cookies()), |stage| { promoted(stage).await; }

    a_release_without_a_route_ends_the_same_whatever_call_fails with "kubernetes", taken_over,
    plain, |stage| { promoted(stage).await; }

    a_rollback_without_a_route_ends_the_same_whatever_call_fails with "kubernetes", taken_over,
    |setting| plain(setting).script(|script| script.answers("app:2", BAD)),
    |stage| {
        stage.push("app:2").await;
        stage.until_phase("Failed").await;
    }
}
