//! Hooks with credentials: the Secrets that they name are read, live, right before each call.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;

use super::lookup::{LookupError, References};
use crate::hooks::{Caller, Credentials, CredentialsError, HookCall, HookError};
use crate::retry::Retry;

/// How often a Secret is asked for again where the API server cannot give it at the moment: that is no word about the release.
const READS_AGAIN: u32 = 3;

/// Calls hooks through another caller, with what their Secrets hold.
pub struct WithCredentials {
    caller: Arc<dyn Caller>,
    references: References,
}

impl WithCredentials {
    /// Calls through `caller`.
    pub const fn new(caller: Arc<dyn Caller>, references: References) -> Self {
        Self { caller, references }
    }

    async fn secret(&self, call: &HookCall, name: &str) -> Result<Secret, HookError> {
        let mut retry = Retry::of_hook(&call.idempotency_key);
        loop {
            match self.references.secret(&call.body.namespace, name).await {
                Err(LookupError::Unknown(_)) if retry.attempts() < READS_AGAIN => {
                    tokio::time::sleep(retry.wait()).await;
                }
                read => return read.map_err(|cause| unusable(call, name, &cause)),
            }
        }
    }
}

/// Why a hook cannot be called, by the Secret that it would need.
fn unusable(call: &HookCall, name: &str, cause: &dyn std::error::Error) -> HookError {
    HookError::Secret {
        secret: format!("{name}.{}", call.body.namespace),
        cause: cause.to_string(),
    }
}

#[async_trait]
impl Caller for WithCredentials {
    async fn call(&self, call: &HookCall) -> Result<(), HookError> {
        type Read = fn(&mut Credentials, &Secret) -> Result<(), CredentialsError>;
        let names = &call.secrets;
        let wanted: [(Option<&String>, Read); 3] = [
            (names.headers.as_ref(), Credentials::read_headers),
            (names.client_cert.as_ref(), Credentials::read_client_cert),
            (names.ca.as_ref(), Credentials::read_ca),
        ];
        let mut call = call.clone();
        for (name, read) in wanted {
            let Some(name) = name else { continue };
            let secret = self.secret(&call, name).await?;
            read(&mut call.credentials, &secret).map_err(|cause| unusable(&call, name, &cause))?;
        }
        self.caller.call(&call).await
    }
}
