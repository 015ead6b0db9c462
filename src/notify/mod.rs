//! Telling people: alerts to chat services, and Kubernetes Events.
//!
//! A chat service is one file with a [`Service`] in it and one line in [`SERVICES`]: it turns a [`Message`] into a
//! request and looks at the answer; the sending is the same for all. Addresses and tokens are secrets and never told.

mod destination;
mod event;
mod message;
mod sender;
mod slack;

use async_trait::async_trait;
use serde_json::Value;

pub use destination::{Destination, DestinationError};
pub use event::event;
pub use message::{Audience, Message, audience, message};
pub use sender::HttpSender;

use crate::api::AlertProviderSpec;
use crate::outbound::Hidden;

/// The chat services, one line each. `AlertProvider` names them in `spec.type`.
pub const SERVICES: &[&dyn Service] = &[&slack::Slack];

/// One chat service. Pure.
pub trait Service: Send + Sync {
    /// Its name in `spec.type`.
    fn name(&self) -> &'static str;
    /// The request that delivers a message.
    fn request(&self, destination: &Destination, message: &Message) -> Request;
    /// What is wrong according to an answer of status 2xx, for services that report errors that way.
    fn refusal(&self, body: &str) -> Option<String>;
}

/// A request to a chat service: always `POST`, always JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Where to.
    pub url: Hidden,
    /// `Authorization: Bearer` with this token.
    pub token: Option<Hidden>,
    /// The body.
    pub body: Value,
}

/// A message was not delivered. The text names no address and no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// There is no such chat service.
    #[error("alert provider type {0:?} is not supported")]
    UnknownService(String),
    /// The proxy's address is not usable.
    #[error("proxy cannot be used: {0}")]
    Proxy(String),
    /// No answer.
    #[error("sending notification failed: {0}")]
    Unsent(String),
    /// An answer other than 2xx.
    #[error("sending notification bad response {status}: {body}")]
    Status {
        /// HTTP status.
        status: u16,
        /// Start of the body.
        body: String,
    },
    /// An answer of 2xx that says that nothing was delivered.
    #[error("sending notification refused: {0}")]
    Refused(String),
}

/// Delivers messages. The controller has the one over HTTP, tests and the embedded cluster have their own.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Delivers one message, once; nothing is repeated here.
    async fn send(&self, destination: &Destination, message: &Message) -> Result<(), NotifyError>;
}

/// Why an alert provider cannot be told anything yet, if so: its kind is not in [`SERVICES`].
pub fn unbuilt(spec: &AlertProviderSpec) -> Option<String> {
    let kind = spec.type_.as_str();
    service(kind)
        .is_none()
        .then(|| format!("spec.type: {kind} is not built yet"))
}

/// The chat service of that name.
pub fn service(name: &str) -> Option<&'static dyn Service> {
    SERVICES.iter().copied().find(|service| service.name() == name)
}
