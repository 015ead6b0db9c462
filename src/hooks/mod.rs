//! Hooks and gates: other systems that have a say in a release, or are told about it.
//!
//! A hook is one HTTP call that the whole decision hangs on: any 2xx means yes. This module says what is sent
//! ([`payload`]) and sends it ([`HttpCaller`]); when a hook is asked and what its answer means is the core's matter.

mod checksum;
mod credentials;
pub mod payload;
mod webhook;

use std::time::Duration;

use async_trait::async_trait;

pub use checksum::checksum;
pub use credentials::{Credentials, CredentialsError, SecretNames};
pub use payload::Payload;
pub use webhook::HttpCaller;

use crate::api::{Canary, Webhook};

/// How long one try takes at most where a hook does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// More tries than these are not made, whatever a hook says: a question comes to an end.
const MOST_RETRIES: u32 = 100;

/// One call, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct HookCall {
    /// Where to. It may hold a password or a token: it is never printed.
    pub url: crate::outbound::Hidden,
    /// For one try.
    pub timeout: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// Do not verify the server's certificate (`disableTLS`).
    pub insecure_skip_verify: bool,
    /// The body.
    pub body: Payload,
    /// Equal for every delivery of the same question, so that a receiver can tell a repetition.
    pub idempotency_key: String,
    /// The Secrets that it needs.
    pub secrets: SecretNames,
    /// What they hold, read right before the call.
    pub credentials: Credentials,
}

/// A hook said no, or could not be asked. The text is for people and names no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// `timeout` of the hook is not a duration.
    #[error("{0}")]
    Timeout(#[from] crate::api::duration::ParseDurationError),
    /// An answer that is no 2xx and that is not asked for again: the body, or the status where there is no body.
    #[error("{0}")]
    Refused(String),
    /// Every try failed in a way that may pass: no connection, no answer in time, 429 or 5xx.
    #[error("POST {origin} giving up after {attempts} attempt(s): {cause}")]
    GivenUp {
        /// Scheme, host and port. Path and query may be secret.
        origin: String,
        /// Tries that were made.
        attempts: u32,
        /// What went wrong the last time: status and body, or why there was no answer.
        cause: String,
    },
    /// A Secret that the hook refers to cannot be read, or holds nothing that can be used.
    #[error("secret {secret}: {cause}")]
    Secret {
        /// Name and namespace.
        secret: String,
        /// Why; names keys, never values.
        cause: String,
    },
    /// A failure that another try would not change: a bad address, a certificate that is not trusted.
    #[error("POST {origin} failed: {cause}")]
    Unsendable {
        /// Scheme, host and port.
        origin: String,
        /// Why.
        cause: String,
    },
}

/// Calls hooks. The controller has the one over HTTP, tests and the embedded cluster have their own.
#[async_trait]
pub trait Caller: Send + Sync {
    /// Calls until an answer is final: 2xx is `Ok`.
    async fn call(&self, call: &HookCall) -> Result<(), HookError>;
}

impl HookCall {
    /// The call of a hook of `analysis.webhooks`. `phase` is the one in its payload, `key` the question's.
    pub fn of(canary: &Canary, hook: &Webhook, phase: &str, key: &str) -> Result<Self, HookError> {
        Self::with_body(hook, Payload::of(canary, phase, hook.metadata.clone()), key)
    }

    fn with_body(hook: &Webhook, body: Payload, key: &str) -> Result<Self, HookError> {
        Ok(Self {
            url: hook.url.as_str().into(),
            timeout: timeout(hook)?,
            retries: hook.retries().min(MOST_RETRIES),
            insecure_skip_verify: hook.disable_tls,
            body,
            idempotency_key: key.to_owned(),
            secrets: SecretNames::of(hook),
            credentials: Credentials::default(),
        })
    }
}

/// Time for one try: 10 s where the text is shorter than two letters or not above zero (`spec/analysis.md` 1.11).
fn timeout(hook: &Webhook) -> Result<Duration, HookError> {
    let Some(text) = hook.timeout.as_ref().filter(|text| text.as_str().len() >= 2) else {
        return Ok(DEFAULT_TIMEOUT);
    };
    let given = text.parse()?.to_std().filter(|timeout| !timeout.is_zero());
    Ok(given.unwrap_or(DEFAULT_TIMEOUT))
}
