//! The watch caches with our own writes laid over: what is known without asking the API server.
//!
//! Plain data behind one lock; [`super::watch`] feeds it and [`super::look`] reads it and asks live where it does not know.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::sync::{Notify, futures::Notified};

use super::interest::{self, Interest};
use super::meta;
use super::overlay::{Over, Overlay};
use super::projection;
use super::queue::Queue;
use super::resource::{CanaryKey, ObjectKey, Resource};
use crate::clock::Clock;
use crate::workload::store;

/// How long a live read that found nothing is believed. What is created meanwhile is found by the create that comes second.
const ABSENT: TimeDelta = TimeDelta::seconds(5);

/// The caches of all kinds.
#[derive(Debug)]
pub struct Caches {
    clock: Clock,
    queue: Arc<Queue>,
    routes: Vec<Resource>,
    /// The serving of a kind changed.
    changed: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    routes: Vec<Resource>,
    shelves: HashMap<Resource, Shelf>,
    overlay: Overlay,
    interest: Interest,
    /// Named only after their kind's watch had begun, and neither brought nor asked for since: nobody knows whether they are there.
    unsure: HashSet<ObjectKey>,
    /// When a live read last found nothing.
    absent: HashMap<ObjectKey, DateTime<Utc>>,
}

#[derive(Debug, Default)]
struct Shelf {
    serving: Serving,
    /// The watch has begun: from here on what nobody names is dropped.
    begun: bool,
    objects: HashMap<(String, String), Arc<Value>>,
    /// What the list that runs now has brought so far.
    listed: Option<HashSet<(String, String)>>,
}

/// How a kind's watch stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Serving {
    /// The first list has not ended.
    #[default]
    Filling,
    /// The cache holds what the API server has, give or take the delay of the watch.
    Filled,
    /// Refused; the verb that was.
    Forbidden(&'static str),
    /// The API server does not serve the kind.
    NoKind,
}

/// What the caches know about one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// It is there.
    Is(Arc<Value>),
    /// It is not in the cache. Only a live read may say that it does not exist.
    Missing,
    /// A live read said so a moment ago, and the watch has brought nothing since.
    Absent,
    /// The cache cannot say: it is not filled, or the object was not kept.
    Unsure,
    /// The kind may not be read.
    Forbidden(&'static str),
    /// The kind is not served.
    NoKind,
}

impl Caches {
    /// Empty caches. `routes` are the kinds of route objects.
    pub fn new(clock: Clock, queue: Arc<Queue>, routes: Vec<Resource>) -> Self {
        let inner = Inner {
            routes: routes.clone(),
            shelves: HashMap::new(),
            overlay: Overlay::default(),
            interest: Interest::default(),
            unsure: HashSet::new(),
            absent: HashMap::new(),
        };
        Self {
            clock,
            queue,
            routes,
            changed: Notify::new(),
            inner: Mutex::new(inner),
        }
    }

    /// Every kind that has to be watched, the Canary first: the others keep what Canaries name.
    pub fn resources(&self) -> Vec<Resource> {
        Resource::ALWAYS
            .into_iter()
            .chain(self.routes.iter().copied())
            .collect()
    }

