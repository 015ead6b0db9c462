//! What the primary reads live and is rolled for (`configTracking[].mode: liveRestart`, rank 8 of `spec/users.md`).

use serde_json::{Value, json};
use serin::sim::world::hooks::HookSays;

use super::configs::{change, config, read, release, run, setting};
use super::process::{How, Mishap};
use super::setting::Setting;
use super::stage::Stage;
use super::traffic::no_request_lost;

/// The mark of the last change for which the primary was rolled.
pub fn mark(stage: &Stage) -> Value {
    stage.deployment("app-primary")["spec"]["template"]["metadata"]["annotations"]["serin.dev/restarted"].take()
}

fn restarting() -> Setting {
    setting().spec(&json!({ "configTracking": [{ "kind": "Secret", "name": "app-key", "mode": "liveRestart" }] }))
}

/// A rotated password reaches production at once, and is no release.
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_rotated_rolls_the_primary_without_a_release() {
    let stage = restarting().initialized().await;
    stage.pass(60).await;
    assert_eq!((read(&stage).1, mark(&stage)), ("app-key".into(), Value::Null));
    let before = (run(&stage), stage.phase());
    for key in ["new", "newer"] {
        let old = mark(&stage);
        change(&stage, "Secret", "app-key", &json!({ "key": key })).await;
        stage.until("rolled", |stage| mark(stage) != old).await;
        stage.serin.kill();
        stage.serin.start();
        stage.pass(60).await;
        assert_eq!((run(&stage), stage.phase()), before);
        assert_eq!(stage.ready("app-primary"), 3);
    }
    assert_eq!(
        stage.events_with("A configuration of app-primary.test changed! Restarting its pods"),
        2
    );
    let writes = stage.story.writes_of_serin();
    stage.pass(600).await;
    assert_eq!(stage.story.writes_of_serin(), writes, "and then there is silence");
    // The ConfigMap beside it is followed as before.
    change(&stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
    stage.until_phase("Progressing").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(
        mark(&stage),
        Value::Null,
        "pods that a promotion made have read what there is"
    );
    stage.pass(120).await;
    assert_eq!(mark(&stage), Value::Null);
    no_request_lost(&stage);
}

/// In a run the primary is rolled as soon as its share allows it, and the run goes on.
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_rotated_in_a_run_does_not_wait_for_its_end() {
    let stage = restarting()
        .hooks(&[("confirm-promotion", "people")])
        .initialized()
        .await;
    stage.hooks.answer("people", [HookSays::No("not yet".into())]);
    release(&stage, "app:2").await;
    stage.until_stage("WaitingPromotion").await;
    change(&stage, "Secret", "app-key", &json!({ "key": "new" })).await;
    stage.until("rolled", |stage| !mark(stage).is_null()).await;
    assert_eq!(stage.status()["serin"]["stage"], "WaitingPromotion");
    stage.hooks.answer("people", [HookSays::Yes]);
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
    no_request_lost(&stage);
}

/// Nobody's outage: a strategy that takes all pods at once is told.
#[tokio::test(start_paused = true)]
async fn a_primary_that_would_lose_all_pods_is_not_rolled_for_a_secret() {
    let stage = restarting()
        .deployment(&json!({ "strategy": { "type": "Recreate" } }))
        .initialized()
        .await;
    stage.pass(30).await;
    change(&stage, "Secret", "app-key", &json!({ "key": "new" })).await;
    stage.pass(120).await;
    assert_eq!(mark(&stage), Value::Null);
    assert_eq!(stage.events_with("its strategy would take all pods that serve"), 1);
    no_request_lost(&stage);
}

/// The process dies between the note and the roll.
#[tokio::test(start_paused = true)]
async fn a_process_that_dies_before_it_rolled_the_primary_is_succeeded_by_one_that_does_and_says_so() {
    let calls = Mishap::new(4, How::KillsAfter);
    let stage = restarting().mishap(calls.clone()).initialized().await;
    calls.arm(&stage.serin);
    stage.pass(30).await;
    change(&stage, "Secret", "app-key", &json!({ "key": "new" })).await;
    stage.until("rolled", |stage| !mark(stage).is_null()).await;
    stage.pass(120).await;
    assert_eq!(
        stage.events_with("A configuration of app-primary.test changed! Restarting its pods"),
        1,
        "{:?} {}",
        calls.hit(),
        stage.story.tell()
    );
}

/// Deleted by mistake, or by a rotator that makes it anew: pods without it would not start.
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_gone_rolls_nothing_and_its_return_only_where_it_is_another() {
    let stage = restarting().initialized().await;
    stage.pass(60).await;
    let before = (run(&stage), stage.phase());
    for (key, rolls) in [("hush", 0), ("new", 1)] {
        let templates = stage.story.primary_templates().len();
        stage.delete("v1", "Secret", "app-key").await;
        stage
            .until("a word", |stage| {
                stage.condition("Stalled").0 == "True" && stage.why("message").contains("Secret app-key")
            })
            .await;
        stage.pass(120).await;
        assert_eq!(stage.story.primary_templates().len(), templates, "{key}: it is gone");
        stage.create(&config("Secret", "app-key", &json!({ "key": key }))).await;
        stage
            .until("it is well again", |stage| stage.condition("Stalled").0 != "True")
            .await;
        stage.pass(120).await;
        assert_eq!(stage.story.primary_templates().len(), templates + rolls, "{key}");
        assert_eq!((run(&stage), stage.phase()), before);
    }
    no_request_lost(&stage);
}

/// Made anew at once, so that nobody saw it gone, or only some did.
#[tokio::test(start_paused = true)]
async fn a_secret_that_its_rotator_makes_anew_rolls_the_primary_once() {
    let stage = restarting().initialized().await;
    stage.pass(60).await;
    let templates = stage.story.primary_templates().len();
    stage.delete("v1", "Secret", "app-key").await;
    stage.pass(1).await;
    stage
        .create(&config("Secret", "app-key", &json!({ "key": "new" })))
        .await;
    stage.pass(300).await;
    assert_eq!(stage.story.primary_templates().len(), templates + 1);
    no_request_lost(&stage);
}

/// Pods can do without it, so that it is gone is what they are to hear of.
#[tokio::test(start_paused = true)]
async fn an_optional_secret_that_is_gone_is_a_change_as_any_other() {
    let mut reads = super::configs::container("app:1");
    reads["env"][0]["valueFrom"]["secretKeyRef"]["optional"] = true.into();
    let stage = restarting()
        .deployment(&json!({ "template": { "spec": { "containers": [reads] } } }))
        .initialized()
        .await;
    stage.pass(60).await;
    let before = run(&stage);
    stage.delete("v1", "Secret", "app-key").await;
    stage.until("rolled", |stage| !mark(stage).is_null()).await;
    stage.pass(60).await;
    assert_eq!((run(&stage), stage.ready("app-primary")), (before, 3));
    assert_ne!(stage.condition("Stalled").0, "True");
    no_request_lost(&stage);
}
