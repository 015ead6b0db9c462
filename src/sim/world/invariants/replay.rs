//! The same judgement over writes that were recorded on a real API server, after the fact.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Inner, Violation,
    view::{Objects, Written},
};

/// A write that succeeded, as an audit log has it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The verb of the request.
    pub verb: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace, empty for cluster-wide kinds.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// The object after; `None` for a removed one.
    pub after: Option<Value>,
    /// When it was answered.
    pub at: DateTime<Utc>,
    /// Whether the controller under test wrote.
    pub judged: bool,
}

/// Plays recorded writes once more, in the order of their resourceVersions, and judges each by the objects as they were then.
#[derive(Debug, Default)]
pub struct Replay {
    inner: Inner,
    objects: Shelf,
}

#[derive(Debug, Default)]
struct Shelf(BTreeMap<[String; 3], Value>);

impl Objects for Shelf {
    fn of(&self, _api_version: &str, kind: &str, namespace: &str) -> Vec<&Value> {
        let first = [kind.to_owned(), namespace.to_owned(), String::new()];
        let rest = self.0.range(first..);
        rest.take_while(|([its_kind, its_namespace, _], _)| its_kind == kind && its_namespace == namespace)
            .map(|(_, object)| object)
            .collect()
    }

    fn named(&self, _api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.0.get(&[kind.to_owned(), namespace.to_owned(), name.to_owned()])
    }
}

impl Replay {
    /// The next write. Every write of every kind that the invariants speak of is to be told, whoever made it.
    pub fn see(&mut self, write: Recorded) {
        let key = [write.kind, write.namespace, write.name];
        let before = self.objects.0.remove(&key);
        if let Some(after) = &write.after {
            self.objects.0.insert(key.clone(), after.clone());
        }
        let [kind, namespace, name] = &key;
        let written = Written {
            kind,
            namespace,
            name,
            before: before.as_ref(),
            after: write.after.as_ref(),
            at: write.at,
        };
        self.inner.see(&write.verb, &written, &self.objects, write.judged);
    }

    /// The object as the writes so far have left it.
    pub fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.named("", kind, namespace, name)
    }

    /// Everything that was wrong so far.
    pub fn violations(&self) -> &[Violation] {
        &self.inner.violations
    }

    /// How many writes were judged: a replay that judged none proves nothing.
    pub const fn judged(&self) -> usize {
        self.inner.judged
    }
}
