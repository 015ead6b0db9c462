//! The defects that Serin does not share (`spec/core.md` 8, 81 to 98): each test asserts the right behaviour.

use std::time::Duration;

use serde_json::{Value, json};
use serin::sim::world::{
    script::{Life, Pods},
    traffic::{Behaviour, Totals},
};

use super::{setting::Setting, stage::Stage};

const CANARY: &str = "flagger.app/v1beta1";

/// W1.
#[tokio::test(start_paused = true)]
async fn core_081_a_crash_while_traffic_goes_home_in_steps_is_no_deadlock() {
    for weight in [10, 0] {
        let stage = Setting::new()
            .analysis(&json!({ "stepWeightPromotion": 50 }))
            .initialized()
            .await;
        stage.push("app:2").await;
        stage.until_stage("Promoting").await;
        stage.until_weight(weight).await;
        stage.serin.kill();
        stage.pass(5).await;
        stage.serin.start();
        stage.until_phase("Succeeded").await;
        assert_eq!(stage.weight(), Some(0));
    }
}

/// W2, rank 3.
#[tokio::test(start_paused = true)]
async fn core_082_a_new_revision_after_a_failure_starts_although_the_primary_is_unready_when_it_comes() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:2"), Life::NeverReady))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    stage
        .world
        .change(|script| script.life(Pods::named("app-primary"), Life::NeverReady));
    stage.pass(10).await;
    stage.push("app:3").await;
    stage.pass(10).await;
    stage
        .world
        .change(|script| script.life(Pods::named("app-primary"), Life::ReadyAfter(Duration::from_secs(3))));
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:3");
}

/// W3, rank 1.
#[tokio::test(start_paused = true)]
async fn core_083_a_new_revision_after_a_failed_promotion_starts_from_a_healthy_side() {
    for provider in ["gatewayapi:v1", "contour"] {
        let broken = Pods::image("app:2").and(Pods::named("app-primary"));
        let stage = Setting::with_provider(provider)
            .script(|script| script.life(broken, Life::NeverReady))
            .initialized()
            .await;
        stage.push("app:2").await;
        stage.until_stage("HoldOnCanary").await;
        let before = stage.answers();
        stage.push("app:3").await;
        stage.until_phase("Progressing").await;
        stage.until_phase("Succeeded").await;
        assert_eq!((stage.image("app-primary"), stage.weight()), ("app:3".into(), Some(0)));
        let images: Vec<_> = stage
            .story
            .primary_templates()
            .into_iter()
            .map(|(_, image)| image)
            .collect();
        assert_eq!(
            images,
            ["app:1", "app:2", "app:1", "app:3"],
            "{provider}: the last good one comes back first"
        );
        let lost = stage.answers().lost - before.lost;
        assert!(lost < 1.0, "{provider}: {lost} requests were lost");
    }
}

/// W3, design.md: a new template on a weighted target is answered before anything else. The pods of the last good version that outlived
/// the failed roll serve while the primary is restored, not the version that nobody judged.
#[tokio::test(start_paused = true)]
async fn core_083_a_bad_revision_after_a_failed_promotion_is_answered_by_the_good_pods_of_the_primary() {
    for provider in ["gatewayapi:v1", "contour"] {
        let broken = Pods::image("app:2").and(Pods::named("app-primary"));
        let down = Behaviour {
            success: 0.0,
            latency: 90.0,
        };
        let stage = Setting::with_provider(provider)
            .script(|script| script.life(broken, Life::NeverReady).answers("app:3", down))
            .initialized()
            .await;
        stage.push("app:2").await;
        stage.until_stage("HoldOnCanary").await;
        stage.pass(60).await;
        assert_eq!(stage.ready("app-primary"), 3, "{provider}: they stand by");
        let before = stage.answers();
        stage.push("app:3").await;
        stage.until_weight(20).await;
        let after = stage.answers();
        let answers = |image: &str| {
            let of = |totals: &Totals| totals.answered.get(image).map_or(0.0, |measured| measured.requests);
            of(&after) - of(&before)
        };
        let (bad, good) = (answers("app:3"), answers("app:1"));
        assert!(
            bad * 4.0 < good,
            "{provider}: {bad} answers of app:3, {good} of app:1, {} of app:2",
            answers("app:2")
        );
        assert!(after.lost - before.lost < 1.0, "{provider}");
        stage.until_phase("Failed").await;
        assert_eq!((stage.image("app-primary"), stage.weight()), ("app:1".into(), Some(0)));
    }
}

