//! Metrics servers and what they answer (`spec/core.md` 8, 63 and 64; `design.md` 5).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use serin::{metrics::Reading, sim::world::manifests};

use super::{setting::Setting, stage::Stage};

const GROUP: &str = "flagger.app/v1beta1";
const OF_THE_CONTROLLER: &str = "http://prometheus:9090";
const AVAILABLE: &str = "all the metrics providers are available!";

/// The addresses that were asked whether they are there, each once.
fn tried(stage: &Stage) -> Vec<String> {
    each_once(stage.numbers.tried())
}

/// The addresses that were sent queries with this text, each once.
fn asked(stage: &Stage, query: &str) -> Vec<String> {
    let asked = stage.numbers.asked().into_iter();
    each_once(
        asked
            .filter(|asked| asked.query.contains(query))
            .map(|asked| asked.address),
    )
}

fn each_once(addresses: impl IntoIterator<Item = String>) -> Vec<String> {
    let addresses = addresses.into_iter();
    let each: BTreeSet<_> = addresses.map(|it| it.trim_end_matches('/').to_owned()).collect();
    each.into_iter().collect()
}

/// The server of the controller, or that of `spec.metricsServer` in its place: it is tried, and then asked.
#[tokio::test(start_paused = true)]
async fn core_063_the_metrics_server_of_the_canary_takes_the_place_of_the_controllers() {
    let own = "http://prometheus.team:9090";
    for (spec, address) in [(json!({}), OF_THE_CONTROLLER), (json!({ "metricsServer": own }), own)] {
        let stage = Setting::new().spec(&spec).initialized().await;
        assert_eq!(tried(&stage), [address]);
        assert_eq!(stage.events_with(AVAILABLE), 1, "{:#?}", stage.events());
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
        assert_eq!(asked(&stage, ""), [address]);
    }
}

fn template(namespace: &str) -> Value {
    json!({
        "apiVersion": GROUP, "kind": "MetricTemplate", "metadata": { "name": "errors", "namespace": namespace },
        "spec": { "provider": { "type": "prometheus", "address": format!("http://prometheus.{namespace}") }, "query": "error_share" },
    })
}

/// Without a namespace it is the template of the Canary's own.
#[tokio::test(start_paused = true)]
async fn core_063_a_template_without_a_namespace_is_one_of_its_own() {
    for (namespace, address) in [
        (Value::Null, "http://prometheus.test"),
        (json!("test"), "http://prometheus.test"),
        (json!("ops"), "http://prometheus.ops"),
    ] {
        let reference = json!({ "name": "errors", "namespace": namespace });
        let stage = Setting::new()
            .object(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "ops" } }))
            .object(template("ops"))
            .object(template("test"))
            .analysis(&json!({ "metrics": [{ "name": "errors", "templateRef": reference, "threshold": 5 }] }))
            .initialized()
            .await;
        assert_eq!(tried(&stage), [address], "{namespace}");
        assert_eq!(stage.events_with(AVAILABLE), 1, "{namespace}");
        stage.numbers.answer("error_share", [Reading::Value(1.0)]);
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
        assert_eq!(asked(&stage, "error_share"), [address], "{namespace}");
    }
}

/// A server that is not there is told, and does not block the takeover. A template that is missing is told with it.
#[tokio::test(start_paused = true)]
async fn core_063_a_server_or_a_template_that_is_not_there_is_told() {
    let stage = Setting::new().without_canary().raise().await;
    stage.numbers.unreachable(Some("connection refused"));
    stage
        .create(&manifests::canary(
            "test",
            "app",
            "contour",
            &manifests::analysis("10s", 2, 60, 20),
        ))
        .await;
    stage.until_phase("Initialized").await;
    stage.pass(30).await;
    let refused = "Error checking metric providers: prometheus not avaiable: connection refused";
    assert_eq!(stage.events_with(refused), 1, "{:#?}", stage.events());
    assert_eq!(stage.events_with(AVAILABLE), 0);

    let lacking = json!({ "metrics": [{ "name": "errors", "templateRef": { "name": "errors" }, "threshold": 5 }] });
    let stage = Setting::new().analysis(&lacking).initialized().await;
    let words = "Error checking metric providers: metric template errors.test";
    assert_eq!(stage.events_with(words), 1, "{:#?}", stage.events());
    assert_eq!(stage.events_with(AVAILABLE), 0);
    stage.push("app:2").await;
    stage.until_reason("ReferenceNotFound").await;
    assert_eq!(stage.weight(), Some(0));
}

