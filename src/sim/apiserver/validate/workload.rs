//! Rules of Deployments, `ReplicaSets`, `DaemonSets` and of the pods that they make.

use serde_json::{Value, json};

use super::super::errors::{FieldError, FieldErrorKind};

/// Rules of the spec; `before` is the stored object, if any.
pub(super) fn spec(before: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let (spec, mut errors) = (&object["spec"], Vec::new());
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        if let Some(number) = spec[field].as_i64().filter(|&number| number < 0) {
            let detail = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(format!("spec.{field}"), number, detail));
        }
    }
    selector(before, spec, &mut errors);
    template(&spec["template"]["spec"], &mut errors);
    if object["kind"] == "Deployment" {
        strategy(spec, &mut errors);
    }
    errors
}

/// Rules of the status of a Deployment or a `ReplicaSet`: no part is greater than the whole.
pub(super) fn status(object: &Value) -> Vec<FieldError> {
    let status = &object["status"];
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let whole = "cannot be greater than status.replicas";
    let mut errors: Vec<FieldError> = [
        "fullyLabeledReplicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
    ]
    .into_iter()
    .filter(|field| count(field) > count("replicas"))
    .map(|field| FieldError::invalid(format!("status.{field}"), count(field), whole))
    .collect();
    if count("availableReplicas") > count("readyReplicas") {
        let available = count("availableReplicas");
        errors.push(FieldError::invalid(
            "status.availableReplicas",
            available,
            "cannot be greater than readyReplicas",
        ));
    }
    errors
}

fn selector(before: Option<&Value>, spec: &Value, errors: &mut Vec<FieldError>) {
    let (selector, labels) = (&spec["selector"], &spec["template"]["metadata"]["labels"]);
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
    if before.is_some_and(|before| before["spec"]["selector"] != *selector) {
        errors.push(FieldError::invalid(
            "spec.selector",
            selector.clone(),
            "field is immutable",
        ));
    }
}

/// Whether a label selector matches labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let mut equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    equal.all(|(key, value)| label(key) == value.as_str())
        && expressions.all(|expression| {
            let key = expression["key"].as_str().unwrap_or_default();
            let mut values = expression["values"].as_array().into_iter().flatten();
            let listed = values.any(|value| value.as_str() == label(key));
            match expression["operator"].as_str() {
                Some("In") => label(key).is_some() && listed,
                Some("NotIn") => label(key).is_none() || !listed,
                Some("Exists") => label(key).is_some(),
                Some("DoesNotExist") => label(key).is_none(),
                _ => false,
            }
        })
}

fn strategy(spec: &Value, errors: &mut Vec<FieldError>) {
    let strategy = &spec["strategy"];
    match strategy["type"].as_str() {
        Some("Recreate") => {
            if !strategy["rollingUpdate"].is_null() {
                let detail = "may not be specified when strategy `type` is 'Recreate'";
                errors.push(FieldError::forbidden("spec.strategy.rollingUpdate", detail));
            }
        }
        Some("RollingUpdate") => {
            let none = |field: &str| {
                matches!(&strategy["rollingUpdate"][field], Value::Number(n) if n.as_i64() == Some(0))
                    || strategy["rollingUpdate"][field] == "0%"
            };
            if none("maxUnavailable") && none("maxSurge") {
                let value = strategy["rollingUpdate"]["maxUnavailable"].clone();
                let detail = "may not be 0 when `maxSurge` is 0";
                errors.push(FieldError::invalid(
                    "spec.strategy.rollingUpdate.maxUnavailable",
                    value,
                    detail,
                ));
            }
        }
        other => {
            let value = json!({"Type": other, "RollingUpdate": null});
            let detail = "supported values: \"Recreate\", \"RollingUpdate\"";
            errors.push(FieldError::new(
                "spec.strategy",
                FieldErrorKind::NotSupported(value),
                detail,
            ));
        }
    }
    let (deadline, ready) = (
        spec["progressDeadlineSeconds"].as_i64(),
        spec["minReadySeconds"].as_i64().unwrap_or(0),
    );
    if let Some(deadline) = deadline.filter(|&deadline| deadline <= ready) {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", deadline, detail));
    }
}

fn template(pod: &Value, errors: &mut Vec<FieldError>) {
    const PATH: &str = "spec.template.spec";
    let containers: Vec<&Value> = pod["containers"].as_array().into_iter().flatten().collect();
    if containers.is_empty() {
        errors.push(FieldError::required(format!("{PATH}.containers"), ""));
    }
    let mut volumes = pod["volumes"].as_array().into_iter().flatten();
    let known: Vec<&Value> = volumes.by_ref().map(|volume| &volume["name"]).collect();
    for (index, container) in containers.iter().enumerate() {
        let path = format!("{PATH}.containers[{index}]");
        for field in ["name", "image"] {
            if container[field].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required(format!("{path}.{field}"), ""));
            }
        }
        let name = &container["name"];
        if containers[..index]
            .iter()
            .any(|other| other["name"] == *name && name.is_string())
        {
            errors.push(FieldError::new(
                format!("{path}.name"),
                FieldErrorKind::Duplicate(name.clone()),
                "",
            ));
        }
        for (at, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
            if !known.contains(&&mount["name"]) {
                let field = format!("{path}.volumeMounts[{at}].name");
                errors.push(FieldError::new(
                    field,
                    FieldErrorKind::NotFound(mount["name"].clone()),
                    "",
                ));
            }
        }
    }
    if let Some(policy) = pod["restartPolicy"].as_str().filter(|policy| *policy != "Always") {
        let kind = FieldErrorKind::NotSupported(policy.into());
        errors.push(FieldError::new(
            format!("{PATH}.restartPolicy"),
            kind,
            "supported values: \"Always\"",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_must_choose_its_own_template() {
        let labels = json!({"app": "web", "tier": "front"});
        let cases = [
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "api"}}), false),
            (
                json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "back"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}),
                true,
            ),
        ];
        for (selector, want) in cases {
            assert_eq!(selects(&selector, &labels), want, "{selector}");
        }
    }
}
