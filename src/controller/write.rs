//! The only place that writes to the cluster: each write with its precondition, its fence and its time limit.
//!
//! A process that no longer leads must not write, and a request may take its whole time limit to arrive. So nothing is
//! sent with less left of the claim than that. Nothing is sent twice here: who called looks again and decides anew.

use std::sync::Arc;

use json_patch::Patch as Operations;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, Request};
use kube::{Client, Error, core::Status};
use serde_json::Value;

use super::caches::Caches;
use super::leader::Claim;
use super::look::REQUEST;
use super::meta;
use super::projection::MANAGER;
use super::resource::ObjectKey;
use crate::clock::Clock;
use crate::object::list;

/// Why a write did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The claim to lead might end before the request arrives.
    #[error("not sent: this process may not lead any more when it arrives")]
    Fenced,
    /// The process only observes: this is what it would have sent.
    #[error("not sent, since nothing is written with --observe-only")]
    Withheld,
    /// The object is not the one, or not in the state, that the write was computed from.
    #[error("it changed meanwhile: {0}")]
    Conflict(String),
    /// A create came second.
    #[error("it exists already")]
    Exists,
    /// The object is not there.
    #[error("it is not there: {0}")]
    Gone(String),
    /// The namespace is being deleted.
    #[error("{0}")]
    NamespaceTerminating(String),
    /// The API server, or an admission policy, does not accept it; its words.
    #[error("{0}")]
    Refused(String),
    /// No answer, or one that says nothing about the write. It may or may not have taken effect.
    #[error("{0}")]
    Passing(String),
}

/// Writes to the cluster.
#[derive(Clone)]
pub struct Writer {
    /// Talks to the API server, without retries of its own.
    pub client: Client,
    /// Where the time comes from.
    pub clock: Clock,
    /// Whether this process may act.
    pub claim: Claim,
    /// Where answers are laid over.
    pub caches: Arc<Caches>,
    /// Nothing is sent.
    pub observe_only: bool,
}

/// Whether a write is for real.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It takes effect.
    Real,
    /// The API server says whether it would accept it.
    Rehearsal,
}

impl Writer {
    /// Creates an object. Never replaces one.
    pub async fn create(&self, key: &ObjectKey, body: &Value, mode: Mode) -> Result<Arc<Value>, WriteError> {
        let params = PostParams {
            dry_run: mode == Mode::Rehearsal,
            field_manager: Some(MANAGER.to_owned()),
        };
        let request = Request::new(key.resource.path(&key.namespace)).create(&params, bytes(body)?);
        self.send("create", key, request, mode).await
    }

    /// Sends a JSON patch that carries its own precondition.
    pub async fn patch(&self, key: &ObjectKey, operations: Operations, mode: Mode) -> Result<Arc<Value>, WriteError> {
        let params = PatchParams {
            dry_run: mode == Mode::Rehearsal,
            ..patch_params()
        };
        let patch: Patch<()> = Patch::Json(operations);
        let request = Request::new(key.resource.path(&key.namespace)).patch(&key.name, &params, &patch);
        self.send("patch", key, request, mode).await
    }

    /// Replaces the status of the object, which must still have the resourceVersion in `body`.
    pub async fn replace_status(&self, key: &ObjectKey, body: &Value) -> Result<Arc<Value>, WriteError> {
        let params = PostParams {
            dry_run: false,
            field_manager: Some(MANAGER.to_owned()),
        };
        let request = Request::new(key.resource.path(&key.namespace)).replace_subresource(
            "status",
            &key.name,
            &params,
            bytes(body)?,
        );
        self.send("update status of", key, request, Mode::Real).await
    }

    /// Deletes the object of this uid.
    pub async fn delete(&self, key: &ObjectKey, live: &Value) -> Result<(), WriteError> {
        let uid = Some(meta::uid(live).to_owned());
        let params = DeleteParams::background().preconditions(Preconditions {
            uid,
            resource_version: None,
        });
        let request = Request::new(key.resource.path(&key.namespace)).delete(&key.name, &params);
        let answer = self.answer("delete", key, request).await;
        if matches!(answer, Ok(_) | Err(WriteError::Gone(_))) {
            self.caches.lay_gone(key);
        }
        answer.map(drop)
    }

