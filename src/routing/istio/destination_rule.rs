//! A `DestinationRule` for each side: how proxies connect to its Service, as `spec.service.trafficPolicy` says.

use json_patch::Patch;
use serde_json::{Value, json};

use super::{API_VERSION, check_duration};
use crate::{
    api::TrafficPolicy,
    object::{child, is_empty, ownership, patch},
    rollout::{Refusal, Side},
    routing::{DestinationMeta, Destinations, RouteContext, RouteError, service::side_name},
};

/// Istio's `DestinationRule`.
#[derive(Debug)]
pub(super) struct DestinationRules;

const META: DestinationMeta = DestinationMeta {
    api_version: API_VERSION,
    kind: "DestinationRule",
    plural: "destinationrules",
};

/// The part of `spec` that is drawn from the Canary's; subsets, exports and the like that somebody adds survive.
const POLICY: &str = "trafficPolicy";

impl Destinations for DestinationRules {
    fn meta(&self) -> &'static DestinationMeta {
        &META
    }

    fn create(&self, cx: &RouteContext<'_>, side: Side) -> Result<Value, RouteError> {
        let skeleton = json!({
            "apiVersion": META.api_version,
            "kind": META.kind,
            "metadata": {
                "name": side_name(cx.subject, side),
                "namespace": cx.namespace(),
                "ownerReferences": [ownership::reference(cx.owner)],
            },
            "spec": {},
        });
        next(cx, side, &skeleton).map_err(RouteError::of_any)
    }

    /// Where the Canary asks for what cannot be drawn, the object stays as it is.
    fn edit(&self, cx: &RouteContext<'_>, side: Side, live: &Value) -> Patch {
        next(cx, side, live).map_or_else(|_| Patch::default(), |next| patch::at_version(live, &next))
    }
}

/// The object as it shall be. One that somebody else made keeps its own policy where the Canary has none.
fn next(cx: &RouteContext<'_>, side: Side, live: &Value) -> Result<Value, Vec<Refusal>> {
    let policy = drawn(cx)?;
    let ours = ownership::is_ours(live, cx.owner);
    let mut next = ownership::claimed(live, cx.owner);
    let spec = child(&mut next, "spec");
    let service = side_name(cx.subject, side);
    if !leads_to(spec.get("host"), &service, cx.namespace()) {
        spec.insert("host".to_owned(), service.into());
    }
    match policy {
        Some(policy) => drop(spec.insert(POLICY.to_owned(), policy)),
        None if ours && spec.get(POLICY).is_some_and(|value| !is_empty(value)) => drop(spec.remove(POLICY)),
        None => {}
    }
    Ok(next)
}

/// Whether a host is that Service, by its name alone or in full.
fn leads_to(host: Option<&Value>, service: &str, namespace: &str) -> bool {
    let Some(host) = host.and_then(Value::as_str) else {
        return false;
    };
    host == service
        || host
            .strip_prefix(service)
            .is_some_and(|rest| rest.starts_with(&format!(".{namespace}.svc.")))
}

/// The policy that the Canary gives, word for word; `None` where it gives none.
pub(super) fn drawn(cx: &RouteContext<'_>) -> Result<Option<Value>, Vec<Refusal>> {
    let service = cx.canary.spec.service.as_ref();
    let Some(policy) = service.and_then(|service| service.traffic_policy.as_ref()) else {
        return Ok(None);
    };
    let mut refusals = Vec::new();
    for (field, text) in durations(policy) {
        if let Some(text) = text {
            check_duration(&format!("spec.service.trafficPolicy.{field}"), text, &mut refusals);
        }
    }
    if refusals.is_empty() {
        Ok(serde_json::to_value(policy).ok().filter(|policy| !is_empty(policy)))
    } else {
        Err(refusals)
    }
}

fn durations(policy: &TrafficPolicy) -> [(&'static str, Option<&str>); 4] {
    let pool = policy.connection_pool.as_ref().and_then(|pool| pool.http.as_ref());
    let (balancer, outliers) = (policy.load_balancer.as_ref(), policy.outlier_detection.as_ref());
    [
        (
            "connectionPool.http.idleTimeout",
            pool.and_then(|pool| pool.idle_timeout.as_deref()),
        ),
        (
            "loadBalancer.warmupDurationSecs",
            balancer.and_then(|it| it.warmup_duration_secs.as_deref()),
        ),
        (
            "outlierDetection.baseEjectionTime",
            outliers.and_then(|it| it.base_ejection_time.as_deref()),
        ),
        (
            "outlierDetection.interval",
            outliers.and_then(|it| it.interval.as_deref()),
        ),
    ]
}
