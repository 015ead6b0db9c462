//! The primary's pod template: made from a stored revision, and read back to the revision that it was made from.
//!
//! The copy differs from its revision in four ways (spec/core.md 3.3 and 3.4), and reading back undoes them:
//! - the selector label's value, and terms about the workload's own pods, end in `-primary`;
//! - the annotation `flagger-id` is added, so that every promotion rolls the pods;
//! - labels and annotations of the Flux toolkit are left out. A target that has them tells which ones;
//! - Flagger's copies of configs end in `-primary`. A target that refers to the plain name in the same place tells it.
//!
//! The API server defaults, sorts and drops nulls alike on both sides, and the fingerprint ignores what it may store in
//! two ways, so that `fingerprint(recover(copy(t)))` is `fingerprint(t)` also across a write and a read.

use serde_json::{Map, Value};

use super::{RESTARTED, Selector, Settings, fingerprint::sha256_hex};
use crate::object::{as_map, is_empty, metadata};

/// Pod annotation that changes with every promotion (Flagger's name).
pub(super) const FLAGGER_ID: &str = "flagger-id";
/// Keys that contain this are Flux's own and are never copied.
pub(super) const TOOLKIT: &str = "toolkit.fluxcd.io";
const SUFFIX: &str = "-primary";

/// What tells the pods of a target from those of its primary.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Name of the target.
    pub target: &'a str,
    /// The label that tells its pods.
    pub selector: &'a Selector,
    /// Which labels may be such a label.
    pub settings: &'a Settings,
}

impl Identity<'_> {
    /// Name of the primary workload.
    pub fn primary_name(&self) -> String {
        format!("{}{SUFFIX}", self.target)
    }

    /// Whether a label of that key and value means the target's own pods. Flagger compares with the Deployment's name
    /// alone (spec/core.md 7.3 W39).
    fn is_own(&self, key: &str, value: &str) -> bool {
        let accepted = self.settings.selector_labels.iter().any(|label| label == key);
        accepted && (value == self.target || (key == self.selector.key && value == self.selector.value))
    }

    fn primarys(self, key: &str, value: &str) -> Option<String> {
        self.is_own(key, value).then(|| format!("{value}{SUFFIX}"))
    }

    fn targets(self, key: &str, value: &str) -> Option<String> {
        let own = value.strip_suffix(SUFFIX)?;
        self.is_own(key, own).then(|| own.to_owned())
    }
}

/// The primary's pod template for a stored revision. `salt` becomes the annotation `flagger-id`.
pub(super) fn copy(template: &Value, identity: Identity<'_>, salt: &str) -> Value {
    let mut copied = template.clone();
    let labels = metadata(&mut copied, "labels");
    labels.retain(|key, _| !key.contains(TOOLKIT));
    labels.insert(identity.selector.key.clone(), identity.selector.primary_value().into());
    let annotations = metadata(&mut copied, "annotations");
    annotations.retain(|key, _| !key.contains(TOOLKIT));
    annotations.insert(FLAGGER_ID.to_owned(), salt.into());
    each_own_term(&mut copied, &|key, value| identity.primarys(key, value));
    copied
}

/// The revision that a primary's pod template was made from, as far as the template alone tells.
///
/// With the target's template (`like`), also what only the target can tell: names of configs, and what Flux's keys were.
pub fn recover(primary: &Value, like: Option<&Value>, identity: Identity<'_>) -> Value {
    let mut template = primary.clone();
    let labels = metadata(&mut template, "labels");
    if labels.get(&identity.selector.key).and_then(Value::as_str) == Some(&identity.selector.primary_value()) {
        labels.insert(identity.selector.key.clone(), identity.selector.value.clone().into());
    }
    let annotations = metadata(&mut template, "annotations");
    annotations.remove(FLAGGER_ID);
    annotations.remove(RESTARTED);
    each_own_term(&mut template, &|key, value| identity.targets(key, value));
    if let Some(like) = like {
        for key in ["labels", "annotations"] {
            put_back(metadata(&mut template, key), like.pointer(&format!("/metadata/{key}")));
        }
        rename_configs("", &mut template["spec"], &like["spec"]);
    }
    let metadata = crate::object::child(&mut template, "metadata");
    metadata.retain(|_, member| !is_empty(member));
    if metadata.is_empty() {
        as_map(&mut template).remove("metadata");
    }
    template
}

