//! Before a takeover what will lose the application's pods is named (rank 39 of `spec/users.md`).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use serin::sim::apiserver::Denial;
use serin::sim::world::manifests;

use super::setting::{APP, NAMESPACE, Setting};
use super::stage::Stage;

const MONITORING: &str = "monitoring.coreos.com/v1";

/// A kind that the embedded cluster does not serve by itself, with whatever stands in its objects.
fn definition(group: &str, version: &str, kind: &str, plural: &str) -> CustomResourceDefinition {
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase() },
            "versions": [{ "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }],
        },
    });
    serde_json::from_value(definition).expect("a definition")
}

fn monitor(kind: &str, name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": MONITORING,
        "kind": kind,
        "metadata": { "namespace": NAMESPACE, "name": name },
        "spec": { "selector": { "matchLabels": labels } },
    })
}

fn budget(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "namespace": NAMESPACE, "name": name },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": app } } },
    })
}

/// A policy about the pods of one application, which may let those of another in.
fn policy(name: &str, app: &str, lets_in: Option<&str>) -> Value {
    let peers: Vec<Value> = lets_in
        .map(|app| json!({ "podSelector": { "matchLabels": { "app": app } } }))
        .into_iter()
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "namespace": NAMESPACE, "name": name },
        "spec": { "podSelector": { "matchLabels": { "app": app } }, "ingress": [{ "from": peers }] },
    })
}

/// An application with what large teams put around one.
async fn crowded(setting: Setting) -> (Stage, Value) {
    let canary = setting.canary.clone().expect("the setting must have a Canary");
    let stage = setting.without_canary().raise().await;
    for (group, kind, plural) in [
        ("monitoring.coreos.com", "PodMonitor", "podmonitors"),
        ("monitoring.coreos.com", "ServiceMonitor", "servicemonitors"),
        ("policy", "PodDisruptionBudget", "poddisruptionbudgets"),
        ("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
    ] {
        stage.api.apply_crd(&definition(group, "v1", kind, plural));
    }
    let mut metrics = manifests::service(NAMESPACE, "app-metrics");
    metrics["metadata"]["labels"] = json!({ "team": "shop" });
    metrics["spec"]["selector"] = json!({ "app": APP });
    let mut all = manifests::service(NAMESPACE, "everything");
    all["spec"]["selector"] = json!({ "app": "another" });
    let mut elsewhere = monitor("PodMonitor", "all-pods", &json!({ "app": APP }));
    elsewhere["metadata"]["namespace"] = json!("monitoring");
    elsewhere["spec"]["namespaceSelector"] = json!({ "matchNames": [NAMESPACE] });
    for object in [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "monitoring" } }),
        elsewhere,
        metrics,
        all,
        monitor("PodMonitor", "pods", &json!({ "app": APP })),
        monitor("PodMonitor", "others", &json!({ "app": "another" })),
        monitor("ServiceMonitor", "services", &json!({ "team": "shop" })),
        budget("budget", APP),
        budget("others", "another"),
        policy("fence", APP, None),
        policy("database", "db", Some(APP)),
        policy("others", "another", Some("another")),
        manifests::autoscaler(NAMESPACE, APP, 2, 6),
    ] {
        stage.create(&object).await;
    }
    (stage, canary)
}

fn named(stage: &Stage) -> Vec<String> {
    let mut named: Vec<String> = stage
        .events()
        .into_iter()
        .filter(|text| text.contains(" selects app only") || text.contains(" lets the pods of app through"))
        .collect();
    named.sort();
    named
}

#[tokio::test(start_paused = true)]
async fn what_picks_the_pods_and_will_lose_them_is_named_before_anything_is_scaled() {
    let (stage, canary) = crowded(Setting::new()).await;
    stage.create(&canary).await;
    stage.until("named", |stage| !named(stage).is_empty()).await;
    assert!(stage.deployment("app-primary").is_null() || stage.ready("app-primary") == 0);
    assert_eq!(stage.replicas(APP), 3);
    // A successor says nothing twice.
    stage.serin.kill();
    stage.serin.start();
    stage.until_phase("Initialized").await;
    assert_eq!(
        named(&stage),
        [
            "HorizontalPodAutoscaler app selects app only: it does not scale the primary; name it in spec.autoscalerRef",
            "NetworkPolicy database lets the pods of app through and not the primary's",
            "NetworkPolicy fence selects app only: it does not govern the primary's pods",
            "PodDisruptionBudget budget selects app only: it does not protect the primary's pods",
            "PodMonitor all-pods.monitoring selects app only: it does not scrape the primary's pods",
            "PodMonitor pods selects app only: it does not scrape the primary's pods",
            "Service app-metrics selects app only: it sends its requests to no pod while no release is under way",
            "ServiceMonitor services selects app only: it does not scrape the primary's pods",
        ]
    );
    stage.serin.kill();
    stage.serin.start();
    stage.pass(120).await;
    assert_eq!(named(&stage).len(), 8, "nothing is looked for at rest");
}

/// Without the rights, or with an API server that answers no such list, the takeover goes on.
#[tokio::test(start_paused = true)]
async fn what_may_not_be_listed_is_left_out() {
    let (stage, canary) = crowded(Setting::new()).await;
    for (group, resource) in [
        ("monitoring.coreos.com", "podmonitors"),
        ("monitoring.coreos.com", "servicemonitors"),
        ("policy", "poddisruptionbudgets"),
        ("networking.k8s.io", "networkpolicies"),
    ] {
        stage.api.deny(Denial {
            user: "*".into(),
            verb: "list".into(),
            group: group.into(),
            resource: resource.into(),
        });
    }
    stage.create(&canary).await;
    stage.until_phase("Initialized").await;
    assert_eq!(named(&stage).len(), 2);
}
