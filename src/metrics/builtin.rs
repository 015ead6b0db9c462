//! The built-in queries: success rate and 99th percentile of the duration, by traffic provider (`spec/analysis.md` 3).
//!
//! Texts are Flagger's, letter for letter, with two repairs. The success rate is 0, not nothing, when every answer is a
//! 5xx: then the numerator has no series, and a zero made from the denominator stands in for it. And names are escaped:
//! a Deployment may be called `web.v2`, whose dot would match any letter in a regular expression.

use super::Unit;
use crate::api::Canary;

/// Which providers use which metrics, one line each. The first match counts.
const OBSERVERS: &[(Provider, &Observer)] = &[
    (Provider::Is("contour"), &CONTOUR),
    (Provider::Is("istio"), &ISTIO),
    (Provider::Is("kubernetes"), &HTTP),
    (Provider::StartsWith("gatewayapi"), &HTTP),
];

enum Provider {
    Is(&'static str),
    StartsWith(&'static str),
}

/// The metrics that one kind of proxy or application writes about requests.
pub(super) struct Observer {
    /// Counter of requests.
    requests: &'static str,
    /// Histogram of durations.
    durations: &'static str,
    /// Unit of that histogram.
    pub(super) unit: Unit,
    /// Picks the canary's series, as a list of matchers.
    selector: fn(&Subject<'_>) -> String,
    /// Picks answers other than 5xx.
    success: &'static str,
    /// What stands behind the selector where `success` does not follow: Flagger's Contour queries end in a comma.
    trailer: &'static str,
}

/// Envoy as Contour runs it: clusters are named `<namespace>_<service>_<port>`.
const CONTOUR: Observer = Observer {
    requests: "envoy_cluster_upstream_rq",
    durations: "envoy_cluster_upstream_rq_time_bucket",
    unit: Unit::Milliseconds,
    selector: |subject| {
        let (namespace, service) = (pattern(subject.namespace), pattern(subject.service));
        format!(r#"envoy_cluster_name=~"{namespace}_{service}-canary_[0-9a-zA-Z-]+""#)
    },
    success: r#"envoy_response_code!~"5.*""#,
    trailer: ",",
};

/// What the sidecars of the canary's pods count, by workload.
const ISTIO: Observer = Observer {
    requests: "istio_requests_total",
    durations: "istio_request_duration_milliseconds_bucket",
    unit: Unit::Milliseconds,
    selector: |subject| {
        let (namespace, target) = (literal(subject.namespace), pattern(subject.target));
        format!(
            r#"reporter="destination", destination_workload_namespace="{namespace}", destination_workload=~"{target}""#
        )
    },
    success: r#"response_code!~"5.*""#,
    trailer: "",
};

/// The application's own histogram, with the pod labels of Flagger's bundled scrape configuration.
const HTTP: Observer = Observer {
    requests: "http_request_duration_seconds_count",
    durations: "http_request_duration_seconds_bucket",
    unit: Unit::Seconds,
    selector: |subject| {
        let (namespace, target) = (literal(subject.namespace), pattern(subject.target));
        format!(r#"kubernetes_namespace="{namespace}", kubernetes_pod_name=~"{target}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)""#)
    },
    success: r#"status!~"5.*""#,
    trailer: "",
};

/// What a query is about.
pub(super) struct Subject<'a> {
    namespace: &'a str,
    target: &'a str,
    service: &'a str,
    interval: &'a str,
}

impl<'a> Subject<'a> {
    pub(super) fn of(canary: &'a Canary, interval: &'a str) -> Self {
        Self {
            namespace: canary.metadata.namespace.as_deref().unwrap_or_default(),
            target: &canary.spec.target_ref.name,
            service: canary.spec.apex_name(),
            interval,
        }
    }
}

/// The observer of a traffic provider.
pub(super) fn observer(provider: &str) -> Option<&'static Observer> {
    let fits = |rule: &Provider| match rule {
        Provider::Is(name) => provider == *name,
        Provider::StartsWith(name) => provider.starts_with(name),
    };
    OBSERVERS
        .iter()
        .find(|(rule, _)| fits(rule))
        .map(|(_, observer)| *observer)
}

impl Observer {
    /// Percent of answers that are no 5xx.
    pub(super) fn success_rate(&self, subject: &Subject<'_>) -> String {
        let (requests, interval) = (self.requests, subject.interval);
        let selector = (self.selector)(subject);
        let good = format!(
            "sum( rate( {requests}{{ {selector}, {} }}[{interval}] ) )",
            self.success
        );
        let all = format!("sum( rate( {requests}{{ {selector}{} }}[{interval}] ) )", self.trailer);
        format!(" ( {good} or 0 * {all} ) / {all} * 100")
    }

    /// The 99th percentile, in [`Observer::unit`].
    pub(super) fn duration(&self, subject: &Subject<'_>) -> String {
        let (durations, interval) = (self.durations, subject.interval);
        let selector = (self.selector)(subject);
        let rate = format!("rate( {durations}{{ {selector}{} }}[{interval}] )", self.trailer);
        format!(" histogram_quantile( 0.99, sum( {rate} ) by (le) )")
    }
}

/// A text inside a quoted `=` matcher.
fn literal(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', r#"\""#)
}

/// A text that stands for itself inside a quoted `=~` matcher.
fn pattern(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    literal(&escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject<'a>() -> Subject<'a> {
        Subject {
            namespace: "default",
            target: "podinfo",
            service: "podinfo-service",
            interval: "1m",
        }
    }

    #[test]
    fn durations_are_flaggers_letter_for_letter() {
        let cases = [
            (
                "contour",
                r#" histogram_quantile( 0.99, sum( rate( envoy_cluster_upstream_rq_time_bucket{ envoy_cluster_name=~"default_podinfo-service-canary_[0-9a-zA-Z-]+", }[1m] ) ) by (le) )"#,
            ),
            (
                "istio",
                r#" histogram_quantile( 0.99, sum( rate( istio_request_duration_milliseconds_bucket{ reporter="destination", destination_workload_namespace="default", destination_workload=~"podinfo" }[1m] ) ) by (le) )"#,
            ),
            (
                "gatewayapi:v1",
                r#" histogram_quantile( 0.99, sum( rate( http_request_duration_seconds_bucket{ kubernetes_namespace="default", kubernetes_pod_name=~"podinfo-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)" }[1m] ) ) by (le) )"#,
            ),
        ];
        for (provider, expected) in cases {
            let observer = observer(provider).expect("the provider must be known");
            assert_eq!(observer.duration(&subject()), expected);
        }
    }

    #[test]
    fn success_rates_have_a_zero_where_flaggers_have_nothing() {
        let contour =
            r#"envoy_cluster_upstream_rq{ envoy_cluster_name=~"default_podinfo-service-canary_[0-9a-zA-Z-]+", "#;
        let istio = r#"istio_requests_total{ reporter="destination", destination_workload_namespace="default", destination_workload=~"podinfo""#;
        let http = r#"http_request_duration_seconds_count{ kubernetes_namespace="default", kubernetes_pod_name=~"podinfo-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)""#;
        let cases = [
            (
                "contour",
                format!(r#"sum( rate( {contour}envoy_response_code!~"5.*" }}[1m] ) )"#),
                format!("sum( rate( {contour}}}[1m] ) )"),
            ),
            (
                "istio",
                format!(r#"sum( rate( {istio}, response_code!~"5.*" }}[1m] ) )"#),
                format!("sum( rate( {istio} }}[1m] ) )"),
            ),
            (
                "kubernetes",
                format!(r#"sum( rate( {http}, status!~"5.*" }}[1m] ) )"#),
                format!("sum( rate( {http} }}[1m] ) )"),
            ),
        ];
        for (provider, good, all) in cases {
            let observer = observer(provider).expect("the provider must be known");
            let expected = format!(" ( {good} or 0 * {all} ) / {all} * 100");
            assert_eq!(observer.success_rate(&subject()), expected);
        }
    }

    #[test]
    fn names_stand_for_themselves() {
        let subject = Subject {
            namespace: r#"a"b"#,
            target: "web.v2",
            ..subject()
        };
        let query = HTTP.duration(&subject);
        assert!(query.contains(r#"kubernetes_namespace="a\"b""#), "{query}");
        assert!(
            query.contains(r#"kubernetes_pod_name=~"web\\.v2-[0-9a-zA-Z]+"#),
            "{query}"
        );
    }

    #[test]
    fn a_provider_without_metrics_of_its_own_has_no_observer() {
        for provider in ["", "istio2", "contour2", "kubernetes:service"] {
            assert!(observer(provider).is_none(), "{provider}");
        }
    }
}
