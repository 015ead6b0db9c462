//! The one rule of an `HTTPRoute`, from `spec.service` (spec/routers.md 6.3 and 8.2): matches, filters, timeouts.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    api::{CorsPolicy, DurationText, GoDuration, HeaderChange, Rewrite, RouteMatch, ServiceSpec, StringMatch},
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

/// Matches that one rule may have (the CRD's bound).
const MOST_MATCHES: usize = 64;
/// Seconds that the API server puts where a CORS filter has no `maxAge`.
const DEFAULT_MAX_AGE: u64 = 5;

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
    let matches = matches(&service.matches, refusals);
    let filters = filters(service, &matches, refusals);
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

fn refuse(refusals: &mut Vec<Refusal>, field: impl Into<String>, message: impl Into<String>) {
    refusals.push(Refusal {
        field: field.into(),
        message: message.into(),
    });
}

// === Matches ===

fn matches(entries: &[RouteMatch], refusals: &mut Vec<Refusal>) -> Vec<Value> {
    let mut drawn = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let field = format!("spec.service.match[{index}]");
        let conditions = conditions(entry, &field, refusals);
        if !conditions.is_empty() {
            let mut conditions = conditions;
            // The API server's default for a match without a path.
            conditions
                .entry("path")
                .or_insert_with(|| every_request()["path"].clone());
            drawn.push(conditions.into());
        } else if ignored_conditions(entry).iter().any(|(_, set)| *set) {
            refuse(
                refusals,
                field,
                "none of its conditions can be said in an HTTPRoute: it would match every request",
            );
        }
    }
    if drawn.len() > MOST_MATCHES {
        refuse(
            refusals,
            "spec.service.match",
            format!("a rule of an HTTPRoute has at most {MOST_MATCHES} matches"),
        );
    }
    drawn
}

fn conditions(entry: &RouteMatch, field: &str, refusals: &mut Vec<Refusal>) -> Map<String, Value> {
    let mut conditions = Map::new();
    if let Some(uri) = &entry.uri {
        match path(uri) {
            Some(path) => {
                conditions.insert("path".to_owned(), path);
            }
            None => refuse(
                refusals,
                format!("{field}.uri"),
                "must be exact or prefix, from / on, or regex",
            ),
        }
    }
    if let Some(method) = &entry.method {
        match &method.exact {
            Some(method) => {
                conditions.insert("method".to_owned(), method.as_str().into());
            }
            None => refuse(
                refusals,
                format!("{field}.method"),
                "an HTTPRoute matches methods by exact only",
            ),
        }
    }
    for (key, wanted) in [("headers", &entry.headers), ("queryParams", &entry.query_params)] {
        let values = values(wanted, &format!("{field}.{key}"), refusals);
        if !values.is_empty() {
            conditions.insert(key.to_owned(), values.into());
        }
    }
    conditions
}

fn path(uri: &StringMatch) -> Option<Value> {
    let absolute = |path: &&String| path.starts_with('/');
    if let Some(regex) = &uri.regex {
        return Some(json!({"type": "RegularExpression", "value": regex}));
    }
    if let Some(exact) = &uri.exact {
        return Some(exact)
            .filter(absolute)
            .map(|path| json!({"type": "Exact", "value": path}));
    }
    let prefix = uri.prefix.as_ref().filter(absolute)?;
    Some(json!({"type": "PathPrefix", "value": prefix}))
}

/// Matches of headers or query parameters, in the order of their names.
fn values(wanted: &BTreeMap<String, StringMatch>, field: &str, refusals: &mut Vec<Refusal>) -> Vec<Value> {
    let mut drawn = Vec::new();
    for (name, value) in wanted {
        match (&value.exact, &value.regex) {
            (Some(exact), _) => drawn.push(json!({"type": "Exact", "name": name, "value": exact})),
            (None, Some(regex)) => drawn.push(json!({"type": "RegularExpression", "name": name, "value": regex})),
            (None, None) => {
                refuse(
                    refusals,
                    format!("{field}.{name}"),
                    "an HTTPRoute matches by exact or regex, not by prefix",
                );
            }
        }
    }
    drawn
}

