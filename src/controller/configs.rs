//! The configurations that the pods of one canary read, as one pass finds them: the target with its template pinned to
//! their present content, or why that cannot be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::before::Before;
use super::look::Look;
use super::meta;
use super::resource::{CanaryKey, ObjectKey, Resource};
use crate::api::{Canary, ConfigMode};
use crate::rollout::{Fingerprint, Known, Refusal};
use crate::workload;
use crate::workload::configs::{ConfigKind, ConfigRef, Digest, copy_name, pinned, references};

/// So many are named in the status that are read as they are.
const MOST_NAMED: usize = 16;

/// What the pods read besides their template.
#[derive(Debug, Default)]
pub struct Configs {
    /// Where each followed configuration's copy has its name, and what the original says.
    pub followed: BTreeMap<ConfigRef, Copied>,
    /// What the primary reads that was made before they were followed.
    pub before: Known<Before>,
    /// What those say that the primary reads live and is rolled for, as one mark; absent where there are none.
    pub rolled_for: Known<String>,
    /// What is read as it is, and why.
    pub as_it_is: BTreeMap<ConfigRef, String>,
    /// Why the revision of the target cannot be told now.
    pub unknown: bool,
    /// What is wrong with them, for the one who wrote the spec.
    pub refusals: Vec<Refusal>,
    /// They are followed at all.
    pub on: bool,
    /// The target as the team wrote it.
    target: Option<Arc<Value>>,
}

/// One followed configuration.
#[derive(Debug)]
pub struct Copied {
    /// The name of the copy of its present content.
    pub name: String,
    /// Its content.
    pub digest: Digest,
    /// Where that content is read from.
    pub source: ConfigRef,
}

/// The kind of an object that holds a configuration.
pub const fn resource(kind: ConfigKind) -> Resource {
    match kind {
        ConfigKind::ConfigMap => Resource::CONFIG_MAP,
        ConfigKind::Secret => Resource::SECRET,
    }
}

/// Where a configuration lies.
pub fn key(namespace: &str, config: &ConfigRef) -> ObjectKey {
    ObjectKey::new(resource(config.kind), namespace, &config.name)
}

impl Configs {
    /// Nothing is followed.
    pub fn off() -> Self {
        Self {
            rolled_for: Known::Absent,
            before: Known::Absent,
            ..Self::default()
        }
    }

    /// Reads what the target's pods read, and gives its template the names of the copies.
    pub async fn survey(look: &Look, canary: &Canary, key: &CanaryKey, target: &mut Known<Arc<Value>>) -> Self {
        let mut configs = Self {
            on: true,
            target: target.present().cloned(),
            ..Self::off()
        };
        let Known::Present(object) = target else { return configs };
        let Some(template) = object.pointer("/spec/template") else {
            return configs;
        };
        let read = references(template);
        let (wanted, rolled_for): (Vec<_>, Vec<_>) = read
            .into_iter()
            .filter(|(config, _)| mode(canary, config) != Some(ConfigMode::Live))
            .partition(|(config, _)| mode(canary, config) != Some(ConfigMode::LiveRestart));
        let by_spec = references(template).into_keys().filter_map(|config| {
            let reason = match mode(canary, &config)? {
                ConfigMode::Snapshot => return None,
                ConfigMode::Live => "spec.configTracking says live",
                ConfigMode::LiveRestart => "spec.configTracking says liveRestart",
            };
            Some((config, reason.to_owned()))
        });
        configs.as_it_is.extend(by_spec);
        let names = |config: &ConfigRef| self::key(&key.namespace, config);
        let noted = wanted.iter().chain(&rolled_for).map(|(config, _)| names(config));
        look.caches.note_configs(key, noted.collect::<BTreeSet<_>>());
        configs.read_live(look, &rolled_for, &names).await;
        let name = meta::name(object).to_owned();
        for (config, optional) in wanted {
            match look.config(&names(&config)).await {
                Known::Present(digest) => {
                    if let Some(reason) = digest.left_alone {
                        configs.as_it_is.insert(config, reason);
                        continue;
                    }
                    let (name, source) = (copy_name(&name, &config, &digest.content), config.clone());
                    configs.followed.insert(config, Copied { name, digest, source });
                }
                Known::Absent if optional => {
                    let reason = "it is optional and does not exist";
                    configs.as_it_is.insert(config, reason.to_owned());
                }
                Known::Absent => configs.refuse(missing(&config)),
                Known::Forbidden { verb, resource } => configs.refuse(forbidden(&config, &verb, &resource)),
                Known::Unknown | Known::NoKind { .. } => configs.unknown = true,
            }
        }
        let mut whole = Value::clone(object);
        whole["spec"]["template"] = pinned(template, &self::names(&configs.followed));
        *target = Known::Present(Arc::new(whole));
        configs
    }

