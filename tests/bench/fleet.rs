//! Applications with a Canary each, in one namespace: Istio's routes, short intervals, and a metric that is always 100.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::cluster::Cluster;
use crate::harness::{Outcome, kwok, objects};

/// Between two checks of a Canary, and from one weight to the next: the least that there is.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Failed checks that end a release.
pub const THRESHOLD: u32 = 2;

/// How long all of them may take to get to a phase, and one of them more.
const PATIENCE: Duration = Duration::from_mins(3);
const PATIENCE_EACH: Duration = Duration::from_millis(1500);

/// Applications made at once.
const SIDE_BY_SIDE: usize = 8;

/// Some applications, named `app-0000` and so on: in the order of their names.
pub struct Fleet {
    client: Client,
    /// Where they are.
    pub namespace: &'static str,
    /// How many there are.
    pub size: usize,
}

impl Fleet {
    /// Creates a namespace with that many applications of so many pods, and waits until they are taken over.
    pub async fn create(cluster: &Cluster, namespace: &'static str, size: usize, pods: u32) -> Outcome<Self> {
        Self::create_with(cluster, namespace, &vec![json!({}); size], pods).await
    }

    /// The same, each with a Canary whose spec has these parts of its own.
    pub async fn create_with(cluster: &Cluster, namespace: &'static str, specs: &[Value], pods: u32) -> Outcome<Self> {
        let client = cluster.client.clone();
        let room = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        objects::apply_text(&client, &room.to_string()).await?;
        let size = specs.len();
        stream::iter(specs.iter().enumerate())
            .map(Ok)
            .try_for_each_concurrent(SIDE_BY_SIDE, |(number, own)| {
                let client = &client;
                async move {
                    objects::apply_text(client, &deployment(namespace, number, pods).to_string()).await?;
                    objects::apply_text(client, &canary(namespace, number, own).to_string()).await
                }
            })
            .await?;
        let fleet = Self {
            client,
            namespace,
            size,
        };
        fleet.so_many_are(size, "Initialized").await?;
        Ok(fleet)
    }

    /// From that moment on, the metric of that Canary is 0.
    pub async fn fails_from(&self, number: usize, moment: DateTime<Utc>) -> Outcome<()> {
        let query = format!("vector(100) * (vector(time()) < bool {})", moment.timestamp());
        let patch = json!({ "spec": { "analysis": { "metrics": [metric(&query)] } } });
        let (name, api) = (Self::name(number), self.canaries());
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// What application, Canary and route of that number are called.
    pub fn name(number: usize) -> String {
        format!("app-{number:04}")
    }

    /// Gives the first so many applications a new version. When each of them had it, in their order.
    pub async fn release(&self, count: usize, version: &str) -> Outcome<Vec<DateTime<Utc>>> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), self.namespace);
        let containers = json!([{ "name": "app", "image": format!("app:{version}") }]);
        let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        let mut moments = Vec::with_capacity(count);
        for number in 0..count {
            api.patch(&Self::name(number), &PatchParams::default(), &Patch::Strategic(&patch))
                .await?;
            moments.push(Utc::now());
        }
        Ok(moments)
    }

    fn canaries(&self) -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("flagger.app", "v1beta1", "Canary"));
        Api::namespaced_with(self.client.clone(), self.namespace, &kind)
    }

    /// Waits until that many Canaries of all are in a phase.
    pub async fn so_many_are(&self, wanted: usize, phase: &str) -> Outcome<()> {
        self.so_many_of_are(self.size, wanted, phase).await
    }

    /// Waits until that many of the first ones are in a phase. The others are not asked for, since a long list is a load of its own.
    pub async fn so_many_of_are(&self, first: usize, wanted: usize, phase: &str) -> Outcome<()> {
        let api = self.canaries();
        let patience = PATIENCE + PATIENCE_EACH * u32::try_from(first)?;
        let pause = Duration::from_secs(1) + Duration::from_millis(10) * u32::try_from(first)?;
        let deadline = Instant::now() + patience;
        let first = ListParams::default().limit(u32::try_from(first)?);
        loop {
            let canaries = api.list(&first).await?;
            let in_it = canaries.iter().filter(|canary| canary.data["status"]["phase"] == phase);
            let count = in_it.count();
            if count == wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{count} of {wanted} canaries were {phase} after {patience:?}").into());
            }
            sleep(pause).await;
        }
    }
}

fn deployment(namespace: &str, number: usize, pods: u32) -> Value {
    let labels = json!({ "app": Fleet::name(number) });
    let ports = json!([{ "name": "http", "containerPort": 9898 }, { "name": "metrics", "containerPort": 9797 }]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": Fleet::name(number), "namespace": namespace },
        "spec": {
            "replicas": pods,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": kwok::placed(json!({
                "containers": [{ "name": "app", "image": "app:1.0.0", "ports": ports }],
            }))},
        },
    })
}

fn metric(query: &str) -> Value {
    json!({ "name": "share", "interval": "5s", "query": query, "thresholdRange": { "min": 99 } })
}

fn canary(namespace: &str, number: usize, own: &Value) -> Value {
    let mut spec = json!({
        "provider": "istio",
        "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": Fleet::name(number) },
        "service": { "port": 80, "targetPort": 9898 },
        "analysis": { "stepWeight": 20, "maxWeight": 60 },
    });
    for (part, value) in own.as_object().into_iter().flatten() {
        spec[part] = value.clone();
    }
    spec["analysis"]["interval"] = json!(format!("{}s", INTERVAL.as_secs()));
    spec["analysis"]["threshold"] = json!(THRESHOLD);
    spec["analysis"]["metrics"] = json!([metric("vector(100)")]);
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": { "name": Fleet::name(number), "namespace": namespace },
        "spec": spec,
    })
}
