//! The three Services (spec/routers.md 5 and 15, cases 1 to 12).

use serde_json::{Value, json};
use serin::{
    object::ORIGINAL,
    rollout::{Selects, Side},
    routing::service::{ServiceContext, apex, apex_facts, edit_apex, edit_side, hand_back, side, side_facts},
};

use super::{Bench, applied};

const FLUX: [&str; 2] = [
    "helm.toolkit.fluxcd.io/driftDetection",
    "kustomize.toolkit.fluxcd.io/reconcile",
];

fn bench(service: &Value) -> Bench {
    Bench::new("gatewayapi:v1", service)
}

fn pods() -> Value {
    json!({
        "metadata": {"labels": {"app": "podinfo", "tier": "web"}},
        "spec": {"containers": [
            {"name": "podinfod", "ports": [
                {"name": "http", "containerPort": 9898},
                {"name": "metrics", "containerPort": 9797},
                {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                {"containerPort": 9999},
            ]},
            {"name": "side", "ports": [{"name": "metrics", "containerPort": 9898}, {"name": "metrics", "containerPort": 7070}]},
            {"name": "istio-proxy", "ports": [{"name": "mesh", "containerPort": 15090}]},
        ]},
    })
}

fn cx<'a>(bench: &'a Bench, pods: Option<&'a Value>) -> ServiceContext<'a> {
    ServiceContext {
        canary: &bench.canary,
        subject: &bench.subject,
        owner: &bench.owner,
        label: "app",
        value: "podinfo",
        pods,
    }
}

/// An apex Service of the user's own, as an API server stores it.
fn user_owned() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "podinfo", "namespace": "test", "resourceVersion": "7",
            "labels": {"team": "a"}, "annotations": {"note": "mine"}},
        "spec": {
            "type": "NodePort", "clusterIP": "10.0.0.7", "sessionAffinity": "None",
            "selector": {"app": "podinfo", "tier": "web"},
            "ports": [
                {"name": "web", "port": 80, "targetPort": "http", "protocol": "TCP", "nodePort": 30080},
                {"name": "grpc", "port": 9999, "targetPort": 9999, "protocol": "TCP", "nodePort": 30099},
            ],
        },
    })
}