    /// The target's pod template as the team wrote it.
    pub fn plain(&self) -> Option<&Value> {
        self.target.as_ref()?.pointer("/spec/template")
    }

    /// The digest of what the target's pods read, where it is followed.
    pub fn digest(&self, config: &ConfigRef) -> Option<&Digest> {
        self.followed.get(config).map(|copied| &copied.digest)
    }

    /// The revision of a primary that was made before they were followed, if it is this one.
    pub fn before_as(&self, fingerprint: &Fingerprint) -> Option<&Before> {
        self.before
            .present()
            .filter(|before| before.fingerprint == *fingerprint)
    }

    /// What a copy of that name is made of.
    pub fn source_of(&self, copy: &ConfigRef) -> Option<&Copied> {
        let before = self.before.present().map(|before| &before.followed);
        let all = before.into_iter().flatten().chain(&self.followed);
        all.filter(|(config, copied)| config.kind == copy.kind && copied.name == copy.name)
            .map(|(_, copied)| copied)
            .next()
    }

    /// Whether the revisions are known by what their pods read, too; `None` while that is not known.
    pub fn follows(&self) -> Option<bool> {
        let unread = self.unknown && self.refusals.is_empty();
        let told = !unread && matches!(self.before, Known::Present(_) | Known::Absent);
        (!self.on || told).then_some(self.on)
    }

    /// Reads those that the primary is rolled for. Without one that its pods need they would not start, so there is nothing to roll it for
    /// until that is back. One that they can do without may be gone: that is a state as any other.
    async fn read_live(&mut self, look: &Look, wanted: &[(ConfigRef, bool)], names: &impl Fn(&ConfigRef) -> ObjectKey) {
        let (mut said, mut unread) = (Vec::new(), false);
        for (config, optional) in wanted {
            let refused = match look.config(&names(config)).await {
                Known::Present(digest) => {
                    said.push(format!("{config} {}", digest.content));
                    continue;
                }
                Known::Absent if *optional => {
                    said.push(format!("{config} -"));
                    continue;
                }
                Known::Absent => Some(missing(config)),
                Known::Forbidden { verb, resource } => Some(forbidden(config, &verb, &resource)),
                Known::Unknown | Known::NoKind { .. } => None,
            };
            unread = true;
            self.refusals.extend(refused.map(refusal));
        }
        self.rolled_for = if unread {
            Known::Unknown
        } else if said.is_empty() {
            Known::Absent
        } else {
            Known::Present(workload::configs::short_hash(&said.join("/")))
        };
    }

    fn refuse(&mut self, message: String) {
        self.unknown = true;
        self.refusals.push(refusal(message));
    }

    /// `status.trackedConfigs`: Flagger's checksum of each; `None` where they are not followed, or not known.
    pub fn tracked(&self) -> Option<BTreeMap<String, String>> {
        let sums = self.followed.iter();
        let sums = sums.map(|(config, copied)| (config.key(), copied.digest.flaggers.clone()));
        (self.on && !self.unknown).then(|| sums.collect())
    }

    /// What is read as it is, and why, for people; `None` where that is not known.
    pub fn untracked(&self) -> Option<BTreeMap<String, String>> {
        let read = self.as_it_is.iter().take(MOST_NAMED);
        let read = read.map(|(config, reason)| (config.to_string(), reason.clone()));
        let seen = !self.on || self.target.is_some();
        (seen && !self.unknown).then(|| read.collect())
    }

    /// A word for all of them together, which moves when one of them does.
    pub fn anchor(&self) -> String {
        let names: Vec<&str> = self.followed.values().map(|copied| copied.name.as_str()).collect();
        workload::configs::short_hash(&names.join("/"))
    }
}

/// The names of the copies.
pub fn names(followed: &BTreeMap<ConfigRef, Copied>) -> BTreeMap<ConfigRef, String> {
    let names = followed.iter();
    names
        .map(|(config, copied)| (config.clone(), copied.name.clone()))
        .collect()
}

fn missing(config: &ConfigRef) -> String {
    format!("{config}, which its pods need, does not exist")
}

fn forbidden(config: &ConfigRef, verb: &str, resource: &str) -> String {
    format!("Serin may not {verb} {resource}, so {config} cannot be followed")
}

fn refusal(message: String) -> Refusal {
    Refusal {
        field: "spec.targetRef".to_owned(),
        message,
    }
}

/// How a person wants it to be followed; `None` where the spec says nothing.
pub fn mode(canary: &Canary, config: &ConfigRef) -> Option<ConfigMode> {
    let mut wanted = canary.spec.config_tracking.iter();
    let it = wanted.find(|it| it.kind == config.kind.as_str() && it.name == config.name)?;
    Some(it.mode)
}
