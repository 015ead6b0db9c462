//! Objects that a Canary refers to by name: metric templates, alert providers, and the Secrets that those name.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, GetParams, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::resource::Resource;
use crate::api::{AlertProvider, Canary, CrossNamespaceRef, MetricTemplate, decode};

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
    pub async fn template(&self, canary: &Canary, place: &Place) -> Result<Arc<MetricTemplate>, LookupError> {
        self.admit(canary, "metric template", place)?;
        match self.lookup.template(&place.namespace, &place.name) {
            Err(LookupError::NotFound) => self.live(Resource::METRIC_TEMPLATE, place).await,
            known => known,
        }
    }

    /// The alert provider at this place.
    pub async fn alert_provider(&self, canary: &Canary, place: &Place) -> Result<Arc<AlertProvider>, LookupError> {
        self.admit(canary, "alert provider", place)?;
        match self.lookup.alert_provider(&place.namespace, &place.name) {
            Err(LookupError::NotFound) => self.live(Resource::ALERT_PROVIDER, place).await,
            known => known,
        }
    }

    /// An object that the caches have not: only the API server may say that it does not exist.
    async fn live<K: DeserializeOwned>(&self, kind: Resource, place: &Place) -> Result<Arc<K>, LookupError> {
        let get = Request::new(kind.path(&place.namespace)).get(&place.name, &GetParams::default());
        let get = get.map_err(|error| LookupError::Unknown(error.to_string()))?;
        decoded(&self.client.request(get).await.map_err(unread)?)
    }

    /// A Secret as it is now. It is never cached.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, LookupError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        secrets.get(name).await.map_err(unread)
    }

    fn admit(&self, canary: &Canary, kind: &'static str, place: &Place) -> Result<(), LookupError> {
        if self.same_namespace_only && canary.metadata.namespace.as_ref() != Some(&place.namespace) {
            let Place { namespace, name } = place.clone();
            return Err(LookupError::CrossNamespace { kind, name, namespace });
        }
        Ok(())
    }
}

/// What an object says, as far as it is of the form that the schema asks for.
pub(super) fn decoded<K: DeserializeOwned>(object: &Value) -> Result<Arc<K>, LookupError> {
    let object = decode::decode(object).map(Arc::new);
    object.map_err(|error| LookupError::Malformed(error.to_string()))
}

fn unread(error: kube::Error) -> LookupError {
    match error {
        kube::Error::Api(status) if status.is_not_found() => LookupError::NotFound,
        kube::Error::Api(status) if status.is_forbidden() => LookupError::Forbidden(status.message),
        error => LookupError::Unknown(error.to_string()),
    }
}
