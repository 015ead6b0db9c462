//! The configurations that the pods of one canary read, as one pass finds them: the target with its template pinned to
//! their present content, or why that cannot be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::look::Look;
use super::meta;
use super::resource::{CanaryKey, ObjectKey, Resource};
use crate::api::{Canary, ConfigMode};
use crate::object::annotation;
use crate::rollout::{Block, Known, Refusal};
use crate::workload::configs::{ConfigKind, ConfigRef, Digest, copy_name, pinned, references};
use crate::workload::{self, REVISION};

/// What the pods read besides their template.
#[derive(Debug, Default)]
pub struct Configs {
    /// Where each followed configuration's copy has its name, and what the original says.
    pub followed: BTreeMap<ConfigRef, Copied>,
    /// What those say that the primary reads live and is rolled for, as one mark; absent where there are none.
    pub rolled_for: Known<String>,
    /// Why the revision of the target cannot be told now.
    pub unknown: bool,
    /// What is wrong with them, for the one who wrote the spec.
    pub refusals: Vec<Refusal>,
    /// They are followed at all.
    pub on: bool,
}

/// One followed configuration.
#[derive(Debug)]
pub struct Copied {
    /// The name of the copy of its present content.
    pub name: String,
    /// Its present content.
    pub digest: Digest,
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
            ..Self::default()
        }
    }

    /// Reads what the target's pods read, and gives its template the names of the copies.
    pub async fn survey(
        look: &Look,
        canary: &Canary,
        key: &CanaryKey,
        block: Option<&Block>,
        target: &mut Known<Arc<Value>>,
        primary: &Known<Arc<Value>>,
    ) -> Self {
        let mut configs = Self {
            on: true,
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
        let names = |config: &ConfigRef| self::key(&key.namespace, config);
        let noted = wanted.iter().chain(&rolled_for).map(|(config, _)| names(config));
        look.caches.note_configs(key, noted.collect::<BTreeSet<_>>());
        configs.read_live(look, &rolled_for, &names).await;
        let name = meta::name(object).to_owned();
        for (config, optional) in wanted {
            match look.config(&names(&config)).await {
                Known::Present(digest) if digest.followed => {
                    let name = copy_name(&name, &config, &digest.content);
                    configs.followed.insert(config, Copied { name, digest });
                }
                Known::Present(_) => {}
                Known::Absent if optional => {}
                Known::Absent => configs.refuse(format!("{config}, which its pods need, does not exist")),
                Known::Forbidden { verb, resource } => configs.refuse(format!(
                    "Serin may not {verb} {resource}, so {config} cannot be followed"
                )),
                Known::Unknown | Known::NoKind { .. } => configs.unknown = true,
            }
        }
        let names = configs.followed.iter();
        let names: BTreeMap<_, _> = names
            .map(|(config, copied)| (config.clone(), copied.name.clone()))
            .collect();
        let pinned = pinned(template, &names);
        if precedes(template, &pinned, block, primary) {
            // It was released before configurations were followed: nothing about it is new, and it stays so.
            return Self {
                on: true,
                rolled_for: configs.rolled_for,
                ..Self::default()
            };
        }
        let mut whole = Value::clone(object);
        whole["spec"]["template"] = pinned;
        *target = Known::Present(Arc::new(whole));
        configs
    }

    /// Reads those that the primary is rolled for.
    async fn read_live(&mut self, look: &Look, wanted: &[(ConfigRef, bool)], names: &impl Fn(&ConfigRef) -> ObjectKey) {
        let (mut said, mut unread) = (Vec::new(), false);
        for (config, _) in wanted {
            match look.config(&names(config)).await {
                Known::Present(digest) => said.push(format!("{config} {}", digest.content)),
                Known::Absent => said.push(format!("{config} -")),
                Known::Forbidden { verb, resource } => {
                    let message = format!("Serin may not {verb} {resource}, so {config} cannot be followed");
                    self.refusals.push(refusal(message));
                }
                Known::Unknown | Known::NoKind { .. } => unread = true,
            }
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

    /// A word for all of them together, which moves when one of them does.
    pub fn anchor(&self) -> String {
        let names: Vec<&str> = self.followed.values().map(|copied| copied.name.as_str()).collect();
        workload::configs::short_hash(&names.join("/"))
    }
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

/// Whether the plain template is a revision that something was done about already, before configurations were followed: by an
/// earlier Serin, or by Flagger, whose primary says nothing of its revision.
fn precedes(plain: &Value, pinned: &Value, block: Option<&Block>, primary: &Known<Arc<Value>>) -> bool {
    if plain == pinned {
        return false;
    }
    let plain = workload::fingerprint(plain);
    match (block, primary) {
        (Some(block), _) => [&block.promoted, &block.running, &block.last_failed]
            .into_iter()
            .any(|known| known.as_ref() == Some(&plain)),
        (None, Known::Present(primary)) => annotation(primary, REVISION).is_none_or(|written| *written == *plain.0),
        (None, _) => false,
    }
}
