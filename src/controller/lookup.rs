//! Objects that a Canary refers to by name: metric templates and alert providers.

use std::sync::Arc;

use crate::api::{AlertProvider, MetricTemplate};

/// Finds what a Canary refers to. The controller answers from its caches.
pub trait Lookup: Send + Sync {
    /// The metric template of that name.
    fn template(&self, namespace: &str, name: &str) -> Result<Arc<MetricTemplate>, LookupError>;
    /// The alert provider of that name.
    fn alert_provider(&self, namespace: &str, name: &str) -> Result<Arc<AlertProvider>, LookupError>;
}

/// A reference that leads nowhere. The texts are for people and stand behind the name of the object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is no such object.
    #[error("not found")]
    NotFound,
    /// It is there, but is not of the form that the schema asks for.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The caches have not been filled yet, or the API server refuses the read.
    #[error("not known yet: {0}")]
    Unknown(String),
    /// It lies in another namespace and `-no-cross-namespace-refs` is set.
    #[error("can't access {kind} {name}.{namespace}, cross-namespace references are blocked")]
    CrossNamespace {
        /// What it is, such as `metric template`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
    },
}
