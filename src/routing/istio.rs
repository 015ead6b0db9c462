//! Istio: a `VirtualService` named after the apex Service, and a `DestinationRule` for each side (spec/routers.md 6.2).
//!
//! Nothing in Istio tells when its proxies have taken a `VirtualService`, so the settle time stands in for it. The version
//! is `v1beta1`, which every Istio in use serves; what is stored is the same in all versions.

mod destination_rule;
mod request_match;
mod virtual_service;

use json_patch::Patch;
use serde_json::{Value, json};

use self::{destination_rule::DestinationRules, virtual_service::Protocol};
use super::{
    Capabilities, Confirms, Destinations, ProviderId, RbacRule, RouteContext, RouteError, Router, RouterMeta,
    capability, experiment,
    route::{Backends, Drawing, Route},
};
use crate::{
    api::{DurationText, GoDuration, ServiceSpec},
    rollout::{Confirmation, Destination, Refusal, RouteFacts, Traffic},
};

/// Istio's `VirtualService`.
#[derive(Debug)]
pub struct Istio;

/// The group and version of both kinds.
const API_VERSION: &str = "networking.istio.io/v1beta1";
/// The gateway that stands for the sidecars.
const MESH: &str = "mesh";
/// The shortest duration that the schema takes.
const SHORTEST: std::time::Duration = std::time::Duration::from_millis(1);

const META: RouterMeta = RouterMeta {
    ids: &[ProviderId::Exactly("istio")],
    api_version: API_VERSION,
    kind: "VirtualService",
    plural: "virtualservices",
    capabilities: Capabilities {
        weights: true,
        matching: true,
        mirror: true,
        session_affinity: true,
    },
    confirms: Confirms::Nothing,
    rbac: &[RbacRule {
        group: "networking.istio.io",
        resources: &["virtualservices", "destinationrules"],
        verbs: &["get", "list", "watch", "create", "patch"],
    }],
};

impl Router for Istio {
    fn meta(&self) -> &'static RouterMeta {
        &META
    }

    fn destinations(&self) -> Option<&'static dyn Destinations> {
        Some(&DestinationRules)
    }

    fn check(&self, cx: &RouteContext<'_>) -> Vec<Refusal> {
        let mut refusals = capability::refusals(cx, abilities(cx));
        refusals.extend(drawing(cx).err().into_iter().flatten());
        refusals.extend(destination_rule::drawn(cx).err().into_iter().flatten());
        refusals
    }

    fn warnings(&self, cx: &RouteContext<'_>) -> Vec<String> {
        let Some(service) = &cx.canary.spec.service else {
            return Vec::new();
        };
        let rewrite = service.rewrite.as_ref();
        let mut ignored = capability::ignored(
            cx,
            &[
                ("spec.service.gatewayRefs", !service.gateway_refs.is_empty()),
                ("spec.service.backendTimeout", service.backend_timeout.is_some()),
                ("spec.service.mirror", !service.mirror.is_empty()),
                ("spec.service.meshName", service.mesh_name.is_some()),
                ("spec.service.backends", !service.backends.is_empty()),
                (
                    "spec.service.rewrite.type",
                    rewrite.is_some_and(|rewrite| rewrite.type_.is_some()),
                ),
            ],
        );
        ignored.extend(capability::warnings(cx));
        if Protocol::of(service) == Protocol::Tcp {
            ignored.extend(virtual_service::ignored_for_tcp(cx, service));
        }
        ignored
    }

    fn facts(&self, cx: &RouteContext<'_>, live: &Value, intended: &Traffic) -> RouteFacts {
        route(cx).facts(live, intended, Confirmation::Silent)
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

/// What can be asked of the route: of connections, weights alone.
fn abilities(cx: &RouteContext<'_>) -> Capabilities {
    let service = cx.canary.spec.service.as_ref();
    if service.map(Protocol::of) == Some(Protocol::Tcp) {
        Capabilities {
            matching: false,
            mirror: false,
            session_affinity: false,
            ..META.capabilities
        }
    } else {
        META.capabilities
    }
}

fn route<'a>(cx: &RouteContext<'a>) -> Route<'a> {
    let service = cx.canary.spec.service.as_ref();
    let port = match cx.canary.spec.service_port() {
        Some(port) => json!({"number": port}),
        None => Value::Null,
    };
    let backend = |suffix: &str| {
        let mut backend = json!({"destination": {"host": format!("{}{suffix}", cx.subject.apex)}});
        if service.is_some_and(names_port) && !port.is_null() {
            backend["destination"]["port"] = port.clone();
        }
        backend
    };
    let backends = Backends {
        apex: backend(""),
        primary: backend("-primary"),
        canary: backend("-canary"),
        port: port.clone(),
    };
    let protocol = service.map_or(Protocol::Http, Protocol::of);
    Route::new(cx, protocol.layout(), backends, drawing(cx))
}

