//! Metrics servers: where to ask, with which credentials, and the table of the kinds that are known.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use std::time::Duration;

use super::{PlanError, Reader, Reading, prometheus::Prometheus};
use crate::api::{Canary, MetricTemplateProvider, MetricTemplateSpec};
use crate::outbound::{ClientError, Clients, Hidden, Reach};

/// The kinds of metrics servers, one line each. `MetricTemplate` names them in `spec.provider.type`.
pub const SERVERS: &[&dyn MetricsServer] = &[&Prometheus];

/// How long a server may take to answer (`spec/analysis.md` 2.0).
const TIMEOUT: Duration = Duration::from_secs(5);

/// One metrics server and how to speak to it. Its `Debug` shows neither address nor credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The name of its kind in [`SERVERS`].
    pub kind: &'static str,
    /// Base URL; user info in it becomes Basic authentication.
    pub address: Hidden,
    /// Headers sent along, in order; a name may come several times.
    pub headers: Vec<(String, Hidden)>,
    /// From the Secret that the template names.
    pub credentials: Option<Credentials>,
    /// Do not verify the server's certificate.
    pub insecure_skip_verify: bool,
}

/// What a Secret gives to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: Bearer`.
    Bearer(Hidden),
    /// `Authorization: Basic`.
    Basic {
        /// User.
        username: Hidden,
        /// Password.
        password: Hidden,
    },
}

/// A metrics server is described in a way that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The kind is not in [`SERVERS`].
    #[error("metrics provider {0:?} is not supported")]
    UnknownKind(String),
    /// The address is empty or not of the form `http://host`.
    #[error("{kind} address {address} is not a valid URL")]
    Address {
        /// Kind of the server.
        kind: &'static str,
        /// The address without its user info.
        address: String,
    },
    /// The Secret lacks a key.
    #[error("{kind} credentials does not contain a {key}")]
    Credentials {
        /// Kind of the server.
        kind: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A header that HTTP does not allow.
    #[error("header {0:?} is not a valid HTTP header")]
    Header(String),
}

/// One kind of metrics server.
#[async_trait]
pub trait MetricsServer: Send + Sync {
    /// Its name in `spec.provider.type`.
    fn name(&self) -> &'static str;
    /// Where and how to ask, from a template's provider and the Secret it names, if it names one.
    fn source(&self, provider: &MetricTemplateProvider, secret: Option<&Secret>) -> Result<Source, SourceError>;
    /// Sends one query.
    async fn read(&self, clients: &Clients, source: &Source, query: &str) -> Reading;
    /// Whether the server answers.
    async fn online(&self, clients: &Clients, source: &Source) -> Result<(), String>;
}

impl Source {
    /// The Prometheus at this address: the controller's `-metrics-server` or a Canary's `spec.metricsServer`.
    pub fn prometheus(address: &str) -> Result<Self, SourceError> {
        let provider = MetricTemplateProvider {
            address: Some(address.to_owned()),
            ..MetricTemplateProvider::default()
        };
        Prometheus.source(&provider, None)
    }

    /// The server that a metric template names. `secret` is the one in `secretRef`, where that is set.
    pub fn of_template(provider: &MetricTemplateProvider, secret: Option<&Secret>) -> Result<Self, SourceError> {
        server(&provider.type_)
            .ok_or_else(|| SourceError::UnknownKind(provider.type_.clone()))?
            .source(provider, secret)
    }
}

/// Why a metric template cannot be asked yet, if so: its kind of server is not in [`SERVERS`].
pub fn unbuilt(spec: &MetricTemplateSpec) -> Option<String> {
    let kind = spec.provider.type_.as_str();
    server(kind)
        .is_none()
        .then(|| format!("spec.provider.type: {kind} is not built yet"))
}

/// The Prometheus of a canary's built-in and inline queries: `spec.metricsServer`, else the controller's.
pub fn server_of(canary: &Canary, global: &Source) -> Result<Source, PlanError> {
    match canary
        .spec
        .metrics_server
        .as_deref()
        .filter(|address| !address.is_empty())
    {
        Some(address) => Source::prometheus(address).map_err(PlanError::Server),
        None => Ok(global.clone()),
    }
}

fn server(name: &str) -> Option<&'static dyn MetricsServer> {
    SERVERS.iter().copied().find(|server| server.name() == name)
}

/// The text of one key of a Secret, without white space around it: a token with the newline of its file is no valid header.
pub(super) fn secret_text(secret: &Secret, key: &str) -> Option<Hidden> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (!text.is_empty()).then(|| text.into())
}

/// Asks over HTTP. One for the whole process: connections are kept and shared.
#[derive(Debug, Clone)]
pub struct HttpReader {
    clients: Clients,
}

impl HttpReader {
    /// A reader with connections of its own, which goes no further than `reach`: a Canary may name a server.
    ///
    /// # Errors
    /// The system's certificates or its resolver are unusable.
    pub fn new(reach: Reach) -> Result<Self, ClientError> {
        Self::with_timeout(reach, TIMEOUT)
    }

    /// The same, for servers that may take longer or must be faster.
    ///
    /// # Errors
    /// The system's certificates or its resolver are unusable.
    pub fn with_timeout(reach: Reach, timeout: Duration) -> Result<Self, ClientError> {
        Clients::within(reach, timeout).map(|clients| Self { clients })
    }
}

#[async_trait]
impl Reader for HttpReader {
    async fn read(&self, source: &Source, query: &str) -> Reading {
        match server(source.kind) {
            Some(server) => server.read(&self.clients, source, query).await,
            None => Reading::Failed(SourceError::UnknownKind(source.kind.to_owned()).to_string()),
        }
    }

    async fn online(&self, source: &Source) -> Result<(), String> {
        match server(source.kind) {
            Some(server) => server.online(&self.clients, source).await,
            None => Err(SourceError::UnknownKind(source.kind.to_owned()).to_string()),
        }
    }
}
