//! Looking at one object: in the caches, and live where they cannot say. Only a live read makes a thing absent.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{GetParams, ListParams, Request};
use kube::{Client, Error};
use serde_json::Value;
use tokio::sync::Notify;

use super::caches::{Caches, Seen};
use super::interest::SERVICE_NAME;
use super::resource::{ObjectKey, Resource};
use crate::clock::Clock;
use crate::rollout::Known;
use crate::workload::configs::{self, Digest};
use crate::workload::store;

/// The time that one request may take.
pub const REQUEST: Duration = Duration::from_secs(5);

/// So many pods tell what ails the others too.
const MOST_PODS: u32 = 50;

/// Objects of one kind that are gone through in a namespace where nothing depends on it.
const MOST_OBJECTS: u32 = 500;

/// Reads the cluster.
#[derive(Clone)]
pub struct Look {
    /// Talks to the API server, without retries of its own.
    pub client: Client,
    /// Where the time comes from.
    pub clock: Clock,
    /// What is known without asking.
    pub caches: Arc<Caches>,
    /// Told when a kind is needed that is not served.
    pub wanted: Arc<Notify>,
}

impl Look {
    /// An object as the caches have it; live where they have not.
    pub async fn object(&self, key: &ObjectKey) -> Known<Arc<Value>> {
        match self.caches.seen(key) {
            Seen::Is(object) => Known::Present(object),
            Seen::Absent => Known::Absent,
            Seen::Missing | Seen::Unsure => self.live(key).await,
            Seen::Forbidden(verb) => forbidden(verb, key.resource),
            Seen::NoKind => self.no_kind(key.resource),
        }
    }

    /// An object as the API server has it now; the caches learn it.
    pub async fn live(&self, key: &ObjectKey) -> Known<Arc<Value>> {
        match self.whole(key).await {
            Known::Present(whole) => Known::Present(self.caches.lay(key, whole)),
            Known::Absent => {
                self.caches.lay_absent(key);
                Known::Absent
            }
            Known::Unknown => Known::Unknown,
            Known::Forbidden { verb, resource } => Known::Forbidden { verb, resource },
            Known::NoKind { kind } => Known::NoKind { kind },
        }
    }

    /// An object with everything that the caches leave out, read live.
    pub async fn whole(&self, key: &ObjectKey) -> Known<Value> {
        let request = Request::new(key.resource.path(&key.namespace)).get(&key.name, &GetParams::default());
        self.answer(key.resource, "get", request).await
    }

    /// What a configuration says. It is read when it has changed, and only a digest of it is kept.
    pub async fn config(&self, key: &ObjectKey) -> Known<Digest> {
        match self.caches.seen(key) {
            Seen::Is(object) => {
                if let Some(digest) = self.caches.digest(key, &object) {
                    return Known::Present(digest);
                }
            }
            Seen::Absent => return Known::Absent,
            Seen::Forbidden(verb) => return forbidden(verb, key.resource),
            Seen::Missing | Seen::Unsure | Seen::NoKind => {}
        }
        let whole = self.whole(key).await;
        if whole.is_absent() {
            self.caches.lay_absent(key);
        }
        whole.map(|whole| {
            let digest = configs::digest(&whole);
            self.caches.lay(key, whole);
            self.caches.lay_digest(key, digest.clone());
            digest
        })
    }

    /// A namespace, read live.
    pub async fn namespace(&self, name: &str) -> Known<Value> {
        let request = Request::new("/api/v1/namespaces").get(name, &GetParams::default());
        self.answer(Resource::new("", "v1", "Namespace", "namespaces"), "get", request)
            .await
    }

    /// All objects of a group: the slices of a Service, or the revisions of a Canary.
    pub async fn group(&self, key: &ObjectKey) -> Known<Vec<Arc<Value>>> {
        match self.caches.group(key) {
            Ok(objects) => return Known::Present(objects),
            Err(Seen::Forbidden(verb)) => return forbidden(verb, key.resource),
            Err(Seen::NoKind) => return self.no_kind(key.resource),
            Err(_) => {}
        }
        let label = if key.resource == Resource::ENDPOINT_SLICE {
            SERVICE_NAME
        } else {
            store::CANARY
        };
        let selector = ListParams::default().labels(&format!("{label}={}", key.name));
        let request = Request::new(key.resource.path(&key.namespace)).list(&selector);
        match self.answer(key.resource, "list", request).await {
            Known::Present(list) => {
                self.caches.listed(key, items(list));
                self.caches.group(key).map_or(Known::Unknown, Known::Present)
            }
            other => other.map(|_| Vec::new()),
        }
    }

    /// The pods with this label, as far as one answer goes.
    pub async fn pods(&self, namespace: &str, label: &str) -> Known<Vec<Value>> {
        let params = ListParams::default().labels(label).limit(MOST_PODS);
        let request = Request::new(Resource::POD.path(namespace)).list(&params);
        let list = self.answer(Resource::POD, "list", request).await;
        list.map(items)
    }

    /// The objects of any kind in a namespace, or in all where it is empty, as far as one answer goes; none where they cannot be listed.
    pub async fn listed(&self, resource: Resource, namespace: &str) -> Vec<Value> {
        let params = ListParams::default().limit(MOST_OBJECTS);
        let Ok(request) = Request::new(resource.path(namespace)).list(&params) else {
            return Vec::new();
        };
        let answer = self.clock.timeout(REQUEST, self.client.request::<Value>(request)).await;
        match answer {
            Ok(Ok(list)) => items(list),
            Ok(Err(error)) => {
                tracing::debug!(%resource, namespace, %error, "a list that can be done without was not given");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    async fn answer(
        &self,
        resource: Resource,
        verb: &'static str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Known<Value> {
        let Ok(request) = request else { return Known::Unknown };
        match self.clock.timeout(REQUEST, self.client.request::<Value>(request)).await {
            Ok(Ok(object)) => Known::Present(object),
            Ok(Err(Error::Api(status))) if status.is_forbidden() => forbidden(verb, resource),
            Ok(Err(Error::Api(status))) if status.code == 404 => {
                // A missing object is named in the answer; a missing kind is not.
                if status.details.is_some_and(|details| !details.name.is_empty()) {
                    Known::Absent
                } else {
                    self.no_kind(resource)
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(%resource, verb, %error, "a read failed");
                Known::Unknown
            }
            Err(_) => {
                tracing::debug!(%resource, verb, "a read had no answer in time");
                Known::Unknown
            }
        }
    }

    fn no_kind<T>(&self, resource: Resource) -> Known<T> {
        self.wanted.notify_waiters();
        Known::NoKind {
            kind: resource.full_kind(),
        }
    }
}

/// What a list holds.
fn items(mut list: Value) -> Vec<Value> {
    let items = list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
    items.unwrap_or_default()
}

fn forbidden<T>(verb: &str, resource: Resource) -> Known<T> {
    Known::Forbidden {
        verb: verb.to_owned(),
        resource: resource.to_string(),
    }
}
