//! Releases by iterations (`spec/core.md` 8; 2.7 and appendix B): Blue/Green on a route, and on Services alone.

use serde_json::{Value, json};
use serin::sim::world::{route_shape::SHAPES, traffic::Behaviour};

use super::{setting::Setting, stage::Stage};

/// An analysis of this many iterations, as a merge over the one in steps.
pub fn iterations(count: u32) -> Value {
    json!({ "stepWeight": null, "maxWeight": null, "iterations": count })
}

/// A Canary with iterations, whose canary a load tester calls, since no client does.
fn counted(provider: &str, count: u32) -> Setting {
    Setting::with_provider(provider)
        .script(|script| script.load("app-canary"))
        .analysis(&iterations(count))
}

fn phases(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected
        .iter()
        .map(|(phase, weight)| ((*phase).to_owned(), *weight))
        .collect()
}

/// The phases of the release, without those of the takeover.
fn of_the_release(stage: &Stage) -> Vec<(String, u64)> {
    let all = stage.phases();
    let begins = all.iter().position(|(phase, _)| phase == "Progressing").unwrap_or(0);
    all[begins..].to_vec()
}

/// The Events about traffic, iterations and the copy, in order.
fn moves(stage: &Stage) -> Vec<String> {
    let words = ["Advance", "Routing all", "Copying"];
    let mut told = stage.events();
    told.retain(|text| words.iter().any(|word| text.starts_with(word)));
    told
}

fn counter(stage: &Stage, line: &str) -> bool {
    let text = stage
        .serin
        .last(|process| process.metrics.text().expect("metrics must be readable"));
    text.lines().any(|it| it == line)
}

