//! Specs that the schema admits and that would hurt.
//!
//! Flagger's schema has few bounds, and rules that it lacks cannot be added to it without refusing edits of stored
//! objects. So they are here: what is dangerous or could never end is refused before traffic moves; what is odd and
//! harmless keeps Flagger's meaning and is a warning. Whether a field is built at all is asked in `support.rs`.

mod movement;
mod scaler;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Analysis, Canary, CanarySpec, DurationText, Metric, ServiceSpec, Webhook, support};

/// Why a spec is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct SpecError {
    /// Path of the field, for example `spec.service.port`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// What is odd about a spec and how it is understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Warning {
    /// Path of the field.
    pub field: String,
    /// What is done about it.
    pub message: String,
}

impl Warning {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// Judges a spec; `provider` is the effective one (see [`CanarySpec::provider_or`]).
///
/// All errors are told at once, so that a spec is mended in one edit.
pub fn validate(canary: &Canary, provider: &str) -> Result<Vec<Warning>, Vec<SpecError>> {
    let mut findings = Findings::default();
    let spec = &canary.spec;
    findings.target(spec, provider);
    findings.service(spec, provider);
    findings.scaler(spec);
    if let Some(analysis) = &spec.analysis {
        findings.analysis(spec, analysis, provider);
    }
    findings.own_durations(spec);
    if findings.errors.is_empty() {
        Ok(findings.warnings)
    } else {
        Err(findings.errors)
    }
}

/// References that leave the Canary's namespace, for controllers that forbid it (spec/core.md 2.2, with its texts).
pub fn cross_namespace(canary: &Canary) -> Vec<SpecError> {
    let own = canary.metadata.namespace.as_deref().unwrap_or_default();
    let refused = |what: &str, field: String, name: &str, namespace: Option<&str>| {
        let namespace = namespace.filter(|n| !n.is_empty() && *n != own)?;
        let message = format!("can't access {what} {name}.{namespace}, cross-namespace references are blocked");
        Some(SpecError { field, message })
    };
    let upstream = canary.spec.upstream_ref.iter().filter_map(|upstream| {
        refused(
            "gloo upstream",
            "spec.upstreamRef.namespace".into(),
            &upstream.name,
            upstream.namespace.as_deref(),
        )
    });
    let analysis = canary.spec.analysis.as_ref();
    let metrics = analysis.into_iter().flat_map(|a| a.metrics.iter().enumerate());
    let templates = metrics.filter_map(|(i, metric)| {
        let template = metric.template_ref.as_ref()?;
        let field = format!("spec.analysis.metrics[{i}].templateRef.namespace");
        refused("metric template", field, &template.name, template.namespace.as_deref())
    });
    let alerts = analysis.into_iter().flat_map(|a| a.alerts.iter().enumerate());
    let providers = alerts.filter_map(|(i, alert)| {
        let provider = &alert.provider_ref;
        let field = format!("spec.analysis.alerts[{i}].providerRef.namespace");
        refused("alert provider", field, &provider.name, provider.namespace.as_deref())
    });
    upstream.chain(templates).chain(providers).collect()
}

#[derive(Default)]
struct Findings {
    errors: Vec<SpecError>,
    warnings: Vec<Warning>,
}

impl Findings {
    fn refuse(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.errors.push(SpecError {
            field: field.into(),
            message: message.into(),
        });
    }

    fn warn(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Warning::new(field, message));
    }

    fn refuse_unless_duration(&mut self, field: impl Into<String>, text: Option<&DurationText>) {
        if let Some(Err(error)) = text.filter(|t| !t.is_empty()).map(DurationText::parse) {
            self.refuse(field, error.to_string());
        }
    }

    fn target(&mut self, spec: &CanarySpec, provider: &str) {
        let target = &spec.target_ref;
        if target.name.is_empty() {
            self.refuse("spec.targetRef.name", "is empty");
        }
        // Flagger looks at the field, not at the effective provider (spec/core.md 2.2).
        let (is_knative, wants_knative) = (is_knative(spec), spec.provider.as_deref() == Some("knative"));
        if is_knative && !wants_knative {
            self.refuse(
                "spec.provider",
                format!("can't use {provider} provider with Knative Service as target"),
            );
        }
        if !is_knative && wants_knative {
            let message = format!(
                "can't use {}/{} as target if provider is set to knative",
                target.api_version, target.kind
            );
            self.refuse("spec.targetRef", message);
        }
        if is_knative && spec.autoscaler_ref.is_some() {
            self.refuse("spec.autoscalerRef", "can't use autoscaler with Knative Service");
        }
        if spec.progress_deadline_seconds.is_some_and(|s| s <= 0) {
            self.warn("spec.progressDeadlineSeconds", "is not above 0: 600 is used");
        }
    }

