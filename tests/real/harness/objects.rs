//! Kubernetes objects from files, put into the cluster as they stand there.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::harness::Outcome;

/// The field manager under which the harness writes: the team that owns the application.
pub const TEAM: &str = "team";

/// Applies every object of a file, in its order.
pub async fn apply_file(client: &Client, file: &Path) -> Outcome<()> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    apply_text(client, &text)
        .await
        .map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Applies every object of a file that continues quoted strings at the depth of their key. Go's YAML parser takes that,
/// YAML itself doesn't, and Flagger's definitions have it.
pub async fn apply_lenient_file(client: &Client, file: &Path) -> Outcome<()> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut quoted = false;
    let mut strict = String::new();
    for line in text.lines() {
        let continues = quoted;
        if continues || line.contains(": '") {
            // An escaped quote is two of them, and so changes nothing.
            quoted ^= line.matches('\'').count() % 2 == 1;
        }
        strict.push_str(if continues {
            "                                "
        } else {
            ""
        });
        strict.push_str(line);
        strict.push('\n');
    }
    apply_text(client, &strict)
        .await
        .map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Applies every object of a text, in its order.
pub async fn apply_text(client: &Client, text: &str) -> Outcome<()> {
    for document in text.split("\n---") {
        apply(client, document).await?;
    }
    Ok(())
}

async fn apply(client: &Client, document: &str) -> Outcome<()> {
    // Definitions of custom resources are longer than the parser's limits for untrusted input allow.
    let options = serde_saphyr::options! { budget: None };
    let value: serde_json::Value = serde_saphyr::from_str_with_options(document, options)?;
    if value.is_null() {
        return Ok(());
    }
    let object = DynamicObject::deserialize(value)?;
    let types = object.types.as_ref().ok_or("an object without apiVersion and kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    api.patch(
        &object.name_any(),
        &PatchParams::apply(TEAM).force(),
        &Patch::Apply(&object),
    )
    .await
    .map_err(|error| format!("{} {}: {error}", types.kind, object.name_any()))?;
    Ok(())
}

/// Waits until the API server serves every custom resource that was defined.
pub async fn all_definitions_are_served(client: &Client, patience: Duration) -> Outcome<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let deadline = Instant::now() + patience;
    loop {
        let definitions = api.list(&ListParams::default()).await?;
        let waiting: Vec<_> = definitions
            .iter()
            .filter(|definition| !is_served(definition))
            .map(ResourceExt::name_any)
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("not served after {patience:?}: {}", waiting.join(", ")).into());
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn is_served(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
}
