//! The Deployment controller: which `ReplicaSets` a Deployment has, how large each is, and what its status says.
//!
//! Written from the documented behaviour of `apps/v1` Deployments: one `ReplicaSet` for each pod template, a revision
//! that moves only with the template, `RollingUpdate` within `maxSurge` and `maxUnavailable`, `Recreate`, `paused`,
//! proportional scaling in the middle of a roll. Everything here is a pure function of what was seen.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde_json::{Value, json};

use super::{
    deployment_status,
    leeway::{Leeway, desired, is_recreate, leeway},
    write::{Kind, Place, What, Write},
};

/// The label that tells the pods of one template from those of another.
pub(super) const HASH_LABEL: &str = "pod-template-hash";
/// The annotation that counts templates: Serin's anchor.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HISTORY: i32 = 10;

/// What a look at a Deployment leads to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// To be sent in order.
    pub(super) writes: Vec<Write>,
    /// When to look again though nothing happened.
    pub(super) wake: Option<DateTime<Utc>>,
}

/// Looks at one Deployment. `owned` are the `ReplicaSets` that it controls, `pods` the pods of those.
pub(super) fn plan(deployment: &Deployment, owned: &[Arc<ReplicaSet>], pods: &[Arc<Pod>], now: DateTime<Utc>) -> Plan {
    if deployment.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    let hash = template_hash(deployment);
    let (new, old): (Vec<_>, Vec<_>) = owned
        .iter()
        .cloned()
        .partition(|set| label(set, HASH_LABEL) == Some(&hash));
    let roll = Roll {
        deployment,
        new: new.first().cloned(),
        old,
        hash,
        leeway: leeway(deployment),
    };
    let mut writes = roll.writes(pods);
    writes.extend(roll.revision_of_deployment());
    let judged = deployment_status::judge(deployment, roll.new.as_deref(), owned, roll.leeway, now);
    writes.extend(judged.writes);
    writes.extend(roll.forgotten());
    Plan {
        writes,
        wake: judged.wake,
    }
}

fn is_paused(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false)
}

/// A name for a pod template, of letters and digits that spell no words.
pub(super) fn template_hash(deployment: &Deployment) -> String {
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(&template).unwrap_or_default().hash(&mut hasher);
    readable(hasher.finish(), 10)
}

/// `length` letters and digits that stand for a number.
pub(super) fn readable(mut number: u64, length: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const BASE: u64 = ALPHABET.len() as u64;
    (0..length)
        .map(|_| {
            let digit = usize::try_from(number % BASE).unwrap_or(0);
            number /= BASE;
            char::from(ALPHABET[digit])
        })
        .collect()
}

fn label<'a>(set: &'a ReplicaSet, key: &str) -> Option<&'a String> {
    set.metadata.labels.as_ref()?.get(key)
}

fn number(annotations: Option<&BTreeMap<String, String>>, key: &str) -> Option<i32> {
    annotations?.get(key)?.parse().ok()
}

pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn available(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
}

fn revision(set: &ReplicaSet) -> i32 {
    number(set.metadata.annotations.as_ref(), REVISION).unwrap_or(0)
}

/// A Deployment between its templates.
struct Roll<'a> {
    deployment: &'a Deployment,
    /// The `ReplicaSet` of the present template.
    new: Option<Arc<ReplicaSet>>,
    old: Vec<Arc<ReplicaSet>>,
    hash: String,
    leeway: Leeway,
}

