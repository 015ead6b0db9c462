//! A primary that was made before its configurations were followed: by Flagger, or while following was off. What it reads is stored
//! before anything else happens to it (invariants 3 and 5).

use serde_json::{Value, json};
use serin::sim::world::script::{Life, Pods};

use super::configs::{change, config, container, read, reading, release, run};
use super::setting::Setting;
use super::stage::{Stage, named};

const CANARY: &str = "flagger.app/v1beta1";

fn never_up(setting: Setting) -> Setting {
    setting.script(|script| script.life(Pods::image("app:2").and(Pods::named("app-primary")), Life::NeverReady))
}

/// An application whose configurations nobody follows.
fn unfollowed() -> Setting {
    reading(Setting::new()).settings(|settings| settings.config_tracking = false)
}

/// It is followed from now on.
async fn turned_on(setting: Setting) -> Stage {
    let mut stage = setting.initialized().await;
    stage.serin.stop().await;
    stage.serin.settings(|settings| settings.config_tracking = true);
    stage.serin.start();
    stage
}

fn owned(stage: &Stage, mut object: Value) -> Value {
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": CANARY, "kind": "Canary", "name": "app", "uid": stage.canary()["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }]);
    object
}

/// What Flagger leaves: copies of its own that its primary reads, and nothing of Serin's.
async fn left_by_flagger(setting: Setting, phase: &str) -> Stage {
    let mut stage = setting.initialized().await;
    stage.serin.stop().await;
    for (kind, name, key) in [("ConfigMap", "app-env", "data"), ("Secret", "app-key", "data")] {
        let mut copy = config(kind, &format!("{name}-primary"), &json!({}));
        copy[key] = stage.object("v1", kind, name)[key].clone();
        copy.as_object_mut().map(|it| it.remove("stringData"));
        stage.create(&owned(&stage, copy)).await;
    }
    let mut reads = container("app:1");
    reads["envFrom"][0]["configMapRef"]["name"] = "app-env-primary".into();
    reads["env"][0]["valueFrom"]["secretKeyRef"]["name"] = "app-key-primary".into();
    let template = json!({ "template": { "spec": { "containers": [reads] } } });
    let unnamed = json!({ "metadata": { "annotations": { "serin.dev/revision": null } }, "spec": template });
    stage
        .change(&named("apps/v1", "Deployment", "app-primary", &unnamed))
        .await;
    for revision in stage.api.objects("apps/v1", "ControllerRevision", "test") {
        let name = revision["metadata"]["name"].as_str().unwrap_or_default();
        stage.delete("apps/v1", "ControllerRevision", name).await;
    }
    let status = json!({ "status": { "serin": null, "phase": phase } });
    let api = stage.dynamic(CANARY, "Canary");
    api.patch_status(
        "app",
        &kube::api::PatchParams::default(),
        &kube::api::Patch::Merge(status),
    )
    .await
    .expect("accepted");
    stage.pass(30).await;
    stage.serin.settings(|settings| settings.config_tracking = true);
    stage
}

fn at_rest(stage: &Stage) -> bool {
    stage.status()["serin"]["stage"] == "Resting"
}

/// How often somebody wrote the primary's template.
fn templates(stage: &Stage) -> usize {
    stage.story.primary_templates().len()
}

/// What the `ConfigMap` says that the primary reads.
fn color(stage: &Stage) -> Value {
    stage.object("v1", "ConfigMap", &read(stage).0)["data"]["color"].clone()
}

