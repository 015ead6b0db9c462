//! `<target>-primary`: the Deployment that serves production, made from a stored revision and changed only by a promotion.

use json_patch::Patch;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Map, Value, json};

pub use super::template::{Identity, recover};
use super::{ATTEMPT, RESTARTED, REVISION, Settings, scale::replicas_of, template};
use crate::{
    object::{child, metadata, ownership, patch, text},
    rollout::Fingerprint,
};

/// Deployment fields that the primary takes from the target.
const FOLLOWED: [&str; 4] = [
    "progressDeadlineSeconds",
    "minReadySeconds",
    "revisionHistoryLimit",
    "strategy",
];
/// Annotations of the target that are about the target itself.
const PERSONAL: [&str; 2] = ["deployment.kubernetes.io/", crate::object::LAST_APPLIED];

/// What one write of the primary is about.
#[derive(Debug, Clone, Copy)]
pub struct PrimaryContext<'a> {
    /// Controller reference to the Canary.
    pub owner: &'a OwnerReference,
    /// Whose primary it is.
    pub identity: Identity<'a>,
    /// The stored revision that it gets.
    pub revision: &'a Fingerprint,
    /// The run that writes it.
    pub run: u64,
    /// How often it has written it anew; 0: the first time.
    pub attempt: u32,
    /// Replicas: of a new primary, or the least of a standing one.
    pub replicas: u32,
}

/// A new primary. `template` is the stored one; everything else is taken from the target as it is (spec/core.md 3.4).
pub fn create(target: &Value, template: &Value, cx: &PrimaryContext<'_>) -> Value {
    let mut annotations = members(target, "annotations");
    annotations.retain(|key, _| !key.contains(template::TOOLKIT) && !is_personal(key));
    annotations.insert(REVISION.to_owned(), cx.revision.0.clone().into());
    let selector = cx.identity.selector;
    let mut primary = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": cx.identity.primary_name(),
            "namespace": text(target, "/metadata/namespace"),
            "labels": labels(target, cx),
            "annotations": annotations,
            "ownerReferences": [ownership::reference(cx.owner)],
        },
        "spec": {
            "replicas": cx.replicas,
            "selector": { "matchLabels": { selector.key.as_str(): selector.primary_value() } },
            "template": copied(template, cx),
        },
    });
    follow(&mut primary, target);
    primary
}

/// The patch that gives a standing primary the stored revision, and the Deployment fields of the target. It never lowers
/// replicas, and holds only for the primary that was seen. Empty when it has all that already.
///
/// Labels and annotations are replaced as spec/core.md 3.4 says, except what the Deployment controller keeps there.
pub fn promote(live: &Value, target: &Value, template: &Value, cx: &PrimaryContext<'_>) -> Patch {
    let mut next = live.clone();
    let mut annotations = members(live, "annotations");
    annotations.retain(|key, _| is_personal(key));
    annotations.extend(included(target, "annotations", cx));
    annotations.insert(REVISION.to_owned(), cx.revision.0.clone().into());
    if cx.attempt > 0 {
        annotations.insert(ATTEMPT.to_owned(), format!("{}/{}", cx.run, cx.attempt).into());
    }
    let metadata = child(&mut next, "metadata");
    metadata.insert("annotations".to_owned(), annotations.into());
    metadata.insert("labels".to_owned(), labels(target, cx).into());
    let spec = child(&mut next, "spec");
    spec.insert("replicas".to_owned(), cx.replicas.max(replicas_of(live)).into());
    spec.insert("template".to_owned(), copied(template, cx));
    follow(&mut next, target);
    patch::at_generation(live, &next)
}

/// The patch by which a standing primary says what it runs. Its pods stay.
pub fn named(live: &Value, revision: &Fingerprint) -> Patch {
    let mut next = live.clone();
    metadata(&mut next, "annotations").insert(REVISION.to_owned(), revision.0.clone().into());
    patch::at_generation(live, &next)
}

/// The patch that rolls a standing primary without changing what it runs, so that its pods read anew what they read live. Empty when it
/// bears the mark already.
pub fn restarted(live: &Value, mark: &str) -> Patch {
    let mut next = live.clone();
    metadata(&mut next["spec"]["template"], "annotations").insert(RESTARTED.to_owned(), mark.into());
    patch::at_generation(live, &next)
}

fn copied(stored: &Value, cx: &PrimaryContext<'_>) -> Value {
    template::copy(stored, cx.identity, &template::salt(&cx.owner.uid, cx.run, cx.attempt))
}

fn follow(primary: &mut Value, target: &Value) {
    let spec = child(primary, "spec");
    for field in FOLLOWED {
        match target.pointer(&format!("/spec/{field}")) {
            Some(value) => spec.insert(field.to_owned(), value.clone()),
            None => spec.remove(field),
        };
    }
}

fn labels(target: &Value, cx: &PrimaryContext<'_>) -> Map<String, Value> {
    let mut labels = included(target, "labels", cx);
    labels.insert(
        cx.identity.selector.key.clone(),
        cx.identity.selector.primary_value().into(),
    );
    labels
}

fn included(target: &Value, key: &str, cx: &PrimaryContext<'_>) -> Map<String, Value> {
    copied_along(target, key, cx.identity.settings)
}

/// Labels or annotations of an object with one of the configured prefixes (spec/core.md 3.3).
pub(super) fn copied_along(target: &Value, key: &str, settings: &Settings) -> Map<String, Value> {
    let prefixes = &settings.include_label_prefixes;
    let wanted = |key: &str| {
        prefixes
            .iter()
            .any(|p| p == "*" || (!p.is_empty() && key.starts_with(p.as_str())))
    };
    let mut members = members(target, key);
    members.retain(|key, _| wanted(key) && !key.contains(template::TOOLKIT) && !is_personal(key));
    members
}

fn members(object: &Value, key: &str) -> Map<String, Value> {
    let members = object.pointer(&format!("/metadata/{key}")).and_then(Value::as_object);
    members.cloned().unwrap_or_default()
}

fn is_personal(key: &str) -> bool {
    PERSONAL.iter().any(|prefix| key.starts_with(prefix))
}
