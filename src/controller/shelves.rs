//! What the caches hold, one shelf a kind: plain data, without a lock and without waking anybody.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::interest::{self, Interest, RouteKind};
use super::kept::{Head, Kept};
use super::meta;
use super::overlay::{Over, Overlay};
use super::resource::{CanaryKey, ObjectKey, Resource};
pub use super::shelf::Serving;
use super::shelf::{Shelf, is_grouped, is_newer};

/// How long a live read that found nothing is believed. What is created meanwhile is found by the create that comes second.
const ABSENT: TimeDelta = TimeDelta::seconds(5);

/// The shelves of all kinds.
#[derive(Debug)]
pub struct Shelves {
    routes: Vec<RouteKind>,
    kinds: HashMap<Resource, Shelf>,
    overlay: Overlay,
    interest: Interest,
    /// The configurations that the pods of each Canary read.
    configs: HashMap<CanaryKey, BTreeSet<ObjectKey>>,
    /// Named only after their kind's watch had begun, and not asked for since: nobody knows whether they are there.
    unsure: HashSet<ObjectKey>,
    /// When a live read last found nothing.
    absent: HashMap<ObjectKey, DateTime<Utc>>,
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

type Woken = BTreeSet<CanaryKey>;

impl Shelves {
    /// Empty shelves. `routes` are the kinds that providers draw.
    pub fn new(routes: Vec<RouteKind>) -> Self {
        Self {
            routes,
            kinds: HashMap::new(),
            overlay: Overlay::default(),
            interest: Interest::default(),
            configs: HashMap::new(),
            unsure: HashSet::new(),
            absent: HashMap::new(),
        }
    }

    /// A list begins.
    pub fn list_begins(&mut self, resource: Resource) {
        self.shelf(resource).list_begins();
    }

    /// A list has ended: what it did not bring is gone. Returns whether it was the first, and whom that wakes.
    pub fn list_ends(&mut self, resource: Resource) -> (bool, Woken) {
        let (lost, first) = self.shelf(resource).list_ends();
        let woken = lost.iter().flat_map(|object| self.removed(resource, object));
        (first, woken.collect())
    }

    /// How the kind's watch stands from now on.
    pub fn serving(&mut self, resource: Resource, serving: Serving) {
        self.shelf(resource).set_serving(serving);
    }

    /// The verb that may not be used on a kind.
    pub fn forbidden(&self, resource: Resource) -> Option<&'static str> {
        match self.kinds.get(&resource)?.serving() {
            Serving::Forbidden(verb) => Some(verb),
            _ => None,
        }
    }

    /// Whether the first list of the kind has ended, one way or another.
    pub fn settled(&self, resource: Resource) -> bool {
        self.kinds
            .get(&resource)
            .is_some_and(|shelf| *shelf.serving() != Serving::Filling)
    }

    /// Whether any Canary names an object of the kind.
    pub fn names(&self, resource: Resource) -> bool {
        self.interest.has(resource)
    }

    /// An object arrives. Whether it can be dropped unread, because no Canary names it.
    pub fn is_nobodys(&mut self, resource: Resource, head: &Head) -> bool {
        let held = self.shelf(resource).get(&head.namespace, &head.name).is_some();
        if held || keeps_all(resource) || self.interest.named(&interest::key_of(resource, head)) {
            return false;
        }
        self.passed(resource, head, false);
        true
    }

    /// A projected object is there. Returns whom that wakes.
    pub fn applied(&mut self, resource: Resource, object: &Value) -> Woken {
        let head = Head::of(object);
        let named = interest::key_of(resource, &head);
        self.passed(resource, &head, false);
        let mut woken: Woken = self.interest.in_object(&named).cloned().collect();
        if resource == Resource::SCALER && self.held(&named).is_some_and(|held| differs_in_version(held, object)) {
            // A scaler's status is written again and again, and nobody here reads it.
            woken.clear();
        }
        if resource == Resource::CANARY {
            woken = self.note_names(object);
            woken.insert(CanaryKey::new(&head.namespace, &head.name));
        }
        if !is_grouped(resource) {
            self.unsure.remove(&named);
        }
        if keeps_all(resource) || self.interest.named(&named) {
            self.shelf(resource).put(&head, object);
        } else if let Some(before) = self.shelf(resource).take(&head.namespace, &head.name) {
            let named = interest::key_of(resource, &before);
            woken.extend(self.interest.in_object(&named).cloned());
        }
        woken
    }

