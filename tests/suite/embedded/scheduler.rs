//! Acceptance cases of the scheduler with a Deployment (`spec/core.md` 8, 1 to 10).

use serde_json::json;
use serin::sim::world::{
    script::{Life, Pods},
    traffic::Behaviour,
};

use super::setting::Setting;

/// An image that answers one request in ten with a server error.
const BAD: Behaviour = Behaviour {
    success: 90.0,
    latency: 120.0,
};

fn pairs(phases: &[(&str, u64)]) -> Vec<(String, u64)> {
    phases
        .iter()
        .map(|(phase, weight)| ((*phase).to_owned(), *weight))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn core_001_a_new_canary_gets_a_primary() {
    let stage = Setting::new().raise().await;
    stage
        .until("a primary", |stage| !stage.deployment("app-primary").is_null())
        .await;
    assert_eq!(stage.image("app-primary"), "app:1");
    assert_eq!(stage.replicas("app"), 3, "the target serves until the primary does");
}

#[tokio::test(start_paused = true)]
async fn core_002_when_the_primary_is_ready_the_target_goes_down_and_the_phase_is_initialized() {
    let stage = Setting::new().initialized().await;
    assert_eq!((stage.replicas("app"), stage.ready("app-primary")), (0, 3));
    assert_eq!(stage.selects("app"), "app-primary");
    assert_eq!(stage.condition("Promoted"), ("True".into(), "Initialized".into()));
    assert_eq!(
        stage.alerts(),
        [(
            "Info".into(),
            "New Deployment detected, initialization completed.".into()
        )]
    );
}

#[tokio::test(start_paused = true)]
async fn core_003_a_changed_template_scales_the_target_up_and_the_phase_is_progressing() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_phase("Progressing").await;
    stage.until("replicas", |stage| stage.replicas("app") == 3).await;
    assert_eq!(stage.weight(), Some(0), "no traffic before there are ready pods");
    assert_eq!(stage.condition("Promoted"), ("Unknown".into(), "Progressing".into()));
}

#[tokio::test(start_paused = true)]
async fn core_004_as_many_failed_checks_as_the_threshold_roll_back() {
    let stage = Setting::new()
        .script(|script| script.answers("app:2", BAD))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    assert_eq!(stage.story.weights(), [0, 20, 0]);
    assert_eq!((stage.image("app-primary"), stage.replicas("app")), ("app:1".into(), 0));
    assert_eq!(stage.condition("Promoted"), ("False".into(), "Failed".into()));
    assert_eq!(
        stage.events_with("failed checks threshold reached 2"),
        1,
        "{:#?}",
        stage.events()
    );
    assert_eq!(
        stage.alerts()[2],
        ("Error".into(), "Failed checks threshold reached 2".into())
    );
    let runs = stage.status()["serin"]["run"].clone();
    stage.pass(600).await;
    assert_eq!(
        (stage.phase(), &stage.status()["serin"]["run"]),
        ("Failed".into(), &runs),
        "it is not tried again"
    );
}

/// The primary does not come up with the new image; nothing else is wrong.
async fn held(provider: &str) -> super::stage::Stage {
    let broken = Pods::image("app:2").and(Pods::named("app-primary"));
    let stage = Setting::with_provider(provider)
        .script(|script| script.life(broken, Life::NeverReady))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_stage("HoldOnCanary").await;
    stage
}

#[tokio::test(start_paused = true)]
async fn core_005_a_primary_that_stalls_during_promotion_leaves_all_traffic_on_the_canary() {
    for provider in ["gatewayapi:v1", "contour"] {
        let stage = held(provider).await;
        assert_eq!(
            (stage.phase(), stage.weight(), stage.replicas("app")),
            ("Failed".into(), Some(100), 3),
            "{provider}"
        );
        assert_eq!(stage.status()["canaryWeight"], 100);
        let alert = stage.alerts().pop().expect("an alert must tell");
        assert!(
            alert.0 == "Error"
                && alert
                    .1
                    .starts_with("Promotion failed, primary not ready: app-primary.test not ready: "),
            "{alert:?}"
        );
        let before = stage.answers();
        stage.pass(300).await;
        let lost = stage.answers().lost - before.lost;
        assert!(lost < 1.0, "{lost} requests of the held canary were lost");
    }
}

