//! Objects that a Canary refers to by name: metric templates, alert providers, and the Secrets that those name.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;

use crate::api::{AlertProvider, Canary, CrossNamespaceRef, MetricTemplate};

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
    /// The API server does not let Serin read it.
    #[error("{0}")]
    Forbidden(String),
    /// The caches have not been filled yet, or the API server did not answer.
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

/// Follows references. Whether another namespace may be referred to is decided here, each time one is followed: an edit of a
/// Canary that was accepted before does not get around it (spec/core.md 7.3 W16).
#[derive(Clone)]
pub struct References {
    client: Client,
    lookup: Arc<dyn Lookup>,
    same_namespace_only: bool,
}

/// Where a reference leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The namespace: the reference's own, else the Canary's.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl std::fmt::Display for Place {
    /// As Flagger writes names: `<name>.<namespace>`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

impl Place {
    /// Where the reference of a Canary leads.
    pub fn of(canary: &Canary, reference: &CrossNamespaceRef) -> Self {
        let given = reference.namespace.clone().filter(|namespace| !namespace.is_empty());
        let namespace = given.or_else(|| canary.metadata.namespace.clone()).unwrap_or_default();
        Self {
            namespace,
            name: reference.name.clone(),
        }
    }
}

impl References {
    /// Follows references through `lookup`, and to Secrets with live reads. `same_namespace_only` is `-no-cross-namespace-refs`.
    pub fn new(client: Client, lookup: Arc<dyn Lookup>, same_namespace_only: bool) -> Self {
        Self {
            client,
            lookup,
            same_namespace_only,
        }
    }

    /// The metric template at this place.
    pub fn template(&self, canary: &Canary, place: &Place) -> Result<Arc<MetricTemplate>, LookupError> {
        self.admit(canary, "metric template", place)?;
        self.lookup.template(&place.namespace, &place.name)
    }

    /// The alert provider at this place.
    pub fn alert_provider(&self, canary: &Canary, place: &Place) -> Result<Arc<AlertProvider>, LookupError> {
        self.admit(canary, "alert provider", place)?;
        self.lookup.alert_provider(&place.namespace, &place.name)
    }

    /// A Secret as it is now. It is never cached.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, LookupError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        match secrets.get_opt(name).await {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(LookupError::NotFound),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Err(LookupError::Forbidden(status.message)),
            Err(error) => Err(LookupError::Unknown(error.to_string())),
        }
    }

    fn admit(&self, canary: &Canary, kind: &'static str, place: &Place) -> Result<(), LookupError> {
        if self.same_namespace_only && canary.metadata.namespace.as_ref() != Some(&place.namespace) {
            let Place { namespace, name } = place.clone();
            return Err(LookupError::CrossNamespace { kind, name, namespace });
        }
        Ok(())
    }
}
