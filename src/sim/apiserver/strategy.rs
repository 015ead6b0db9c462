//! What each kind does to an object right before it is stored: who may write `status`, and what the server fills in.

use serde_json::{Value, json};

use super::{call::Call, crd, errors::Refusal, generation, metadata, state::State};

/// The first two octets of the cluster addresses of Services.
const SERVICE_NETWORK: &str = "10.96";

/// Prepares a new object.
pub(super) fn prepare_create(state: &mut State, call: &Call, object: &mut Value) -> Result<(), Refusal> {
    let resource = &call.resource;
    if resource.status && resource.qualified() != "nodes" {
        remove(object, "status");
    }
    match resource.qualified() {
        "namespaces" => {
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"] = json!({"phase": "Active"});
            let name = metadata::text(object, "name").to_owned();
            metadata::set(object, "metadata.labels", {
                let mut labels = object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
                labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
                labels.into()
            });
        }
        crd::CRDS => {
            crd::fill(object);
            object["status"] = crd::established(object, &metadata::seconds(call.now));
            metadata::of(object).insert("finalizers".into(), json!([crd::CLEANUP]));
        }
        "pods" => object["status"] = json!({"phase": "Pending"}),
        "services" => {
            object["status"] = json!({"loadBalancer": {}});
            address(state, call, object);
        }
        "replicasets.apps" => object["status"] = json!({"replicas": 0}),
        "deployments.apps" => object["status"] = json!({}),
        "daemonsets.apps" => {
            object["status"] = json!({
                "currentNumberScheduled": 0,
                "desiredNumberScheduled": 0,
                "numberMisscheduled": 0,
                "numberReady": 0,
            });
        }
        "horizontalpodautoscalers.autoscaling" => {
            object["status"] = json!({"currentMetrics": null, "desiredReplicas": 0})
        }
        _ => {}
    }
    Ok(())
}

/// Prepares a changed object: each endpoint writes its own half, and the generation follows.
pub(super) fn prepare_update(call: &Call, before: &Value, after: &mut Value) {
    let resource = &call.resource;
    metadata::keep(after, before, &["generation"]);
    if call.subresource == "status" {
        prepare_status(call, before, after);
        return;
    }
    if resource.status {
        match before.get("status") {
            Some(status) => after["status"] = status.clone(),
            None => remove(after, "status"),
        }
    }
    if resource.qualified() == "services" {
        keep_addresses(before, after);
    }
    if generation::moves(resource, before, after) {
        metadata::of(after).insert("generation".into(), (metadata::generation(before) + 1).into());
    }
}

/// A status write changes the status and little else.
fn prepare_status(call: &Call, before: &Value, after: &mut Value) {
    if call.resource.custom {
        let (status, managed) = (
            after.get("status").cloned(),
            after["metadata"].get("managedFields").cloned(),
        );
        let version = after["metadata"].get("resourceVersion").cloned();
        *after = before.clone();
        match status {
            Some(status) => after["status"] = status,
            None => remove(after, "status"),
        }
        for (field, value) in [("managedFields", managed), ("resourceVersion", version)] {
            match value {
                Some(value) => metadata::of(after).insert(field.to_owned(), value),
                None => metadata::of(after).remove(field),
            };
        }
        return;
    }
    match before.get("spec") {
        Some(spec) => after["spec"] = spec.clone(),
        None => remove(after, "spec"),
    }
    match call.resource.qualified() {
        "deployments.apps" => metadata::keep(after, before, &["labels"]),
        "pods" => metadata::keep(after, before, &["ownerReferences"]),
        _ => {}
    }
}

/// Gives a Service its cluster address.
fn address(state: &mut State, call: &Call, object: &mut Value) {
    let spec = &mut object["spec"];
    if spec["type"] == "ExternalName" {
        return;
    }
    let given = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
    let address = if given.is_empty() {
        let next = state.addresses + 1;
        if !call.dry_run {
            state.addresses = next;
        }
        format!("{SERVICE_NETWORK}.{}.{}", next / 250, next % 250 + 1)
    } else {
        given
    };
    spec["clusterIP"] = address.clone().into();
    spec["clusterIPs"] = json!([address]);
    spec["ipFamilies"] = json!(["IPv4"]);
    spec["ipFamilyPolicy"] = json!("SingleStack");
}

/// An update that leaves the addresses out keeps them.
fn keep_addresses(before: &Value, after: &mut Value) {
    if after["spec"]["type"] == "ExternalName" {
        return;
    }
    for field in [
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "ipFamilyPolicy",
        "healthCheckNodePort",
    ] {
        if after["spec"]
            .get(field)
            .is_none_or(|value| value.is_null() || value == "")
            && let Some(value) = before["spec"].get(field)
        {
            after["spec"][field] = value.clone();
        }
    }
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}