// === Filters ===

fn filters(service: &ServiceSpec, matches: &[Value], refusals: &mut Vec<Refusal>) -> Vec<Value> {
    let mut filters = Vec::new();
    let headers = service.headers.as_ref();
    let changes = [
        (
            "RequestHeaderModifier",
            "requestHeaderModifier",
            headers.and_then(|it| it.request.as_ref()),
        ),
        (
            "ResponseHeaderModifier",
            "responseHeaderModifier",
            headers.and_then(|it| it.response.as_ref()),
        ),
    ];
    for (type_, key, change) in changes {
        let change = change.map(header_change).unwrap_or_default();
        if !change.is_empty() {
            filters.push(json!({"type": type_, key: change}));
        }
    }
    let rewritten = service
        .rewrite
        .as_ref()
        .map(|rewrite| url_rewrite(rewrite, matches, refusals));
    if let Some(rewrite) = rewritten.filter(|it| !it.is_empty()) {
        filters.push(json!({"type": "URLRewrite", "urlRewrite": rewrite}));
    }
    for backend in service.mirror.iter().filter_map(|target| target.backend_ref.as_ref()) {
        let mut backend_ref = serde_json::to_value(backend).unwrap_or_default();
        for (key, default) in [("group", ""), ("kind", "Service")] {
            if backend_ref.get(key).is_none() {
                backend_ref[key] = default.into();
            }
        }
        filters.push(json!({"type": "RequestMirror", "requestMirror": {"backendRef": backend_ref}}));
    }
    if let Some(policy) = &service.cors_policy {
        filters.push(json!({"type": "CORS", "cors": cors(policy)}));
    }
    filters
}

fn header_change(change: &HeaderChange) -> Map<String, Value> {
    let pairs = |headers: &BTreeMap<String, String>| -> Value {
        headers
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect()
    };
    let all = [
        ("add", pairs(&change.add)),
        ("set", pairs(&change.set)),
        ("remove", change.remove.clone().into()),
    ];
    all.into_iter()
        .filter(|(_, value)| !is_empty(value))
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn url_rewrite(rewrite: &Rewrite, matches: &[Value], refusals: &mut Vec<Refusal>) -> Map<String, Value> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let mut drawn = Map::new();
    if let Some(host) = given(&rewrite.authority) {
        drawn.insert("hostname".to_owned(), host.into());
    }
    if let Some(uri) = given(&rewrite.uri) {
        let path = if rewrite.type_.as_deref() == Some("ReplacePrefixMatch") {
            let prefixes = matches.iter().filter(|it| it["path"]["type"] == "PathPrefix").count();
            // No match is drawn as the one prefix of all paths.
            if matches.len() > 1 || prefixes != matches.len() {
                let message = "ReplacePrefixMatch needs exactly one match, by uri prefix";
                refuse(refusals, "spec.service.rewrite.type", message);
            }
            json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": uri})
        } else {
            json!({"type": "ReplaceFullPath", "replaceFullPath": uri})
        };
        drawn.insert("path".to_owned(), path);
    }
    drawn
}

fn cors(policy: &CorsPolicy) -> Map<String, Value> {
    let lists = [
        ("allowOrigins", &policy.allow_origin),
        ("allowMethods", &policy.allow_methods),
        ("allowHeaders", &policy.allow_headers),
        ("exposeHeaders", &policy.expose_headers),
    ];
    let given = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let mut drawn: Map<String, Value> = given.map(|(key, list)| (key.to_owned(), list.clone().into())).collect();
    if policy.allow_credentials == Some(true) {
        drawn.insert("allowCredentials".to_owned(), true.into());
    }
    let max_age = policy
        .max_age
        .as_ref()
        .and_then(|text| text.parse().ok())
        .and_then(GoDuration::to_std);
    // The CRD takes no zero.
    let seconds = max_age.map_or(DEFAULT_MAX_AGE, |age| age.as_secs().max(1));
    drawn.insert("maxAge".to_owned(), seconds.into());
    drawn
}

// === Timeouts ===

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
