//! Feeds the caches: one list and watch a kind, for as long as the process lives.
//!
//! A kind that the API server does not serve, such as the route of a provider that is not installed, is looked for again
//! when a canary needs it, and not before.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, TryStreamExt as _};
use kube::api::{Api, ApiResource};
use kube::core::{DynamicResourceScope, PartialObjectMeta};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Error};
use tokio::sync::Notify;

use super::caches::{Caches, Serving};
use super::kept::Arrival;
use super::resource::Resource;
use super::work::STUCK;
use crate::clock::Clock;
use crate::retry::WatchRetry;
use crate::telemetry::health::Health;

/// Objects in one page of a list: a page is decoded as a whole, and most of it is dropped.
const PAGE: u32 = 100;
/// The least time between two searches for a kind that is not served.
const SEARCH: Duration = Duration::from_secs(30);

/// Watches every kind of the caches, in one namespace or in all.
#[derive(Clone, Debug)]
pub struct Watches {
    /// What is fed.
    pub caches: Arc<Caches>,
    /// Where the time comes from.
    pub clock: Clock,
    /// The one namespace that is watched.
    pub namespace: Option<String>,
    /// Told when a canary needs a kind that was not served.
    pub wanted: Arc<Notify>,
    /// Where the watches say whether they run.
    pub health: Health,
}

impl Watches {
    /// Starts all watches, the Canaries' first, and returns when every first list has ended, or cannot.
    ///
    /// The watches end when `tasks` is dropped.
    pub async fn start(&self, client: &Client, tasks: &mut tokio::task::JoinSet<()>) {
        let resources = self.caches.resources();
        for resource in resources {
            tasks.spawn(self.clone().feed(client.clone(), resource));
            if resource == Resource::CANARY {
                self.settled(resource).await;
            }
        }
        for resource in self.caches.resources() {
            self.settled(resource).await;
        }
    }

    async fn settled(&self, resource: Resource) {
        loop {
            let changed = self.caches.changed();
            if self.caches.settled(resource) {
                return;
            }
            changed.await;
        }
    }

    /// Says whether everything can be read that every Canary needs.
    pub fn say_whether_complete(&self) {
        let forbidden = self.caches.forbidden();
        let state = if forbidden.is_empty() {
            Ok(String::new())
        } else {
            Err(format!("Serin may not {}", forbidden.join(", ")))
        };
        self.health.condition("caches", state);
    }

    async fn feed(self, client: Client, resource: Resource) {
        let _pulse = self.health.pulse(resource.plural, STUCK);
        self.worth_a_watch(resource).await;
        loop {
            if self.served(&client, resource).await {
                self.watch(&client, resource).await;
            } else {
                self.caches.not_serving(resource, Serving::NoKind);
                let soonest = self.clock.now() + SEARCH;
                self.wanted.notified().await;
                self.clock.sleep_until(soonest).await;
            }
        }
    }

    /// Waits until some Canary names an object of the kind.
    async fn worth_a_watch(&self, resource: Resource) {
        loop {
            let changed = self.caches.changed();
            if self.caches.wants(resource) {
                return;
            }
            if !self.caches.settled(resource) {
                self.caches.not_serving(resource, Serving::Unwanted);
            }
            changed.await;
        }
    }

    /// Whether the API server serves the kind. When it cannot be asked, the watch itself will find out.
    async fn served(&self, client: &Client, resource: Resource) -> bool {
        if resource.group.is_empty() {
            return true;
        }
        match client.list_api_group_resources(&resource.api_version()).await {
            Ok(list) => list.resources.iter().any(|served| served.name == resource.plural),
            Err(Error::Api(status)) if status.code == 404 => false,
            Err(_) => true,
        }
    }

    /// Lists and watches until the kind is not served any more.
    async fn watch(&self, client: &Client, resource: Resource) {
        let mut config = watcher::Config::default().page_size(PAGE);
        if let Some(selector) = Caches::selector(resource) {
            config = config.labels(selector);
        }
        let retry = WatchRetry::new(resource.plural);
        if Resource::CONFIGS.contains(&resource) {
            let stream = watcher::<PartialObjectMeta<Arrival>>(self.api(client, resource), config);
            let arrival = |object: PartialObjectMeta<Arrival>| Arrival::of_metadata(&object.metadata);
            self.follow(resource, stream.backoff(retry), arrival).await;
        } else {
            let stream = watcher::<Arrival>(self.api(client, resource), config);
            self.follow(resource, stream.backoff(retry), |object| object).await;
        }
    }

    fn api<K>(&self, client: &Client, resource: Resource) -> Api<K>
    where
        K: kube::Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource.api_resource()),
            None => Api::all_with(client.clone(), &resource.api_resource()),
        }
    }

    async fn follow<K>(
        &self,
        resource: Resource,
        stream: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
        arrival: impl Fn(K) -> Arrival,
    ) {
        futures::pin_mut!(stream);
        loop {
            match stream.try_next().await {
                Ok(Some(event)) => self.take(resource, event, &arrival),
                Ok(None) => return,
                Err(error) => {
                    if !self.broken(resource, &error) {
                        return;
                    }
                }
            }
        }
    }

    fn take<K>(&self, resource: Resource, event: watcher::Event<K>, arrival: impl Fn(K) -> Arrival) {
        match event {
            watcher::Event::Init => self.caches.list_begins(resource),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                self.caches.applied(resource, &arrival(object));
            }
            watcher::Event::Delete(object) => self.caches.deleted(resource, &arrival(object)),
            watcher::Event::InitDone => {
                let is_back = !self.caches.forbidden().is_empty();
                self.caches.list_ends(resource);
                if is_back {
                    self.say_whether_complete();
                }
            }
        }
    }

    /// Notes why a watch failed; false when its kind is gone.
    fn broken(&self, resource: Resource, error: &watcher::Error) -> bool {
        let (verb, status) = match error {
            watcher::Error::InitialListFailed(Error::Api(status)) => ("list", status),
            watcher::Error::WatchStartFailed(Error::Api(status)) | watcher::Error::WatchError(status) => {
                ("watch", status)
            }
            _ => {
                tracing::debug!(%resource, %error, "a watch failed and is started again");
                return true;
            }
        };
        match status.code {
            403 => {
                tracing::warn!(%resource, verb, "the watch is forbidden: {}", status.message);
                self.caches.not_serving(resource, Serving::Forbidden(verb));
                if Resource::ALWAYS.contains(&resource) {
                    self.say_whether_complete();
                }
                true
            }
            404 => false,
            _ => {
                tracing::debug!(%resource, verb, "a watch failed and is started again: {}", status.message);
                true
            }
        }
    }
}
