//! What the embedded controllers have seen: the objects of a watch, with the answers to their own writes laid over.
//!
//! A controller that decides on an old view makes the same pod twice. So an answer to a write counts at once, an older
//! event never undoes a newer state, and what was deleted here is not brought back by an event that is still under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::core::{DynamicObject, ObjectMeta, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::write::{Kind, Place};

type Key = (String, String);

/// The objects of one kind.
#[derive(Debug)]
pub(super) struct Shelf<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// The uids that were deleted by a write of ours, until the watch says so too.
    gone: BTreeSet<String>,
    /// The keys that a new list has named so far.
    listed: Option<BTreeSet<Key>>,
}

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            gone: BTreeSet::new(),
            listed: None,
        }
    }
}

impl<K: Resource> Shelf<K> {
    /// Takes a state of an object, unless a newer one is here or it is known to be gone; says whether it did. One that does not
    /// decode as its kind is left out. Who owns which field is nothing that these controllers look at, so it is dropped.
    fn take(&mut self, object: &Value) -> bool
    where
        K: DeserializeOwned,
    {
        let key = key(object);
        if let Some(listed) = &mut self.listed {
            listed.insert(key.clone());
        }
        if self.gone.contains(text(object, "uid")) {
            return false;
        }
        let is_news = self.objects.get(&key).is_none_or(|has| {
            revision(has.meta().resource_version.as_deref().unwrap_or_default())
                < revision(text(object, "resourceVersion"))
        });
        if !is_news {
            return false;
        }
        let Ok(mut typed) = K::deserialize(object) else {
            return false;
        };
        typed.meta_mut().managed_fields = None;
        self.objects.insert(key, Arc::new(typed));
        true
    }

    /// The watch saw the object go. Says whether it was here.
    fn drop(&mut self, object: &Value) -> bool {
        let uid = text(object, "uid");
        self.gone.remove(uid);
        let key = key(object);
        let is_here = self
            .objects
            .get(&key)
            .is_some_and(|has| has.meta().uid.as_deref() == Some(uid));
        if is_here {
            self.objects.remove(&key);
        }
        is_here
    }

    /// A write of ours deleted it.
    fn bury(&mut self, namespace: &str, name: &str) {
        if let Some(object) = self.objects.remove(&(namespace.to_owned(), name.to_owned())) {
            self.gone.extend(object.meta().uid.clone());
        }
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    pub(super) fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<K>> {
        self.objects
            .iter()
            .filter(move |(key, _)| key.0 == namespace)
            .map(|(_, object)| object)
    }

    /// The objects that the one with this uid controls.
    pub(super) fn controlled_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.objects
            .values()
            .filter(|object| controller(object.meta()) == Some(uid))
            .cloned()
            .collect()
    }

