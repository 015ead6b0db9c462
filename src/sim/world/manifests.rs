//! The objects that tests and the demo begin with, as a team would write them.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// A Deployment with one container, labelled `app: <name>`, whose port is called `http`.
pub fn deployment(namespace: &str, name: &str, image: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{
                    "name": name,
                    "image": image,
                    "ports": [{ "name": "http", "containerPort": 9898 }],
                }] },
            },
        },
    })
}

/// A scaler of the Deployment of the same name, by the processors' load.
pub fn autoscaler(namespace: &str, name: &str, min: u32, max: u32) -> Value {
    let target = json!({ "type": "Utilization", "averageUtilization": 80 });
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": name, "namespace": namespace, "labels": { "team": "shop" } },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
            "minReplicas": min,
            "maxReplicas": max,
            "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": target } }],
        },
    })
}

/// The Service that clients call before a canary exists.
pub fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "selector": { "app": name }, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] },
    })
}

/// A Canary for the Deployment of the same name. `analysis` is `spec.analysis` as it stands in the manifest.
pub fn canary(namespace: &str, name: &str, provider: &str, analysis: &Value) -> Value {
    let mut service = json!({ "port": 80, "targetPort": "http" });
    if provider.starts_with("gatewayapi") {
        service["gatewayRefs"] = json!([{ "name": "gateway", "namespace": "ingress" }]);
    }
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "provider": provider,
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
            "progressDeadlineSeconds": 60,
            "service": service,
            "analysis": analysis,
        },
    })
}

/// An analysis in steps of `step` percent up to `max`, judged by the two built-in metrics.
pub fn analysis(interval: &str, threshold: u32, max: u32, step: u32) -> Value {
    json!({
        "interval": interval,
        "threshold": threshold,
        "maxWeight": max,
        "stepWeight": step,
        "metrics": [
            { "name": "request-success-rate", "interval": "1m", "thresholdRange": { "min": 99 } },
            { "name": "request-duration", "interval": "1m", "thresholdRange": { "max": 500 } },
        ],
    })
}

/// Creates an object from its manifest.
///
/// # Errors
/// Whatever the API server answers; a manifest without `apiVersion`, `kind` and a name is refused by it.
pub async fn create(client: &Client, manifest: &Value) -> Result<DynamicObject, kube::Error> {
    let object = serde_json::from_value(manifest.clone()).map_err(kube::Error::SerdeError)?;
    api(client, manifest).create(&PostParams::default(), &object).await
}

/// Changes an object by a JSON merge patch; `manifest` names it and holds what changes.
///
/// # Errors
/// Whatever the API server answers.
pub async fn change(client: &Client, manifest: &Value) -> Result<DynamicObject, kube::Error> {
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
    api(client, manifest)
        .patch(name, &PatchParams::default(), &Patch::Merge(manifest))
        .await
}

/// A new image for a Deployment with one container: what a release is.
pub fn image(namespace: &str, deployment: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": deployment, "namespace": namespace },
        "spec": { "template": { "spec": { "containers": [{
            "name": deployment,
            "image": image,
            "ports": [{ "name": "http", "containerPort": 9898 }],
        }] } } },
    })
}

/// A client for the kind of a manifest.
fn api(client: &Client, manifest: &Value) -> Api<DynamicObject> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
    let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    match manifest["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