    fn service(&mut self, spec: &CanarySpec, provider: &str) {
        if is_knative(spec) {
            return;
        }
        let apex = spec.apex_name();
        // The longest of the three names is a DNS label.
        if apex.len() + "-primary".len() > 63 {
            self.refuse(
                "spec.service.name",
                format!("{apex}-primary is longer than the 63 letters of a Service name"),
            );
        }
        let Some(service) = &spec.service else {
            self.refuse("spec.service", "is missing: the Services need at least a port");
            return;
        };
        if spec.service_port().is_none() {
            let given = service
                .port
                .map_or_else(|| "is missing".to_owned(), |port| format!("{port} is no port"));
            self.refuse("spec.service.port", format!("{given}: it must be from 1 to 65535"));
        }
        if let Some(IntOrString::Int(port)) = service.target_port
            && !(0..=65_535).contains(&port)
        {
            self.refuse(
                "spec.service.targetPort",
                format!("{port} is no port: it must be from 1 to 65535"),
            );
        }
        self.route(service, provider);
    }

    fn route(&mut self, service: &ServiceSpec, provider: &str) {
        if support::is_gateway_api(provider) && service.gateway_refs.is_empty() {
            let message = format!("is empty: with the provider {provider} it must name the parents of the route");
            self.refuse("spec.service.gatewayRefs", message);
        }
        // Contour spells "no timeout" as a word.
        let endless =
            |text: &DurationText| provider == support::CONTOUR && ["infinity", "infinite"].contains(&text.as_str());
        let timeout = service.timeout.as_ref().filter(|t| !endless(t));
        self.refuse_unless_duration("spec.service.timeout", timeout);
        self.refuse_unless_duration("spec.service.backendTimeout", service.backend_timeout.as_ref());
        let per_try = service.retries.as_ref().and_then(|r| r.per_try_timeout.as_ref());
        self.refuse_unless_duration("spec.service.retries.perTryTimeout", per_try.filter(|t| !endless(t)));
        if let (Some(Ok(whole)), Some(Ok(one))) = (
            timeout.map(DurationText::parse),
            service.backend_timeout.as_ref().map(DurationText::parse),
        ) && support::is_gateway_api(provider)
            && one > whole
        {
            self.refuse("spec.service.backendTimeout", "is longer than spec.service.timeout");
        }
        let max_age = service.cors_policy.as_ref().and_then(|c| c.max_age.as_ref());
        if let Some(Err(error)) = max_age.map(DurationText::parse) {
            self.warn("spec.service.corsPolicy.maxAge", format!("{error}: it is left out"));
        }
    }

    fn analysis(&mut self, spec: &CanarySpec, analysis: &Analysis, provider: &str) {
        if let Some(interval) = analysis.interval.as_ref().filter(|i| !i.is_empty()) {
            match interval.parse() {
                Err(error) => self.warn("spec.analysis.interval", format!("{error}: 60s is used")),
                Ok(given) if given < analysis.interval().into() => {
                    self.warn(
                        "spec.analysis.interval",
                        "is shorter than the least interval: 10s is used",
                    );
                }
                Ok(_) => {}
            }
        }
        if analysis.threshold.is_some_and(|t| t <= 0) {
            self.warn("spec.analysis.threshold", "is not above 0: 1 is used");
        }
        for (name, percent) in [
            ("primaryReadyThreshold", analysis.primary_ready_threshold),
            ("canaryReadyThreshold", analysis.canary_ready_threshold),
        ] {
            if let Some(percent) = percent.filter(|p| !(0..=100).contains(p)) {
                let used = percent.clamp(0, 100);
                self.warn(
                    format!("spec.analysis.{name}"),
                    format!("{percent} is no percentage: {used} is used"),
                );
            }
        }
        self.movement(spec, analysis, provider);
        if let Some(affinity) = &analysis.session_affinity
            && affinity.cookie_name == affinity.primary_cookie_name.as_deref().unwrap_or_default()
        {
            self.refuse(
                "spec.analysis.sessionAffinity.primaryCookieName",
                "can't use the same cookie name for both primary and cookie name; please update them to be different",
            );
        }
        for (i, metric) in analysis.metrics.iter().enumerate() {
            self.metric(&format!("spec.analysis.metrics[{i}]"), metric);
        }
        for (i, hook) in analysis.webhooks.iter().enumerate() {
            self.hook(&format!("spec.analysis.webhooks[{i}]"), hook);
        }
    }

