//! The loop that runs the embedded controllers: news comes in, the objects it touches are looked at again, writes go out.
//!
//! One task, one queue, one view. Nothing is polled: an object is looked at when something near it changed, or at the
//! moment that the last look asked for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Client,
    api::{Api, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
    runtime::watcher,
};
use tokio::sync::Notify;

use super::{
    deployment::{self, Plan},
    endpointslice::{self, SERVICE_LABEL},
    mirror::{Mirror, News, controller},
    pod, replicaset, router,
    script::{RouterSays, Script},
    traffic::{Answerer, Backend, Split, Traffic},
    write::{Kind, Place, What, Write},
};
use crate::clock::Clock;

const MANAGER: &str = "kube-controller-manager";
/// After a write that lost against another one.
const SOON: Duration = Duration::from_millis(50);
/// After a write that failed for any other reason.
const LATER: Duration = Duration::from_secs(1);

const KINDS: [Kind; 7] = [
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::Pod,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::HttpProxy,
    Kind::HttpRoute,
];

/// The kinds without which nothing can be decided; the routes' may not be installed.
const NEEDED: [Kind; 5] = [
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::Pod,
    Kind::Service,
    Kind::EndpointSlice,
];

/// The script, which may change while the cluster runs.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    script: Arc<Mutex<Script>>,
    changed: Arc<Notify>,
}

impl Plot {
    pub(super) fn new(script: Script) -> Self {
        Self {
            script: Arc::new(Mutex::new(script)),
            changed: Arc::default(),
        }
    }

    pub(super) fn get(&self) -> Script {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(Script) -> Script) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        *script = change(script.clone());
        self.changed.notify_one();
    }
}

/// The controllers and what they remember.
pub(super) struct Engine {
    client: Client,
    clock: Clock,
    plot: Plot,
    seed: u64,
    mirror: Mirror,
    /// The kinds whose first list is complete: nobody decides on half a view.
    listed: BTreeSet<Kind>,
    traffic: Traffic,
    /// Where the data plane sends requests: the backends of each route that it has taken over.
    taken: BTreeMap<Place, Vec<Backend>>,
    /// When each object is to be looked at.
    due: BTreeMap<Place, DateTime<Utc>>,
    /// When each pod was first seen, by uid.
    born: HashMap<String, DateTime<Utc>>,
    /// When the deletion of each pod was first seen, by uid.
    leaving: HashMap<String, DateTime<Utc>>,
    /// The number of each pod's address, by uid.
    addresses: HashMap<String, usize>,
    /// How many names were made.
    names: u64,
}

impl Engine {
    pub(super) fn new(client: Client, clock: Clock, plot: Plot, traffic: Traffic, seed: u64) -> Self {
        Self {
            client,
            clock,
            plot,
            seed,
            mirror: Mirror::default(),
            listed: BTreeSet::new(),
            traffic,
            taken: BTreeMap::new(),
            due: BTreeMap::new(),
            born: HashMap::new(),
            leaving: HashMap::new(),
            addresses: HashMap::new(),
            names: 0,
        }
    }

