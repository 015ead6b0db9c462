//! Which queries one entry of `analysis.metrics` makes, as text ready to send.
//!
//! An entry can make several, all held against the same limits (`spec/analysis.md` 1.3): a built-in one by its name, an
//! inline one, and one of a template.

use super::{builtin, template};
use crate::api::{Canary, Metric};

/// Success rate in percent, by name.
const SUCCESS_RATE: &str = "request-success-rate";
/// 99th percentile of the request duration in milliseconds, by name.
const DURATION: &str = "request-duration";

/// One query to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What its number means, and with that how it is judged.
    pub kind: Kind,
    /// Which server it goes to.
    pub origin: Origin,
    /// The query itself.
    pub text: String,
    /// The traffic provider as event texts name it.
    pub provider: String,
}

/// What the number of a query means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Percent of requests that were not answered with a 5xx.
    SuccessRate,
    /// How long requests take.
    Duration(Unit),
    /// Whatever the user asked for.
    Custom,
}

/// The unit in which a query gives a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// Where a query comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Built in; for the canary's Prometheus.
    BuiltIn,
    /// `query` of the entry; for the canary's Prometheus.
    Inline,
    /// A metric template, which names its own server.
    Template,
}

/// An entry that cannot be asked about. The text is the Event's (`spec/analysis.md` 1.9).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Neither a built-in name, nor a query, nor a template.
    #[error("Metric query failed for no usable metrics template and query were configured")]
    Nothing,
    /// Nobody knows which metrics this traffic provider writes.
    #[error("Prometheus query failed: there is no built-in {metric} for provider {provider}; use a MetricTemplate")]
    NoObserver {
        /// The metric's name.
        metric: String,
        /// The provider.
        provider: String,
    },
    /// The inline query is a template that does not render.
    #[error("Prometheus query failed for {metric}: {cause}")]
    Inline {
        /// The metric's name.
        metric: String,
        /// Why.
        cause: template::RenderError,
    },
    /// The template does not render.
    #[error("Metric template {template} query render error: {cause}")]
    Render {
        /// `<name>.<namespace>`.
        template: String,
        /// Why.
        cause: template::RenderError,
    },
    /// There is no such template, or it may not be used.
    #[error("Metric template {template} error: {cause}")]
    Template {
        /// `<name>.<namespace>`.
        template: String,
        /// Why.
        cause: String,
    },
    /// The template or its Secret could not be read just now; nothing is known about it.
    #[error("Metric template {template} error: {cause}")]
    Unknown {
        /// `<name>.<namespace>`.
        template: String,
        /// Why.
        cause: String,
    },
    /// There is no such Secret.
    #[error("Metric template {template} secret {secret} error: {cause}")]
    Secret {
        /// `<name>.<namespace>`.
        template: String,
        /// Name of the Secret.
        secret: String,
        /// Why.
        cause: String,
    },
    /// The server that the template describes cannot be asked that way.
    #[error("Metric template {template} provider {kind} error: {cause}")]
    Provider {
        /// `<name>.<namespace>`.
        template: String,
        /// Kind of the server.
        kind: String,
        /// Why.
        cause: super::SourceError,
    },
    /// The address in `spec.metricsServer` cannot be asked.
    #[error("Error building Prometheus client for {0}")]
    Server(super::SourceError),
}

/// The queries that an entry makes: built-in, inline, then the template's. `template` is the query of the metric template
/// that the entry refers to, `provider` the traffic provider with the controller's default applied.
pub fn plan(canary: &Canary, metric: &Metric, provider: &str, template: Option<&str>) -> Result<Vec<Query>, PlanError> {
    let query = |kind, origin, text: &str| Query {
        kind,
        origin,
        text: one_line(text),
        provider: provider.to_owned(),
    };
    let mut queries = Vec::new();
    if is_built_in(metric) {
        let observer = builtin::observer(provider).ok_or_else(|| PlanError::NoObserver {
            metric: metric.name.clone(),
            provider: provider.to_owned(),
        })?;
        let subject = builtin::Subject::of(canary, metric.interval());
        queries.push(if metric.name == SUCCESS_RATE {
            query(Kind::SuccessRate, Origin::BuiltIn, &observer.success_rate(&subject))
        } else {
            query(
                Kind::Duration(observer.unit),
                Origin::BuiltIn,
                &observer.duration(&subject),
            )
        });
    }
    if let Some(inline) = metric.query.as_deref().filter(|text| !text.is_empty()) {
        let text = template::render(inline, canary, metric).map_err(|cause| PlanError::Inline {
            metric: metric.name.clone(),
            cause,
        })?;
        queries.push(query(Kind::Custom, Origin::Inline, &text));
    }
    if let Some(text) = template {
        let text = template::render(text, canary, metric).map_err(|cause| PlanError::Render {
            template: template_name(canary, metric),
            cause,
        })?;
        queries.push(query(Kind::Custom, Origin::Template, &text));
    }
    if queries.is_empty() {
        Err(PlanError::Nothing)
    } else {
        Ok(queries)
    }
}

