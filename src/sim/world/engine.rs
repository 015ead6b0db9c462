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
use futures::{StreamExt, stream};
use kube::api::ObjectMeta;
use tokio::sync::Notify;

use super::{
    autoscaler::{self, Wishes},
    deployment::{self, Plan},
    endpointslice::{self, SERVICE_LABEL},
    mirror::{Mirror, News, controller},
    plane::DataPlane,
    pod::{self, Seen},
    replicaset, router,
    script::{RouterSays, Script},
    traffic::Traffic,
    wire::{self, Answer},
    write::{Kind, Place, Write},
};
use crate::{clock::Clock, sim::apiserver::Direct};

/// After a write that lost against another one.
const SOON: Duration = Duration::from_millis(50);
/// After a write that failed for any other reason.
const LATER: Duration = Duration::from_secs(1);

const KINDS: [Kind; 9] = [
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::Pod,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Autoscaler,
    Kind::HttpProxy,
    Kind::HttpRoute,
    Kind::VirtualService,
];

/// The kinds of routes.
const ROUTES: [Kind; 3] = [Kind::HttpProxy, Kind::HttpRoute, Kind::VirtualService];

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
    script: Arc<Mutex<Arc<Script>>>,
    changed: Arc<Notify>,
}

impl Plot {
    pub(super) fn new(script: Script) -> Self {
        Self {
            script: Arc::new(Mutex::new(Arc::new(script))),
            changed: Arc::default(),
        }
    }

    pub(super) fn get(&self) -> Arc<Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(Script) -> Script) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        *script = Arc::new(change(Script::clone(&script)));
        self.changed.notify_one();
    }
}

/// The controllers and what they remember.
pub(super) struct Engine {
    server: Direct,
    clock: Clock,
    plot: Plot,
    seed: u64,
    mirror: Mirror,
    /// The kinds whose first list is complete: nobody decides on half a view.
    listed: BTreeSet<Kind>,
    plane: DataPlane,
    /// Whether anything happened since the data plane last looked where requests go.
    moved: bool,
    /// When each object is to be looked at.
    due: BTreeMap<Place, DateTime<Utc>>,
    /// What is remembered of each pod, by uid.
    seen: HashMap<String, Seen>,
    /// What the metrics asked each scaler for lately.
    wishes: HashMap<Place, Wishes>,
    /// How many names were made.
    names: u64,
    /// Whose write was refused last, and when: the second time in a moment, what is in the way needs time to go.
    refused: Option<(Place, DateTime<Utc>)>,
}

impl Engine {
    pub(super) fn new(server: Direct, clock: Clock, plot: Plot, traffic: Traffic, seed: u64) -> Self {
        Self {
            server,
            clock,
            plot,
            seed,
            mirror: Mirror::default(),
            listed: BTreeSet::new(),
            plane: DataPlane::new(traffic),
            moved: true,
            due: BTreeMap::new(),
            seen: HashMap::new(),
            wishes: HashMap::new(),
            names: 0,
            refused: None,
        }
    }

    /// Runs for ever.
    pub(super) async fn run(mut self) {
        let mut news = pin!(stream::select_all(KINDS.map(|kind| Box::pin(wire::watch(
            self.server.clone(),
            self.clock.clone(),
            kind
        )))));
        let changed = self.plot.changed.clone();
        loop {
            while let Some(name) = self.next_due() {
                self.look(&name);
            }
            if std::mem::take(&mut self.moved) {
                self.plane.turn(&self.mirror, &self.plot.get(), self.clock.now());
            }
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
                Some((kind, news)) = news.next() => self.hear(kind, &news),
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
    fn hear(&mut self, kind: Kind, news: &News) {
        let (News::Is(object) | News::Went(object)) = news else {
            self.mirror.note(kind, news);
            if matches!(news, News::ListEnds) {
                self.listed.insert(kind);
                self.moved = true;
            }
            return;
        };
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let place = Place::new(kind, text("namespace"), text("name"));
        let before = self.touched_by(&place);
        if self.mirror.note(kind, news) {
            self.moved = true;
            let touched = before.into_iter().chain(self.touched_by(&place)).collect();
            self.plan_all(touched);
        }
    }

    /// A write deleted the object.
    fn bury(&mut self, name: &Place) {
        let touched = self.touched_by(name).into_iter().collect();
        self.mirror.bury(name);
        self.moved = true;
        self.plan_all(touched);
    }

    fn plan_all(&mut self, names: BTreeSet<Place>) {
        let script = self.plot.get();
        for name in names {
            let lag = match name.kind {
                Kind::Service => script.pace.endpoints,
                Kind::Autoscaler => autoscaler::SYNC.to_std().unwrap_or_default(),
                Kind::HttpProxy | Kind::HttpRoute | Kind::VirtualService => script.pace.router,
                _ => Duration::ZERO,
            };
            self.plan(name, lag);
        }
    }

    /// The objects that have to be looked at when this one changes, as it was last seen.
    fn touched_by(&self, place: &Place) -> Vec<Place> {
        let meta = self.mirror.meta(place);
        meta.map(|meta| self.touched(place.kind, meta)).unwrap_or_default()
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
                let routes = ROUTES.into_iter().flat_map(|kind| {
                    let shelf = self.mirror.routes_of(kind);
                    shelf.in_namespace(namespace).map(move |it| named(kind, &it.metadata))
                });
                routes.chain([itself]).collect()
            }
            Kind::EndpointSlice => {
                let service = meta.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
                service
                    .map(|service| Place::new(Kind::Service, namespace, service))
                    .into_iter()
                    .collect()
            }
            Kind::Deployment | Kind::Autoscaler | Kind::HttpProxy | Kind::HttpRoute | Kind::VirtualService => {
                vec![itself]
            }
        }
    }

