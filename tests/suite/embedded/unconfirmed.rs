//! Canaries that go while the gateway does not say that it took their route, or while nothing is given time.

use serde_json::json;
use serin::sim::world::script::RouterSays;

use super::{setting::Setting, stage::Stage};

const CANARY: &str = "flagger.app/v1beta1";

/// Seconds from the deletion until the Canary is gone.
async fn takes_to_go(stage: &Stage) -> i64 {
    stage.delete(CANARY, "Canary", "app").await;
    let before = stage.clock.now();
    stage.until("gone", |stage| stage.canary().is_null()).await;
    (stage.clock.now() - before).num_seconds()
}

/// Where nothing is waited for, the time to look again is the time of the look itself.
#[tokio::test(start_paused = true)]
async fn settle_times_of_zero_do_not_keep_a_canary_that_goes() {
    for provider in ["gatewayapi:v1", "contour", "istio"] {
        for seed in 1..=6 {
            let stage = Setting::with_provider(provider)
                .seed(seed)
                .spec(&json!({ "trafficSettleSeconds": 0 }))
                .initialized()
                .await;
            stage.push("app:2").await;
            stage.until_weight(40).await;
            let took = takes_to_go(&stage).await;
            assert!(
                took <= 45,
                "{provider}, seed {seed}: nothing keeps it, and it took {took} s"
            );
        }
    }
}

/// A gateway that does not confirm the last writes keeps the Canary until its deadline, and no longer.
#[tokio::test(start_paused = true)]
async fn a_gateway_that_falls_silent_does_not_keep_a_canary_behind_its_deadline() {
    for (provider, settle) in [
        ("gatewayapi:v1", 0),
        ("gatewayapi:v1", 5),
        ("contour", 0),
        ("contour", 5),
    ] {
        for seed in 1..=4 {
            let stage = Setting::with_provider(provider)
                .seed(seed)
                .spec(&json!({ "trafficSettleSeconds": settle }))
                .initialized()
                .await;
            stage.world.change(|script| script.router("app", RouterSays::Silent));
            let took = takes_to_go(&stage).await;
            assert!(
                took <= 90,
                "{provider}, seed {seed}: progressDeadlineSeconds is 60; it took {took} s"
            );
            assert_eq!(stage.selects("app"), "app", "{provider}, seed {seed}");
        }
    }
}
