//! No request is lost, whatever the data plane and the pods do (ranks 1, 13 and 25 of `spec/users.md`).

use std::time::Duration;

use serde_json::json;
use serin::sim::world::script::{Life, Pace, Pods};

use super::{setting::Setting, stage::Stage};

const CANARY: &str = "flagger.app/v1beta1";

pub fn no_request_lost(stage: &Stage) {
    let lost = stage.answers().lost;
    assert!(lost < 1.0, "{lost} requests were lost");
}

/// Rank 1: the new version does not come up as primary, and `Recreate` would have taken the old one first.
#[tokio::test(start_paused = true)]
async fn a_failed_promotion_under_recreate_loses_no_request_and_goes_on_by_itself() {
    for provider in ["gatewayapi:v1", "contour"] {
        let broken = Pods::image("app:2").and(Pods::named("app-primary"));
        let stage = Setting::with_provider(provider)
            .deployment(&json!({ "strategy": { "type": "Recreate" } }))
            .script(|script| script.life(broken, Life::NeverReady))
            .initialized()
            .await;
        stage.push("app:2").await;
        stage.until_stage("HoldOnCanary").await;
        assert_eq!((stage.weight(), stage.replicas("app")), (Some(100), 3), "{provider}");
        assert_eq!(stage.condition("Stalled"), ("True".into(), "PromotionFailed".into()));
        stage.pass(300).await;
        stage
            .world
            .change(|script| script.life(Pods::Any, Life::ReadyAfter(Duration::from_secs(3))));
        stage.until_phase("Succeeded").await;
        assert_eq!(
            (stage.weight(), stage.replicas("app"), stage.ready("app-primary")),
            (Some(0), 0, 3)
        );
        no_request_lost(&stage);
    }
}

/// Rank 13: also without analysis, and with what the Service had of its own.
#[tokio::test(start_paused = true)]
async fn a_live_application_is_taken_over_without_a_lost_request() {
    for provider in ["gatewayapi:v1", "contour"] {
        for skip in [false, true] {
            let mut setting = Setting::with_provider(provider).spec(&json!({ "skipAnalysis": skip }));
            let service = json!({
                "metadata": { "labels": { "team": "a" }, "annotations": { "note": "kept" } },
                "spec": { "ports": [
                    { "name": "http", "port": 80, "targetPort": "http" },
                    { "name": "admin", "port": 9000, "targetPort": 9000 },
                ] },
            });
            setting = setting.service(&service).script(|script| {
                script.pace(Pace {
                    ready: Duration::from_secs(20),
                    router: Duration::from_secs(8),
                    ..Pace::default()
                })
            });
            let stage = setting.initialized().await;
            no_request_lost(&stage);
            let service = stage.object("v1", "Service", "app");
            assert_eq!(service["metadata"]["labels"]["team"], "a");
            assert_eq!(service["metadata"]["annotations"]["note"], "kept");
            assert_eq!(service["spec"]["ports"][1]["name"], "admin");
        }
    }
}

/// Rank 13: a whole release, with slow pods and a slow router.
#[tokio::test(start_paused = true)]
async fn no_request_is_lost_in_a_whole_life_with_a_slow_data_plane() {
    for provider in ["gatewayapi:v1", "contour"] {
        let pace = Pace {
            ready: Duration::from_secs(9),
            router: Duration::from_secs(1),
            stop: Duration::from_secs(10),
            ..Pace::default()
        };
        let stage = Setting::with_provider(provider)
            .script(|script| {
                script
                    .pace(pace)
                    .life(Pods::image("app:3"), Life::ReadyAfter(Duration::from_secs(15)))
            })
            .initialized()
            .await;
        for image in ["app:2", "app:3"] {
            stage.push(image).await;
            stage
                .until("promoted", |stage| {
                    stage.phase() == "Succeeded" && stage.image("app-primary") == image
                })
                .await;
        }
        stage.push("app:4").await;
        stage.until_weight(40).await;
        stage.push("app:3").await;
        stage.until_stage("Resting").await;
        stage.delete(CANARY, "Canary", "app").await;
        stage.until("gone", |stage| stage.canary().is_null()).await;
        stage.pass(60).await;
        no_request_lost(&stage);
    }
}

/// Rank 25: a slow router.
#[tokio::test(start_paused = true)]
async fn the_target_goes_down_and_a_step_counts_only_after_the_router_confirmed() {
    let pace = Pace {
        router: Duration::from_secs(25),
        ..Pace::default()
    };
    let stage = Setting::new().script(|script| script.pace(pace)).initialized().await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    let writes = stage.story.timed_weights();
    let confirmed = stage.story.confirmations();
    for pair in writes.windows(2).filter(|pair| pair[0].1 > 0 && pair[1].1 > pair[0].1) {
        let (from, to) = (pair[0].0, pair[1].0);
        let at = confirmed
            .iter()
            .find(|at| **at > from)
            .expect("the router must have confirmed");
        assert!((to - *at).num_seconds() >= 10, "{writes:?} {confirmed:?}");
    }
    no_request_lost(&stage);
}