    /// Runs for ever.
    pub(super) async fn run(mut self) {
        let mut news = pin!(stream::select_all(
            KINDS.map(|kind| Box::pin(watch(self.client.clone(), kind)))
        ));
        let changed = self.plot.changed.clone();
        loop {
            while let Some(name) = self.next_due() {
                self.look(&name).await;
            }
            self.turn_traffic();
            let next = self.due.values().min().copied().filter(|_| self.has_view());
            let clock = self.clock.clone();
            let timer = async move {
                match next {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some((kind, news)) = news.next() => self.hear(kind, news),
                () = changed.notified() => self.look_at_scripted(),
                () = timer => {}
            }
        }
    }

    fn next_due(&mut self) -> Option<Place> {
        if !self.has_view() {
            return None;
        }
        let now = self.clock.now();
        let name = self
            .due
            .iter()
            .find(|(_, at)| **at <= now)
            .map(|(name, _)| name.clone())?;
        self.due.remove(&name);
        Some(name)
    }

    fn has_view(&self) -> bool {
        NEEDED.iter().all(|kind| self.listed.contains(kind))
    }

    /// Looks at an object after a while, or earlier if that was asked for before.
    fn plan(&mut self, name: Place, after: Duration) {
        let at = self.clock.now() + TimeDelta::from_std(after).unwrap_or_default();
        let due = self.due.entry(name).or_insert(at);
        *due = (*due).min(at);
    }

    /// Takes news and finds out who has to look.
    fn hear(&mut self, kind: Kind, news: News) {
        let (News::Is(object) | News::Went(object)) = &news else {
            if matches!(news, News::ListEnds) {
                self.listed.insert(kind);
            }
            self.mirror.note(kind, news);
            return;
        };
        let meta = object.metadata.clone();
        let name = named(kind, &meta);
        let before = self.mirror.meta(&name);
        self.mirror.note(kind, news);
        let touched = before
            .iter()
            .chain([&meta])
            .flat_map(|meta| self.touched(kind, meta))
            .collect();
        self.plan_all(touched);
    }

    /// A write deleted the object.
    fn bury(&mut self, name: &Place) {
        let Some(meta) = self.mirror.meta(name) else { return };
        self.mirror.bury(name);
        let touched = self.touched(name.kind, &meta).into_iter().collect();
        self.plan_all(touched);
    }

    fn plan_all(&mut self, names: BTreeSet<Place>) {
        let script = self.plot.get();
        for name in names {
            let lag = match name.kind {
                Kind::Service => script.pace.endpoints,
                Kind::HttpProxy | Kind::HttpRoute => script.pace.router,
                _ => Duration::ZERO,
            };
            self.plan(name, lag);
        }
    }

    /// The objects that have to be looked at when the one with this metadata changes.
    fn touched(&self, kind: Kind, meta: &ObjectMeta) -> Vec<Place> {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let owner = controller(meta).unwrap_or_default();
        let itself = named(kind, meta);
        match kind {
            Kind::ReplicaSet => self.deployment_of(owner).into_iter().chain([itself]).collect(),
            Kind::Pod => {
                let mut names = vec![itself];
                let set = self
                    .mirror
                    .sets
                    .in_namespace(namespace)
                    .find(|set| set.metadata.uid.as_deref() == Some(owner));
                if let Some(set) = set {
                    names.push(named(Kind::ReplicaSet, &set.metadata));
                    names.extend(self.deployment_of(controller(&set.metadata).unwrap_or_default()));
                }
                let services = self.mirror.services.in_namespace(namespace);
                let behind = services.filter(|service| endpointslice::selects(service, meta));
                names.extend(behind.map(|service| named(Kind::Service, &service.metadata)));
                names
            }
            Kind::Service => {
                let routes = self
                    .mirror
                    .routes
                    .in_namespace(namespace)
                    .map(|it| named(Kind::HttpRoute, &it.metadata));
                let proxies = self
                    .mirror
                    .proxies
                    .in_namespace(namespace)
                    .map(|it| named(Kind::HttpProxy, &it.metadata));
                routes.chain(proxies).chain([itself]).collect()
            }
            Kind::EndpointSlice => {
                let service = meta.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
                service
                    .map(|service| Place::new(Kind::Service, namespace, service))
                    .into_iter()
                    .collect()
            }
            Kind::Deployment | Kind::HttpProxy | Kind::HttpRoute => vec![itself],
        }
    }

    fn deployment_of(&self, uid: &str) -> Option<Place> {
        let mut deployments = self.mirror.deployments.all();
        let deployment = deployments.find(|deployment| deployment.metadata.uid.as_deref() == Some(uid))?;
        Some(named(Kind::Deployment, &deployment.metadata))
    }

    /// The script changed: everything that it speaks of is looked at again.
    fn look_at_scripted(&mut self) {
        let pods = self.mirror.pods.all().map(|pod| named(Kind::Pod, &pod.metadata));
        let services = self
            .mirror
            .services
            .all()
            .map(|service| named(Kind::Service, &service.metadata));
        let proxies = self
            .mirror
            .proxies
            .all()
            .map(|proxy| named(Kind::HttpProxy, &proxy.metadata));
        let routes = self
            .mirror
            .routes
            .all()
            .map(|route| named(Kind::HttpRoute, &route.metadata));
        for name in pods.chain(services).chain(proxies).chain(routes).collect::<Vec<_>>() {
            self.plan(name, Duration::ZERO);
        }
    }

    /// Looks at one object and sends what follows.
    async fn look(&mut self, name: &Place) {
        let now = self.clock.now();
        let script = self.plot.get();
        let plan = match name.kind {
            Kind::Deployment => self.look_at_deployment(name, now),
            Kind::ReplicaSet => self.look_at_set(name, now),
            Kind::Pod => self.look_at_pod(name, &script, now),
            Kind::Service => self.look_at_service(name, &script),
            Kind::HttpProxy | Kind::HttpRoute => self.look_at_route(name, &script, now),
            Kind::EndpointSlice => None,
        };
        let Some(plan) = plan else { return };
        if let Some(wake) = plan.wake {
            self.plan(name.clone(), (wake - now).to_std().unwrap_or_default());
        }
        for write in plan.writes {
            if let Err(retry) = self.send(&write).await {
                self.plan(name.clone(), retry);
                return;
            }
        }
    }

    fn look_at_deployment(&self, name: &Place, now: DateTime<Utc>) -> Option<Plan> {
        let deployment = self.mirror.deployments.get(&name.namespace, &name.name)?;
        let owned = self.mirror.sets.controlled_by(deployment.metadata.uid.as_deref()?);
        let uids: BTreeSet<_> = owned.iter().filter_map(|set| set.metadata.uid.as_deref()).collect();
        let pods = self.mirror.pods.in_namespace(&name.namespace);
        let pods: Vec<_> = pods
            .filter(|pod| controller(&pod.metadata).is_some_and(|uid| uids.contains(uid)))
            .cloned()
            .collect();
        Some(deployment::plan(deployment, &owned, &pods, now))
    }

    fn look_at_set(&mut self, name: &Place, now: DateTime<Utc>) -> Option<Plan> {
        let set = self.mirror.sets.get(&name.namespace, &name.name)?.clone();
        let pods = self.mirror.pods.controlled_by(set.metadata.uid.as_deref()?);
        let mut suffix = || {
            let mut hasher = DefaultHasher::new();
            (self.seed, self.names).hash(&mut hasher);
            self.names += 1;
            deployment::readable(hasher.finish(), 5)
        };
        Some(replicaset::plan(&set, &pods, &mut suffix, now))
    }

    fn look_at_pod(&mut self, name: &Place, script: &Script, now: DateTime<Utc>) -> Option<Plan> {
        let pod = self.mirror.pods.get(&name.namespace, &name.name)?.clone();
        let uid = pod.metadata.uid.clone()?;
        let born = *self.born.entry(uid.clone()).or_insert(now);
        let count = self.addresses.len();
        let number = *self.addresses.entry(uid.clone()).or_insert(count);
        let deleted = pod.metadata.deletion_timestamp.is_some();
        let leaving = deleted.then(|| *self.leaving.entry(uid).or_insert(now));
        let address = format!(
            "10.{}.{}.{}",
            number / 64516 % 256,
            number / 254 % 254,
            number % 254 + 1
        );
        Some(pod::plan(&pod, script, born, leaving, &address, now))
    }

    fn look_at_service(&self, name: &Place, script: &Script) -> Option<Plan> {
        let service = self.mirror.services.get(&name.namespace, &name.name)?;
        let pods: Vec<_> = self.mirror.pods.in_namespace(&name.namespace).cloned().collect();
        let slices = self.mirror.slices.controlled_by(service.metadata.uid.as_deref()?);
        Some(Plan {
            writes: endpointslice::plan(service, &pods, &slices, script.slice_size),
            wake: None,
        })
    }

    fn look_at_route(&mut self, name: &Place, script: &Script, now: DateTime<Utc>) -> Option<Plan> {
        let shelf = if name.kind == Kind::HttpProxy {
            &self.mirror.proxies
        } else {
            &self.mirror.routes
        };
        let Some(route) = shelf.get(&name.namespace, &name.name) else {
            self.taken.remove(name);
            return None;
        };
        let missing = router::backends(name.kind, route)
            .into_iter()
            .map(|backend| backend.service)
            .find(|service| self.mirror.services.get(&name.namespace, service).is_none());
        if !matches!(script.router_says(&name.name), RouterSays::Rejects(_)) {
            self.taken.insert(name.clone(), router::backends(name.kind, route));
        }
        let write = router::plan(
            name.kind,
            route,
            script.router_says(&name.name),
            missing.as_deref(),
            now,
        );
        Some(Plan {
            writes: write.into_iter().collect(),
            wake: None,
        })
    }

    /// Records where requests go now.
    fn turn_traffic(&self) {
        let (now, script) = (self.clock.now(), self.plot.get());
        let routed: BTreeSet<_> = self
            .taken
            .iter()
            .flat_map(|(route, backends)| {
                let itself = (&route.namespace, &route.name);
                backends
                    .iter()
                    .map(move |backend| (&route.namespace, &backend.service))
                    .chain([itself])
            })
            .collect();
        for (route, backends) in &self.taken {
            let split = Split::of(backends, |service| self.behind(&route.namespace, service));
            self.traffic.turn(
                (route.namespace.clone(), route.name.clone()),
                split,
                |image, part| script.behaviour_of(image, part),
                now,
            );
        }
        for service in self.mirror.services.all() {
            let Place { namespace, name, .. } = named(Kind::Service, &service.metadata);
            if !routed.contains(&(&namespace, &name)) {
                let split = Split::of(
                    &[Backend {
                        service: name.clone(),
                        weight: 1,
                    }],
                    |name| self.behind(&namespace, name),
                );
                self.traffic.turn(
                    (namespace, name),
                    split,
                    |image, part| script.behaviour_of(image, part),
                    now,
                );
            }
        }
        // Clients who called a Service that is behind a route now, or gone, call it no more.
        for entry in self.traffic.entries() {
            let (namespace, name) = (&entry.0, &entry.1);
            let enters = self.taken.keys().any(|route| (&route.namespace, &route.name) == (namespace, name));
            let stands = self.mirror.services.get(namespace, name).is_some();
            if !enters && (!stands || routed.contains(&(namespace, name))) {
                let nobody = |_: &str, _: f64| script.behaviour_of("", 0.0);
                self.traffic.turn(entry, Split::default(), nobody, now);
            }
        }
    }

    /// The pods that a Service's endpoints offer and that are there.
    fn behind(&self, namespace: &str, service: &str) -> Vec<Answerer> {
        let named = |slice: &&Arc<EndpointSlice>| {
            slice
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(SERVICE_LABEL))
                .is_some_and(|of| of == service)
        };
        let slices = self.mirror.slices.in_namespace(namespace).filter(named);
        let endpoints = slices.flat_map(|slice| slice.endpoints.iter().flatten());
        let offered = endpoints.filter(|endpoint| {
            endpoint
                .conditions
                .as_ref()
                .is_none_or(|conditions| conditions.ready != Some(false))
        });
        let pods = offered.filter_map(|endpoint| {
            let target = endpoint.target_ref.as_ref()?;
            let pod = self.mirror.pods.get(namespace, target.name.as_deref()?)?;
            let image = pod.spec.as_ref()?.containers.first()?.image.clone()?;
            let uid = pod
                .metadata
                .uid
                .clone()
                .filter(|uid| target.uid.as_ref() == Some(uid))?;
            pod::is_ready(pod).then(|| Answerer {
                uid,
                pod: target.name.clone().unwrap_or_default(),
                image,
            })
        });
        pods.collect()
    }

