//! The primary copy, the stored revisions and what a Deployment says, by themselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world must stop")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use serin::{
    rollout::Fingerprint,
    workload::{
        REVISION, Selector, Settings, fingerprint,
        primary::{Identity, PrimaryContext, create, promote, recover},
        primary_facts, store, target_facts,
    },
};

fn selector(key: &str, value: &str) -> Selector {
    Selector {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn owner() -> OwnerReference {
    OwnerReference {
        api_version: "flagger.app/v1beta1".to_owned(),
        kind: "Canary".to_owned(),
        name: "podinfo".to_owned(),
        uid: "canary-uid".to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn identity<'a>(selector: &'a Selector, settings: &'a Settings) -> Identity<'a> {
    Identity {
        target: "podinfo",
        selector,
        settings,
    }
}

fn target() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "podinfo", "namespace": "test", "uid": "target-uid", "generation": 3,
            "labels": {"app": "podinfo", "app.kubernetes.io/part-of": "shop", "team": "a"},
            "annotations": {
                "deployment.kubernetes.io/revision": "7",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "kustomize.toolkit.fluxcd.io/checksum": "x",
                "app.kubernetes.io/owner": "shop",
                "note": "hello",
            },
        },
        "spec": {
            "replicas": 2,
            "paused": true,
            "progressDeadlineSeconds": 60,
            "minReadySeconds": 3,
            "revisionHistoryLimit": 5,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": "podinfo", "tier": "web"}},
            "template": template(),
        },
        "status": {},
    })
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "podinfo", "tier": "web"}, "annotations": {"prometheus.io/scrape": "true"}},
        "spec": {"containers": [{"name": "podinfod", "image": "podinfo:6.0.0", "resources": {}}]},
    })
}

/// What the tests of the copy share.
struct Bench {
    owner: OwnerReference,
    selector: Selector,
    settings: Settings,
    revision: Fingerprint,
}

impl Bench {
    fn new() -> Self {
        Self {
            owner: owner(),
            selector: selector("app", "podinfo"),
            settings: Settings::default(),
            revision: fingerprint(&template()),
        }
    }

    fn cx(&self, run: u64, replicas: u32) -> PrimaryContext<'_> {
        PrimaryContext {
            owner: &self.owner,
            identity: identity(&self.selector, &self.settings),
            revision: &self.revision,
            run,
            replicas,
        }
    }

    fn created(&self) -> Value {
        let mut primary = create(&target(), &template(), &self.cx(0, 2));
        primary["metadata"]["uid"] = "primary-uid".into();
        primary["metadata"]["generation"] = 1.into();
        primary
    }
}

fn applied(live: &Value, patch: &json_patch::Patch) -> Value {
    let mut next = live.clone();
    json_patch::patch(&mut next, patch).unwrap();
    next
}

// === The copy ===

