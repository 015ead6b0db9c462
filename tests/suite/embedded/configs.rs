//! `ConfigMap`s and Secrets that the pods read (spec/core.md 3.5 and 8): the primary reads copies, a change is a revision.

use serde_json::{Value, json};
use serin::sim::apiserver::Denial;

use serin::sim::world::{hooks::HookSays, manifests};

use super::{
    process::{How, Mishap},
    setting::Setting,
    stage::Stage,
    traffic::no_request_lost,
};

fn config(kind: &str, name: &str, data: &Value) -> Value {
    let metadata = json!({ "name": name, "namespace": "test" });
    let field = if kind == "Secret" { "stringData" } else { "data" };
    json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, field: data })
}

/// An application that reads `app-env` (a `ConfigMap`) and `app-key` (a Secret).
fn setting() -> Setting {
    reading(Setting::new()).settings(|settings| settings.config_tracking = true)
}

/// The application of this setting reads them.
pub fn reading(setting: Setting) -> Setting {
    let containers = json!([container("app:1")]);
    setting
        .object(config("ConfigMap", "app-env", &json!({ "color": "red" })))
        .object(config("Secret", "app-key", &json!({ "key": "hush" })))
        .deployment(&json!({ "template": { "spec": { "containers": containers } } }))
}

fn container(image: &str) -> Value {
    json!({
        "name": "app", "image": image, "ports": [{ "name": "http", "containerPort": 9898 }],
        "envFrom": [{ "configMapRef": { "name": "app-env" } }],
        "env": [{ "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "app-key", "key": "key" } } }],
    })
}

pub async fn release(stage: &Stage, image: &str) {
    let containers = json!([container(image)]);
    stage
        .edit_deployment("app", json!({ "template": { "spec": { "containers": containers } } }))
        .await;
}

/// The names of `ConfigMap` and Secret that the primary reads.
fn read(stage: &Stage) -> (String, String) {
    let primary = stage.deployment("app-primary");
    let container = &primary["spec"]["template"]["spec"]["containers"][0];
    let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (
        name(&container["envFrom"][0]["configMapRef"]["name"]),
        name(&container["env"][0]["valueFrom"]["secretKeyRef"]["name"]),
    )
}

/// A person edits one of them.
pub async fn change(stage: &Stage, kind: &str, name: &str, data: &Value) {
    stage.note(&format!("change {kind} {name}"));
    stage.change(&config(kind, name, data)).await;
}

fn run(stage: &Stage) -> Value {
    stage.status()["serin"]["run"].clone()
}

#[tokio::test(start_paused = true)]
async fn core_049_the_primary_reads_copies_of_what_the_target_reads() {
    let stage = setting().initialized().await;
    let (env, key) = read(&stage);
    assert!(
        env.starts_with("app-env-primary-") && key.starts_with("app-key-primary-"),
        "{env} {key}"
    );
    let copy = stage.object("v1", "ConfigMap", &env);
    assert_eq!(
        (&copy["data"], &copy["immutable"]),
        (&json!({ "color": "red" }), &json!(true))
    );
    let copy = stage.object("v1", "Secret", &key);
    assert_eq!(
        (&copy["data"], &copy["type"]),
        (&json!({ "key": "aHVzaA==" }), &json!("Opaque"))
    );
    assert_eq!(copy["metadata"]["ownerReferences"][0]["kind"], "Canary");
    assert_eq!(stage.ready("app-primary"), 3);
}

#[tokio::test(start_paused = true)]
async fn core_048_the_status_has_flaggers_checksum_of_each() {
    let stage = setting().initialized().await;
    let tracked = stage.status()["trackedConfigs"].clone();
    assert_eq!(tracked["configmap/app-env"], "241889ca0604e333");
    assert_eq!(tracked["secret/app-key"].as_str().map(str::len), Some(16));
}

#[tokio::test(start_paused = true)]
async fn core_011_what_changes_in_the_midst_of_a_run_is_what_is_promoted() {
    let stage = setting().initialized().await;
    let before = read(&stage);
    release(&stage, "app:2").await;
    stage.until("a step", |stage| stage.weight() > Some(0)).await;
    change(&stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
    change(&stage, "Secret", "app-key", &json!({ "key": "psst" })).await;
    stage.until("home", |stage| stage.weight() == Some(0)).await;
    assert_eq!(read(&stage), before, "production reads what it read");
    stage.until_phase("Succeeded").await;
    let (env, key) = read(&stage);
    assert_eq!(
        stage.object("v1", "ConfigMap", &env)["data"],
        json!({ "color": "blue" })
    );
    assert_eq!(stage.object("v1", "Secret", &key)["data"], json!({ "key": "cHNzdA==" }));
    assert_eq!(stage.image("app-primary"), "app:2");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_config_alone_is_a_release_and_its_return_none() {
    let stage = setting().initialized().await;
    let (before, first) = (read(&stage), run(&stage));
    change(&stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
    stage.until_phase("Progressing").await;
    stage.until_phase("Succeeded").await;
    let after = read(&stage);
    assert!(before.0 != after.0 && before.1 == after.1, "{before:?} {after:?}");
    let second = run(&stage);
    assert_ne!(first, second);
    // An edit of its metadata says nothing to the pods.
    let labelled = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "color": "blue" },
        "metadata": { "name": "app-env", "namespace": "test", "labels": { "a": "b" } } });
    stage.change(&labelled).await;
    stage.pass(120).await;
    assert_eq!((run(&stage), read(&stage)), (second, after));
}

#[tokio::test(start_paused = true)]
async fn a_config_that_fails_leaves_production_with_the_old_one() {
    let stage = setting().initialized().await;
    let before = read(&stage);
    change(&stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
    stage.until("a step", |stage| stage.weight() > Some(0)).await;
    stage.say("abort", "1").await;
    stage.until_phase("Failed").await;
    assert_eq!(read(&stage), before);
    let failed = run(&stage);
    stage.pass(300).await;
    assert_eq!(run(&stage), failed, "it is not tried again");
    stage.delete("apps/v1", "Deployment", "app-primary").await;
    stage.until("rebuilt", |stage| stage.ready("app-primary") == 3).await;
    assert_eq!(read(&stage), before, "it comes out of the store, not from the target");
}

#[tokio::test(start_paused = true)]
async fn core_049_what_was_opted_out_of_and_what_is_live_is_read_as_it_is() {
    let opted_out = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": { "color": "red" },
        "metadata": { "name": "app-env", "namespace": "test", "annotations": { "flagger.app/config-tracking": "disabled" } },
    });
    let live = json!([{ "kind": "Secret", "name": "app-key", "mode": "live" }]);
    let mut setting = setting().spec(&json!({ "configTracking": live }));
    setting.more.remove(0);
    let stage = setting.object(opted_out).initialized().await;
    assert_eq!(read(&stage), ("app-env".into(), "app-key".into()));
    assert_eq!(stage.status()["trackedConfigs"], json!({}));
    let before = run(&stage);
    change(&stage, "Secret", "app-key", &json!({ "key": "psst" })).await;
    stage.pass(120).await;
    assert_eq!(run(&stage), before, "a rotated credential is no release");
}

#[tokio::test(start_paused = true)]
async fn core_050_what_cannot_be_read_is_no_change() {
    let stage = setting().initialized().await;
    let before = (run(&stage), read(&stage));
    stage.api.deny(Denial {
        user: "serin-1".into(),
        verb: "get".into(),
        group: String::new(),
        resource: "configmaps".into(),
    });
    change(&stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
    stage
        .until("a word", |stage| stage.condition("Stalled").1 == "InvalidSpec")
        .await;
    stage.pass(60).await;
    assert_eq!((run(&stage), read(&stage)), before);
    stage.api.allow_all();
    stage.until("a run", |stage| run(stage) != before.0).await;
    stage.until_phase("Succeeded").await;
}

#[tokio::test(start_paused = true)]
async fn a_config_that_is_missing_is_named_and_nothing_is_given_up() {
    let mut setting = setting();
    let env = setting.more.remove(0);
    let stage = setting.raise().await;
    stage
        .until("a word", |stage| stage.condition("Stalled").1 == "InvalidSpec")
        .await;
    let message = stage.canary()["status"]["conditions"].to_string();
    assert!(message.contains("ConfigMap app-env"), "{message}");
    assert!(stage.deployment("app-primary").is_null());
    stage.create(&env).await;
    stage.until_phase("Initialized").await;
    let before = run(&stage);
    stage.delete("v1", "ConfigMap", "app-env").await;
    stage.pass(120).await;
    assert_eq!((run(&stage), stage.ready("app-primary")), (before, 3));
}

/// Invariant 5: neither turning it on nor a restart is a change.
#[tokio::test(start_paused = true)]
async fn turning_it_on_starts_no_run_and_follows_from_the_next_release_on() {
    let mut stage = reading(Setting::new()).initialized().await;
    let before = run(&stage);
    stage.serin.stop().await;
    stage.serin.settings(|settings| settings.config_tracking = true);
    stage.serin.start();
    stage.pass(120).await;
    assert_eq!(
        (run(&stage), read(&stage)),
        (before, ("app-env".into(), "app-key".into()))
    );
    release(&stage, "app:2").await;
    stage.until_phase("Succeeded").await;
    assert!(read(&stage).0.starts_with("app-env-primary-"));
}

/// What no stored revision names any more goes; what one names stays.
#[tokio::test(start_paused = true)]
async fn copies_go_with_their_revisions() {
    let stage = setting().initialized().await;
    for color in ["blue", "green", "black", "white"] {
        change(&stage, "ConfigMap", "app-env", &json!({ "color": color })).await;
        stage.until_phase("Progressing").await;
        stage.until_phase("Succeeded").await;
    }
    stage.pass(60).await;
    let revisions = stage.api.objects("apps/v1", "ControllerRevision", "test").len();
    let copies = stage.api.objects("v1", "ConfigMap", "test");
    let copies: Vec<_> = copies.iter().map(|it| it["metadata"]["name"].clone()).collect();
    assert_eq!(
        copies.len(),
        revisions + 1,
        "one for each revision, and the original: {copies:?}"
    );
    assert!(copies.contains(&json!(read(&stage).0)));
}

/// The Canary goes and its target is gone: the primary serves on, and what it reads stays with it.
#[tokio::test(start_paused = true)]
async fn a_primary_that_stays_keeps_what_it_reads() {
    let stage = setting().initialized().await;
    let (env, key) = read(&stage);
    stage.delete("apps/v1", "Deployment", "app").await;
    stage.delete("flagger.app/v1beta1", "Canary", "app").await;
    stage.until("gone", |stage| stage.canary().is_null()).await;
    stage.pass(120).await;
    let primary = !stage.deployment("app-primary").is_null();
    for (kind, name) in [("ConfigMap", env), ("Secret", key)] {
        assert_eq!(!stage.object("v1", kind, &name).is_null(), primary, "{kind} {name}");
    }
}

/// Case 51: Flagger's copies are shared by all Canaries that read the original; here each has its own.
#[tokio::test(start_paused = true)]
async fn core_051_canaries_that_read_the_same_have_copies_of_their_own() {
    let mut other = manifests::deployment("test", "other", "app:1", 2);
    other["spec"]["template"]["spec"]["containers"] = json!([container("app:1")]);
    let analysis = manifests::analysis("10s", 2, 60, 20);
    let stage = setting()
        .object(other)
        .object(manifests::service("test", "other"))
        .object(manifests::canary("test", "other", "gatewayapi:v1", &analysis))
        .initialized()
        .await;
    let read_by = |stage: &Stage, primary: &str| {
        let container = stage.deployment(primary)["spec"]["template"]["spec"]["containers"][0].take();
        container["envFrom"][0]["configMapRef"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    stage
        .until("both are taken over", |stage| {
            stage.ready("other-primary") == 2 && stage.replicas("other") == 0
        })
        .await;
    let (one, two) = (read_by(&stage, "app-primary"), read_by(&stage, "other-primary"));
    assert_ne!(one, two);
    for name in [&one, &two] {
        let owners = stage.object("v1", "ConfigMap", name)["metadata"]["ownerReferences"].take();
        assert_eq!(owners.as_array().map(Vec::len), Some(1), "{name}: {owners}");
    }
    // One goes, and the other keeps what it reads.
    stage.delete("flagger.app/v1beta1", "Canary", "other").await;
    stage.pass(120).await;
    assert!(stage.object("v1", "ConfigMap", &two).is_null());
    assert_eq!(stage.object("v1", "ConfigMap", &one)["data"], json!({ "color": "red" }));
}

/// The mark of the last change for which the primary was rolled.
pub fn mark(stage: &Stage) -> Value {
    stage.deployment("app-primary")["spec"]["template"]["metadata"]["annotations"]["serin.dev/restarted"].take()
}

fn restarting() -> Setting {
    setting().spec(&json!({ "configTracking": [{ "kind": "Secret", "name": "app-key", "mode": "liveRestart" }] }))
}

/// Rank 8: a rotated password reaches production at once, and is no release.
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

/// Rank 8: whose copy is frozen although somebody keeps the original up to date is told.
#[tokio::test(start_paused = true)]
async fn a_secret_with_a_rotator_is_proposed_to_be_read_live() {
    let mut secret = config("Secret", "app-key", &json!({ "key": "hush" }));
    secret["metadata"]["annotations"] = json!({ "cert-manager.io/certificate-name": "shop" });
    let told = |stage: &Stage| stage.events_with("Secret app-key is kept up to date by Certificate shop");
    let stage = setting().initialized().await;
    stage.change(&secret).await;
    assert_eq!(told(&stage), 0);
    stage.edit_canary(json!({ "analysis": { "threshold": 3 } })).await;
    stage.pass(60).await;
    assert_eq!(told(&stage), 1);
    stage
        .edit_canary(json!({ "configTracking": [{ "kind": "Secret", "name": "app-key", "mode": "snapshot" }] }))
        .await;
    stage.pass(60).await;
    assert_eq!(told(&stage), 1, "a person has decided");
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