    /// Sends one write and takes the answer as news. On failure it tells after what time to look again.
    async fn send(&mut self, write: &Write) -> Result<(), Duration> {
        let Place { kind, namespace, name } = &write.on;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind.resource());
        let post = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let answer = match &write.what {
            What::Create(body) => match serde_json::from_value(body.clone()) {
                Ok(object) => api.create(&post, &object).await.map(Some),
                Err(_) => return Ok(()),
            },
            What::Merge(body) => {
                let patch = PatchParams {
                    field_manager: Some(MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                api.patch(name, &patch, &Patch::Merge(body)).await.map(Some)
            }
            What::Status(body) => match serde_json::from_value::<DynamicObject>(body.clone()) {
                Ok(object) => api.replace_status(name, &post, &object).await.map(Some),
                Err(_) => return Ok(()),
            },
            What::Delete { uid, grace } => {
                let only = Preconditions {
                    uid: Some(uid.clone()),
                    resource_version: None,
                };
                let params = DeleteParams {
                    grace_period_seconds: *grace,
                    preconditions: Some(only),
                    ..DeleteParams::default()
                };
                let answer = api.delete(name, &params).await;
                answer.map(|answer| answer.left().filter(|_| *grace != Some(0)))
            }
        };
        match answer {
            Ok(Some(object)) => {
                self.hear(*kind, News::Is(Box::new(object)));
                Ok(())
            }
            Ok(None) => {
                self.bury(&write.on);
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
                self.refresh(&api, &write.on).await;
                Err(SOON)
            }
            Err(error) => {
                tracing::debug!(%error, on = ?write.on, "a write of the embedded cluster failed");
                Err(LATER)
            }
        }
    }

    /// Reads an object that turned out to be different from what was seen of it.
    async fn refresh(&mut self, api: &Api<DynamicObject>, name: &Place) {
        match api.get_opt(&name.name).await {
            Ok(Some(object)) => self.hear(name.kind, News::Is(Box::new(object))),
            Ok(None) => self.bury(name),
            Err(_) => {}
        }
    }
}

fn named(kind: Kind, meta: &ObjectMeta) -> Place {
    Place::new(
        kind,
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

/// The endless news of one kind. A broken watch begins again by itself.
fn watch(client: Client, kind: Kind) -> impl Stream<Item = (Kind, News)> {
    let api: Api<DynamicObject> = Api::all_with(client, &kind.resource());
    let news = |event| match event {
        watcher::Event::Init => News::ListBegins,
        watcher::Event::InitDone => News::ListEnds,
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => News::Is(Box::new(object)),
        watcher::Event::Delete(object) => News::Went(Box::new(object)),
    };
    let watcher = kube::runtime::WatchStreamExt::default_backoff(watcher(api, watcher::Config::default()));
    watcher
        .inspect_err(|error| tracing::debug!(%error, "a watch of the embedded cluster broke"))
        .filter_map(move |event| std::future::ready(event.ok().map(|event| (kind, news(event)))))
}