    /// An object is gone. Returns whom that wakes.
    pub fn removed(&mut self, resource: Resource, head: &Head) -> Woken {
        self.passed(resource, head, true);
        self.shelf(resource).take(&head.namespace, &head.name);
        if resource == Resource::CANARY {
            let canary = CanaryKey::new(&head.namespace, &head.name);
            self.configs.remove(&canary);
            let change = self.interest.set(&canary, BTreeSet::new());
            self.drop_unnamed(&change.dropped);
            return change.neighbours.into_iter().chain([canary]).collect();
        }
        self.interest
            .in_object(&interest::key_of(resource, head))
            .cloned()
            .collect()
    }

    /// A watch brought this state of an object, `deleted` as its last: what was noted of earlier ones goes.
    fn passed(&mut self, resource: Resource, head: &Head, deleted: bool) {
        let key = ObjectKey::new(resource, &head.namespace, &head.name);
        self.overlay.passed(&key, head, deleted);
        if !deleted {
            self.absent.remove(&key);
        }
    }

    /// All objects of a group were listed live.
    pub fn listed(&mut self, group: &ObjectKey, objects: impl IntoIterator<Item = Value>) {
        for object in objects {
            self.applied(group.resource, &object);
        }
        self.unsure.remove(group);
    }

    /// Lays the answer of a write, or of a live read, over the shelf. Returns whom a Canary's new names wake.
    pub fn lay(&mut self, key: &ObjectKey, object: &Arc<Value>, now: DateTime<Utc>) -> Woken {
        self.unsure.remove(key);
        self.absent.remove(key);
        // Not over the same or a newer object: its watch event has come already, and no other will clear the entry.
        let head = Head::of(object);
        let passed = self
            .held(key)
            .map(Kept::head)
            .is_some_and(|held| is_newer(&held, &head) || held.version == head.version);
        if passed {
            self.overlay.clear(key);
        } else {
            self.overlay.lay(key.clone(), object.clone(), now);
        }
        if key.resource == Resource::CANARY {
            self.note_names(object)
        } else {
            Woken::new()
        }
    }

    /// Lays a deletion over the shelf.
    pub fn lay_gone(&mut self, key: &ObjectKey, now: DateTime<Utc>) {
        self.unsure.remove(key);
        match self.held(key).map(Kept::head) {
            Some(held) => self.overlay.lay_gone(key.clone(), &held.uid, &held.version, now),
            None => self.overlay.clear(key),
        }
    }

    /// A live read found nothing.
    pub fn lay_absent(&mut self, key: &ObjectKey, now: DateTime<Utc>) {
        self.lay_gone(key, now);
        self.absent.retain(|_, at| now - *at < ABSENT);
        self.absent.insert(key.clone(), now);
    }

    /// What is known about an object.
    pub fn seen(&self, key: &ObjectKey, now: DateTime<Utc>) -> Seen {
        let absent = self.absent.get(key).is_some_and(|at| now - *at < ABSENT);
        match self.overlay.over(key, now) {
            Over::Is(object) => return Seen::Is(object),
            Over::Gone if absent => return Seen::Absent,
            Over::Gone => return Seen::Missing,
            Over::Stale => return Seen::Unsure,
            Over::Clear => {}
        }
        if let Some(unknown) = self.unserved(key.resource) {
            return unknown;
        }
        match self.held(key) {
            Some(object) => Seen::Is(object.open()),
            None if absent => Seen::Absent,
            None if self.unsure.contains(key) => Seen::Unsure,
            None => Seen::Missing,
        }
    }

    /// All objects of a group by name, with what is laid over them; `Err` says why they are not known.
    pub fn group(&self, key: &ObjectKey, now: DateTime<Utc>) -> Result<Vec<Arc<Value>>, Seen> {
        if let Some(unknown) = self.unserved(key.resource) {
            return Err(unknown);
        }
        if self.unsure.contains(key) {
            return Err(Seen::Unsure);
        }
        let mine = |object: &Value| interest::key_of(key.resource, &Head::of(object)) == *key;
        let mut objects: BTreeMap<&str, Arc<Value>> = BTreeMap::new();
        if let Some(shelf) = self.kinds.get(&key.resource) {
            let kept = shelf.group(&key.namespace, &key.name);
            objects.extend(kept.map(|(name, kept)| (name, kept.open())));
        }
        for laid in self.overlay.keys(key.resource, &key.namespace) {
            match self.overlay.over(laid, now) {
                Over::Is(object) if mine(&object) => drop(objects.insert(&laid.name, object)),
                Over::Gone => drop(objects.remove(laid.name.as_str())),
                Over::Stale => return Err(Seen::Unsure),
                _ => {}
            }
        }
        Ok(objects.into_values().collect())
    }

