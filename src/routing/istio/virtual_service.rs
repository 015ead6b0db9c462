//! The one rule of a `VirtualService`, from `spec.service`: for HTTP with all that Istio has a word for, for TCP with weights.

use serde_json::{Map, Value, json};

use super::{check_duration, refuse, request_match};
use crate::{
    api::{DurationText, RouteMatch, ServiceSpec},
    object::{as_map, is_empty, text},
    rollout::{Refusal, Weight},
    routing::{
        RouteContext, capability,
        route::{Layout, Mirror},
    },
};

/// What the Services speak, as far as Istio routes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Requests: rules in `spec.http`.
    Http,
    /// Connections: rules in `spec.tcp`.
    Tcp,
}

impl Protocol {
    /// `appProtocol: tcp`, in any case of letters, asks for TCP.
    pub(super) fn of(service: &ServiceSpec) -> Self {
        let asked = service.app_protocol.as_deref();
        if asked.is_some_and(|protocol| protocol.eq_ignore_ascii_case("tcp")) {
            Self::Tcp
        } else {
            Self::Http
        }
    }

    pub(super) const fn layout(self) -> &'static Layout {
        match self {
            Self::Http => &HTTP,
            Self::Tcp => &TCP,
        }
    }
}

const HTTP: Layout = Layout {
    rules: "http",
    matches: "match",
    backends: "route",
    spec_keys: &["hosts", "gateways", "tcp"],
    rule_keys: &[
        "match",
        "rewrite",
        "timeout",
        "retries",
        "corsPolicy",
        "headers",
        "mirror",
        "mirrorPercentage",
    ],
    inner_keys: &[
        "name",
        "uri",
        "scheme",
        "method",
        "authority",
        "headers",
        "port",
        "sourceLabels",
        "gateways",
        "queryParams",
        "ignoreUriCase",
        "withoutHeaders",
        "sourceNamespace",
        "exact",
        "prefix",
        "regex",
        "attempts",
        "perTryTimeout",
        "retryOn",
        "request",
        "response",
        "set",
        "add",
        "remove",
        "allowOrigin",
        "allowOrigins",
        "allowMethods",
        "allowHeaders",
        "exposeHeaders",
        "allowCredentials",
        "maxAge",
    ],
    // Subsets belong to the host that they were taken from.
    backend_keys: &["port", "subset"],
    maps: &["headers", "withoutHeaders", "queryParams", "sourceLabels", "set", "add"],
    absent_weight: 0,
    name: "/destination/host",
    port: "/destination/port",
    service,
    conditions: Some(request_match::CONDITIONS),
    mirror: Some(MIRROR),
    cookies: Some(request_match::COOKIES),
};

const TCP: Layout = Layout {
    rules: "tcp",
    spec_keys: &["hosts", "gateways", "http"],
    rule_keys: &["match"],
    inner_keys: &["port", "gateways", "sourceLabels", "sourceNamespace"],
    conditions: None,
    mirror: None,
    cookies: None,
    ..HTTP
};

/// Copies go to one destination; without a percentage, all of them do. Its port is the Service's own.
const MIRROR: Mirror = Mirror {
    draw: |rule, to, share| {
        let members = as_map(rule);
        if ["mirror", "mirrors"]
            .iter()
            .any(|key| members.get(*key).is_some_and(|it| !is_empty(it)))
        {
            return false;
        }
        members.insert("mirror".to_owned(), json!({"host": to["destination"]["host"]}));
        // An older word for the same would contradict it.
        members.remove("mirrorPercent");
        if share < Weight::FULL {
            members.insert("mirrorPercentage".to_owned(), json!({"value": share.percent()}));
        }
        true
    },
    undraw: |rule, canary, namespace| {
        let mirrored = json!({"destination": rule.get("mirror")});
        if service(&mirrored, namespace).is_some() && service(&mirrored, namespace) == service(canary, namespace) {
            let members = as_map(rule);
            members.remove("mirror");
            members.remove("mirrorPercentage");
        }
    },
    is_copy: |_| false,
};

/// The Service of this namespace that a destination leads to. A host is a Service's name alone or in full; anything
/// between, such as `<name>.<namespace>`, Istio takes for a host of the outside.
fn service<'v>(backend: &'v Value, namespace: &str) -> Option<&'v str> {
    let host = text(backend, "/destination/host");
    let Some((name, rest)) = host.split_once('.') else {
        return Some(host).filter(|host| !host.is_empty());
    };
    let domain = rest.strip_prefix(namespace)?.strip_prefix(".svc.")?;
    Some(name).filter(|_| !domain.is_empty())
}