#[test]
fn routers_005_a_new_apex_service() {
    let bench = bench(&json!({"apex": {"labels": {"team": "a"}, "annotations": {"note": "b"}}}));
    insta::assert_yaml_snapshot!(apex(&cx(&bench, None), Side::Primary).unwrap(), @r#"
    apiVersion: v1
    kind: Service
    metadata:
      annotations:
        helm.toolkit.fluxcd.io/driftDetection: disabled
        kustomize.toolkit.fluxcd.io/reconcile: disabled
        note: b
      labels:
        app: podinfo
        team: a
      name: podinfo
      namespace: test
      ownerReferences:
        - apiVersion: flagger.app/v1beta1
          blockOwnerDeletion: true
          controller: true
          kind: Canary
          name: podinfo
          uid: canary-uid
    spec:
      ports:
        - name: http
          port: 80
          protocol: TCP
          targetPort: 9898
      selector:
        app: podinfo-primary
      type: ClusterIP
    "#);
}

#[test]
fn routers_005_each_side_has_its_own_name_selector_and_metadata() {
    let bench = bench(&json!({"canary": {"labels": {"test": "test"}, "annotations": {"test": "test"}}}));
    let cx = cx(&bench, None);
    let (primary, canary) = (side(&cx, Side::Primary).unwrap(), side(&cx, Side::Canary).unwrap());
    assert_eq!(primary["metadata"]["name"], "podinfo-primary");
    assert_eq!(primary["spec"]["selector"], json!({"app": "podinfo-primary"}));
    assert_eq!(primary["metadata"]["labels"], json!({"app": "podinfo-primary"}));
    let keys: Vec<&String> = primary["metadata"]["annotations"].as_object().unwrap().keys().collect();
    assert_eq!(keys, FLUX);
    assert_eq!(canary["spec"]["selector"], json!({"app": "podinfo"}));
    assert_eq!(
        canary["metadata"]["labels"],
        json!({"app": "podinfo-canary", "test": "test"})
    );
    assert_eq!(canary["metadata"]["annotations"]["test"], "test");
}

#[test]
fn routers_001_headless_and_app_protocol_at_creation() {
    let bench = bench(&json!({"headless": true, "appProtocol": "http", "port": 9898, "targetPort": null}));
    let service = side(&cx(&bench, None), Side::Canary).unwrap();
    assert_eq!(service["spec"]["clusterIP"], "None");
    let port = json!({"name": "http", "protocol": "TCP", "port": 9898, "targetPort": 9898, "appProtocol": "http"});
    assert_eq!(service["spec"]["ports"], json!([port]));
    let plain = self::bench(&json!({"appProtocol": "http", "port": 9898, "targetPort": null}));
    assert!(
        edit_side(&cx(&plain, None), Side::Canary, &service).is_empty(),
        "a cluster IP neither comes nor goes"
    );
}

#[test]
fn routers_002_traffic_distribution_follows_the_canary() {
    let near = bench(&json!({"trafficDistribution": "PreferClose"}));
    let far = bench(&json!({}));
    let service = apex(&cx(&near, None), Side::Primary).unwrap();
    assert_eq!(service["spec"]["trafficDistribution"], "PreferClose");
    let without = applied(&service, &edit_apex(&cx(&far, None), Side::Primary, &service));
    assert_eq!(without["spec"].get("trafficDistribution"), None);
    let again = applied(&without, &edit_apex(&cx(&near, None), Side::Primary, &without));
    assert_eq!(again, service);
}

#[test]
fn routers_003_004_a_port_follows_the_canary_and_not_a_hand() {
    let before = bench(&json!({}));
    let after = bench(&json!({"portName": "grpc"}));
    let mut live = side(&cx(&before, None), Side::Canary).unwrap();
    live["spec"]["ports"][0]["nodePort"] = 30080.into();
    let renamed = applied(&live, &edit_side(&cx(&after, None), Side::Canary, &live));
    assert_eq!(renamed["spec"]["ports"][0]["name"], "grpc");
    let good = live.clone();
    for (key, value) in [
        ("name", json!("mine")),
        ("port", json!(8080)),
        ("targetPort", json!("x")),
    ] {
        live = good.clone();
        live["spec"]["ports"][0][key] = value;
        assert!(!side_facts(&cx(&before, None), Side::Canary, &live).drawn, "{key}");
        let mut next = applied(&live, &edit_side(&cx(&before, None), Side::Canary, &live));
        if key == "name" {
            // A node port belongs to a name.
            next["spec"]["ports"][0]["nodePort"] = 30080.into();
        }
        assert_eq!(next, good, "{key}");
    }
}

#[test]
fn routers_007_metadata_of_our_service_is_ours_but_for_unmanaged_keys() {
    let names = json!({"annotations": ["unmanaged"], "labels": ["unmanaged"]});
    let bench =
        bench(&json!({"apex": {"annotations": {"test": "1"}, "labels": {"test": "1"}}, "unmanagedMetadata": names}));
    let cx = cx(&bench, None);
    let good = apex(&cx, Side::Primary).unwrap();
    let mut live = good.clone();
    for key in ["labels", "annotations"] {
        live["metadata"][key]["unmanaged"] = "theirs".into();
        live["metadata"][key]["removable"] = "x".into();
        live["metadata"][key]["test"] = "2".into();
    }
    let mut expected = good;
    for key in ["labels", "annotations"] {
        expected["metadata"][key]["unmanaged"] = "theirs".into();
    }
    assert_eq!(applied(&live, &edit_apex(&cx, Side::Primary, &live)), expected);
    assert!(apex_facts(&cx, &expected).drawn);
}

#[test]
fn routers_008_ownership_is_by_uid() {
    let bench = bench(&json!({}));
    let cx = cx(&bench, None);
    let good = apex(&cx, Side::Primary).unwrap();
    assert!(apex_facts(&cx, &good).owned);
    for (key, value) in [("uid", "another"), ("kind", "Deployment")] {
        let mut live = good.clone();
        live["metadata"]["ownerReferences"][0]["uid"] = "another".into();
        live["metadata"]["ownerReferences"][0][key] = value.into();
        assert!(!apex_facts(&cx, &live).owned, "{key}");
    }
    // An earlier Canary of that name left it: it is taken over before the garbage collector takes it away.
    let mut inherited = good.clone();
    inherited["metadata"]["ownerReferences"][0]["uid"] = "an-earlier-uid".into();
    assert!(!apex_facts(&cx, &inherited).drawn);
    assert_eq!(applied(&inherited, &edit_apex(&cx, Side::Primary, &inherited)), good);
}

#[test]
fn a_side_service_is_drawn_only_with_its_own_selector_the_apex_with_any() {
    let bench = bench(&json!({}));
    let cx = cx(&bench, None);
    let mut live = side(&cx, Side::Primary).unwrap();
    assert!(side_facts(&cx, Side::Primary, &live).drawn);
    live["spec"]["selector"] = json!({"app": "podinfo"});
    assert!(!side_facts(&cx, Side::Primary, &live).drawn);
    for (selector, selects) in [
        (json!({"app": "podinfo-primary"}), Selects::Primary),
        (json!({"app": "podinfo"}), Selects::Target),
        (json!({"app": "other"}), Selects::Other),
        (json!({}), Selects::Other),
        (json!({"app": "podinfo-primary", "tier": "web"}), Selects::Other),
    ] {
        let mut live = apex(&cx, Side::Primary).unwrap();
        live["spec"]["selector"] = selector.clone();
        let facts = apex_facts(&cx, &live);
        assert_eq!((facts.drawn, facts.selects), (true, selects), "{selector}");
    }
}

#[test]
fn discovered_ports_have_their_own_protocol_and_names() {
    let (bench, pods) = (bench(&json!({"portDiscovery": true})), pods());
    let service = side(&cx(&bench, Some(&pods)), Side::Canary).unwrap();
    let ports: Vec<(&str, u64, &str)> = service["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["name"].as_str().unwrap(),
                it["port"].as_u64().unwrap(),
                it["protocol"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        ports,
        [
            ("http", 80, "TCP"),
            ("metrics", 9797, "TCP"),
            ("dns", 53, "UDP"),
            ("tcp-podinfod-3", 9999, "TCP"),
            ("tcp-side-1", 7070, "TCP"),
        ]
    );
    let unseen = cx(&bench, None);
    assert!(
        edit_side(&unseen, Side::Canary, &service).is_empty(),
        "without the target nothing is taken back"
    );
}

#[test]
fn ports_in_another_order_are_no_difference() {
    let (bench, pods) = (bench(&json!({"portDiscovery": true})), pods());
    let cx = cx(&bench, Some(&pods));
    let mut live = side(&cx, Side::Canary).unwrap();
    live["spec"]["ports"].as_array_mut().unwrap().reverse();
    assert!(side_facts(&cx, Side::Canary, &live).drawn);
}

#[test]
fn routers_012_an_adopted_apex_keeps_its_own_and_gets_the_primarys_pods() {
    let bench = bench(&json!({"portDiscovery": true}));
    let pods = pods();
    let cx = cx(&bench, Some(&pods));
    let before = user_owned();
    assert_eq!(apex_facts(&cx, &before).selects, Selects::Target);
    let live = applied(&before, &edit_apex(&cx, Side::Primary, &before));
    insta::assert_yaml_snapshot!(live, @r#"
    apiVersion: v1
    kind: Service
    metadata:
      annotations:
        flagger.kubernetes.io/original-configuration: "{\"clusterIP\":\"10.0.0.7\",\"ports\":[{\"name\":\"web\",\"nodePort\":30080,\"port\":80,\"protocol\":\"TCP\",\"targetPort\":\"http\"},{\"name\":\"grpc\",\"nodePort\":30099,\"port\":9999,\"protocol\":\"TCP\",\"targetPort\":9999}],\"selector\":{\"app\":\"podinfo\",\"tier\":\"web\"},\"sessionAffinity\":\"None\",\"type\":\"NodePort\"}"
        helm.toolkit.fluxcd.io/driftDetection: disabled
        kustomize.toolkit.fluxcd.io/reconcile: disabled
        note: mine
      labels:
        team: a
      name: podinfo
      namespace: test
      resourceVersion: "7"
    spec:
      clusterIP: 10.0.0.7
      ports:
        - name: web
          nodePort: 30080
          port: 80
          protocol: TCP
          targetPort: 9898
        - name: grpc
          nodePort: 30099
          port: 9999
          protocol: TCP
          targetPort: 9999
        - name: metrics
          port: 9797
          protocol: TCP
          targetPort: 9797
        - name: dns
          port: 53
          protocol: UDP
          targetPort: 53
        - name: tcp-side-1
          port: 7070
          protocol: TCP
          targetPort: 7070
      selector:
        app: podinfo-primary
      sessionAffinity: None
      type: NodePort
    "#);
    let facts = apex_facts(&cx, &live);
    assert_eq!(
        (facts.drawn, facts.selects, facts.owned),
        (true, Selects::Primary, false)
    );
    assert!(edit_apex(&cx, Side::Primary, &live).is_empty());
    let kept: Value = serde_json::from_str(live["metadata"]["annotations"][ORIGINAL].as_str().unwrap()).unwrap();
    assert_eq!(kept, before["spec"]);
}

#[test]
fn an_adopted_apex_is_handed_back_as_it_was_or_to_the_targets_pods() {
    let bench = bench(&json!({"portDiscovery": true}));
    let pods = pods();
    let cx = cx(&bench, Some(&pods));
    let before = user_owned();
    let live = applied(&before, &edit_apex(&cx, Side::Primary, &before));
    let restored = applied(&live, &hand_back(&cx, &live, true));
    assert_eq!(restored["spec"], before["spec"]);
    assert_eq!(restored["metadata"]["annotations"], json!({"note": "mine"}));
    let given = applied(&live, &hand_back(&cx, &live, false));
    assert_eq!(given["spec"]["selector"], json!({"app": "podinfo"}));
    assert_eq!(given["spec"]["ports"], live["spec"]["ports"]);
    for next in [&restored, &given] {
        assert_eq!(apex_facts(&cx, next).selects, Selects::Target);
        assert!(hand_back(&cx, next, false).is_empty());
    }
}

#[test]
fn routers_010_what_was_applied_last_is_the_second_choice() {
    let bench = bench(&json!({}));
    let cx = cx(&bench, None);
    let mut live = applied(&user_owned(), &edit_apex(&cx, Side::Primary, &user_owned()));
    let annotations = live["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.remove(ORIGINAL);
    let applied_last = json!({"spec": {"selector": {"app": "podinfo", "release": "blue"}}}).to_string();
    annotations.insert(
        "kubectl.kubernetes.io/last-applied-configuration".to_owned(),
        applied_last.into(),
    );
    let next = applied(&live, &hand_back(&cx, &live, true));
    assert_eq!(next["spec"]["selector"], json!({"app": "podinfo", "release": "blue"}));
    assert_eq!(next["spec"]["ports"], live["spec"]["ports"]);
}

#[test]
fn an_adopted_apex_that_still_serves_the_target_is_left_at_its_own_selector() {
    let bench = bench(&json!({}));
    let pods = pods();
    let cx = cx(&bench, Some(&pods));
    let live = applied(&user_owned(), &edit_apex(&cx, Side::Canary, &user_owned()));
    assert_eq!(live["spec"]["selector"], user_owned()["spec"]["selector"]);
    assert!(edit_apex(&cx, Side::Canary, &live).is_empty());
}

#[test]
fn what_the_canary_states_about_its_port_reaches_an_adopted_apex() {
    let bench = bench(&json!({"portName": "http", "targetPort": 9898}));
    let cx = cx(&bench, None);
    let live = applied(&user_owned(), &edit_apex(&cx, Side::Primary, &user_owned()));
    let port = json!({"name": "http", "port": 80, "targetPort": 9898, "protocol": "TCP", "nodePort": 30080});
    assert_eq!(live["spec"]["ports"], json!([port, user_owned()["spec"]["ports"][1]]));
}

#[test]
fn a_canary_without_a_port_creates_nothing_and_leaves_ports_alone() {
    let bench = bench(&json!({"port": null}));
    let cx = cx(&bench, None);
    assert_eq!(
        apex(&cx, Side::Primary).unwrap_err().to_string(),
        "spec.service.port: the port of the Services must be given, from 1 to 65535"
    );
    let standing = apex(&self::cx(&self::bench(&json!({})), None), Side::Primary).unwrap();
    assert!(edit_apex(&cx, Side::Primary, &standing).is_empty());
}

#[test]
fn a_late_edit_carries_the_version_that_was_seen() {
    let bench = bench(&json!({}));
    let patch = edit_apex(&cx(&bench, None), Side::Primary, &user_owned());
    let first = serde_json::to_value(&patch[0]).unwrap();
    assert_eq!(
        first,
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"})
    );
}
