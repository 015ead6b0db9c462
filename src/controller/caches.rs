//! The watch caches with our own writes laid over: what is known without asking the API server.
//!
//! [`super::shelves`] behind a lock, with a clock, and with the queue that is told whose objects changed.
//! [`super::watch`] feeds it; [`super::look`] reads it and asks live where it does not know.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::{Notify, futures::Notified};

use super::interest::RouteKind;
use super::kept::Arrival;
use super::meta;
use super::projection;
use super::queue::Queue;
use super::resource::{CanaryKey, ObjectKey, Resource};
use super::shelves::Shelves;
pub use super::shelves::{Seen, Serving};
use crate::clock::Clock;
use crate::workload::{configs::Digest, store};

/// The caches of all kinds.
#[derive(Debug)]
pub struct Caches {
    clock: Clock,
    queue: Arc<Queue>,
    routes: Vec<RouteKind>,
    /// The serving of a kind changed.
    changed: Notify,
    shelves: Mutex<Shelves>,
    /// What was last read of each configuration that is followed; never its values.
    digests: Mutex<HashMap<ObjectKey, Digest>>,
    follows_configs: bool,
}

impl Caches {
    /// Empty caches. `routes` are the kinds that providers draw.
    /// `follows_configs` adds configurations, as metadata.
    pub fn new(clock: Clock, queue: Arc<Queue>, routes: Vec<RouteKind>, follows_configs: bool) -> Self {
        let shelves = Mutex::new(Shelves::new(routes.clone()));
        Self {
            clock,
            queue,
            routes,
            changed: Notify::new(),
            shelves,
            digests: Mutex::default(),
            follows_configs,
        }
    }

    /// Every kind that has to be watched, the Canary first: the others keep what Canaries name.
    pub fn resources(&self) -> Vec<Resource> {
        let configs = Resource::CONFIGS.into_iter().filter(|_| self.follows_configs);
        Resource::ALWAYS
            .into_iter()
            .chain([Resource::SCALER])
            .chain(configs)
            .chain(self.routes.iter().map(|route| route.resource))
            .collect()
    }

    /// Whether the kind is worth a watch: that of scalers only when some Canary names one.
    pub fn wants(&self, resource: Resource) -> bool {
        resource != Resource::SCALER || self.shelves().names(resource)
    }

