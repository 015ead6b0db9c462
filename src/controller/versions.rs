//! What the encoding of an object depends on: the versions of Serin and of the API server (`design.md`, "Fingerprint"; W23, rank 4).
//!
//! A control plane is upgraded under a process that lives, and one that has several servers answers in two versions for a while. So
//! the version is asked again where a decision hangs on it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::Client;

use super::look::REQUEST;
use crate::clock::Clock;

/// The version of Serin, and what the API server said last of its own.
#[derive(Debug)]
pub struct Versions {
    kubernetes: Mutex<String>,
}

impl Versions {
    /// Asks the API server.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn ask(client: &Client) -> Result<Self, kube::Error> {
        let kubernetes = client.apiserver_version().await?.git_version;
        Ok(Self {
            kubernetes: Mutex::new(kubernetes),
        })
    }

    /// As `serin/kubernetes`.
    pub fn text(&self) -> String {
        format!("{}/{}", env!("CARGO_PKG_VERSION"), self.kubernetes())
    }

    /// Asks the API server again; false where it does not tell.
    pub async fn ask_again(&self, client: &Client, clock: &Clock) -> bool {
        match clock.timeout(REQUEST, client.apiserver_version()).await {
            Ok(Ok(version)) => {
                *self.kubernetes() = version.git_version;
                true
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the API server does not tell its version");
                false
            }
            Err(_) => false,
        }
    }

    fn kubernetes(&self) -> MutexGuard<'_, String> {
        self.kubernetes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
