//! How the lists and maps of built-in kinds merge, which the types of k8s-openapi do not say.
//!
//! The facts are those of the API server's own `OpenAPI` document (the `x-kubernetes-list-type`, `-list-map-keys` and
//! `-map-type` extensions); a list that is not named here is atomic, a map merges key by key.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    schema::{List, Object, Schema, Shape, Topology, builtin},
    zero_values,
};

/// Lists of objects: type, field, key fields.
const KEYED: &[(&str, &str, &[&str])] = &[
    ("api.apps.v1.DaemonSetStatus", "conditions", &["type"]),
    ("api.apps.v1.DeploymentStatus", "conditions", &["type"]),
    ("api.apps.v1.ReplicaSetStatus", "conditions", &["type"]),
    (
        "api.autoscaling.v2.HorizontalPodAutoscalerStatus",
        "conditions",
        &["type"],
    ),
    ("api.core.v1.Container", "env", &["name"]),
    ("api.core.v1.Container", "ports", &["containerPort", "protocol"]),
    ("api.core.v1.Container", "volumeDevices", &["devicePath"]),
    ("api.core.v1.Container", "volumeMounts", &["mountPath"]),
    ("api.core.v1.ContainerStatus", "allocatedResourcesStatus", &["name"]),
    ("api.core.v1.ContainerStatus", "volumeMounts", &["mountPath"]),
    ("api.core.v1.EphemeralContainer", "env", &["name"]),
    (
        "api.core.v1.EphemeralContainer",
        "ports",
        &["containerPort", "protocol"],
    ),
    ("api.core.v1.EphemeralContainer", "volumeDevices", &["devicePath"]),
    ("api.core.v1.EphemeralContainer", "volumeMounts", &["mountPath"]),
    ("api.core.v1.NamespaceStatus", "conditions", &["type"]),
    ("api.core.v1.NodeStatus", "addresses", &["type"]),
    ("api.core.v1.NodeStatus", "conditions", &["type"]),
    ("api.core.v1.PodSpec", "containers", &["name"]),
    ("api.core.v1.PodSpec", "ephemeralContainers", &["name"]),
    ("api.core.v1.PodSpec", "hostAliases", &["ip"]),
    ("api.core.v1.PodSpec", "imagePullSecrets", &["name"]),
    ("api.core.v1.PodSpec", "initContainers", &["name"]),
    ("api.core.v1.PodSpec", "resourceClaims", &["name"]),
    ("api.core.v1.PodSpec", "schedulingGates", &["name"]),
    (
        "api.core.v1.PodSpec",
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("api.core.v1.PodSpec", "volumes", &["name"]),
    ("api.core.v1.PodStatus", "conditions", &["type"]),
    ("api.core.v1.PodStatus", "podIPs", &["ip"]),
    ("api.core.v1.PodStatus", "resourceClaimStatuses", &["name"]),
    ("api.core.v1.ResourceRequirements", "claims", &["name"]),
    ("api.core.v1.ResourceStatus", "resources", &["resourceID"]),
    ("api.core.v1.ServiceAccount", "secrets", &["name"]),
    ("api.core.v1.ServiceSpec", "ports", &["port", "protocol"]),
    ("api.core.v1.ServiceStatus", "conditions", &["type"]),
    ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "ownerReferences", &["uid"]),
];

/// Lists of single values without repetition.
const SETS: &[(&str, &str)] = &[
    ("api.core.v1.ContainerRestartRuleOnExitCodes", "values"),
    ("api.core.v1.NodeSpec", "podCIDRs"),
    ("api.discovery.v1.Endpoint", "addresses"),
    ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "finalizers"),
];

/// Fields that are maps and merge as one value.
const ATOMIC_MAPS: &[(&str, &str)] = &[
    ("api.core.v1.PodSpec", "nodeSelector"),
    ("api.core.v1.ServiceSpec", "selector"),
];

