//! Istio: what is drawn for each Canary in `istio/`, and what happens to objects that somebody else made.
//!
//! The real API server's word on every object of `istio/`, under Istio's own definitions, stands in
//! `../apiserver/istio.jsonl`.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};
use serin::{object::ORIGINAL, rollout::Side};

use super::{Bench, applied, shared};
use crate::apiserver::{DURATIONS, Script, duration_step};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/routing/istio");

/// A Canary's `spec.service`, and what is drawn for it at a weight.
#[derive(Debug, Deserialize)]
pub struct Fixture {
    /// The name of its file.
    #[serde(skip)]
    pub name: String,
    service: Value,
    weight: u8,
    /// The route, then what stands beside the primary's and the canary's Service.
    pub draws: Vec<Value>,
}

/// Every Canary of the folder, in the order of their names.
pub fn fixtures() -> Vec<Fixture> {
    let files = std::fs::read_dir(FOLDER).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let fixture: Fixture = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Fixture { name, ..fixture }
    };
    paths.iter().map(read).collect()
}

fn rule(bench: &Bench, side: Side) -> Value {
    bench.router.destinations().unwrap().create(&bench.cx(), side).unwrap()
}

#[test]
fn every_canary_of_the_folder_is_drawn_as_it_says() {
    for fixture in fixtures() {
        let bench = Bench::new("istio", &fixture.service);
        assert_eq!(bench.router.check(&bench.cx()), [], "{}", fixture.name);
        let drawn = [
            bench.router.create(&bench.cx(), &shared(fixture.weight)).unwrap(),
            rule(&bench, Side::Primary),
            rule(&bench, Side::Canary),
        ];
        for (drawn, wanted) in drawn.iter().zip(&fixture.draws) {
            assert_eq!(
                drawn,
                wanted,
                "{}: {}",
                fixture.name,
                serde_saphyr::to_string(drawn).unwrap()
            );
        }
        assert_eq!(
            fixture.draws.len(),
            drawn.len(),
            "{}: {}",
            fixture.name,
            serde_saphyr::to_string(&drawn).unwrap()
        );
    }
}

// === What is refused ===

#[test]
fn durations_are_refused_as_the_real_server_refuses_them() {
    let answers = Script::Istio.recorded();
    for text in DURATIONS {
        let answer = answers
            .iter()
            .find(|answer| answer.step == duration_step(text))
            .unwrap();
        let fields = [
            ("spec.service.timeout", json!({"timeout": text})),
            (
                "spec.service.retries.perTryTimeout",
                json!({"retries": {"perTryTimeout": text}}),
            ),
            (
                "spec.service.corsPolicy.maxAge",
                json!({"corsPolicy": {"maxAge": text}}),
            ),
            (
                "spec.service.trafficPolicy.outlierDetection.interval",
                json!({"trafficPolicy": {"outlierDetection": {"interval": text}}}),
            ),
        ];
        for (field, service) in fields {
            let bench = Bench::new("istio", &service);
            let refused = bench.router.check(&bench.cx());
            let named: Vec<&str> = refused.iter().map(|refusal| refusal.field.as_str()).collect();
            let expected = if answer.code == 201 { vec![] } else { vec![field] };
            assert_eq!(named, expected, "{text}");
        }
    }
}

#[test]
fn routers_023_a_delegate_has_no_hosts_and_no_gateways() {
    let service = json!({"delegation": true, "hosts": ["a"], "gateways": ["mesh"]});
    let bench = Bench::new("istio", &service);
    let refused = bench.router.check(&bench.cx());
    let named: Vec<&str> = refused.iter().map(|refusal| refusal.field.as_str()).collect();
    assert_eq!(named, ["spec.service.hosts", "spec.service.gateways"]);
}

#[test]
fn a_condition_on_requests_is_not_dropped_from_a_rule_for_connections() {
    let refused = |matches: Value| {
        let bench = Bench::new("istio", &json!({"appProtocol": "tcp", "match": matches}));
        let refusals = bench.router.check(&bench.cx());
        refusals.into_iter().map(|refusal| refusal.field).collect::<Vec<_>>()
    };
    assert_eq!(
        refused(json!([{"port": 1}, {"uri": {"prefix": "/a"}}])),
        ["spec.service.match[1]"]
    );
    assert_eq!(refused(json!([{}, {"port": 1, "uri": {"prefix": "/a"}}])), [""; 0]);
}

