//! PATCH: JSON patch, merge patch, strategic merge patch, and the door to server-side apply.

use serde_json::Value;

use super::{
    apply,
    call::Call,
    create::Stored,
    decode::{self, Source},
    errors::{FieldError, Refusal},
    json_patch, managed_fields, metadata,
    state::State,
    strategic, update,
};

/// Serves PATCH.
pub(super) fn patch(state: &mut State, call: &Call) -> Result<Stored, Refusal> {
    if call.content_type == "application/apply-patch+yaml" {
        return apply::apply(state, call);
    }
    Kind::of(call)?;
    if call.query.get("force").is_some() {
        let error = FieldError::forbidden("force", "may not be specified for non-apply patch");
        return Err(Refusal::invalid("meta.k8s.io", "PatchOptions", "", &[error]));
    }
    let before = state
        .current(call)
        .ok_or_else(|| Refusal::not_found(&call.resource, &call.name))?;
    let patched = patched(call, &before, &call.document()?)?;
    let decoded = decode::object(call, patched, Source::Patch)?;
    let mut after = decoded.object;
    placed(call, &after)?;
    managed_fields::track_update(call, &before, &mut after);
    let object = update::change(state, call, &before, after)?;
    Ok(Stored {
        object,
        created: false,
        warnings: decoded.warnings,
    })
}

/// What a patch of the call's media type makes of an object.
pub(super) fn patched(call: &Call, before: &Value, document: &Value) -> Result<Value, Refusal> {
    match Kind::of(call)? {
        Kind::Json => json_patch::apply(before, document),
        Kind::Merge => merge(before, document),
        Kind::Strategic => strategic::merge(call.resource.schema(), before, document),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Merge,
    Strategic,
}

impl Kind {
    fn of(call: &Call) -> Result<Self, Refusal> {
        let custom = call.resource.custom;
        match call.content_type.as_str() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !custom => Ok(Self::Strategic),
            _ => {
                let mut known = vec!["application/json-patch+json", "application/merge-patch+json"];
                if !custom {
                    known.push("application/strategic-merge-patch+json");
                }
                known.push("application/apply-patch+yaml");
                let known = known.join(", ");
                let message =
                    format!("the body of the request was in an unknown format - accepted media types include: {known}");
                Err(Refusal::unsupported_media(message))
            }
        }
    }
}

/// A patched object must stay where it is.
pub(super) fn placed(call: &Call, object: &Value) -> Result<(), Refusal> {
    if metadata::text(object, "namespace") != call.namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    update::check_name(call, object)
}

fn merge(before: &Value, document: &Value) -> Result<Value, Refusal> {
    if !document.is_object() {
        let given = match document {
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            _ => "number",
        };
        let message = format!("json: cannot unmarshal {given} into Go value of type map[string]interface {{}}");
        return Err(Refusal::bad_request(format!("error decoding patch: {message}")));
    }
    let mut after = before.clone();
    ::json_patch::merge(&mut after, document);
    Ok(after)
}