/// Whether the entry's name is that of a built-in query.
pub(super) fn is_built_in(metric: &Metric) -> bool {
    matches!(metric.name.as_str(), SUCCESS_RATE | DURATION)
}

/// `<name>.<namespace>` of the template that an entry refers to, as event texts have it.
pub fn template_name(canary: &Canary, metric: &Metric) -> String {
    let reference = metric.template_ref.clone().unwrap_or_default();
    let own = canary.metadata.namespace.clone().unwrap_or_default();
    let namespace = reference.namespace.filter(|n| !n.is_empty()).unwrap_or(own);
    format!("{}.{namespace}", reference.name)
}

/// Runs of white space become one blank, as Flagger sends queries. A query with a comment keeps its lines: on one line
/// everything behind the `#` would be part of the comment, and another number would come back.
fn one_line(query: &str) -> String {
    if query.contains('#') {
        return query.to_owned();
    }
    let mut line = String::with_capacity(query.len());
    for letter in query.chars() {
        if !letter.is_whitespace() {
            line.push(letter);
        } else if !line.ends_with(' ') {
            line.push(' ');
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::TemplateRef;

    fn canary() -> Canary {
        let mut canary = Canary::default();
        canary.metadata.name = Some("podinfo".to_owned());
        canary.metadata.namespace = Some("test".to_owned());
        canary.spec.target_ref.name = "podinfo".to_owned();
        canary
    }

    fn metric(name: &str) -> Metric {
        Metric {
            name: name.to_owned(),
            ..Metric::default()
        }
    }

    fn kinds(metric: &Metric, template: Option<&str>) -> Vec<(Kind, Origin)> {
        let queries = plan(&canary(), metric, "gatewayapi:v1", template).expect("the metric must be plannable");
        queries.iter().map(|query| (query.kind, query.origin)).collect()
    }

    #[test]
    fn an_entry_makes_every_query_it_asks_for_in_flaggers_order() {
        let rate = metric(SUCCESS_RATE);
        let all = Metric {
            query: Some("up".to_owned()),
            ..metric(DURATION)
        };
        let duration = (Kind::Duration(Unit::Seconds), Origin::BuiltIn);
        let (inline, template) = ((Kind::Custom, Origin::Inline), (Kind::Custom, Origin::Template));
        assert_eq!(kinds(&rate, None), [(Kind::SuccessRate, Origin::BuiltIn)]);
        assert_eq!(kinds(&all, None), [duration, inline]);
        assert_eq!(kinds(&all, Some("down")), [duration, inline, template]);
        assert_eq!(kinds(&metric("own"), Some("down")), [template]);
    }

    #[test]
    fn what_cannot_be_asked_says_so_in_the_words_of_the_event() {
        let by_template = Metric {
            template_ref: Some(TemplateRef {
                name: "latency".to_owned(),
                namespace: None,
            }),
            ..metric("own")
        };
        let inline = Metric {
            query: Some("{{ variables.absent }}".to_owned()),
            ..metric("own")
        };
        let cases = [
            (
                metric("own"),
                "contour",
                None,
                "Metric query failed for no usable metrics template and query were configured",
            ),
            (
                metric(DURATION),
                "smi:v1alpha2",
                None,
                "Prometheus query failed: there is no built-in request-duration for provider smi:v1alpha2; use a MetricTemplate",
            ),
            (
                inline,
                "contour",
                None,
                "Prometheus query failed for own: template excution failed: map has no entry for key: absent",
            ),
            (
                by_template,
                "contour",
                Some("{{ nonsense }}"),
                "Metric template latency.test query render error: template parsing failed: undefined function: nonsense",
            ),
        ];
        for (metric, provider, template, expected) in cases {
            let error = plan(&canary(), &metric, provider, template).expect_err(expected);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn queries_are_sent_on_one_line_unless_a_comment_would_swallow_the_rest() {
        let cases = [
            ("\n  sum(\n\trate(x[1m])\n  )\n", " sum( rate(x[1m]) ) "),
            ("up # all of them\n/ 2", "up # all of them\n/ 2"),
        ];
        for (query, expected) in cases {
            assert_eq!(one_line(query), expected);
        }
    }
}