impl Roll<'_> {
    fn writes(&self, pods: &[Arc<Pod>]) -> Vec<Write> {
        if is_paused(self.deployment) || self.is_resized() {
            let mut writes = self.revise().into_iter().collect::<Vec<_>>();
            writes.extend(self.resize());
            return writes;
        }
        if is_recreate(self.deployment) {
            self.recreate(pods)
        } else {
            self.roll()
        }
    }

    fn wanted(&self) -> i32 {
        desired(self.deployment)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.new.iter().chain(&self.old)
    }

    /// Whether the wanted size changed since the `ReplicaSets` were last sized.
    fn is_resized(&self) -> bool {
        self.all()
            .filter(|set| size(set) > 0)
            .any(|set| number(set.metadata.annotations.as_ref(), DESIRED).is_some_and(|was| was != self.wanted()))
    }

    /// Sizes what there is to the wanted size, in proportion when two templates run.
    fn resize(&self) -> Vec<Write> {
        let active: Vec<_> = self.all().filter(|set| size(set) > 0).collect();
        let newest = self
            .new
            .as_ref()
            .or_else(|| self.old.iter().max_by_key(|set| revision(set)));
        match (active.as_slice(), newest) {
            ([], None) => Vec::new(),
            ([], Some(only)) | (&[only], _) => self.sized(only, self.wanted()).into_iter().collect(),
            (several, _) => {
                let allowed = if self.wanted() > 0 {
                    self.wanted() + self.leeway.surge
                } else {
                    0
                };
                let total: i32 = several.iter().map(|set| size(set)).sum();
                let mut left = allowed;
                let mut writes = Vec::new();
                for set in several.iter().skip(1) {
                    let share = (size(set) * allowed + total / 2) / total.max(1);
                    let share = share.min(left);
                    left -= share;
                    writes.extend(self.sized(set, share));
                }
                writes.extend(self.sized(several[0], left));
                writes
            }
        }
    }

    fn roll(&self) -> Vec<Write> {
        let Some(new) = &self.new else {
            let room = (self.wanted() + self.leeway.surge - self.old.iter().map(|set| size(set)).sum::<i32>()).max(0);
            return vec![self.born(room.min(self.wanted()))];
        };
        let mut writes: Vec<_> = self.revise().into_iter().collect();
        let total: i32 = self.all().map(|set| size(set)).sum();
        let room = self.wanted() + self.leeway.surge - total;
        if size(new) > self.wanted() {
            writes.extend(self.sized(new, self.wanted()));
        } else if size(new) < self.wanted() && room > 0 {
            writes.extend(self.sized(new, self.wanted().min(size(new) + room)));
        } else {
            writes.extend(self.shrink_old(new, total));
            writes.extend(self.sized(new, size(new)));
        }
        writes
    }

    /// Takes replicas from older templates: first those that serve nobody, then as many as availability allows.
    fn shrink_old(&self, new: &ReplicaSet, total: i32) -> Vec<Write> {
        let least = self.wanted() - self.leeway.unavailable;
        let mut budget = total - least - (size(new) - available(new));
        let mut spare = self.all().map(|set| available(set)).sum::<i32>() - least;
        let mut old: Vec<_> = self.old.iter().filter(|set| size(set) > 0).collect();
        old.sort_by_key(|set| revision(set));
        let mut writes = Vec::new();
        for set in old {
            if budget <= 0 {
                break;
            }
            let idle = (size(set) - available(set)).clamp(0, budget);
            let serving = (size(set) - idle).min(spare.max(0)).min(budget - idle);
            spare -= serving;
            budget -= idle + serving;
            if idle + serving > 0 {
                writes.extend(self.sized(set, size(set) - idle - serving));
            }
        }
        writes
    }

    /// All old pods go, and only when the last of them is gone do new ones come.
    fn recreate(&self, pods: &[Arc<Pod>]) -> Vec<Write> {
        let shrunk: Vec<_> = self
            .old
            .iter()
            .filter(|set| size(set) > 0)
            .filter_map(|set| self.sized(set, 0))
            .collect();
        let of_old = |pod: &Arc<Pod>| {
            pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL)) != Some(&self.hash)
                && !matches!(
                    pod.status.as_ref().and_then(|status| status.phase.as_deref()),
                    Some("Failed" | "Succeeded")
                )
        };
        if !shrunk.is_empty() || pods.iter().any(of_old) {
            return shrunk;
        }
        match &self.new {
            None => vec![self.born(self.wanted())],
            Some(new) => self
                .revise()
                .into_iter()
                .chain(self.sized(new, self.wanted()))
                .collect(),
        }
    }

    fn next_revision(&self) -> i32 {
        self.old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1
    }

    /// An old template that became the present one again gets the next revision.
    fn revise(&self) -> Option<Write> {
        let new = self.new.as_ref()?;
        (revision(new) < self.next_revision()).then(|| {
            let revision = self.next_revision().to_string();
            merge(
                Kind::ReplicaSet,
                &new.metadata,
                json!({ "metadata": { "annotations": { REVISION: revision } } }),
            )
        })
    }

    /// The Deployment carries the revision of its present template; a paused one that has none yet keeps its own.
    fn revision_of_deployment(&self) -> Option<Write> {
        let wanted = match &self.new {
            Some(new) => revision(new).max(self.next_revision()),
            None if is_paused(self.deployment) || self.waits_for_old() => return None,
            None => self.next_revision(),
        };
        let has = number(self.deployment.metadata.annotations.as_ref(), REVISION);
        (has != Some(wanted)).then(|| {
            let body = json!({ "metadata": { "annotations": { REVISION: wanted.to_string() } } });
            merge(Kind::Deployment, &self.deployment.metadata, body)
        })
    }

    fn waits_for_old(&self) -> bool {
        is_recreate(self.deployment) || self.is_resized()
    }

    /// A write that gives a `ReplicaSet` this size, if it or its notes about the wanted size differ.
    fn sized(&self, set: &ReplicaSet, replicas: i32) -> Option<Write> {
        let notes = self.size_notes();
        let has = set.metadata.annotations.as_ref();
        let noted = notes
            .iter()
            .all(|(key, value)| has.and_then(|has| has.get(*key)) == Some(value));
        (size(set) != replicas || !noted).then(|| {
            let body = json!({ "metadata": { "annotations": notes }, "spec": { "replicas": replicas } });
            merge(Kind::ReplicaSet, &set.metadata, body)
        })
    }

    fn size_notes(&self) -> BTreeMap<&'static str, String> {
        let most = self.wanted() + self.leeway.surge;
        BTreeMap::from([(DESIRED, self.wanted().to_string()), (MAX, most.to_string())])
    }

    /// The `ReplicaSet` of the present template.
    fn born(&self, replicas: i32) -> Write {
        let (meta, spec) = (
            &self.deployment.metadata,
            self.deployment.spec.clone().unwrap_or_default(),
        );
        let mut template = spec.template;
        let hashed = (HASH_LABEL.to_owned(), self.hash.clone());
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.extend([hashed.clone()]);
        let mut annotations: BTreeMap<_, _> = self.size_notes().into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        annotations.insert(REVISION.to_owned(), self.next_revision().to_string());
        let mut selector = spec.selector;
        selector.match_labels.get_or_insert_default().extend([hashed]);
        let set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{}-{}", meta.name.as_deref().unwrap_or_default(), self.hash)),
                namespace: meta.namespace.clone(),
                labels: Some(labels.clone()),
                annotations: Some(annotations),
                owner_references: Some(vec![owner("apps/v1", "Deployment", meta)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                min_ready_seconds: spec.min_ready_seconds,
                replicas: Some(replicas),
                selector,
                template: Some(template),
            }),
            status: None,
        };
        let name = set.metadata.name.clone().unwrap_or_default();
        Write {
            on: named(Kind::ReplicaSet, &set.metadata, &name),
            what: What::Create(value(&set)),
        }
    }

    /// Old empty `ReplicaSets` beyond `revisionHistoryLimit`.
    fn forgotten(&self) -> Vec<Write> {
        let limit = self
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.revision_history_limit)
            .unwrap_or(HISTORY);
        let done =
            |set: &&Arc<ReplicaSet>| size(set) == 0 && set.status.as_ref().is_none_or(|status| status.replicas == 0);
        let mut empty: Vec<_> = self.old.iter().filter(done).collect();
        empty.sort_by_key(|set| revision(set));
        let extra = empty.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        let deleted = |set: &Arc<ReplicaSet>| {
            let name = set.metadata.name.clone().unwrap_or_default();
            let uid = set.metadata.uid.clone().unwrap_or_default();
            Write {
                on: named(Kind::ReplicaSet, &set.metadata, &name),
                what: What::Delete { uid, grace: None },
            }
        };
        empty.into_iter().take(extra).map(deleted).collect()
    }
}

/// The reference of an object to the one that controls it.
pub(super) fn owner(api_version: &str, kind: &str, meta: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn named(kind: Kind, meta: &ObjectMeta, name: &str) -> Place {
    Place::new(kind, meta.namespace.as_deref().unwrap_or_default(), name)
}

fn merge(kind: Kind, meta: &ObjectMeta, body: Value) -> Write {
    Write {
        on: named(kind, meta, meta.name.as_deref().unwrap_or_default()),
        what: What::Merge(body),
    }
}

/// A typed object as JSON. The types of the API always have a JSON form.
pub(super) fn value(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).expect("a Kubernetes object must have a JSON form")
}