    /// The names of all Canaries.
    pub fn canaries(&self) -> BTreeSet<CanaryKey> {
        let places = self.kinds.get(&Resource::CANARY).into_iter().flat_map(Shelf::places);
        places
            .map(|(namespace, name)| CanaryKey::new(namespace, name))
            .collect()
    }

    /// The other Canaries that name one of the objects that this one names.
    pub fn neighbours(&self, canary: &CanaryKey) -> Vec<Arc<Value>> {
        let neighbours = self.interest.neighbours(canary).into_iter();
        neighbours
            .filter_map(|other| Some(self.held(&other.object())?.open()))
            .collect()
    }

    /// Whether some Canary names it.
    pub fn is_named(&self, key: &ObjectKey) -> bool {
        self.interest.named(key)
    }

    /// The pods of a Canary read these configurations. They are named by the target, so a pass tells.
    pub fn note_configs(&mut self, canary: &CanaryKey, keys: BTreeSet<ObjectKey>) {
        if self.configs.get(canary).map_or(keys.is_empty(), |noted| *noted == keys) {
            return;
        }
        self.configs.insert(canary.clone(), keys);
        if let Some(object) = self.held(&canary.object()).map(Kept::open) {
            self.note_names(&object);
        }
    }

    fn shelf(&mut self, resource: Resource) -> &mut Shelf {
        self.kinds.entry(resource).or_insert_with(|| Shelf::new(resource))
    }

    fn held(&self, key: &ObjectKey) -> Option<&Kept> {
        self.kinds.get(&key.resource)?.get(&key.namespace, &key.name)
    }

    /// Why a kind's shelf says nothing, if it doesn't.
    fn unserved(&self, resource: Resource) -> Option<Seen> {
        match self.kinds.get(&resource).map_or(&Serving::Filling, Shelf::serving) {
            Serving::Filling | Serving::Unwanted => Some(Seen::Unsure),
            Serving::Filled => None,
            Serving::Forbidden(verb) => Some(Seen::Forbidden(verb)),
            Serving::NoKind => Some(Seen::NoKind),
        }
    }

    fn note_names(&mut self, canary: &Value) -> Woken {
        let key = CanaryKey::new(meta::namespace(canary), meta::name(canary));
        let mut names = interest::names(canary, &self.routes);
        names.extend(self.configs.get(&key).into_iter().flatten().cloned());
        let change = self.interest.set(&key, names);
        self.drop_unnamed(&change.dropped);
        for new in change.new {
            let is_kept = keeps_all(new.resource);
            if !is_kept && self.kinds.get(&new.resource).is_some_and(Shelf::has_begun) {
                self.unsure.insert(new);
            }
        }
        change.neighbours.into_iter().filter(|other| *other != key).collect()
    }

    fn drop_unnamed(&mut self, keys: &[ObjectKey]) {
        for key in keys {
            self.unsure.remove(key);
            if keeps_all(key.resource) {
                continue;
            }
            if let Some(shelf) = self.kinds.get_mut(&key.resource) {
                shelf.take_named(key);
            }
        }
    }
}

/// Whether nothing but the version has changed.
fn differs_in_version(held: &Kept, object: &Value) -> bool {
    let mut held = Value::clone(&held.open());
    held["metadata"]["resourceVersion"] = object["metadata"]["resourceVersion"].clone();
    held == *object
}

