//! Custom resource definitions: what they add to the catalogue, and the status that the server gives them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    resource::{CrdNames, Resource, ScalePaths},
    schema,
    state::Catalogue,
    store::Change,
};

pub(super) const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// The finalizer that keeps a definition until its objects are gone.
pub(super) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Serves what a stored definition defines, and no longer what a removed one defined.
pub(super) fn serve(catalogue: &mut Catalogue, resource: &Resource, change: &Change) {
    if resource.qualified() != CRDS {
        return;
    }
    if let Some(before) = &change.before {
        let spec = &before["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        catalogue.remove(&text(&spec["group"]), &text(&spec["names"]["plural"]));
    }
    if let Some(after) = &change.after {
        for resource in versions(after) {
            catalogue.add(Arc::new(resource));
        }
    }
}

/// Fills in the names that follow from others.
pub(super) fn fill(object: &mut Value) {
    let kind = object["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
    let names = &mut object["spec"]["names"];
    for (field, value) in [("singular", kind.to_lowercase()), ("listKind", format!("{kind}List"))] {
        if names[field].as_str().unwrap_or_default().is_empty() {
            names[field] = value.into();
        }
    }
    if object["spec"]["conversion"].is_null() {
        object["spec"]["conversion"] = json!({"strategy": "None"});
    }
}

/// The status of a CRD whose names are free.
pub(super) fn established(object: &Value, now: &str) -> Value {
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
    let stored = object["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<Value> = stored
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": object["spec"]["names"],
        "storedVersions": stored,
    })
}

fn versions(crd: &Value) -> Vec<Resource> {
    let spec = &crd["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names = CrdNames {
        group: text(&spec["group"]),
        kind: text(&spec["names"]["kind"]),
        plural: text(&spec["names"]["plural"]),
        singular: text(&spec["names"]["singular"]),
        short_names: spec["names"]["shortNames"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect(),
        namespaced: spec["scope"] == "Namespaced",
    };
    let versions: Vec<&Value> = spec["versions"].as_array().into_iter().flatten().collect();
    let storage = versions
        .iter()
        .find(|version| version["storage"] == true)
        .map(|version| text(&version["name"]));
    let storage = storage.unwrap_or_default();
    let served = versions.into_iter().filter(|version| version["served"] == true);
    served
        .map(|version| {
            let subresources = &version["subresources"];
            let openapi = &version["schema"]["openAPIV3Schema"];
            Resource::from_crd(
                names.clone(),
                &text(&version["name"]),
                &storage,
                subresources["status"].is_object(),
                scale(&subresources["scale"]),
                openapi.clone(),
                schema::from_crd(openapi),
            )
        })
        .collect()
}

fn scale(declared: &Value) -> Option<ScalePaths> {
    let path = |field: &str| {
        declared[field]
            .as_str()
            .map(|path| path.trim_start_matches('.').to_owned())
    };
    Some(ScalePaths {
        spec_replicas: path("specReplicasPath")?,
        status_replicas: path("statusReplicasPath")?,
        selector: path("labelSelectorPath"),
    })
}
