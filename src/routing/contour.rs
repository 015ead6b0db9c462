//! Contour: an `HTTPProxy` named after the apex Service (spec/routers.md 6.8).
//!
//! A generated one has no `virtualhost`: the user owns a root `HTTPProxy` that includes it. A root one of that name is
//! adopted and stays one. Weights are always written out; Flagger leaves a zero out.
//!
//! Answers get headers set, not added, so a cookie would take the application's own: callers cannot be kept on their side.

mod conditions;

use json_patch::Patch;
use serde_json::{Map, Value, json};

use super::{
    Capabilities, Confirms, ProviderId, RbacRule, RouteContext, RouteError, Router, RouterMeta, capability, experiment,
    route::{self, Backends, Drawing, Layout, Mirror, Route},
};
use crate::{
    api::{DurationText, GoDuration, Retries, RouteMatch, ServiceSpec},
    object::{as_map, list, text},
    rollout::{Confirmation, Destination, Refusal, RouteFacts, Traffic, Weight},
};

/// Contour's `HTTPProxy`.
#[derive(Debug)]
pub struct Contour;

const META: RouterMeta = RouterMeta {
    ids: &[ProviderId::Exactly("contour")],
    api_version: "projectcontour.io/v1",
    kind: "HTTPProxy",
    plural: "httpproxies",
    capabilities: Capabilities {
        weights: true,
        matching: true,
        mirror: true,
        session_affinity: false,
    },
    confirms: Confirms::Conditions,
    rbac: &[RbacRule {
        group: "projectcontour.io",
        resources: &["httpproxies"],
        verbs: &["get", "list", "watch", "create", "patch"],
    }],
};

/// Keys that are drawn below a route.
const KEYS: &[&str] = &[
    "prefix",
    "exact",
    "regex",
    "header",
    "queryParameter",
    "response",
    "idle",
    "count",
    "perTryTimeout",
    "retryOn",
    "set",
    "remove",
    "name",
    "value",
];

const LAYOUT: Layout = Layout {
    rules: "routes",
    matches: "conditions",
    backends: "services",
    spec_keys: &["ingressClassName"],
    rule_keys: &["conditions", "timeoutPolicy", "retryPolicy"],
    inner_keys: KEYS,
    backend_keys: KEYS,
    maps: &[],
    absent_weight: 0,
    name: "/name",
    port: "/port",
    service: |backend, namespace| route::named(backend, namespace).filter(|_| !is_copy(backend)),
    conditions: Some(conditions::CONDITIONS),
    mirror: Some(MIRROR),
    cookies: None,
};

/// A service that gets copies stands among those that share, marked, and with a percentage for a weight. No weight, and 0, stand for
/// all of them.
const MIRROR: Mirror = Mirror {
    draw: |rule, to, share| {
        let services = list(rule, "/services");
        if services.iter().any(is_copy) {
            return false;
        }
        let mut copy = to.clone();
        copy["mirror"] = true.into();
        if share < Weight::FULL {
            copy["weight"] = share.percent().into();
        }
        let with_copy: Vec<Value> = services.iter().cloned().chain([copy]).collect();
        as_map(rule).insert("services".to_owned(), with_copy.into());
        true
    },
    undraw: |rule, canary, _| {
        let is_ours = |service: &Value| is_copy(service) && service["name"] == canary["name"];
        if let Some(services) = rule.get_mut("services").and_then(Value::as_array_mut) {
            services.retain(|service| !is_ours(service));
        }
    },
    is_copy,
};

fn is_copy(service: &Value) -> bool {
    service.get("mirror") == Some(&Value::Bool(true))
}

/// What `retryOn` may say (the `HTTPProxy` CRD's enum).
const RETRY_ON: [&str; 14] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

