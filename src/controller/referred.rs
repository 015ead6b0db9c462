//! What a Canary refers to, before a release starts: a metric that can never be asked about, or an alert that can never be sent, is told
//! while nothing has moved, and not by a failed check.

use std::sync::Arc;

use super::lookup::{Lookup, LookupError, Place};
use super::site::Rules;
use crate::api::{Canary, MetricTemplate, validate};
use crate::metrics;
use crate::notify;
use crate::rollout::Refusal;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referred {
    /// What must not be acted on.
    pub refusals: Vec<Refusal>,
    /// Objects that do not exist yet. They may come right behind the Canary, so only a start waits for them.
    pub lacking: Vec<Refusal>,
}

impl Referred {
    /// Looks at the metric templates and alert providers of a Canary whose effective provider is this. What may not be referred to is not
    /// looked at.
    pub fn survey(lookup: &dyn Lookup, canary: &Canary, provider: &str, rules: &Rules) -> Self {
        let mut referred = Self::default();
        if rules.no_cross_namespace_refs && !validate::cross_namespace(canary).is_empty() {
            return referred;
        }
        if !canary.spec.skips_analysis() {
            referred.metrics(lookup, canary, provider);
        }
        referred.alerts(lookup, canary);
        referred
    }

    fn metrics(&mut self, lookup: &dyn Lookup, canary: &Canary, provider: &str) {
        let metrics = canary.spec.analysis.iter().flat_map(|analysis| &analysis.metrics);
        for (index, metric) in metrics.enumerate() {
            let field = format!("spec.analysis.metrics[{index}]");
            let template = metric.template_ref.as_ref();
            let template = template.map(|reference| self.template(lookup, &Place::of(canary, reference), &field));
            // What is not known cannot be judged.
            if let Some(None) = template {
                continue;
            }
            let template = template.flatten();
            let query = template.as_ref().map(|template| template.spec.query.as_str());
            if let Err(error) = metrics::plan(canary, metric, provider, query) {
                self.refuse(field, error.to_string());
            }
        }
    }

    /// The template of the metric at this field, where it can be asked.
    fn template(&mut self, lookup: &dyn Lookup, place: &Place, field: &str) -> Option<Arc<MetricTemplate>> {
        let field = format!("{field}.templateRef");
        let words = match lookup.template(&place.namespace, &place.name) {
            Ok(template) => match metrics::unbuilt(&template.spec) {
                None => return Some(template),
                Some(words) => words,
            },
            Err(LookupError::Malformed(words)) => words,
            Err(LookupError::NotFound) => {
                let message = format!("there is no MetricTemplate {place}");
                self.lacking.push(Refusal { field, message });
                return None;
            }
            Err(_) => return None,
        };
        self.refuse(field, format!("MetricTemplate {place}: {words}"));
        None
    }

    fn alerts(&mut self, lookup: &dyn Lookup, canary: &Canary) {
        let alerts = canary.spec.analysis.iter().flat_map(|analysis| &analysis.alerts);
        for (index, alert) in alerts.enumerate() {
            let place = Place::of(canary, &alert.provider_ref);
            let words = match lookup.alert_provider(&place.namespace, &place.name) {
                Ok(provider) => notify::unbuilt(&provider.spec),
                Err(LookupError::Malformed(words)) => Some(words),
                Err(_) => None,
            };
            if let Some(words) = words {
                let field = format!("spec.analysis.alerts[{index}].providerRef");
                self.refuse(field, format!("AlertProvider {place}: {words}"));
            }
        }
    }

    fn refuse(&mut self, field: String, message: String) {
        self.refusals.push(Refusal { field, message });
    }
}