    fn metric(&mut self, path: &str, metric: &Metric) {
        let builtin = ["request-success-rate", "request-duration"].contains(&metric.name.as_str());
        if !builtin && metric.query.is_none() && metric.template_ref.is_none() {
            let message = format!(
                "{:?} is no built-in metric, and there is no query and no templateRef",
                metric.name
            );
            self.refuse(format!("{path}.name"), message);
        }
        for (name, range) in [("thresholdRange", metric.threshold_range), ("hard", metric.hard)] {
            if let Some((Some(min), Some(max))) = range.map(|r| (r.min, r.max))
                && min > max
            {
                self.refuse(
                    format!("{path}.{name}"),
                    format!("no value is both at least {min} and at most {max}"),
                );
            }
        }
        if metric.threshold.is_none() && metric.threshold_range.is_none() && metric.name != "request-success-rate" {
            self.warn(format!("{path}.thresholdRange"), "is missing: each value above 0 fails");
        }
        // Not refused: some query languages have durations of their own, and the text goes into the query as it is.
        if let Some(Err(error)) = metric
            .interval
            .as_ref()
            .filter(|i| !i.is_empty())
            .map(DurationText::parse)
        {
            self.warn(
                format!("{path}.interval"),
                format!("{error}: it goes into the query as it is"),
            );
        }
    }

    fn hook(&mut self, path: &str, hook: &Webhook) {
        if !is_http_url(&hook.url) {
            // The URL itself may hold a token.
            self.refuse(format!("{path}.url"), "is no http or https address");
        }
        // Shorter texts mean the default (spec/analysis.md 1.11).
        let timeout = hook.timeout.as_ref().filter(|t| t.as_str().len() >= 2);
        self.refuse_unless_duration(format!("{path}.timeout"), timeout);
        self.refuse_unless_duration(format!("{path}.gateTimeout"), hook.gate_timeout.as_ref());
        let parsed = hook.gate_timeout.as_ref().map(DurationText::parse);
        if matches!(parsed, Some(Ok(span)) if span.as_nanos() <= 0) {
            self.refuse(
                format!("{path}.gateTimeout"),
                "is not above 0: the gate could never be asked",
            );
        }
        if !hook.is_gate() {
            for (field, set) in [
                ("gateTimeout", hook.gate_timeout.is_some()),
                ("onTimeout", hook.on_timeout.is_some()),
            ] {
                if set {
                    self.warn(
                        format!("{path}.{field}"),
                        format!("is not used: a {} hook is no gate", hook.type_()),
                    );
                }
            }
        } else if hook.on_timeout.is_some() && hook.gate_timeout.is_none() {
            self.warn(
                format!("{path}.onTimeout"),
                "is not used: without gateTimeout the gate is waited for for ever",
            );
        }
        if hook.retries.is_some_and(|r| r < 0) {
            self.warn(format!("{path}.retries"), "is below 0: there are no retries");
        }
    }

    /// Durations of Serin's own fields outside of metrics and hooks.
    fn own_durations(&mut self, spec: &CanarySpec) {
        let initial_delay = spec.analysis.as_ref().and_then(|a| a.initial_delay.as_ref());
        self.refuse_unless_duration("spec.analysis.initialDelay", initial_delay);
        let bake = spec.promotion.as_ref().and_then(|p| p.bake.as_ref());
        self.refuse_unless_duration("spec.promotion.bake.duration", bake.and_then(|b| b.duration.as_ref()));
        let scale_down = spec.rollback.as_ref().and_then(|r| r.scale_down_delay.as_ref());
        self.refuse_unless_duration("spec.rollback.scaleDownDelay", scale_down);
        if matches!(scale_down.map(DurationText::parse), Some(Ok(span)) if span.as_nanos() < 0) {
            self.refuse("spec.rollback.scaleDownDelay", "is below 0");
        }
        for (i, window) in spec.windows.iter().enumerate() {
            self.refuse_unless_duration(format!("spec.windows[{i}].allow"), window.allow.as_ref());
            self.refuse_unless_duration(format!("spec.windows[{i}].deny"), window.deny.as_ref());
        }
    }
}

/// A Knative Service, told from a core Service by its group (spec/core.md 1.1).
fn is_knative(spec: &CanarySpec) -> bool {
    spec.target_ref.kind == "Service" && spec.target_ref.api_version == "serving.knative.dev/v1"
}

fn is_http_url(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']) && !rest.contains(' '))
}