impl Router for Contour {
    fn meta(&self) -> &'static RouterMeta {
        &META
    }

    fn check(&self, cx: &RouteContext<'_>) -> Vec<Refusal> {
        let mut refusals = capability::refusals(cx, META.capabilities);
        refusals.extend(drawing(cx).err().into_iter().flatten());
        refusals
    }

    fn warnings(&self, cx: &RouteContext<'_>) -> Vec<String> {
        let Some(service) = &cx.canary.spec.service else {
            return Vec::new();
        };
        let first = service.matches.first();
        let mut ignored = capability::ignored(
            cx,
            &[
                ("spec.service.headers", service.headers.is_some()),
                ("spec.service.hosts", !service.hosts.is_empty()),
                ("spec.service.rewrite", service.rewrite.is_some()),
                ("spec.service.corsPolicy", service.cors_policy.is_some()),
                ("spec.service.meshName", service.mesh_name.is_some()),
                ("spec.service.backends", !service.backends.is_empty()),
                ("spec.service.gateways", !service.gateways.is_empty()),
                ("spec.service.gatewayRefs", !service.gateway_refs.is_empty()),
                ("spec.service.backendTimeout", service.backend_timeout.is_some()),
                ("spec.service.mirror", !service.mirror.is_empty()),
                ("spec.service.trafficPolicy", service.traffic_policy.is_some()),
                ("spec.service.delegation", service.delegation),
                ("spec.service.match[0], all but uri", first.is_some_and(asks_beyond_uri)),
                ("spec.service.match, all but the first", service.matches.len() > 1),
            ],
        );
        if service
            .retries
            .as_ref()
            .is_some_and(|retries| retry_on(retries).is_empty())
        {
            ignored.push("spec.service.retries has no retryOn: Contour retries on 5xx".to_owned());
        }
        ignored.extend(capability::warnings(cx));
        ignored
    }

    fn facts(&self, cx: &RouteContext<'_>, live: &Value, intended: &Traffic) -> RouteFacts {
        route(cx).facts(live, intended, confirmation(live))
    }

    fn create(&self, cx: &RouteContext<'_>, traffic: &Traffic) -> Result<Value, RouteError> {
        route(cx).created(&META, traffic)
    }

    fn edit(&self, cx: &RouteContext<'_>, live: &Value, traffic: &Traffic) -> Result<Patch, RouteError> {
        route(cx).edit(live, traffic)
    }

    fn announce(&self, cx: &RouteContext<'_>, live: &Value, destination: Destination) -> Result<Patch, RouteError> {
        route(cx).announce(live, destination)
    }

    fn lead(&self, cx: &RouteContext<'_>, live: &Value, destination: Destination) -> Result<Patch, RouteError> {
        route(cx).lead(live, destination)
    }

    fn hand_back(&self, cx: &RouteContext<'_>, live: &Value, original: bool) -> Result<Patch, RouteError> {
        Ok(route(cx).hand_back(live, original))
    }
}

fn route<'a>(cx: &RouteContext<'a>) -> Route<'a> {
    let backend = |suffix: &str| {
        let name = format!("{}{suffix}", cx.subject.apex);
        let mut backend = json!({"name": name});
        if let Some(port) = cx.canary.spec.service_port() {
            // Linkerd routes by this header when Contour's proxies are part of its mesh.
            let authority = format!("{name}.{}.svc.cluster.local:{port}", cx.namespace());
            backend["port"] = port.into();
            backend["requestHeadersPolicy"] = json!({"set": [{"name": "l5d-dst-override", "value": authority}]});
        }
        backend
    };
    let backends = Backends {
        apex: backend(""),
        primary: backend("-primary"),
        canary: backend("-canary"),
        port: cx.canary.spec.service_port().into(),
    };
    Route::new(cx, &LAYOUT, backends, drawing(cx))
}

fn drawing(cx: &RouteContext<'_>) -> Result<Drawing, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut drawing = Drawing::default();
    if let Some(class) = &cx.settings.ingress_class {
        drawing
            .spec
            .insert("ingressClassName".to_owned(), class.as_str().into());
    }
    drawing
        .defaults
        .insert("conditions".to_owned(), json!([{"prefix": "/"}]));
    if let Some(service) = &cx.canary.spec.service {
        draw_service(service, &mut drawing.rule, &mut refusals);
    }
    let tests = experiment::read(cx.canary.spec.analysis.as_ref(), &mut refusals);
    drawing.tests = tests.iter().map(|it| conditions::of(it, &mut refusals)).collect();
    if refusals.is_empty() {
        Ok(drawing)
    } else {
        Err(refusals)
    }
}

