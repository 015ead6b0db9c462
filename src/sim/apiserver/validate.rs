//! Rules that an object must keep before it is stored: the schema of custom resources, and of built-in kinds the rules
//! that a controller can run into.

use serde_json::Value;

use super::{
    errors::{FieldError, FieldErrorKind},
    metadata, openapi,
    resource::{Resource, ScalePaths},
};

/// Everything that is wrong with an object; `before` is the stored one, if any.
pub(super) fn object(resource: &Resource, before: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let mut errors = common(object);
    if resource.custom {
        errors.extend(openapi::validate(&resource.openapi, object, ""));
        errors.extend(resource.scale.as_ref().and_then(|paths| scale(paths, object)));
        return errors;
    }
    match resource.qualified() {
        "deployments.apps" | "replicasets.apps" | "daemonsets.apps" => errors.extend(workload(before, object)),
        "services" => errors.extend(service(before, object)),
        "horizontalpodautoscalers.autoscaling" => errors.extend(autoscaler(object)),
        "configmaps" | "secrets" => errors.extend(configuration(before, object)),
        "controllerrevisions.apps" => errors.extend(revision(before, object)),
        _ => {}
    }
    errors
}

/// Rules of metadata that hold for every kind.
fn common(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if !is_label_value(value) {
            let detail = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
                          '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
                          'my_value',  or '12345', regex used for validation is \
                          '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
            errors.push(FieldError::invalid("metadata.labels", value, detail));
        } else if key.is_empty() {
            errors.push(FieldError::invalid(
                "metadata.labels",
                key.as_str(),
                "name part must be non-empty",
            ));
        }
    }
    let mut owning: Vec<String> = Vec::new();
    for owner in object["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let path = format!("metadata.ownerReferences.{field}");
                errors.push(match field {
                    "apiVersion" => FieldError::invalid(path, "", "version must not be empty"),
                    _ => FieldError::invalid(path, "", "must not be empty"),
                });
            }
        }
        if owner["controller"] == true {
            let text = |field: &str| owner[field].as_str().unwrap_or_default();
            owning.push(format!("{}/{}", text("kind"), text("name")));
        }
    }
    if let [first, second, ..] = owning.as_slice() {
        let owners = object["metadata"]["ownerReferences"].clone();
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        errors.push(FieldError::invalid("metadata.ownerReferences", owners, detail));
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

/// At most 63 characters: letters, digits, and `-_.` inside.
fn is_label_value(value: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    value.is_empty()
        || (value.len() <= 63
            && value.chars().all(|c| ends(c) || matches!(c, '-' | '_' | '.'))
            && value.starts_with(ends)
            && value.ends_with(ends))
}

fn workload(before: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let (spec, mut errors) = (&object["spec"], Vec::new());
    if let Some(replicas) = spec["replicas"].as_i64().filter(|&replicas| replicas < 0) {
        errors.push(FieldError::invalid(
            "spec.replicas",
            replicas,
            "must be greater than or equal to 0",
        ));
    }
    let labels = &spec["template"]["metadata"]["labels"];
    let selector = &spec["selector"];
    if !selector.is_object() {
        errors.push(FieldError::required("spec.selector", ""));
    }
    if !selector.is_object() || !selects(selector, labels) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            labels.clone(),
            detail,
        ));
    }
    if spec["template"]["spec"]["containers"]
        .as_array()
        .is_none_or(Vec::is_empty)
    {
        errors.push(FieldError::required("spec.template.spec.containers", ""));
    }
    for (index, container) in spec["template"]["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        for field in ["name", "image"] {
            if container[field].as_str().is_none_or(str::is_empty) {
                let path = format!("spec.template.spec.containers[{index}].{field}");
                errors.push(FieldError::required(path, ""));
            }
        }
    }
    if before.is_some_and(|before| before["spec"]["selector"] != *selector) {
        errors.push(FieldError::invalid(
            "spec.selector",
            selector.clone(),
            "field is immutable",
        ));
    }
    errors
}

/// Whether a label selector matches labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let mut equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    equal.all(|(key, value)| label(key) == value.as_str())
        && expressions.all(|expression| {
            let key = expression["key"].as_str().unwrap_or_default();
            let listed = expression["values"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|value| value.as_str() == label(key));
            match expression["operator"].as_str() {
                Some("In") => label(key).is_some() && listed,
                Some("NotIn") => label(key).is_none() || !listed,
                Some("Exists") => label(key).is_some(),
                Some("DoesNotExist") => label(key).is_none(),
                _ => false,
            }
        })
}

fn service(before: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let (spec, mut errors) = (&object["spec"], Vec::new());
    let ports: Vec<&Value> = spec["ports"].as_array().into_iter().flatten().collect();
    let headless = spec["clusterIP"] == "None";
    if ports.is_empty() && !headless && spec["type"] != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        if ports.len() > 1 && port["name"].as_str().is_none_or(str::is_empty) {
            errors.push(FieldError::required(format!("spec.ports[{index}].name"), ""));
        }
        let number = port["port"].as_i64().unwrap_or(0);
        if !(1..=65_535).contains(&number) {
            let detail = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(format!("spec.ports[{index}].port"), number, detail));
        }
        let same = |other: &&&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        if ports[..index].iter().any(|other| same(&other)) {
            let shown = serde_json::json!({"port": port["port"], "protocol": port["protocol"]});
            errors.push(FieldError::new(
                format!("spec.ports[{index}]"),
                FieldErrorKind::Duplicate(shown),
                "",
            ));
        }
    }
    if let Some(before) = before {
        let (old, new) = (&before["spec"]["clusterIP"], &spec["clusterIP"]);
        if spec["type"] != "ExternalName" && old.is_string() && old != new {
            let detail = "may not change once set";
            errors.push(FieldError::invalid(
                "spec.clusterIPs[0]",
                serde_json::json!([new]),
                detail,
            ));
        }
    }
    errors
}

fn autoscaler(object: &Value) -> Vec<FieldError> {
    let (spec, mut errors) = (&object["spec"], Vec::new());
    let (least, most) = (
        spec["minReplicas"].as_i64().unwrap_or(1),
        spec["maxReplicas"].as_i64().unwrap_or(0),
    );
    if most < 1 {
        errors.push(FieldError::invalid("spec.maxReplicas", most, "must be greater than 0"));
    }
    if least < 1 {
        errors.push(FieldError::invalid(
            "spec.minReplicas",
            least,
            "must be greater than or equal to 1",
        ));
    }
    if most >= 1 && most < least {
        errors.push(FieldError::invalid(
            "spec.maxReplicas",
            most,
            "must be greater than or equal to `minReplicas`",
        ));
    }
    for field in ["kind", "name"] {
        if spec["scaleTargetRef"][field].as_str().is_none_or(str::is_empty) {
            errors.push(FieldError::required(format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
    errors
}

/// Configuration objects that call themselves immutable are.
fn configuration(before: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let Some(before) = before else { return Vec::new() };
    let mut errors = Vec::new();
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
