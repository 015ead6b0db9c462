//! What an alert says, and who is told (`spec/core.md` 2.12).

use crate::api::{self, Analysis, Canary, Strategy};
use crate::rollout::{self, Severity};

/// One alert, independent of the service that delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Name of the Canary.
    pub canary: String,
    /// Its namespace.
    pub namespace: String,
    /// The text.
    pub text: String,
    /// How bad it is.
    pub severity: Severity,
    /// Titles and values, in order.
    pub fields: Vec<(String, String)>,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience<'a> {
    /// The controller's own destination: the canary names none.
    Global,
    /// These entries of `analysis.alerts`; none where all ask for worse news only.
    Own(Vec<&'a api::Alert>),
}

/// Who is told news of this severity. An entry without a severity is told everything (`spec/core.md` 7.3 W26).
pub fn audience(canary: &Canary, severity: Severity) -> Audience<'_> {
    let alerts = canary
        .spec
        .analysis
        .as_ref()
        .map(|analysis| analysis.alerts.as_slice())
        .unwrap_or_default();
    if alerts.is_empty() {
        return Audience::Global;
    }
    Audience::Own(
        alerts
            .iter()
            .filter(|alert| severity >= least(alert.severity()))
            .collect(),
    )
}

const fn least(asked: api::Severity) -> Severity {
    match asked {
        api::Severity::Info => Severity::Info,
        api::Severity::Warn => Severity::Warn,
        api::Severity::Error => Severity::Error,
    }
}

/// The message of an alert. An empty cluster name is none.
pub fn message(canary: &Canary, alert: &rollout::Alert, cluster_name: Option<&str>) -> Message {
    let namespace = canary.metadata.namespace.clone().unwrap_or_default();
    let mut fields = Vec::new();
    let mut field = |title: &str, value: String| fields.push((title.to_owned(), value));
    if let Some(name) = cluster_name.filter(|name| !name.is_empty()) {
        field("Cluster", name.to_owned());
    }
    if alert.with_fields {
        let (spec, target) = (&canary.spec, &canary.spec.target_ref);
        field("Target", format!("{}/{}.{namespace}", target.kind, target.name));
        field("Failed checks threshold", spec.threshold().to_string());
        field("Progress deadline", format!("{}s", spec.progress_deadline().as_secs()));
        if let Some(routing) = spec.analysis.as_ref().and_then(routing) {
            field("Traffic routing", routing);
        }
    }
    Message {
        canary: canary.metadata.name.clone().unwrap_or_default(),
        namespace,
        text: alert.message.clone(),
        severity: alert.severity,
        fields,
    }
}

/// How the run moves traffic, in Flagger's words; `None` where it has no steps. `maxWeight` is the spec's, 0 if unset.
fn routing(analysis: &Analysis) -> Option<String> {
    let most = analysis.max_weight.unwrap_or_default();
    match analysis.strategy() {
        Strategy::AbTesting => Some("A/B Testing".to_owned()),
        Strategy::BlueGreen => Some("Blue/Green".to_owned()),
        Strategy::Canary => {
            if let Some(step) = analysis.step_weight.filter(|step| *step > 0) {
                return Some(format!("Weight step: {step} max: {most}"));
            }
            let steps: Vec<String> = analysis.step_weights.iter().map(ToString::to_string).collect();
            (!steps.is_empty()).then(|| format!("Weight steps: {} max: {most}", steps.join(",")))
        }
    }
}
