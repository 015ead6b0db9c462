//! `ConfigMap`s and Secrets that the pods read (spec/core.md 3.5 and 8): the primary reads copies, a change is a revision.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use serin::sim::apiserver::Denial;
use serin::sim::fault::{Action, Failure, Fault, RequestInfo};
use serin::sim::world::manifests;
use serin::workload::configs::references;

use super::command::spoken;
use super::{setting::Setting, stage::Stage};

pub fn config(kind: &str, name: &str, data: &Value) -> Value {
    let metadata = json!({ "name": name, "namespace": "test" });
    let field = if kind == "Secret" { "stringData" } else { "data" };
    json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, field: data })
}

/// An application that reads `app-env` (a `ConfigMap`) and `app-key` (a Secret).
pub fn setting() -> Setting {
    reading(Setting::new())
}

/// The application of this setting reads them.
pub fn reading(setting: Setting) -> Setting {
    let containers = json!([container("app:1")]);
    setting
        .object(config("ConfigMap", "app-env", &json!({ "color": "red" })))
        .object(config("Secret", "app-key", &json!({ "key": "hush" })))
        .deployment(&json!({ "template": { "spec": { "containers": containers } } }))
}

pub fn container(image: &str) -> Value {
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
pub fn read(stage: &Stage) -> (String, String) {
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

pub fn run(stage: &Stage) -> Value {
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

/// Every place of a pod's spec that can name one.
fn all_places() -> (Value, Vec<(&'static str, &'static str)>) {
    let config = |name: &str| json!({ "configMapRef": { "name": name } });
    let env = |name: &str, key: &str, source: &str| json!({ "name": name, "valueFrom": { source: { "name": key, "key": "it" } } });
    let image = |name: &str| json!({ "name": name, "image": "app:1" });
    let (mut app, mut init, mut sidecar) = (image("app"), image("migrate"), image("proxy"));
    app["ports"] = json!([{ "name": "http", "containerPort": 9898 }]);
    app["env"] = json!([
        env("A", "env-map", "configMapKeyRef"),
        env("B", "env-secret", "secretKeyRef")
    ]);
    app["envFrom"] = json!([config("from-map"), { "secretRef": { "name": "from-secret" } }]);
    init["env"] = json!([env("C", "init-secret", "secretKeyRef")]);
    init["envFrom"] = json!([config("init-map")]);
    sidecar["restartPolicy"] = "Always".into();
    sidecar["env"] = json!([env("D", "side-map", "configMapKeyRef")]);
    sidecar["envFrom"] = json!([{ "secretRef": { "name": "side-secret" } }]);
    let volumes = json!([
        { "name": "a", "configMap": { "name": "files-map" } },
        { "name": "b", "secret": { "secretName": "files-secret" } },
        { "name": "c", "projected": { "sources": [
            { "configMap": { "name": "part-map" } }, { "secret": { "name": "part-secret" } },
            { "serviceAccountToken": { "path": "token" } },
        ] } },
    ]);
    let places = ["env", "from", "init", "side", "files", "part"];
    let names = places
        .into_iter()
        .flat_map(|place| [("ConfigMap", place, "map"), ("Secret", place, "secret")]);
    let names = names.map(|(kind, place, end)| (kind, &*format!("{place}-{end}").leak()));
    let spec = json!({ "containers": [app], "initContainers": [init, sidecar], "volumes": volumes });
    (spec, names.collect())
}

#[tokio::test(start_paused = true)]
async fn core_049_every_place_of_a_pod_that_names_one_gets_the_copy() {
    let (spec, originals) = all_places();
    let mut setting = Setting::new().deployment(&json!({ "template": { "spec": spec } }));
    for (kind, name) in &originals {
        setting = setting.object(config(kind, name, &json!({ "it": format!("what {name} says") })));
    }
    let stage = setting.initialized().await;
    let primary = stage.deployment("app-primary")["spec"]["template"].take();
    let copies = references(&primary);
    assert_eq!(copies.len(), originals.len(), "{copies:?}");
    for (kind, name) in originals {
        let copy = copies
            .keys()
            .find(|copy| copy.kind.as_str() == kind && copy.name.starts_with(&format!("{name}-primary-")))
            .unwrap_or_else(|| panic!("{name} has no copy: {copies:?}"));
        let data = stage.object("v1", kind, &copy.name)["data"].take();
        assert_eq!(data, stage.object("v1", kind, name)["data"], "{name}");
        assert_ne!(data, Value::Null, "{name}");
    }
    let token = &primary["spec"]["volumes"][2]["projected"]["sources"][2];
    assert_eq!(token["serviceAccountToken"]["path"], "token");
    assert_eq!(
        stage.status()["trackedConfigs"].as_object().map(serde_json::Map::len),
        Some(copies.len())
    );
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
    // Rank 8: it is said why.
    let (why, _) = spoken(&stage, stage.team.clone(), "why app").await;
    for words in [
        "ConfigMap app-env: its annotation flagger.app/config-tracking says so",
        "Secret app-key: spec.configTracking says live",
    ] {
        assert!(why.contains(words), "{why}");
    }
}

/// Right after a push the command waits for its release, and afterwards it sees that this is over.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_release_hears_of_its_end_although_its_name_holds_more_than_the_template() {
    let stage = setting().initialized().await;
    release(&stage, "app:2").await;
    let (words, ended) = spoken(&stage, stage.team.clone(), "wait app").await;
    assert!(ended.is_ok(), "{words} {ended:?}");
    assert_eq!(stage.image("app-primary"), "app:2");
}

/// One of two kinds of objects cannot be read, for one of two reasons.
#[tokio::test(start_paused = true)]
async fn core_050_what_cannot_be_read_is_no_change() {
    let changes = [
        ("ConfigMap", "app-env", "configmaps", json!({ "color": "blue" })),
        ("Secret", "app-key", "secrets", json!({ "key": "psst" })),
    ];
    for (kind, name, resource, data) in &changes {
        let stage = setting().initialized().await;
        let before = (run(&stage), read(&stage));
        stage.api.deny(Denial {
            user: "serin-1".into(),
            verb: "get".into(),
            group: String::new(),
            resource: (*resource).into(),
        });
        change(&stage, kind, name, data).await;
        stage
            .until("a word", |stage| stage.condition("Stalled").1 == "InvalidSpec")
            .await;
        stage.pass(60).await;
        assert_eq!((run(&stage), read(&stage)), before, "{kind}: 403");
        stage.api.allow_all();
        stage.until("a run", |stage| run(stage) != before.0).await;
        stage.until_phase("Succeeded").await;
    }
    for (kind, name, resource, data) in &changes {
        let broken = Arc::new(Broken {
            resource,
            is: AtomicBool::default(),
        });
        let stage = setting().fault(broken.clone()).initialized().await;
        let before = (run(&stage), read(&stage));
        broken.is.store(true, Ordering::SeqCst);
        change(&stage, kind, name, data).await;
        stage.pass(120).await;
        assert_eq!((run(&stage), read(&stage)), before, "{kind}: 500");
        assert_ne!(
            stage.condition("Stalled").0,
            "True",
            "{kind}: a passing error is nobody's fault"
        );
        broken.is.store(false, Ordering::SeqCst);
        stage.until("a run", |stage| run(stage) != before.0).await;
        stage.until_phase("Succeeded").await;
    }
}

/// The API server answers 500 when an object of this kind is asked for.
struct Broken {
    resource: &'static str,
    is: AtomicBool,
}

impl Fault for Broken {
    fn on_request(&self, request: &RequestInfo) -> Action {
        if request.verb == "get" && request.resource == self.resource && self.is.load(Ordering::SeqCst) {
            Action::FailBefore(Failure::InternalError)
        } else {
            Action::Pass
        }
    }
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
