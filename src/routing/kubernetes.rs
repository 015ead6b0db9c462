//! No mesh and no ingress: the apex Service leads to the primary's pods from the takeover on, and no traffic moves (spec/routers.md 6.1).
//!
//! The canary is reached by its own Service alone: by the hooks that test it. Nothing is drawn, so nothing can be asked of a route:
//! what comes to nothing is said, and a run of weights, which would mean that traffic moves, is refused.

use super::{Capabilities, RouteContext, capability};
use crate::{api::Strategy, rollout::Refusal};

/// `spec.provider` for it.
pub(super) const ID: &str = "kubernetes";

/// What it can do: nothing of all this.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    weights: false,
    matching: false,
    mirror: false,
    session_affinity: false,
};

/// What must not be acted on.
pub(super) fn check(cx: &RouteContext<'_>) -> Vec<Refusal> {
    let spec = &cx.canary.spec;
    let mut refusals: Vec<Refusal> = capability::port(cx).into_iter().collect();
    if spec.strategy() == Strategy::Canary && !spec.skips_analysis() {
        refusals.push(Refusal {
            field: "spec.analysis.iterations".to_owned(),
            message: format!(
                "provider {ID} moves no traffic: say how many checks a release must pass instead of weights"
            ),
        });
    }
    refusals
}

/// What is left out. It does no harm: whatever is asked for, all requests of the apex Service go to the primary.
pub(super) fn warnings(cx: &RouteContext<'_>) -> Vec<String> {
    let spec = &cx.canary.spec;
    let mut ignored = spec.analysis.as_ref().map_or_else(Vec::new, |analysis| {
        capability::ignored(
            cx,
            &[
                ("spec.analysis.match", !analysis.matches.is_empty()),
                ("spec.analysis.mirror", analysis.mirror),
                ("spec.analysis.sessionAffinity", analysis.session_affinity.is_some()),
            ],
        )
    });
    if let Some(service) = &spec.service {
        ignored.extend(capability::ignored(
            cx,
            &[
                ("spec.service.match", !service.matches.is_empty()),
                ("spec.service.hosts", !service.hosts.is_empty()),
                ("spec.service.gateways", !service.gateways.is_empty()),
                ("spec.service.gatewayRefs", !service.gateway_refs.is_empty()),
                ("spec.service.delegation", service.delegation),
                ("spec.service.rewrite", service.rewrite.is_some()),
                ("spec.service.timeout", service.timeout.is_some()),
                ("spec.service.backendTimeout", service.backend_timeout.is_some()),
                ("spec.service.retries", service.retries.is_some()),
                ("spec.service.headers", service.headers.is_some()),
                ("spec.service.corsPolicy", service.cors_policy.is_some()),
                ("spec.service.trafficPolicy", service.traffic_policy.is_some()),
                ("spec.service.mirror", !service.mirror.is_empty()),
                ("spec.service.meshName", service.mesh_name.is_some()),
                ("spec.service.backends", !service.backends.is_empty()),
            ],
        ));
    }
    ignored
}
