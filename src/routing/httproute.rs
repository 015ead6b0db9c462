//! The one rule of an `HTTPRoute`, from `spec.service` (spec/routers.md 6.3 and 8.2): matches, filters, timeouts.

pub(super) mod filters;
pub(super) mod matches;

use serde_json::{Map, Value, json};

use super::route;
use crate::{
    api::{Canary, DurationText, GoDuration, RouteMatch, ServiceSpec},
    object::is_empty,
    rollout::Refusal,
};

/// Keys that are drawn below a rule or a reference.
pub(super) const KEYS: &[&str] = &[
    "path",
    "headers",
    "queryParams",
    "method",
    "type",
    "value",
    "name",
    "namespace",
    "sectionName",
    "port",
    "set",
    "add",
    "remove",
    "requestHeaderModifier",
    "responseHeaderModifier",
    "urlRewrite",
    "requestMirror",
    "cors",
    "hostname",
    "replaceFullPath",
    "replacePrefixMatch",
    "backendRef",
    "allowOrigins",
    "allowMethods",
    "allowHeaders",
    "exposeHeaders",
    "allowCredentials",
    "maxAge",
    "request",
    "backendRequest",
];

/// Matches that all rules of a route may have (the CRD's bound).
const MOST_IN_ALL: usize = 128;

/// The match of every request.
pub(super) fn every_request() -> Value {
    json!({"path": {"type": "PathPrefix", "value": "/"}})
}

/// Conditions of a match that an `HTTPRoute` has no word for, and whether they are set.
pub(super) fn ignored_conditions(entry: &RouteMatch) -> [(&'static str, bool); 8] {
    [
        ("scheme", entry.scheme.is_some()),
        ("authority", entry.authority.is_some()),
        ("port", entry.port.is_some()),
        ("sourceLabels", !entry.source_labels.is_empty()),
        ("gateways", !entry.gateways.is_empty()),
        ("ignoreUriCase", entry.ignore_uri_case),
        ("withoutHeaders", !entry.without_headers.is_empty()),
        ("sourceNamespace", entry.source_namespace.is_some()),
    ]
}

/// The keys of the rule that the spec asks for. What cannot be drawn is refused.
pub(super) fn rule(service: &ServiceSpec, refusals: &mut Vec<Refusal>) -> Map<String, Value> {
    let mut rule = Map::new();
    let matches = matches::of_service(&service.matches, refusals);
    let filters = filters::of_service(service, &matches, refusals);
    let timeouts = timeouts(service, refusals);
    for (key, value) in [
        ("matches", matches.into()),
        ("filters", filters.into()),
        ("timeouts", timeouts),
    ] {
        if !is_empty(&value) {
            rule.insert(key.to_owned(), value);
        }
    }
    rule
}

/// The Service that a reference to a backend names, if it is one of the route's own namespace.
pub(super) fn service<'v>(backend: &'v Value, namespace: &str) -> Option<&'v str> {
    let is = |key: &str, default: &str| backend.get(key).and_then(Value::as_str).unwrap_or(default).to_owned();
    let local =
        is("kind", "Service") == "Service" && is("group", "").is_empty() && is("namespace", namespace) == namespace;
    route::named(backend, namespace).filter(|_| local)
}

/// Refuses what an A/B test or cookies would make of the rule and the API server would not take (the CRD's bounds).
pub(super) fn check_bounds(canary: &Canary, rule: &Map<String, Value>, tests: usize, refusals: &mut Vec<Refusal>) {
    let matches = rule.get("matches").and_then(Value::as_array).map_or(1, Vec::len);
    let tested = matches * tests;
    let replaces_prefix =
        |filter: &Value| filter.pointer("/urlRewrite/path/type") == Some(&json!("ReplacePrefixMatch"));
    let filters = rule.get("filters").and_then(Value::as_array);
    let analysis = "spec.analysis.match";
    if tests > 1 && filters.into_iter().flatten().any(replaces_prefix) {
        refuse(
            refusals,
            analysis,
            "rewrite type ReplacePrefixMatch allows one match: write the test as one entry",
        );
    }
    if tested > matches::MOST_MATCHES || matches + tested > MOST_IN_ALL {
        let message = format!(
            "makes {tested} matches with those of spec.service.match; a rule of an HTTPRoute has at most {}, a route {MOST_IN_ALL}",
            matches::MOST_MATCHES
        );
        refuse(refusals, analysis, message);
    }
    let sticky = canary
        .spec
        .analysis
        .as_ref()
        .and_then(|it| it.session_affinity.as_ref());
    let cookies = sticky.map_or(0, |it| 1 + usize::from(it.primary_cookie_name.is_some()));
    if matches * (1 + cookies) > MOST_IN_ALL {
        let message = format!("each cookie needs every match again, and an HTTPRoute has at most {MOST_IN_ALL} in all");
        refuse(refusals, "spec.service.match", message);
    }
}

fn refuse(refusals: &mut Vec<Refusal>, field: impl Into<String>, message: impl Into<String>) {
    refusals.push(Refusal {
        field: field.into(),
        message: message.into(),
    });
}

fn timeouts(service: &ServiceSpec, refusals: &mut Vec<Refusal>) -> Value {
    let mut drawn = json!({});
    let mut lengths = Vec::new();
    let given = [
        ("request", "timeout", &service.timeout),
        ("backendRequest", "backendTimeout", &service.backend_timeout),
    ];
    for (key, field, text) in given {
        let Some(text) = text.as_ref().filter(|text| !text.is_empty()) else {
            continue;
        };
        if let Some(strict) = strict_duration(text) {
            drawn[key] = strict.into();
            lengths.push((key, text.parse().ok()));
        } else {
            let message = format!("{text} is no duration in whole milliseconds, such as 1m30s");
            refuse(refusals, format!("spec.service.{field}"), message);
        }
    }
    if let [(_, Some(request)), (_, Some(backend))] = lengths[..] {
        // No timeout of the request is longer than any of a backend.
        if request != GoDuration::default() && backend > request {
            refuse(
                refusals,
                "spec.service.backendTimeout",
                "must not be longer than timeout",
            );
        }
    }
    drawn
}

/// The duration in Gateway API's notation (GEP-2257): up to four numbers of up to five digits, each with h, m, s or ms.
fn strict_duration(text: &DurationText) -> Option<String> {
    let nanos = text.parse().ok()?.to_std()?.as_nanos();
    if is_strict(text.as_str()) {
        return Some(text.as_str().to_owned());
    }
    let millis = Some(nanos).filter(|nanos| nanos % 1_000_000 == 0)? / 1_000_000;
    let (hours, minutes, seconds, rest) = (
        millis / 3_600_000,
        millis / 60_000 % 60,
        millis / 1000 % 60,
        millis % 1000,
    );
    if hours > 99_999 {
        return None;
    }
    let parts = [(hours, "h"), (minutes, "m"), (seconds, "s"), (rest, "ms")];
    let written = parts.iter().filter(|(number, _)| *number > 0);
    let words: Vec<String> = written.map(|(number, unit)| format!("{number}{unit}")).collect();
    Some(if words.is_empty() {
        "0s".to_owned()
    } else {
        words.concat()
    })
}

fn is_strict(text: &str) -> bool {
    let mut rest = text;
    for _ in 0..4 {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if !(1..=5).contains(&digits) {
            return false;
        }
        let after = &rest[digits..];
        let Some(next) = ["ms", "h", "m", "s"].iter().find_map(|unit| after.strip_prefix(unit)) else {
            return false;
        };
        rest = next;
        if rest.is_empty() {
            return true;
        }
    }
    false
}
