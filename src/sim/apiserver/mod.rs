//! A Kubernetes API server in memory, behind `kube::Client`.
//!
//! It answers as kube-apiserver 1.36 does: same codes, same `Status` bodies, same rules for generations, conflicts,
//! finalizers, field managers and watches. Nothing leaves the process and no time passes but the clock's, so a test with
//! a paused runtime plays hours in milliseconds and the same seed gives the same run.
//!
//! [`ApiServer`] is the handle; `service` is the road of a request; each other file is one concern of the server.

mod apply;
mod background;
mod call;
mod crd;
mod create;
mod decode;
mod defaults;
mod delete;
mod direct;
mod discovery;
mod errors;
mod field_set;
mod gateway_crds;
mod gc;
mod generation;
mod incoming;
mod istio_crds;
mod json_patch;
mod managed_fields;
mod merge_keys;
mod metadata;
mod names;
mod patch;
mod path;
mod prune;
mod rbac;
mod read;
mod resource;
mod schema;
mod selector;
mod service;
mod skeleton;
mod state;
mod store;
mod strategic;
mod strategy;
mod subresources;
mod teardown;
mod typed;
mod update;
mod validate;
mod watch;
mod zero_values;

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use self::{
    background::Background,
    call::{Call, Content, Verb},
    service::Connection,
    state::State,
    store::Key,
};
use super::fault::{Fault, NoFault};
use crate::clock::Clock;

pub(super) use self::{
    direct::{Direct, Sight},
    istio_crds::istio_definitions,
};
pub use self::{gateway_crds::route_definitions, rbac::Denial};

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// All randomness (uids, generated names, watch delays) comes from here.
    pub seed: u64,
    /// How late a watch sees a change; each event of each watch draws its own delay, and the order is kept.
    pub watch_delay: RangeInclusive<Duration>,
    /// The clock of timestamps, delays and timeouts.
    pub clock: Clock,
}

impl Default for Options {
    /// Seed 0, no delay, the system's clock.
    fn default() -> Self {
        Self {
            seed: 0,
            watch_delay: Duration::ZERO..=Duration::ZERO,
            clock: Clock::system(),
        }
    }
}

/// An API server; clones are handles to the same one.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    options: Options,
    background: Background,
}

/// One served request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who sent it.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural resource name; empty for discovery.
    pub resource: String,
    /// Empty for the object itself.
    pub subresource: String,
    /// Empty for cluster-wide requests.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    /// HTTP code of the answer.
    pub code: u16,
    /// Whether the request was a dry run.
    pub dry_run: bool,
    /// When it was served.
    pub time: DateTime<Utc>,
}

/// A committed write, as an observer sees it. No-ops and dry runs are not writes.
pub struct Write<'a> {
    /// Who wrote.
    pub user: &'a str,
    /// The verb of the request.
    pub verb: &'static str,
    /// API group, empty for the core group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Kind of the object.
    pub kind: &'a str,
    /// Namespace, empty for cluster-wide kinds.
    pub namespace: &'a str,
    /// Name of the object.
    pub name: &'a str,
    /// Subresource of the request, empty for the object itself.
    pub subresource: &'a str,
    /// The object before; `None` for a new one.
    pub before: Option<&'a Value>,
    /// The object after; `None` for a removed one.
    pub after: Option<&'a Value>,
    /// When it was committed.
    pub time: DateTime<Utc>,
    /// All objects right after this write.
    pub store: Snapshot<'a>,
}

/// Read access to all objects at one instant.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    state: &'a State,
}

