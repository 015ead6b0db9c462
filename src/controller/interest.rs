//! Which objects some Canary names, so that the caches keep these and drop all others on arrival.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::kept::Head;
use super::meta;
use super::resource::{CanaryKey, ObjectKey, Resource};
use super::scalers;
use crate::object::{list, text};
use crate::workload::store;

/// The label by which an `EndpointSlice` names its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A kind that some provider draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteKind {
    /// The kind.
    pub resource: Resource,
    /// What its objects are named after.
    pub named_after: NamedAfter,
}

/// What the objects of a provider are named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedAfter {
    /// The apex Service: routes.
    Apex,
    /// The Services of the sides: what stands beside each of them.
    Sides,
}

/// Who names what. Mostly one Canary an object, so these are short lists: a set of one takes ten times their room.
#[derive(Debug, Default)]
pub struct Interest {
    by_object: HashMap<ObjectKey, Vec<CanaryKey>>,
    by_canary: HashMap<CanaryKey, Box<[ObjectKey]>>,
}

/// What changed when a Canary's names were read again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Objects that nobody named before.
    pub new: Vec<ObjectKey>,
    /// Objects that nobody names any more.
    pub dropped: Vec<ObjectKey>,
    /// Other Canaries that name, or named, one of the objects that came or went: who owns them may have changed.
    pub neighbours: BTreeSet<CanaryKey>,
}

impl Interest {
    /// The Canary names these objects now, and no others.
    pub fn set(&mut self, canary: &CanaryKey, keys: BTreeSet<ObjectKey>) -> Change {
        let before = self.by_canary.remove(canary).unwrap_or_default();
        let mut change = Change::default();
        for gone in before.iter().filter(|key| !keys.contains(key)) {
            let Some(others) = self.by_object.get_mut(gone) else {
                continue;
            };
            others.retain(|other| other != canary);
            if !is_shared(gone.resource) {
                change.neighbours.extend(others.iter().cloned());
            }
            if others.is_empty() {
                self.by_object.remove(gone);
                change.dropped.push(gone.clone());
            }
        }
        for key in keys.iter().filter(|key| !before.contains(key)) {
            let named = self.by_object.entry(key.clone()).or_default();
            if named.is_empty() {
                change.new.push(key.clone());
            }
            if !is_shared(key.resource) {
                change.neighbours.extend(named.iter().cloned());
            }
            named.reserve_exact(1);
            named.push(canary.clone());
        }
        if !keys.is_empty() {
            self.by_canary.insert(canary.clone(), keys.into_iter().collect());
        }
        change
    }

    /// The other Canaries that name one of the objects that this one names and that one alone may have.
    pub fn neighbours(&self, canary: &CanaryKey) -> BTreeSet<&CanaryKey> {
        let keys = self.by_canary.get(canary).into_iter().flatten();
        let keys = keys.filter(|key| !is_shared(key.resource));
        keys.flat_map(|key| self.in_object(key))
            .filter(|other| *other != canary)
            .collect()
    }

    /// The Canaries that name this object.
    pub fn in_object(&self, key: &ObjectKey) -> impl Iterator<Item = &CanaryKey> {
        self.by_object.get(key).into_iter().flatten()
    }

    /// Whether any Canary names an object of this kind.
    pub fn has(&self, resource: Resource) -> bool {
        self.by_object.keys().any(|key| key.resource == resource)
    }

    /// Whether any Canary names it.
    pub fn named(&self, key: &ObjectKey) -> bool {
        self.by_object.contains_key(key)
    }
}

/// The name under which Canaries are interested in an object: slices go by their Service, revisions by their Canary.
pub fn key_of(resource: Resource, head: &Head) -> ObjectKey {
    let name = match resource {
        Resource::ENDPOINT_SLICE => head.label(SERVICE_NAME),
        Resource::REVISION => head.label(store::CANARY),
        _ => &head.name,
    };
    ObjectKey::new(resource, &head.namespace, name)
}

/// The objects that a Canary names, by its spec and, where it has begun, by the names that its status has fixed.
pub fn names(canary: &Value, routes: &[RouteKind]) -> BTreeSet<ObjectKey> {
    let (namespace, mut keys) = (meta::namespace(canary), BTreeSet::new());
    let spec_target = text(canary, "/spec/targetRef/name");
    let spec_apex = match text(canary, "/spec/service/name") {
        "" => spec_target,
        named => named,
    };
    for scaler in [
        text(canary, "/status/serin/scaler"),
        text(canary, "/spec/autoscalerRef/name"),
    ] {
        let is_built = text(canary, "/spec/autoscalerRef/kind") == Resource::SCALER.kind;
        if !scaler.is_empty() && (is_built || text(canary, "/status/serin/scaler") == scaler) {
            for name in [scaler.to_owned(), scalers::copy_name(scaler)] {
                keys.insert(ObjectKey::new(Resource::SCALER, namespace, &name));
            }
        }
    }
    let fixed = ["subject", "former"].map(|names| {
        let of = |name| text(canary, &format!("/status/serin/{names}/{name}"));
        (of("target"), of("apex"))
    });
    for (target, apex) in [(spec_target, spec_apex)].into_iter().chain(fixed) {
        if target.is_empty() || apex.is_empty() {
            continue;
        }
        for name in [target.to_owned(), format!("{target}-primary")] {
            keys.insert(ObjectKey::new(Resource::DEPLOYMENT, namespace, &name));
        }
        let services = [apex.to_owned(), format!("{apex}-primary"), format!("{apex}-canary")];
        for name in &services {
            keys.insert(ObjectKey::new(Resource::SERVICE, namespace, name));
            keys.insert(ObjectKey::new(Resource::ENDPOINT_SLICE, namespace, name));
        }
        for RouteKind { resource, named_after } in routes {
            let named = match named_after {
                NamedAfter::Apex => &services[..1],
                NamedAfter::Sides => &services[1..],
            };
            keys.extend(named.iter().map(|name| ObjectKey::new(*resource, namespace, name)));
        }
    }
    if !keys.is_empty() {
        keys.extend(referred(canary, namespace));
        keys.insert(revisions_of(namespace, meta::name(canary)));
    }
    keys
}

