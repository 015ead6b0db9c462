//! JSON patch as the API server applies it.
//!
//! It is laxer than RFC 6902 in two places, as the library of the real server is: `replace` of an absent key adds it, and
//! `remove` of an absent key does nothing.

use serde_json::Value;

use super::errors::Refusal;

/// The most operations that a patch may have.
const MOST_OPERATIONS: usize = 10_000;

/// Applies a patch document.
pub(super) fn apply(before: &Value, document: &Value) -> Result<Value, Refusal> {
    let operations = document.as_array().ok_or_else(|| {
        let given = if document.is_object() { "object" } else { "string" };
        let message = format!("json: cannot unmarshal {given} into Go value of type []handlers.jsonPatchOp");
        Refusal::bad_request(format!("error decoding patch: {message}"))
    })?;
    if operations.len() > MOST_OPERATIONS {
        return Err(Refusal::too_large(format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut after = before.clone();
    for operation in operations {
        perform(&mut after, operation).ok_or_else(Refusal::unprocessable)?;
    }
    Ok(after)
}

/// Performs one operation; `None` when it does not apply.
fn perform(object: &mut Value, operation: &Value) -> Option<()> {
    let pointer = |field: &str| Some(split(operation[field].as_str()?));
    let path = pointer("path")?;
    match operation["op"].as_str()? {
        "add" => add(object, &path, operation.get("value")?.clone()),
        "replace" => replace(object, &path, operation.get("value")?.clone()),
        "remove" => take(object, &path).map(drop),
        "test" => {
            let found = get(object, &path).cloned().unwrap_or(Value::Null);
            (found == *operation.get("value").unwrap_or(&Value::Null)).then_some(())
        }
        "copy" => {
            let value = get(object, &pointer("from")?)?.clone();
            add(object, &path, value)
        }
        "move" => {
            let from = pointer("from")?;
            let value = get(object, &from)?.clone();
            take(object, &from)?;
            add(object, &path, value)
        }
        _ => None,
    }
}

fn split(pointer: &str) -> Vec<String> {
    pointer
        .split('/')
        .skip(1)
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect()
}

fn get<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, step| match value {
        Value::Object(map) => map.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The container that a path ends in, and the last step.
fn parent<'a, 'p>(object: &'a mut Value, path: &'p [String]) -> Option<(&'a mut Value, &'p str)> {
    let (last, way) = path.split_last()?;
    let container = way.iter().try_fold(object, |value, step| match value {
        Value::Object(map) => map.get_mut(step),
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    })?;
    Some((container, last))
}

fn add(object: &mut Value, path: &[String], value: Value) -> Option<()> {
    if path.is_empty() {
        *object = value;
        return Some(());
    }
    match parent(object, path)? {
        (Value::Object(map), last) => {
            map.insert(last.to_owned(), value);
        }
        (Value::Array(items), last) => {
            let at = if last == "-" { items.len() } else { last.parse().ok()? };
            if at > items.len() {
                return None;
            }
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn replace(object: &mut Value, path: &[String], value: Value) -> Option<()> {
    if path.is_empty() {
        *object = value;
        return Some(());
    }
    match parent(object, path)? {
        (Value::Object(map), last) => {
            map.insert(last.to_owned(), value);
        }
        (Value::Array(items), last) => *items.get_mut(last.parse::<usize>().ok()?)? = value,
        _ => return None,
    }
    Some(())
}

/// Takes a value out; an absent key of a map is no mistake.
fn take(object: &mut Value, path: &[String]) -> Option<()> {
    match parent(object, path)? {
        (Value::Object(map), last) => {
            map.remove(last);
        }
        (Value::Array(items), last) => {
            let at: usize = last.parse().ok()?;
            if at >= items.len() {
                return None;
            }
            items.remove(at);
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_apply_in_order_or_not_at_all() {
        let object = json!({"a": {"b": [1, 2]}, "c/d": 1});
        let cases = [
            (
                json!([{"op": "add", "path": "/a/b/-", "value": 3}]),
                Some(json!({"a": {"b": [1, 2, 3]}, "c/d": 1})),
            ),
            (
                json!([{"op": "add", "path": "/a/b/0", "value": 3}]),
                Some(json!({"a": {"b": [3, 1, 2]}, "c/d": 1})),
            ),
            (
                json!([{"op": "remove", "path": "/a/b/1"}]),
                Some(json!({"a": {"b": [1]}, "c/d": 1})),
            ),
            (json!([{"op": "remove", "path": "/a/x"}]), Some(object.clone())),
            (
                json!([{"op": "replace", "path": "/c~1d", "value": 2}]),
                Some(json!({"a": {"b": [1, 2]}, "c/d": 2})),
            ),
            (
                json!([{"op": "move", "from": "/c~1d", "path": "/e"}]),
                Some(json!({"a": {"b": [1, 2]}, "e": 1})),
            ),
            (
                json!([{"op": "test", "path": "/a/b/0", "value": 1}]),
                Some(object.clone()),
            ),
            (json!([{"op": "test", "path": "/a/b/0", "value": 2}]), None),
            (json!([{"op": "add", "path": "/x/y", "value": 2}]), None),
            (json!([{"op": "replace", "path": "/a/b/7", "value": 2}]), None),
            (json!([{"op": "explode", "path": "/a"}]), None),
        ];
        for (patch, want) in cases {
            assert_eq!(apply(&object, &patch).ok(), want, "{patch}");
        }
    }
}
