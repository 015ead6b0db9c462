//! Configurations that pods read: where they are named, what they say, and their copies.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use serin::workload::{
    Settings,
    configs::{ConfigKind, ConfigRef, content, copies, copy, copy_name, digest, pinned, references},
};

use super::owner;

fn config_map(name: &str) -> ConfigRef {
    ConfigRef {
        kind: ConfigKind::ConfigMap,
        name: name.to_owned(),
    }
}

fn secret(name: &str) -> ConfigRef {
    ConfigRef {
        kind: ConfigKind::Secret,
        name: name.to_owned(),
    }
}

fn template() -> Value {
    let env = json!([
        {"name": "A", "value": "plain"},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "b"}}},
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "key", "key": "c", "optional": true}}},
    ]);
    let from = json!([{"configMapRef": {"name": "all"}}, {"secretRef": {"name": "key"}}]);
    json!({"spec": {
        "containers": [{"name": "app", "env": env, "envFrom": from}],
        "initContainers": [{"name": "proxy", "restartPolicy": "Always", "envFrom": [{"configMapRef": {"name": "side", "optional": true}}]}],
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "a", "configMap": {"name": "files"}},
            {"name": "b", "secret": {"secretName": "certs"}},
            {"name": "c", "projected": {"sources": [
                {"configMap": {"name": "part"}}, {"secret": {"name": "token"}}, {"serviceAccountToken": {"path": "t"}},
            ]}},
            {"name": "d", "emptyDir": {}},
        ],
    }})
}

#[test]
fn every_place_that_names_one_is_found_and_optional_is_only_what_is_so_everywhere() {
    let found = references(&template());
    let expected = [
        (config_map("all"), false),
        (config_map("env"), false),
        (config_map("files"), false),
        (config_map("part"), false),
        (config_map("side"), true),
        (secret("certs"), false),
        (secret("key"), false),
        (secret("token"), false),
    ];
    assert_eq!(found, BTreeMap::from(expected));
    assert!(references(&json!({})).is_empty() && references(&json!({"spec": {"volumes": 3}})).is_empty());
}

#[test]
fn a_pinned_template_has_the_names_of_the_copies_and_nothing_else_changed() {
    let names: BTreeMap<_, _> = references(&template())
        .into_keys()
        .map(|it| (it.clone(), copy_name("app", &it, "content")))
        .collect();
    let pinned = pinned(&template(), &names);
    let found: Vec<_> = references(&pinned).into_keys().map(|it| it.name).collect();
    let mut expected: Vec<_> = names.values().cloned().collect();
    let mut sorted = found.clone();
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected);
    assert_eq!(copies(&pinned).len(), names.len());
    assert!(copies(&template()).is_empty());
    assert_eq!(
        pinned["spec"]["imagePullSecrets"],
        template()["spec"]["imagePullSecrets"]
    );
}

#[test]
fn a_name_tells_content_target_and_kind_and_is_one_that_the_api_server_takes() {
    let name = copy_name("app", &config_map("env"), "1");
    assert!(
        name.starts_with("env-primary-") && name.len() == "env-primary-".len() + 16,
        "{name}"
    );
    assert_ne!(name, copy_name("app", &config_map("env"), "2"));
    assert_ne!(
        name,
        copy_name("other", &config_map("env"), "1"),
        "two canaries share none"
    );
    let long = format!("{}.{}", "a".repeat(227), "b".repeat(25));
    let name = copy_name("app", &config_map(&long), "1");
    assert!(name.len() <= 253 && !name.contains(".-"), "{name}");
}

/// The vectors of spec/core.md, Appendix A.
#[test]
fn flaggers_checksum_is_flaggers() {
    for (object, expected) in [
        (json!({"data": {"color": "red"}}), "241889ca0604e333"),
        (
            json!({"data": {"apiKey": "dGVzdA=="}, "type": "Opaque"}),
            "3930f0692c2295eb",
        ),
        (json!({}), "74234e98afe7498f"),
    ] {
        assert_eq!(digest(&object).flaggers, expected, "{object}");
    }
}

#[test]
fn binary_data_counts_and_metadata_does_not() {
    let plain = json!({"data": {"a": "b"}});
    let binary = json!({"data": {"a": "b"}, "binaryData": {"c": "AA=="}});
    let labelled = json!({"data": {"a": "b"}, "metadata": {"labels": {"x": "y"}}, "immutable": true});
    assert_ne!(content(&plain), content(&binary));
    assert_eq!(content(&plain), content(&labelled));
    assert_eq!(
        digest(&plain).flaggers,
        digest(&binary).flaggers,
        "Flagger leaves it out"
    );
}

#[test]
fn tokens_and_what_was_opted_out_of_are_left_alone() {
    let opted_out = json!({"metadata": {"annotations": {"flagger.app/config-tracking": "disable"}}});
    assert!(!digest(&opted_out).followed());
    assert!(!digest(&json!({"type": "kubernetes.io/service-account-token"})).followed());
    for followed in [json!({}), json!({"type": "kubernetes.io/tls"})] {
        assert!(digest(&followed).followed(), "{followed}");
    }
}

#[test]
fn a_copy_says_what_the_original_says() {
    let original = json!({
        "metadata": {"name": "key", "namespace": "test", "uid": "u", "labels": {"app.kubernetes.io/part-of": "shop", "x": "y"},
            "annotations": {"a": "b"}},
        "type": "kubernetes.io/tls", "data": {"tls.crt": "AA=="},
    });
    let settings = Settings {
        include_label_prefixes: vec!["app.kubernetes.io/".to_owned()],
        ..Settings::default()
    };
    let copy = copy(&original, ConfigKind::Secret, "key-primary-0", &owner(), &settings);
    assert_eq!(content(&copy), content(&original));
    assert_eq!(copy["immutable"], true);
    assert_eq!(copy["metadata"]["namespace"], "test");
    assert_eq!(
        copy["metadata"]["labels"],
        json!({"app.kubernetes.io/part-of": "shop", "serin.dev/canary": "podinfo"})
    );
    assert_eq!(copy["metadata"].get("annotations"), None);
    assert_eq!(copy["metadata"]["ownerReferences"][0]["uid"], "canary-uid");
}