type Observer = Arc<dyn Fn(&Write<'_>) + Send + Sync>;

impl ApiServer {
    /// A server with the namespaces `default` and `kube-system` and nothing else.
    pub fn new(options: Options) -> Self {
        let state = Mutex::new(State::new(options.seed));
        let server = Self {
            inner: Arc::new(Inner {
                state,
                options,
                background: Background::default(),
            }),
        };
        for name in ["default", "kube-system"] {
            server.insert("v1", "Namespace", &json!({"metadata": {"name": name}}));
        }
        server
    }

    /// A client of this server; must be called within a tokio runtime. The user is also the default field manager.
    pub fn client(&self, user: &str) -> kube::Client {
        self.client_with(user, Arc::new(NoFault))
    }

    /// A client whose requests pass through a fault hook.
    pub fn client_with(&self, user: &str, fault: Arc<dyn Fault>) -> kube::Client {
        kube::Client::new(Connection::new(self.inner.clone(), user, fault), "default")
    }

    /// Serves a custom resource, as a POST or PUT of its definition would.
    pub fn apply_crd(&self, crd: &CustomResourceDefinition) {
        let object = serde_json::to_value(crd).unwrap_or_default();
        self.insert("apiextensions.k8s.io/v1", "CustomResourceDefinition", &object);
    }

    /// One object as it is stored.
    pub fn object(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.read(|store| store.object(api_version, kind, namespace, name).cloned())
    }

    /// All objects of a kind in list order; an empty namespace means all.
    pub fn objects(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<Value> {
        self.read(|store| store.objects(api_version, kind, namespace).cloned().collect())
    }

    /// Looks at all objects as they are now, under the server's lock: `look` must not call the server.
    pub fn read<T>(&self, look: impl FnOnce(Snapshot<'_>) -> T) -> T {
        look(Snapshot {
            state: &self.inner.lock(),
        })
    }

    /// Calls `observer` after each committed write, under the server's lock: it must not call the server.
    pub fn on_write(&self, observer: impl Fn(&Write<'_>) + Send + Sync + 'static) {
        self.inner.lock().observers.push(Arc::new(observer));
    }

    /// All requests so far, in order.
    pub fn audit(&self) -> Vec<AuditEntry> {
        self.inner.lock().audit.clone()
    }

    /// Takes a right away.
    pub fn deny(&self, denial: Denial) {
        self.inner.lock().denials.0.push(denial);
    }

    /// Gives all rights back.
    pub fn allow_all(&self) {
        self.inner.lock().denials.0.clear();
    }

    /// Forgets the history: watches and pages from before now answer 410.
    pub fn compact(&self) {
        self.inner.lock().store.compact();
    }

    /// The objects of a kind read differently from now on, as after an upgrade that brought a new default: nobody wrote them, so neither
    /// generation nor managers move. With a `version` the server says that one; without, an older one of its siblings still answers.
    pub fn upgrade(&self, api_version: &str, kind: &str, version: Option<&str>, encode: impl Fn(&mut Value)) {
        let mut state = self.inner.lock();
        if let Some(version) = version {
            version.clone_into(&mut state.version);
        }
        let Some(storage) = state.catalogue.by_kind(api_version, kind).map(|it| it.storage.clone()) else {
            return;
        };
        let objects: Vec<_> = state
            .store
            .list(&storage, "")
            .map(|(key, it)| (key.clone(), it.clone()))
            .collect();
        for (key, object) in objects {
            let mut object = Value::clone(&object);
            encode(&mut object);
            let change = state.store.put(&storage, key, Some(object));
            state.hub.publish(&change, self.clock().now());
        }
    }

    /// The clock that the server was made with.
    pub fn clock(&self) -> &Clock {
        &self.inner.options.clock
    }

    /// Creates or replaces an object without a client.
    fn insert(&self, api_version: &str, kind: &str, object: &Value) {
        let mut state = self.inner.lock();
        let Some(resource) = state.catalogue.by_kind(api_version, kind).cloned() else {
            return;
        };
        let key = Key::new(metadata::text(object, "namespace"), metadata::text(object, "name"));
        let exists = state.store.get(&resource.storage, &key).is_some();
        let verb = if exists { Verb::Update } else { Verb::Create };
        let mut call = Call::internal("system:apiserver", verb, &resource, &key, self.clock().now());
        let mut object = object.clone();
        if let Some(before) = state.current(&call) {
            metadata::keep(&mut object, &before, &["resourceVersion"]);
        }
        call.body = Content::Document(object);
        let outcome = if exists {
            update::replace(&mut state, &call)
        } else {
            create::create(&mut state, &call)
        };
        if let Err(refusal) = outcome {
            tracing::error!(message = %refusal.message, "the embedded API server refused its own object");
        }
    }
}

impl AuditEntry {
    fn of(call: &Call, code: u16) -> Self {
        Self {
            user: call.user.clone(),
            verb: call.verb.word().to_owned(),
            group: call.resource.group.clone(),
            resource: call.resource.plural.clone(),
            subresource: call.subresource.clone(),
            namespace: call.namespace.clone(),
            name: call.name.clone(),
            code,
            dry_run: call.dry_run,
            time: call.now,
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> &Clock {
        &self.options.clock
    }
}

impl<'a> Snapshot<'a> {
    /// One object as it is stored.
    pub fn object(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<&'a Value> {
        let resource = self.state.catalogue.by_kind(api_version, kind)?;
        self.state
            .store
            .get(&resource.storage, &Key::new(namespace, name))
            .map(AsRef::as_ref)
    }

    /// All objects of a kind in list order; an empty namespace means all.
    pub fn objects(&self, api_version: &str, kind: &str, namespace: &'a str) -> impl Iterator<Item = &'a Value> {
        let storage = self
            .state
            .catalogue
            .by_kind(api_version, kind)
            .map(|resource| resource.storage.clone());
        let state = self.state;
        storage
            .into_iter()
            .flat_map(move |storage| state.store.list(&storage, namespace).map(|(_, object)| &**object))
    }
}
