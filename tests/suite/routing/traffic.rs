//! A/B tests, copies of requests and cookies: what each provider makes of them, and that nothing of it stays when it is over.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};
use serin::{
    clock::Clock,
    rollout::{Affinity, Cookie, Destination, Traffic, Weight},
    sim::apiserver::{ApiServer, Options, route_definitions},
};

use super::{
    Bench, applied,
    contract::{adopted, rules_key},
    shared,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/routing/traffic");
const PROVIDERS: [(&str, &str); 3] = [
    ("istio", "istio"),
    ("gatewayapi", "gatewayapi:v1"),
    ("contour", "contour"),
];

/// A Canary, what its route is to do, and the rules that come of it.
#[derive(Debug, Deserialize)]
struct Case {
    #[serde(rename = "case")]
    name: String,
    service: Value,
    analysis: Value,
    traffic: Wanted,
    rules: Value,
}

/// A traffic in the words of a fixture.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    weight: Weight,
    #[serde(default)]
    matched: bool,
    mirror: Option<Weight>,
    #[serde(default)]
    kept: Vec<String>,
    taken_back: Option<String>,
}

impl Wanted {
    fn traffic(&self) -> Traffic {
        let cookie = |text: &String| {
            let (name, value) = text.split_once('=').unwrap();
            Cookie {
                name: name.to_owned(),
                value: value.to_owned(),
            }
        };
        let kept = self.kept.first().map(|canary| Affinity::Kept {
            canary: cookie(canary),
            primary: self.kept.get(1).map(cookie),
        });
        Traffic {
            weight: self.weight,
            matched: self.matched,
            mirror: self.mirror,
            affinity: kept.or_else(|| self.taken_back.as_ref().map(cookie).map(Affinity::TakenBack)),
        }
    }
}

fn cases() -> impl Iterator<Item = (Bench, Case)> {
    PROVIDERS.into_iter().flat_map(|(file, provider)| {
        let path = PathBuf::from(FOLDER).join(format!("{file}.yaml"));
        let cases: Vec<Case> = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        cases.into_iter().map(move |case| (bench(provider, &case), case))
    })
}

fn bench(provider: &str, case: &Case) -> Bench {
    Bench::new(provider, &case.service).with_analysis(&case.analysis)
}

fn rules(object: &Value) -> &Value {
    &object["spec"][rules_key(object)]
}

fn at(bench: &Bench, live: &Value, traffic: &Traffic) -> Value {
    applied(live, &bench.router.edit(&bench.cx(), live, traffic).unwrap())
}

