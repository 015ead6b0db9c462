//! What every entry of the table owes. A new provider is held to it by its line in the table alone.

use json_patch::PatchOperation;
use proptest::prelude::*;
use serde_json::{Value, json};
use serin::{
    object::ORIGINAL,
    routing::ROUTERS,
    sim::world::route_shape::{RouteShape, route_shape},
};

use super::{Bench, applied, shared, weight};

/// One bench for each provider.
pub(super) fn each() -> impl Iterator<Item = Bench> {
    ROUTERS.iter().map(|router| Bench::plain(router.meta().ids[0].text()))
}

/// A route of that provider that somebody else made: all to the apex Service, with fields that no provider draws.
pub(super) fn adopted(bench: &Bench) -> Value {
    let mut object = bench.handed_back(&bench.created(0), false);
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("ownerReferences");
    metadata.insert("annotations".to_owned(), json!({"note": "mine"}));
    metadata.insert("labels".to_owned(), json!({"team": "a"}));
    object["spec"]["fieldOfTomorrow"] = json!({"a": 1});
    rule_of(&mut object)["ruleOfTomorrow"] = json!([1, 2]);
    object
}

/// Where a route's kind keeps what the contract is about.
fn shape(object: &Value) -> &'static RouteShape {
    route_shape(object["kind"].as_str().unwrap_or_default()).unwrap()
}

pub(super) fn rules_key(object: &Value) -> &'static str {
    shape(object).rules[0]
}

pub(super) fn backends_key(object: &Value) -> &'static str {
    shape(object).backends
}

/// The Service of a backend of this route.
pub(super) fn service_of<'v>(object: &Value, backend: &'v Value) -> &'v str {
    shape(object).service_of(backend)
}

/// A backend of this route's kind, with this Service and nothing else.
pub(super) fn backend_to(object: &Value, service: &str) -> Value {
    let mut backend = backends_of(object)[0].clone();
    backend.as_object_mut().unwrap().remove("weight");
    *backend.pointer_mut(shape(object).service).unwrap() = service.into();
    backend
}

fn rule_of(object: &mut Value) -> &mut Value {
    let key = rules_key(object);
    &mut object["spec"][key][0]
}

pub(super) fn backends_of(object: &Value) -> &Value {
    &object["spec"][rules_key(object)][0][backends_key(object)]
}

#[test]
fn a_created_route_says_its_weight_and_needs_no_edit() {
    for bench in each() {
        for percent in 0..=100 {
            let live = bench.created(percent);
            assert_eq!(bench.drawn_weight(&live), Some(percent));
            let facts = bench.facts(&live);
            assert!(facts.owned && !facts.handed_back);
            assert!(
                bench
                    .router
                    .edit(&bench.cx(), &live, &shared(percent))
                    .unwrap()
                    .is_empty()
            );
        }
    }
}

#[test]
fn an_edited_route_says_the_new_weight_and_sums_to_the_whole() {
    for bench in each() {
        for (from, to) in (0..=100).flat_map(|from| [0, 1, 30, 99, 100].map(|to| (from, to))) {
            let next = bench.edited(&bench.created(from), to);
            assert_eq!(bench.drawn_weight(&next), Some(to), "from {from}");
            let weights = backends_of(&next)
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["weight"].as_u64().unwrap());
            assert_eq!(weights.sum::<u64>(), 100);
        }
    }
}

#[test]
fn a_weight_change_touches_two_numbers_and_tests_whose_they_are() {
    for bench in each() {
        let live = bench.created(10);
        let patch = bench.router.edit(&bench.cx(), &live, &shared(20)).unwrap();
        let changed: Vec<&PatchOperation> = patch
            .iter()
            .filter(|it| !matches!(it, PatchOperation::Test(_)))
            .collect();
        let paths: Vec<String> = changed.iter().map(|it| it.path().to_string()).collect();
        let backends = format!("/spec/{}/0/{}", rules_key(&live), backends_key(&live));
        assert_eq!(
            paths,
            [
                "/metadata/resourceVersion".to_owned(),
                format!("{backends}/0/weight"),
                format!("{backends}/1/weight")
            ]
        );
        // In a list that was turned round the same patch is refused.
        let mut turned = live.clone();
        let (rules, key) = (rules_key(&live), backends_key(&live));
        turned["spec"][rules][0][key].as_array_mut().unwrap().reverse();
        assert!(json_patch::patch(&mut turned, &patch).is_err());
    }
}

