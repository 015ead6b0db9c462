//! When pods are enough, in Flagger's words, and how long they are waited for (`spec/core.md` 8, 45; 2.10).

use std::time::Duration;

use serde_json::json;
use serin::sim::world::script::{Life, Pods};

use super::{
    setting::Setting,
    stage::{Stage, named},
};

/// Four pods; those of the new image get ready when they are told to, the primary's by themselves.
fn by_hand(threshold: u32) -> Setting {
    let at_once = Life::ReadyAfter(Duration::from_secs(1));
    Setting::new()
        .deployment(&json!({ "replicas": 4 }))
        .analysis(&json!({ "canaryReadyThreshold": threshold }))
        .script(|script| {
            script
                .life(Pods::image("app:2"), Life::NeverReady)
                .life(Pods::Labelled("told".into(), "ready".into()), at_once)
                .life(Pods::named("app-primary"), at_once)
        })
}

/// Lets so many of the canary's pods get ready.
async fn get_ready(stage: &Stage, count: usize) {
    let pods = stage.api.objects("v1", "Pod", "test");
    let waiting = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
    let names: Vec<&str> = waiting.filter(|name| !name.starts_with("app-primary")).collect();
    assert!(names.len() >= count, "{names:?}");
    for name in &names[..count] {
        let told = json!({ "metadata": { "labels": { "told": "ready" } } });
        stage.change(&named("v1", "Pod", name, &told)).await;
    }
}

/// Releases the new image, lets so many of its pods get ready, and a while pass.
async fn released(stage: &Stage, ready: usize) {
    stage.push("app:2").await;
    let updated = |stage: &Stage| stage.deployment("app")["status"]["updatedReplicas"].clone();
    stage.until("four pods", |stage| updated(stage) == 4).await;
    get_ready(stage, ready).await;
    stage.until("ready", |stage| stage.ready("app") == ready as u64).await;
    stage.pass(15).await;
}

/// The run was given up before it had traffic: the alert has these words.
async fn given_up(stage: &Stage, words: &str) {
    assert_eq!(
        (stage.phase(), stage.weight()),
        ("Progressing".into(), Some(0)),
        "it is waited for"
    );
    stage.until_phase("Failed").await;
    assert_eq!(stage.story.weights(), [0]);
    assert_eq!(stage.status()["serin"]["outcome"]["reason"], "ProgressDeadlineExceeded");
    let alert = stage.alerts().pop().expect("an alert must tell");
    assert!(
        alert.0 == "Error" && alert.1.starts_with("Progress deadline exceeded") && alert.1.contains(words),
        "{alert:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn core_045_with_a_threshold_of_50_two_of_four_pods_are_enough_and_one_is_not() {
    let stage = by_hand(50).initialized().await;
    let behind = "app-primary.test not ready: waiting for rollout to finish: observed deployment generation less than desired generation";
    assert_eq!(stage.events_with(behind), 1, "{:?}", stage.events());
    released(&stage, 1).await;
    given_up(&stage, "1 of 2 (readyThreshold 50%) updated replicas are available").await;

    let stage = by_hand(50).initialized().await;
    released(&stage, 2).await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
}

/// Retriable until the deadline of the Canary, and not longer.
#[tokio::test(start_paused = true)]
async fn core_045_without_a_threshold_all_pods_are_waited_for_until_the_deadline() {
    let stage = by_hand(100).initialized().await;
    released(&stage, 2).await;
    given_up(&stage, "2 of 4 (readyThreshold 100%) updated replicas are available").await;
}

/// What is missing of the primary is told in the alert of a promotion that does not come to its end.
#[tokio::test(start_paused = true)]
async fn core_045_new_pods_that_do_not_come_and_old_ones_that_do_not_go() {
    for (surge, unavailable, words) in [
        ("25%", json!("25%"), "2 out of 4 new replicas have been updated"),
        ("100%", json!(0), "4 old replicas are pending termination"),
    ] {
        let broken = Pods::image("app:2").and(Pods::named("app-primary"));
        let strategy =
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } });
        let stage = Setting::new()
            .deployment(&json!({ "replicas": 4, "strategy": strategy }))
            .script(|script| script.life(broken, Life::NeverReady))
            .initialized()
            .await;
        stage.push("app:2").await;
        stage.until_stage("HoldOnCanary").await;
        let alert = stage.alerts().pop().expect("an alert must tell");
        assert!(alert.1.contains(words), "{surge}: {alert:?}");
    }
}

/// Not retriable: what the Deployment itself gave up is not waited for until the deadline of the Canary.
#[tokio::test(start_paused = true)]
async fn core_045_a_deployment_that_gave_up_ends_the_run_at_once() {
    let stage = by_hand(100)
        .spec(&json!({ "progressDeadlineSeconds": 3600 }))
        .deployment(&json!({ "progressDeadlineSeconds": 120 }))
        .initialized()
        .await;
    released(&stage, 0).await;
    let deadline = stage.clock.now() + chrono::TimeDelta::seconds(3000);
    given_up(&stage, "deployment \"app\" exceeded its progress deadline").await;
    assert!(stage.clock.now() < deadline);
}

/// Differs from Flagger: the condition `Available`, with reason `MinimumReplicasUnavailable`, is not what the time is counted from. What
/// counts is whether the ready pods carry the share, and since when they do not.
#[tokio::test(start_paused = true)]
async fn core_045_pods_that_stay_unavailable_under_traffic_end_the_run_at_the_deadline() {
    let stage = Setting::new().deployment(&json!({ "replicas": 4 })).initialized().await;
    stage.push("app:2").await;
    stage.until_weight(60).await;
    let broken = Pods::Labelled("told".into(), "ready".into());
    stage.world.change(|script| script.life(broken, Life::NeverReady));
    // Three pods are needed for 60 percent of what four carry.
    get_ready(&stage, 2).await;
    stage
        .until("unavailable", |stage| {
            let status = stage.deployment("app")["status"].take();
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            conditions
                .iter()
                .any(|it| it["reason"] == "MinimumReplicasUnavailable" && it["status"] == "False")
        })
        .await;
    let words = "needs 3 ready pods of the canary, 2 are ready";
    stage.until(words, |stage| stage.why("message").contains(words)).await;
    assert_eq!(stage.phase(), "Progressing", "it is waited for, not given up at once");
    stage.until_phase("Failed").await;
    assert_eq!(stage.status()["serin"]["outcome"]["reason"], "ProgressDeadlineExceeded");
    assert_eq!((stage.image("app-primary"), stage.weight()), ("app:1".into(), Some(0)));
    assert!(stage.answers().lost < 1.0, "{:?}", stage.answers());
}
