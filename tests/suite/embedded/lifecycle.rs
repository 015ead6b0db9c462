//! Lives of one Canary over several releases (`spec/core.md` 8, 71, 76 and 77).

use serde_json::{Value, json};
use serin::{metrics::Reading, sim::world::traffic::Behaviour};

use super::{setting::Setting, stage::Stage};

const BAD: Behaviour = Behaviour {
    success: 50.0,
    latency: 120.0,
};

/// The uids of the primary's pods.
fn primary_pods(stage: &Stage) -> Vec<Value> {
    let pods = stage.api.objects("v1", "Pod", "test");
    let of_primary = |pod: &&Value| pod["metadata"]["labels"]["app"] == "app-primary";
    pods.iter()
        .filter(of_primary)
        .map(|pod| pod["metadata"]["uid"].clone())
        .collect()
}

/// E28 differs: the return to the promoted revision clears the failure, where Flagger stays `Failed`. Neither restarts the primary.
#[tokio::test(start_paused = true)]
async fn core_076_a_failure_a_return_the_same_failure_again_and_a_repaired_release() {
    let stage = Setting::new()
        .script(|script| script.answers("app:2", BAD))
        .initialized()
        .await;
    let pods = primary_pods(&stage);
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    assert_eq!(stage.status()["failedChecks"], 2, "the threshold");

    stage.push("app:1").await;
    stage.until("cleared", |stage| stage.phase() != "Failed").await;
    stage.pass(300).await;
    assert_eq!(stage.phase(), "Succeeded");
    assert_eq!(stage.condition("Promoted"), ("True".into(), "Succeeded".into()));
    assert_eq!(primary_pods(&stage), pods, "the primary is not restarted");

    stage.push("app:2").await;
    stage.until_phase("Progressing").await;
    stage.until_phase("Failed").await;
    assert_eq!(primary_pods(&stage), pods);

    stage
        .world
        .change(|script| script.answers("app:2", Behaviour::default()));
    stage.pass(120).await;
    assert_eq!(stage.phase(), "Failed", "a repaired world alone is no release");
    let annotation = json!({ "template": { "metadata": { "annotations": { "thisis": "theway" } } } });
    stage.edit_deployment("app", annotation).await;
    stage.until_phase("Progressing").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:2");
    assert_eq!(stage.story.weights(), [0, 20, 0, 20, 0, 20, 40, 60, 0]);
    assert!(stage.answers().lost < 1.0, "{:?}", stage.answers());
}

#[tokio::test(start_paused = true)]
async fn core_077_listed_weights_are_gone_through_whatever_the_maximum_beside_them() {
    let stage = Setting::new()
        .analysis(&json!({ "stepWeight": null, "stepWeights": [10, 20, 30, 40, 50, 60], "maxWeight": 50 }))
        .initialized()
        .await;
    assert_eq!(
        stage.events_with("spec.analysis.maxWeight: is not used"),
        1,
        "{:?}",
        stage.events()
    );
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.story.weights(), [0, 10, 20, 30, 40, 50, 60, 0]);
    assert_eq!(stage.image("app-primary"), "app:2");
}

/// A template whose query has a variable of the Canary's and the built-in ones.
fn template() -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate", "metadata": { "name": "latency", "namespace": "test" },
        "spec": {
            "provider": { "type": "prometheus", "address": "http://prometheus" },
            "query": "latency{ns=\"{{ namespace }}\", target=\"{{ target }}\", by=\"{{ variables.direction }}\"}[{{ interval }}]",
        },
    })
}

/// A Canary in steps of ten up to thirty, judged by that template, with metadata for its apex.
async fn in_steps(provider: &str) -> Stage {
    let metric = json!({
        "name": "latency", "interval": "1m", "thresholdRange": { "max": 500 },
        "templateRef": { "name": "latency" }, "templateVariables": { "direction": "inbound" },
    });
    let stage = Setting::with_provider(provider)
        .object(template())
        .analysis(&json!({ "stepWeight": 10, "maxWeight": 30, "metrics": [metric] }))
        .spec(&json!({ "service": { "apex": { "annotations": { "team": "a" }, "labels": { "tier": "web" } } } }))
        .initialized()
        .await;
    stage.numbers.answer("latency{", [Reading::Value(120.0)]);
    stage
}

/// So many queries were sent, all of them as the template says for this Canary.
fn asked(stage: &Stage, times: usize) {
    let asked = stage.numbers.asked();
    let query = r#"latency{ns="test", target="app", by="inbound"}[1m]"#;
    assert_eq!(asked.len(), times, "{asked:?}");
    assert!(asked.iter().all(|asked| asked.query == query), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn core_071_a_canary_in_steps_of_ten_up_to_thirty_is_promoted() {
    for provider in ["gatewayapi:v1", "contour"] {
        let stage = in_steps(provider).await;
        apex_has_what_the_canary_says(&stage, provider);
        release(&stage, "app:2").await;
        assert_eq!(stage.story.weights(), [0, 10, 20, 30, 0], "{provider}");
        asked(&stage, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn core_071_one_canary_is_promoted_by_weights_then_blue_green_then_by_a_test() {
    let stage = in_steps("istio").await;
    apex_has_what_the_canary_says(&stage, "istio");
    release(&stage, "app:2").await;
    assert_eq!(stage.story.weights(), [0, 10, 20, 30, 0]);
    asked(&stage, 3);

    let counted = json!({ "analysis": { "stepWeight": null, "maxWeight": null, "iterations": 2 } });
    stage.edit_canary(counted).await;
    release(&stage, "app:3").await;
    assert_eq!(stage.story.weights(), [0, 10, 20, 30, 0, 100, 0]);

    let tested = json!({ "analysis": { "match": [{ "headers": { "x-user": { "exact": "tester" } } }] } });
    stage.edit_canary(tested).await;
    release(&stage, "app:4").await;
    let text = stage
        .serin
        .last(|process| process.metrics.text().expect("metrics must be readable"));
    for strategy in ["canary", "blue-green", "ab-testing"] {
        let line = format!(
            r#"flagger_canary_successes_total{{name="app",namespace="test",deployment_strategy="{strategy}",analysis_status="completed"}} 1"#
        );
        assert!(text.lines().any(|it| it == line), "{strategy}");
    }
    assert!(stage.answers().lost < 1.0, "{:?}", stage.answers());
}

async fn release(stage: &Stage, image: &str) {
    stage.push(image).await;
    stage
        .until("promoted", |stage| {
            stage.image("app-primary") == image && stage.phase() == "Succeeded"
        })
        .await;
    stage.pass(10).await;
}

fn apex_has_what_the_canary_says(stage: &Stage, provider: &str) {
    let meta = serin::routing::router(provider)
        .expect("the provider must be built")
        .meta();
    let route = stage.object(meta.api_version, meta.kind, "app");
    assert_eq!(route["metadata"]["annotations"]["team"], "a", "{provider}");
    assert_eq!(route["metadata"]["labels"]["tier"], "web", "{provider}");
    assert_eq!(stage.selects("app"), "app-primary");
}
