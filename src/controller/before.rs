//! What a primary reads that was made before its configurations were followed: by Flagger, whose copies are called `<name>-primary`,
//! or while following was off. What was promoted is known by that from then on, and is stored with copies of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::configs::{self, Configs, Copied};
use super::look::Look;
use super::projection;
use crate::api::{Canary, ConfigMode};
use crate::object::annotation;
use crate::rollout::{Block, Fingerprint, Known, may_roll};
use crate::workload::configs::{ConfigRef, Digest, copies, copy_name, digest, pinned, read_as, references};
use crate::workload::primary::{Identity, recover};
use crate::workload::{REVISION, fingerprint};

/// The revision that such a primary runs.
#[derive(Debug)]
pub struct Before {
    /// The identity of its template alone.
    pub plain: Fingerprint,
    /// The identity of the template with the names of the copies.
    pub fingerprint: Fingerprint,
    /// That template.
    pub template: Value,
    /// Where each copy gets its name and its content from.
    pub followed: BTreeMap<ConfigRef, Copied>,
    /// What it reads itself, and no copy of Flagger's.
    pub originals: Vec<ConfigRef>,
    /// What it reads and what is gone.
    pub gone: Vec<ConfigRef>,
}

/// What is read of one configuration.
enum Read {
    /// What its copy is made of.
    Copied(ConfigRef, Digest),
    /// It is read as it is.
    Live,
    /// The copy is gone. With what the original says now, where there is one.
    Gone(Option<Digest>),
    /// That cannot be told now.
    Unknown,
}

/// The primary, and what is known about it.
pub struct Standing<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its Canary.
    pub canary: &'a Canary,
    /// The status.
    pub block: Option<&'a Block>,
    /// It.
    pub primary: &'a Known<Arc<Value>>,
    /// What tells its pods.
    pub identity: Identity<'a>,
    /// The stored revisions, projected.
    pub store: &'a Known<Vec<Arc<Value>>>,
}

impl Before {
    /// Reads what the primary reads; `Absent` where that was followed when it was made, or where nothing of it is followed.
    pub async fn survey(look: &Look, standing: &Standing<'_>, configs: &Configs) -> Known<Self> {
        let (Some(plain), Some(primary)) = (configs.plain(), standing.primary.present()) else {
            return Known::Absent;
        };
        let Some(template) = primary.pointer("/spec/template") else {
            return Known::Absent;
        };
        if !copies(template).is_empty() {
            return Known::Absent;
        }
        let written = annotation(primary, REVISION).map(|written| Fingerprint(written.to_owned()));
        let plain = match fingerprint(plain) {
            same if written.as_ref() == Some(&same) => plain.clone(),
            _ => recover(template, Some(plain), standing.identity),
        };
        let known_as = fingerprint(&plain);
        if written.is_some_and(|written| standing.is_named(&written, &known_as)) {
            return Known::Absent;
        }
        let (mut followed, mut originals, mut gone) = (BTreeMap::new(), Vec::new(), Vec::new());
        let sources = read_as(&plain, template);
        for (config, _) in references(&plain) {
            let source = sources.get(&config).unwrap_or(&config);
            let (source, digest) = match standing.read(look, configs, &config, source).await {
                Read::Copied(source, digest) => (source, digest),
                Read::Live => continue,
                Read::Unknown => return Known::Unknown,
                Read::Gone(original) => {
                    gone.push(source.clone());
                    let Some(digest) = original else { continue };
                    (config.clone(), digest)
                }
            };
            if sources.get(&config) == Some(&config) {
                originals.push(config.clone());
            }
            let name = copy_name(standing.identity.target, &config, &digest.content);
            followed.insert(config, Copied { name, digest, source });
        }
        if followed.is_empty() && gone.is_empty() {
            return Known::Absent;
        }
        let template = pinned(&plain, &configs::names(&followed));
        Known::Present(Self {
            plain: known_as,
            fingerprint: fingerprint(&template),
            template,
            followed,
            originals,
            gone,
        })
    }
}

impl Standing<'_> {
    /// Whether what is written on the primary is the name that it is to have.
    fn is_named(&self, written: &Fingerprint, plain: &Fingerprint) -> bool {
        let is_stored = || {
            let stored = self.store.present().into_iter().flatten();
            stored.filter_map(|it| projection::intact(it)).any(|it| it == *written)
        };
        match self.block.filter(|block| block.pinned) {
            Some(block) if block.promoted.as_ref() == Some(written) || !may_roll(block.stage) => is_stored(),
            _ => written != plain && is_stored(),
        }
    }

    async fn read(&self, look: &Look, configs: &Configs, config: &ConfigRef, source: &ConfigRef) -> Read {
        let by_spec = matches!(
            configs::mode(self.canary, config),
            Some(ConfigMode::Live | ConfigMode::LiveRestart)
        );
        if by_spec || (source == config && configs.as_it_is.contains_key(config)) {
            return Read::Live;
        }
        let original = match configs.digest(config) {
            Some(digest) => Known::Present(digest.clone()),
            None => self.digest(look, config).await,
        };
        let original = match original {
            Known::Present(original) if !original.followed() => return Read::Live,
            Known::Present(original) => Some(original),
            Known::Absent => None,
            Known::Forbidden { .. } => return Read::Live,
            Known::Unknown | Known::NoKind { .. } => return Read::Unknown,
        };
        if source == config {
            return original.map_or(Read::Live, |original| Read::Copied(config.clone(), original));
        }
        match (self.digest(look, source).await, original) {
            // Flagger leaves `binaryData` out of its copies: the original is what they were made of.
            (Known::Present(copy), Some(original)) if copy.flaggers == original.flaggers => {
                Read::Copied(config.clone(), original)
            }
            (Known::Present(copy), _) => Read::Copied(source.clone(), copy),
            (Known::Absent, original) => Read::Gone(original),
            _ => Read::Unknown,
        }
    }

    /// Read live: what the target does not name is in no cache.
    async fn digest(&self, look: &Look, config: &ConfigRef) -> Known<Digest> {
        let whole = look.whole(&configs::key(self.namespace, config)).await;
        whole.map(|whole| digest(&whole))
    }
}