/// W3: the other way out is the old revision.
#[tokio::test(start_paused = true)]
async fn after_a_failed_promotion_the_return_to_the_last_good_revision_repairs_the_primary() {
    let broken = Pods::image("app:2").and(Pods::named("app-primary"));
    let stage = Setting::new()
        .script(|script| script.life(broken, Life::NeverReady))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_stage("HoldOnCanary").await;
    let before = stage.answers();
    stage.push("app:1").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(
        (stage.image("app-primary"), stage.ready("app-primary"), stage.weight()),
        ("app:1".into(), 3, Some(0))
    );
    assert_eq!(stage.replicas("app"), 0);
    let lost = stage.answers().lost - before.lost;
    assert!(lost < 1.0, "{lost} requests were lost");
}

/// W5.
#[tokio::test(start_paused = true)]
async fn core_084_a_primary_that_never_comes_up_leaves_the_target_and_its_service_alone() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::named("app-primary"), Life::NeverReady))
        .raise()
        .await;
    stage.pass(900).await;
    assert_eq!(
        (stage.replicas("app"), stage.selects("app"), stage.phase()),
        (3, "app".into(), "Initializing".into())
    );
    assert_eq!(stage.condition("Stalled").0, "True");
    let alerts: Vec<_> = stage
        .alerts()
        .into_iter()
        .filter(|(severity, _)| severity == "Error")
        .collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert!(stage.answers().lost < 1.0);
    stage
        .world
        .change(|script| script.life(Pods::Any, Life::ReadyAfter(Duration::from_secs(3))));
    stage.until_phase("Initialized").await;
}

/// W7, rank 27.
#[tokio::test(start_paused = true)]
async fn core_085_a_return_to_the_promoted_revision_ends_the_run_without_a_failure() {
    let stage = Setting::new().initialized().await;
    let promoted = stage.status()["lastPromotedSpec"].clone();
    stage.push("app:2").await;
    stage.until_weight(40).await;
    stage.push("app:1").await;
    stage.until_stage("Resting").await;
    assert_eq!(stage.condition("Ready"), ("True".into(), "Reverted".into()));
    assert_eq!(
        (stage.image("app-primary"), stage.replicas("app"), stage.weight()),
        ("app:1".into(), 0, Some(0))
    );
    assert_eq!(stage.status()["lastPromotedSpec"], promoted);
    assert_eq!(stage.status()["lastAppliedSpec"], promoted);
    let run = stage.status()["serin"]["run"].clone();
    stage.pass(300).await;
    assert_eq!(
        stage.status()["serin"]["run"],
        run,
        "and no run of the old revision follows"
    );
    assert!(
        stage.alerts().iter().all(|(severity, _)| severity == "Info"),
        "{:?}",
        stage.alerts()
    );
}

/// W8.
#[tokio::test(start_paused = true)]
async fn core_086_a_lost_status_is_taken_up_again_and_the_difference_is_released() {
    let stage = Setting::new().initialized().await;
    stage.serin.kill();
    stage.push("app:2").await;
    let status = kube::api::Patch::Merge(json!({ "status": null }));
    stage
        .dynamic(CANARY, "Canary")
        .patch_status("app", &kube::api::PatchParams::default(), &status)
        .await
        .expect("accepted");
    stage.pass(5).await;
    stage.serin.start();
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:2");
    assert!(
        stage.story.weights().ends_with(&[20, 40, 60, 0]),
        "{:?}",
        stage.story.weights()
    );
}

