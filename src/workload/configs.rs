//! The `ConfigMap`s and Secrets that pods read, and the copies of them that the primary's pods read instead (spec/core.md 3.5).
//!
//! A copy is named by its content: `<name>-primary-<hash>`. A target's template with the names of the copies in it, the
//! *pinned* template, therefore says all that its pods run with: it is what is fingerprinted, stored, promoted and
//! restored, and a change of a config is a change of it. A copy is immutable and is never written a second time, so the
//! pods of the primary read the same bytes until a promotion gives them another name (Flagger overwrites its copies
//! before it rolls the primary: spec/core.md 7.3 W20). The target's name is in the hash: two canaries share no copy.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Map, Value, json};

use super::fingerprint::{canonical, sha256_hex};
use super::{Settings, primary::copied_along, store};
use crate::object::{annotation, is_empty, list, ownership, text};

/// Annotation by which an object is not followed; any value that starts with `disable` (Flagger's name).
const OPT_OUT: &str = "flagger.app/config-tracking";
/// What follows the original's name in the name of a copy, before the hash.
const INFIX: &str = "-primary-";
/// Digits of the hash in the name of a copy.
const DIGITS: usize = 16;
/// Names of objects are no longer than this.
const LONGEST_NAME: usize = 253;
/// The types of Secrets that are followed, as Flagger; others, such as tokens, belong to somebody else.
const FOLLOWED: [&str; 4] = [
    "Opaque",
    "kubernetes.io/basic-auth",
    "kubernetes.io/ssh-auth",
    "kubernetes.io/tls",
];

/// Kinds whose controllers write Secrets anew when what is behind them changes.
const ROTATORS: [&str; 5] = [
    "ExternalSecret",
    "VaultStaticSecret",
    "VaultDynamicSecret",
    "VaultPKISecret",
    "Certificate",
];
/// Where cert-manager names the Certificate of a Secret.
const CERTIFICATE: &str = "cert-manager.io/certificate-name";

/// What holds a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKind {
    /// `ConfigMap`.
    ConfigMap,
    /// `Secret`.
    Secret,
}

impl ConfigKind {
    /// Its kind, as manifests name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// A configuration, by kind and name; it lies in the namespace of the pods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigRef {
    /// Its kind.
    pub kind: ConfigKind,
    /// Its name.
    pub name: String,
}

impl ConfigRef {
    /// The key in `status.trackedConfigs` (spec/core.md 1.4).
    pub fn key(&self) -> String {
        format!("{}/{}", self.kind.as_str().to_lowercase(), self.name)
    }
}

impl fmt::Display for ConfigRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// What one state of a configuration says. Holds no value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// Sha-256 of all that a pod can read of it, in hex.
    pub content: String,
    /// Flagger's checksum: sixteen digits, without `binaryData`.
    pub flaggers: String,
    /// Who keeps a Secret up to date, such as `ExternalSecret db`, if somebody does.
    pub rotated_by: Option<String>,
    /// Why it is not followed, where it is opted out of or of a type that is left alone.
    pub left_alone: Option<String>,
}

impl Digest {
    /// Whether the primary reads a copy of it.
    pub const fn followed(&self) -> bool {
        self.left_alone.is_none()
    }
}

/// Reads the digest off a whole object.
pub fn digest(object: &Value) -> Digest {
    let opted_out = annotation(object, OPT_OUT).is_some_and(|value| value.starts_with("disable"));
    let type_ = object.get("type").and_then(Value::as_str);
    let other = type_.filter(|type_| !FOLLOWED.contains(type_));
    let left_alone = match other {
        _ if opted_out => Some(format!("its annotation {OPT_OUT} says so")),
        other => other.map(|type_| format!("its type is {type_}")),
    };
    Digest {
        uid: text(object, "/metadata/uid").to_owned(),
        version: text(object, "/metadata/resourceVersion").to_owned(),
        content: content(object),
        flaggers: flaggers(object),
        rotated_by: rotator(object),
        left_alone,
    }
}

/// Who writes a Secret again and again: its controller, where that is one whose business it is, or cert-manager.
fn rotator(object: &Value) -> Option<String> {
    let owners = list(object, "/metadata/ownerReferences");
    let owner = owners.iter().find(|owner| ROTATORS.contains(&text(owner, "/kind")));
    let certificate = annotation(object, CERTIFICATE).map(|name| format!("Certificate {name}"));
    owner
        .map(|owner| format!("{} {}", text(owner, "/kind"), text(owner, "/name")))
        .or(certificate)
}

/// Sha-256 of `data`, `binaryData` and `type`, in hex.
pub fn content(object: &Value) -> String {
    let mut said = Map::new();
    for field in ["data", "binaryData", "type"] {
        if let Some(value) = object.get(field).filter(|value| !is_empty(value)) {
            said.insert(field.to_owned(), value.clone());
        }
    }
    sha256_hex(canonical(&said.into()).as_bytes())
}

/// The first eight bytes, in hex, of the SHA-256 of `data` as Go writes it in JSON (spec/core.md, Appendix A).
fn flaggers(object: &Value) -> String {
    let data = object.get("data").cloned().unwrap_or_default();
    let escaped = |letter: char| match letter {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", u32::from(letter)),
        other => other.to_string(),
    };
    let json: String = canonical(&data).chars().map(escaped).collect();
    let mut hex = sha256_hex(json.as_bytes());
    hex.truncate(DIGITS);
    hex
}

