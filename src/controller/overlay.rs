//! What we wrote or read by ourselves, laid over the watch caches until they have caught up.
//!
//! A write returns the object as it now stands, long before the watch brings it. Without this an old primary that looks
//! ready would be taken for the new one (`design.md`, "Drawn"). An entry goes when a watch event for the same object is
//! at least as new; after 30 s it is not believed any more, and the reader has to ask the API server.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::kept::Head;
use super::meta;
use super::resource::{ObjectKey, Resource};

/// How long an entry is believed without a watch event.
const BELIEVED: TimeDelta = TimeDelta::seconds(30);

/// Entries by object.
#[derive(Debug, Default)]
pub struct Overlay {
    laid: HashMap<ObjectKey, Laid>,
}

#[derive(Debug)]
struct Laid {
    /// `None`: it is gone.
    object: Option<Arc<Value>>,
    uid: String,
    version: String,
    at: DateTime<Utc>,
}

/// What the overlay says about one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Over {
    /// Nothing: the cache decides.
    Clear,
    /// It is this.
    Is(Arc<Value>),
    /// It was deleted.
    Gone,
    /// It was changed too long ago to know: ask the API server.
    Stale,
}

impl Overlay {
    /// Lays the answer of a write, or of a live read, over the cache. An older answer never covers a newer one.
    pub fn lay(&mut self, key: ObjectKey, object: Arc<Value>, now: DateTime<Utc>) {
        let (uid, version) = (meta::uid(&object).to_owned(), meta::version(&object).to_owned());
        if let Some(old) = self.laid.get(&key)
            && old.uid == uid
            && meta::reached(&old.version, &version)
            && old.version != version
        {
            return;
        }
        self.laid.insert(
            key,
            Laid {
                object: Some(object),
                uid,
                version,
                at: now,
            },
        );
    }

    /// Notes that the object of this uid was deleted when it had this version.
    pub fn lay_gone(&mut self, key: ObjectKey, uid: &str, version: &str, now: DateTime<Utc>) {
        let laid = Laid {
            object: None,
            uid: uid.to_owned(),
            version: version.to_owned(),
            at: now,
        };
        self.laid.insert(key, laid);
    }

    /// A watch brought this object; `deleted` if as its last word. Entries that it has passed go.
    pub fn passed(&mut self, key: &ObjectKey, object: &Head, deleted: bool) {
        let Some(laid) = self.laid.get(key) else { return };
        let reached = meta::reached(&object.version, &laid.version);
        let same = object.uid == laid.uid;
        // Of a deleted object only its deletion counts, or a successor's appearance.
        let passed = if laid.object.is_none() {
            if same { deleted } else { reached }
        } else {
            reached
        };
        if passed {
            self.laid.remove(key);
        }
    }

    /// What is laid over this object.
    pub fn over(&self, key: &ObjectKey, now: DateTime<Utc>) -> Over {
        let Some(laid) = self.laid.get(key) else {
            return Over::Clear;
        };
        if now - laid.at > BELIEVED {
            return Over::Stale;
        }
        laid.object.clone().map_or(Over::Gone, Over::Is)
    }

    /// Forgets the entry of an object, after a live read has decided.
    pub fn clear(&mut self, key: &ObjectKey) {
        self.laid.remove(key);
    }

    /// The objects of one kind in a namespace that something is laid over.
    pub fn keys(&self, resource: Resource, namespace: &str) -> impl Iterator<Item = &ObjectKey> {
        let keys = self.laid.keys();
        keys.filter(move |key| key.resource == resource && key.namespace == namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key() -> ObjectKey {
        ObjectKey::new(Resource::SERVICE, "test", "podinfo")
    }

    fn service(uid: &str, version: &str) -> Arc<Value> {
        Arc::new(json!({"metadata": {"name": "podinfo", "uid": uid, "resourceVersion": version}}))
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn our_write_stands_until_an_event_has_passed_it() {
        let mut overlay = Overlay::default();
        overlay.lay(key(), service("a", "10"), at(0));
        overlay.passed(&key(), &Head::of(&service("a", "9")), false);
        assert_eq!(overlay.over(&key(), at(1)), Over::Is(service("a", "10")));
        overlay.passed(&key(), &Head::of(&service("a", "10")), false);
        assert_eq!(overlay.over(&key(), at(1)), Over::Clear);
    }

    #[test]
    fn an_event_of_a_newer_object_of_the_same_name_passes_too() {
        let mut overlay = Overlay::default();
        overlay.lay(key(), service("a", "10"), at(0));
        overlay.passed(&key(), &Head::of(&service("b", "12")), false);
        assert_eq!(overlay.over(&key(), at(1)), Over::Clear);
    }

    #[test]
    fn a_deletion_stands_until_the_watch_says_it() {
        let mut overlay = Overlay::default();
        overlay.lay_gone(key(), "a", "10", at(0));
        overlay.passed(&key(), &Head::of(&service("a", "11")), false);
        assert_eq!(overlay.over(&key(), at(1)), Over::Gone);
        overlay.passed(&key(), &Head::of(&service("a", "12")), true);
        assert_eq!(overlay.over(&key(), at(1)), Over::Clear);
    }

    #[test]
    fn after_thirty_seconds_nobody_knows() {
        let mut overlay = Overlay::default();
        overlay.lay(key(), service("a", "10"), at(0));
        assert_eq!(overlay.over(&key(), at(31)), Over::Stale);
    }

    #[test]
    fn an_older_answer_never_covers_a_newer_one() {
        let mut overlay = Overlay::default();
        overlay.lay(key(), service("a", "10"), at(0));
        overlay.lay(key(), service("a", "9"), at(1));
        assert_eq!(overlay.over(&key(), at(2)), Over::Is(service("a", "10")));
    }
}
