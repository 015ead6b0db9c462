//! The primary as a copy of the stored revision.

use super::*;

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
fn annotations_of_the_toolkit_and_of_the_target_itself_are_not_copied() {
    let primary = Bench::new().created();
    let annotations = primary["metadata"]["annotations"].as_object().unwrap();
    let keys: Vec<&str> = annotations.keys().map(String::as_str).collect();
    assert_eq!(keys, ["app.kubernetes.io/owner", "note", REVISION]);
}

#[test]
fn at_promotion_included_prefixes_replace_what_was_there() {
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
fn terms_about_its_own_pods_follow_by_the_labels_value_or_the_name() {
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