/// W12, rank 5.
#[tokio::test(start_paused = true)]
async fn core_089_a_target_scaled_to_zero_under_traffic_gets_no_more_of_it() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(40).await;
    stage.note("somebody scales the target to zero, again and again");
    let weights = stage.story.weights().len();
    for _ in 0..60 {
        stage.edit_deployment("app", json!({ "replicas": 0 })).await;
        stage.clock.sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(stage.weight(), Some(0), "traffic left the side without pods");
    assert!(
        stage.story.weights()[weights..].iter().all(|weight| *weight == 0),
        "{:?}",
        stage.story.weights()
    );
    stage.note("and stops");
    stage.until_phase("Succeeded").await;
    assert_eq!(
        stage.story.weights(),
        [0, 20, 40, 0, 20, 40, 60, 0],
        "it began again with pods"
    );
}

/// W12: replicas are a floor during a run.
#[tokio::test(start_paused = true)]
async fn a_target_scaled_to_zero_once_under_traffic_is_scaled_up_again_before_it_hurts() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(40).await;
    stage.edit_deployment("app", json!({ "replicas": 0 })).await;
    stage.until_phase("Succeeded").await;
    assert!(
        stage.answers().lost < 100.0,
        "{} requests were lost",
        stage.answers().lost
    );
}

/// W16, core 33.
#[tokio::test(start_paused = true)]
async fn core_091_a_canary_edited_to_a_template_of_another_namespace_does_not_use_it() {
    let template = json!({
        "apiVersion": CANARY, "kind": "MetricTemplate", "metadata": { "name": "errors", "namespace": "default" },
        "spec": { "provider": { "type": "prometheus", "address": "http://prometheus" }, "query": "errors_of_everybody" },
    });
    let stage = Setting::new()
        .object(template)
        .settings(|it| it.no_cross_namespace_refs = true)
        .initialized()
        .await;
    let metric = json!({ "name": "errors", "interval": "1m", "thresholdRange": { "max": 1 }, "templateRef": { "name": "errors", "namespace": "default" } });
    stage.edit_canary(json!({ "analysis": { "metrics": [metric] } })).await;
    stage.push("app:2").await;
    stage
        .until("refused", |stage| {
            stage.condition("Stalled") == ("True".into(), "InvalidSpec".into())
        })
        .await;
    stage.pass(120).await;
    assert!(
        stage.why("message").contains("cross-namespace references are blocked"),
        "{}",
        stage.why("message")
    );
    assert_eq!((stage.weight(), stage.replicas("app")), (Some(0), 0));
    assert!(
        !stage
            .numbers
            .asked()
            .iter()
            .any(|asked| asked.query.contains("errors_of_everybody"))
    );
}

/// W11.
#[tokio::test(start_paused = true)]
async fn core_094_a_canary_without_revert_on_deletion_goes_with_its_finalizer() {
    let stage = Setting::new()
        .spec(&json!({ "revertOnDeletion": true }))
        .initialized()
        .await;
    stage.serin.kill();
    stage.edit_canary(json!({ "revertOnDeletion": false })).await;
    stage.delete(CANARY, "Canary", "app").await;
    stage.pass(30).await;
    assert_eq!(
        stage.canary()["metadata"]["finalizers"],
        json!(["finalizer.flagger.app"])
    );
    stage.serin.start();
    stage.until("gone", |stage| stage.canary().is_null()).await;
    assert_eq!((stage.ready("app"), stage.selects("app")), (3, "app".into()));
}

/// W11: also with a spec that nothing would be done for.
#[tokio::test(start_paused = true)]
async fn a_canary_with_a_malformed_spec_can_be_deleted() {
    let stage = Setting::new().initialized().await;
    stage.edit_canary(json!({ "analysis": { "stepWeight": 12.5 } })).await;
    stage.pass(20).await;
    stage.delete(CANARY, "Canary", "app").await;
    stage.until("gone", |stage| stage.canary().is_null()).await;
    stage.pass(60).await;
    assert_eq!((stage.ready("app"), stage.selects("app")), (3, "app".into()));
    assert!(stage.answers().lost < 1.0);
}

