//! Operations on values whose merge rules are known: which fields there are, what differs, merging, taking fields out.
//!
//! These are the four operations of server-side apply. A value whose schema is unknown is read as what it looks like: a
//! map merges by key, a list is one value.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    field_set::{FieldSet, Step},
    schema::{List, Object, Scalar, Schema, Shape, Topology},
};

/// What differs between two values. A field is in one of the sets only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

/// How a node is walked.
enum Walk<'a> {
    /// One value, whatever it holds.
    Leaf,
    /// A struct (`Some`) or a map of unknown values.
    Fields(Option<&'a Object>),
    Items(&'a List),
}

impl Walk<'_> {
    fn of<'a>(schema: &'a Schema, samples: [Option<&Value>; 2]) -> Walk<'a> {
        let sample = samples.into_iter().flatten().find(|value| !value.is_null());
        match (&schema.shape, sample) {
            (Shape::Object(object), None | Some(Value::Object(_))) if !object.atomic => Walk::Fields(Some(object)),
            (Shape::Any, Some(Value::Object(_))) => Walk::Fields(None),
            (Shape::List(list), None | Some(Value::Array(_))) if list.topology != Topology::Atomic => Walk::Items(list),
            _ => Walk::Leaf,
        }
    }
}

/// The fields that a value sets.
pub(super) fn fields(schema: &Schema, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(schema, value, &mut Vec::new(), &mut set);
    set
}

fn collect(schema: &Schema, value: &Value, path: &mut Vec<Step>, set: &mut FieldSet) {
    match Walk::of(schema, [Some(value), None]) {
        _ if is_hollow(value) => set.insert(path),
        Walk::Leaf => set.insert(path),
        Walk::Fields(object) => {
            for (name, child) in value.as_object().into_iter().flatten() {
                path.push(Step::field(name));
                if is_hollow(child) && !child.is_array() || !is_struct_field(object, name) {
                    set.insert(path);
                }
                collect(&child_schema(object, name), child, path, set);
                path.pop();
            }
        }
        Walk::Items(list) => {
            for (step, item) in items(list, Some(value)) {
                path.push(step);
                set.insert(path);
                collect(&list.items, item, path, set);
                path.pop();
            }
        }
    }
}

/// What changes from `before` to `after`.
pub(super) fn compare(schema: &Schema, before: &Value, after: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    differ(schema, [Some(before), Some(after)], &mut Vec::new(), &mut comparison);
    comparison
}

fn differ(schema: &Schema, [before, after]: [Option<&Value>; 2], path: &mut Vec<Step>, found: &mut Comparison) {
    if before == after {
        return;
    }
    let walk = Walk::of(schema, [after, before]);
    let hollow = before.is_none_or(is_hollow) && after.is_none_or(is_hollow);
    match walk {
        Walk::Fields(object) if !hollow => {
            let (left, right) = (as_map(before), as_map(after));
            for name in names(left, right) {
                path.push(Step::field(name));
                let pair = [left.and_then(|map| map.get(name)), right.and_then(|map| map.get(name))];
                differ(&child_schema(object, name), pair, path, found);
                path.pop();
            }
        }
        Walk::Items(list) if !hollow => {
            let (left, right) = (index(list, before), index(list, after));
            for step in left.keys().chain(right.keys().filter(|step| !left.contains_key(step))) {
                path.push(step.clone());
                differ(
                    &list.items,
                    [left.get(step).copied(), right.get(step).copied()],
                    path,
                    found,
                );
                path.pop();
            }
        }
        _ => {
            if before.is_some() && after.is_some() && before != after {
                found.modified.insert(path);
            }
        }
    }
    match (before, after) {
        (None, Some(_)) => found.added.insert(path),
        (Some(_), None) => found.removed.insert(path),
        _ => {}
    }
}

/// `live` with everything that `config` sets.
pub(super) fn merge(schema: &Schema, live: &Value, config: &Value) -> Value {
    merge_node(schema, Some(live), Some(config)).unwrap_or(Value::Null)
}