    fn list_begins(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    fn list_ends(&mut self) {
        if let Some(listed) = self.listed.take() {
            self.objects.retain(|key, _| listed.contains(key));
        }
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

fn key(object: &Value) -> Key {
    (text(object, "namespace").to_owned(), text(object, "name").to_owned())
}

fn revision(of: &str) -> u64 {
    of.parse().unwrap_or(0)
}

/// The uid of the object that controls this one.
pub(super) fn controller(meta: &ObjectMeta) -> Option<&str> {
    let owners = meta.owner_references.iter().flatten();
    owners
        .filter(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.as_str())
        .next()
}

/// All shelves.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) deployments: Shelf<Deployment>,
    pub(super) sets: Shelf<ReplicaSet>,
    pub(super) pods: Shelf<Pod>,
    pub(super) services: Shelf<Service>,
    pub(super) slices: Shelf<EndpointSlice>,
    pub(super) autoscalers: Shelf<HorizontalPodAutoscaler>,
    pub(super) proxies: Shelf<DynamicObject>,
    pub(super) routes: Shelf<DynamicObject>,
    pub(super) virtual_services: Shelf<DynamicObject>,
}

/// What happened to one object.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// It is like this now.
    Is(Arc<Value>),
    /// The watch saw it go.
    Went(Arc<Value>),
    /// A new list of the kind begins.
    ListBegins,
    /// The list is complete: what it did not name is gone.
    ListEnds,
}

/// Does the same to the shelf of a kind, whatever its type; `as [&]` to look at it, `as [&mut]` to change it.
macro_rules! with_shelf {
    ($mirror:ident as [$($borrow:tt)+], $kind:expr, $shelf:ident => $do:expr) => {
        match $kind {
            Kind::Deployment => {
                let $shelf = $($borrow)+ $mirror.deployments;
                $do
            }
            Kind::ReplicaSet => {
                let $shelf = $($borrow)+ $mirror.sets;
                $do
            }
            Kind::Pod => {
                let $shelf = $($borrow)+ $mirror.pods;
                $do
            }
            Kind::Service => {
                let $shelf = $($borrow)+ $mirror.services;
                $do
            }
            Kind::EndpointSlice => {
                let $shelf = $($borrow)+ $mirror.slices;
                $do
            }
            Kind::Autoscaler => {
                let $shelf = $($borrow)+ $mirror.autoscalers;
                $do
            }
            Kind::HttpProxy => {
                let $shelf = $($borrow)+ $mirror.proxies;
                $do
            }
            Kind::HttpRoute => {
                let $shelf = $($borrow)+ $mirror.routes;
                $do
            }
            Kind::VirtualService => {
                let $shelf = $($borrow)+ $mirror.virtual_services;
                $do
            }
        }
    };
}

impl Mirror {
    /// The shelf of a kind of routes.
    pub(super) const fn routes_of(&self, kind: Kind) -> &Shelf<DynamicObject> {
        match kind {
            Kind::HttpProxy => &self.proxies,
            Kind::VirtualService => &self.virtual_services,
            _ => &self.routes,
        }
    }

    /// Takes news of a kind; says whether an object changed by it.
    pub(super) fn note(&mut self, kind: Kind, news: &News) -> bool {
        with_shelf!(self as [&mut], kind, shelf => match news {
            News::ListBegins => {
                shelf.list_begins();
                false
            }
            News::ListEnds => {
                shelf.list_ends();
                false
            }
            News::Is(object) => shelf.take(object),
            News::Went(object) => shelf.drop(object),
        })
    }

    /// The metadata of an object, as last seen.
    pub(super) fn meta(&self, Place { kind, namespace, name }: &Place) -> Option<&ObjectMeta> {
        with_shelf!(self as [&], kind, shelf => shelf.get(namespace, name).map(|object| object.meta()))
    }

    /// Notes that a write of ours deleted an object.
    pub(super) fn bury(&mut self, Place { kind, namespace, name }: &Place) {
        with_shelf!(self as [&mut], kind, shelf => shelf.bury(namespace, name));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(revision: u64, uid: &str) -> Arc<Value> {
        Arc::new(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "app", "namespace": "test", "uid": uid, "resourceVersion": revision.to_string() },
        }))
    }

    fn seen(mirror: &Mirror) -> Option<String> {
        mirror
            .pods
            .get("test", "app")
            .and_then(|pod| pod.metadata.resource_version.clone())
    }

    #[test]
    fn an_older_event_does_not_undo_an_answer() {
        let mut mirror = Mirror::default();
        for revision in [5, 9, 7] {
            mirror.note(Kind::Pod, &News::Is(pod(revision, "a")));
        }
        assert_eq!(seen(&mirror).as_deref(), Some("9"));
    }

    #[test]
    fn what_was_deleted_here_does_not_come_back_by_a_late_event() {
        let mut mirror = Mirror::default();
        mirror.note(Kind::Pod, &News::Is(pod(5, "a")));
        mirror.bury(&Place::new(Kind::Pod, "test", "app"));
        mirror.note(Kind::Pod, &News::Is(pod(6, "a")));
        assert_eq!(seen(&mirror), None);
        mirror.note(Kind::Pod, &News::Is(pod(8, "b")));
        mirror.note(Kind::Pod, &News::Went(pod(7, "a")));
        assert_eq!(
            seen(&mirror).as_deref(),
            Some("8"),
            "the next object of that name stays"
        );
    }

    #[test]
    fn a_new_list_drops_what_it_does_not_name() {
        let mut mirror = Mirror::default();
        mirror.note(Kind::Pod, &News::Is(pod(5, "a")));
        mirror.note(Kind::Pod, &News::ListBegins);
        mirror.note(Kind::Pod, &News::ListEnds);
        assert_eq!(seen(&mirror), None);
    }
}
