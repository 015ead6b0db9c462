//! Gateway API v1: an `HTTPRoute` named after the apex Service (spec/routers.md 6.3).
//!
//! Everything that the API server would default is drawn, so that what is stored equals what is drawn; Flagger draws less
//! and finds a difference at every look.

use json_patch::Patch;
use serde_json::{Value, json};

use super::{
    Capabilities, Confirms, ProviderId, RbacRule, RouteContext, RouteError, Router, RouterMeta, capability, experiment,
    httproute,
    route::{Backends, Drawing, Layout, Route},
};
use crate::{
    object::{as_map, list, text},
    rollout::{Confirmation, Destination, Refusal, RouteFacts, Traffic},
};

/// Gateway API's `HTTPRoute`.
#[derive(Debug)]
pub struct GatewayApi;

const GROUP: &str = "gateway.networking.k8s.io";

const META: RouterMeta = RouterMeta {
    // `gatewayapi:v1beta1` is a provider of its own.
    ids: &[
        ProviderId::Exactly("gatewayapi:v1"),
        ProviderId::StartsWith("gatewayapi:v1:"),
        ProviderId::StartsWith("gatewayapi:v1alpha"),
    ],
    api_version: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    plural: "httproutes",
    capabilities: Capabilities {
        weights: true,
        matching: true,
        mirror: true,
        session_affinity: true,
    },
    confirms: Confirms::Conditions,
    rbac: &[RbacRule {
        group: GROUP,
        resources: &["httproutes"],
        verbs: &["get", "list", "watch", "create", "patch"],
    }],
};

const LAYOUT: Layout = Layout {
    rules: "rules",
    matches: "matches",
    backends: "backendRefs",
    spec_keys: &["parentRefs", "hostnames"],
    rule_keys: &["matches", "filters", "timeouts"],
    inner_keys: httproute::KEYS,
    backend_keys: httproute::KEYS,
    maps: &[],
    absent_weight: 1,
    name: "/name",
    port: "/port",
    service: httproute::service,
    conditions: Some(httproute::matches::CONDITIONS),
    mirror: Some(httproute::filters::MIRROR),
    cookies: Some(httproute::filters::COOKIES),
};