/// The team edits both at once, and the primary does not come up with the new ones.
async fn fails_and_is_restored(stage: &Stage) {
    change(stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
    change(stage, "Secret", "app-key", &json!({ "key": "psst" })).await;
    release(stage, "app:2").await;
    stage
        .until("the new one is given", |stage| stage.image("app-primary") == "app:2")
        .await;
    stage.until_phase("Failed").await;
    stage.until("home", |stage| stage.image("app-primary") == "app:1").await;
    let (env, key) = read(stage);
    assert!(env.starts_with("app-env-primary-"), "{env}");
    assert_eq!(color(stage), "red");
    assert_eq!(
        stage.object("v1", "Secret", &key)["data"],
        json!({ "key": "aHVzaA==" }),
        "{key}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_primary_of_flaggers_reads_is_what_it_gets_back() {
    let restored = json!({ "promotion": { "onFailure": "restorePrimary" }, "progressDeadlineSeconds": 60 });
    let stage = left_by_flagger(never_up(unfollowed().spec(&restored)), "Succeeded").await;
    let before = templates(&stage);
    stage.serin.start();
    stage.until("adopted", at_rest).await;
    stage.pass(120).await;
    assert_eq!(
        (run(&stage), templates(&stage)),
        (json!(0), before),
        "a switch is no release"
    );
    assert_eq!(read(&stage), ("app-env-primary".into(), "app-key-primary".into()));
    assert_eq!(stage.events_with("go on reading it as it is"), 0);
    let writes = stage.story.writes_of_serin();
    stage.pass(300).await;
    assert_eq!(stage.story.writes_of_serin(), writes, "and then there is silence");
    fails_and_is_restored(&stage).await;
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_is_lost_after_a_switch_is_rebuilt_with_what_it_read() {
    let stage = left_by_flagger(unfollowed(), "Initialized").await;
    stage.serin.start();
    stage.until("adopted", at_rest).await;
    stage.pass(30).await;
    change(&stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
    stage.until("a step", |stage| stage.weight() > Some(0)).await;
    stage.say("abort", "1").await;
    stage.until_phase("Failed").await;
    stage.delete("apps/v1", "Deployment", "app-primary").await;
    stage.until("rebuilt", |stage| stage.ready("app-primary") == 3).await;
    assert!(read(&stage).0.starts_with("app-env-primary-"));
    assert_eq!(color(&stage), "red");
}

/// What was edited while Flagger was there and never released: a release, unless it failed there.
#[tokio::test(start_paused = true)]
async fn an_original_that_flagger_had_not_promoted_yet_is_released_unless_it_had_failed() {
    for (phase, runs) in [("Succeeded", 1), ("Failed", 0)] {
        let stage = left_by_flagger(unfollowed(), phase).await;
        change(&stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
        stage.serin.start();
        stage
            .until("adopted", |stage| stage.status()["serin"].is_object())
            .await;
        stage.pass(300).await;
        assert_eq!(run(&stage), runs, "{phase}");
        assert_eq!(color(&stage), if runs == 1 { "blue" } else { "red" }, "{phase}");
    }
}

/// Flagger's copies lack `binaryData`.
#[tokio::test(start_paused = true)]
async fn a_copy_of_flaggers_is_of_its_original_although_it_lacks_binary_data() {
    let mut setting = unfollowed();
    setting.more[0]["binaryData"] = json!({ "logo": "aGk=" });
    let stage = left_by_flagger(setting, "Succeeded").await;
    stage.serin.start();
    stage.until("adopted", at_rest).await;
    stage.pass(120).await;
    assert_eq!(run(&stage), 0);
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_flaggers_that_is_gone_is_told() {
    let stage = left_by_flagger(unfollowed(), "Succeeded").await;
    stage.delete("v1", "ConfigMap", "app-env-primary").await;
    stage.serin.start();
    stage.until("adopted", at_rest).await;
    stage.pass(120).await;
    assert_eq!(run(&stage), 0);
    assert_eq!(
        stage.events_with("ConfigMap app-env-primary, which the primary reads, does not exist"),
        1
    );
}

/// The Canary goes and the primary stays (case 37), with what it reads.
#[tokio::test(start_paused = true)]
async fn a_primary_that_stays_keeps_flaggers_copies() {
    let setting = unfollowed().script(|script| script.life(Pods::image("app:2"), Life::NeverReady));
    let stage = left_by_flagger(setting, "Succeeded").await;
    stage.serin.start();
    stage.until("adopted", at_rest).await;
    stage.pass(30).await;
    release(&stage, "app:2").await;
    stage.until_phase("Failed").await;
    stage.delete(CANARY, "Canary", "app").await;
    stage.until("gone", |stage| stage.canary().is_null()).await;
    stage.pass(120).await;
    assert_eq!(stage.ready("app-primary"), 3);
    for (kind, name) in [("ConfigMap", "app-env-primary"), ("Secret", "app-key-primary")] {
        assert!(!stage.object("v1", kind, name).is_null(), "{kind} {name}");
    }
}

/// Invariant 5: neither turning it on nor a restart is a change.
#[tokio::test(start_paused = true)]
async fn turning_it_on_starts_no_run_rolls_nothing_and_stores_what_is_read() {
    let restored = json!({ "promotion": { "onFailure": "restorePrimary" }, "progressDeadlineSeconds": 60 });
    let stage = turned_on(never_up(unfollowed().spec(&restored))).await;
    stage.pass(120).await;
    assert_eq!((run(&stage), templates(&stage)), (json!(0), 1));
    assert_eq!(read(&stage), ("app-env".into(), "app-key".into()));
    assert_eq!(
        stage.events_with("the pods of the primary go on reading it as it is until the next promotion"),
        1
    );
    let writes = stage.story.writes_of_serin();
    stage.serin.stop().await;
    stage.serin.start();
    stage.pass(300).await;
    assert_eq!(stage.story.writes_of_serin(), writes, "and then there is silence");
    fails_and_is_restored(&stage).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_config_after_turning_it_on_is_a_release() {
    let stage = turned_on(unfollowed()).await;
    stage.pass(60).await;
    change(&stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
    stage.until_phase("Progressing").await;
    stage.until_phase("Succeeded").await;
    assert_eq!((run(&stage), color(&stage)), (json!(1), json!("blue")));
    stage.delete("apps/v1", "Deployment", "app-primary").await;
    stage.until("rebuilt", |stage| stage.ready("app-primary") == 3).await;
    assert_eq!(color(&stage), "blue");
}

/// A revision that had failed has failed, and a run that is on goes on.
#[tokio::test(start_paused = true)]
async fn turning_it_on_disturbs_neither_a_failure_nor_a_run() {
    let setting = unfollowed().script(|script| script.life(Pods::image("app:2"), Life::NeverReady));
    let mut stage = setting
        .spec(&json!({ "progressDeadlineSeconds": 60 }))
        .initialized()
        .await;
    release(&stage, "app:2").await;
    stage.until_phase("Failed").await;
    stage.pass(30).await;
    let failed = run(&stage);
    stage.serin.stop().await;
    stage.serin.settings(|settings| settings.config_tracking = true);
    stage.serin.start();
    stage.pass(120).await;
    assert_eq!((run(&stage), stage.phase()), (failed, "Failed".into()));
    stage.serin.stop().await;
    stage.serin.settings(|settings| settings.config_tracking = false);
    stage.serin.start();
    release(&stage, "app:3").await;
    stage.until("a step", |stage| stage.weight() > Some(0)).await;
    let running = run(&stage);
    stage.serin.stop().await;
    stage.serin.settings(|settings| settings.config_tracking = true);
    stage.serin.start();
    stage.until_phase("Succeeded").await;
    assert_eq!((run(&stage), color(&stage)), (running, json!("red")));
    assert!(read(&stage).0.starts_with("app-env-primary-"));
}

/// One that its pods can do without counts from when it is there.
#[tokio::test(start_paused = true)]
async fn an_optional_config_that_comes_later_is_a_release() {
    let mut reads = container("app:1");
    reads["envFrom"] = json!([{ "configMapRef": { "name": "app-env", "optional": true } }]);
    reads["env"] = json!([]);
    let mut setting = reading(Setting::new()).deployment(&json!({ "template": { "spec": { "containers": [reads] } } }));
    let env = setting.more.remove(0);
    let stage = setting.initialized().await;
    assert_eq!(read(&stage).0, "app-env");
    stage.create(&env).await;
    stage.until_phase("Progressing").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(color(&stage), "red");
    assert_eq!(stage.condition("Promoted").0, "True", "{}", stage.canary());
}
