//! Strategic merge patch: a merge patch that knows the keys of built-in lists, and a few directives.
//!
//! Lists merge by the first of their key fields, as in the `patchMergeKey` tags of the Kubernetes types; of the lists of
//! single values only finalizers merge. Directives are `$patch` (`delete`, `replace`, `merge`), `$retainKeys`,
//! `$deleteFromPrimitiveList/…` and `$setElementOrder/…`.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    errors::Refusal,
    schema::{Schema, Topology},
};

const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// Merges a patch into an object of a built-in kind.
pub(super) fn merge(schema: &Schema, before: &Value, patch: &Value) -> Result<Value, Refusal> {
    if !patch.is_object() {
        return Err(Refusal::bad_request(
            "error decoding patch: the patch must be an object",
        ));
    }
    merge_value(Some(schema), before.clone(), patch)
}

fn merge_value(schema: Option<&Schema>, before: Value, patch: &Value) -> Result<Value, Refusal> {
    match (before, patch) {
        (Value::Object(before), Value::Object(patch)) => merge_map(schema, before, patch),
        (_, Value::Object(patch)) => merge_map(schema, Map::new(), patch),
        (Value::Array(before), Value::Array(patch)) => merge_list(schema, before, patch),
        (_, Value::Array(patch)) => merge_list(schema, Vec::new(), patch),
        (_, patch) => Ok(patch.clone()),
    }
}

fn merge_map(
    schema: Option<&Schema>,
    mut fields: Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Value, Refusal> {
    match patch.get("$patch").and_then(Value::as_str) {
        None | Some("merge") => {}
        Some("replace") => {
            let rest = patch.iter().filter(|(name, _)| *name != "$patch");
            return Ok(Value::Object(
                rest.map(|(name, value)| (name.clone(), value.clone())).collect(),
            ));
        }
        Some("delete") => return Ok(Value::Object(Map::new())),
        Some(other) => return Err(Refusal::bad_request(format!("Unknown patch type found: {other}"))),
    }
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        fields.retain(|name, _| kept.iter().any(|key| key == name));
    }
    let child = |name: &str| schema.and_then(|schema| schema.child(name)).map(Arc::as_ref);
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        if value.is_null() {
            fields.remove(name);
            continue;
        }
        let before = fields.remove(name).unwrap_or(Value::Null);
        fields.insert(name.clone(), merge_value(child(name), before, value)?);
    }
    for (directive, value) in patch {
        let Some(named) = value.as_array() else { continue };
        if let Some(list) = directive
            .strip_prefix(DELETE_FROM)
            .and_then(|name| fields.get_mut(name))
        {
            if let Some(items) = list.as_array_mut() {
                items.retain(|item| !named.contains(item));
            }
        } else if let Some(name) = directive.strip_prefix(ORDER) {
            let key = merge_key(child(name));
            if let Some(items) = fields.get_mut(name).and_then(Value::as_array_mut) {
                reorder(items, named, key.as_deref());
            }
        }
    }
    Ok(Value::Object(fields))
}

fn merge_list(schema: Option<&Schema>, mut items: Vec<Value>, patch: &[Value]) -> Result<Value, Refusal> {
    let list = schema.and_then(Schema::items);
    if list.is_some_and(|list| list.topology == Topology::Set) {
        let order = items.clone();
        items.retain(|item| !patch.contains(item));
        return Ok(Value::Array(interleave(items, patch.to_vec(), |item| {
            order.iter().position(|known| known == item)
        })));
    }
    let (Some(list), Some(key)) = (list, merge_key(schema)) else {
        return Ok(Value::Array(patch.to_vec()));
    };
    if patch.iter().any(|item| item["$patch"] == "replace") {
        let rest = patch
            .iter()
            .filter(|item| item["$patch"] != "replace")
            .cloned()
            .collect();
        return Ok(Value::Array(rest));
    }
    let id = |item: &Value| item.get(&key).cloned();
    let order: Vec<Option<Value>> = items.iter().map(id).collect();
    let mut patched = Vec::new();
    for item in patch {
        if id(item).is_none() {
            return Err(Refusal::unexpected(format!(
                "map: {item} does not contain declared merge key: {key}"
            )));
        }
        let at = items.iter().position(|known| id(known) == id(item));
        let before = at.map_or(Value::Null, |at| items.remove(at));
        if item["$patch"] != "delete" {
            patched.push(merge_value(Some(&list.items), before, item)?);
        }
    }
    Ok(Value::Array(interleave(items, patched, |item| {
        order.iter().position(|known| *known == id(item))
    })))
}

/// Both lists in one: the patched items first, but behind those that stood before them.
fn interleave(kept: Vec<Value>, patched: Vec<Value>, place: impl Fn(&Value) -> Option<usize>) -> Vec<Value> {
    let (mut kept, mut patched) = (kept.into_iter().peekable(), patched.into_iter().peekable());
    let mut all = Vec::new();
    loop {
        let next = match (kept.peek(), patched.peek()) {
            (None, None) => return all,
            (Some(_), None) => kept.next(),
            (None, Some(_)) => patched.next(),
            (Some(left), Some(right)) => match (place(left), place(right)) {
                (Some(left), Some(right)) if left < right => kept.next(),
                _ => patched.next(),
            },
        };
        all.extend(next);
    }
}

fn merge_key(schema: Option<&Schema>) -> Option<String> {
    match &schema?.items()?.topology {
        Topology::Map(keys) => keys.first().cloned(),
        _ => None,
    }
}

/// Puts the items that `order` names into its order; others keep their place behind them.
fn reorder(items: &mut [Value], order: &[Value], key: Option<&str>) {
    let rank = |item: &Value| {
        let id = |value: &Value| key.map_or_else(|| value.clone(), |key| value[key].clone());
        order
            .iter()
            .position(|wanted| id(wanted) == id(item))
            .unwrap_or(order.len())
    };
    items.sort_by_key(rank);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    use super::{super::schema::builtin, *};

    fn pod(containers: &Value) -> Value {
        json!({"metadata": {"finalizers": ["a"], "labels": {"x": "1", "y": "2"}},
            "spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn containers_merge_by_name_and_go_by_directive() {
        let before = pod(&json!([{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]));
        let patch = pod(&json!([
            {"name": "b", "$patch": "delete"},
            {"name": "a", "env": [{"name": "Y", "value": "2"}]},
            {"name": "c", "image": "c:1"},
        ]));
        let after = merge(&builtin::<Deployment>(), &before, &patch).unwrap();
        let want = json!([
            {"name": "a", "image": "a:1", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
            {"name": "c", "image": "c:1"},
        ]);
        assert_eq!(after["spec"]["template"]["spec"]["containers"], want);
    }

    #[test]
    fn finalizers_add_up_and_null_removes() {
        let patch = json!({"metadata": {"finalizers": ["b", "a"], "labels": {"x": null}}});
        let after = merge(&builtin::<Deployment>(), &pod(&json!([])), &patch).unwrap();
        assert_eq!(
            after["metadata"],
            json!({"finalizers": ["b", "a"], "labels": {"y": "2"}})
        );
    }

    #[test]
    fn an_item_without_its_key_is_refused() {
        let patch = pod(&json!([{"image": "a:1"}]));
        let refusal = merge(&builtin::<Deployment>(), &pod(&json!([])), &patch).unwrap_err();
        assert!(refusal.message.contains("does not contain declared merge key: name"));
    }
}