    fn deployment_of(&self, uid: &str) -> Option<Place> {
        let mut deployments = self.mirror.deployments.all();
        let deployment = deployments.find(|deployment| deployment.metadata.uid.as_deref() == Some(uid))?;
        Some(named(Kind::Deployment, &deployment.metadata))
    }

    /// The script changed: everything that it speaks of is looked at again.
    fn look_at_scripted(&mut self) {
        self.moved = true;
        let pods = self.mirror.pods.all().map(|pod| named(Kind::Pod, &pod.metadata));
        let services = self
            .mirror
            .services
            .all()
            .map(|service| named(Kind::Service, &service.metadata));
        let routes = ROUTES.into_iter().flat_map(|kind| {
            let shelf = self.mirror.routes_of(kind);
            shelf.all().map(move |route| named(kind, &route.metadata))
        });
        let scalers = self.mirror.autoscalers.all();
        let scalers = scalers.map(|scaler| named(Kind::Autoscaler, &scaler.metadata));
        for name in pods.chain(services).chain(routes).chain(scalers).collect::<Vec<_>>() {
            self.plan(name, Duration::ZERO);
        }
    }

    /// Looks at one object and sends what follows.
    fn look(&mut self, name: &Place) {
        let now = self.clock.now();
        let script = self.plot.get();
        let plan = match name.kind {
            Kind::Deployment => self.look_at_deployment(name, now),
            Kind::ReplicaSet => self.look_at_set(name, now),
            Kind::Pod => self.look_at_pod(name, &script, now),
            Kind::Service => self.look_at_service(name, &script),
            Kind::HttpProxy | Kind::HttpRoute | Kind::VirtualService => self.look_at_route(name, &script, now),
            Kind::Autoscaler => self.look_at_autoscaler(name, &script, now),
            Kind::EndpointSlice => None,
        };
        let Some(plan) = plan else { return };
        if let Some(wake) = plan.wake {
            self.plan(name.clone(), (wake - now).to_std().unwrap_or_default());
        }
        for write in plan.writes {
            if let Err(retry) = self.send(write) {
                let again = self.refused.replace((name.clone(), now)) == Some((name.clone(), now));
                if again {
                    // The answer brought nothing that helps, like a slice of a Service's predecessor that is being collected.
                    let at = now + TimeDelta::from_std(retry).unwrap_or_default();
                    self.due.insert(name.clone(), at);
                } else {
                    self.plan(name.clone(), retry);
                }
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
        let pod = self.mirror.pods.get(&name.namespace, &name.name)?;
        let count = self.seen.len();
        let uid = pod.metadata.uid.clone()?;
        let seen = self.seen.entry(uid).or_insert_with(|| Seen::new(now, count));
        if pod.metadata.deletion_timestamp.is_some() {
            seen.leaving.get_or_insert(now);
        }
        Some(pod::plan(pod, script, seen, now))
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

    fn look_at_autoscaler(&mut self, name: &Place, script: &Script, now: DateTime<Utc>) -> Option<Plan> {
        let scaler = self.mirror.autoscalers.get(&name.namespace, &name.name)?;
        let target = autoscaler::target(scaler)?;
        let deployment = self.mirror.deployments.get(&name.namespace, target);
        let claimants = self.mirror.autoscalers.in_namespace(&name.namespace);
        let rivals = claimants.filter(|it| autoscaler::target(it) == Some(target)).count() > 1;
        let wishes = self.wishes.entry(name.clone()).or_default();
        let demand = script.demand_on(&name.name);
        Some(autoscaler::plan(
            scaler,
            deployment.map(AsRef::as_ref),
            rivals,
            demand,
            wishes,
            now,
        ))
    }

    fn look_at_route(&mut self, name: &Place, script: &Script, now: DateTime<Utc>) -> Option<Plan> {
        let Some(route) = self.mirror.routes_of(name.kind).get(&name.namespace, &name.name) else {
            self.plane.forget(name);
            self.moved = true;
            return None;
        };
        let flows = router::flows(name.kind, route, script.matching);
        let missing = flows
            .iter()
            .flat_map(|flow| flow.backends.iter().chain(&flow.copies))
            .map(|backend| backend.service.clone())
            .find(|service| self.mirror.services.get(&name.namespace, service).is_none());
        if !matches!(script.router_says(&name.name), RouterSays::Rejects(_)) {
            self.plane.take(name, flows);
            self.moved = true;
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

    /// Sends one write and takes the answer as news. On failure it tells after what time to look again.
    fn send(&mut self, write: Write) -> Result<(), Duration> {
        let on = write.on.clone();
        match wire::send(&self.server, write) {
            Answer::Is(object) => self.hear(on.kind, &News::Is(object)),
            Answer::Gone => self.bury(&on),
            Answer::Outdated(object) => {
                match object {
                    Some(object) => self.hear(on.kind, &News::Is(object)),
                    None => self.bury(&on),
                }
                return Err(SOON);
            }
            Answer::Failed => return Err(LATER),
        }
        Ok(())
    }
}

fn named(kind: Kind, meta: &ObjectMeta) -> Place {
    Place::new(
        kind,
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}
