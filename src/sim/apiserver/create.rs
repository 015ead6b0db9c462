//! POST: names, system metadata, the namespace's state, and the first generation.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    call::Call,
    decode::{self, Source},
    errors::{FieldError, Refusal},
    generation, managed_fields, metadata,
    names::{self, NameRule},
    prune,
    state::State,
    store::Key,
    strategy, validate,
};

/// How many generated names are tried.
const NAME_TRIES: usize = 8;

/// A stored object and the warnings for its sender.
pub(super) struct Stored {
    pub(super) object: Arc<Value>,
    pub(super) created: bool,
    pub(super) warnings: Vec<String>,
}

/// Serves POST of a collection.
pub(super) fn create(state: &mut State, call: &Call) -> Result<Stored, Refusal> {
    let (mut object, warnings) = posted(call)?;
    managed_fields::track_update(call, &json!({}), &mut object);
    Ok(Stored {
        object: insert(state, call, object)?,
        created: true,
        warnings,
    })
}

/// Creates an object of which nobody will ask who set which field. Nothing is noted of its later changes either, as of any
/// object without managers.
pub(super) fn create_untracked(state: &mut State, call: &Call) -> Result<Arc<Value>, Refusal> {
    let (object, _) = posted(call)?;
    insert(state, call, object)
}

/// The object in the body, and the warnings for its sender.
fn posted(call: &Call) -> Result<(Value, Vec<String>), Refusal> {
    let mut decoded = decode::object(call, call.document()?, Source::Body)?;
    place(call, &mut decoded.object)?;
    Ok((decoded.object, decoded.warnings))
}

/// Puts a decoded object with its field managers into the store as a new one.
pub(super) fn insert(state: &mut State, call: &Call, mut object: Value) -> Result<Arc<Value>, Refusal> {
    let resource = &call.resource;
    let generated = name_object(state, call, &mut object);
    let name = metadata::text(&object, "name").to_owned();
    namespace_is_open(state, call, &name)?;
    if !matches!(metadata::text(&object, "resourceVersion"), "" | "0") {
        return Err(Refusal::unexpected(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let uid = state.random.uid();
    let meta = metadata::of(&mut object);
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
        "generation",
    ] {
        meta.remove(field);
    }
    meta.insert("uid".into(), uid.into());
    meta.insert("creationTimestamp".into(), metadata::seconds(call.now).into());
    if generation::counts(resource) {
        meta.insert("generation".into(), 1.into());
    }
    strategy::prepare_create(state, call, &mut object);
    if resource.custom {
        // A default status shows on the first read: the server fills in defaults when it reads, too.
        prune::default(resource.schema(), &mut object);
    }
    let mut errors = validate::object(call, None, &object);
    errors.extend(name_errors(call, metadata::text(&object, "generateName"), &name));
    if !errors.is_empty() {
        return Err(Refusal::invalid(&resource.group, &resource.kind, &name, &errors));
    }
    let key = Key::new(&call.namespace, &name);
    if state.store.get(&resource.storage, &key).is_some() {
        return Err(Refusal::already_exists(resource, &name, generated));
    }
    Ok(state.commit(call, key, Some(object)))
}

/// The body's namespace must be that of the URL; an absent one is filled in.
pub(super) fn place(call: &Call, object: &mut Value) -> Result<(), Refusal> {
    let given = metadata::text(object, "namespace").to_owned();
    if !given.is_empty() && given != call.namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let meta = metadata::of(object);
    if call.resource.namespaced {
        meta.insert("namespace".into(), call.namespace.clone().into());
    } else {
        meta.remove("namespace");
    }
    Ok(())
}

/// Gives an object with `generateName` a free name; says whether it did.
fn name_object(state: &mut State, call: &Call, object: &mut Value) -> bool {
    let base = metadata::text(object, "generateName").to_owned();
    if !metadata::text(object, "name").is_empty() || base.is_empty() {
        return false;
    }
    let mut name = state.random.name(&base);
    for _ in 1..NAME_TRIES {
        if state
            .store
            .get(&call.resource.storage, &Key::new(&call.namespace, &name))
            .is_none()
        {
            break;
        }
        name = state.random.name(&base);
    }
    metadata::of(object).insert("name".into(), name.into());
    true
}

fn name_errors(call: &Call, base: &str, name: &str) -> Vec<FieldError> {
    if name.is_empty() {
        return vec![FieldError::required(
            "metadata.name",
            "name or generateName is required",
        )];
    }
    let rule = match call.resource.qualified() {
        "namespaces" | "services" => NameRule::Label,
        _ => NameRule::Subdomain,
    };
    // A base may end with a dash, as the ending of the name follows it.
    let whole = base
        .strip_suffix('-')
        .map_or_else(|| base.to_owned(), |start| format!("{start}a"));
    let base_error = names::check(&whole, rule)
        .filter(|_| !base.is_empty())
        .map(|error| FieldError {
            field: "metadata.generateName".to_owned(),
            ..error
        });
    base_error.into_iter().chain(names::check(name, rule)).collect()
}

/// Nothing is created in a namespace that does not exist or is going.
fn namespace_is_open(state: &State, call: &Call, name: &str) -> Result<(), Refusal> {
    if !call.resource.namespaced {
        return Ok(());
    }
    let Some(namespaces) = state.catalogue.find("", "v1", "namespaces") else {
        return Ok(());
    };
    match state.store.get(&namespaces.storage, &Key::new("", &call.namespace)) {
        None => Err(Refusal::not_found(namespaces, &call.namespace)),
        Some(namespace) if metadata::is_terminating(namespace) => {
            Err(Refusal::namespace_terminating(&call.resource, name, &call.namespace))
        }
        Some(_) => Ok(()),
    }
}
