//! What every entry of the table owes where traffic changes hands: the new destinations are named first, and get nothing; the old
//! ones are named until they get nothing any more.

use serde_json::{Value, json};
use serin::{object::ORIGINAL, rollout::Destination, sim::world::route_shape::route_shape};

use super::{
    Bench,
    contract::{adopted, backend_to, backends_key, backends_of, each, rules_key, service_of},
    weight,
};

/// Name and share of each backend of the first rule, in percent.
fn shares(bench: &Bench, live: &Value) -> Vec<(String, u64)> {
    let shape = route_shape(bench.router.meta().kind).unwrap();
    let backends = backends_of(live).as_array().unwrap();
    let whole: u64 = backends.iter().map(|it| shape.weight_of(it)).sum();
    let share = |it: &Value| match whole {
        // Where silence means zero, backends that say nothing share equally.
        0 => 100 / u64::try_from(backends.len()).unwrap(),
        _ => shape.weight_of(it) * 100 / whole,
    };
    let name = |it: &Value| service_of(live, it).to_owned();
    backends.iter().map(|it| (name(it), share(it))).collect()
}

/// What gets traffic at all.
fn served(bench: &Bench, live: &Value) -> Vec<(String, u64)> {
    let mut shares = shares(bench, live);
    shares.retain(|(_, share)| *share > 0);
    shares
}

/// The adopted route, as teams write its backends: with a weight, without one, and two that share.
fn variants(bench: &Bench) -> Vec<Value> {
    let route = adopted(bench);
    let (rules, backends) = (rules_key(&route), backends_key(&route));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut variant = route.clone();
        change(&mut variant["spec"][rules][0][backends]);
        variant
    };
    let legacy = backend_to(&route, "legacy");
    let silent = |list: &mut Value| {
        list[0].as_object_mut().unwrap().remove("weight");
    };
    vec![
        with(&|_| {}),
        with(&silent),
        with(&|list| {
            silent(list);
            list.as_array_mut().unwrap().push(legacy.clone());
        }),
        with(&|list| {
            list[0]["weight"] = 30.into();
            let mut legacy = legacy.clone();
            legacy["weight"] = 10.into();
            list.as_array_mut().unwrap().push(legacy);
        }),
    ]
}

#[test]
fn an_announced_route_names_both_sides_and_leads_where_it_led() {
    for bench in each() {
        for before in variants(&bench) {
            assert!(!bench.facts(&before).announced);
            let live = bench.announced(&before, Destination::Sides);
            let now = bench.facts(&live);
            assert!(now.announced && !now.handed_back, "{live}");
            assert_eq!(now.weight, None, "{live}");
            assert_eq!(served(&bench, &live), served(&bench, &before));
            let names: Vec<String> = shares(&bench, &live).into_iter().map(|(name, _)| name).collect();
            let sides = ["podinfo-primary".to_owned(), "podinfo-canary".to_owned()];
            assert!(names.ends_with(&sides), "{names:?}");
            let written = backends_of(&live).as_array().unwrap().iter().rev().take(2);
            assert!(written.into_iter().all(|it| it["weight"] == 0), "a zero is written out");
        }
    }
}

#[test]
fn an_announcement_is_made_once() {
    for bench in each() {
        for destination in [Destination::Sides, Destination::Apex] {
            for before in [adopted(&bench), bench.created(0)] {
                let live = bench.announced(&before, destination);
                let again = bench.router.announce(&bench.cx(), &live, destination).unwrap();
                assert!(again.is_empty(), "{again:?}");
            }
        }
    }
}

#[test]
fn an_announcement_carries_the_version_that_was_seen() {
    for bench in each() {
        let live = adopted(&bench);
        let patch = bench.router.announce(&bench.cx(), &live, Destination::Sides).unwrap();
        let first = serde_json::to_value(&patch[0]).unwrap();
        let version = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "100"});
        assert_eq!(first, version);
    }
}

#[test]
fn an_announced_route_is_switched_to_what_it_would_be_without() {
    for bench in each() {
        for before in variants(&bench) {
            let switched = bench.edited(&bench.announced(&before, Destination::Sides), 0);
            assert_eq!(bench.drawn_weight(&switched), Some(0));
            assert_eq!(switched, bench.edited(&before, 0));
        }
    }
}

#[test]
fn what_stood_before_the_announcement_is_kept_and_restored() {
    for bench in each() {
        for before in variants(&bench) {
            let announced = bench.announced(&before, Destination::Sides);
            let kept = announced["metadata"]["annotations"][ORIGINAL].as_str().unwrap();
            let kept: Value = serde_json::from_str(kept).unwrap();
            assert_eq!(kept, before["spec"]);
            assert_eq!(bench.handed_back(&announced, true), before, "before the switch");
            let switched = bench.edited(&announced, 40);
            let leaving = bench.announced(&switched, Destination::Apex);
            assert_eq!(bench.handed_back(&leaving, true), before, "after it");
        }
    }
}