/// A UUID that is the same for the same Canary, run and attempt.
pub(super) fn salt(canary_uid: &str, run: u64, attempt: u32) -> String {
    let again = if attempt == 0 {
        String::new()
    } else {
        format!(".{attempt}")
    };
    let hex = sha256_hex(format!("{canary_uid}/{run}{again}/{FLAGGER_ID}").as_bytes());
    // Version 8 and variant 8 mark a UUID of the maker's own recipe (RFC 9562, 5.8).
    format!(
        "{}-{}-8{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

/// Labels and annotations that copying leaves out.
fn put_back(members: &mut Map<String, Value>, like: Option<&Value>) {
    let left_out = like.and_then(Value::as_object).into_iter().flatten();
    for (key, value) in left_out.filter(|(key, _)| key.contains(TOOLKIT) || *key == FLAGGER_ID) {
        members.entry(key).or_insert_with(|| value.clone());
    }
}

/// Goes through every term about the workload's own pods: constraints of spread, affinity and anti-affinity between
/// pods. Flagger leaves affinity alone, so that a primary that wants to be near its own kind waits for the canary's
/// pods; here it is near the primary's (W39).
fn each_own_term(template: &mut Value, rename: &dyn Fn(&str, &str) -> Option<String>) {
    let constraints = template.pointer_mut("/spec/topologySpreadConstraints");
    for constraint in items(constraints) {
        rename_selector(constraint.get_mut("labelSelector"), rename);
    }
    for affinity in ["podAffinity", "podAntiAffinity"] {
        let place = format!("/spec/affinity/{affinity}");
        let required = template.pointer_mut(&format!("{place}/requiredDuringSchedulingIgnoredDuringExecution"));
        for term in items(required) {
            rename_selector(term.get_mut("labelSelector"), rename);
        }
        let preferred = template.pointer_mut(&format!("{place}/preferredDuringSchedulingIgnoredDuringExecution"));
        for term in items(preferred) {
            rename_selector(term.pointer_mut("/podAffinityTerm/labelSelector"), rename);
        }
    }
}

fn rename_selector(selector: Option<&mut Value>, rename: &dyn Fn(&str, &str) -> Option<String>) {
    let Some(selector) = selector else { return };
    for (key, value) in selector
        .get_mut("matchLabels")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        if let Some(renamed) = value.as_str().and_then(|value| rename(key, value)) {
            *value = renamed.into();
        }
    }
    for expression in items(selector.get_mut("matchExpressions")) {
        let key = expression["key"].as_str().unwrap_or_default().to_owned();
        // Only the first of them, as Flagger: the list may name the primary's pods beside it.
        let renamed = items(expression.get_mut("values"))
            .iter_mut()
            .find_map(|value| Some((rename(&key, value.as_str()?)?, value)));
        if let Some((renamed, value)) = renamed {
            *value = renamed.into();
        }
    }
}

/// Gives references to `<config>-primary` their plain name where `like` has it in the same place.
fn rename_configs(place: &str, here: &mut Value, like: &Value) {
    const REFERENCES: [&str; 6] = [
        "configMap",
        "secret",
        "configMapKeyRef",
        "secretKeyRef",
        "configMapRef",
        "secretRef",
    ];
    match (here, like) {
        (Value::Object(members), Value::Object(_)) => {
            for (key, member) in members {
                let counterpart = &like[key.as_str()];
                let is_name = REFERENCES.contains(&place) && (key == "name" || key == "secretName");
                match (member.as_str(), counterpart.as_str()) {
                    (Some(name), Some(plain)) if is_name && name.strip_suffix(SUFFIX) == Some(plain) => {
                        *member = plain.into();
                    }
                    _ => rename_configs(key, member, counterpart),
                }
            }
        }
        (Value::Array(elements), Value::Array(others)) => {
            for (index, element) in elements.iter_mut().enumerate() {
                let namesake = others
                    .iter()
                    .find(|it| !is_empty(&it["name"]) && it["name"] == element["name"]);
                if let Some(counterpart) = namesake.or_else(|| others.get(index)) {
                    rename_configs(place, element, counterpart);
                }
            }
        }
        _ => {}
    }
}

fn items(list: Option<&mut Value>) -> &mut [Value] {
    list.and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}