fn merge_node(schema: &Schema, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let newest = || config.or(live).cloned();
    if live.is_none_or(is_hollow) && config.is_none_or(is_hollow) {
        return newest();
    }
    match Walk::of(schema, [config, live]) {
        Walk::Leaf => newest(),
        Walk::Fields(object) => {
            let (left, right) = (as_map(live), as_map(config));
            let merged: Map<String, Value> = names(left, right)
                .into_iter()
                .filter_map(|name| {
                    let pair = (left.and_then(|map| map.get(name)), right.and_then(|map| map.get(name)));
                    Some((
                        name.to_owned(),
                        merge_node(&child_schema(object, name), pair.0, pair.1)?,
                    ))
                })
                .collect();
            Some(Value::Object(merged))
        }
        Walk::Items(list) => Some(Value::Array(merge_items(list, live, config))),
    }
}

/// Items of both lists: those that only `live` has keep their place between the others, whose order is that of `config`.
fn merge_items(list: &List, live: Option<&Value>, config: Option<&Value>) -> Vec<Value> {
    let (left, right) = (items(list, live), items(list, config));
    let (known, wanted) = (index(list, live), index(list, config));
    let mut merged = Vec::new();
    let mut rest = right.iter().peekable();
    let take = |step: &Step, item: &Value| merge_node(&list.items, known.get(step).copied(), Some(item));
    for (step, item) in left {
        if !wanted.contains_key(&step) {
            merged.extend(merge_node(&list.items, Some(item), None));
            continue;
        }
        while let Some((next, item)) = rest.next_if(|(next, _)| *next != step && !known.contains_key(next)) {
            merged.extend(take(next, item));
        }
        if let Some((next, item)) = rest.next_if(|(next, _)| *next == step) {
            merged.extend(take(next, item));
        }
    }
    for (step, item) in rest {
        merged.extend(take(step, item));
    }
    merged
}

/// `value` without the fields of a set; `None` when nothing is left.
pub(super) fn remove(schema: &Schema, value: &Value, gone: &FieldSet) -> Option<Value> {
    match Walk::of(schema, [Some(value), None]) {
        Walk::Leaf => (!matches!(schema.shape, Shape::Object(_) | Shape::List(_))).then(|| value.clone()),
        Walk::Fields(object) => {
            let map: Map<String, Value> = as_map(Some(value))?
                .iter()
                .filter(|(name, _)| !gone.has(&Step::field(name)))
                .map(|(name, child)| {
                    let left = match gone.below(&Step::field(name)) {
                        Some(below) => remove(&child_schema(object, name), child, below).unwrap_or(Value::Null),
                        None => child.clone(),
                    };
                    (name.clone(), left)
                })
                .collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        Walk::Items(list) => {
            let left: Vec<Value> = items(list, Some(value))
                .into_iter()
                .filter(|(step, _)| !gone.has(step))
                .map(|(step, item)| match gone.below(&step) {
                    Some(below) => remove(&list.items, item, below).unwrap_or(Value::Null),
                    None => item.clone(),
                })
                .collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
    }
}

/// Whether a path ends at a field of a struct, not at a key of a map.
pub(super) fn is_field(schema: &Schema, path: &[Step]) -> bool {
    match (&schema.shape, path) {
        (Shape::Object(object), [Step::Field(last)]) => object.fields.contains_key(last),
        (Shape::Object(object), [Step::Field(name), rest @ ..]) => object
            .fields
            .get(name)
            .or(object.values.as_ref())
            .is_some_and(|schema| is_field(schema, rest)),
        (Shape::List(list), [_, rest @ ..]) if !rest.is_empty() => is_field(&list.items, rest),
        _ => false,
    }
}

/// Everything in a value that its schema does not allow, each with its path.
pub(super) fn mistakes(schema: &Schema, value: &Value, path: &str) -> Vec<String> {
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(fields)) => fields
            .iter()
            .flat_map(|(name, child)| {
                let inner = format!("{path}.{name}");
                match object.fields.get(name).or(object.values.as_ref()) {
                    Some(schema) => mistakes(schema, child, &inner),
                    None if object.preserve || object.embedded => Vec::new(),
                    None => vec![format!("{inner}: field not declared in schema")],
                }
            })
            .collect(),
        (Shape::List(list), Value::Array(values)) => {
            let mut seen = BTreeSet::new();
            let mut found = Vec::new();
            for (at, item) in values.iter().enumerate() {
                match step(list, at, item) {
                    Some(step) if list.topology != Topology::Atomic && !seen.insert(step.clone()) => {
                        let shown = super::field_set::display(&[step]);
                        found.push(format!("{path}: duplicate entries for key {shown}"));
                    }
                    Some(step) => {
                        let shown = super::field_set::display(&[step]);
                        found.extend(mistakes(&list.items, item, &format!("{path}{shown}")));
                    }
                    None => found.push(format!(
                        "{path}: element {at}: associative list with keys has an element that omits key field"
                    )),
                }
            }
            found
        }
        (Shape::Scalar(scalar), value) => wrong_scalar(*scalar, value)
            .map(|why| format!("{path}: {why}"))
            .into_iter()
            .collect(),
        (Shape::Object(_), value) if !value.is_null() => vec![format!("{path}: expected map, got &{{{value}}}")],
        (Shape::List(_), value) if !value.is_null() => vec![format!("{path}: expected list, got &{{{value}}}")],
        _ => Vec::new(),
    }
}

