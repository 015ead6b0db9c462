//! Garbage collection by owner references: dependents follow their owners, in the background or before them, or stay as
//! orphans.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    call::{Call, Verb},
    delete::{self, FOREGROUND, ORPHAN},
    managed_fields, metadata,
    state::State,
    store::Key,
    update,
};

const USER: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

/// An object by where it lies.
struct Found {
    storage: Arc<str>,
    key: Key,
    object: Arc<Value>,
}

/// What is known of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Solid,
    /// Being deleted, and waiting for its dependents.
    Waiting,
    Absent,
    /// Of a kind that is not served; nothing is decided about it.
    Unknown,
}

/// One look at all objects.
pub(super) fn collect(state: &mut State, now: DateTime<Utc>) {
    let found: Vec<Found> = state
        .store
        .all()
        .map(|(storage, key, object)| Found {
            storage: storage.clone(),
            key: key.clone(),
            object: object.clone(),
        })
        .collect();
    for dependent in found.iter().filter(|found| !owners(&found.object).is_empty()) {
        follow(state, dependent, now);
    }
    for owner in found.iter().filter(|found| metadata::is_terminating(&found.object)) {
        let finalizers = metadata::finalizers(&owner.object);
        let uid = metadata::text(&owner.object, "uid");
        if finalizers.contains(&ORPHAN) {
            for dependent in &found {
                release(state, dependent, now, |reference| reference["uid"] == uid);
            }
            drop_finalizer(state, owner, ORPHAN, now);
        } else if finalizers.contains(&FOREGROUND) && !is_blocked(state, uid) {
            drop_finalizer(state, owner, FOREGROUND, now);
        }
    }
}

/// Deletes a dependent whose owners are gone; takes dead references off one that has others.
fn follow(state: &mut State, dependent: &Found, now: DateTime<Utc>) {
    if metadata::is_terminating(&dependent.object) {
        return;
    }
    let references = owners(&dependent.object);
    let states: Vec<Owner> = references
        .iter()
        .map(|reference| owner(state, &dependent.key.namespace, reference))
        .collect();
    if states.contains(&Owner::Unknown) || states.iter().all(|state| *state == Owner::Solid) {
        return;
    }
    if states.contains(&Owner::Solid) {
        let dead: Vec<Value> = references
            .iter()
            .zip(&states)
            .filter(|(_, state)| **state != Owner::Solid)
            .map(|(reference, _)| reference["uid"].clone())
            .collect();
        release(state, dependent, now, |reference| dead.contains(&reference["uid"]));
        return;
    }
    let finalizers = metadata::finalizers(&dependent.object);
    let policy = if states.contains(&Owner::Waiting) && has_dependents(state, &dependent.object) {
        Some("Foreground")
    } else if finalizers.contains(&ORPHAN) || finalizers.contains(&FOREGROUND) {
        None
    } else {
        Some("Background")
    };
    if let Some(call) = call(state, Verb::Delete, dependent, now) {
        delete::collect(state, &call, metadata::text(&dependent.object, "uid"), policy);
    }
}

fn owner(state: &State, namespace: &str, reference: &Value) -> Owner {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let Some(resource) = state.catalogue.by_kind(text("apiVersion"), text("kind")) else {
        return Owner::Unknown;
    };
    let key = Key::new(if resource.namespaced { namespace } else { "" }, text("name"));
    match state.store.get(&resource.storage, &key) {
        Some(object) if metadata::text(object, "uid") == text("uid") => {
            let waits = metadata::is_terminating(object) && metadata::finalizers(object).contains(&FOREGROUND);
            if waits { Owner::Waiting } else { Owner::Solid }
        }
        _ => Owner::Absent,
    }
}

/// Takes references off an object as it is stored now.
fn release(state: &mut State, dependent: &Found, now: DateTime<Utc>, dead: impl Fn(&Value) -> bool) {
    let Some(call) = call(state, Verb::Patch, dependent, now) else {
        return;
    };
    let Some(before) = state.current(&call) else { return };
    let left: Vec<Value> = owners(&before)
        .iter()
        .filter(|reference| !dead(reference))
        .cloned()
        .collect();
    if left.len() == owners(&before).len() {
        return;
    }
    let mut after = (*before).clone();
    if left.is_empty() {
        metadata::of(&mut after).remove("ownerReferences");
    } else {
        metadata::of(&mut after).insert("ownerReferences".to_owned(), left.into());
    }
    change(state, &call, &before, after);
}

fn drop_finalizer(state: &mut State, found: &Found, finalizer: &str, now: DateTime<Utc>) {
    let Some(call) = call(state, Verb::Patch, found, now) else {
        return;
    };
    let Some(before) = state.current(&call) else { return };
    let left: Vec<&str> = metadata::finalizers(&before)
        .into_iter()
        .filter(|name| *name != finalizer)
        .collect();
    let mut after = (*before).clone();
    metadata::of(&mut after).insert("finalizers".to_owned(), left.into());
    change(state, &call, &before, after);
}

fn change(state: &mut State, call: &Call, before: &Arc<Value>, mut after: Value) {
    managed_fields::track_update(call, before, &mut after);
    if let Err(refusal) = update::change(state, call, before, after) {
        tracing::debug!(message = %refusal.message, "the garbage collector was refused");
    }
}

/// Whether a dependent still holds its owner back.
fn is_blocked(state: &State, uid: &str) -> bool {
    state.store.all().any(|(_, _, object)| {
        owners(object)
            .iter()
            .any(|reference| reference["uid"] == uid && reference["blockOwnerDeletion"] == true)
    })
}

fn has_dependents(state: &State, owner: &Value) -> bool {
    let uid = metadata::text(owner, "uid");
    state
        .store
        .all()
        .any(|(_, _, object)| owners(object).iter().any(|reference| reference["uid"] == uid))
}

fn owners(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn call(state: &State, verb: Verb, found: &Found, now: DateTime<Utc>) -> Option<Call> {
    let resource = state.catalogue.by_storage(&found.storage)?;
    Some(Call::internal(USER, verb, resource, &found.key, now))
}