/// The keys of the rule that the spec asks for. What cannot be drawn is refused.
pub(super) fn rule(service: &ServiceSpec, refusals: &mut Vec<Refusal>) -> Map<String, Value> {
    let drawn = match Protocol::of(service) {
        Protocol::Http => vec![
            ("match", service.matches.iter().map(json).collect()),
            ("rewrite", rewrite(service)),
            ("timeout", timeout(service, refusals)),
            ("retries", retries(service, refusals)),
            ("corsPolicy", cors(service, refusals)),
            ("headers", service.headers.as_ref().map(json).unwrap_or_default()),
        ],
        Protocol::Tcp => vec![("match", connections(&service.matches, refusals))],
    };
    let said = drawn.into_iter().filter(|(_, value)| !is_empty(value));
    said.map(|(key, value)| (key.to_owned(), value)).collect()
}

fn json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn rewrite(service: &ServiceSpec) -> Value {
    let Some(rewrite) = &service.rewrite else {
        return Value::Null;
    };
    let parts = [("uri", &rewrite.uri), ("authority", &rewrite.authority)];
    let given = parts
        .into_iter()
        .filter_map(|(key, text)| Some((key, text.as_deref().filter(|text| !text.is_empty())?)));
    given.map(|(key, text)| (key.to_owned(), Value::from(text))).collect()
}

fn timeout(service: &ServiceSpec, refusals: &mut Vec<Refusal>) -> Value {
    let given = given(service.timeout.as_ref());
    given.map_or(Value::Null, |text| {
        check_duration("spec.service.timeout", text.as_str(), refusals);
        text.as_str().into()
    })
}

/// Attempts are always said, also none: left out they would be two.
fn retries(service: &ServiceSpec, refusals: &mut Vec<Refusal>) -> Value {
    let Some(retries) = &service.retries else {
        return Value::Null;
    };
    let mut drawn = json!({"attempts": retries.attempts.unwrap_or_default()});
    if let Some(text) = given(retries.per_try_timeout.as_ref()) {
        check_duration("spec.service.retries.perTryTimeout", text.as_str(), refusals);
        drawn["perTryTimeout"] = text.as_str().into();
    }
    if let Some(retry_on) = retries.retry_on.as_deref().filter(|text| !text.is_empty()) {
        drawn["retryOn"] = retry_on.into();
    }
    drawn
}

fn cors(service: &ServiceSpec, refusals: &mut Vec<Refusal>) -> Value {
    let Some(policy) = &service.cors_policy else {
        return Value::Null;
    };
    let mut drawn = json(policy);
    match given(policy.max_age.as_ref()) {
        Some(text) => check_duration("spec.service.corsPolicy.maxAge", text.as_str(), refusals),
        None => drop(drawn.as_object_mut().and_then(|members| members.remove("maxAge"))),
    }
    drawn
}

fn given(duration: Option<&DurationText>) -> Option<&DurationText> {
    duration.filter(|text| !text.is_empty())
}

/// What tells connections apart. A condition on requests would be dropped, and the rule be for every connection.
fn connections(entries: &[RouteMatch], refusals: &mut Vec<Refusal>) -> Value {
    let mut drawn = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let mut said = match json(&of_connections(entry)) {
            Value::Object(said) => said,
            _ => Map::new(),
        };
        said.retain(|_, value| !is_empty(value));
        if said.is_empty() && asks_about_requests(entry) {
            let message = "none of its conditions can be said about a connection: it would match every one";
            refuse(refusals, format!("spec.service.match[{index}]"), message);
        }
        drawn.push(said.into());
    }
    Value::Array(drawn)
}

/// The part of a match that holds for connections.
fn of_connections(entry: &RouteMatch) -> RouteMatch {
    RouteMatch {
        port: entry.port,
        gateways: entry.gateways.clone(),
        source_labels: entry.source_labels.clone(),
        source_namespace: entry.source_namespace.clone(),
        ..RouteMatch::default()
    }
}

fn asks_about_requests(entry: &RouteMatch) -> bool {
    let unnamed = RouteMatch {
        name: None,
        ..entry.clone()
    };
    unnamed != of_connections(entry)
}

/// What a rule for connections leaves out, for people.
pub(super) fn ignored_for_tcp(cx: &RouteContext<'_>, service: &ServiceSpec) -> Vec<String> {
    let metrics = cx.canary.spec.analysis.iter().flat_map(|analysis| &analysis.metrics);
    let counted = metrics.filter(|metric| ["request-success-rate", "request-duration"].contains(&metric.name.as_str()));
    let fields = [
        (
            "match, all but port, gateways and the source",
            service.matches.iter().any(asks_about_requests),
        ),
        ("rewrite", service.rewrite.is_some()),
        ("timeout", service.timeout.is_some()),
        ("retries", service.retries.is_some()),
        ("corsPolicy", service.cors_policy.is_some()),
        ("headers", service.headers.is_some()),
    ];
    let fields = fields.map(|(field, set)| (format!("spec.service.{field}, with appProtocol tcp,"), set));
    let named: Vec<(&str, bool)> = fields.iter().map(|(field, set)| (field.as_str(), *set)).collect();
    let mut told = capability::ignored(cx, &named);
    told.extend(counted.map(|metric| {
        let name = &metric.name;
        format!("metric {name} counts requests: with appProtocol tcp it has no values, and every check fails")
    }));
    told
}