// === impl details ===

/// Why a single value is not of its type, in the words of the merge library.
fn wrong_scalar(scalar: Scalar, value: &Value) -> Option<String> {
    let go_type = match value {
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        Value::Number(_) => "int64",
        Value::Null => return None,
    };
    match scalar {
        Scalar::Integer | Scalar::Number if !value.is_number() => {
            Some(format!("expected numeric (int or float), got {go_type}"))
        }
        Scalar::Text if !value.is_string() => Some(format!(
            "expected string, got &value.valueUnstructured{{Value:{value}}}"
        )),
        Scalar::Boolean if !value.is_boolean() => Some(format!(
            "expected boolean, got &value.valueUnstructured{{Value:{value}}}"
        )),
        _ => None,
    }
}

fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn is_struct_field(object: Option<&Object>, name: &str) -> bool {
    object.is_some_and(|object| object.fields.contains_key(name))
}

fn child_schema(object: Option<&Object>, name: &str) -> Arc<Schema> {
    object
        .and_then(|object| object.fields.get(name).or(object.values.as_ref()))
        .cloned()
        .unwrap_or_else(Schema::any)
}

fn as_map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn names<'a>(left: Option<&'a Map<String, Value>>, right: Option<&'a Map<String, Value>>) -> BTreeSet<&'a str> {
    left.into_iter()
        .chain(right)
        .flat_map(Map::keys)
        .map(String::as_str)
        .collect()
}

/// The items of a list with their identities; those without one are left out.
fn items<'a>(list: &List, value: Option<&'a Value>) -> Vec<(Step, &'a Value)> {
    let values = value.and_then(Value::as_array).into_iter().flatten();
    values
        .enumerate()
        .filter_map(|(at, item)| Some((step(list, at, item)?, item)))
        .collect()
}

fn index<'a>(list: &List, value: Option<&'a Value>) -> BTreeMap<Step, &'a Value> {
    items(list, value).into_iter().rev().collect()
}

/// An item's identity in its list.
fn step(list: &List, at: usize, item: &Value) -> Option<Step> {
    match &list.topology {
        Topology::Atomic => Some(Step::Index(at)),
        Topology::Set => Some(Step::Item(item.to_string())),
        Topology::Map(keys) => {
            let fields: BTreeMap<String, String> = keys
                .iter()
                .filter_map(|key| {
                    let default = || list.items.child(key).and_then(|schema| schema.default.as_ref());
                    let value = item.get(key).or_else(default)?;
                    Some((key.clone(), value.to_string()))
                })
                .collect();
            (!fields.is_empty()).then_some(Step::Key(fields))
        }
    }
}