#[test]
fn what_is_left_out_is_said() {
    let service =
        json!({"gatewayRefs": [], "backendTimeout": "1s", "rewrite": {"uri": "/", "type": "ReplaceFullPath"}});
    let bench = Bench::new("istio", &service);
    assert_eq!(
        bench.router.warnings(&bench.cx()),
        [
            "spec.service.backendTimeout is ignored by provider istio",
            "spec.service.rewrite.type is ignored by provider istio",
        ]
    );
    let mut bench = Bench::new(
        "istio",
        &json!({"gatewayRefs": [], "appProtocol": "TCP", "timeout": "1s"}),
    );
    let metrics = json!([{"name": "request-duration"}, {"name": "bytes"}]);
    bench.canary.spec.analysis.as_mut().unwrap().metrics = serde_json::from_value(metrics).unwrap();
    assert_eq!(
        bench.router.warnings(&bench.cx()),
        [
            "spec.service.timeout, with appProtocol tcp, is ignored by provider istio",
            "metric request-duration counts requests: with appProtocol tcp it has no values, and every check fails",
        ]
    );
}

// === What somebody else made ===

/// A `VirtualService` of the team's own, and all that Istio knows beside what Serin draws.
fn of_the_team() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {
            "name": "podinfo", "namespace": "test", "resourceVersion": "7", "generation": 1, "annotations": {"note": "mine"},
        },
        "spec": {
            "hosts": ["www.example.com"],
            "gateways": ["istio-system/public"],
            "exportTo": ["*"],
            "http": [
                {"match": [{"uri": {"prefix": "/old"}}], "redirect": {"uri": "/new"}},
                {
                    "name": "main", "match": [{"uri": {"prefix": "/api"}, "statPrefix": "api"}], "timeout": "3s",
                    "fault": {"delay": {"percentage": {"value": 1}, "fixedDelay": "5s"}},
                    "retries": {"attempts": 2, "retryRemoteLocalities": true},
                    "route": [{
                        "destination": {"host": "podinfo.test.svc.cluster.local", "subset": "v1", "port": {"number": 80}},
                        "headers": {"response": {"set": {"x-served": "yes"}}},
                    }],
                },
                {"route": [{"destination": {"host": "podinfo.other.svc.cluster.local"}}]},
                {"route": [{"destination": {"host": "podinfo", "port": {"number": 9999}}}]},
            ],
            "tls": [{"match": [{"sniHosts": ["a"]}], "route": [{"destination": {"host": "podinfo"}}]}],
        },
    })
}

#[test]
fn routers_026_a_route_of_the_teams_own_gets_two_destinations_and_keeps_the_rest() {
    let bench = Bench::plain("istio");
    let before = of_the_team();
    let live = bench.edited(&before, 30);
    assert_eq!(bench.drawn_weight(&live), Some(30));
    let mut expected = before.clone();
    let side = |name: &str, weight: u8| {
        json!({
            // The subset belonged to another host.
            "destination": {"host": name, "port": {"number": 80}},
            "headers": {"response": {"set": {"x-served": "yes"}}},
            "weight": weight,
        })
    };
    expected["spec"]["http"][1]["route"] = json!([side("podinfo-primary", 70), side("podinfo-canary", 30)]);
    assert_eq!(live["spec"], expected["spec"]);
    assert_eq!(bench.handed_back(&live, true), before, "and is put back as it was");
    let home = bench.handed_back(&live, false);
    let host = &home["spec"]["http"][1]["route"][0]["destination"]["host"];
    assert_eq!(
        (host, home["spec"]["http"][1]["route"].as_array().unwrap().len()),
        (&json!("podinfo"), 1)
    );
}

