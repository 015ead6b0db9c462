//! Faults between a client and the embedded API server: each request passes a hook that may break it.
//!
//! A fault says what happens to one request, never what is in it: the server stays right, only the road to it is bad.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What a hook knows of a request before it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// Position of the request among those of its client, from 0.
    pub seq: usize,
    /// Who sends it.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural resource name; empty for discovery.
    pub resource: String,
    /// For example `status` or `scale`; empty for the object itself.
    pub subresource: String,
    /// Namespace, empty for cluster-wide requests.
    pub namespace: String,
    /// Object name, empty for collections.
    pub name: String,
    /// Whether the request asks for a dry run.
    pub dry_run: bool,
    /// Whether the verb can change the store. Dry runs count: they carry a writing verb.
    pub mutating: bool,
}

/// How a request fails on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The answer is 500 with the reason `InternalError`.
    InternalError,
    /// The connection breaks: the client sees a transport error and no answer.
    ConnectionReset,
}

/// What happens to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is served.
    Pass,
    /// It fails and never reaches the server.
    FailBefore(Failure),
    /// It takes effect, and its answer is lost.
    FailAfter(Failure),
    /// It reaches the server after this time, even when its sender is gone by then.
    Delay(Duration),
    /// The answer is 403 with this message, as from an authorizer.
    Forbid(String),
    /// The answer is this code with this message, as from an admission webhook.
    Reject(u16, String),
}

/// A hook that each request of a client passes.
pub trait Fault: Send + Sync {
    /// Decides what happens to a request.
    fn on_request(&self, request: &RequestInfo) -> Action;
}

/// No fault at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFault;

impl Fault for NoFault {
    fn on_request(&self, _request: &RequestInfo) -> Action {
        Action::Pass
    }
}

/// Which requests [`FailCall`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// All of them.
    Any,
    /// Those whose verb writes.
    Mutating,
}

/// Breaks one request, chosen by its place in the order of requests, over all clients that share the hook.
#[derive(Debug)]
pub struct FailCall {
    nth: usize,
    among: Among,
    how: Action,
    seen: AtomicUsize,
}

impl FailCall {
    /// Does `how` to the `nth` request, counted from 0, among those that `among` names.
    pub fn new(nth: usize, among: Among, how: Action) -> Self {
        Self {
            nth,
            among,
            how,
            seen: AtomicUsize::new(0),
        }
    }

    /// Whether the chosen request has come.
    pub fn fired(&self) -> bool {
        self.seen.load(Ordering::SeqCst) > self.nth
    }
}

impl Fault for FailCall {
    fn on_request(&self, request: &RequestInfo) -> Action {
        if self.among == Among::Mutating && !request.mutating {
            return Action::Pass;
        }
        if self.seen.fetch_add(1, Ordering::SeqCst) == self.nth {
            self.how.clone()
        } else {
            Action::Pass
        }
    }
}

/// Lets everything pass and remembers it.
#[derive(Debug, Default)]
pub struct Recorder {
    requests: Mutex<Vec<RequestInfo>>,
}

impl Recorder {
    /// All requests so far, in order.
    pub fn requests(&self) -> Vec<RequestInfo> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests [`FailCall`] would count.
    pub fn count(&self, among: Among) -> usize {
        self.requests()
            .iter()
            .filter(|request| among == Among::Any || request.mutating)
            .count()
    }
}

impl Fault for Recorder {
    fn on_request(&self, request: &RequestInfo) -> Action {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.clone());
        Action::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: &str, mutating: bool) -> RequestInfo {
        RequestInfo {
            seq: 0,
            user: "serin".into(),
            verb: verb.into(),
            group: String::new(),
            resource: "services".into(),
            subresource: String::new(),
            namespace: "test".into(),
            name: "podinfo".into(),
            dry_run: false,
            mutating,
        }
    }

    #[test]
    fn only_the_chosen_write_fails() {
        let fault = FailCall::new(1, Among::Mutating, Action::FailBefore(Failure::InternalError));
        let calls = [
            ("get", false),
            ("patch", true),
            ("list", false),
            ("update", true),
            ("patch", true),
        ];
        let failed: Vec<bool> = calls
            .iter()
            .map(|(verb, mutating)| fault.on_request(&request(verb, *mutating)) != Action::Pass)
            .collect();
        assert_eq!(failed, [false, false, false, true, false]);
        assert!(fault.fired());
    }

    #[test]
    fn a_recorder_counts_as_a_failing_hook_would() {
        let recorder = Recorder::default();
        recorder.on_request(&request("get", false));
        recorder.on_request(&request("patch", true));
        assert_eq!((recorder.count(Among::Any), recorder.count(Among::Mutating)), (2, 1));
    }
}
