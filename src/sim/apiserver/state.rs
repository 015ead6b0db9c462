//! What the server holds under one lock: objects, resources, watches, and what it remembers of requests.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    AuditEntry, Observer, Snapshot, Write, background,
    call::Call,
    crd, discovery, metadata,
    names::Random,
    rbac::Denials,
    resource::{BUILT_IN, Resource, join_group},
    store::{Key, Store},
    watch::Hub,
};

/// The kinds that the server serves, by group, version and plural name.
pub(super) struct Catalogue {
    resources: BTreeMap<(String, String, String), Arc<Resource>>,
}

pub(super) struct State {
    pub(super) store: Store,
    pub(super) catalogue: Catalogue,
    /// What it says at `/version`.
    pub(super) version: String,
    pub(super) hub: Hub,
    pub(super) random: Random,
    pub(super) denials: Denials,
    pub(super) audit: Vec<AuditEntry>,
    pub(super) observers: Vec<Observer>,
    /// How many cluster addresses have been given out.
    pub(super) addresses: u32,
    /// Whether a change since the last look may give the background work something to do.
    pub(super) unsettled: bool,
}

impl Catalogue {
    pub(super) fn new() -> Self {
        let mut catalogue = Self {
            resources: BTreeMap::new(),
        };
        for resource in BUILT_IN.iter() {
            catalogue.add(resource.clone());
        }
        catalogue
    }

    pub(super) fn add(&mut self, resource: Arc<Resource>) {
        let key = (
            resource.group.clone(),
            resource.version.clone(),
            resource.plural.clone(),
        );
        self.resources.insert(key, resource);
    }

    /// Removes all versions of a resource.
    pub(super) fn remove(&mut self, group: &str, plural: &str) {
        self.resources.retain(|_, resource| !resource.is(group, plural));
    }

    pub(super) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    pub(super) fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.resources
            .values()
            .find(|resource| resource.kind == kind && join_group(&resource.group, &resource.version) == api_version)
    }

    /// Some version of the resource whose objects lie in a table.
    pub(super) fn by_storage(&self, storage: &str) -> Option<&Arc<Resource>> {
        self.resources.values().find(|resource| &*resource.storage == storage)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            store: Store::new(),
            catalogue: Catalogue::new(),
            version: discovery::VERSION.to_owned(),
            hub: Hub::default(),
            random: Random::new(seed),
            denials: Denials::default(),
            audit: Vec::new(),
            observers: Vec::new(),
            addresses: 0,
            unsettled: false,
        }
    }

    /// The stored object that a call names.
    pub(super) fn current(&self, call: &Call) -> Option<Arc<Value>> {
        self.store.get(&call.resource.storage, &call.key()).cloned()
    }

    /// Makes a write permanent, unless it is a dry run, and tells watches and observers.
    ///
    /// Returns the object as stored; after a removal, its last state.
    pub(super) fn commit(&mut self, call: &Call, key: Key, after: Option<Value>) -> Arc<Value> {
        let storage = &call.resource.storage;
        if call.dry_run {
            let last = || self.store.get(storage, &key).cloned().unwrap_or_default();
            return after.map_or_else(last, Arc::new);
        }
        let change = self.store.put(storage, key, after);
        self.hub.publish(&change, call.now);
        self.unsettled |= background::concerns(&change);
        crd::serve(&mut self.catalogue, &call.resource, &change);
        let write = Write {
            user: &call.user,
            verb: call.verb.word(),
            group: &call.resource.group,
            version: &call.resource.version,
            kind: &call.resource.kind,
            namespace: &change.key.namespace,
            name: &change.key.name,
            subresource: &call.subresource,
            before: change.before.as_deref(),
            after: change.after.as_deref(),
            time: call.now,
            store: Snapshot { state: self },
        };
        for observer in &self.observers {
            observer(&write);
        }
        change.after.clone().unwrap_or_else(|| {
            let mut last = change.before.as_deref().cloned().unwrap_or_default();
            metadata::of(&mut last).insert("resourceVersion".to_owned(), change.revision.to_string().into());
            Arc::new(last)
        })
    }
}