#[test]
fn what_the_canary_asks_for_is_laid_over_a_route_of_the_teams_own() {
    let service =
        json!({"hosts": ["new.example.com"], "timeout": "9s", "retries": {"attempts": 5}, "rewrite": {"uri": "/"}});
    let bench = Bench::new("istio", &service);
    let live = bench.edited(&of_the_team(), 0);
    let (spec, rule) = (&live["spec"], &live["spec"]["http"][1]);
    assert_eq!(spec["hosts"], json!(["new.example.com", "podinfo"]));
    assert_eq!(
        spec["gateways"],
        json!(["istio-system/public"]),
        "the Canary names none"
    );
    assert_eq!(
        (&rule["timeout"], &rule["rewrite"]),
        (&json!("9s"), &json!({"uri": "/"}))
    );
    assert_eq!(rule["retries"], json!({"attempts": 5, "retryRemoteLocalities": true}));
    assert_eq!(rule["fault"], of_the_team()["spec"]["http"][1]["fault"]);
}

#[test]
fn the_first_original_is_kept_however_often_a_rival_comes() {
    let bench = Bench::plain("istio");
    let mut live = bench.edited(&of_the_team(), 0);
    let kept = live["metadata"]["annotations"][ORIGINAL].clone();
    for hosts in [json!(["a"]), json!(["b"])] {
        live["spec"]["hosts"] = hosts;
        live["spec"]["http"][1]["route"][0]["weight"] = 7.into();
        live = bench.edited(&live, 0);
        assert_eq!(live["metadata"]["annotations"][ORIGINAL], kept);
    }
}

#[test]
fn a_split_of_the_teams_own_under_full_names_is_the_same_split() {
    let bench = Bench::plain("istio");
    let mut live = of_the_team();
    let to = |side: &str, weight: u8| json!({"destination": {"host": format!("podinfo-{side}.test.svc.cluster.local")}, "weight": weight});
    live["spec"]["http"] = json!([{"route": [to("primary", 100), to("canary", 0)]}]);
    let next = bench.edited(&live, 20);
    assert_eq!(
        next["spec"]["http"],
        json!([{"route": [to("primary", 80), to("canary", 20)]}])
    );
    assert_eq!(bench.drawn_weight(&next), Some(20));
}

// === Our own route ===