#[test]
fn the_apex_is_announced_beside_the_sides_before_it_gets_everything_back() {
    for bench in each() {
        for percent in [0, 30, 100] {
            let before = bench.created(percent);
            assert!(!bench.facts(&before).apex_announced);
            let live = bench.announced(&before, Destination::Apex);
            let now = bench.facts(&live);
            assert!(now.apex_announced && now.announced && !now.handed_back);
            assert_eq!(now.weight, Some(weight(percent)));
            assert_eq!(served(&bench, &live), served(&bench, &before));
            let home = bench.handed_back(&live, false);
            assert!(bench.facts(&home).handed_back);
            assert_eq!(home, bench.handed_back(&before, false));
            assert_eq!(bench.edited(&live, percent), before, "and is taken back by a repair");
        }
    }
}

#[test]
fn rules_that_lead_elsewhere_hear_nothing() {
    for bench in each() {
        let mut before = adopted(&bench);
        let (rules, backends) = (rules_key(&before), backends_key(&before));
        let foreign = json!({backends: [{"name": "other", "port": 80}]});
        before["spec"][rules].as_array_mut().unwrap().push(foreign.clone());
        let live = bench.announced(&before, Destination::Sides);
        assert_eq!(live["spec"][rules][1], foreign);
        assert!(bench.facts(&live).announced);
        // A route without any rule of ours has no traffic to keep.
        before["spec"][rules] = json!([foreign]);
        assert!(bench.facts(&before).announced);
    }
}

#[test]
fn every_rule_of_ours_must_name_the_sides() {
    for bench in each() {
        let mut before = adopted(&bench);
        let rules = rules_key(&before);
        let more = before["spec"][rules][0].clone();
        before["spec"][rules].as_array_mut().unwrap().push(more.clone());
        let mut live = bench.announced(&before, Destination::Sides);
        assert!(bench.facts(&live).announced);
        live["spec"][rules][1] = more;
        assert!(!bench.facts(&live).announced, "somebody took one back");
        assert!(bench.facts(&bench.announced(&live, Destination::Sides)).announced);
    }
}

#[test]
fn a_spec_that_cannot_be_drawn_is_announced_only_homewards() {
    for mut bench in each() {
        let live = bench.created(30);
        bench.canary.spec.service.as_mut().unwrap().gateway_refs.clear();
        bench.canary.spec.service.as_mut().unwrap().timeout = Some("tomorrow".into());
        assert!(bench.router.announce(&bench.cx(), &live, Destination::Sides).is_err());
        assert!(bench.facts(&bench.announced(&live, Destination::Apex)).apex_announced);
    }
}

#[test]
fn a_led_route_gives_the_sides_everything_and_still_names_what_had_it() {
    for bench in each() {
        for before in variants(&bench) {
            let announced = bench.announced(&before, Destination::Sides);
            assert_ne!(bench.facts(&announced).parting, Some(Destination::Sides));
            let live = bench.led(&announced, Destination::Sides);
            let now = bench.facts(&live);
            assert_eq!(now.parting, Some(Destination::Sides), "{live}");
            assert_eq!(now.weight, Some(weight(0)));
            assert_eq!(served(&bench, &live), [("podinfo-primary".to_owned(), 100)]);
            let names = |live| {
                shares(&bench, live)
                    .into_iter()
                    .map(|(name, _)| name)
                    .collect::<Vec<_>>()
            };
            assert_eq!(names(&live), names(&announced), "nothing is left out");
            let switched = bench.edited(&live, 0);
            assert_eq!(switched, bench.edited(&before, 0));
            assert!(now.names_others && !bench.facts(&switched).names_others);
            assert_eq!(bench.facts(&switched).parting, None);
            assert_eq!(bench.handed_back(&live, true), before, "what stood before is kept");
        }
    }
}

#[test]
fn a_route_led_home_gives_the_apex_everything_and_still_names_the_sides() {
    for bench in each() {
        for percent in [0, 30, 100] {
            let before = bench.created(percent);
            let live = bench.led(&bench.announced(&before, Destination::Apex), Destination::Apex);
            let now = bench.facts(&live);
            assert_eq!(now.parting, Some(Destination::Apex), "{live}");
            assert!(now.announced && !now.handed_back);
            assert_eq!(served(&bench, &live), [("podinfo".to_owned(), 100)]);
            let home = bench.handed_back(&live, false);
            assert_eq!(home, bench.handed_back(&before, false));
            assert_eq!(bench.facts(&home).parting, None);
        }
    }
}

#[test]
fn a_route_is_led_once_and_at_the_version_that_was_seen() {
    for bench in each() {
        for (before, destination) in [
            (adopted(&bench), Destination::Sides),
            (bench.created(30), Destination::Apex),
        ] {
            let patch = bench.router.lead(&bench.cx(), &before, destination).unwrap();
            let first = serde_json::to_value(&patch[0]).unwrap();
            assert_eq!(first["path"], "/metadata/resourceVersion");
            let live = bench.led(&before, destination);
            let again = bench.router.lead(&bench.cx(), &live, destination).unwrap();
            assert!(again.is_empty(), "{again:?}");
        }
    }
}

#[test]
fn a_route_that_leads_past_the_application_is_led_to_the_sides_alone() {
    for bench in each() {
        let mut before = adopted(&bench);
        let (rules, backends) = (rules_key(&before), backends_key(&before));
        before["spec"][rules] = json!([{backends: [{"name": "other", "port": 80}]}]);
        let live = bench.led(&before, Destination::Sides);
        assert_eq!(live, bench.edited(&before, 0));
    }
}