#[test]
fn routers_055_fields_that_nobody_here_knows_survive() {
    for bench in each() {
        let mut live = bench.created(10);
        live["spec"]["fieldOfTomorrow"] = json!({"deep": [1, {"x": true}]});
        rule_of(&mut live)["ruleOfTomorrow"] = "kept".into();
        live["metadata"]["annotations"]["foreign"] = "kept".into();
        live["metadata"]["labels"] = json!({"foreign": "kept"});
        live["status"] = json!({"anything": 1});
        assert_eq!(bench.drawn_weight(&live), Some(10), "and are no difference");
        let mut next = bench.edited(&live, 20);
        assert_eq!(next["spec"]["fieldOfTomorrow"], live["spec"]["fieldOfTomorrow"]);
        assert_eq!(rule_of(&mut next)["ruleOfTomorrow"], "kept");
        assert_eq!(next["metadata"]["annotations"]["foreign"], "kept");
        assert_eq!(next["metadata"]["labels"]["foreign"], "kept");
        assert_eq!(next["status"], live["status"]);
    }
}

#[test]
fn routers_054_a_foreign_edit_at_30_percent_is_repaired_at_30_percent() {
    for bench in each() {
        let good = bench.created(30);
        let (rules, backends) = (rules_key(&good), backends_key(&good));
        let one_backend = vec![good["spec"][rules][0][backends][0].clone()];
        let spoilt: [(&str, Value); 5] = [
            ("matches", json!([{"path": {"type": "PathPrefix", "value": "/other"}}])),
            ("conditions", json!([{"prefix": "/other"}])),
            ("match", json!([{"uri": {"prefix": "/other"}}])),
            (backends, one_backend.into()),
            (backends, json!([])),
        ];
        for (key, value) in spoilt {
            let mut live = good.clone();
            // Istio matches everything by saying nothing.
            if live["spec"][rules][0].get(key).is_none() && (key != "match" || rules != "http") {
                continue;
            }
            live["spec"][rules][0][key] = value;
            assert_ne!(bench.drawn_weight(&live), Some(30), "{key}");
            assert_eq!(bench.edited(&live, 30), good, "{key}");
        }
        let mut doubled = good.clone();
        let extra = doubled["spec"][rules][0].clone();
        doubled["spec"][rules].as_array_mut().unwrap().push(extra);
        assert_eq!(bench.edited(&doubled, 30), good, "a rule too many");
        let mut bare = good.clone();
        bare["spec"] = json!({});
        assert_eq!(bench.edited(&bare, 30), good, "an emptied spec");
    }
}

#[test]
fn routers_006_weights_edited_by_hand_are_no_position_to_go_on_from() {
    for bench in each() {
        let good = bench.created(30);
        let mut live = good.clone();
        let (rules, backends) = (rules_key(&good), backends_key(&good));
        live["spec"][rules][0][backends][0]["weight"] = 90.into();
        live["spec"][rules][0][backends][1]["weight"] = 90.into();
        let facts = bench.facts_at(&live, 50);
        assert_eq!((facts.weight, facts.drawn), (Some(weight(50)), None));
        assert_eq!(bench.edited(&live, 30), good);
    }
}

#[test]
fn a_late_edit_carries_the_version_that_was_seen() {
    for bench in each() {
        let live = bench.created(10);
        for patch in [
            bench.router.edit(&bench.cx(), &live, &shared(20)).unwrap(),
            bench.router.hand_back(&bench.cx(), &live, false).unwrap(),
        ] {
            let first = serde_json::to_value(&patch[0]).unwrap();
            assert_eq!(
                first,
                json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "100"})
            );
        }
    }
}