#[tokio::test(start_paused = true)]
async fn core_009_the_phases_of_a_blue_green_run() {
    for provider in ["gatewayapi:v1", "contour", "istio"] {
        let stage = counted(provider, 1).initialized().await;
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
        assert_eq!(
            of_the_release(&stage),
            phases(&[
                ("Progressing", 0),
                ("Progressing", 100),
                ("Promoting", 100),
                ("Finalising", 0),
                ("Succeeded", 0)
            ]),
            "{provider}"
        );
        assert_eq!(
            moves(&stage),
            [
                "Advance app.test canary iteration 1/1",
                "Routing all traffic to canary",
                "Copying app.test template spec to app-primary.test",
                "Routing all traffic to primary",
            ],
            "{provider}"
        );
        assert_eq!(
            (stage.image("app-primary"), stage.answers().lost),
            ("app:2".into(), 0.0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_blue_green_canary_that_answers_with_errors_never_gets_a_request_of_a_client() {
    let bad = Behaviour {
        success: 90.0,
        latency: 120.0,
    };
    let stage = counted("gatewayapi:v1", 3)
        .script(|script| script.load("app-canary").answers("app:2", bad))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    assert_eq!(stage.status()["iterations"], 0);
    assert!(!stage.answers().answered.contains_key("app:2"));
    assert_eq!(stage.image("app-primary"), "app:1");
}

/// Invariant 4 where the process dies in the middle of the iterations.
#[tokio::test(start_paused = true)]
async fn a_process_that_dies_between_the_iterations_leaves_them_to_its_successor() {
    let stage = counted("gatewayapi:v1", 3).initialized().await;
    stage.push("app:2").await;
    stage
        .until("iteration 2", |stage| stage.status()["iterations"] == 2)
        .await;
    stage.serin.kill();
    stage.pass(60).await;
    assert_eq!(stage.status()["iterations"], 2);
    stage.serin.start();
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.events_with("canary iteration 3/3"), 1);
    assert_eq!(stage.events_with("canary iteration 2/3"), 1);
}

#[tokio::test(start_paused = true)]
async fn core_066_a_blue_green_run_is_counted_as_one() {
    let stage = counted("gatewayapi:v1", 1).initialized().await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    stage.pass(1).await;
    let line = r#"flagger_canary_successes_total{name="app",namespace="test",deployment_strategy="blue-green",analysis_status="completed"} 1"#;
    assert!(counter(&stage, line));
    let routing = stage.chat.sent().into_iter().flat_map(|sent| sent.message.fields);
    assert!(
        routing
            .into_iter()
            .any(|field| field == ("Traffic routing".into(), "Blue/Green".into()))
    );
}

/// The parts of core 67 that need no real traffic.
#[tokio::test(start_paused = true)]
async fn core_067_without_a_route_a_release_goes_by_iterations_and_the_apex_stays_on_the_primary() {
    let prefixed = json!({ "app.kubernetes.io/part-of": "shop" });
    let stage = counted("kubernetes", 5)
        .without_service()
        .metadata(&json!({ "labels": prefixed, "annotations": prefixed }))
        .settings(|settings| settings.include_label_prefix = vec!["app.kubernetes.io".into()])
        .hooks(&[
            ("confirm-rollout", "gate"),
            ("pre-rollout", "smoke"),
            ("rollout", "load"),
        ])
        .initialized()
        .await;
    for service in ["app", "app-primary", "app-canary"] {
        assert_eq!(
            stage.object("v1", "Service", service)["metadata"]["annotations"],
            json!({ "kustomize.toolkit.fluxcd.io/reconcile": "disabled", "helm.toolkit.fluxcd.io/driftDetection": "disabled" }),
            "{service}"
        );
    }
    primary_has(&stage, &prefixed);
    assert_eq!((stage.selects("app"), stage.replicas("app")), ("app-primary".into(), 0));
    stage.push("app:2").await;
    for iteration in 1..=5 {
        stage
            .until("the next iteration", |stage| stage.status()["iterations"] == iteration)
            .await;
        assert_eq!(stage.selects("app"), "app-primary");
        assert!(!stage.answers().answered.contains_key("app:2"), "no client sees it");
    }
    stage.until_phase("Succeeded").await;
    primary_has(&stage, &prefixed);
    assert_eq!(stage.image("app-primary"), "app:2");
    assert_eq!(stage.answers().lost.to_string(), "0");
    assert_eq!(
        of_the_release(&stage),
        phases(&[
            ("Progressing", 0),
            ("Promoting", 0),
            ("Finalising", 0),
            ("Succeeded", 0)
        ])
    );
    let called = |hook: &str| stage.hook_calls().iter().filter(|(name, _)| name == hook).count();
    assert_eq!(
        (called("gate"), called("smoke"), called("load")),
        (1, 1, 5),
        "load is made at each iteration"
    );
    let routes = stage.api.objects("gateway.networking.k8s.io/v1", "HTTPRoute", "test");
    assert_eq!(routes.len(), 0);
}

/// Labels and annotations of the target with a prefix that is named come along.
fn primary_has(stage: &Stage, members: &Value) {
    let metadata = stage.deployment("app-primary")["metadata"].take();
    for (key, value) in members.as_object().expect("members of metadata") {
        assert_eq!(
            (&metadata["labels"][key], &metadata["annotations"][key]),
            (value, value)
        );
    }
}

/// E14: told once for the spec, not at each check.
#[tokio::test(start_paused = true)]
async fn without_a_route_weights_become_ten_iterations_with_a_warning() {
    let stage = Setting::with_provider("kubernetes")
        .script(|script| script.load("app-canary"))
        .analysis(&json!({ "match": [{ "headers": { "x": { "exact": "y" } } }] }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.events_with("canary iteration 10/10"), 1);
    for words in [
        "Progressive traffic is not supported when using the kubernetes provider",
        "Setting canaryAnalysis.iterations: 10",
        "A/B testing is not supported when using the kubernetes provider",
    ] {
        assert_eq!(stage.events_with(words), 1, "{words}");
    }
}

/// W5, on the provider that core 84 names.
#[tokio::test(start_paused = true)]
async fn core_084_without_a_route_a_primary_that_never_comes_up_leaves_the_target_alone() {
    use serin::sim::world::script::{Life, Pods};
    let stage = counted("kubernetes", 2)
        .script(|script| script.life(Pods::named("app-primary"), Life::NeverReady))
        .raise()
        .await;
    stage.until_reason("PrimaryNotReady").await;
    stage.pass(600).await;
    assert_eq!((stage.ready("app"), stage.selects("app")), (3, "app".into()));
}

#[tokio::test(start_paused = true)]
async fn without_a_route_a_deleted_canary_gives_the_apex_back() {
    let stage = counted("kubernetes", 2).initialized().await;
    stage.delete("flagger.app/v1beta1", "Canary", "app").await;
    stage.until("gone", |stage| stage.canary().is_null()).await;
    assert_eq!((stage.ready("app"), stage.selects("app")), (3, "app".into()));
    assert_eq!(stage.answers().lost.to_string(), "0");
}

/// E21, for iterations of Blue/Green; W14.
#[tokio::test(start_paused = true)]
async fn core_096_iterations_that_are_lowered_under_way_neither_stall_nor_skip_the_cut_over() {
    let stage = counted("gatewayapi:v1", 4).initialized().await;
    stage.push("app:2").await;
    stage
        .until("iteration 3", |stage| stage.status()["iterations"] == 3)
        .await;
    stage.edit_canary(json!({ "analysis": { "iterations": 1 } })).await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.events_with("Routing all traffic to canary"), 1);
    stage.push("app:3").await;
    stage
        .until("the next release", |stage| stage.image("app-primary") == "app:3")
        .await;
    assert_eq!(
        stage.events_with("canary iteration 1/1"),
        1,
        "the edit counts for the next run"
    );
}

/// What the analysis of an A/B test has beside its iterations.
fn testers() -> Value {
    json!({ "match": [{ "headers": { "x-user": { "exact": "tester" } } }] })
}

/// The answers of an image so far.
fn answered(stage: &Stage, image: &str) -> f64 {
    stage
        .answers()
        .answered
        .get(image)
        .map_or(0.0, |measured| measured.requests)
}

/// The Service that the leading rule of the route sends copies to, and how many of a hundred.
fn copied_to(stage: &Stage) -> Option<(String, u64)> {
    SHAPES.iter().find_map(|shape| {
        let route = stage.object(shape.api_version, shape.kind, "app");
        shape.copies_of(shape.leading(&route)?)
    })
}

/// The route's share of the primary.
fn kept_by_the_primary(stage: &Stage) -> Option<u64> {
    SHAPES.iter().find_map(|shape| {
        let route = stage.object(shape.api_version, shape.kind, "app");
        shape.weight_in(shape.leading(&route)?, "app-primary")
    })
}

#[tokio::test(start_paused = true)]
async fn core_012_a_mirrored_step_comes_before_the_first_weight() {
    for provider in ["istio", "gatewayapi:v1", "contour"] {
        let stage = Setting::with_provider(provider)
            .analysis(&json!({ "mirror": true, "stepWeight": 10, "maxWeight": 20 }))
            .initialized()
            .await;
        assert_eq!(copied_to(&stage), None, "{provider}");
        stage.push("app:2").await;
        stage
            .until("the mirrored step", |stage| {
                stage.status()["serin"]["stage"] == "Stepping"
            })
            .await;
        stage.pass(8).await;
        assert_eq!(
            (kept_by_the_primary(&stage), stage.weight(), copied_to(&stage)),
            (Some(100), Some(0), Some(("app-canary".into(), 100))),
            "{provider}"
        );
        assert_eq!(answered(&stage, "app:2").to_string(), "0", "{provider}");
        assert_eq!(stage.events_with("Advance app.test canary weight 0"), 1);
        for weight in [10, 20] {
            stage.until_weight(weight).await;
            assert_eq!(
                (kept_by_the_primary(&stage), copied_to(&stage)),
                (Some(100 - weight), None),
                "{provider}"
            );
        }
        stage.until_phase("Succeeded").await;
        assert_eq!(stage.answers().lost.to_string(), "0", "{provider}");
    }
}

/// W46, E44: every provider that mirrors leaves the step, Gateway API too.
#[tokio::test(start_paused = true)]
async fn core_012_copies_alone_fail_a_bad_revision() {
    let bad = Behaviour {
        success: 90.0,
        latency: 120.0,
    };
    let stage = Setting::new()
        .script(|script| script.answers("app:2", bad))
        .analysis(&json!({ "mirror": true }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    assert_eq!(answered(&stage, "app:2").to_string(), "0", "no client got its answers");
}

#[tokio::test(start_paused = true)]
async fn core_013_an_ab_test_sends_what_matches_to_the_canary_and_the_rest_to_the_primary() {
    for provider in ["istio", "gatewayapi:v1", "contour"] {
        let stage = Setting::with_provider(provider)
            .analysis(&iterations(10))
            .analysis(&testers())
            .initialized()
            .await;
        stage.push("app:2").await;
        stage.until_weight(100).await;
        // The data plane has heard of the route by then.
        stage.pass(6).await;
        let entry = ("test".to_owned(), "app".to_owned());
        let split = stage.world.traffic().split(&entry).unwrap_or_default();
        assert!(
            (split.part_of_image("app:2") - 0.2).abs() < 1e-6,
            "{provider}: {split:?}"
        );
        assert!(
            (split.part_of_image("app:1") - 0.8).abs() < 1e-6,
            "{provider}: {split:?}"
        );
        stage.until_phase("Succeeded").await;
        assert_eq!(
            of_the_release(&stage),
            phases(&[
                ("Progressing", 0),
                ("Progressing", 100),
                ("Promoting", 100),
                ("Finalising", 0),
                ("Succeeded", 0)
            ])
        );
        assert_eq!(stage.events_with("canary iteration"), 10);
        assert_eq!(
            (stage.image("app-primary"), stage.answers().lost.to_string()),
            ("app:2".into(), "0".into())
        );
        stage.pass(1).await;
        let line = r#"flagger_canary_successes_total{name="app",namespace="test",deployment_strategy="ab-testing",analysis_status="completed"} 1"#;
        assert!(counter(&stage, line));
    }
}

/// The part of core 79 that needs no real traffic: a template's metric with a plain `threshold`.
#[tokio::test(start_paused = true)]
async fn core_079_ab_and_blue_green_by_the_threshold_of_a_template() {
    let template = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate",
        "metadata": { "name": "errors", "namespace": "test" },
        "spec": { "provider": { "type": "prometheus", "address": "http://prometheus:9090" }, "query": "error_share" },
    });
    let metric = json!({ "metrics": [{ "name": "errors", "templateRef": { "name": "errors" }, "threshold": 5 }] });
    for strategy in [testers(), json!({})] {
        let stage = Setting::new()
            .object(template.clone())
            .analysis(&iterations(2))
            .analysis(&strategy)
            .analysis(&metric)
            .initialized()
            .await;
        stage
            .numbers
            .answer("error_share", [serin::metrics::Reading::Value(4.0)]);
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
        stage
            .numbers
            .answer("error_share", [serin::metrics::Reading::Value(6.0)]);
        stage.push("app:3").await;
        stage.until_phase("Failed").await;
        assert_eq!(stage.image("app-primary"), "app:2");
    }
}

/// E21.
#[tokio::test(start_paused = true)]
async fn core_096_ab_iterations_that_are_lowered_under_way_do_not_stall_the_run() {
    let stage = Setting::new()
        .analysis(&iterations(4))
        .analysis(&testers())
        .initialized()
        .await;
    stage.push("app:2").await;
    stage
        .until("iteration 3", |stage| stage.status()["iterations"] == 3)
        .await;
    stage.edit_canary(json!({ "analysis": { "iterations": 1 } })).await;
    stage.until_phase("Succeeded").await;
}
