//! What the invariants speak of, read from stored objects: sides, their weights, their ready pods.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize as _;
use serde_json::Value;

use crate::{
    api::Canary,
    object::ownership,
    rollout::{Block, Side, Stage},
    sim::{apiserver::Snapshot, world::route_shape::route_shape},
};

/// All objects at one instant.
pub(super) trait Objects {
    /// The objects of a kind in a namespace.
    fn of(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<&Value>;

    /// One of them.
    fn named(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.of(api_version, kind, namespace)
            .into_iter()
            .find(|object| object["metadata"]["name"] == name)
    }
}

impl<'a> Objects for (Snapshot<'a>, &'a str) {
    fn of(&self, api_version: &str, kind: &str, _namespace: &str) -> Vec<&Value> {
        self.0.objects(api_version, kind, self.1).collect()
    }

    fn named(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.0.object(api_version, kind, namespace, name)
    }
}

/// One write, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) before: Option<&'a Value>,
    pub(super) after: Option<&'a Value>,
    pub(super) at: DateTime<Utc>,
}

/// One canary and what it works on.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) namespace: String,
    pub(super) target: String,
    pub(super) apex: String,
    pub(super) uid: String,
    thresholds: [u32; 2],
    deadline: TimeDelta,
    /// How long a weight is given to arrive in routers that confirm nothing.
    pub(super) settle: TimeDelta,
    pub(super) block: Option<Block>,
}

impl Release {
    /// The canaries of a namespace that can be read.
    pub(super) fn all(objects: &impl Objects, namespace: &str) -> Vec<Self> {
        objects
            .of("flagger.app/v1beta1", "Canary", namespace)
            .into_iter()
            .filter_map(Self::of)
            .filter(|release| release.owns_its_target(objects))
            .collect()
    }

    /// Whether no other Canary has the primary: one that came second touches nothing, and nothing is held against it.
    fn owns_its_target(&self, objects: &impl Objects) -> bool {
        let primary = objects.named(
            "apps/v1",
            "Deployment",
            &self.namespace,
            &self.deployment(Side::Primary),
        );
        let owner = primary.and_then(ownership::controller);
        owner.is_none_or(|owner| owner["uid"] == self.uid.as_str())
    }

    fn of(object: &Value) -> Option<Self> {
        let canary = Canary::deserialize(object).ok()?;
        let spec = &canary.spec;
        let block = block(object);
        // The names that the status has fixed: the spec may ask for others already.
        let fixed = block
            .as_ref()
            .filter(|block| block.stage != Stage::Initializing)
            .map(|block| (block.subject.target.clone(), block.subject.apex.clone()));
        let (target, apex) = fixed.unwrap_or_else(|| (spec.target_ref.name.clone(), spec.apex_name().to_owned()));
        Some(Self {
            namespace: canary.metadata.namespace.clone()?,
            uid: canary.metadata.uid.clone()?,
            target,
            apex,
            thresholds: [spec.primary_ready_threshold(), spec.canary_ready_threshold()],
            deadline: TimeDelta::from_std(spec.progress_deadline()).unwrap_or(TimeDelta::MAX),
            settle: TimeDelta::from_std(spec.traffic_settle()).unwrap_or_default(),
            block,
        })
    }

    pub(super) fn deployment(&self, side: Side) -> String {
        match side {
            Side::Primary => format!("{}-primary", self.target),
            Side::Canary => self.target.clone(),
        }
    }

    pub(super) fn service(&self, side: Side) -> String {
        match side {
            Side::Primary => format!("{}-primary", self.apex),
            Side::Canary => format!("{}-canary", self.apex),
        }
    }

    /// Which side's Deployment has this name.
    pub(super) fn side_of(&self, deployment: &str) -> Option<Side> {
        [Side::Primary, Side::Canary]
            .into_iter()
            .find(|side| self.deployment(*side) == deployment)
    }

    /// `need(side, w)` of `design.md`, Capacity.
    pub(super) fn need(&self, side: Side, weight: u64) -> u64 {
        let capacity = self.block.as_ref().map_or(0, |block| u64::from(block.capacity));
        let threshold = match side {
            Side::Primary => self.thresholds[0],
            Side::Canary => self.thresholds[1],
        };
        if weight == 0 {
            0
        } else {
            (capacity * weight * u64::from(threshold)).div_ceil(10_000).max(1)
        }
    }

    /// Whether the stage's time is over.
    pub(super) fn is_past_deadline(&self, at: DateTime<Utc>) -> bool {
        self.block
            .as_ref()
            .is_some_and(|block| at >= block.since + self.deadline)
    }

