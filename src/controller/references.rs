//! Metric templates and alert providers out of the caches, decoded one by one.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::caches::{Caches, Seen};
use super::lookup::{Lookup, LookupError, decoded};
use super::resource::{ObjectKey, Resource};
use crate::api::{AlertProvider, MetricTemplate};

impl Lookup for Caches {
    fn template(&self, namespace: &str, name: &str) -> Result<Arc<MetricTemplate>, LookupError> {
        find(self, Resource::METRIC_TEMPLATE, namespace, name)
    }

    fn alert_provider(&self, namespace: &str, name: &str) -> Result<Arc<AlertProvider>, LookupError> {
        find(self, Resource::ALERT_PROVIDER, namespace, name)
    }
}

/// All objects of these kinds are cached, so what is missing does not exist, give or take the delay of the watch; whom that matters to
/// asks the API server.
fn find<K: DeserializeOwned>(
    caches: &Caches,
    kind: Resource,
    namespace: &str,
    name: &str,
) -> Result<Arc<K>, LookupError> {
    match caches.seen(&ObjectKey::new(kind, namespace, name)) {
        Seen::Is(object) => decoded(&object),
        Seen::Unsure => Err(LookupError::Unknown("the cache is not filled".into())),
        Seen::Forbidden(verb) => Err(LookupError::Forbidden(format!("Serin may not {verb} {kind}"))),
        Seen::Missing | Seen::Absent | Seen::NoKind => Err(LookupError::NotFound),
    }
}
