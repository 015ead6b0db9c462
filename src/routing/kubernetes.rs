//! No mesh and no ingress: the apex Service leads to the primary's pods from the takeover on, and no traffic moves (spec/routers.md 6.1).
//!
//! The canary is reached by its own Service alone: by the hooks that test it. Nothing is drawn, so nothing can be asked of a route:
//! what comes to nothing is said, and a run of weights becomes one of iterations.

use super::{Capabilities, RouteContext, capability};
use crate::rollout::Refusal;

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
    capability::port(cx).into_iter().collect()
}

/// What is left out of `spec.service`. It does no harm: whatever is asked for, all requests of the apex Service go to the primary. What
/// becomes of the strategy is told for all providers in one place (`api/validate/movement.rs`).
pub(super) fn warnings(cx: &RouteContext<'_>) -> Vec<String> {
    let mut ignored = Vec::new();
    if let Some(service) = &cx.canary.spec.service {
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
