//! Everything that a Canary can say to Istio, under Istio's own definitions: no figures, but whether the API server takes what the
//! controller draws and keeps every word of it.
//!
//! The fixtures are those of the embedded tests (`tests/suite/routing/istio`), which say what is drawn for each. Here the controller itself
//! draws them, in a release from its beginning to its end.

use std::path::Path;

use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bench::fleet::Fleet;
use crate::bench::requests::{Class, Request, requests};
use crate::bench::trails::canary_weight;
use crate::harness::cluster::Cluster;
use crate::harness::verdict::Expectation;
use crate::harness::{Outcome, checkout};

const NAMESPACE: &str = "options";

/// What is tried of each: its name, the fixture with its `spec.service`, and how a new version is tried.
struct Case {
    title: &'static str,
    fixture: &'static str,
    analysis: fn() -> Value,
}

const CASES: [Case; 8] = [
    Case {
        title: "everything, by weights",
        fixture: "everything",
        analysis: steps,
    },
    Case {
        title: "everything, by an A/B test",
        fixture: "everything",
        analysis: || {
            let testers = json!([
                { "headers": { "x-canary": { "exact": "insider" } } },
                { "queryParams": { "beta": { "exact": "1" } }, "sourceLabels": { "app": "tester" } },
            ]);
            json!({ "iterations": 1, "match": testers })
        },
    },
    Case {
        title: "everything, by copies",
        fixture: "everything",
        analysis: || json!({ "iterations": 1, "mirror": true, "mirrorWeight": 20 }),
    },
    Case {
        title: "everything, with cookies",
        fixture: "everything",
        analysis: || {
            let cookies = json!({ "cookieName": "flagger-cookie", "primaryCookieName": "primary-cookie" });
            json!({ "stepWeight": 50, "maxWeight": 50, "sessionAffinity": cookies })
        },
    },
    Case {
        title: "a delegate",
        fixture: "delegation",
        analysis: steps,
    },
    Case {
        title: "through a gateway",
        fixture: "gateway",
        analysis: steps,
    },
    Case {
        title: "sticky callers",
        fixture: "sticky",
        analysis: steps,
    },
    Case {
        title: "connections",
        fixture: "tcp",
        analysis: steps,
    },
];

fn steps() -> Value {
    json!({ "stepWeight": 50, "maxWeight": 50 })
}

/// A release of each, at once.
pub async fn accepted(cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let begun = Utc::now();
    let mut specs = Vec::new();
    for case in &CASES {
        specs.push(json!({ "service": service(case.fixture)?, "analysis": (case.analysis)() }));
    }
    let fleet = Fleet::create_with(cluster, NAMESPACE, &specs, 1).await?;
    fleet.release(CASES.len(), "2.0.0").await?;
    fleet.so_many_are(CASES.len(), "Succeeded").await?;

    let asked: Vec<_> = requests(cluster, begun, Utc::now())?
        .into_iter()
        .filter(|request| request.subject().0 == NAMESPACE && matches!(request.class(), Class::Route | Class::DryRun))
        .filter(|request| ["virtualservices", "destinationrules"].contains(&request.resource()))
        .collect();
    let judged = CASES
        .iter()
        .enumerate()
        .map(|(number, case)| judged(case.title, &Fleet::name(number), &asked));
    Ok(judged.collect())
}

/// Whether the API server took all that was drawn for an application, word for word, and whether that was a whole release.
fn judged(title: &str, application: &str, asked: &[Request]) -> Expectation {
    let its: Vec<_> = asked
        .iter()
        .filter(|request| {
            let name = request.subject().1;
            let side = name.strip_prefix(application);
            side.is_some_and(|side| matches!(side, "" | "-primary" | "-canary"))
        })
        .collect();
    let refused: Vec<_> = its
        .iter()
        .filter(|request| !request.is_accepted())
        .map(|request| request.words())
        .collect();
    let lost: Vec<_> = its
        .iter()
        .filter(|request| request.body.is_object() && !has(&request.object["spec"], &request.body["spec"]))
        .map(|request| {
            format!(
                "{} of {} is not {}",
                request.object["spec"],
                request.words(),
                request.body["spec"]
            )
        })
        .collect();
    let routes = its
        .iter()
        .filter(|request| request.class() == Class::Route && request.resource() == "virtualservices");
    let route_states: Vec<&Value> = routes.map(|request| &request.object).collect();
    let out = route_states.iter().any(|route| leads_to_canary(route, application));
    let home = route_states
        .last()
        .is_some_and(|route| !leads_to_canary(route, application));
    let rules = its.iter().any(|request| request.resource() == "destinationrules");
    let text = format!(
        "Istio's definitions take what is drawn for {title}, out and home ({} writes; refused: {refused:?}; lost: {lost:?})",
        its.len()
    );
    Expectation::new(text, out && home && rules && refused.is_empty() && lost.is_empty())
}

/// Whether requests or copies of them get to the canary by a route.
fn leads_to_canary(route: &Value, application: &str) -> bool {
    let copies = &route["spec"]["http"][0]["mirror"];
    canary_weight(route, application).is_some_and(|weight| weight > 0) || copies.is_object()
}

/// Whether all that was sent is in what is stored.
fn has(stored: &Value, sent: &Value) -> bool {
    match (stored, sent) {
        (Value::Object(stored), Value::Object(sent)) => sent
            .iter()
            .all(|(name, sent)| stored.get(name).is_some_and(|stored| has(stored, sent))),
        (Value::Array(stored), Value::Array(sent)) => {
            stored.len() == sent.len() && stored.iter().zip(sent).all(|(stored, sent)| has(stored, sent))
        }
        _ => stored == sent,
    }
}

/// A fixture's `spec.service`, for a port that the applications have.
fn service(fixture: &str) -> Outcome<Value> {
    #[derive(Deserialize)]
    struct Fixture {
        service: Value,
    }
    let file = checkout()
        .join(Path::new("tests/suite/routing/istio"))
        .join(format!("{fixture}.yaml"));
    let Fixture { mut service } = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
    service["port"] = json!(9898);
    service["targetPort"] = json!(9898);
    Ok(service)
}
