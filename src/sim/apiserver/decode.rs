//! From a request's body to an object of the kind: envelope, unknown fields, types and defaults.

use serde_json::{Map, Value};

use super::{
    call::{Call, FieldValidation},
    defaults,
    errors::{FieldError, Refusal},
    merge_keys, metadata, prune,
    schema::{Scalar, Schema, Shape},
};

/// How much of a body an error shows.
const SHOWN_BODY: usize = 30;

/// How an object came in; the refusals of POST and PATCH differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Body,
    Patch,
}

/// An object that fits its kind, and what its sender should be told.
pub(super) struct Decoded {
    pub(super) object: Value,
    pub(super) warnings: Vec<String>,
}

/// Makes a whole object out of a body or of a patched object.
pub(super) fn object(call: &Call, mut object: Value, source: Source) -> Result<Decoded, Refusal> {
    let resource = &call.resource;
    let Some(fields) = object.as_object_mut() else {
        return Err(Refusal::bad_request(format!(
            "couldn't get version/kind; json parse error: {object}"
        )));
    };
    if resource.custom && source == Source::Body {
        whole(call, fields)?;
    }
    envelope(call, fields)?;
    metadata::of(&mut object);
    if let Some(why) = wrong_types(call, &object) {
        return Err(mismatch(call, &object, source, &why));
    }
    let mut unknown = Vec::new();
    prune::prune(resource.schema(), &mut object, "", &mut unknown);
    unknown.sort();
    let warnings: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    match call.field_validation()? {
        FieldValidation::Strict if !warnings.is_empty() => {
            let why = format!("strict decoding error: {}", warnings.join(", "));
            return Err(mismatch(call, &object, source, &why));
        }
        FieldValidation::Ignore => {
            return Ok(Decoded {
                object: complete(call, object),
                warnings: Vec::new(),
            });
        }
        FieldValidation::Warn | FieldValidation::Strict => {}
    }
    Ok(Decoded {
        object: complete(call, object),
        warnings,
    })
}

/// Fills in the defaults of the kind.
pub(super) fn complete(call: &Call, mut object: Value) -> Value {
    if !call.resource.custom {
        prune::trim(call.resource.schema(), &mut object);
    } else if let Some(meta) = object.get_mut("metadata") {
        prune::trim(&merge_keys::object_meta(), meta);
    }
    prune::default(call.resource.schema(), &mut object);
    defaults::fill(&call.resource, &mut object);
    object
}

/// A custom resource must say what it is.
fn whole(call: &Call, fields: &Map<String, Value>) -> Result<(), Refusal> {
    let kind = &call.resource.kind;
    for (field, shown) in [("kind", "Kind"), ("apiVersion", "apiVersion")] {
        if fields.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            let body = call.body.shown();
            let start = if body.len() > SHOWN_BODY {
                format!("{}, ...", body.chars().take(SHOWN_BODY - 1).collect::<String>())
            } else {
                body.clone()
            };
            return Err(Refusal::bad_request(format!(
                "the object provided is unrecognized (must be of type {kind}): Object '{shown}' is missing in \
                 '{body}' ({start})"
            )));
        }
    }
    let given = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
    if given != kind {
        let error = FieldError::invalid("kind", given, format!("must be {kind}"));
        let name = fields
            .get("metadata")
            .and_then(|meta| meta["name"].as_str())
            .unwrap_or_default();
        return Err(Refusal::invalid(&call.resource.group, given, name, &[error]));
    }
    Ok(())
}

/// The first value whose type is wrong. Of a custom resource only metadata has Go types; the rest is validated later.
fn wrong_types(call: &Call, object: &Value) -> Option<String> {
    if call.resource.custom {
        return wrong_type(&merge_keys::object_meta(), &object["metadata"], "", "");
    }
    let why = wrong_type(call.resource.schema(), object, "", "");
    why.or_else(|| {
        if call.resource.is("", "secrets") {
            wrong_bytes(&object["data"])
        } else {
            None
        }
    })
}

/// The first value of a Secret that is no base64.
fn wrong_bytes(data: &Value) -> Option<String> {
    let mut values = data.as_object()?.values().filter_map(Value::as_str);
    let wrong = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='));
    values
        .find_map(|text| text.find(wrong))
        .map(|at| format!("illegal base64 data at input byte {at}"))
}