/// Structs that merge as one value.
const ATOMIC_TYPES: &[&str] = &[
    "api.core.v1.ConfigMapKeySelector",
    "api.core.v1.EndpointAddress",
    "api.core.v1.EndpointPort",
    "api.core.v1.FileKeySelector",
    "api.core.v1.LocalObjectReference",
    "api.core.v1.NodeSelector",
    "api.core.v1.NodeSelectorTerm",
    "api.core.v1.ObjectFieldSelector",
    "api.core.v1.ObjectReference",
    "api.core.v1.ResourceFieldSelector",
    "api.core.v1.ScopeSelector",
    "api.core.v1.SecretKeySelector",
    "api.core.v1.SecretReference",
    "api.core.v1.TopologySelectorTerm",
    "api.core.v1.TypedLocalObjectReference",
    "api.discovery.v1.EndpointPort",
    "apimachinery.pkg.apis.meta.v1.LabelSelector",
    "apimachinery.pkg.apis.meta.v1.OwnerReference",
];

/// Key fields that may be left out, with the value that then counts.
const KEY_DEFAULTS: &[(&str, &str, &str)] = &[
    ("api.core.v1.ContainerPort", "protocol", "TCP"),
    ("api.core.v1.ServicePort", "protocol", "TCP"),
];

/// Types that hold any JSON.
const FREE_FORM: &[&str] = &[
    "apimachinery.pkg.apis.meta.v1.FieldsV1",
    "apimachinery.pkg.runtime.RawExtension",
    "apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceValidation",
];

const PREFIX: &str = "io.k8s.";

/// The shape of `metadata`, the same for all kinds.
pub(super) fn object_meta() -> Arc<Schema> {
    static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(builtin::<ObjectMeta>);
    SCHEMA.clone()
}

/// Whether a struct merges as one value; `name` is the definition's full name.
pub(super) fn is_atomic(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|name| ATOMIC_TYPES.contains(&name))
}

/// Whether a type holds any JSON.
pub(super) fn is_free_form(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|name| FREE_FORM.contains(&name))
}

/// Puts the rules of the Go types into the fields of a struct.
pub(super) fn refine(name: &str, fields: &mut BTreeMap<String, Arc<Schema>>, required: &[String]) {
    let Some(name) = name.strip_prefix(PREFIX) else { return };
    mark_vanishing(name, fields, required);
    for (_, field, keys) in KEYED.iter().filter(|(owner, ..)| *owner == name) {
        let keys = keys.iter().map(ToString::to_string).collect();
        replace(fields, field, |shape| with_topology(shape, Topology::Map(keys)));
    }
    for (_, field, value) in KEY_DEFAULTS.iter().filter(|(owner, ..)| *owner == name) {
        if let Some(slot) = fields.get_mut(*field) {
            *slot = Arc::new(Schema {
                default: Some((*value).into()),
                ..Schema::clone(slot)
            });
        }
    }
    for (_, field) in SETS.iter().filter(|(owner, _)| *owner == name) {
        replace(fields, field, |shape| with_topology(shape, Topology::Set));
    }
    for (_, field) in ATOMIC_MAPS.iter().filter(|(owner, _)| *owner == name) {
        replace(fields, field, |shape| match shape {
            Shape::Object(map) => Some(Shape::Object(Object {
                values: map.values.clone(),
                atomic: true,
                ..Object::default()
            })),
            _ => None,
        });
    }
}

fn mark_vanishing(owner: &str, fields: &mut BTreeMap<String, Arc<Schema>>, required: &[String]) {
    let owner = owner.strip_prefix("api.").unwrap_or(owner);
    for (field, slot) in fields.iter_mut().filter(|(field, _)| !required.contains(field)) {
        if zero_values::vanishes(owner, field, &slot.shape) {
            *slot = Arc::new(Schema {
                vanishes: true,
                ..Schema::clone(slot)
            });
        }
    }
}

fn replace(fields: &mut BTreeMap<String, Arc<Schema>>, field: &str, change: impl FnOnce(&Shape) -> Option<Shape>) {
    if let Some(slot) = fields.get_mut(field)
        && let Some(shape) = change(&slot.shape)
    {
        *slot = Arc::new(Schema {
            shape,
            ..Schema::clone(slot)
        });
    }
}

fn with_topology(shape: &Shape, topology: Topology) -> Option<Shape> {
    match shape {
        Shape::List(list) => Some(Shape::List(List {
            items: list.items.clone(),
            topology,
        })),
        _ => None,
    }
}