/// Kinds of which there are few, all of them of interest.
fn keeps_all(resource: Resource) -> bool {
    resource == Resource::CANARY || interest::is_shared(resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn object(resource: Resource, name: &str, version: &str) -> Arc<Value> {
        let labels = json!({"kubernetes.io/service-name": name});
        let metadata =
            json!({"namespace": "test", "name": name, "uid": name, "resourceVersion": version, "labels": labels});
        Arc::new(json!({"kind": resource.kind, "metadata": metadata}))
    }

    fn canary() -> Arc<Value> {
        Arc::new(json!({
            "metadata": {"namespace": "test", "name": "podinfo", "uid": "c"},
            "spec": {"targetRef": {"name": "podinfo"}},
        }))
    }

    fn key(resource: Resource, name: &str) -> ObjectKey {
        ObjectKey::new(resource, "test", name)
    }

    fn filled(resources: &[Resource]) -> Shelves {
        let mut shelves = Shelves::new(Vec::new());
        for resource in resources {
            shelves.list_begins(*resource);
            shelves.list_ends(*resource);
        }
        shelves
    }

    #[test]
    fn what_nobody_names_is_dropped_and_what_is_named_later_is_asked_for() {
        let mut shelves = filled(&[Resource::DEPLOYMENT]);
        assert!(
            shelves
                .applied(Resource::DEPLOYMENT, &object(Resource::DEPLOYMENT, "podinfo", "1"))
                .is_empty()
        );
        assert_eq!(
            shelves.seen(&key(Resource::DEPLOYMENT, "podinfo"), now()),
            Seen::Missing
        );
        shelves.applied(Resource::CANARY, &canary());
        assert_eq!(shelves.seen(&key(Resource::DEPLOYMENT, "podinfo"), now()), Seen::Unsure);
        let woken = shelves.applied(Resource::DEPLOYMENT, &object(Resource::DEPLOYMENT, "podinfo", "2"));
        assert_eq!(woken, Woken::from([CanaryKey::new("test", "podinfo")]));
        assert!(matches!(
            shelves.seen(&key(Resource::DEPLOYMENT, "podinfo"), now()),
            Seen::Is(_)
        ));
        shelves.removed(Resource::CANARY, &Head::of(&canary()));
        assert_eq!(
            shelves.seen(&key(Resource::DEPLOYMENT, "podinfo"), now()),
            Seen::Missing
        );
    }

    #[test]
    fn one_slice_of_a_service_does_not_tell_of_all() {
        let mut shelves = filled(&[Resource::ENDPOINT_SLICE]);
        shelves.applied(Resource::CANARY, &canary());
        let group = key(Resource::ENDPOINT_SLICE, "podinfo-primary");
        let slice = object(Resource::ENDPOINT_SLICE, "podinfo-primary", "5");
        shelves.applied(Resource::ENDPOINT_SLICE, &slice);
        assert_eq!(shelves.group(&group, now()), Err(Seen::Unsure));
        shelves.listed(&group, [Value::clone(&slice)]);
        assert_eq!(shelves.group(&group, now()), Ok(vec![slice.clone()]));
        shelves.applied(
            Resource::ENDPOINT_SLICE,
            &object(Resource::ENDPOINT_SLICE, "podinfo-primary", "4"),
        );
        assert_eq!(
            shelves.group(&group, now()),
            Ok(vec![slice]),
            "a late event takes nothing back"
        );
    }

    #[test]
    fn what_a_new_list_does_not_bring_is_gone() {
        let mut shelves = filled(&[]);
        shelves.applied(Resource::CANARY, &canary());
        shelves.list_begins(Resource::SERVICE);
        shelves.applied(Resource::SERVICE, &object(Resource::SERVICE, "podinfo", "1"));
        assert_eq!(
            shelves.seen(&key(Resource::SERVICE, "podinfo"), now()),
            Seen::Unsure,
            "the list has not ended"
        );
        shelves.list_ends(Resource::SERVICE);
        assert!(matches!(
            shelves.seen(&key(Resource::SERVICE, "podinfo"), now()),
            Seen::Is(_)
        ));
        shelves.list_begins(Resource::SERVICE);
        let (first, woken) = shelves.list_ends(Resource::SERVICE);
        assert!(!first && woken.contains(&CanaryKey::new("test", "podinfo")));
        assert_eq!(shelves.seen(&key(Resource::SERVICE, "podinfo"), now()), Seen::Missing);
    }

    #[test]
    fn a_live_read_that_found_nothing_is_believed_for_a_moment() {
        let mut shelves = filled(&[Resource::SERVICE]);
        let key = key(Resource::SERVICE, "podinfo");
        shelves.lay_absent(&key, now());
        assert_eq!(shelves.seen(&key, now()), Seen::Absent);
        assert_eq!(shelves.seen(&key, now() + ABSENT), Seen::Missing);
        shelves.lay_absent(&key, now());
        shelves.applied(Resource::SERVICE, &object(Resource::SERVICE, "podinfo", "1"));
        assert_eq!(shelves.seen(&key, now()), Seen::Missing);
    }

    #[test]
    fn kinds_that_cannot_be_read_say_so() {
        let mut shelves = filled(&[Resource::SERVICE]);
        shelves.serving(Resource::SERVICE, Serving::Forbidden("list"));
        assert_eq!(
            shelves.seen(&key(Resource::SERVICE, "podinfo"), now()),
            Seen::Forbidden("list")
        );
        shelves.serving(Resource::SERVICE, Serving::NoKind);
        assert_eq!(shelves.seen(&key(Resource::SERVICE, "podinfo"), now()), Seen::NoKind);
    }
}
