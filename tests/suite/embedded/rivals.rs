//! Others who write the same objects, and a second process (ranks 9, 34 and 37 of `spec/users.md`).

use serde_json::json;
use serin::controller::settings::Election;

use super::{setting::Setting, stage::named, time::steps_last_their_interval};

/// Rank 9: somebody puts the route back to the start at every step.
#[tokio::test(start_paused = true)]
async fn a_foreign_edit_of_the_route_at_any_step_is_put_back_to_the_weight_of_that_step() {
    for (provider, api_version, kind, rules, backends) in [
        (
            "gatewayapi:v1",
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            "rules",
            "backendRefs",
        ),
        ("contour", "projectcontour.io/v1", "HTTPProxy", "routes", "services"),
        (
            "istio",
            "networking.istio.io/v1beta1",
            "VirtualService",
            "http",
            "route",
        ),
    ] {
        let stage = Setting::with_provider(provider).initialized().await;
        stage.push("app:2").await;
        for weight in [20, 40, 60] {
            stage.until_weight(weight).await;
            stage.pass(2).await;
            let mut spec = stage.object(api_version, kind, "app")["spec"].take();
            spec[rules][0][backends][0]["weight"] = json!(100);
            spec[rules][0][backends][1]["weight"] = json!(0);
            stage.note("somebody writes 100/0");
            stage
                .change(&named(api_version, kind, "app", &json!({ "spec": spec })))
                .await;
            assert_eq!(stage.weight(), Some(0));
            let before = stage.clock.now();
            stage.until_weight(weight).await;
            assert!(
                (stage.clock.now() - before).num_seconds() <= 6,
                "{provider}: within a second of being seen"
            );
        }
        stage.until_phase("Succeeded").await;
        let by_serin: Vec<u64> = stage.story.moments().into_iter().map(|moment| moment.weight).collect();
        assert!(
            by_serin.windows(2).all(|pair| pair[0] <= pair[1] || pair[1] == 0),
            "{provider}: {by_serin:?}"
        );
    }
}

/// Rank 9, 37: a rival that does not stop is named, and nothing counts while it stands.
#[tokio::test(start_paused = true)]
async fn a_rival_that_undoes_the_route_again_and_again_is_named_once_and_holds_the_run() {
    let patient = json!({ "progressDeadlineSeconds": 300 });
    let stage = Setting::new().spec(&patient).initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    let mut spec = stage.object("gateway.networking.k8s.io/v1", "HTTPRoute", "app")["spec"].take();
    spec["rules"][0]["backendRefs"][0]["weight"] = json!(100);
    spec["rules"][0]["backendRefs"][1]["weight"] = json!(0);
    let manifest = named(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        "app",
        &json!({ "spec": spec }),
    );
    for _ in 0..40 {
        if stage.weight() != Some(0) {
            stage.change(&manifest).await;
        }
        stage.pass(1).await;
    }
    assert_eq!(stage.why("reason"), "Contested", "{}", stage.why("message"));
    assert!(
        stage.why("message").contains("team"),
        "the rival's field manager: {}",
        stage.why("message")
    );
    assert_eq!(stage.status()["canaryWeight"], 20, "the intended weight stands");
    assert_eq!(stage.events_with("changed back by field manager team"), 1);
    stage.until_phase("Succeeded").await;
}

/// Rank 9: a job that applies its own route every second, whatever stands there, is answered with few repairs; and when it
/// stops the run goes on soon, not after the longest wait there is.
#[tokio::test(start_paused = true)]
async fn a_rival_that_applies_every_second_does_not_hold_the_run_long_after_he_stopped() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    let mut spec = stage.object("gateway.networking.k8s.io/v1", "HTTPRoute", "app")["spec"].take();
    for second in 0..25 {
        let share = if second % 2 == 0 { 0 } else { 50 };
        spec["rules"][0]["backendRefs"][0]["weight"] = json!(100 - share);
        spec["rules"][0]["backendRefs"][1]["weight"] = json!(share);
        let api_version = "gateway.networking.k8s.io/v1";
        stage
            .change(&named(api_version, "HTTPRoute", "app", &json!({ "spec": spec })))
            .await;
        stage.pass(1).await;
    }
    let stopped = stage.clock.now();
    stage.until_weight(40).await;
    let waited = (stage.clock.now() - stopped).num_seconds();
    assert!(waited <= 60, "the run went on {waited} s after the rival's last deed");
}

/// Controllers of load balancers keep annotations of their own on any Service. That is no contest, and stops no release.
#[tokio::test(start_paused = true)]
async fn an_annotation_that_somebody_keeps_on_our_services_stops_no_release() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    let note = |name: &str| {
        let metadata = json!({ "metadata": { "annotations": { "cloud.example/neg-status": "{}" } } });
        named("v1", "Service", name, &metadata)
    };
    for _ in 0..120 {
        for service in ["app", "app-primary", "app-canary"] {
            stage.change(&note(service)).await;
        }
        stage.pass(1).await;
    }
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.events_with("changed back by"), 0);
}

/// Rank 34, W13: two processes that both believe they are alone.
#[tokio::test(start_paused = true)]
async fn two_controllers_at_once_advance_a_canary_as_one_would() {
    for seed in 1..=3 {
        let stage = Setting::new().seed(seed).initialized().await;
        stage.serin.start();
        stage.pass(20).await;
        stage.push("app:2").await;
        stage
            .until("promoted", |stage| {
                stage.image("app-primary") == "app:2" && stage.phase() == "Succeeded"
            })
            .await;
        steps_last_their_interval(&stage);
        assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
        let images: Vec<_> = stage
            .story
            .primary_templates()
            .into_iter()
            .map(|(_, image)| image)
            .collect();
        assert_eq!(images, ["app:1", "app:2"], "the primary is written once");
    }
}

/// Rank 34: with the Lease one acts, and the other takes over when it dies.
#[tokio::test(start_paused = true)]
async fn with_a_lease_the_second_process_takes_over_where_the_first_one_died() {
    let stage = Setting::new()
        .settings(|it| {
            it.election = Election::Lease {
                namespace: "default".into(),
            }
        })
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_weight(40).await;
    stage.serin.kill();
    let died = stage.clock.now();
    stage.serin.start();
    stage.until_phase("Succeeded").await;
    steps_last_their_interval(&stage);
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
    let next = stage
        .story
        .timed_weights()
        .into_iter()
        .find(|(at, _)| *at > died)
        .expect("more writes must follow");
    assert!(
        (next.0 - died).num_seconds() >= 30,
        "the Lease of the dead one was waited out"
    );
}
