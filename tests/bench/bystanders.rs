//! What stands in a cluster beside the canaries and is none of their business: a controller that caches all of it pays for it.

use std::fmt;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::harness::{Outcome, objects};

/// Where they are. The audit log leaves this namespace out: nobody is judged by them, and they are large.
const NAMESPACE: &str = "bystanders";

/// Writes under way at once.
const SIDE_BY_SIDE: usize = 16;

/// How much text a config has.
const CONFIG_BYTES: usize = 20_000;

/// How many of each.
pub struct Bystanders {
    deployments: usize,
    slices: usize,
    configs: usize,
    secrets: usize,
}

impl Bystanders {
    /// As in a large cluster, or a tenth of that.
    pub const fn new(full: bool) -> Self {
        let tenth = if full { 1 } else { 10 };
        Self {
            deployments: 2_000 / tenth,
            slices: 5_000 / tenth,
            configs: 5_000 / tenth,
            secrets: 5_000 / tenth,
        }
    }

    /// Creates all of them.
    pub async fn create(&self, client: &Client) -> Outcome<()> {
        let room = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        objects::apply_text(client, &room.to_string()).await?;
        let text = "x".repeat(CONFIG_BYTES);
        many::<Deployment>(client, self.deployments, |name| {
            json!({
                "metadata": { "name": name },
                "spec": {
                    "replicas": 0,
                    "selector": { "matchLabels": { "app": name } },
                    "template": {
                        "metadata": { "labels": { "app": name } },
                        "spec": { "containers": [{ "name": "app", "image": "bystander:1.0.0" }] },
                    },
                },
            })
        })
        .await?;
        many::<EndpointSlice>(client, self.slices, |name| {
            let address = json!({ "addresses": ["10.98.0.1"], "conditions": { "ready": true } });
            json!({ "metadata": { "name": name }, "addressType": "IPv4", "endpoints": [address] })
        })
        .await?;
        many::<ConfigMap>(
            client,
            self.configs,
            |name| json!({ "metadata": { "name": name }, "data": { "text": text } }),
        )
        .await?;
        many::<Secret>(
            client,
            self.secrets,
            |name| json!({ "metadata": { "name": name }, "stringData": { "text": text } }),
        )
        .await
    }
}

impl fmt::Display for Bystanders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            deployments,
            slices,
            configs,
            secrets,
        } = self;
        write!(
            f,
            "{deployments} Deployments, {slices} EndpointSlices, {configs} ConfigMaps and {secrets} Secrets of 20 KB that are no canary's"
        )
    }
}

async fn many<K>(client: &Client, count: usize, object: impl Fn(&str) -> Value) -> Outcome<()>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    let mut all = Vec::with_capacity(count);
    for number in 0..count {
        all.push(serde_json::from_value::<K>(object(&format!("bystander-{number}")))?);
    }
    stream::iter(all)
        .map(Ok)
        .try_for_each_concurrent(SIDE_BY_SIDE, |object| {
            let api = &api;
            async move {
                api.create(&PostParams::default(), &object).await?;
                Ok::<_, kube::Error>(())
            }
        })
        .await?;
    Ok(())
}
