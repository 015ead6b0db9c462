//! What each kind does to an object right before it is stored: who may write `status`, and what the server fills in.

use serde_json::{Value, json};

use super::{call::Call, crd, generation, metadata, state::State};

/// The first two octets of the cluster addresses of Services.
const SERVICE_NETWORK: &str = "10.96";

/// The annotation in which a `DaemonSet` counts its templates.
pub(super) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Prepares a new object.
pub(super) fn prepare_create(state: &mut State, call: &Call, object: &mut Value) {
    let resource = &call.resource;
    if resource.status && resource.qualified() != "nodes" {
        remove(object, "status");
    }
    match resource.qualified() {
        "namespaces" => {
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"] = json!({"phase": "Active"});
        }
        crd::CRDS => {
            crd::fill(object);
            object["status"] = crd::established(object, &metadata::seconds(call.now));
            metadata::of(object).insert("finalizers".into(), json!([crd::CLEANUP]));
        }
        "pods" => {
            object["status"] = json!({"phase": "Pending", "qosClass": quality(&object["spec"])});
            admit_pod(&mut object["spec"]);
        }
        "services" => {
            object["status"] = json!({"loadBalancer": {}});
            address(state, call, object);
        }
        "replicasets.apps" => object["status"] = json!({"replicas": 0}),
        "deployments.apps" => object["status"] = json!({}),
        "daemonsets.apps" => {
            object["metadata"]["annotations"][TEMPLATE_GENERATION] = "1".into();
            object["status"] = json!({
                "currentNumberScheduled": 0,
                "desiredNumberScheduled": 0,
                "numberMisscheduled": 0,
                "numberReady": 0,
            });
        }
        "horizontalpodautoscalers.autoscaling" => {
            object["status"] = json!({"currentMetrics": null, "desiredReplicas": 0});
        }
        _ => {}
    }
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
    if resource.qualified() == "daemonsets.apps" {
        count_template(before, after);
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

/// A `DaemonSet` counts the changes of its template in an annotation.
fn count_template(before: &Value, after: &mut Value) {
    let known = before["metadata"]["annotations"][TEMPLATE_GENERATION]
        .as_str()
        .and_then(|text| text.parse().ok());
    let changed = before["spec"]["template"] != after["spec"]["template"];
    let count = known.unwrap_or(0) + i64::from(changed);
    metadata::of(after).entry("annotations").or_insert_with(|| json!({}));
    after["metadata"]["annotations"][TEMPLATE_GENERATION] = count.to_string().into();
}

/// What the admission plugins that are on by default add to a pod: priority, and patience with its node.
fn admit_pod(spec: &mut Value) {
    spec["priority"] = 0.into();
    spec["preemptionPolicy"] = "PreemptLowerPriority".into();
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !tolerations.iter().any(|toleration| toleration["key"] == key) {
            let toleration = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
            tolerations.push(toleration);
        }
    }
    spec["tolerations"] = tolerations.into();
}

/// The quality-of-service class of a pod, from its requests and limits of cpu and memory.
fn quality(spec: &Value) -> &'static str {
    let lists = ["containers", "initContainers"]
        .into_iter()
        .filter_map(|list| spec[list].as_array());
    let resources: Vec<&Value> = lists.flatten().map(|container| &container["resources"]).collect();
    let of = |part: &str, name: &str| resources.iter().map(|all| all[part].get(name)).collect::<Vec<_>>();
    let any = ["requests", "limits"].into_iter().any(|part| {
        ["cpu", "memory"]
            .into_iter()
            .any(|name| of(part, name).iter().any(Option::is_some))
    });
    let guaranteed = ["cpu", "memory"].into_iter().all(|name| {
        let (requests, limits) = (of("requests", name), of("limits", name));
        limits.iter().all(Option::is_some) && requests == limits
    });
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
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
    let selects = spec["selector"].as_object().is_some_and(|labels| !labels.is_empty());
    // A Service without addresses and without pods of its own may lead to addresses of any kind.
    let (families, policy) = if address == "None" && !selects {
        (json!(["IPv4", "IPv6"]), "RequireDualStack")
    } else {
        (json!(["IPv4"]), "SingleStack")
    };
    spec["clusterIP"] = address.clone().into();
    spec["clusterIPs"] = json!([address]);
    spec["ipFamilies"] = families;
    spec["ipFamilyPolicy"] = policy.into();
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
