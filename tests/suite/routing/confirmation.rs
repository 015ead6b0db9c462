//! When a route counts as taken by the data plane (spec/routers.md 6.3 "Readiness gate", 6.8).

use serde_json::{Value, json};
use serin::rollout::Confirmation;

use super::Bench;

fn condition(type_: &str, status: &str, generation: u32) -> Value {
    json!({"type": type_, "status": status, "observedGeneration": generation, "reason": "R", "message": "words"})
}

fn confirmed(bench: &Bench, generation: u32, status: &Value) -> Confirmation {
    let mut live = bench.created(10);
    live["metadata"]["generation"] = generation.into();
    live["status"] = status.clone();
    bench.facts(&live).confirmed
}

#[test]
fn routers_038_a_parent_must_have_accepted_and_resolved_the_present_generation() {
    let bench = Bench::plain("gatewayapi:v1");
    let rejected = |type_: &str| Confirmation::Rejected(format!("{type_} is False, R: words"));
    for (conditions, expected) in [
        (
            json!([condition("Accepted", "True", 2), condition("ResolvedRefs", "True", 2)]),
            Confirmation::Confirmed,
        ),
        (
            json!([condition("Accepted", "True", 1), condition("ResolvedRefs", "True", 2)]),
            Confirmation::Pending,
        ),
        (
            json!([condition("Accepted", "False", 1), condition("ResolvedRefs", "True", 2)]),
            Confirmation::Pending,
        ),
        (
            json!([condition("Accepted", "False", 2), condition("ResolvedRefs", "True", 2)]),
            rejected("Accepted"),
        ),
        (
            json!([condition("Accepted", "True", 2), condition("ResolvedRefs", "False", 2)]),
            rejected("ResolvedRefs"),
        ),
        (json!([condition("Accepted", "True", 2)]), Confirmation::Pending),
        (
            json!([
                condition("Accepted", "Unknown", 2),
                condition("ResolvedRefs", "True", 2)
            ]),
            Confirmation::Pending,
        ),
        (
            json!([
                condition("Accepted", "True", 2),
                condition("ResolvedRefs", "True", 2),
                condition("Programmed", "False", 2)
            ]),
            rejected("Programmed"),
        ),
        (
            json!([{"type": "Accepted", "status": "True"}, {"type": "ResolvedRefs", "status": "True"}]),
            Confirmation::Confirmed,
        ),
        (json!([]), Confirmation::Pending),
    ] {
        let parent = json!({"name": "gateway", "namespace": "ingress"});
        let status = json!({"parents": [{"parentRef": parent, "conditions": conditions}]});
        assert_eq!(confirmed(&bench, 2, &status), expected, "{conditions}");
    }
    assert_eq!(confirmed(&bench, 2, &Value::Null), Confirmation::Pending);
}

#[test]
fn a_parent_is_the_same_with_or_without_its_defaults() {
    let bench = Bench::new("gatewayapi:v1", &json!({"gatewayRefs": [{"name": "gateway"}]}));
    let good = json!([condition("Accepted", "True", 2), condition("ResolvedRefs", "True", 2)]);
    for (parent, expected) in [
        (json!({"name": "gateway"}), Confirmation::Confirmed),
        (
            json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway", "namespace": "test"}),
            Confirmation::Confirmed,
        ),
        (
            json!({"name": "gateway", "namespace": "elsewhere"}),
            Confirmation::Pending,
        ),
        (
            json!({"name": "gateway", "sectionName": "https"}),
            Confirmation::Pending,
        ),
    ] {
        let status = json!({"parents": [{"parentRef": parent, "conditions": good}]});
        assert_eq!(confirmed(&bench, 2, &status), expected, "{parent}");
    }
}

#[test]
fn a_stale_word_about_another_section_does_not_matter_and_every_parent_counts() {
    let parents = json!([{"name": "gateway", "sectionName": "https"}, {"name": "second"}]);
    let bench = Bench::new("gatewayapi:v1", &json!({"gatewayRefs": parents}));
    let good = json!([condition("Accepted", "True", 2), condition("ResolvedRefs", "True", 2)]);
    let stale = json!([condition("Accepted", "False", 1)]);
    let about = |parent: &Value, conditions: &Value| json!({"parentRef": parent, "conditions": conditions});
    let old = about(&json!({"name": "gateway", "sectionName": "http"}), &stale);
    let all = json!({"parents": [old, about(&parents[0], &good), about(&parents[1], &good)]});
    assert_eq!(confirmed(&bench, 2, &all), Confirmation::Confirmed);
    let one = json!({"parents": [old, about(&parents[0], &good)]});
    assert_eq!(confirmed(&bench, 2, &one), Confirmation::Pending);
}

#[test]
fn of_several_controllers_the_one_that_serves_the_parent_decides() {
    let bench = Bench::plain("gatewayapi:v1");
    let parent = json!({"name": "gateway", "namespace": "ingress"});
    let status = json!({"parents": [
        {"parentRef": parent, "controllerName": "a", "conditions": [condition("Accepted", "False", 2)]},
        {"parentRef": parent, "controllerName": "b",
         "conditions": [condition("Accepted", "True", 2), condition("ResolvedRefs", "True", 2)]},
    ]});
    assert_eq!(confirmed(&bench, 2, &status), Confirmation::Confirmed);
}

#[test]
fn contour_confirms_what_it_found_valid_at_the_present_generation() {
    let bench = Bench::plain("contour");
    let status = |word: &str, generation: u32| {
        let mut valid = condition("Valid", if word == "valid" { "True" } else { "False" }, generation);
        valid["errors"] = json!([{"type": "ServiceError", "message": "no such Service"}]);
        json!({"currentStatus": word, "description": "described", "conditions": [valid]})
    };
    for (status, expected) in [
        (status("valid", 2), Confirmation::Confirmed),
        (status("valid", 1), Confirmation::Pending),
        (
            status("invalid", 2),
            Confirmation::Rejected("no such Service".to_owned()),
        ),
        (status("invalid", 1), Confirmation::Pending),
        (status("NotReconciled", 2), Confirmation::Pending),
        (
            json!({"currentStatus": "NotReconciled", "description": "Waiting for controller"}),
            Confirmation::Pending,
        ),
        (
            json!({"currentStatus": "orphaned", "description": "no root includes it", "conditions":
                [{"type": "Valid", "status": "False", "observedGeneration": 2}]}),
            Confirmation::Rejected("no root includes it".to_owned()),
        ),
        (Value::Null, Confirmation::Pending),
    ] {
        assert_eq!(confirmed(&bench, 2, &status), expected, "{status}");
    }
}