#[test]
fn every_traffic_is_drawn_as_its_case_says() {
    for (bench, case) in cases() {
        let name = format!("{}: {}", bench.subject.provider, case.name);
        assert_eq!(bench.router.check(&bench.cx()), [], "{name}");
        let traffic = case.traffic.traffic();
        let live = bench.created_for(&traffic);
        let drawn = rules(&live);
        assert_eq!(
            drawn,
            &case.rules,
            "{name}:\n{}",
            serde_saphyr::to_string(drawn).unwrap()
        );
        let facts = bench.router.facts(&bench.cx(), &live, &traffic);
        assert_eq!(
            (facts.weight, facts.drawn.as_ref()),
            (Some(traffic.weight), Some(&traffic)),
            "{name}"
        );
        assert!(
            bench.router.edit(&bench.cx(), &live, &traffic).unwrap().is_empty(),
            "{name}"
        );
        assert!(!facts.handed_back && !facts.names_others, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_traffic_is_stored_as_it_is_drawn() {
    let server = ApiServer::new(Options {
        clock: Clock::virtual_at(chrono::DateTime::UNIX_EPOCH),
        ..Options::default()
    });
    for definition in route_definitions() {
        server.apply_crd(&definition);
    }
    let client = server.client("admin");
    for (index, (bench, case)) in cases().enumerate() {
        let mut object = bench.router.create(&bench.cx(), &case.traffic.traffic()).unwrap();
        object["metadata"]["name"] = format!("route-{index}").into();
        let meta = bench.router.meta();
        let path = format!(
            "/apis/{}/namespaces/default/{}?fieldValidation=Strict",
            meta.api_version, meta.plural
        );
        object["metadata"]["namespace"] = "default".into();
        let request = http::Request::post(path)
            .body(serde_json::to_vec(&object).unwrap())
            .unwrap();
        let stored: Value = client.request(request).await.unwrap();
        assert_eq!(stored["spec"], object["spec"], "{}: {}", meta.kind, case.name);
    }
}

#[test]
fn a_route_of_ours_comes_home_from_every_traffic() {
    for (bench, case) in cases() {
        let (home, traffic) = (bench.created(0), case.traffic.traffic());
        let away = at(&bench, &home, &traffic);
        assert_eq!(rules(&away), &case.rules, "{}", case.name);
        assert_eq!(bench.edited(&away, 0), home, "{}", case.name);
        let facts = bench.router.facts(&bench.cx(), &home, &traffic);
        assert!(facts.drawn.is_none() || traffic == shared(0), "{}", case.name);
    }
}

#[test]
fn a_route_of_the_teams_own_is_put_back_exactly_from_every_traffic() {
    for (bench, case) in cases() {
        let before = adopted(&Bench::plain(&bench.subject.provider));
        let (name, traffic) = (&case.name, case.traffic.traffic());
        let home = bench.edited(&before, 0);
        let away = at(&bench, &home, &traffic);
        let facts = bench.router.facts(&bench.cx(), &away, &traffic);
        assert_eq!(
            (facts.weight, facts.drawn),
            (Some(traffic.weight), Some(traffic.clone())),
            "{name}: {away}"
        );
        assert_eq!(at(&bench, &away, &traffic), away, "{name}");
        assert!(
            rules(&away)
                .as_array()
                .unwrap()
                .iter()
                .all(|rule| rule["ruleOfTomorrow"] == json!([1, 2])),
            "{name}"
        );
        assert_eq!(bench.edited(&away, 0), home, "{name}");
        assert_eq!(bench.handed_back(&away, true), before, "{name}");
        let plain = bench.handed_back(&away, false);
        assert_eq!(rules(&plain).as_array().unwrap().len(), 1, "{name}: {plain}");
        assert!(
            !plain.to_string().contains("podinfo-") || bench.subject.provider == "contour",
            "{name}: {plain}"
        );
        assert!(!plain.to_string().contains("Set-Cookie"), "{name}: {plain}");
    }
}

#[test]
fn each_rule_of_a_route_with_several_gets_its_own_narrow_rules() {
    for (bench, case) in cases().filter(|(_, case)| case.service.get("match").is_none()) {
        let mut before = adopted(&Bench::plain(&bench.subject.provider));
        let key = rules_key(&before);
        let mut second = before["spec"][key][0].clone();
        let narrowed = match key {
            "http" => json!({"match": [{"uri": {"prefix": "/second"}}]}),
            "rules" => json!({"matches": [{"path": {"type": "PathPrefix", "value": "/second"}}]}),
            _ => json!({"conditions": [{"prefix": "/second"}]}),
        };
        json_patch::merge(&mut second, &narrowed);
        let elsewhere = json!({"note": "leads nowhere"});
        before["spec"][key]
            .as_array_mut()
            .unwrap()
            .extend([elsewhere.clone(), second]);
        let traffic = case.traffic.traffic();
        let home = bench.edited(&before, 0);
        let away = at(&bench, &home, &traffic);
        let several = case.rules.as_array().unwrap().len();
        assert_eq!(
            rules(&away).as_array().unwrap().len(),
            2 * several + 1,
            "{}: {away}",
            case.name
        );
        assert_eq!(rules(&away)[several], elsewhere, "{}", case.name);
        assert_eq!(at(&bench, &away, &traffic), away, "{}", case.name);
        assert_eq!(bench.edited(&away, 0), home, "{}", case.name);
    }
}

#[test]
fn from_any_traffic_to_any_other_is_one_edit() {
    for (file, provider) in PROVIDERS {
        let all: Vec<Case> = cases()
            .filter(|(bench, _)| bench.subject.provider == provider)
            .map(|(_, case)| case)
            .collect();
        for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (from, to))) {
            let live = bench(provider, from).created_for(&from.traffic.traffic());
            let bench = bench(provider, to);
            let next = at(&bench, &live, &to.traffic.traffic());
            assert_eq!(rules(&next), &to.rules, "{file}: from {} to {}", from.name, to.name);
        }
    }
}

#[test]
fn whatever_is_changed_in_a_narrow_rule_is_repaired() {
    for (bench, case) in cases().filter(|(_, case)| case.rules.as_array().unwrap().len() > 1) {
        let traffic = case.traffic.traffic();
        let good = bench.created_for(&traffic);
        let key = rules_key(&good);
        let mut gone = good.clone();
        gone["spec"][key].as_array_mut().unwrap().remove(0);
        assert_eq!(at(&bench, &gone, &traffic), good, "{}", case.name);
        let mut turned = good.clone();
        turned["spec"][key].as_array_mut().unwrap().reverse();
        assert_eq!(rules(&at(&bench, &turned, &traffic)), &case.rules, "{}", case.name);
        let mut spoilt = good.clone();
        spoilt["spec"][key][0]["timeout"] = "1s".into();
        assert_eq!(at(&bench, &spoilt, &traffic), good, "{}", case.name);
    }
}

#[test]
fn every_traffic_can_be_led_away() {
    for (bench, case) in cases() {
        let live = bench.created_for(&case.traffic.traffic());
        let announced = bench.announced(&live, Destination::Apex);
        assert!(bench.facts(&announced).apex_announced, "{}", case.name);
        let led = bench.led(&announced, Destination::Apex);
        assert_eq!(
            bench.facts(&led).parting,
            Some(Destination::Apex),
            "{}: {led}",
            case.name
        );
        let home = bench.handed_back(&led, false);
        assert!(bench.facts(&home).handed_back, "{}: {home}", case.name);
    }
}

#[test]
fn what_flagger_left_is_taken_over() {
    let bench = Bench::plain("istio").with_analysis(&json!({"sessionAffinity": {"cookieName": "flagger-cookie"}}));
    let mut live = bench.created(10);
    let mut sticky = live["spec"]["http"][0].clone();
    sticky["match"] = json!([{"headers": {"Cookie": {"regex": ".*flagger-cookie.*LpsIaLdoNZ.*"}}}]);
    sticky["route"][0]["weight"] = 0.into();
    sticky["route"][1]["weight"] = 100.into();
    live["spec"]["http"][0]["route"][1]["headers"] =
        json!({"response": {"add": {"Set-Cookie": "flagger-cookie=LpsIaLdoNZ; Max-Age=86400"}}});
    live["spec"]["http"].as_array_mut().unwrap().insert(0, sticky);
    assert_eq!(
        bench.facts(&live).weight,
        Some(super::weight(10)),
        "not that of the sticky rule"
    );
    assert_eq!(bench.edited(&live, 0), bench.created(0));
}

#[test]
fn a_test_that_cannot_be_drawn_gives_the_canary_nothing_more() {
    for (_, provider) in PROVIDERS {
        let test = json!({"iterations": 5, "match": [{"headers": {"x-a": {"exact": "1"}}}]});
        let running = Bench::plain(provider).with_analysis(&test);
        let traffic = |percent| Traffic {
            matched: true,
            ..shared(percent)
        };
        let live = running.created_for(&traffic(100));
        // Somebody takes the test out of the spec, or spoils it, while it runs.
        let gone = Bench::plain(provider);
        assert!(
            gone.router.edit(&gone.cx(), &live, &traffic(100)).is_err(),
            "{provider}"
        );
        let spoilt = Bench::plain(provider).with_analysis(&json!({"match": [{"headers": {"x-a": {"exact": ""}}}]}));
        assert_eq!(at(&spoilt, &live, &traffic(100)), live, "{provider}");
        for bench in [&gone, &spoilt] {
            let home = at(bench, &live, &shared(0));
            assert_eq!(bench.facts(&home).weight, Some(super::weight(0)), "{provider}");
        }
    }
}

#[test]
fn a_route_that_copies_elsewhere_is_not_robbed_of_it() {
    let mirrored = Traffic {
        mirror: Some(Weight::FULL),
        ..shared(0)
    };
    for (provider, elsewhere) in [
        ("istio", json!({"mirror": {"host": "audit"}})),
        (
            "contour",
            json!({"services": [{"name": "podinfo", "port": 80}, {"name": "audit", "port": 80, "mirror": true}]}),
        ),
    ] {
        let bench = Bench::plain(provider);
        let mut live = adopted(&bench);
        let key = rules_key(&live);
        json_patch::merge(&mut live["spec"][key][0], &elsewhere);
        assert!(bench.router.edit(&bench.cx(), &live, &mirrored).is_err(), "{provider}");
        let drawn = bench.edited(&live, 30);
        assert!(drawn["spec"].to_string().contains("audit"), "{provider}: {drawn}");
        assert_eq!(bench.drawn_weight(&drawn), Some(30), "{provider}");
        assert_eq!(bench.handed_back(&drawn, true), live, "{provider}");
    }
}