/// Whether destinations need a port: where discovery gives the Services several, and requests come through a gateway,
/// which has no port of the Service to go by.
fn names_port(service: &ServiceSpec) -> bool {
    let through_gateway = service.gateways.first().is_some_and(|gateway| gateway != MESH);
    service.port_discovery && (service.delegation || through_gateway)
}

fn drawing(cx: &RouteContext<'_>) -> Result<Drawing, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut drawing = Drawing::default();
    if let Some(service) = &cx.canary.spec.service {
        draw_entrance(cx, service, &mut drawing, &mut refusals);
        drawing.rule = virtual_service::rule(service, &mut refusals);
    }
    let tests = experiment::read(cx.canary.spec.analysis.as_ref(), &mut refusals);
    drawing.tests = tests.iter().map(request_match::of).collect();
    if refusals.is_empty() {
        Ok(drawing)
    } else {
        Err(refusals)
    }
}

/// Where requests come in: hosts and gateways.
fn draw_entrance(cx: &RouteContext<'_>, service: &ServiceSpec, drawing: &mut Drawing, refusals: &mut Vec<Refusal>) {
    let apex = cx.subject.apex.as_str();
    if service.delegation {
        for (field, given) in [("hosts", &service.hosts), ("gateways", &service.gateways)] {
            if !given.is_empty() {
                let message = "a VirtualService that another one delegates to has none; remove them, or delegation";
                refuse(refusals, format!("spec.service.{field}"), message);
            }
            drawing.spec.insert(field.to_owned(), json!([]));
        }
        return;
    }
    let mut hosts = service.hosts.clone();
    if !hosts.iter().any(|host| host == apex || host == "*") {
        hosts.push(apex.to_owned());
    }
    // What a VirtualService that stood before has of its own stays, unless the Canary says something else.
    let asked = !service.hosts.is_empty();
    let into = if asked {
        &mut drawing.spec
    } else {
        &mut drawing.spec_defaults
    };
    into.insert("hosts".to_owned(), hosts.into());
    let asked = !service.gateways.is_empty();
    let (into, gateways) = if asked {
        (&mut drawing.spec, service.gateways.clone())
    } else {
        (&mut drawing.spec_defaults, vec![MESH.to_owned()])
    };
    into.insert("gateways".to_owned(), gateways.into());
}

fn refuse(refusals: &mut Vec<Refusal>, field: impl Into<String>, message: impl Into<String>) {
    refusals.push(Refusal {
        field: field.into(),
        message: message.into(),
    });
}

/// Refuses a text that the schema's rule for durations refuses.
fn check_duration(field: &str, text: &str, refusals: &mut Vec<Refusal>) {
    let long_enough = DurationText::from(text).parse().ok().and_then(GoDuration::to_std);
    if long_enough.is_none_or(|duration| duration < SHORTEST) {
        refuse(
            refusals,
            field,
            format!("{text} is no duration of at least 1ms, such as 15s"),
        );
    }
}