impl Router for GatewayApi {
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
        let tcp = service
            .app_protocol
            .as_deref()
            .is_some_and(|it| it.eq_ignore_ascii_case("tcp"));
        let cors = service.cors_policy.as_ref();
        let mut ignored = capability::ignored(
            cx,
            &[
                ("spec.service.meshName", service.mesh_name.is_some()),
                ("spec.service.backends", !service.backends.is_empty()),
                ("spec.service.gateways", !service.gateways.is_empty()),
                ("spec.service.retries", service.retries.is_some()),
                ("spec.service.trafficPolicy", service.traffic_policy.is_some()),
                ("spec.service.delegation", service.delegation),
                (
                    "spec.service.corsPolicy.allowOrigins",
                    cors.is_some_and(|it| !it.allow_origins.is_empty()),
                ),
                ("spec.service.appProtocol tcp", tcp),
            ],
        );
        ignored.extend(capability::warnings(cx));
        let analysis = cx.canary.spec.analysis.as_ref().filter(|analysis| analysis.mirror);
        if analysis.is_some_and(|analysis| {
            analysis
                .mirror_weight
                .is_some_and(|percent| (1..100).contains(&percent))
        }) {
            // The field is of extended support, and no condition says that a gateway leaves it out (Gateway API, `HTTPRequestMirrorFilter`).
            ignored.push(
                "spec.analysis.mirrorWeight is written as the filter's percent, which some gateways leave out and copy every request (Contour 1.33 \
                 does)"
                    .to_owned(),
            );
        }
        for (index, entry) in service.matches.iter().enumerate() {
            let conditions = httproute::ignored_conditions(entry);
            let named = conditions.map(|(field, set)| (format!("spec.service.match[{index}].{field}"), set));
            let named: Vec<(&str, bool)> = named.iter().map(|(field, set)| (field.as_str(), *set)).collect();
            ignored.extend(capability::ignored(cx, &named));
        }
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
        let mut backend = json!({"group": "", "kind": "Service", "name": name});
        if let Some(port) = cx.canary.spec.service_port() {
            backend["port"] = port.into();
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
    drawing
        .defaults
        .insert("matches".to_owned(), json!([httproute::every_request()]));
    let refs = cx
        .canary
        .spec
        .service
        .as_ref()
        .map_or(&[][..], |service| &service.gateway_refs);
    if refs.is_empty() {
        refusals.push(Refusal {
            field: "spec.service.gatewayRefs".to_owned(),
            message: "GatewayRefs must be specified when using Gateway API as a provider.".to_owned(),
        });
    }
    let parents = refs
        .iter()
        .map(|it| parent_ref(serde_json::to_value(it).unwrap_or_default()));
    drawing.spec.insert("parentRefs".to_owned(), parents.collect());
    if let Some(service) = &cx.canary.spec.service {
        if !service.hosts.is_empty() {
            drawing
                .spec
                .insert("hostnames".to_owned(), service.hosts.clone().into());
        }
        if service.hosts.iter().any(|host| host == "*") {
            refusals.push(Refusal {
                field: "spec.service.hosts".to_owned(),
                message: "an HTTPRoute for every host has no hostnames: remove *".to_owned(),
            });
        }
        drawing.rule = httproute::rule(service, &mut refusals);
    }
    let tests = experiment::read(cx.canary.spec.analysis.as_ref(), &mut refusals);
    let drawn = tests
        .iter()
        .map(|it| httproute::matches::of_experiment(it, &mut refusals));
    drawing.tests = drawn.collect();
    httproute::check_bounds(cx.canary, &drawing.rule, drawing.tests.len(), &mut refusals);
    if refusals.is_empty() {
        Ok(drawing)
    } else {
        Err(refusals)
    }
}

/// A reference to a parent, with what the API server defaults.
fn parent_ref(mut reference: Value) -> Value {
    let members = as_map(&mut reference);
    for (key, default) in [("group", GROUP), ("kind", "Gateway")] {
        if members.get(key).is_none_or(Value::is_null) {
            members.insert(key.to_owned(), default.into());
        }
    }
    reference
}

/// What the parents say about the present generation. All of them must have accepted it; what a controller says about a
/// parent that the route no longer names does not matter.
fn confirmation(live: &Value) -> Confirmation {
    let namespace = text(live, "/metadata/namespace");
    let identity = |reference: &Value| {
        let mut reference = parent_ref(reference.clone());
        if reference.get("namespace").is_none_or(Value::is_null) {
            reference["namespace"] = namespace.into();
        }
        let keys = ["group", "kind", "namespace", "name", "sectionName", "port"];
        keys.map(|key| reference.get(key).cloned().unwrap_or_default())
    };
    let statuses = list(live, "/status/parents");
    let mut verdict = Confirmation::Confirmed;
    for parent in list(live, "/spec/parentRefs") {
        let parent = identity(parent);
        let about = statuses
            .iter()
            .filter(|status| identity(&status["parentRef"]) == parent);
        // Several controllers may speak about one parent: the one that serves it decides.
        let said = about.map(|status| said_by(status, live)).min_by_key(|said| match said {
            Confirmation::Confirmed => 0,
            Confirmation::Rejected(_) => 1,
            Confirmation::Pending | Confirmation::Silent => 2,
        });
        match said.unwrap_or(Confirmation::Pending) {
            Confirmation::Confirmed => {}
            Confirmation::Rejected(words) => return Confirmation::Rejected(words),
            waiting => verdict = waiting,
        }
    }
    verdict
}

/// What one controller says about one parent. One that does not tell which generation it saw is believed.
fn said_by(status: &Value, live: &Value) -> Confirmation {
    let generation = live.pointer("/metadata/generation").and_then(Value::as_i64);
    let mut verdict = Confirmation::Confirmed;
    for (type_, required) in [("Accepted", true), ("ResolvedRefs", true), ("Programmed", false)] {
        let conditions = list(status, "/conditions");
        let Some(condition) = conditions.iter().find(|it| text(it, "/type") == type_) else {
            if required {
                verdict = Confirmation::Pending;
            }
            continue;
        };
        let observed = condition.get("observedGeneration").and_then(Value::as_i64);
        match text(condition, "/status") {
            _ if observed.is_some() && observed < generation => verdict = Confirmation::Pending,
            "True" => {}
            "False" => {
                let (reason, message) = (text(condition, "/reason"), text(condition, "/message"));
                return Confirmation::Rejected(format!("{type_} is False, {reason}: {message}"));
            }
            _ => verdict = Confirmation::Pending,
        }
    }
    verdict
}