/// W14.
#[tokio::test(start_paused = true)]
async fn core_096_odd_weights_reach_promotion_and_an_edit_of_the_list_never_jumps() {
    // E19
    let stage = Setting::new()
        .analysis(&json!({ "stepWeight": 60, "maxWeight": 150 }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.story.weights(), [0, 60, 100, 0]);
    // E20
    let list = |weights: Value| json!({ "stepWeight": null, "maxWeight": null, "stepWeights": weights });
    let stage = Setting::new().analysis(&list(json!([10, 30, 60]))).initialized().await;
    stage.push("app:2").await;
    stage.until_weight(10).await;
    stage.edit_canary(json!({ "analysis": list(json!([20, 40])) })).await;
    stage.until_phase("Succeeded").await;
    assert_eq!(
        stage.story.weights(),
        [0, 10, 30, 60, 0],
        "the plan of a run is fixed when it starts"
    );
    // E15, E16
    for (analysis, weights) in [
        (list(json!([1, 2, 10, 200])), vec![0, 1, 2, 10, 100, 0]),
        (json!({ "stepWeight": 20, "maxWeight": 50 }), vec![0, 20, 40, 60, 0]),
    ] {
        let stage = Setting::new().analysis(&analysis).initialized().await;
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
        assert_eq!(stage.story.weights(), weights, "{analysis}");
    }
}

/// W6.
#[tokio::test(start_paused = true)]
async fn core_097_after_promotion_the_status_names_what_the_primary_runs_whatever_the_canary_does() {
    let stage = Setting::new().initialized().await;
    let first = stage.status()["lastPromotedSpec"].clone();
    stage.push("app:2").await;
    stage.until_stage("Finalising").await;
    stage.world.change(|script| {
        script.life(
            Pods::named("app-").and(Pods::image("app:2")),
            Life::ReadyAfter(Duration::from_secs(3)),
        )
    });
    stage.world.change(|script| {
        let pods_of_the_target = Pods::Labelled("app".into(), "app".into());
        script.life(pods_of_the_target, Life::NeverReady)
    });
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:2");
    assert_ne!(stage.status()["lastPromotedSpec"], first);
    stage
        .world
        .change(|script| script.life(Pods::Any, Life::ReadyAfter(Duration::from_secs(3))));
    stage.push("app:1").await;
    stage
        .until("the old revision is released", |stage| {
            stage.image("app-primary") == "app:1"
        })
        .await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.status()["lastPromotedSpec"], first);
}

/// W10.
#[tokio::test(start_paused = true)]
async fn core_098_a_canary_on_its_way_out_starts_nothing() {
    let stage = Setting::new()
        .spec(&json!({ "revertOnDeletion": true }))
        .initialized()
        .await;
    stage
        .world
        .change(|script| script.life(Pods::image("app:2"), Life::ReadyAfter(Duration::from_secs(40))));
    stage.delete(CANARY, "Canary", "app").await;
    stage.until_phase("Terminating").await;
    stage.push("app:2").await;
    stage.until("gone", |stage| stage.canary().is_null()).await;
    let phases: Vec<_> = stage.phases().into_iter().map(|(phase, _)| phase).collect();
    let after = phases
        .iter()
        .skip_while(|phase| *phase != "Terminating")
        .collect::<Vec<_>>();
    assert!(after.iter().all(|phase| *phase == "Terminating"), "{phases:?}");
    assert_eq!(
        (stage.image("app"), stage.selects("app")),
        ("app:2".into(), "app".into())
    );
    no_request_lost(&stage);
}

/// W10, W38: nothing puts the traffic back once it was handed back.
#[tokio::test(start_paused = true)]
async fn a_deleted_canary_leaves_a_serving_target_behind_and_nobody_sends_traffic_to_the_primary_again() {
    for revert in [false, true] {
        let stage = Setting::new()
            .spec(&json!({ "revertOnDeletion": revert }))
            .initialized()
            .await;
        stage.delete(CANARY, "Canary", "app").await;
        stage.until("gone", |stage| stage.canary().is_null()).await;
        stage.pass(120).await;
        assert_eq!(
            (stage.ready("app"), stage.selects("app")),
            (3, "app".into()),
            "revert: {revert}"
        );
        assert!(
            stage.deployment("app-primary").is_null(),
            "the garbage collector took it"
        );
        no_request_lost(&stage);
    }
}

fn no_request_lost(stage: &Stage) {
    let lost = stage.answers().lost;
    assert!(lost < 1.0, "{lost} requests were lost");
}
