//! Rules that an object must keep before it is stored: the schema of custom resources, and of built-in kinds the rules
//! that a controller can run into.

mod names;
mod network;
mod openapi;
mod workload;

use serde_json::Value;

use super::{
    call::Call,
    crd,
    errors::{FieldError, FieldErrorKind},
    metadata, prune,
    resource::ScalePaths,
};

/// Everything that is wrong with an object; `before` is the stored one, if any.
pub(super) fn object(call: &Call, before: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let mut errors = common(object);
    let resource = &call.resource;
    let of_status = call.subresource == "status";
    if resource.custom {
        errors.extend(if of_status {
            custom_status(&resource.openapi, object)
        } else {
            custom(call, object)
        });
        errors.extend(rules_unchecked(&resource.openapi, &errors));
        return errors;
    }
    if resource.qualified() != crd::CRDS {
        errors.extend(finalizers(object));
    }
    errors.extend(match resource.qualified() {
        "deployments.apps" | "replicasets.apps" if of_status => workload::status(object),
        _ if of_status => Vec::new(),
        "deployments.apps" | "replicasets.apps" | "daemonsets.apps" => workload::spec(before, object),
        "services" => network::service(before, object),
        "endpointslices.discovery.k8s.io" => network::endpoint_slice(before, object),
        "horizontalpodautoscalers.autoscaling" => autoscaler(object),
        "configmaps" | "secrets" => configuration(before, object),
        "controllerrevisions.apps" => revision(before, object),
        "leases.coordination.k8s.io" => lease(object),
        "events" => event(object),
        _ => Vec::new(),
    });
    errors
}

fn custom(call: &Call, object: &Value) -> Vec<FieldError> {
    let mut errors = openapi::validate(&call.resource.openapi, object, "");
    errors.extend(call.resource.scale.as_ref().and_then(|paths| scale(paths, object)));
    errors
}

/// A schema with rules of its own (CEL) says so when mistakes kept them from being looked at.
///
/// The rules themselves are not evaluated here.
fn rules_unchecked(schema: &Value, errors: &[FieldError]) -> Option<FieldError> {
    let blocking = |error: &FieldError| {
        matches!(
            error.kind,
            FieldErrorKind::NotSupported(_)
                | FieldErrorKind::Required
                | FieldErrorKind::TooLong
                | FieldErrorKind::TooMany(_)
                | FieldErrorKind::Type(_)
        )
    };
    let why = "some validation rules were not checked because the object was invalid; correct the existing errors to \
               complete validation";
    (errors.iter().any(blocking) && has_rules(schema)).then(|| FieldError::invalid("<nil>", Value::Null, why))
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields.contains_key("x-kubernetes-validations") || fields.values().any(has_rules),
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

/// A status write is judged by the status alone, whose paths then begin there.
fn custom_status(schema: &Value, object: &Value) -> Vec<FieldError> {
    let (Some(schema), Some(status)) = (schema["properties"].get("status"), object.get("status")) else {
        return Vec::new();
    };
    let mut errors = openapi::validate(schema, status, "");
    for error in &mut errors {
        error.field = if error.field.is_empty() {
            "status".to_owned()
        } else {
            prune::join("status", &error.field)
        };
    }
    errors
}

/// The number that a scale endpoint reads must be one.
fn scale(paths: &ScalePaths, object: &Value) -> Option<FieldError> {
    let path = format!(".{}", paths.spec_replicas);
    let value = metadata::at(object, &paths.spec_replicas).filter(|value| !value.is_null())?;
    match value.as_i64() {
        Some(replicas) if replicas >= 0 => None,
        Some(replicas) => Some(FieldError::invalid(path, replicas, "should be a non-negative integer")),
        None => {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let given = if value.is_string() { "string" } else { "float64" };
            let detail = format!("{path} accessor error: {shown} is of the type {given}, expected int64");
            Some(FieldError::invalid(path, 0, detail))
        }
    }
}

/// Finalizers of built-in kinds have a domain and a name, but for the few that Kubernetes knows.
fn finalizers(object: &Value) -> Vec<FieldError> {
    let known = |name: &str| name.contains('/') || matches!(name, "orphan" | "foregroundDeletion" | "kubernetes");
    let names = metadata::finalizers(object).into_iter().enumerate();
    let why = "name is neither a standard finalizer name nor is it fully qualified";
    names
        .filter(|(_, name)| !known(name))
        .map(|(index, name)| FieldError::invalid(format!("metadata.finalizers[{index}]"), name, why))
        .collect()
}

/// Rules of metadata that hold for every kind.
fn common(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let meta = &object["metadata"];
    for (key, value) in meta["labels"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        errors.extend(names::qualified(key).map(|why| FieldError::invalid("metadata.labels", key.as_str(), why)));
        errors.extend(names::label_value(value).map(|why| FieldError::invalid("metadata.labels", value, why)));
    }
    for key in meta["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
    {
        let why = names::qualified(&key.to_lowercase());
        errors.extend(why.map(|why| FieldError::invalid("metadata.annotations", key.as_str(), why)));
    }
    errors.extend(owners(&meta["ownerReferences"]));
    errors
}

fn owners(references: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut owning: Vec<String> = Vec::new();
    for owner in references.as_array().into_iter().flatten() {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(field).is_empty() {
                let why = if field == "apiVersion" {
                    "version must not be empty"
                } else {
                    "must not be empty"
                };
                errors.push(FieldError::invalid(
                    format!("metadata.ownerReferences.{field}"),
                    "",
                    why,
                ));
            }
        }
        if owner["controller"] == true {
            owning.push(format!("{}/{}", text("kind"), text("name")));
        }
    }
    if let [first, second, ..] = owning.as_slice() {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            references.clone(),
            detail,
        ));
    }
    errors
}

