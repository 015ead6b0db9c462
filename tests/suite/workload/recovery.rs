//! What a primary tells about the revision that it was made from.

use super::*;

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
        Some(&target()["spec"]["template"]),
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