#[test]
fn a_new_primary_is_the_stored_revision_under_another_label() {
    let bench = Bench::new();
    insta::assert_yaml_snapshot!(create(&target(), &template(), &bench.cx(0, 2)), @r#"
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      annotations:
        app.kubernetes.io/owner: shop
        note: hello
        serin.dev/revision: "v1:33983ba51f2c29480c8961ae5fbb172c3fbbab04c21061de1c11b916bf7707d0"
      labels:
        app: podinfo-primary
      name: podinfo-primary
      namespace: test
      ownerReferences:
        - apiVersion: flagger.app/v1beta1
          blockOwnerDeletion: true
          controller: true
          kind: Canary
          name: podinfo
          uid: canary-uid
    spec:
      minReadySeconds: 3
      progressDeadlineSeconds: 60
      replicas: 2
      revisionHistoryLimit: 5
      selector:
        matchLabels:
          app: podinfo-primary
      strategy:
        type: Recreate
      template:
        metadata:
          annotations:
            flagger-id: c13162b0-f970-8cea-83c7-0e859cbd99ec
            prometheus.io/scrape: "true"
          labels:
            app: podinfo-primary
            tier: web
        spec:
          containers:
            - image: "podinfo:6.0.0"
              name: podinfod
              resources: {}
    "#);
}

#[test]
fn core_038_the_label_names_the_pods_and_the_target_names_the_primary() {
    let mut bench = Bench::new();
    bench.selector = selector("name", "podinfo");
    let cx = PrimaryContext {
        identity: Identity {
            target: "podinfo-service",
            ..identity(&bench.selector, &bench.settings)
        },
        ..bench.cx(0, 1)
    };
    let primary = create(&target(), &template(), &cx);
    assert_eq!(primary["metadata"]["name"], "podinfo-service-primary");
    assert_eq!(
        primary["spec"]["selector"]["matchLabels"],
        json!({"name": "podinfo-primary"})
    );
    assert_eq!(
        primary["spec"]["template"]["metadata"]["labels"]["name"],
        "podinfo-primary"
    );
}

#[test]
fn core_039_annotations_of_the_toolkit_and_of_the_target_itself_are_not_copied() {
    let primary = Bench::new().created();
    let annotations = primary["metadata"]["annotations"].as_object().unwrap();
    let keys: Vec<&str> = annotations.keys().map(String::as_str).collect();
    assert_eq!(keys, ["app.kubernetes.io/owner", "note", REVISION]);
}

#[test]
fn core_040_included_prefixes_reach_the_primary_at_promotion() {
    let mut bench = Bench::new();
    bench.settings.include_label_prefixes = vec!["app.kubernetes.io".to_owned(), String::new()];
    let live = bench.created();
    let next = applied(&live, &promote(&live, &target(), &template(), &bench.cx(1, 2)));
    assert_eq!(
        next["metadata"]["labels"],
        json!({"app": "podinfo-primary", "app.kubernetes.io/part-of": "shop"})
    );
    assert_eq!(
        next["metadata"]["annotations"],
        json!({"app.kubernetes.io/owner": "shop", REVISION: bench.revision.0})
    );
}

#[test]
fn core_041_terms_about_its_own_pods_follow_by_the_labels_value_or_the_name() {
    let mut bench = Bench::new();
    bench.selector = selector("app", "web");
    let terms = |own: &str, name: &str| {
        let labels = json!({"matchLabels": {"app": own, "zone": own}});
        let expressions = json!({"matchExpressions": [
            {"key": "app", "operator": "In", "values": ["other", own]},
            {"key": "name", "operator": "In", "values": [name]},
            {"key": "team", "operator": "In", "values": ["web"]},
            {"key": "app", "operator": "Exists"},
        ]});
        json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "topologySpreadConstraints": [{"labelSelector": labels}],
                "affinity": {
                    "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": labels}]},
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": expressions}],
                        "preferredDuringSchedulingIgnoredDuringExecution":
                            [{"weight": 1, "podAffinityTerm": {"labelSelector": expressions}}],
                    },
                },
            },
        })
    };
    let mut stored = terms("web", "podinfo");
    // A label that is no selector label means no pods of ours, whatever its value.
    stored["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]["zone"] = "web".into();
    let mut expected = terms("web-primary", "podinfo-primary");
    for pointer in [
        "/spec/topologySpreadConstraints/0/labelSelector/matchLabels/zone",
        "/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/labelSelector/matchLabels/zone",
    ] {
        *expected.pointer_mut(pointer).unwrap() = "web".into();
    }
    let primary = create(&target(), &stored, &bench.cx(0, 1));
    assert_eq!(primary["spec"]["template"]["spec"], expected["spec"]);
    let read_back = recover(
        &primary["spec"]["template"],
        None,
        identity(&bench.selector, &bench.settings),
    );
    assert_eq!(fingerprint(&read_back), fingerprint(&stored));
}

#[test]
fn a_promotion_changes_template_and_followed_fields_of_the_primary_that_was_seen() {
    let bench = Bench::new();
    let live = bench.created();
    let mut target = target();
    target["spec"]["strategy"] = json!({"type": "RollingUpdate"});
    target["spec"].as_object_mut().unwrap().remove("minReadySeconds");
    let mut stored = template();
    stored["spec"]["containers"][0]["image"] = "podinfo:6.0.1".into();
    let patch = promote(&live, &target, &stored, &bench.cx(1, 2));
    let next = applied(&live, &patch);
    assert_eq!(next["spec"]["template"]["spec"], stored["spec"]);
    assert_eq!(next["spec"]["strategy"], json!({"type": "RollingUpdate"}));
    assert_eq!(next["spec"].get("minReadySeconds"), None);
    assert_eq!(
        next["spec"].get("paused"),
        None,
        "a paused target does not pause production"
    );
    for (key, value) in [("uid", json!("another")), ("generation", json!(2))] {
        let mut moved = live.clone();
        moved["metadata"][key] = value;
        assert!(json_patch::patch(&mut moved, &patch).is_err(), "{key}");
    }
}

