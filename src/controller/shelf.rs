//! One kind's shelf: the objects that Canaries name, packed, found by their own names and by that of their group.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::interest;
use super::kept::{Head, Kept};
use super::meta;
use super::resource::{ObjectKey, Resource};

/// A namespace and a name in it.
type Place = (Box<str>, Box<str>);

/// The objects of a kind.
#[derive(Debug)]
pub struct Shelf {
    resource: Resource,
    serving: Serving,
    /// The watch has begun: from here on what nobody names is dropped.
    begun: bool,
    objects: HashMap<Place, Kept>,
    /// The names of the objects of each group, for kinds of which a Canary names groups.
    groups: HashMap<Place, Vec<Box<str>>>,
    /// What the list that runs now has brought so far of what is kept.
    listed: Option<HashSet<Place>>,
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
    /// No Canary names an object of the kind, so it is not watched.
    Unwanted,
}

impl Shelf {
    /// An empty shelf, whose watch has not begun.
    pub fn new(resource: Resource) -> Self {
        Self {
            resource,
            serving: Serving::default(),
            begun: false,
            objects: HashMap::new(),
            groups: HashMap::new(),
            listed: None,
        }
    }

    /// How the kind's watch stands.
    pub const fn serving(&self) -> &Serving {
        &self.serving
    }

    /// How it stands from now on.
    pub fn set_serving(&mut self, serving: Serving) {
        self.serving = serving;
    }

    /// Whether the watch has begun.
    pub const fn has_begun(&self) -> bool {
        self.begun
    }

    /// A list begins.
    pub fn list_begins(&mut self) {
        self.begun = true;
        self.listed = Some(HashSet::new());
    }

    /// A list has ended. Returns what it did not bring, and whether it was the first.
    pub fn list_ends(&mut self) -> (Vec<Head>, bool) {
        let listed = self.listed.take().unwrap_or_default();
        let lost = self.objects.iter().filter(|(place, _)| !listed.contains(*place));
        let lost = lost.map(|(_, kept)| kept.head()).collect();
        let before = std::mem::replace(&mut self.serving, Serving::Filled);
        (lost, before != Serving::Filled)
    }

    /// Keeps an object that has arrived, unless a later state of it is held: a late event says less than what was listed
    /// live meanwhile.
    pub fn put(&mut self, head: &Head, object: &Value) {
        let place = place(&head.namespace, &head.name);
        if let Some(listed) = &mut self.listed {
            listed.insert(place.clone());
        }
        let held = self.objects.get(&place).map(Kept::head);
        if held.as_ref().is_some_and(|held| is_newer(held, head)) {
            return;
        }
        self.unfile(held.as_ref());
        if let Some(group) = self.group_of(head) {
            self.groups.entry(group).or_default().push(place.1.clone());
        }
        self.objects.insert(place, Kept::new(object));
    }

    /// Takes an object away. Returns what was held of it.
    pub fn take(&mut self, namespace: &str, name: &str) -> Option<Head> {
        let held = self.objects.remove(&place(namespace, name)).map(|kept| kept.head());
        self.unfile(held.as_ref());
        held
    }

    /// Takes everything away that goes by this name.
    pub fn take_named(&mut self, key: &ObjectKey) {
        if !is_grouped(self.resource) {
            self.take(&key.namespace, &key.name);
            return;
        }
        let names = self.groups.remove(&place(&key.namespace, &key.name));
        for name in names.into_iter().flatten() {
            self.objects.remove(&place(&key.namespace, &name));
        }
    }

    /// What is held of an object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Kept> {
        self.objects.get(&place(namespace, name))
    }

    /// The objects of a group, by name.
    pub fn group(&self, namespace: &str, group: &str) -> impl Iterator<Item = (&str, &Kept)> {
        let names = self.groups.get(&place(namespace, group)).into_iter().flatten();
        names.filter_map(move |name| Some((&**name, self.get(namespace, name)?)))
    }

    /// Namespace and name of everything that is held.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        self.objects.keys().map(|(namespace, name)| (&**namespace, &**name))
    }

    fn group_of(&self, head: &Head) -> Option<Place> {
        is_grouped(self.resource).then(|| place(&head.namespace, &interest::key_of(self.resource, head).name))
    }

    /// Takes the name of what was held out of its group.
    fn unfile(&mut self, held: Option<&Head>) {
        let Some((held, group)) = held.and_then(|held| Some((held, self.group_of(held)?))) else {
            return;
        };
        if let Some(names) = self.groups.get_mut(&group) {
            names.retain(|name| **name != *held.name);
            if names.is_empty() {
                self.groups.remove(&group);
            }
        }
    }
}

/// Kinds of which a Canary names a group, not one: one of them says nothing about the others.
pub fn is_grouped(resource: Resource) -> bool {
    [Resource::ENDPOINT_SLICE, Resource::REVISION].contains(&resource)
}

/// Whether `held` is a later state of the same object.
pub fn is_newer(held: &Head, object: &Head) -> bool {
    held.uid == object.uid && held.version != object.version && meta::reached(&held.version, &object.version)
}

fn place(namespace: &str, name: &str) -> Place {
    (namespace.into(), name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slice(name: &str, service: &str, version: &str) -> Value {
        let labels = json!({ interest::SERVICE_NAME: service });
        json!({"metadata": {"namespace": "test", "name": name, "uid": name, "resourceVersion": version, "labels": labels}})
    }

    fn put(shelf: &mut Shelf, object: &Value) {
        shelf.put(&Head::of(object), object);
    }

    fn names<'a>(shelf: &'a Shelf, group: &str) -> Vec<&'a str> {
        shelf.group("test", group).map(|(name, _)| name).collect()
    }

    #[test]
    fn an_object_goes_by_the_group_that_it_is_in_now() {
        let mut shelf = Shelf::new(Resource::ENDPOINT_SLICE);
        put(&mut shelf, &slice("a", "one", "1"));
        put(&mut shelf, &slice("b", "one", "1"));
        put(&mut shelf, &slice("a", "two", "2"));
        assert_eq!((names(&shelf, "one"), names(&shelf, "two")), (vec!["b"], vec!["a"]));
        put(&mut shelf, &slice("a", "one", "1"));
        assert_eq!(names(&shelf, "two"), ["a"], "a late event takes nothing back");
        assert_eq!(shelf.take("test", "a").map(|head| head.version).as_deref(), Some("2"));
        shelf.take_named(&ObjectKey::new(Resource::ENDPOINT_SLICE, "test", "one"));
        assert!(shelf.objects.is_empty() && shelf.groups.is_empty());
    }

    #[test]
    fn a_list_tells_what_it_did_not_bring() {
        let mut shelf = Shelf::new(Resource::ENDPOINT_SLICE);
        shelf.list_begins();
        put(&mut shelf, &slice("a", "one", "1"));
        put(&mut shelf, &slice("b", "one", "1"));
        assert_eq!(shelf.list_ends(), (Vec::new(), true));
        shelf.list_begins();
        put(&mut shelf, &slice("b", "one", "1"));
        let (lost, first) = shelf.list_ends();
        assert_eq!((lost.len(), lost[0].name.as_str(), first), (1, "a", false));
    }
}