#[tokio::test(start_paused = true)]
async fn core_006_a_primary_that_breaks_after_traffic_came_home_gives_it_back_to_the_canary() {
    for provider in ["gatewayapi:v1", "contour"] {
        let stage = Setting::with_provider(provider).initialized().await;
        stage.push("app:2").await;
        stage.until_stage("Finalising").await;
        stage
            .world
            .change(|script| script.life(Pods::named("app-primary"), Life::NeverReady));
        stage.until_stage("HoldOnCanary").await;
        assert_eq!(
            (stage.phase(), stage.weight()),
            ("Failed".into(), Some(100)),
            "{provider}"
        );
        assert_eq!(stage.replicas("app"), 3);
        stage
            .world
            .change(|script| script.life(Pods::Any, Life::ReadyAfter(std::time::Duration::from_secs(3))));
        stage.until_phase("Succeeded").await;
        assert_eq!((stage.weight(), stage.ready("app-primary")), (Some(0), 3));
    }
}

#[tokio::test(start_paused = true)]
async fn core_007_a_run_without_analysis_ends_promoted_without_traffic_on_the_canary() {
    let stage = Setting::new()
        .spec(&json!({ "skipAnalysis": true }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:2");
    assert_eq!(stage.story.weights(), [0]);
    assert!(stage.numbers.asked().is_empty(), "{:?}", stage.numbers.asked());
    assert_eq!(
        stage.alerts().pop(),
        Some(("Info".into(), "Canary analysis was skipped, promotion finished.".into()))
    );
}

#[tokio::test(start_paused = true)]
async fn core_008_the_phases_of_a_run_with_step_weight_promotion() {
    let stage = Setting::new()
        .analysis(&json!({ "stepWeight": 100, "maxWeight": 100, "stepWeightPromotion": 50 }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    let expected = pairs(&[
        ("Initializing", 0),
        ("Initialized", 0),
        ("Progressing", 0),
        ("Progressing", 100),
        ("Promoting", 100),
        ("Promoting", 50),
        ("Finalising", 0),
        ("Succeeded", 0),
    ]);
    assert_eq!(stage.phases(), expected);
}

#[tokio::test(start_paused = true)]
async fn core_010_a_second_template_change_at_weight_20_sends_all_traffic_home_first() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.push("app:3").await;
    stage.until_weight(0).await;
    assert_eq!(
        stage.events_with("Restarting analysis for app.test"),
        0,
        "traffic goes home before anything else"
    );
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.story.weights(), [0, 20, 0, 20, 40, 60, 0]);
    assert_eq!(stage.image("app-primary"), "app:3");
    assert_eq!(
        stage.events_with("New revision detected! Restarting analysis for app.test"),
        1
    );
    let images: Vec<_> = stage
        .story
        .primary_templates()
        .into_iter()
        .map(|(_, image)| image)
        .collect();
    assert_eq!(
        images,
        ["app:1", "app:3"],
        "the superseded revision never reaches the primary"
    );
}

#[tokio::test(start_paused = true)]
async fn core_075_a_new_image_that_does_not_exist_fails_without_analysis_too_and_leaves_the_primary() {
    let stage = Setting::new()
        .spec(&json!({ "skipAnalysis": true }))
        .script(|script| script.life(Pods::image("app:2"), Life::ImagePullBackOff))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    assert_eq!((stage.image("app-primary"), stage.replicas("app")), ("app:1".into(), 0));
    let alert = stage.alerts().pop().expect("an alert must tell");
    assert!(
        alert.0 == "Error" && alert.1.starts_with("Progress deadline exceeded"),
        "{alert:?}"
    );
}