fn judged_by(metric: &Value) -> Value {
    json!({ "metrics": [metric] })
}

/// A built-in name, a query, or a template: each of them alone can be judged.
#[tokio::test(start_paused = true)]
async fn core_064_a_built_in_name_a_query_or_a_template_alone_judges_a_release() {
    for (metric, query) in [
        (
            json!({ "name": "request-success-rate", "interval": "1m", "thresholdRange": { "min": 99 } }),
            "envoy_cluster_upstream_rq",
        ),
        (
            json!({ "name": "request-duration", "interval": "1m", "thresholdRange": { "max": 500 } }),
            "histogram_quantile",
        ),
        (
            json!({ "name": "mine", "interval": "1m", "thresholdRange": { "max": 1 }, "query": "my_errors" }),
            "my_errors",
        ),
        (
            json!({ "name": "mine", "interval": "1m", "thresholdRange": { "max": 1 }, "templateRef": { "name": "errors" } }),
            "error_share",
        ),
    ] {
        let stage = Setting::with_provider("contour")
            .object(template("test"))
            .analysis(&judged_by(&metric))
            .initialized()
            .await;
        for text in ["my_errors", "error_share"] {
            stage.numbers.answer(text, [Reading::Value(0.5)]);
        }
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
        let asked = stage.numbers.asked();
        assert!(
            asked.len() >= 3 && asked.iter().all(|asked| asked.query.contains(query)),
            "{metric}: {asked:?}"
        );
    }
}

/// And `onNoData: fail`, several series, NaN are told apart.
#[tokio::test(start_paused = true)]
async fn core_064_answers_that_are_no_number_fail_the_check_each_in_its_own_words() {
    let metric = json!({ "name": "errors", "interval": "1m", "thresholdRange": { "max": 1 }, "query": "my_errors" });
    for (reading, words, value) in [
        (
            Reading::NoData,
            "Halt advancement no values found for metric: errors",
            "no data",
        ),
        (
            Reading::NotFinite(f64::NAN),
            "Halt advancement no values found for metric: errors",
            "NaN",
        ),
        (
            Reading::NotFinite(f64::INFINITY),
            "the answer is +Inf, not a finite number",
            "+Inf",
        ),
        (Reading::Several(2), "2 series", "2 series"),
        (Reading::Failed("parse error".into()), "parse error", "parse error"),
    ] {
        let stage = Setting::new().analysis(&judged_by(&metric)).initialized().await;
        stage.numbers.answer("my_errors", [reading.clone()]);
        stage.push("app:2").await;
        stage.until_phase("Failed").await;
        assert!(stage.events_with(words) >= 2, "{reading:?}: {:#?}", stage.events());
        let status = stage.status();
        assert_eq!(status["failedChecks"], 2);
        let sample = status["serin"]["samples"][0]["value"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(sample.contains(value), "{reading:?} is shown as {sample}");
    }
}

/// Nothing to ask: it is refused by name before anything moves, where Flagger finds out by a failed check.
#[tokio::test(start_paused = true)]
async fn core_064_a_metric_without_anything_to_ask_is_refused() {
    let stage = Setting::new().initialized().await;
    let unknown = json!({ "name": "unknown-name", "interval": "1m" });
    stage.edit_canary(json!({ "analysis": judged_by(&unknown) })).await;
    stage.push("app:2").await;
    stage.until_reason("InvalidSpec").await;
    let words = r#"spec.analysis.metrics[0].name: "unknown-name" is no built-in metric, and there is no query and no templateRef"#;
    assert!(stage.why("message").contains(words), "{}", stage.why("message"));
    stage.pass(120).await;
    assert_eq!((stage.replicas("app"), stage.weight()), (0, Some(0)));
    assert_eq!(stage.image("app-primary"), "app:1");
}
