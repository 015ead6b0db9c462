//! Emptying what is going: namespaces, and custom resource definitions with objects left.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    call::{Call, Verb},
    crd, delete, metadata,
    resource::Resource,
    state::State,
    store::Key,
    update,
};

const USER: &str = "system:serviceaccount:kube-system:namespace-controller";

/// One look at everything that waits to be empty.
pub(super) fn empty(state: &mut State, now: DateTime<Utc>) {
    for (key, object) in terminating(state, "namespaces") {
        empty_namespace(state, &key, &object, now);
    }
    for (key, object) in terminating(state, crd::CRDS) {
        empty_definition(state, &key, &object, now);
    }
}

fn terminating(state: &State, storage: &str) -> Vec<(Key, Arc<Value>)> {
    let all = state.store.list(storage, "");
    all.filter(|(_, object)| metadata::is_terminating(object))
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect()
}

/// Deletes what a namespace holds; the last object gone, the namespace follows.
fn empty_namespace(state: &mut State, key: &Key, namespace: &Arc<Value>, now: DateTime<Utc>) {
    let resources: Vec<Arc<Resource>> = state
        .catalogue
        .all()
        .filter(|resource| resource.namespaced)
        .cloned()
        .collect();
    let left = resources
        .iter()
        .fold(0, |left, resource| left + delete_all(state, resource, &key.name, now));
    let Some(resource) = state.catalogue.by_storage("namespaces").filter(|_| left == 0).cloned() else {
        return;
    };
    let mut after = (**namespace).clone();
    after["spec"]["finalizers"] = json!([]);
    finish(state, &resource, key, namespace, after, now);
}

/// Deletes the objects of a definition; then lets the definition go.
fn empty_definition(state: &mut State, key: &Key, definition: &Arc<Value>, now: DateTime<Utc>) {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let storage = format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"]));
    let left = match state.catalogue.by_storage(&storage).cloned() {
        Some(resource) => delete_all(state, &resource, "", now),
        None => 0,
    };
    let finalizers: Vec<&str> = metadata::finalizers(definition)
        .into_iter()
        .filter(|name| *name != crd::CLEANUP)
        .collect();
    let Some(resource) = state.catalogue.by_storage(crd::CRDS).filter(|_| left == 0).cloned() else {
        return;
    };
    let mut after = (**definition).clone();
    metadata::of(&mut after).insert("finalizers".to_owned(), finalizers.into());
    finish(state, &resource, key, definition, after, now);
}

/// Deletes all objects of a kind in a namespace, or everywhere; how many are left.
fn delete_all(state: &mut State, resource: &Arc<Resource>, namespace: &str, now: DateTime<Utc>) -> usize {
    let found: Vec<(Key, Arc<Value>)> = state
        .store
        .list(&resource.storage, namespace)
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect();
    for (key, object) in found.iter().filter(|(_, object)| !metadata::is_terminating(object)) {
        let call = Call::internal(USER, Verb::Delete, resource, key, now);
        delete::collect(state, &call, metadata::text(object, "uid"), Some("Background"));
    }
    state.store.list(&resource.storage, namespace).count()
}

fn finish(
    state: &mut State,
    resource: &Arc<Resource>,
    key: &Key,
    before: &Arc<Value>,
    after: Value,
    now: DateTime<Utc>,
) {
    let call = Call::internal(USER, Verb::Update, resource, key, now);
    if let Err(refusal) = update::change(state, &call, before, after) {
        tracing::debug!(message = %refusal.message, "an emptied object could not be let go");
    }
}