    /// The label selector of a kind's watch.
    pub fn selector(&self, resource: Resource) -> Option<&'static str> {
        (resource == Resource::REVISION).then_some(store::CANARY)
    }

    // === What watches bring ===

    /// A list begins.
    pub fn list_begins(&self, resource: Resource) {
        let mut inner = self.lock();
        let shelf = inner.shelves.entry(resource).or_default();
        shelf.begun = true;
        shelf.listed = Some(HashSet::new());
    }

    /// An object is there, by a list or by an event.
    pub fn applied(&self, resource: Resource, whole: Value) {
        let object = Arc::new(projection::project(resource, whole));
        let woken = self.lock().applied(resource, object);
        self.wake(woken);
    }

    /// An object was deleted.
    pub fn deleted(&self, resource: Resource, whole: &Value) {
        let woken = self.lock().removed(resource, whole);
        self.wake(woken);
    }

    /// A list has ended: what it did not bring is gone.
    pub fn list_ends(&self, resource: Resource) {
        let mut woken = BTreeSet::new();
        let mut inner = self.lock();
        let shelf = inner.shelves.entry(resource).or_default();
        let listed = shelf.listed.take().unwrap_or_default();
        let lost: Vec<_> = shelf
            .objects
            .iter()
            .filter(|(key, _)| !listed.contains(*key))
            .map(|(_, o)| o.clone())
            .collect();
        let first = shelf.serving != Serving::Filled;
        shelf.serving = Serving::Filled;
        for object in lost {
            woken.extend(inner.removed(resource, &object));
        }
        drop(inner);
        self.changed.notify_waiters();
        self.wake(woken);
        if first && resource != Resource::CANARY {
            self.wake_all();
        }
    }

    /// The watch of a kind cannot work for now. What was cached before is kept: it is old, but not forgotten.
    pub fn not_serving(&self, resource: Resource, serving: Serving) {
        self.lock().shelves.entry(resource).or_default().serving = serving;
        self.changed.notify_waiters();
    }

    /// Ready when the serving of a kind has changed since this call.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Whether the first list of the kind has ended, one way or another.
    pub fn settled(&self, resource: Resource) -> bool {
        self.lock()
            .shelves
            .get(&resource)
            .is_some_and(|shelf| shelf.serving != Serving::Filling)
    }

    // === What we wrote or read ===

    /// Lays the answer of a write, or of a live read, over the cache, and returns it as the cache would hold it.
    pub fn lay(&self, key: &ObjectKey, whole: Value) -> Arc<Value> {
        let object = Arc::new(projection::project(key.resource, whole));
        let now = self.clock.now();
        let mut inner = self.lock();
        inner.unsure.remove(key);
        inner.absent.remove(key);
        let cached = inner.cached(key);
        // Not over the same or a newer object: its watch event has come already, and no other will clear the entry.
        let current = cached.is_some_and(|cached| {
            meta::uid(cached) == meta::uid(&object) && meta::reached(meta::version(cached), meta::version(&object))
        });
        if current {
            inner.overlay.clear(key);
        } else {
            inner.overlay.lay(key.clone(), object.clone(), now);
        }
        drop(inner);
        if key.resource == Resource::CANARY {
            self.note_names(&object);
        }
        object
    }

    /// A live read found nothing: the overlay knows it, and for a moment nobody needs to ask again.
    pub fn lay_absent(&self, key: &ObjectKey) {
        self.lay_gone(key);
        let now = self.clock.now();
        let mut inner = self.lock();
        inner.absent.retain(|_, at| now - *at < ABSENT);
        inner.absent.insert(key.clone(), now);
    }

    /// Lays a deletion over the cache.
    pub fn lay_gone(&self, key: &ObjectKey) {
        let now = self.clock.now();
        let mut inner = self.lock();
        inner.unsure.remove(key);
        match inner.cached(key).cloned() {
            Some(cached) => inner
                .overlay
                .lay_gone(key.clone(), meta::uid(&cached), meta::version(&cached), now),
            None => inner.overlay.clear(key),
        }
    }

    /// All objects of a group, such as the slices of a Service, were listed live.
    pub fn listed(&self, group: &ObjectKey, objects: Vec<Value>) {
        let mut inner = self.lock();
        inner.unsure.remove(group);
        for whole in objects {
            inner.applied(group.resource, Arc::new(projection::project(group.resource, whole)));
        }
    }

    // === What is asked ===

    /// What is known about an object.
    pub fn seen(&self, key: &ObjectKey) -> Seen {
        let inner = self.lock();
        match inner.overlay.over(key, self.clock.now()) {
            Over::Is(object) => return Seen::Is(object),
            Over::Gone if inner.was_absent(key, self.clock.now()) => return Seen::Absent,
            Over::Gone => return Seen::Missing,
            Over::Stale => return Seen::Unsure,
            Over::Clear => {}
        }
        if let Some(unknown) = inner.unserved(key.resource) {
            return unknown;
        }
        match inner.cached(key) {
            Some(object) => Seen::Is(object.clone()),
            None if inner.was_absent(key, self.clock.now()) => Seen::Absent,
            None if inner.unsure.contains(key) => Seen::Unsure,
            None => Seen::Missing,
        }
    }

    /// All Canaries of a namespace.
    pub fn canaries(&self, namespace: &str) -> Vec<Arc<Value>> {
        let inner = self.lock();
        let all = inner
            .shelves
            .get(&Resource::CANARY)
            .into_iter()
            .flat_map(|shelf| &shelf.objects);
        all.filter(|((place, _), _)| place == namespace)
            .map(|(_, object)| object.clone())
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
        let keys: Vec<_> = {
            let inner = self.lock();
            let all = inner
                .shelves
                .get(&Resource::CANARY)
                .into_iter()
                .flat_map(|shelf| shelf.objects.keys());
            all.map(|(namespace, name)| CanaryKey::new(namespace, name)).collect()
        };
        self.wake(keys);
    }

    /// All objects that belong to one name (the slices of a Service, the revisions of a Canary), with what is laid over
    /// them; `Err` says why they are not known.
    pub fn group(&self, key: &ObjectKey) -> Result<Vec<Arc<Value>>, Seen> {
        let inner = self.lock();
        if let Some(unknown) = inner.unserved(key.resource) {
            return Err(unknown);
        }
        if inner.unsure.contains(key) {
            return Err(Seen::Unsure);
        }
        let now = self.clock.now();
        let mine = |object: &Arc<Value>| interest::key_of(key.resource, object) == *key;
        let of = |name: &str| ObjectKey::new(key.resource, &key.namespace, name);
        let mut objects: HashMap<String, Arc<Value>> = HashMap::new();
        if let Some(shelf) = inner.shelves.get(&key.resource) {
            let near = shelf
                .objects
                .iter()
                .filter(|((namespace, _), object)| *namespace == key.namespace && mine(object));
            objects.extend(near.map(|((_, name), object)| (name.clone(), object.clone())));
        }
        for name in inner.overlay.names(key.resource, &key.namespace) {
            match inner.overlay.over(&of(&name), now) {
                Over::Is(object) if mine(&object) => drop(objects.insert(name, object)),
                Over::Gone => drop(objects.remove(&name)),
                Over::Stale if objects.get(&name).is_none_or(mine) => return Err(Seen::Unsure),
                _ => {}
            }
        }
        Ok(objects.into_values().collect())
    }

    fn note_names(&self, canary: &Value) {
        let woken = self.lock().note_names(canary);
        self.wake(woken);
    }

    fn wake(&self, keys: impl IntoIterator<Item = CanaryKey>) {
        for key in keys {
            self.queue.add(&key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn cached(&self, key: &ObjectKey) -> Option<&Arc<Value>> {
        self.shelves
            .get(&key.resource)?
            .objects
            .get(&(key.namespace.clone(), key.name.clone()))
    }

    fn was_absent(&self, key: &ObjectKey, now: DateTime<Utc>) -> bool {
        self.absent.get(key).is_some_and(|at| now - *at < ABSENT)
    }

    /// Why a kind's cache says nothing, if it doesn't.
    fn unserved(&self, resource: Resource) -> Option<Seen> {
        match self
            .shelves
            .get(&resource)
            .map_or(&Serving::Filling, |shelf| &shelf.serving)
        {
            Serving::Filling => Some(Seen::Unsure),
            Serving::Filled => None,
            Serving::Forbidden(verb) => Some(Seen::Forbidden(verb)),
            Serving::NoKind => Some(Seen::NoKind),
        }
    }

    fn applied(&mut self, resource: Resource, object: Arc<Value>) -> BTreeSet<CanaryKey> {
        let place = (meta::namespace(&object).to_owned(), meta::name(&object).to_owned());
        let key = ObjectKey::new(resource, &place.0, &place.1);
        let named = interest::key_of(resource, &object);
        self.overlay.passed(&key, &object, false);
        self.absent.remove(&key);
        let woken = if resource == Resource::CANARY {
            let mut woken = self.note_names(&object);
            woken.insert(CanaryKey::new(&place.0, &place.1));
            woken
        } else {
            self.interest.in_object(&named).cloned().collect()
        };
        let shelf = self.shelves.entry(resource).or_default();
        if let Some(listed) = &mut shelf.listed {
            listed.insert(place.clone());
        }
        let all = matches!(
            resource,
            Resource::CANARY | Resource::METRIC_TEMPLATE | Resource::ALERT_PROVIDER
        );
        if all || self.interest.named(&named) {
            self.unsure.remove(&named);
            shelf.objects.insert(place, object);
        }
        woken
    }

    fn removed(&mut self, resource: Resource, object: &Value) -> BTreeSet<CanaryKey> {
        let place = (meta::namespace(object).to_owned(), meta::name(object).to_owned());
        let key = ObjectKey::new(resource, &place.0, &place.1);
        self.overlay.passed(&key, object, true);
        let shelf = self.shelves.entry(resource).or_default();
        shelf.objects.remove(&place);
        if resource == Resource::CANARY {
            let canary = CanaryKey::new(place.0, place.1);
            let change = self.interest.set(&canary, BTreeSet::new());
            self.drop_unnamed(&change.dropped);
            return change.neighbours.into_iter().chain([canary]).collect();
        }
        self.interest
            .in_object(&interest::key_of(resource, object))
            .cloned()
            .collect()
    }

    fn note_names(&mut self, canary: &Value) -> BTreeSet<CanaryKey> {
        let key = CanaryKey::new(meta::namespace(canary), meta::name(canary));
        let change = self.interest.set(&key, interest::names(canary, &self.routes));
        self.drop_unnamed(&change.dropped);
        for new in change.new {
            if self.shelves.get(&new.resource).is_some_and(|shelf| shelf.begun) {
                self.unsure.insert(new);
            }
        }
        change.neighbours.into_iter().filter(|other| *other != key).collect()
    }

    fn drop_unnamed(&mut self, keys: &[ObjectKey]) {
        for key in keys {
            self.unsure.remove(key);
            if let Some(shelf) = self.shelves.get_mut(&key.resource) {
                let keep = |object: &Value| interest::key_of(key.resource, object) != *key;
                shelf
                    .objects
                    .retain(|(namespace, _), object| *namespace != key.namespace || keep(object));
            }
        }
    }
}
