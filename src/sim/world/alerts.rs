//! The chat services of the embedded cluster: they take every alert and keep it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    clock::Clock,
    notify::{Destination, Message, NotifyError, Sender},
};

/// One alert that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// When.
    pub at: DateTime<Utc>,
    /// Where to.
    pub destination: Destination,
    /// What it says.
    pub message: Message,
}

#[derive(Debug, Default)]
struct Inner {
    sent: Vec<Sent>,
    broken: Option<NotifyError>,
}

/// All chat services; clones are handles to the same ones.
#[derive(Debug, Clone)]
pub struct SimSender {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

impl SimSender {
    /// Services that take every alert.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            inner: Arc::default(),
        }
    }

    /// Takes nothing from now on, for this reason, or takes everything again. What is not taken is recorded all the same.
    pub fn fail(&self, why: Option<NotifyError>) {
        self.with(|inner| inner.broken = why);
    }

    /// The alerts so far, also those that were not taken.
    pub fn sent(&self) -> Vec<Sent> {
        self.with(|inner| inner.sent.clone())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Sender for SimSender {
    async fn send(&self, destination: &Destination, message: &Message) -> Result<(), NotifyError> {
        let sent = Sent {
            at: self.clock.now(),
            destination: destination.clone(),
            message: message.clone(),
        };
        self.with(|inner| {
            inner.sent.push(sent);
            inner.broken.clone().map_or(Ok(()), Err)
        })
    }
}
