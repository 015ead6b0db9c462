//! Which fields are acted on.
//!
//! [`NOT_BUILT`] is the one list of fields that the types and the schema know and that Serin does not act on yet. An
//! object that uses one is refused by name: silence would be a release judged otherwise than its owner believes. A
//! field that is built is taken off the list; nothing else knows about it.
//!
//! What a traffic provider has no use for, as in Flagger, says its router (`Router::warnings`). Which metrics servers and chat services
//! are built say their tables (`metrics::unbuilt`, `notify::unbuilt`).

use super::{Analysis, Canary, Metric, ServiceSpec};

/// The provider that writes an `HTTPProxy`.
pub const CONTOUR: &str = "contour";
/// The provider that writes an `HTTPRoute` of Gateway API's v1.
pub const GATEWAY_API: &str = "gatewayapi:v1";
/// The provider that has no route: Blue/Green by Services alone.
pub const KUBERNETES: &str = "kubernetes";

/// Whether a provider is [`GATEWAY_API`] or one that Flagger reads as it (spec/routers.md 2, rules 17 and 18).
pub fn is_gateway_api(provider: &str) -> bool {
    provider.starts_with(GATEWAY_API) && !provider.starts_with("gatewayapi:v1beta1")
}

/// One field that is not acted on yet.
#[derive(Clone, Copy, Debug)]
pub struct Unbuilt {
    /// Path of the field; `[]` stands for any item of a list.
    pub path: &'static str,
    /// What is built instead; empty where nothing is.
    pub note: &'static str,
    used: fn(&Canary, &str) -> bool,
}

impl std::fmt::Display for Unbuilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: is not built yet", self.path)?;
        if self.note.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.note)
        }
    }
}

/// The fields that this Canary uses and that are not built; `provider` is the effective one.
pub fn unbuilt(canary: &Canary, provider: &str) -> Vec<&'static Unbuilt> {
    NOT_BUILT
        .iter()
        .filter(|field| (field.used)(canary, provider))
        .collect()
}

/// The list. It shrinks to nothing.
pub const NOT_BUILT: &[Unbuilt] = &[
    field("spec.targetRef.kind", "Deployment is", |c, _| {
        c.spec.target_ref.kind != "Deployment"
    }),
    field("spec.autoscalerRef.kind", "HorizontalPodAutoscaler is", |c, _| {
        let scaler = c.spec.autoscaler_ref.as_ref();
        scaler.is_some_and(|scaler| scaler.kind != "HorizontalPodAutoscaler")
    }),
    field("spec.ingressRef", "", |c, _| c.spec.ingress_ref.is_some()),
    field("spec.routeRef", "", |c, _| c.spec.route_ref.is_some()),
    field("spec.upstreamRef", "", |c, _| c.spec.upstream_ref.is_some()),
    field("spec.promotion.bake", "", |c, _| {
        c.spec
            .promotion
            .as_ref()
            .is_some_and(|promotion| promotion.bake.is_some())
    }),
    field("spec.rollback.window", "", |c, _| {
        c.spec
            .rollback
            .as_ref()
            .is_some_and(|rollback| rollback.window.is_some())
    }),
    field("spec.strategy", "", |c, _| c.spec.strategy.is_some()),
    field("spec.routeRefs", "", |c, _| !c.spec.route_refs.is_empty()),
    field("spec.totalWeight", "100 is", |c, _| {
        c.spec.total_weight.is_some_and(|w| w != 100)
    }),
    field("spec.dependsOn", "", |c, _| !c.spec.depends_on.is_empty()),
    field("spec.group", "", |c, _| c.spec.group.is_some()),
    field("spec.windows", "", |c, _| !c.spec.windows.is_empty()),
    field("spec.service.ports", "", |c, _| service(c, |s| !s.ports.is_empty())),
    field("spec.analysis.steps", "", |c, _| analysis(c, |a| !a.steps.is_empty())),
    field("spec.analysis.initialDelay", "", |c, _| {
        analysis(c, |a| a.initial_delay.is_some())
    }),
    field("spec.analysis.onFailure", "rollback is", |c, _| {
        analysis(c, |a| a.on_failure.is_some_and(|f| f != super::OnFailure::Rollback))
    }),
    field("spec.analysis.stepWeightRollback", "", |c, _| {
        analysis(c, |a| a.step_weight_rollback.is_some())
    }),
    field("spec.analysis.preview", "", |c, _| analysis(c, |a| a.preview.is_some())),
    field("spec.analysis.freezeTarget", "", |c, _| {
        analysis(c, |a| a.freeze_target)
    }),
    field("spec.analysis.onInit", "none is", |c, _| {
        analysis(c, |a| a.on_init.is_some_and(|i| i != super::OnInit::None))
    }),
    field("spec.analysis.inconclusive", "", |c, _| {
        analysis(c, |a| a.inconclusive.is_some())
    }),
    field("spec.analysis.metrics[].onNoData", "fail, hold and pass are", |c, _| {
        metrics(c, |m| m.on_no_data() == super::OnMissing::Inconclusive)
    }),
    field("spec.analysis.metrics[].onError", "fail, hold and pass are", |c, _| {
        metrics(c, |m| m.on_error() == super::OnMissing::Inconclusive)
    }),
    field("spec.analysis.metrics[].minSamples", "", |c, _| {
        metrics(c, |m| m.min_samples.is_some())
    }),
    field("spec.analysis.metrics[].dryRun", "", |c, _| metrics(c, |m| m.dry_run)),
    field("spec.analysis.metrics[].failureLimit", "", |c, _| {
        metrics(c, |m| m.failure_limit.is_some())
    }),
    field("spec.analysis.metrics[].consecutiveErrorLimit", "", |c, _| {
        metrics(c, |m| m.consecutive_error_limit.is_some())
    }),
    field("spec.analysis.metrics[].consecutiveSuccessLimit", "", |c, _| {
        metrics(c, |m| m.consecutive_success_limit.is_some())
    }),
    field("spec.analysis.metrics[].reduce", "", |c, _| {
        metrics(c, |m| m.reduce.is_some())
    }),
    field("spec.analysis.metrics[].window", "sliding is", |c, _| {
        metrics(c, |m| m.window.is_some_and(|w| w != super::MetricWindow::Sliding))
    }),
    field("spec.analysis.metrics[].hard", "", |c, _| {
        metrics(c, |m| m.hard.is_some())
    }),
    field("spec.analysis.metrics[].compare", "", |c, _| {
        metrics(c, |m| m.compare.is_some())
    }),
];

const fn field(path: &'static str, note: &'static str, used: fn(&Canary, &str) -> bool) -> Unbuilt {
    Unbuilt { path, note, used }
}

fn service(canary: &Canary, used: impl FnOnce(&ServiceSpec) -> bool) -> bool {
    canary.spec.service.as_ref().is_some_and(used)
}

fn analysis(canary: &Canary, used: impl FnOnce(&Analysis) -> bool) -> bool {
    canary.spec.analysis.as_ref().is_some_and(used)
}

fn metrics(canary: &Canary, used: impl Fn(&Metric) -> bool) -> bool {
    analysis(canary, |a| a.metrics.iter().any(used))
}