    /// The label selector of a kind's watch.
    pub fn selector(resource: Resource) -> Option<&'static str> {
        (resource == Resource::REVISION).then_some(store::CANARY)
    }

    // === What watches bring ===

    /// A list begins.
    pub fn list_begins(&self, resource: Resource) {
        self.shelves().list_begins(resource);
    }

    /// An object is there, by a list or by an event.
    pub fn applied(&self, resource: Resource, arrival: &Arrival) {
        if self.shelves().is_nobodys(resource, &arrival.head) {
            return;
        }
        let object = projection::project(resource, arrival.open());
        let woken = self.shelves().applied(resource, &object);
        self.wake(woken);
        self.may_name_a_scaler(resource, &object);
    }

    /// An object was deleted.
    pub fn deleted(&self, resource: Resource, arrival: &Arrival) {
        let woken = self.shelves().removed(resource, &arrival.head);
        self.wake(woken);
    }

    /// A list has ended: what it did not bring is gone.
    pub fn list_ends(&self, resource: Resource) {
        let (first, woken) = self.shelves().list_ends(resource);
        self.changed.notify_waiters();
        self.wake(woken);
        if first && resource != Resource::CANARY {
            self.wake_all();
        }
    }

    /// The watch of a kind cannot work for now.
    pub fn not_serving(&self, resource: Resource, serving: Serving) {
        self.shelves().serving(resource, serving);
        self.changed.notify_waiters();
    }

    /// Ready when the serving of a kind has changed since this call.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// What every Canary needs and what may not be read, as verb and kind.
    pub fn forbidden(&self) -> Vec<String> {
        let shelves = self.shelves();
        let always = Resource::ALWAYS.into_iter();
        let verbs = always.filter_map(|resource| Some((shelves.forbidden(resource)?, resource)));
        verbs.map(|(verb, resource)| format!("{verb} {resource}")).collect()
    }

    /// Whether the first list of the kind has ended, one way or another.
    pub fn settled(&self, resource: Resource) -> bool {
        self.shelves().settled(resource)
    }

    // === What we wrote or read ===

    /// Lays the answer of a write, or of a live read, over the cache, and returns it as the cache would hold it.
    pub fn lay(&self, key: &ObjectKey, whole: Value) -> Arc<Value> {
        let object = Arc::new(projection::project(key.resource, whole));
        let woken = self.shelves().lay(key, &object, self.clock.now());
        self.wake(woken);
        self.may_name_a_scaler(key.resource, &object);
        object
    }

    /// A live read found nothing: for a moment nobody needs to ask again.
    pub fn lay_absent(&self, key: &ObjectKey) {
        self.shelves().lay_absent(key, self.clock.now());
    }

    /// Lays a deletion over the cache.
    pub fn lay_gone(&self, key: &ObjectKey) {
        self.shelves().lay_gone(key, self.clock.now());
    }

    /// All objects of a group, such as the slices of a Service, were listed live.
    pub fn listed(&self, group: &ObjectKey, objects: Vec<Value>) {
        let project = |whole| projection::project(group.resource, whole);
        self.shelves().listed(group, objects.into_iter().map(project));
    }

    /// The pods of a Canary read these configurations, and no others.
    pub fn note_configs(&self, canary: &CanaryKey, keys: BTreeSet<ObjectKey>) {
        let mut shelves = self.shelves();
        shelves.note_configs(canary, keys);
        self.digests().retain(|key, _| shelves.is_named(key));
    }

    /// A configuration was read live.
    pub fn lay_digest(&self, key: &ObjectKey, digest: Digest) {
        self.digests().insert(key.clone(), digest);
    }

    /// What a configuration says, where it was read since it last changed. `object` is what the caches hold of it.
    pub fn digest(&self, key: &ObjectKey, object: &Value) -> Option<Digest> {
        let digests = self.digests();
        let known = digests.get(key)?;
        let same = known.uid == meta::uid(object) && meta::reached(&known.version, meta::version(object));
        same.then(|| known.clone())
    }

    // === What is asked ===

    /// What is known about an object.
    pub fn seen(&self, key: &ObjectKey) -> Seen {
        self.shelves().seen(key, self.clock.now())
    }

    /// All objects that belong to one name (the slices of a Service, the revisions of a Canary), with what is laid over
    /// them; `Err` says why they are not known.
    pub fn group(&self, key: &ObjectKey) -> Result<Vec<Arc<Value>>, Seen> {
        self.shelves().group(key, self.clock.now())
    }

    /// The other Canaries that name an object that this one names: who owns it has to be found out among them.
    pub fn neighbours(&self, canary: &CanaryKey) -> Vec<Arc<Value>> {
        self.shelves().neighbours(canary)
    }

    /// All Canaries that are cached.
    pub fn canaries(&self) -> Vec<Arc<Value>> {
        let shelves = self.shelves();
        let now = self.clock.now();
        let seen = shelves
            .canaries()
            .into_iter()
            .map(|key| shelves.seen(&key.object(), now));
        seen.filter_map(|seen| {
            if let Seen::Is(canary) = seen {
                Some(canary)
            } else {
                None
            }
        })
        .collect()
    }

    /// The primary of a target, if it is cached.
    pub fn primary_of(&self, namespace: &str, target: &str) -> Option<Arc<Value>> {
        match self.seen(&ObjectKey::new(
            Resource::DEPLOYMENT,
            namespace,
            &format!("{target}-primary"),
        )) {
            Seen::Is(primary) => Some(primary),
            _ => None,
        }
    }

    /// Makes every canary due, as when this process begins to lead.
    pub fn wake_all(&self) {
        let keys = self.shelves().canaries();
        self.wake(keys);
    }

    fn wake(&self, keys: impl IntoIterator<Item = CanaryKey>) {
        for key in keys {
            self.queue.add(&key);
        }
    }

    /// A Canary may name a scaler now, whose kind was not watched before.
    fn may_name_a_scaler(&self, resource: Resource, object: &Value) {
        if resource == Resource::CANARY && object.pointer("/spec/autoscalerRef").is_some() {
            self.changed.notify_waiters();
        }
    }

    fn digests(&self) -> MutexGuard<'_, HashMap<ObjectKey, Digest>> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