/// `apiVersion` and `kind` must be those of the URL; absent ones are filled in.
fn envelope(call: &Call, fields: &mut Map<String, Value>) -> Result<(), Refusal> {
    let resource = &call.resource;
    let (version, kind) = (resource.api_version(), resource.kind.as_str());
    let given = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (given_version, given_kind) = (given("apiVersion"), given("kind"));
    let known = given_version.is_empty() || given_version == version || given_version == resource.storage_version;
    if !known || (!given_kind.is_empty() && given_kind != kind) {
        let short = given_version.rsplit('/').next().unwrap_or_default();
        let shown = if given_kind.is_empty() { kind } else { &given_kind };
        let why = if known {
            let internal = if resource.group.is_empty() {
                "core"
            } else {
                &resource.group
            };
            format!("converting ({short}.{shown}) to ({internal}.{kind}): unknown conversion")
        } else {
            format!(
                "no kind {shown:?} is registered for version {given_version:?} in scheme \"pkg/runtime/scheme.go:111\""
            )
        };
        return Err(Refusal::bad_request(format!(
            "{shown} in version {short:?} cannot be handled as a {kind}: {why}"
        )));
    }
    fields.insert("apiVersion".to_owned(), resource.storage_version.clone().into());
    fields.insert("kind".to_owned(), kind.into());
    Ok(())
}

fn mismatch(call: &Call, object: &Value, source: Source, why: &str) -> Refusal {
    let (kind, version) = (&call.resource.kind, &call.resource.version);
    match source {
        Source::Body => Refusal::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
        )),
        Source::Patch => {
            let error = FieldError::invalid("patch", object.to_string(), why);
            Refusal::invalid("", "", "", &[error])
        }
    }
}

/// Whether every value has the type of its field.
fn fits(schema: &Schema, value: &Value) -> bool {
    match (&schema.shape, value) {
        (_, Value::Null) | (Shape::Any, _) => true,
        (Shape::Object(object), Value::Object(fields)) => fields.iter().all(|(name, child)| {
            let known = object.fields.get(name).or(object.values.as_ref());
            known.is_none_or(|schema| fits(schema, child))
        }),
        (Shape::List(list), Value::Array(items)) => items.iter().all(|item| fits(&list.items, item)),
        (Shape::Scalar(scalar), value) => match scalar {
            Scalar::Text => value.is_string(),
            Scalar::Integer => value.is_i64() || value.is_u64(),
            Scalar::Number => value.is_number(),
            Scalar::Boolean => value.is_boolean(),
            Scalar::IntOrString => value.is_string() || value.is_number(),
        },
        _ => false,
    }
}

/// The first value whose type is not that of its field, in the words of Go's JSON decoder.
fn wrong_type(schema: &Schema, value: &Value, owner: &str, path: &str) -> Option<String> {
    if fits(schema, value) {
        return None;
    }
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(fields)) => {
            return fields
                .iter()
                .find_map(|(name, child)| match (object.fields.get(name), &object.values) {
                    (Some(schema), _) => wrong_type(schema, child, &object.type_name, &prune::join(path, name)),
                    (None, Some(schema)) => wrong_type(schema, child, owner, path),
                    (None, None) => None,
                });
        }
        (Shape::List(list), Value::Array(items)) => {
            return items.iter().find_map(|item| wrong_type(&list.items, item, owner, path));
        }
        _ => {}
    }
    let given = match value {
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Array(_) => "array",
        _ => "object",
    };
    let wanted = match &schema.shape {
        Shape::Scalar(Scalar::Text | Scalar::IntOrString) => "string",
        Shape::Scalar(Scalar::Integer) => "int32",
        Shape::Scalar(Scalar::Number) => "float64",
        Shape::Scalar(Scalar::Boolean) => "bool",
        Shape::List(_) => "[]",
        Shape::Object(object) if object.values.is_some() => "map[string]string",
        Shape::Object(object) => &format!("v1.{}", object.type_name),
        Shape::Any => "struct",
    };
    Some(format!(
        "json: cannot unmarshal {given} into Go struct field {owner}.{path} of type {wanted}"
    ))
}
