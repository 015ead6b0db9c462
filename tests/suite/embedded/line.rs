//! The road between one controller process and the world: a process that was killed reaches nothing any more.
//!
//! Aborting a task leaves what it had started beside it. So a killed process is cut off as well: its requests fail and
//! what it asks or tells outside never ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use serin::{
    hooks::{Caller, HookCall, HookError},
    metrics::{Reader, Reading, Source},
    notify::{Destination, Message, NotifyError, Sender},
    sim::fault::{Action, Failure, Fault, RequestInfo},
};

/// Whether a process is still connected. Clones are handles to the same line.
#[derive(Clone, Default)]
pub struct Line {
    cut: Arc<AtomicBool>,
}

impl Line {
    /// The process is gone.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// The hook for the client of this process, with another one behind it.
    pub fn with(&self, behind: Arc<dyn Fault>) -> Arc<dyn Fault> {
        Arc::new(Wire {
            line: self.clone(),
            behind,
        })
    }

    /// What the process talks to outside.
    pub fn before<T>(&self, outside: T) -> Behind<T> {
        Behind {
            line: self.clone(),
            outside,
        }
    }

    async fn open(&self) {
        if self.is_cut() {
            std::future::pending::<()>().await;
        }
    }
}

struct Wire {
    line: Line,
    behind: Arc<dyn Fault>,
}

impl Fault for Wire {
    fn on_request(&self, request: &RequestInfo) -> Action {
        if self.line.is_cut() {
            return Action::FailBefore(Failure::ConnectionReset);
        }
        self.behind.on_request(request)
    }
}

/// Something outside, behind the line.
pub struct Behind<T> {
    line: Line,
    outside: T,
}

#[async_trait]
impl<T: Caller> Caller for Behind<T> {
    async fn call(&self, call: &HookCall) -> Result<(), HookError> {
        self.line.open().await;
        self.outside.call(call).await
    }
}

#[async_trait]
impl<T: Sender> Sender for Behind<T> {
    async fn send(&self, destination: &Destination, message: &Message) -> Result<(), NotifyError> {
        self.line.open().await;
        self.outside.send(destination, message).await
    }
}

#[async_trait]
impl<T: Reader> Reader for Behind<T> {
    async fn read(&self, source: &Source, query: &str) -> Reading {
        self.line.open().await;
        self.outside.read(source, query).await
    }

    async fn online(&self, source: &Source) -> Result<(), String> {
        self.line.open().await;
        self.outside.online(source).await
    }
}