#[test]
fn a_promotion_never_lowers_replicas() {
    let bench = Bench::new();
    let mut live = bench.created();
    live["spec"]["replicas"] = 9.into();
    for (asked, expected) in [(2, 9), (12, 12)] {
        let next = applied(&live, &promote(&live, &target(), &template(), &bench.cx(1, asked)));
        assert_eq!(next["spec"]["replicas"], expected);
    }
}

#[test]
fn every_run_rolls_the_pods_once_and_a_repetition_changes_nothing() {
    let bench = Bench::new();
    let live = bench.created();
    let once = applied(&live, &promote(&live, &target(), &template(), &bench.cx(1, 2)));
    let id = |primary: &Value| primary["spec"]["template"]["metadata"]["annotations"]["flagger-id"].clone();
    assert_ne!(id(&once), id(&live));
    assert!(promote(&once, &target(), &template(), &bench.cx(1, 2)).is_empty());
    assert!(!promote(&once, &target(), &template(), &bench.cx(2, 2)).is_empty());
    let text = id(&once).as_str().unwrap().to_owned();
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "{text}");
}

// === Reading back ===

#[test]
fn a_primary_made_by_flagger_tells_its_revision() {
    let bench = Bench::new();
    let mut primary = bench.created();
    primary["metadata"]["annotations"]
        .as_object_mut()
        .unwrap()
        .remove(REVISION);
    primary["spec"]["template"]["metadata"]["annotations"]["flagger-id"] = "5f6c0a7e-random".into();
    let facts = primary_facts(
        &primary,
        Some(&target()),
        identity(&bench.selector, &bench.settings),
        100,
    )
    .unwrap();
    assert_eq!(facts.fingerprint, Some(bench.revision));
}

#[test]
fn what_is_written_on_the_primary_counts_before_what_can_be_read_from_it() {
    let bench = Bench::new();
    let mut primary = bench.created();
    primary["metadata"]["annotations"][REVISION] = "v1:written".into();
    let facts = primary_facts(&primary, None, identity(&bench.selector, &bench.settings), 100).unwrap();
    assert_eq!(facts.fingerprint, Some(Fingerprint("v1:written".to_owned())));
}