    /// Ready pods of a side by its endpoints: unique, ready, not on their way out, its own.
    pub(super) fn ready(&self, objects: &impl Objects, side: Side) -> u64 {
        let deployment = self.deployment(side);
        let service = self.service(side);
        let mut uids = BTreeSet::new();
        let slices = objects.of("discovery.k8s.io/v1", "EndpointSlice", &self.namespace);
        let of_side = |slice: &&&Value| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service;
        // Before Serin made the side's Service, the one that clients call has its pods.
        let has_own = slices.iter().any(|slice| of_side(&slice));
        for slice in slices.iter().filter(|slice| !has_own || of_side(slice)) {
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                let conditions = &endpoint["conditions"];
                let takes = conditions["ready"] != false && conditions["terminating"] != true;
                let pod = endpoint["targetRef"]["name"].as_str().unwrap_or_default();
                if takes && is_of(objects, &self.namespace, pod, &deployment) {
                    uids.extend(endpoint["targetRef"]["uid"].as_str());
                }
            }
        }
        uids.len() as u64
    }

    /// The side that the Service selects which clients call.
    pub(super) fn apex_side(&self, objects: &impl Objects, apex: Option<&Value>) -> Option<Side> {
        let selector = apex?["spec"]["selector"].as_object()?;
        [Side::Primary, Side::Canary].into_iter().find(|side| {
            let deployment = objects.named("apps/v1", "Deployment", &self.namespace, &self.deployment(*side));
            deployment.is_some_and(|deployment| {
                let labels = &deployment["spec"]["template"]["metadata"]["labels"];
                !selector.is_empty() && selector.iter().all(|(key, value)| labels[key] == *value)
            })
        })
    }

    /// Whether the store of revisions has this one.
    pub(super) fn is_stored(&self, objects: &impl Objects, fingerprint: &str) -> bool {
        let hex = fingerprint.rsplit(':').next().unwrap_or(fingerprint);
        let start = hex.get(..10).unwrap_or(hex);
        objects
            .of("apps/v1", "ControllerRevision", &self.namespace)
            .into_iter()
            .any(|revision| {
                let owners = revision["metadata"]["ownerReferences"].as_array();
                let is_ours = owners.into_iter().flatten().any(|owner| owner["uid"] == self.uid);
                is_ours && revision["metadata"].to_string().contains(start)
            })
    }
}

fn is_of(objects: &impl Objects, namespace: &str, pod: &str, deployment: &str) -> bool {
    let pod = objects.named("v1", "Pod", namespace, pod);
    let set = pod
        .and_then(|pod| pod["metadata"]["ownerReferences"][0]["name"].as_str())
        .unwrap_or_default();
    set.rsplit_once('-').is_some_and(|(of, _)| of == deployment)
}

/// `status.serin`, if it is there and readable.
pub(super) fn block(canary: &Value) -> Option<Block> {
    Block::deserialize(&canary["status"]["serin"]).ok()
}

/// The weights of the rules of a route that split between two Services: primary and canary. A rule that only names the two,
/// beside a Service that has the traffic, does not split yet.
pub(super) fn splits(route: &Value, release: &Release) -> Vec<(u64, u64)> {
    let Some(shape) = route_shape(route["kind"].as_str().unwrap_or_default()) else {
        return Vec::new();
    };
    let split = |rule: &Value| {
        let weight = |side| shape.weight_in(rule, &release.service(side));
        let split = (weight(Side::Primary)?, weight(Side::Canary)?);
        let elsewhere = shape.sharing(rule).any(|it| shape.weight_of(it) > 0);
        (split != (0, 0) || !elsewhere).then_some(split)
    };
    shape.rules_of(route).filter_map(split).collect()
}

/// The most that each side may get by some rule, also by one that leads to it alone: how many requests a rule is for, nobody knows.
pub(super) fn most(route: &Value, release: &Release) -> (u64, u64) {
    let Some(shape) = route_shape(route["kind"].as_str().unwrap_or_default()) else {
        return (0, 0);
    };
    let most = |side| {
        let weights = shape.rules_of(route).filter_map(|rule| {
            let alone = shape.sharing(rule).count() == 1;
            let weight = shape.weight_in(rule, &release.service(side))?;
            Some(if alone { 100 } else { weight })
        });
        weights.max().unwrap_or(0)
    };
    (most(Side::Primary), most(Side::Canary))
}

/// Whether some rule sends copies of its requests to the canary.
pub(super) fn copies(route: &Value, release: &Release) -> bool {
    let Some(shape) = route_shape(route["kind"].as_str().unwrap_or_default()) else {
        return false;
    };
    let canary = release.service(Side::Canary);
    shape
        .rules_of(route)
        .any(|rule| shape.copies_of(rule).is_some_and(|(service, _)| service == canary))
}

/// The generation of a route that the data plane has confirmed. Of a kind that confirms nothing, none.
pub(super) fn confirmed(route: &Value) -> Option<i64> {
    let conditions = if route["kind"] == "HTTPProxy" {
        &route["status"]["conditions"]
    } else {
        &route["status"]["parents"][0]["conditions"]
    };
    let first = conditions
        .as_array()?
        .iter()
        .find(|condition| ["Valid", "Accepted"].contains(&condition["type"].as_str().unwrap_or_default()))?;
    (first["status"] == "True").then(|| first["observedGeneration"].as_i64())?
}