fn draw_service(service: &ServiceSpec, rule: &mut Map<String, Value>, refusals: &mut Vec<Refusal>) {
    let uri = service.matches.first().and_then(|entry| entry.uri.as_ref());
    if let Some(path) = uri.and_then(|uri| conditions::path(uri, refusals)) {
        rule.insert("conditions".to_owned(), json!([path]));
    }
    if let Some(timeout) = given(service.timeout.as_ref()) {
        check_duration("spec.service.timeout", timeout, refusals);
        rule.insert(
            "timeoutPolicy".to_owned(),
            json!({"response": timeout.as_str(), "idle": "5m"}),
        );
    }
    if let Some(retries) = &service.retries {
        let mut policy = json!({});
        if let Some(attempts) = retries.attempts {
            policy["count"] = attempts.into();
        }
        if let Some(timeout) = given(retries.per_try_timeout.as_ref()) {
            check_duration("spec.service.retries.perTryTimeout", timeout, refusals);
            policy["perTryTimeout"] = timeout.as_str().into();
        }
        let retry_on = retry_on(retries);
        for unknown in retry_on.iter().filter(|it| !RETRY_ON.contains(it)) {
            refusals.push(Refusal {
                field: "spec.service.retries.retryOn".to_owned(),
                message: format!("Contour does not know {unknown}; it knows {}", RETRY_ON.join(", ")),
            });
        }
        if !retry_on.is_empty() {
            policy["retryOn"] = retry_on.into();
        }
        rule.insert("retryPolicy".to_owned(), policy);
    }
}

/// The conditions of `retryOn`. Flagger sends an empty one where there is none, which the CRD rejects.
fn retry_on(retries: &Retries) -> Vec<&str> {
    let text = retries.retry_on.as_deref().unwrap_or_default();
    text.split(',').map(str::trim).filter(|it| !it.is_empty()).collect()
}

fn asks_beyond_uri(entry: &RouteMatch) -> bool {
    let rest = RouteMatch {
        name: None,
        uri: None,
        ..entry.clone()
    };
    rest != RouteMatch::default()
}

fn given(duration: Option<&DurationText>) -> Option<&DurationText> {
    duration.filter(|text| !text.is_empty())
}

fn check_duration(field: &str, text: &DurationText, refusals: &mut Vec<Refusal>) {
    let endless = ["infinity", "infinite"].contains(&text.as_str());
    if !endless && text.parse().ok().and_then(GoDuration::to_std).is_none() {
        refusals.push(Refusal {
            field: field.to_owned(),
            message: format!("{text} is no duration such as 15s, nor infinity"),
        });
    }
}

/// What Contour says about the present generation. An orphan, which no root proxy includes, takes no traffic.
fn confirmation(live: &Value) -> Confirmation {
    let conditions = list(live, "/status/conditions");
    let valid = conditions.iter().find(|condition| text(condition, "/type") == "Valid");
    let generation = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_i64);
    let observed = valid.and_then(|valid| generation(valid, "/observedGeneration"));
    if observed < generation(live, "/metadata/generation") {
        return Confirmation::Pending;
    }
    match text(live, "/status/currentStatus") {
        "valid" => Confirmation::Confirmed,
        "invalid" | "orphaned" => {
            let errors = valid.map_or(&[][..], |valid| list(valid, "/errors"));
            let words: Vec<&str> = errors.iter().map(|error| text(error, "/message")).collect();
            let words = if words.is_empty() {
                text(live, "/status/description").to_owned()
            } else {
                words.join("; ")
            };
            Confirmation::Rejected(words)
        }
        _ => Confirmation::Pending,
    }
}
