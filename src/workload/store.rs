//! The store of revisions: one `ControllerRevision` for each template that a run may have to go back to.
//!
//! The API server keeps `data` of a `ControllerRevision` immutable, so that what was stored before a run is what a
//! restore finds. The hash is computed again at each read: a revision that does not match its name is no revision.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::fingerprint::{fingerprint, sha256_hex, short};
use crate::{
    object::{annotation, ownership},
    rollout::Fingerprint,
};

/// Label on a stored revision: [`label`] of its Canary.
pub const CANARY: &str = "serin.dev/canary";
/// Annotation on a stored revision: the whole fingerprint.
const FINGERPRINT: &str = "serin.dev/fingerprint";
/// Names of objects are no longer than this.
const LONGEST_NAME: usize = 253;
/// Values of labels are no longer than this.
const LONGEST_LABEL: usize = 63;

/// What a stored revision says.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The fingerprint that it was stored under.
    pub fingerprint: Fingerprint,
    /// The pod template.
    pub template: Value,
    /// The template has that fingerprint.
    pub intact: bool,
}

/// The object that stores a target's template. `run` is the number of the run that stored it.
pub fn revision(
    owner: &OwnerReference,
    namespace: &str,
    target: &str,
    fingerprint: &Fingerprint,
    template: &Value,
    run: u64,
) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name(target, fingerprint),
            "namespace": namespace,
            "labels": { CANARY: label(&owner.name) },
            "annotations": { FINGERPRINT: fingerprint.0 },
            "ownerReferences": [ownership::reference(owner)],
        },
        // The place in which StatefulSets keep it, so that tools for revisions can read it.
        "data": { "spec": { "template": template } },
        "revision": run,
    })
}

/// Name of the object that stores this template of the target.
pub fn name(target: &str, fingerprint: &Fingerprint) -> String {
    let digits = short(fingerprint);
    let room = LONGEST_NAME - 1 - digits.len();
    format!("{}-{digits}", target.get(..room).unwrap_or(target))
}

/// The Canary's name as the value of a label: cut, with a hash, where it is too long for one.
pub fn label(canary: &str) -> String {
    if canary.len() <= LONGEST_LABEL {
        return canary.to_owned();
    }
    let hash = sha256_hex(canary.as_bytes());
    let beginning = canary.get(..LONGEST_LABEL - 11).unwrap_or_default();
    format!("{beginning}-{}", &hash[..10])
}

/// Reads a stored revision; `None` when the object is none.
pub fn read(object: &Value) -> Option<Stored> {
    let recorded = Fingerprint(annotation(object, FINGERPRINT)?.to_owned());
    let template = object.pointer("/data/spec/template")?.clone();
    let intact = fingerprint(&template) == recorded;
    Some(Stored {
        fingerprint: recorded,
        template,
        intact,
    })
}
