//! PUT and the road that all changes of a stored object take: preconditions, the kind's own rules, no-op detection, and
//! the removal that follows the last finalizer.

use std::sync::Arc;

use serde_json::Value;

use super::{
    call::Call,
    create::{self, Stored},
    decode::{self, Source},
    errors::{FieldError, Refusal},
    managed_fields, metadata,
    state::State,
    strategy, validate,
};

/// Serves PUT.
pub(super) fn replace(state: &mut State, call: &Call) -> Result<Stored, Refusal> {
    let decoded = decode::object(call, call.document()?, Source::Body)?;
    let (mut object, warnings) = (decoded.object, decoded.warnings);
    create::place(call, &mut object)?;
    check_name(call, &object)?;
    let Some(before) = state.current(call) else {
        if !call.resource.create_on_update || !call.subresource.is_empty() {
            return Err(Refusal::not_found(&call.resource, &call.name));
        }
        managed_fields::track_update(call, &Value::Null, &mut object);
        return Ok(Stored {
            object: create::insert(state, call, object)?,
            created: true,
            warnings,
        });
    };
    let (given, stored) = (metadata::text(&object, "uid"), metadata::text(&before, "uid"));
    if !given.is_empty() && given != stored {
        return Err(Refusal::conflict(
            &call.resource,
            &call.name,
            &uid_message(call, given, stored),
        ));
    }
    managed_fields::track_update(call, &before, &mut object);
    Ok(Stored {
        object: change(state, call, &before, object)?,
        created: false,
        warnings,
    })
}

/// Stores a changed object, if it may be and if it differs.
///
/// Returns the object as the client sees it.
pub(super) fn change(
    state: &mut State,
    call: &Call,
    before: &Arc<Value>,
    mut after: Value,
) -> Result<Arc<Value>, Refusal> {
    fresh(call, before, &mut after)?;
    strategy::prepare_update(call, before, &mut after);
    system_metadata(before, &mut after);
    // The general rules and those of the kind both check metadata, and a client sees each mistake twice.
    let mut errors = metadata_errors(before, &after);
    errors.extend(errors.clone());
    errors.extend(validate::object(&call.resource, Some(before), &after));
    if !errors.is_empty() {
        return Err(Refusal::invalid(
            &call.resource.group,
            &call.resource.kind,
            &call.name,
            &errors,
        ));
    }
    managed_fields::ignore_times(before, &mut after);
    if finished(before, &after) {
        state.commit(call, call.key(), None);
        return Ok(Arc::new(after));
    }
    if **before == after {
        return Ok(before.clone());
    }
    Ok(state.commit(call, call.key(), Some(after)))
}

/// The name in the object must be that of the URL; an absent one is filled in.
pub(super) fn check_name(call: &Call, object: &Value) -> Result<(), Refusal> {
    let given = metadata::text(object, "name");
    if given == call.name {
        return Ok(());
    }
    let url = &call.name;
    if given.is_empty() {
        let message = format!("the name of the object ({url} based on URL) was undeterminable: name must be provided");
        return Err(Refusal::bad_request(message));
    }
    Err(Refusal::bad_request(format!(
        "the name of the object ({given}) does not match the name on the URL ({url})"
    )))
}

/// The resourceVersion must be the stored one; without one, only some kinds may be changed.
fn fresh(call: &Call, before: &Value, after: &mut Value) -> Result<(), Refusal> {
    let stored = metadata::text(before, "resourceVersion");
    match metadata::text(after, "resourceVersion") {
        given if given == stored => Ok(()),
        "" | "0" if call.resource.unconditional_update => {
            metadata::of(after).insert("resourceVersion".into(), stored.into());
            Ok(())
        }
        "" | "0" => {
            let error = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
            Err(Refusal::invalid(
                &call.resource.group,
                &call.resource.plural,
                &call.name,
                &[error],
            ))
        }
        given if given.parse::<u64>().is_err() => {
            let why = format!("strconv.ParseUint: parsing {given:?}: invalid syntax");
            let error = FieldError::invalid("metadata.resourceVersion", given, why);
            Err(Refusal::invalid("", "", "", &[error]))
        }
        _ => Err(Refusal::stale(&call.resource, &call.name)),
    }
}

/// What a client can never change keeps its value without a word.
fn system_metadata(before: &Value, after: &mut Value) {
    if metadata::text(after, "uid").is_empty() {
        metadata::keep(after, before, &["uid"]);
    }
    metadata::keep(after, before, &["creationTimestamp", "selfLink"]);
    if metadata::is_terminating(before) {
        metadata::keep(after, before, &["deletionTimestamp"]);
    }
    if after["metadata"].get("deletionGracePeriodSeconds").is_none() {
        metadata::keep(after, before, &["deletionGracePeriodSeconds"]);
    }
}

fn metadata_errors(before: &Value, after: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (old, new) = (&before["metadata"][field], &after["metadata"][field]);
        if old != new {
            errors.push(FieldError::invalid(
                format!("metadata.{field}"),
                new.clone(),
                "field is immutable",
            ));
        }
    }
    if metadata::is_terminating(before) {
        let old = metadata::finalizers(before);
        let new: Vec<&str> = metadata::finalizers(after)
            .into_iter()
            .filter(|name| !old.contains(name))
            .collect();
        if !new.is_empty() {
            let shown: Vec<String> = new.iter().map(|name| format!("{name:?}")).collect();
            let shown = shown.join(", ");
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers \
                 []string{{{shown}}}"
            );
            errors.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
    errors
}

/// Whether the last finalizer of an object in deletion has gone.
fn finished(before: &Value, after: &Value) -> bool {
    let grace = before["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let namespace_open = before["kind"] == "Namespace"
        && after["spec"]["finalizers"]
            .as_array()
            .is_some_and(|finalizers| !finalizers.is_empty());
    metadata::is_terminating(before) && metadata::finalizers(after).is_empty() && grace == 0 && !namespace_open
}

fn uid_message(call: &Call, given: &str, stored: &str) -> String {
    let resource = &call.resource;
    let table = match resource.qualified() {
        "services" => "services/specs".to_owned(),
        "nodes" => "minions".to_owned(),
        _ if resource.custom => format!("{}/{}", resource.group, resource.plural),
        _ => resource.plural.clone(),
    };
    let place = if call.namespace.is_empty() {
        String::new()
    } else {
        format!("/{}", call.namespace)
    };
    let key = format!("/registry/{table}{place}/{}", call.name);
    format!(
        "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
         failed: UID in precondition: {given}, UID in object meta: {stored}"
    )
}
