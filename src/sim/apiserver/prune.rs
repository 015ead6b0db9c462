//! Structural pruning and defaulting: an object keeps only what its schema knows, and gets what the schema gives.

use serde_json::Value;

use super::schema::{Object, Schema, Shape};

/// Removes every field that the schema does not have; the paths of the removed ones are added to `unknown`.
pub(super) fn prune(schema: &Schema, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    // Nearly every object is well, and paths are made for the others only.
    if !is_known(schema, value) {
        take_out(schema, value, path, unknown);
    }
}

fn is_known(schema: &Schema, value: &Value) -> bool {
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(fields)) => fields.iter().all(|(name, child)| {
            let known = object.fields.get(name).or(object.values.as_ref());
            known.map_or_else(
                || object.preserve || is_envelope(object, name),
                |schema| is_known(schema, child),
            )
        }),
        (Shape::List(list), Value::Array(items)) => items.iter().all(|item| is_known(&list.items, item)),
        _ => true,
    }
}

fn take_out(schema: &Schema, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(fields)) => {
            let mut dropped = Vec::new();
            for (name, child) in fields.iter_mut() {
                let inner = join(path, name);
                match object.fields.get(name).or(object.values.as_ref()) {
                    Some(schema) => take_out(schema, child, &inner, unknown),
                    None if object.preserve || is_envelope(object, name) => {}
                    None => dropped.push(name.clone()),
                }
            }
            for name in dropped {
                fields.remove(&name);
                unknown.push(join(path, &name));
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                take_out(&list.items, item, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

/// Removes fields that are left out when they hold their zero value, from the inside out.
pub(super) fn trim(schema: &Schema, value: &mut Value) {
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(fields)) => {
            fields.retain(|name, child| {
                let Some(schema) = object.fields.get(name).or(object.values.as_ref()) else {
                    return true;
                };
                trim(schema, child);
                !(schema.vanishes && is_zero(child))
            });
        }
        (Shape::List(list), Value::Array(items)) => items.iter_mut().for_each(|item| trim(&list.items, item)),
        _ => {}
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// Removes nulls where null is no value, then fills in defaults, also in parts that came from a default.
pub(super) fn default(schema: &Schema, value: &mut Value) {
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(fields)) => {
            fields.retain(|name, child| {
                let known = object.fields.get(name).or(object.values.as_ref());
                !child.is_null() || known.is_none_or(|schema| schema.nullable || matches!(schema.shape, Shape::Any))
            });
            for (name, schema) in &object.fields {
                if let Some(default) = &schema.default
                    && !fields.contains_key(name)
                {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, child) in fields.iter_mut() {
                if let Some(schema) = object.fields.get(name).or(object.values.as_ref()) {
                    default(schema, child);
                }
            }
        }
        (Shape::List(list), Value::Array(items)) => items.iter_mut().for_each(|item| default(&list.items, item)),
        _ => {}
    }
}

/// The fields that a whole object within an object always has.
fn is_envelope(object: &Object, name: &str) -> bool {
    object.embedded && matches!(name, "apiVersion" | "kind" | "metadata")
}

/// A path with one more field, as Kubernetes prints it.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::schema::from_crd, *};

    fn schema() -> std::sync::Arc<Schema> {
        from_crd(
            &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
                "weight": {"type": "integer", "default": 1},
                "note": {"type": "string", "nullable": true},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "rules": {"type": "array", "items": {"type": "object", "properties": {
                    "kind": {"type": "string", "default": "Service"}}}},
                "strategy": {"type": "object", "default": {}, "properties": {
                    "type": {"type": "string", "default": "Rolling"}}},
            }}}}),
        )
    }

    #[test]
    fn unknown_fields_go_and_are_named() {
        let mut object = json!({"kind": "A", "metadata": {"name": "a", "colour": "red"}, "spec": {
            "weight": 2, "colour": "red", "free": {"any": {"thing": 1}}, "labels": {"a": "b"},
            "rules": [{"kind": "Service", "size": 3}]}});
        let mut unknown = Vec::new();
        prune(&schema(), &mut object, "", &mut unknown);
        unknown.sort();
        assert_eq!(unknown, ["metadata.colour", "spec.colour", "spec.rules[0].size"]);
        assert_eq!(object["spec"]["free"], json!({"any": {"thing": 1}}));
        assert_eq!(object["spec"]["rules"], json!([{"kind": "Service"}]));
    }

    #[test]
    fn zero_values_of_built_in_kinds_go_unless_they_are_pointers() {
        use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
        let mut deployment = json!({"metadata": {"labels": {}, "name": "a"}, "spec": {"paused": false, "replicas": 0,
            "minReadySeconds": 0}});
        trim(&super::super::schema::builtin::<Deployment>(), &mut deployment);
        assert_eq!(deployment, json!({"metadata": {"name": "a"}, "spec": {"replicas": 0}}));
        let mut lease = json!({"spec": {"holderIdentity": ""}});
        trim(&super::super::schema::builtin::<Lease>(), &mut lease);
        assert_eq!(lease, json!({"spec": {"holderIdentity": ""}}));
    }

    #[test]
    fn defaults_fill_gaps_and_nulls_go() {
        let mut object = json!({"spec": {"weight": null, "note": null, "labels": null, "rules": [{}]}});
        default(&schema(), &mut object);
        let want = json!({"spec": {"weight": 1, "note": null, "rules": [{"kind": "Service"}],
            "strategy": {"type": "Rolling"}}});
        assert_eq!(object, want);
    }
}
