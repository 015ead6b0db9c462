//! Prometheus is killed in a step. Back before it was missed too often, it costs nothing; if it stays away, the release is rolled
//! back, and says that nobody could be asked.

use std::time::Duration;

use kube::api::{Api, DynamicObject, PostParams};
use serde_json::json;
use tokio::time::sleep;

use crate::faults::scene::{Findings, Scene};
use crate::faults::trial::Trial;
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::process::Signal;

const NAMESPACE: &str = "metrics";

/// A release with a short gap, and one with a long gap.
pub async fn run(scene: &Scene<'_>, number: u16) -> Outcome<Findings> {
    let mut findings = Findings::default();
    let mut controller = scene.controller(number, NAMESPACE).await?;
    // Envoy was seen within the last minute: true whenever Prometheus answers, also right after a gap.
    let metric = json!({ "name": "envoy-is-up", "templateRef": { "name": "envoy" }, "interval": "1m", "thresholdRange": { "min": 1 } });
    let trial = trial(scene, &json!({ "analysis": { "metrics": [metric] } })).await?;

    let start = trial.release("2.0.0").await?;
    trial.until_weight(30).await?;
    stop_prometheus(scene.cluster).await?;
    trial.say("has no Prometheus");
    let missed = trial
        .until("Prometheus is missed", |status| {
            status["serin"]["unreachableChecks"] == 1
        })
        .await?;
    start_prometheus(scene.cluster).await?;
    trial.say("has its Prometheus again");
    findings.expect(
        format!("Without Prometheus the reason is said ({})", missed["serin"]["why"]),
        missed["serin"]["why"]["reason"] == "MetricsUnavailable",
    );
    let phase = trial.until_rest(1).await?;
    findings.expect(
        format!("A gap shorter than the threshold does not keep it from being promoted ({phase})"),
        phase == "Succeeded",
    );
    let end = trial.end(start).await?;
    findings.expect(
        format!("The gap is told once ({:?})", end.events),
        end.events
            .iter()
            .filter(|event| event.contains("Metric query failed"))
            .count()
            == 1,
    );
    let ledger = scene.ledger(NAMESPACE)?;
    let failed = ledger
        .writes_by_controllers("canaries", start)
        .filter_map(|request| request.object()?["status"]["failedChecks"].as_u64())
        .max();
    findings.expect(
        format!("No check counts as failed in the gap ({failed:?})"),
        failed == Some(0),
    );

    let start = trial.release("3.0.0").await?;
    trial.until_weight(30).await?;
    stop_prometheus(scene.cluster).await?;
    trial.say("has no Prometheus");
    let phase = trial.until_rest(2).await?;
    start_prometheus(scene.cluster).await?;
    let status = trial.status();
    findings.expect(
        format!(
            "After more than `threshold` checks without Prometheus it is rolled back ({phase}, {})",
            status["serin"]["outcome"]
        ),
        phase == "Failed" && status["serin"]["outcome"]["reason"] == "MetricsUnavailable",
    );
    let weights = scene.ledger(NAMESPACE)?.weights(&trial.id(), start);
    findings.expect(
        format!("Without Prometheus the weight never goes up ({weights:?})"),
        weights == [0, 30, 0],
    );
    let facts = trial.end(start).await?.facts;
    let of = |name: &str| facts.iter().find(|fact| fact.0 == name).map(|fact| fact.1.as_str());
    findings.expect(
        format!("2.0.0 has all traffic again ({facts:?})"),
        of("route") == Some("100/0") && of("primary's version") == Some("2.0.0"),
    );
    controller.process.must_run()?;
    findings.expectations.push(controller.ends_cleanly().await?);
    Ok(findings)
}

/// The application, after the template that its Canary refers to.
async fn trial<'a>(scene: &'a Scene<'_>, spec: &serde_json::Value) -> Outcome<Trial<'a>> {
    let resource = kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(
        "flagger.app",
        "v1beta1",
        "MetricTemplate",
    ));
    let client = &scene.cluster.client;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } }))?;
    namespaces.create(&PostParams::default(), &namespace).await?;
    let template = json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "MetricTemplate",
        "metadata": { "name": "envoy", "namespace": NAMESPACE },
        "spec": {
            "provider": { "type": "prometheus", "address": scene.cluster.prometheus },
            "query": "max(max_over_time(up{job=\"envoy\"}[{{ interval }}]))",
        },
    });
    let templates: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    templates
        .create(&PostParams::default(), &serde_json::from_value(template)?)
        .await?;
    scene.trial_with([NAMESPACE, "shop"], spec).await
}

async fn stop_prometheus(cluster: &Cluster) -> Outcome<()> {
    let mut prometheus = cluster.process("prometheus").await?;
    prometheus.stop_by(Signal::Kill, Duration::from_secs(10)).await?;
    Ok(())
}

/// Starts it again and waits until it has read its data.
async fn start_prometheus(cluster: &Cluster) -> Outcome<()> {
    cluster.process("prometheus").await?.start_again()?;
    let web = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}/-/ready", cluster.prometheus);
    while !web
        .get(&url)
        .send()
        .await
        .is_ok_and(|answer| answer.status().is_success())
    {
        cluster.process("prometheus").await?.must_run()?;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