#[test]
fn a_route_handed_back_leads_to_the_apex_alone() {
    for bench in each() {
        for percent in [0, 30, 100] {
            let next = bench.handed_back(&bench.created(percent), false);
            let facts = bench.facts(&next);
            assert!(facts.handed_back);
            assert_eq!(facts.weight, None);
            let names: Vec<&str> = backends_of(&next)
                .as_array()
                .unwrap()
                .iter()
                .map(|it| service_of(&next, it))
                .collect();
            assert_eq!(names, ["podinfo"]);
            assert!(bench.router.hand_back(&bench.cx(), &next, false).unwrap().is_empty());
            assert_eq!(
                bench.drawn_weight(&bench.edited(&next, 40)),
                Some(40),
                "and can be taken up again"
            );
        }
    }
}

#[test]
fn an_adopted_route_keeps_its_own_and_remembers_what_it_was() {
    for bench in each() {
        let before = adopted(&bench);
        assert_eq!(bench.facts(&before).weight, None);
        let mut live = bench.edited(&before, 0);
        assert_eq!(bench.drawn_weight(&live), Some(0));
        assert!(!bench.facts(&live).owned);
        assert_eq!(live["metadata"]["annotations"]["note"], "mine");
        assert_eq!(live["metadata"]["labels"]["team"], "a");
        assert_eq!(live["spec"]["fieldOfTomorrow"], json!({"a": 1}));
        assert_eq!(rule_of(&mut live)["ruleOfTomorrow"], json!([1, 2]));
        let kept: Value = serde_json::from_str(live["metadata"]["annotations"][ORIGINAL].as_str().unwrap()).unwrap();
        assert_eq!(kept, before["spec"]);
        let later = bench.edited(&live, 50);
        assert_eq!(
            later["metadata"]["annotations"][ORIGINAL],
            live["metadata"]["annotations"][ORIGINAL]
        );
        assert_eq!(bench.handed_back(&later, true), before, "and is put back as it was");
        assert!(bench.facts(&before).handed_back);
    }
}