    async fn send(&self, verb: &str, key: &ObjectKey, request: Built, mode: Mode) -> Result<Arc<Value>, WriteError> {
        let answer = self.answer(verb, key, request).await?;
        Ok(match mode {
            // The write took the last finalizer: the object is gone, and the watch will say so later.
            Mode::Real if meta::deleting(&answer) && list(&answer, "/metadata/finalizers").is_empty() => {
                self.caches.lay_gone(key);
                Arc::new(answer)
            }
            Mode::Real => self.caches.lay(key, answer),
            Mode::Rehearsal => Arc::new(answer),
        })
    }

    async fn answer(&self, verb: &str, key: &ObjectKey, request: Built) -> Result<Value, WriteError> {
        let request = request.map_err(|error| WriteError::Refused(error.to_string()))?;
        if self.observe_only {
            return Err(WriteError::Withheld);
        }
        if !self.claim.covers(REQUEST) {
            return Err(WriteError::Fenced);
        }
        let answer = match self.clock.timeout(REQUEST, self.client.request::<Value>(request)).await {
            Ok(answer) => answer.map_err(classify),
            Err(_) => Err(WriteError::Passing("no answer in time".into())),
        };
        match &answer {
            Ok(_) => tracing::debug!(namespace = key.namespace, "{verb} {key}"),
            Err(error) => tracing::debug!(namespace = key.namespace, %error, "{verb} {key} failed"),
        }
        answer
    }
}

type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

fn bytes(body: &Value) -> Result<Vec<u8>, WriteError> {
    serde_json::to_vec(body).map_err(|error| WriteError::Refused(error.to_string()))
}

/// What an error means for the one who wrote.
fn classify(error: Error) -> WriteError {
    let Error::Api(status) = error else {
        return WriteError::Passing(error.to_string());
    };
    let words = status.message.clone();
    match status.code {
        409 if status.is_already_exists() => WriteError::Exists,
        409 => WriteError::Conflict(words),
        422 if is_patch_failure(&status) => WriteError::Conflict(words),
        404 => WriteError::Gone(words),
        403 if is_terminating(&status) => WriteError::NamespaceTerminating(words),
        400 | 403 | 405 | 406 | 413 | 415 | 422 => WriteError::Refused(words),
        _ => WriteError::Passing(words),
    }
}

/// Whether a 422 says that the patch did not fit the object, a failed `test` among them, and not that the result would be invalid.
fn is_patch_failure(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status
        .message
        .starts_with("the server rejected our request due to an error in our request")
        || causes
            .into_iter()
            .any(|cause| cause.reason == "UnexpectedServerResponse")
}

/// Whether it was refused because its namespace is being deleted.
pub(super) fn is_terminating(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn meaning(answer: Value) -> WriteError {
        classify(Error::Api(serde_json::from_value::<Status>(answer).unwrap().boxed()))
    }

    #[test]
    fn a_failed_test_in_a_patch_is_a_conflict_and_an_invalid_object_is_a_refusal() {
        let failed = json!({"code": 422, "reason": "Invalid", "message":
            "the server rejected our request due to an error in our request", "details": {}});
        let invalid = json!({"code": 422, "reason": "Invalid", "message": "Service \"a\" is invalid: spec.ports: Required",
            "details": {"causes": [{"reason": "FieldValueRequired", "field": "spec.ports"}]}});
        assert!(matches!(meaning(failed), WriteError::Conflict(_)));
        assert!(matches!(meaning(invalid), WriteError::Refused(words) if words.contains("spec.ports")));
    }

    #[test]
    fn a_namespace_that_goes_is_no_refusal() {
        let going = json!({"code": 403, "reason": "Forbidden", "message": "no", "details": {"causes": [
            {"reason": "NamespaceTerminating", "message": "namespace test is being terminated"}]}});
        let denied = json!({"code": 403, "reason": "Forbidden", "message": "no"});
        assert!(matches!(meaning(going), WriteError::NamespaceTerminating(_)));
        assert!(matches!(meaning(denied), WriteError::Refused(_)));
    }

    #[test]
    fn trouble_of_the_server_passes() {
        for code in [429, 500, 503, 504] {
            assert!(
                matches!(
                    meaning(json!({"code": code, "message": "later"})),
                    WriteError::Passing(_)
                ),
                "{code}"
            );
        }
    }
}
