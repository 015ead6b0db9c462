//! What the pods of an application use of the processor, as a test wants it: the resource metrics that a `HorizontalPodAutoscaler` reads.
//!
//! The API `metrics.k8s.io` is defined as custom resources here, so that the API server serves it by itself; the autoscaler asks for pods by
//! namespace and label and does not know the difference. Source: the API's own type `PodMetrics` (k8s.io/metrics).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::Outcome;
use crate::harness::objects::{self, TEAM};

/// Between two measurements.
const PERIOD: Duration = Duration::from_secs(1);

/// How long the API server may need until it serves a definition.
const PATIENCE: Duration = Duration::from_mins(1);

/// What pods use by the value of their label `app`, in thousandths of a processor, over all ready pods.
type Demand = Arc<Mutex<BTreeMap<String, u32>>>;

/// Measures until dropped.
pub struct PodMetrics {
    demand: Demand,
    task: JoinHandle<()>,
}

/// Lets the API server serve the API.
pub async fn define(client: &Client) -> Outcome<()> {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "pods.metrics.k8s.io",
            // The group is reserved; the annotation says that nobody reviewed this use of it.
            "annotations": { "api-approved.kubernetes.io": "unapproved, a test cluster" },
        },
        "spec": {
            "group": "metrics.k8s.io",
            "scope": "Namespaced",
            "names": { "kind": "PodMetrics", "listKind": "PodMetricsList", "plural": "pods", "singular": "pod" },
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .patch(
            "pods.metrics.k8s.io",
            &PatchParams::apply(TEAM),
            &Patch::Apply(&definition),
        )
        .await?;
    objects::all_definitions_are_served(client, PATIENCE).await
}

impl PodMetrics {
    /// Measures the pods of a namespace, each of which has one container of this name.
    pub fn start(client: &Client, namespace: &str, container: &str) -> Self {
        let demand = Demand::default();
        let (client, namespace, container) = (client.clone(), namespace.to_owned(), container.to_owned());
        let wanted = Arc::clone(&demand);
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = measure(&client, &namespace, &container, &wanted).await {
                    eprintln!("pod metrics of {namespace}: {error}");
                }
                sleep(PERIOD).await;
            }
        });
        Self { demand, task }
    }

    /// From now on all pods with this label `app` use so many thousandths together.
    pub fn demand(&self, app: &str, thousandths: u32) {
        let mut demand = self.demand.lock().unwrap_or_else(PoisonError::into_inner);
        demand.insert(app.to_owned(), thousandths);
    }
}

impl Drop for PodMetrics {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn measure(client: &Client, namespace: &str, container: &str, demand: &Demand) -> Outcome<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("metrics.k8s.io", "v1beta1", "PodMetrics"),
        "pods",
    );
    let metrics: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let pods = pods.list(&ListParams::default()).await?.items;
    let app = |pod: &Pod| pod.labels().get("app").cloned().unwrap_or_default();
    let ready: Vec<&Pod> = pods.iter().filter(|pod| is_ready(pod)).collect();
    let mut sharing: BTreeMap<String, u32> = BTreeMap::new();
    for pod in &ready {
        *sharing.entry(app(pod)).or_default() += 1;
    }
    for pod in &ready {
        let total = demand
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&app(pod))
            .copied();
        let share = total.unwrap_or_default() / sharing[&app(pod)];
        let object = json!({
            "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
            "metadata": { "name": pod.name_any(), "namespace": namespace, "labels": pod.labels() },
            "timestamp": Utc::now(),
            "window": "1s",
            "containers": [{ "name": container, "usage": { "cpu": format!("{share}m"), "memory": "10Mi" } }],
        });
        let parameters = PatchParams::apply(TEAM).force();
        metrics
            .patch(&pod.name_any(), &parameters, &Patch::Apply(&object))
            .await?;
    }
    for old in metrics.list(&ListParams::default()).await? {
        if !ready.iter().any(|pod| pod.name_any() == old.name_any()) {
            metrics.delete(&old.name_any(), &DeleteParams::default()).await?;
        }
    }
    Ok(())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