/// The metric templates and alert providers that a Canary refers to.
fn referred<'a>(canary: &'a Value, namespace: &'a str) -> impl Iterator<Item = ObjectKey> + 'a {
    let lists = [
        ("/spec/analysis/metrics", "/templateRef", Resource::METRIC_TEMPLATE),
        ("/spec/analysis/alerts", "/providerRef", Resource::ALERT_PROVIDER),
    ];
    lists.into_iter().flat_map(move |(entries, reference, resource)| {
        list(canary, entries).iter().filter_map(move |entry| {
            let reference = entry.pointer(reference)?;
            let other = text(reference, "/namespace");
            let namespace = if other.is_empty() { namespace } else { other };
            let name = text(reference, "/name");
            (!name.is_empty()).then(|| ObjectKey::new(resource, namespace, name))
        })
    })
}

/// Kinds that any number of Canaries may refer to.
pub fn is_shared(resource: Resource) -> bool {
    [Resource::METRIC_TEMPLATE, Resource::ALERT_PROVIDER].contains(&resource)
}

/// The key of a Canary's stored revisions.
pub fn revisions_of(namespace: &str, canary: &str) -> ObjectKey {
    ObjectKey::new(Resource::REVISION, namespace, &store::label(canary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn canary(target: &str) -> Value {
        json!({"metadata": {"namespace": "test", "name": "podinfo"}, "spec": {"targetRef": {"name": target}}})
    }

    #[test]
    fn a_canary_names_both_workloads_and_three_services() {
        let keys = names(&canary("podinfo"), &[]);
        let of = |resource| {
            keys.iter()
                .filter(|key| key.resource == resource)
                .map(|key| key.name.as_str())
                .collect()
        };
        let (deployments, services): (Vec<_>, Vec<_>) = (of(Resource::DEPLOYMENT), of(Resource::SERVICE));
        assert_eq!(deployments, ["podinfo", "podinfo-primary"]);
        assert_eq!(services, ["podinfo", "podinfo-canary", "podinfo-primary"]);
    }

    #[test]
    fn routes_are_named_after_the_apex_and_what_stands_beside_the_sides_after_these() {
        let (route, rule) = (
            Resource::new("g", "v1", "Route", "routes"),
            Resource::new("g", "v1", "Rule", "rules"),
        );
        let kinds = [(route, NamedAfter::Apex), (rule, NamedAfter::Sides)];
        let keys = names(
            &canary("podinfo"),
            &kinds.map(|(resource, named_after)| RouteKind { resource, named_after }),
        );
        let drawn = keys.iter().filter(|key| key.resource.group == "g");
        let drawn: Vec<_> = drawn.map(|key| (key.resource.kind, key.name.as_str())).collect();
        assert_eq!(
            drawn,
            [
                ("Route", "podinfo"),
                ("Rule", "podinfo-canary"),
                ("Rule", "podinfo-primary")
            ]
        );
    }

    #[test]
    fn names_that_the_status_fixed_stay_named_when_the_spec_moves_on() {
        let mut moved = canary("new");
        moved["status"] = json!({"serin": {"subject": {"target": "old", "apex": "old"}}});
        let keys = names(&moved, &[]);
        assert!(keys.contains(&ObjectKey::new(Resource::DEPLOYMENT, "test", "old-primary")));
        assert!(keys.contains(&ObjectKey::new(Resource::DEPLOYMENT, "test", "new-primary")));
    }

    #[test]
    fn a_template_is_named_by_all_who_refer_to_it_and_makes_nobody_a_neighbour() {
        let mut interest = Interest::default();
        let template = ObjectKey::new(Resource::METRIC_TEMPLATE, "test", "errors");
        let keys = |target: &str| {
            let mut canary = canary(target);
            canary["spec"]["analysis"] = json!({"metrics": [{"templateRef": {"name": "errors"}}]});
            names(&canary, &[])
                .into_iter()
                .filter(|key| key.resource != Resource::REVISION)
        };
        for name in ["a", "b"] {
            let change = interest.set(&CanaryKey::new("test", name), keys(name).collect());
            assert_eq!(change.neighbours, BTreeSet::new());
        }
        assert_eq!(interest.in_object(&template).count(), 2, "both hear of a change of it");
        assert_eq!(interest.neighbours(&CanaryKey::new("test", "a")), BTreeSet::new());
        let change = interest.set(&CanaryKey::new("test", "a"), BTreeSet::new());
        assert!(change.neighbours.is_empty() && !change.dropped.contains(&template));
    }

    #[test]
    fn what_the_last_canary_lets_go_is_dropped_and_neighbours_are_told() {
        let mut interest = Interest::default();
        let (a, b) = (CanaryKey::new("test", "a"), CanaryKey::new("test", "b"));
        let keys = names(&canary("podinfo"), &[]);
        assert_eq!(interest.set(&a, keys.clone()).new.len(), keys.len());
        assert_eq!(interest.set(&b, keys.clone()).neighbours, BTreeSet::from([a.clone()]));
        assert_eq!(interest.neighbours(&a), BTreeSet::from([&b]));
        let change = interest.set(&a, BTreeSet::new());
        assert!(change.dropped.is_empty() && change.neighbours.contains(&b));
        assert_eq!(interest.set(&b, BTreeSet::new()).dropped.len(), keys.len());
    }
}