fn autoscaler(object: &Value) -> Vec<FieldError> {
    let (spec, mut errors) = (&object["spec"], Vec::new());
    let (least, most) = (
        spec["minReplicas"].as_i64().unwrap_or(1),
        spec["maxReplicas"].as_i64().unwrap_or(0),
    );
    let target = |field: &str| spec["scaleTargetRef"][field].as_str().unwrap_or_default();
    if target("apiVersion").is_empty() {
        let why = "apiVersion must specify API group";
        errors.push(FieldError::invalid("spec.scaleTargetRef.apiVersion", "", why));
    }
    for field in ["kind", "name"] {
        if target(field).is_empty() {
            errors.push(FieldError::required(format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
    if most == 0 {
        errors.push(FieldError::required(
            "spec.maxReplicas",
            "must be set and greater than 0",
        ));
    } else if most < 0 {
        errors.push(FieldError::invalid("spec.maxReplicas", most, "must be greater than 0"));
    }
    if least < 1 {
        errors.push(FieldError::invalid(
            "spec.minReplicas",
            least,
            "must be greater than or equal to 1",
        ));
    }
    if most < least {
        errors.push(FieldError::invalid(
            "spec.maxReplicas",
            most,
            "must be greater than or equal to `minReplicas`",
        ));
    }
    errors
}

/// Keys of data have a form; `ConfigMaps` and Secrets that call themselves immutable are.
fn configuration(before: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["data", "binaryData"] {
        for key in object[field].as_object().into_iter().flatten().map(|(key, _)| key) {
            let why = names::config_key(key);
            errors.extend(why.map(|why| FieldError::invalid(format!("{field}[{key}]"), key.as_str(), why)));
        }
    }
    let Some(before) = before else { return errors };
    if before["immutable"] == true {
        let detail = "field is immutable when `immutable` is set";
        for field in ["immutable", "data", "binaryData"] {
            if before.get(field) != object.get(field) {
                errors.push(FieldError::forbidden(field, detail));
            }
        }
    }
    if before["kind"] == "Secret" && before["type"] != object["type"] {
        errors.push(FieldError::invalid(
            "type",
            object["type"].clone(),
            "field is immutable",
        ));
    }
    errors
}

fn revision(before: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if object["data"].is_null() {
        errors.push(FieldError::required("data", "data is mandatory"));
    }
    if before.is_some_and(|before| before["data"] != object["data"]) {
        errors.push(FieldError::invalid(
            "data",
            object["data"].clone(),
            "field is immutable",
        ));
    }
    errors
}

fn lease(object: &Value) -> Vec<FieldError> {
    let spec = &object["spec"];
    let mut errors = Vec::new();
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|&seconds| seconds <= 0) {
        errors.push(FieldError::invalid(
            "spec.leaseDurationSeconds",
            seconds,
            "must be greater than 0",
        ));
    }
    if let Some(count) = spec["leaseTransitions"].as_i64().filter(|&count| count < 0) {
        errors.push(FieldError::invalid(
            "spec.leaseTransitions",
            count,
            "must be greater than or equal to 0",
        ));
    }
    errors
}

/// An event lies in the namespace of its object; one with `eventTime` says who reports, where and what was done.
fn event(object: &Value) -> Vec<FieldError> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let namespace = metadata::text(object, "namespace");
    let about = object["involvedObject"]["namespace"].as_str().unwrap_or_default();
    let mut errors = Vec::new();
    let new_style = !object["eventTime"].is_null();
    let fits = match about {
        "" => namespace == "default" || (new_style && namespace == "kube-system"),
        about => about == namespace,
    };
    if !fits {
        errors.push(FieldError::invalid(
            "involvedObject.namespace",
            about,
            "does not match event.namespace",
        ));
    }
    if new_style {
        for (field, longest) in [
            ("reportingComponent", 253),
            ("reportingInstance", 128),
            ("action", 128),
            ("reason", 128),
        ] {
            if text(field).is_empty() {
                errors.push(FieldError::required(field, ""));
            } else if text(field).len() > longest {
                errors.push(FieldError::invalid(
                    field,
                    "",
                    format!("can have at most {longest} characters"),
                ));
            }
        }
        if text("message").len() > 1024 {
            errors.push(FieldError::invalid("message", "", "can have at most 1024 characters"));
        }
    }
    errors
}
