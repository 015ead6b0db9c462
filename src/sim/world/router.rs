//! The data plane's word on routes: what Contour and a Gateway write into the status of the objects they take over.

use chrono::{DateTime, Utc};
use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{
    route_shape::{RouteShape, is_cookie, route_shape},
    script::RouterSays,
    traffic::{Backend, Flow},
    write::{Kind, Place, What, Write},
};

const CONTROLLER: &str = "serin.dev/embedded-gateway";

/// The write that makes a route's status speak of its present generation, if it does not yet.
///
/// `missing` names a Service that the route leads to and that does not exist.
pub(super) fn plan(
    kind: Kind,
    route: &DynamicObject,
    says: &RouterSays,
    missing: Option<&str>,
    now: DateTime<Utc>,
) -> Option<Write> {
    if route.metadata.deletion_timestamp.is_some() || *says == RouterSays::Silent {
        return None;
    }
    let status = match kind {
        Kind::HttpProxy => proxy(route, says, missing, now),
        Kind::HttpRoute => gateway(route, says, missing, now),
        // Istio says nothing about a VirtualService.
        _ => return None,
    };
    if without_times(&status) == without_times(&route.data["status"]) {
        return None;
    }
    let mut body = serde_json::to_value(route).ok()?;
    body["status"] = status;
    let meta = &route.metadata;
    let on = Place::new(
        kind,
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    );
    Some(Write {
        on,
        what: What::Status(body),
    })
}

fn proxy(route: &DynamicObject, says: &RouterSays, missing: Option<&str>, now: DateTime<Utc>) -> Value {
    let trouble = match (says, missing) {
        (RouterSays::Rejects(words), _) => Some(words.clone()),
        (_, Some(service)) => Some(format!("Service \"{service}\" not found")),
        _ => None,
    };
    let (current, description) = match &trouble {
        None => ("valid", "Valid HTTPProxy".to_owned()),
        Some(_) => (
            "invalid",
            "At least one error present, see Errors for details".to_owned(),
        ),
    };
    let mut condition = condition(
        "Valid",
        trouble.is_none(),
        if trouble.is_none() { "Valid" } else { "ErrorPresent" },
        route,
        now,
    );
    condition["message"] = description.clone().into();
    if let Some(words) = trouble {
        condition["errors"] = json!([{ "type": "ServiceError", "status": "True", "reason": "ServiceUnresolvedReference", "message": words }]);
    }
    json!({ "currentStatus": current, "description": description, "conditions": [condition] })
}

fn gateway(route: &DynamicObject, says: &RouterSays, missing: Option<&str>, now: DateTime<Utc>) -> Value {
    let (accepted, reason, words) = match says {
        RouterSays::Rejects(words) => (false, "UnsupportedValue", words.as_str()),
        _ => (true, "Accepted", "Route is accepted"),
    };
    let mut accepted = condition("Accepted", accepted, reason, route, now);
    accepted["message"] = words.into();
    let mut resolved = condition(
        "ResolvedRefs",
        missing.is_none(),
        if missing.is_none() {
            "ResolvedRefs"
        } else {
            "BackendNotFound"
        },
        route,
        now,
    );
    if let Some(service) = missing {
        resolved["message"] = format!("service {service} not found").into();
    }
    let parents = route.data["spec"]["parentRefs"].as_array().cloned().unwrap_or_default();
    let parent = |parent: Value| json!({ "parentRef": parent, "controllerName": CONTROLLER, "conditions": [accepted, resolved] });
    json!({ "parents": parents.into_iter().map(parent).collect::<Vec<_>>() })
}

fn condition(type_: &str, holds: bool, reason: &str, route: &DynamicObject, now: DateTime<Utc>) -> Value {
    let at = Timestamp::new(now.timestamp(), 0).unwrap_or(Timestamp::UNIX_EPOCH);
    json!({
        "type": type_,
        "status": if holds { "True" } else { "False" },
        "reason": reason,
        "message": "",
        "observedGeneration": route.metadata.generation.unwrap_or(0),
        "lastTransitionTime": at.to_string(),
    })
}

/// Where the rules of a route lead: nobody has a cookie, that part of the clients has whatever other header a rule asks for, and the last
/// rule is for all others.
pub(super) fn flows(kind: Kind, route: &DynamicObject, matching: f64) -> Vec<Flow> {
    let Some(shape) = route_shape(&kind.resource().kind) else {
        return Vec::new();
    };
    let rules = shape.rules_of(&route.data);
    let rules: Vec<_> = rules.filter(|rule| !shape.backends_of(rule).is_empty()).collect();
    let mut rest = 1.0;
    let mut found = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let headers = shape.headers_of(rule);
        let part = if index + 1 == rules.len() || headers.is_empty() {
            // A rule without a header takes everything that no rule before it has taken, as far as paths do not tell them apart.
            rest
        } else if headers.iter().any(|name| is_cookie(name)) {
            0.0
        } else {
            rest * matching
        };
        rest -= part;
        let copies = shape.copies_of(rule).map(|(service, weight)| Backend {
            service,
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
        });
        found.push(Flow {
            part,
            backends: backends(shape, rule),
            copies,
        });
    }
    found
}

/// Where one rule leads.
fn backends(shape: &RouteShape, rule: &Value) -> Vec<Backend> {
    let mut found: Vec<Backend> = shape
        .sharing(rule)
        .map(|backend| Backend {
            service: shape.service_of(backend).to_owned(),
            weight: u32::try_from(shape.weight_of(backend)).unwrap_or(u32::MAX),
        })
        .filter(|backend| !backend.service.is_empty())
        .collect();
    if shape.zeros_share && found.iter().all(|backend| backend.weight == 0) {
        for backend in &mut found {
            backend.weight = 1;
        }
    }
    found
}

/// A status without the times in it: they move without meaning anything.
fn without_times(status: &Value) -> Value {
    match status {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| *key != "lastTransitionTime");
            Value::Object(kept.map(|(key, value)| (key.clone(), without_times(value))).collect())
        }
        Value::Array(items) => items.iter().map(without_times).collect(),
        other => other.clone(),
    }
}