/// Everything that the pods of a template read, and whether they start without it: `optional` where every reference is.
pub fn references(template: &Value) -> BTreeMap<ConfigRef, bool> {
    let mut found = BTreeMap::new();
    each(&mut template.clone(), &mut |reference, optional, _| {
        let all = found.entry(reference).or_insert(true);
        *all &= optional;
    });
    found
}

/// The template with these names in place of the plain ones.
pub fn pinned(template: &Value, names: &BTreeMap<ConfigRef, String>) -> Value {
    let mut pinned = template.clone();
    each(&mut pinned, &mut |reference, _, name| {
        if let Some(copy) = names.get(&reference) {
            *name = copy.as_str().into();
        }
    });
    pinned
}

/// What the pods of `template` read in place of each configuration that `plain` names, which is the same template with other names.
pub fn read_as(plain: &Value, template: &Value) -> BTreeMap<ConfigRef, ConfigRef> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    each(&mut plain.clone(), &mut |reference, _, _| ours.push(reference));
    each(&mut template.clone(), &mut |reference, _, _| theirs.push(reference));
    ours.into_iter().zip(theirs).collect()
}

/// The copies that a pinned template names, as far as names tell: a team may name its own objects like that.
pub fn copies(template: &Value) -> Vec<ConfigRef> {
    references(template)
        .into_keys()
        .filter(|it| is_a_copy(&it.name))
        .collect()
}

/// The name of the copy of a configuration with this [`Digest::content`], for the primary of `target`.
pub fn copy_name(target: &str, original: &ConfigRef, content: &str) -> String {
    let hash = sha256_hex(format!("{target}/{}/{}/{content}", original.kind.as_str(), original.name).as_bytes());
    let room = LONGEST_NAME - INFIX.len() - DIGITS;
    let name = original.name.get(..room).unwrap_or(&original.name);
    let name = name.trim_end_matches(['-', '.']);
    format!("{name}{INFIX}{}", &hash[..DIGITS])
}

/// The copy of `original`, by that name.
pub fn copy(original: &Value, kind: ConfigKind, name: &str, owner: &OwnerReference, settings: &Settings) -> Value {
    let mut labels = copied_along(original, "labels", settings);
    labels.insert(store::CANARY.to_owned(), store::label(&owner.name).into());
    let mut copy = json!({
        "apiVersion": "v1",
        "kind": kind.as_str(),
        "metadata": {
            "name": name,
            "namespace": text(original, "/metadata/namespace"),
            "labels": labels,
            "ownerReferences": [ownership::reference(owner)],
        },
        "immutable": true,
    });
    for field in ["data", "binaryData", "type"] {
        if let Some(value) = original.get(field).filter(|value| !is_empty(value)) {
            copy[field] = value.clone();
        }
    }
    copy
}

/// Eight digits that tell texts apart.
pub fn short_hash(text: &str) -> String {
    let mut hash = sha256_hex(text.as_bytes());
    hash.truncate(8);
    hash
}

fn is_a_copy(name: &str) -> bool {
    let hash = name.rsplit_once(INFIX).map(|(_, hash)| hash);
    hash.is_some_and(|hash| hash.len() == DIGITS && hash.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

type Visit<'a> = &'a mut dyn FnMut(ConfigRef, bool, &mut Value);

/// Goes through every place of a template that names a configuration: volumes, also projected ones, and the environment
/// of containers, init containers and sidecars (which are init containers).
fn each(template: &mut Value, visit: Visit<'_>) {
    use ConfigKind::{ConfigMap, Secret};
    for volume in items(template.pointer_mut("/spec/volumes")) {
        one(volume.get_mut("configMap"), "name", ConfigMap, visit);
        one(volume.get_mut("secret"), "secretName", Secret, visit);
        for source in items(volume.pointer_mut("/projected/sources")) {
            one(source.get_mut("configMap"), "name", ConfigMap, visit);
            one(source.get_mut("secret"), "name", Secret, visit);
        }
    }
    for containers in ["/spec/containers", "/spec/initContainers"] {
        for container in items(template.pointer_mut(containers)) {
            for variable in items(container.get_mut("env")) {
                one(
                    variable.pointer_mut("/valueFrom/configMapKeyRef"),
                    "name",
                    ConfigMap,
                    visit,
                );
                one(variable.pointer_mut("/valueFrom/secretKeyRef"), "name", Secret, visit);
            }
            for source in items(container.get_mut("envFrom")) {
                one(source.get_mut("configMapRef"), "name", ConfigMap, visit);
                one(source.get_mut("secretRef"), "name", Secret, visit);
            }
        }
    }
}

fn one(reference: Option<&mut Value>, field: &str, kind: ConfigKind, visit: Visit<'_>) {
    let Some(reference) = reference else { return };
    let optional = reference.get("optional").and_then(Value::as_bool).unwrap_or(false);
    let Some(name) = reference.get_mut(field) else { return };
    let Some(plain) = name.as_str().filter(|plain| !plain.is_empty()).map(str::to_owned) else {
        return;
    };
    visit(ConfigRef { kind, name: plain }, optional, name);
}

fn items(list: Option<&mut Value>) -> &mut [Value] {
    list.and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}