#[test]
fn routers_014_015_hosts_and_gateways_follow_the_canary_and_not_a_hand() {
    let plain = Bench::plain("istio");
    let mut live = plain.created(30);
    live["spec"]["gateways"] = json!(["mesh", "istio-system/public"]);
    live["spec"]["hosts"] = json!([]);
    assert_eq!(plain.edited(&live, 30), plain.created(30));
    let more = Bench::new("istio", &json!({"hosts": ["app.example.com"]}));
    assert_eq!(
        more.edited(&plain.created(30), 30)["spec"]["hosts"],
        json!(["app.example.com", "podinfo"])
    );
    let delegate = Bench::new("istio", &json!({"delegation": true}));
    let delegated = delegate.edited(&plain.created(30), 30);
    assert_eq!(
        (&delegated["spec"]["hosts"], &delegated["spec"]["gateways"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_condition_that_a_hand_adds_to_our_match_goes_and_a_field_of_tomorrow_stays() {
    let service = json!({"match": [{"headers": {"x-a": {"exact": "1"}}}], "headers": {"request": {"set": {"a": "1"}}}});
    let bench = Bench::new("istio", &service);
    let good = bench.created(30);
    for (pointer, value) in [
        ("/spec/http/0/match/0/headers/x-b", json!({"exact": "2"})),
        ("/spec/http/0/match/0/port", json!(8080)),
        ("/spec/http/0/headers/request/set/b", json!("2")),
        ("/spec/http/0/headers/response", json!({"remove": ["a"]})),
        ("/spec/http/0/mirror", json!({"host": "podinfo-canary"})),
    ] {
        let mut live = good.clone();
        put(&mut live, pointer, value);
        assert_eq!(bench.edited(&live, 30), good, "{pointer}");
    }
    let mut live = good.clone();
    put(&mut live, "/spec/http/0/match/0/statPrefix", json!("kept"));
    assert_eq!(bench.edited(&live, 30), live);
}

fn put(object: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key] = value;
}

#[test]
fn another_protocol_takes_the_rules_of_the_first_along() {
    let (http, tcp) = (
        Bench::plain("istio"),
        Bench::new("istio", &json!({"appProtocol": "tcp"})),
    );
    let next = tcp.edited(&http.created(30), 30);
    assert_eq!(next["spec"].get("http"), None);
    assert_eq!(tcp.drawn_weight(&next), Some(30));
    assert_eq!(http.edited(&next, 30), http.created(30));
}

#[test]
fn a_port_that_is_drawn_no_more_stays_only_while_it_is_ours() {
    let with = |port: i32, discovery: bool| {
        let service = json!({"port": port, "portDiscovery": discovery, "gateways": ["a/b"]});
        Bench::new("istio", &service)
    };
    let live = with(80, true).created(30);
    assert_eq!(with(80, false).edited(&live, 30), live);
    let moved = with(81, false).edited(&live, 30);
    assert_eq!(
        moved["spec"]["http"][0]["route"][0]["destination"],
        json!({"host": "podinfo-primary"})
    );
}

// === Destination rules ===

fn edited(bench: &Bench, side: Side, live: &Value) -> Value {
    applied(
        live,
        &bench.router.destinations().unwrap().edit(&bench.cx(), side, live),
    )
}

/// The rule of a side as the API server stores it.
fn stored(bench: &Bench, side: Side) -> Value {
    let mut object = rule(bench, side);
    object["metadata"]["resourceVersion"] = "5".into();
    object
}

#[test]
fn a_rule_follows_the_policy_of_the_canary_and_keeps_what_nobody_here_draws() {
    let plain = Bench::plain("istio");
    let policy = json!({"loadBalancer": {"simple": "RANDOM"}});
    let with = Bench::new("istio", &json!({"trafficPolicy": policy}));
    for side in [Side::Primary, Side::Canary] {
        let mut live = stored(&plain, side);
        assert_eq!(edited(&plain, side, &live), live);
        live["spec"]["subsets"] = json!([{"name": "v1"}]);
        live["spec"]["exportTo"] = json!(["."]);
        let next = edited(&with, side, &live);
        assert_eq!(next["spec"]["trafficPolicy"], policy);
        assert_eq!(
            (&next["spec"]["subsets"], &next["spec"]["exportTo"]),
            (&live["spec"]["subsets"], &json!(["."]))
        );
        assert_eq!(edited(&with, side, &next), next);
        assert_eq!(
            edited(&plain, side, &next),
            live,
            "what the Canary no longer asks for goes"
        );
        let mut spoilt = next.clone();
        spoilt["spec"]["trafficPolicy"]["tls"] = json!({"mode": "DISABLE"});
        spoilt["spec"]["host"] = "elsewhere".into();
        assert_eq!(edited(&with, side, &spoilt), next, "a foreign edit is repaired");
    }
}

#[test]
fn a_rule_of_the_teams_own_keeps_its_policy_where_the_canary_has_none() {
    let plain = Bench::plain("istio");
    let mut live = stored(&plain, Side::Canary);
    live["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    live["spec"] =
        json!({"host": "podinfo-canary.test.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}});
    assert_eq!(edited(&plain, Side::Canary, &live), live);
}

#[test]
fn a_rule_of_an_earlier_canary_of_that_name_is_owned_again() {
    let bench = Bench::plain("istio");
    let mut live = stored(&bench, Side::Primary);
    live["metadata"]["ownerReferences"][0]["uid"] = "an-earlier-uid".into();
    assert_eq!(edited(&bench, Side::Primary, &live), stored(&bench, Side::Primary));
}

#[test]
fn a_policy_that_cannot_be_drawn_leaves_the_rules_alone() {
    let bench = Bench::new(
        "istio",
        &json!({"trafficPolicy": {"outlierDetection": {"interval": "0s"}}}),
    );
    let live = stored(&Bench::plain("istio"), Side::Primary);
    assert_eq!(edited(&bench, Side::Primary, &live), live);
    assert!(
        bench
            .router
            .destinations()
            .unwrap()
            .create(&bench.cx(), Side::Primary)
            .is_err()
    );
}
