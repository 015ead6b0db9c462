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
    view::{Objects, Release, Written, confirmed, splits},
};
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

/// The weights that each generation of a route carried, by route.
type Weights = BTreeMap<String, BTreeMap<i64, (u64, u64)>>;

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
            "HTTPRoute" | "HTTPProxy" => Release::all(objects, written.namespace),
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
        if matches!(written.kind, "HTTPRoute" | "HTTPProxy") {
            self.remember(written, &releases);
        }
    }

    fn judge(&self, written: &Written<'_>, objects: &impl Objects, release: &Release) -> Vec<String> {
        match written.kind {
            "HTTPRoute" | "HTTPProxy" if written.name == release.apex => checks::route(written, objects, release),
            "Deployment" => release.side_of(written.name).map_or_else(Vec::new, |side| {
                checks::workload(written, objects, release, side, self.in_flight(objects, release))
            }),
            "Service" => checks::service(written, objects, release, self.in_flight(objects, release)),
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
        let now = splits(route, release).first().copied().unwrap_or((0, 0));
        let generations = self.weights.entry(key).or_default();
        generations.insert(generation, now);
        if let Some(confirmed) = confirmed(route) {
            generations.retain(|generation, _| *generation >= confirmed);
        }
    }

    /// The most that each side may get by any generation of its route that the data plane may act on.
    fn in_flight(&self, objects: &impl Objects, release: &Release) -> InFlight {
        let mut most = [0, 0];
        for kind in ["HTTPRoute", "HTTPProxy"] {
            let api_version = if kind == "HTTPRoute" {
                "gateway.networking.k8s.io/v1"
            } else {
                "projectcontour.io/v1"
            };
            if objects
                .named(api_version, kind, &release.namespace, &release.apex)
                .is_none()
            {
                continue;
            }
            let key = format!("{kind} {}/{}", release.namespace, release.apex);
            for (primary, canary) in self.weights.get(&key).into_iter().flat_map(BTreeMap::values) {
                most = [most[0].max(*primary), most[1].max(*canary)];
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
