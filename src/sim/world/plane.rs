//! The data plane: which routes it has taken over, and where it sends the clients' requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{
    endpointslice::SERVICE_LABEL,
    mirror::Mirror,
    pod::is_ready,
    script::Script,
    traffic::{Answerer, Backend, Entry, Flow, Split, Traffic},
    write::Place,
};

/// What proxies and nodes act on.
#[derive(Debug)]
pub(super) struct DataPlane {
    traffic: Traffic,
    /// Where the rules lead of each route that it has taken over.
    taken: BTreeMap<Place, Vec<Flow>>,
}

impl DataPlane {
    pub(super) fn new(traffic: Traffic) -> Self {
        Self {
            traffic,
            taken: BTreeMap::new(),
        }
    }

    /// A route counts from now on as it is.
    pub(super) fn take(&mut self, route: &Place, flows: Vec<Flow>) {
        self.taken.insert(route.clone(), flows);
    }

    /// A route is gone.
    pub(super) fn forget(&mut self, route: &Place) {
        self.taken.remove(route);
    }

    /// Records where requests go now.
    pub(super) fn turn(&self, mirror: &Mirror, script: &Script, now: DateTime<Utc>) {
        let mut entries: BTreeMap<Entry, Vec<Vec<Flow>>> = BTreeMap::new();
        for (route, flows) in &self.taken {
            let entry = (route.namespace.clone(), route.name.clone());
            entries.entry(entry).or_default().push(flows.clone());
        }
        for (namespace, name) in self.called(mirror, script) {
            let itself = Backend {
                service: name.clone(),
                weight: 1,
            };
            let whole = Flow {
                part: 1.0,
                backends: vec![itself],
                copies: None,
            };
            entries.entry((namespace, name)).or_insert_with(|| vec![vec![whole]]);
        }
        let live: BTreeSet<_> = entries.keys().cloned().collect();
        self.traffic.keep(&live, now);
        for (entry, routes) in entries {
            let split = |flows: &Vec<Flow>| Split::of_flows(flows, |service| behind(mirror, &entry.0, service));
            let split = Split::shared(routes.iter().map(split).collect());
            self.traffic
                .turn(entry, split, |image, part| script.behaviour_of(image, part), now);
        }
    }

    /// The Services that clients call: not those that some controller made to split them, but for those that are tested by load.
    fn called(&self, mirror: &Mirror, script: &Script) -> Vec<Entry> {
        let behind_routes: BTreeSet<_> = self
            .taken
            .iter()
            .flat_map(|(route, flows)| {
                flows
                    .iter()
                    .flat_map(|flow| &flow.backends)
                    .map(|it| (&route.namespace, &it.service))
            })
            .collect();
        let names = mirror.services.all().filter_map(|service| {
            let meta = &service.metadata;
            Some((meta.namespace.clone()?, meta.name.clone()?))
        });
        let is_side = |name: &str| name.ends_with("-primary") || name.ends_with("-canary");
        names
            .filter(|(namespace, name)| {
                script.tests_by_load(name) || !is_side(name) && !behind_routes.contains(&(namespace, name))
            })
            .collect()
    }
}

/// The pods that a Service's endpoints offer and that are there.
fn behind(mirror: &Mirror, namespace: &str, service: &str) -> Vec<Answerer> {
    let is_of = |slice: &&Arc<EndpointSlice>| {
        let labels = slice.metadata.labels.as_ref();
        labels
            .and_then(|labels| labels.get(SERVICE_LABEL))
            .is_some_and(|of| of == service)
    };
    let slices = mirror.slices.in_namespace(namespace).filter(is_of);
    let endpoints = slices.flat_map(|slice| slice.endpoints.iter().flatten());
    let offered = endpoints.filter(|endpoint| {
        endpoint
            .conditions
            .as_ref()
            .is_none_or(|conditions| conditions.ready != Some(false))
    });
    let answerer = |target: &k8s_openapi::api::core::v1::ObjectReference| {
        let pod = mirror.pods.get(namespace, target.name.as_deref()?)?;
        let image = pod.spec.as_ref()?.containers.first()?.image.clone()?;
        let uid = pod
            .metadata
            .uid
            .clone()
            .filter(|uid| target.uid.as_ref() == Some(uid))?;
        is_ready(pod).then(|| Answerer {
            uid,
            pod: target.name.clone().unwrap_or_default(),
            image,
        })
    };
    offered
        .filter_map(|endpoint| answerer(endpoint.target_ref.as_ref()?))
        .collect()
}
