//! What is true of every write of every controller, whatever fault it was written under: the invariants of the embedded cluster's
//! tests, played over the audit log, and the time that each step lasts.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use serin::sim::world::invariants::{Recorded, Replay};

use crate::faults::ledger::{Ledger, Request};
use crate::faults::trial::INTERVAL;
use crate::harness::listener::Call;
use crate::harness::verdict::Expectation;

/// The invariants, write by write.
pub fn every_write(ledger: &Ledger) -> Vec<Expectation> {
    let mut replay = Replay::default();
    let mut known: BTreeSet<(String, String, String)> = BTreeSet::new();
    for request in ledger.requests().filter(|request| request.is_write()) {
        let Some(write) = recorded(request) else { continue };
        let version = request
            .object()
            .map(|object| object["metadata"]["resourceVersion"].to_string());
        let key = (write.kind.clone(), request.subject(), version.unwrap_or_default());
        // A write that changes nothing is answered with the object as it is.
        if write.after.is_none() || known.insert(key) {
            replay.see(write);
        }
    }
    for violation in replay.violations() {
        println!("violation: {violation}");
    }
    let judged = replay.judged();
    let broken = replay.violations().len();
    vec![Expectation::new(
        format!("The invariants hold at every write of every controller ({judged} writes, {broken} violations)"),
        broken == 0 && judged > 50,
    )]
}

fn recorded(request: &Request) -> Option<Recorded> {
    let removed = request.removes();
    let object = request.object();
    let (namespace, name) = request.subject().split_once('/').map(|(namespace, name)| {
        // A created object's name may be made up by the API server.
        let made_up = object
            .and_then(|object| object["metadata"]["name"].as_str())
            .unwrap_or(name);
        (namespace.to_owned(), made_up.to_owned())
    })?;
    let kind = match object {
        Some(object) => object["kind"].as_str()?.to_owned(),
        None => kind_of(request.resource())?.to_owned(),
    };
    if object.is_none() && !removed {
        return None;
    }
    Some(Recorded {
        verb: request.verb.clone(),
        kind,
        namespace,
        name,
        after: object.filter(|_| !removed).cloned(),
        at: request.answered,
        judged: request.is_by_controller(),
    })
}

/// The kind of a resource whose removal is answered without the object.
fn kind_of(resource: &str) -> Option<&'static str> {
    Some(match resource {
        "pods" => "Pod",
        "services" => "Service",
        "secrets" => "Secret",
        "configmaps" => "ConfigMap",
        "deployments" => "Deployment",
        "controllerrevisions" => "ControllerRevision",
        "endpointslices" => "EndpointSlice",
        "canaries" => "Canary",
        "httpproxies" => "HTTPProxy",
        _ => return None,
    })
}

/// What the log has said of one canary so far.
#[derive(Default)]
struct Course {
    /// The canary's share of the route as a controller wrote it last, and when.
    drawn: Option<(u64, DateTime<Utc>)>,
    stage: String,
    weight: u64,
}

/// Each step lasts its interval at least, counted from the last time that its weight was written to the route.
pub fn every_step(ledger: &Ledger) -> Vec<Expectation> {
    let mut courses: HashMap<String, Course> = HashMap::new();
    let mut lengths = Vec::new();
    let mut wrong = Vec::new();
    for request in ledger
        .requests()
        .filter(|request| request.is_by_controller() && request.is_write())
    {
        let Some(object) = request.object() else { continue };
        let course = courses.entry(request.subject()).or_default();
        match request.resource() {
            "httpproxies" => course.drawn = share(object).map(|share| (share, request.answered)),
            "canaries" => {
                let block = &object["status"]["serin"];
                let stage = block["stage"].as_str().unwrap_or_default();
                let weight = block["weight"].as_u64().unwrap_or(0);
                let ends = course.stage == "Stepping"
                    && (weight > course.weight || ["Promoting", "Shielding"].contains(&stage));
                let drawn = course.drawn.filter(|(share, _)| *share == course.weight);
                if let Some((share, since)) = drawn.filter(|_| ends) {
                    let length = request.answered - since;
                    lengths.push(length);
                    if length < INTERVAL {
                        wrong.push(format!("{} left {share} after {length}", request.subject()));
                    }
                }
                stage.clone_into(&mut course.stage);
                course.weight = weight;
            }
            _ => {}
        }
    }
    let least = lengths.iter().min().map(TimeDelta::num_milliseconds);
    vec![Expectation::new(
        format!(
            "Each step lasts {} seconds at its weight, at least ({} steps, the shortest {} ms; {wrong:?})",
            INTERVAL.num_seconds(),
            lengths.len(),
            least.unwrap_or_default()
        ),
        wrong.is_empty() && lengths.len() > 4,
    )]
}

/// The canary's share in a route that splits.
fn share(route: &Value) -> Option<u64> {
    let services = route["spec"]["routes"][0]["services"].as_array()?;
    let canary = services
        .iter()
        .find(|service| service["name"].as_str().is_some_and(|name| name.ends_with("-canary")))?;
    Some(canary["weight"].as_u64().unwrap_or(0))
}

/// No canary is checked twice at once.
pub fn one_check_at_a_time(canary: &str, calls: &[Call]) -> Expectation {
    let at_once: Vec<_> = calls
        .windows(2)
        .filter(|pair| pair[0].ended.is_none_or(|ended| ended > pair[1].began))
        .map(|pair| format!("{} and {}", pair[0].key, pair[1].key))
        .collect();
    Expectation::new(
        format!("{canary}: no two checks at once ({} calls; {at_once:?})", calls.len()),
        at_once.is_empty() && !calls.is_empty(),
    )
}