#[test]
fn what_was_applied_last_is_the_second_choice() {
    for bench in each() {
        let before = adopted(&bench);
        let mut live = bench.edited(&before, 50);
        let annotations = live["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove(ORIGINAL);
        let applied_last = json!({"spec": before["spec"]}).to_string();
        annotations.insert(
            "kubectl.kubernetes.io/last-applied-configuration".to_owned(),
            applied_last.into(),
        );
        assert_eq!(bench.handed_back(&live, true)["spec"], before["spec"]);
    }
}

#[test]
fn without_a_usable_original_an_adopted_route_leads_to_the_apex() {
    for bench in each() {
        for original in [None, Some("no json"), Some("[]")] {
            let mut live = bench.edited(&adopted(&bench), 50);
            let annotations = live["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.remove(ORIGINAL);
            if let Some(original) = original {
                annotations.insert(ORIGINAL.to_owned(), original.into());
            }
            let next = bench.handed_back(&live, true);
            assert!(bench.facts(&next).handed_back, "{original:?}");
        }
    }
}

#[test]
fn rules_of_an_adopted_route_that_lead_elsewhere_stay() {
    for bench in each() {
        let mut before = adopted(&bench);
        let (rules, backends) = (rules_key(&before), backends_key(&before));
        let foreign = json!({backends: [backend_to(&before, "other")], "note": "not ours"});
        before["spec"][rules].as_array_mut().unwrap().insert(0, foreign.clone());
        let live = bench.edited(&before, 30);
        assert_eq!(live["spec"][rules][0], foreign);
        assert_eq!(live["spec"][rules].as_array().unwrap().len(), 2);
        assert_eq!(bench.drawn_weight(&live), Some(30));
        assert_eq!(bench.handed_back(&live, false)["spec"][rules][0], foreign);
    }
}

#[test]
fn an_adopted_route_that_leads_nowhere_near_us_is_drawn_anew() {
    for bench in each() {
        let mut before = adopted(&bench);
        let (rules, backends) = (rules_key(&before), backends_key(&before));
        before["spec"][rules][0][backends][0] = backend_to(&before, "old-podinfo");
        let live = bench.edited(&before, 0);
        assert_eq!(bench.drawn_weight(&live), Some(0));
        assert_eq!(live["spec"][rules].as_array().unwrap().len(), 1);
        assert_eq!(bench.handed_back(&live, true), before);
    }
}

#[test]
fn a_route_of_an_earlier_canary_of_that_name_is_owned_again() {
    for bench in each() {
        let mut live = bench.created(30);
        live["metadata"]["ownerReferences"][0]["uid"] = "an-earlier-uid".into();
        let facts = bench.facts_at(&live, 30);
        assert_eq!(
            (facts.weight, facts.drawn, facts.owned),
            (Some(weight(30)), None, false)
        );
        assert_eq!(bench.edited(&live, 30), bench.created(30));
    }
}

#[test]
fn a_spec_that_cannot_be_drawn_still_lets_traffic_go_home() {
    for mut bench in each() {
        let live = bench.created(30);
        bench.canary.spec.service.as_mut().unwrap().gateway_refs.clear();
        bench.canary.spec.service.as_mut().unwrap().timeout = Some("tomorrow".into());
        assert!(!bench.router.check(&bench.cx()).is_empty());
        assert!(bench.router.create(&bench.cx(), &shared(0)).is_err());
        let expected = reweighted(&live, 100, 0);
        assert_eq!(bench.edited(&live, 0), expected, "nothing but the weights is touched");
        let home = bench.handed_back(&live, false);
        assert!(bench.facts(&home).handed_back);
    }
}

/// The same route with other weights, without drawing it.
fn reweighted(live: &Value, primary: u8, canary: u8) -> Value {
    let mut next = live.clone();
    let (rules, backends) = (rules_key(live), backends_key(live));
    next["spec"][rules][0][backends][0]["weight"] = primary.into();
    next["spec"][rules][0][backends][1]["weight"] = canary.into();
    next
}

#[test]
fn an_edit_of_what_is_stored_twice_changes_nothing() {
    for bench in each() {
        for live in [bench.created(70), adopted(&bench)] {
            let next = bench.edited(&live, 20);
            assert_eq!(
                applied(&next, &bench.router.edit(&bench.cx(), &next, &shared(20)).unwrap()),
                next
            );
            assert!(bench.router.edit(&bench.cx(), &next, &shared(20)).unwrap().is_empty());
        }
    }
}

/// The pointers of every value in an object.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(member, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn whatever_is_written_anywhere_in_our_route_is_repaired_at_the_same_weight(
        place in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![
            json!(null), json!(0), json!(250), json!(u64::MAX), json!("x"), json!([]), json!({}), json!([1]), json!([{}, {}]),
            json!([{"name": "podinfo", "port": 80}]), json!({"name": "podinfo-canary", "weight": 7}),
            json!([{"destination": {"host": "podinfo"}}]), json!({"destination": {"host": "podinfo-canary"}, "weight": 7}),
        ]),
        percent in 0_u8..=100,
    ) {
        for bench in each() {
            let good = bench.created(percent);
            let mut found = Vec::new();
            pointers(&good["spec"], "/spec", &mut found);
            let pointer = &found[place.index(found.len())];
            let mut live = good.clone();
            *live.pointer_mut(pointer).unwrap() = value.clone();
            let next = bench.edited(&live, percent);
            prop_assert_eq!(bench.drawn_weight(&next), Some(percent), "{} at {}", value, pointer);
            prop_assert!(bench.router.edit(&bench.cx(), &next, &shared(percent)).unwrap().is_empty());
            let home = bench.handed_back(&live, false);
            prop_assert!(bench.router.hand_back(&bench.cx(), &home, false).unwrap().is_empty());
        }
    }
}