#[test]
fn names_of_config_copies_are_mapped_back_where_the_target_has_the_plain_name() {
    let bench = Bench::new();
    let spec = |suffix: &str| {
        let name = |plain: &str| format!("{plain}{suffix}");
        json!({
            "volumes": [
                {"name": "b", "configMap": {"name": name("config")}},
                {"name": "a", "secret": {"secretName": name("secret")}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": name("projected")}}]}},
            ],
            "initContainers": [{"name": "init", "envFrom": [{"configMapRef": {"name": name("env")}}]}],
            "containers": [{"name": "podinfod", "env": [
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": name("secret"), "key": "key"}}},
            ]}],
        })
    };
    let with = |spec: Value| json!({"metadata": template()["metadata"], "spec": spec});
    let (target, copied) = (with(spec("")), with(spec("-primary")));
    let identity = identity(&bench.selector, &bench.settings);
    assert_eq!(
        fingerprint(&recover(&copied, Some(&target), identity)),
        fingerprint(&target)
    );
}

#[test]
fn a_real_difference_between_primary_and_target_is_not_taken_for_a_config_copy() {
    let bench = Bench::new();
    let with = |backend: &str, config: &str| {
        json!({"spec": {
            "containers": [{"name": "a", "env": [{"name": "BACKEND", "value": backend}]}],
            "volumes": [{"name": "v", "configMap": {"name": config}}],
        }})
    };
    let identity = identity(&bench.selector, &bench.settings);
    let promoted = with("db-primary", "real-primary");
    let recovered = recover(&promoted, Some(&with("db", "other")), identity);
    assert_eq!(fingerprint(&recovered), fingerprint(&promoted));
}

/// Templates as an API server stores them, with everything that copying touches.
fn templates() -> impl Strategy<Value = Value> {
    let word = || prop::sample::select(vec!["a", "b", "podinfo", "web", "other", "tier"]);
    let pairs = || prop::collection::btree_map(word(), word(), 0..4);
    let selector = (
        pairs(),
        prop::collection::vec((prop::sample::select(vec!["app", "name", "x"]), word(), word()), 0..3),
    )
        .prop_map(|(labels, expressions)| {
            let expressions: Vec<Value> = expressions
                .into_iter()
                .map(|(key, first, second)| json!({"key": key, "operator": "In", "values": [first, second]}))
                .collect();
            json!({"matchLabels": labels, "matchExpressions": expressions})
        });
    let terms = prop::collection::vec(selector, 0..3);
    (pairs(), prop::option::of(pairs()), terms, word(), any::<bool>()).prop_map(
        |(mut labels, annotations, terms, image, affinity)| {
            labels.insert("app", "web");
            let terms: Vec<Value> = terms.into_iter().map(|it| json!({"labelSelector": it})).collect();
            let mut template = json!({
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": image}], "topologySpreadConstraints": terms},
            });
            if let Some(annotations) = annotations {
                template["metadata"]["annotations"] = json!(annotations);
            }
            if affinity {
                template["spec"]["affinity"] =
                    json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
            }
            template
        },
    )
}

/// What a write to and a read from an API server may change: nulls appear, empty metadata goes, members change places.
fn stored(template: &Value) -> Value {
    let mut stored: Value = serde_json::from_str(&template.to_string()).unwrap();
    stored["metadata"]["creationTimestamp"] = Value::Null;
    if let Some(metadata) = stored["metadata"].as_object_mut() {
        metadata.retain(|_, value| {
            value
                .as_object()
                .is_none_or(|members: &Map<String, Value>| !members.is_empty())
        });
    }
    stored
}

proptest! {
    #[test]
    fn reading_back_a_copy_gives_the_revision_it_was_made_from(template in templates()) {
        let mut bench = Bench::new();
        bench.selector = selector("app", "web");
        let primary = create(&target(), &template, &bench.cx(4, 1));
        let read = stored(&primary["spec"]["template"]);
        let identity = identity(&bench.selector, &bench.settings);
        prop_assert_eq!(fingerprint(&recover(&read, None, identity)), fingerprint(&template));
        prop_assert_eq!(fingerprint(&recover(&read, Some(&template), identity)), fingerprint(&template));
    }
}

// === The store ===

#[test]
fn a_stored_revision_is_read_back_whole() {
    let (template, owner) = (template(), owner());
    let print = fingerprint(&template);
    let object = store::revision(&owner, "test", "podinfo", &print, &template, 4);
    let digits = &print.0["v1:".len()..][..10];
    assert_eq!(object["metadata"]["name"], format!("podinfo-{digits}"));
    assert_eq!(object["metadata"]["labels"], json!({"serin.dev/canary": "podinfo"}));
    assert_eq!(object["revision"], 4);
    let read = store::read(&object).unwrap();
    assert_eq!((read.fingerprint, read.template, read.intact), (print, template, true));
}

#[test]
fn a_revision_that_was_changed_is_not_intact_and_a_foreign_object_is_none() {
    let template = template();
    let mut object = store::revision(&owner(), "test", "podinfo", &fingerprint(&template), &template, 4);
    object["data"]["spec"]["template"]["spec"]["containers"][0]["image"] = "evil".into();
    assert!(!store::read(&object).unwrap().intact);
    assert_eq!(
        store::read(&json!({"kind": "ControllerRevision", "data": {"spec": {"template": {}}}})),
        None
    );
}

#[test]
fn long_names_are_cut_to_what_kubernetes_takes() {
    let print = fingerprint(&template());
    assert!(store::name(&"t".repeat(253), &print).len() <= 253);
    let long = "c".repeat(100);
    assert!(store::label(&long).len() <= 63);
    assert_ne!(store::label(&long), store::label(&"c".repeat(101)));
}

// === What a Deployment says ===

fn rolled(status: &Value) -> Value {
    let mut deployment = target();
    deployment["spec"]["replicas"] = 4.into();
    deployment["spec"]["strategy"] = json!({"type": "RollingUpdate"});
    deployment["status"] = status.clone();
    deployment
}

#[test]
fn core_045_a_roll_is_told_in_flaggers_words() {
    let done = json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 4, "availableReplicas": 4});
    let with = |key: &str, value: u32| {
        let mut status = done.clone();
        status[key] = value.into();
        status
    };
    let late = json!({"observedGeneration": 3, "updatedReplicas": 4, "replicas": 4, "conditions":
        [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m"}]});
    let wait = "waiting for rollout to finish: ";
    for (status, threshold, message) in [
        (done.clone(), 100, String::new()),
        (
            with("observedGeneration", 2),
            100,
            format!("{wait}observed deployment generation less than desired generation"),
        ),
        (
            with("updatedReplicas", 1),
            100,
            format!("{wait}1 out of 4 new replicas have been updated"),
        ),
        (
            with("replicas", 6),
            100,
            format!("{wait}2 old replicas are pending termination"),
        ),
        (
            with("availableReplicas", 3),
            100,
            format!("{wait}3 of 4 (readyThreshold 100%) updated replicas are available"),
        ),
        (with("availableReplicas", 2), 50, String::new()),
        (
            with("availableReplicas", 1),
            50,
            format!("{wait}1 of 2 (readyThreshold 50%) updated replicas are available"),
        ),
        (
            with("availableReplicas", 0),
            0,
            format!("{wait}0 of 1 (readyThreshold 0%) updated replicas are available"),
        ),
        (
            late,
            100,
            "deployment \"podinfo\" exceeded its progress deadline".to_owned(),
        ),
    ] {
        let rollout = target_facts(&rolled(&status), threshold).unwrap().rollout;
        assert_eq!(rollout.message, message);
        assert_eq!(rollout.complete, message.is_empty(), "{message}");
        assert_eq!(rollout.deadline_exceeded, message.ends_with("deadline"), "{message}");
    }
}

#[test]
fn core_089_no_replicas_are_not_a_finished_roll() {
    let mut deployment = rolled(&json!({"observedGeneration": 3}));
    deployment["spec"]["replicas"] = 0.into();
    let facts = target_facts(&deployment, 100).unwrap();
    assert!(!facts.rollout.complete);
    assert_eq!(facts.replicas, 0);
}

#[test]
fn the_worst_moment_of_a_roll_follows_the_deployment_controllers_rules() {
    let rolling = |surge: Value, unavailable: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
    for (strategy, replicas, expected) in [
        (json!({"type": "Recreate"}), 4, 0),
        (json!({"type": "RollingUpdate"}), 4, 3),
        (rolling(json!("25%"), json!("25%")), 3, 3),
        (rolling(json!(1), json!(0)), 3, 3),
        (rolling(json!(0), json!(2)), 3, 1),
        (rolling(json!(0), json!("25%")), 3, 2),
        (rolling(json!("25%"), json!(5)), 3, 0),
        (rolling(json!("25%"), json!("25%")), 0, 0),
    ] {
        let mut deployment = rolled(&json!({}));
        deployment["spec"]["replicas"] = replicas.into();
        deployment["spec"]["strategy"] = strategy.clone();
        assert_eq!(
            target_facts(&deployment, 100).unwrap().worst_ready,
            expected,
            "{strategy} of {replicas}"
        );
    }
}

#[test]
fn trouble_is_what_the_conditions_say() {
    let condition = |type_: &str, status: &str| json!({"conditions": [{"type": type_, "status": status, "reason": "R", "message": "no quota"}]});
    for (status, expected) in [
        (condition("ReplicaFailure", "True"), Some("R: no quota".to_owned())),
        (condition("Progressing", "False"), Some("R: no quota".to_owned())),
        (condition("Progressing", "True"), None),
        (condition("Available", "False"), None),
    ] {
        assert_eq!(
            target_facts(&rolled(&status), 100).unwrap().trouble,
            expected,
            "{status}"
        );
    }
}

#[test]
fn the_target_tells_who_it_is() {
    let facts = target_facts(&target(), 100).unwrap();
    assert_eq!(facts.uid, "target-uid");
    assert_eq!(facts.anchor.as_deref(), Some("7"));
    assert_eq!(facts.fingerprint, Some(fingerprint(&template())));
    assert!(facts.paused);
    assert!(!facts.deleting);
    let nameless = json!({"metadata": {"name": "x"}, "spec": {"template": {}}});
    assert_eq!(
        target_facts(&nameless, 100).unwrap_err().to_string(),
        "deployment x has no metadata.uid"
    );
}
