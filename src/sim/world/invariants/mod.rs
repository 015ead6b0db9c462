//! What is always true (`design.md` 2), held against every single write while a test runs.
//!
//! The monitor hangs on the embedded API server and judges each write of the controller by the objects as they are at
//! that instant, not as anybody has seen them. What others write (the team, the cluster's controllers, a rival) is not
//! judged, only remembered.

mod checks;
mod replay;
mod view;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use self::replay::{Recorded, Replay};
use self::{
    checks::InFlight,
    view::{Objects, Release, Written, confirmed, most},
};
use super::route_shape::{SHAPES, route_shape};
use crate::sim::apiserver::ApiServer;

/// A Secret's value shorter than this proves nothing when it is found somewhere.
const SHORTEST_SECRET: usize = 6;

/// A write that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Verb, kind, namespace and name.
    pub write: String,
    /// The invariant's number and what breaks it.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.at.format("%H:%M:%S%.3f"), self.write, self.what)
    }
}

/// What each generation of a route carried, by route.
type Weights = BTreeMap<String, BTreeMap<i64, Carried>>;

/// The weights of one generation: of the primary and of the canary, and since when it stands.
#[derive(Debug, Clone, Copy)]
struct Carried {
    weights: (u64, u64),
    since: DateTime<Utc>,
}

#[derive(Debug, Default)]
struct Inner {
    violations: Vec<Violation>,
    weights: Weights,
    secrets: Vec<String>,
    judged: usize,
}

/// Watches over the writes of one embedded API server; clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Monitor {
    inner: Arc<Mutex<Inner>>,
}

impl Monitor {
    /// Judges every write of users whose name begins with `controller`, from now on.
    pub fn attach(api: &ApiServer, controller: &str) -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let (inside, controller) = (inner.clone(), controller.to_owned());
        api.on_write(move |write| {
            let mut inner = inside.lock().unwrap_or_else(PoisonError::into_inner);
            let written = Written {
                kind: write.kind,
                namespace: write.namespace,
                name: write.name,
                before: write.before,
                after: write.after,
                at: write.time,
            };
            let objects = (write.store, write.namespace);
            inner.see(write.verb, &written, &objects, write.user.starts_with(&controller));
        });
        Self { inner }
    }

    /// Everything that was wrong so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .violations
            .clone()
    }

    /// How many writes were judged: a test that judged none proves nothing.
    pub fn judged(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).judged
    }
}

impl Inner {
    /// A write, and all objects right after it.
    fn see(&mut self, verb: &str, written: &Written<'_>, objects: &impl Objects, judge: bool) {
        self.learn(written);
        let releases = match written.kind {
            kind if route_shape(kind).is_some() => Release::all(objects, written.namespace),
            "Deployment" | "Service" | "Canary" if judge => Release::all(objects, written.namespace),
            _ => Vec::new(),
        };
        if judge {
            self.judged += 1;
            let mut wrong = checks::secrets(written, &self.secrets);
            for release in &releases {
                wrong.extend(self.judge(written, objects, release));
            }
            let name = || format!("{verb} {} {}/{}", written.kind, written.namespace, written.name);
            let violation = |what| Violation {
                at: written.at,
                write: name(),
                what,
            };
            self.violations.extend(wrong.into_iter().map(violation));
        }
        if route_shape(written.kind).is_some() {
            self.remember(written, &releases);
        }
    }

    fn judge(&self, written: &Written<'_>, objects: &impl Objects, release: &Release) -> Vec<String> {
        match written.kind {
            kind if route_shape(kind).is_some() && written.name == release.apex => {
                checks::route(written, objects, release)
            }
            "Deployment" => release.side_of(written.name).map_or_else(Vec::new, |side| {
                let in_flight = self.in_flight(objects, release, written.at);
                checks::workload(written, objects, release, side, in_flight)
            }),
            "Service" => {
                let in_flight = self.in_flight(objects, release, written.at);
                checks::service(written, objects, release, in_flight)
            }
            "Canary" if is_of(written, release) => checks::status(written, objects, release),
            _ => Vec::new(),
        }
    }

    /// Takes note of the values of Secrets.
    fn learn(&mut self, written: &Written<'_>) {
        let Some(secret) = written.after.filter(|_| written.kind == "Secret") else {
            return;
        };
        let encoded = secret["data"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, value)| value.as_str());
        for value in encoded {
            let bytes: Option<k8s_openapi::ByteString> = serde_json::from_value(Value::from(value)).ok();
            let text = bytes
                .and_then(|bytes| String::from_utf8(bytes.0).ok())
                .unwrap_or_default();
            let both = [value.to_owned(), text]
                .into_iter()
                .filter(|text| text.len() >= SHORTEST_SECRET);
            self.secrets.extend(both);
        }
    }

    /// Takes note of the weights of a route's generation.
    fn remember(&mut self, written: &Written<'_>, releases: &[Release]) {
        let key = format!("{} {}/{}", written.kind, written.namespace, written.name);
        let Some(route) = written.after else {
            self.weights.remove(&key);
            return;
        };
        let Some(release) = releases.iter().find(|release| release.apex == written.name) else {
            return;
        };
        let generation = route["metadata"]["generation"].as_i64().unwrap_or(0);
        let now = Carried {
            weights: most(route, release),
            since: written.at,
        };
        let generations = self.weights.entry(key).or_default();
        generations.entry(generation).or_insert(now);
        if let Some(confirmed) = confirmed(route) {
            generations.retain(|generation, _| *generation >= confirmed);
        }
    }

    /// The most that each side may get by any generation of its route that the data plane may act on.
    ///
    /// Where nothing tells what it acts on, it has left behind what another generation replaced a settle time ago.
    fn in_flight(&self, objects: &impl Objects, release: &Release, at: DateTime<Utc>) -> InFlight {
        let mut most = [0, 0];
        for shape in &SHAPES {
            let (kind, namespace, apex) = (shape.kind, &release.namespace, &release.apex);
            let stands = objects.named(shape.api_version, kind, namespace, apex).is_some();
            let Some(generations) = self
                .weights
                .get(&format!("{kind} {namespace}/{apex}"))
                .filter(|_| stands)
            else {
                continue;
            };
            let mut settled = generations.iter().filter(|(_, it)| it.since + release.settle <= at);
            let oldest = settled.next_back().map(|(generation, _)| *generation);
            let oldest = oldest.filter(|_| !shape.confirms).unwrap_or(i64::MIN);
            for (_, Carried { weights, .. }) in generations.range(oldest..) {
                most = [most[0].max(weights.0), most[1].max(weights.1)];
            }
        }
        most
    }
}

/// Whether a write of a Canary is one of this release.
fn is_of(written: &Written<'_>, release: &Release) -> bool {
    written
        .after
        .is_some_and(|canary| canary["metadata"]["uid"] == release.uid.as_str())
}

#[cfg(test)]
mod tests;
