//! What the target of a Canary is now, held against what the status knows of it. Right after a change the status is about the
//! release before, and a revision that waits at rest has left no other trace.
//!
//! The pods of a target may read configurations that are followed: then the revision is the template with the names of their copies
//! in it. The originals are read for that only where the template alone does not tell.

use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::Value;

use super::view::View;
use super::{Desk, ReleaseError, told};
use crate::api::{Canary, ConfigMode};
use crate::controller::configs::{Configs, Copied, mode, names};
use crate::controller::observe::with_configs;
use crate::rollout::{Baseline, Block, Fingerprint, RunResult, Workload};
use crate::workload;
use crate::workload::configs::{ConfigRef, copy_name, digest, pinned, references};

/// What the target is to its Canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// What the primary runs, or is to run.
    Promoted,
    /// What failed last.
    Failed,
    /// What is being released.
    Running,
    /// Something else: it waits at rest, or the controller has not taken note of it yet.
    New,
}

/// What was seen of it.
pub(super) struct Sight {
    pub standing: Standing,
    /// What may not be read. The status is trusted in its place.
    pub unread: Option<String>,
}

/// Looks at the target of this block.
pub(super) async fn look(desk: &Desk<'_>, view: &View, block: &Block) -> Result<Sight, ReleaseError> {
    let (revision, unread) = match get(desk, view, "apps", "Deployment", &block.subject.target).await? {
        Found::There(target) => revision(desk, view, block, target).await?,
        // Without a target nothing newer than what the status says can come.
        Found::Gone => (noted(block).cloned(), None),
        Found::Forbidden(words) => (noted(block).cloned(), Some(words)),
    };
    let is = |known: &Option<Fingerprint>| known.is_some() && *known == revision;
    let standing = if is(&block.promoted) {
        Standing::Promoted
    } else if is(&block.last_failed) {
        Standing::Failed
    } else if is(&block.running) {
        Standing::Running
    } else {
        Standing::New
    };
    Ok(Sight { standing, unread })
}

/// What the status takes the target for.
fn noted(block: &Block) -> Option<&Fingerprint> {
    let failed = block.outcome.as_ref().is_some_and(|it| it.result == RunResult::Failed);
    let rests = if failed { &block.last_failed } else { &block.promoted };
    let noted = block.baseline.as_ref().map(|baseline| &baseline.fingerprint);
    noted.or(rests.as_ref())
}

/// The revision of this target, and what may not be read of it.
async fn revision(
    desk: &Desk<'_>,
    view: &View,
    block: &Block,
    mut target: Value,
) -> Result<(Option<Fingerprint>, Option<String>), ReleaseError> {
    let Ok(mut facts) = workload::target_facts(&target, 100) else {
        return Ok((noted(block).cloned(), None));
    };
    let mut baseline = block.baseline.clone();
    let mut unread = None;
    let known = [&block.promoted, &block.running, &block.last_failed];
    if follows(view) && !known.contains(&&facts.fingerprint) {
        match pin(desk, view, &mut target).await? {
            Pinned::Whole(configs) => {
                let Ok(whole) = workload::target_facts(&target, 100) else {
                    return Ok((None, None));
                };
                facts = with_configs(whole, &configs);
            }
            Pinned::Lacking => return Ok((None, None)),
            Pinned::Unread(words) => {
                // The template's own half of the anchor is left; it does not move with a configuration.
                let anchor = baseline.as_mut().and_then(|baseline| baseline.anchor.as_mut());
                if let Some(anchor) = anchor {
                    anchor.truncate(anchor.find('/').unwrap_or(anchor.len()));
                }
                unread = Some(words);
            }
        }
    }
    let stands = baseline.filter(|baseline| has_stood(baseline, &facts));
    Ok((
        stands.map(|baseline| baseline.fingerprint).or(facts.fingerprint),
        unread,
    ))
}

/// Whether nobody has edited the target since this note of it. A fingerprint alone does not tell: a Serin of another version may spell
/// it differently.
fn has_stood(baseline: &Baseline, target: &Workload) -> bool {
    let paused = baseline.paused || target.paused;
    baseline.uid == target.uid
        && baseline.anchor.is_some()
        && baseline.anchor == target.anchor
        && target.rollout.observed
        && !paused
}

/// Whether the controller follows configurations of this target.
fn follows(view: &View) -> bool {
    let tracked = view.raw.pointer("/status/trackedConfigs").and_then(Value::as_object);
    tracked.is_some_and(|tracked| !tracked.is_empty())
}

/// A target whose template was to get the names of the copies of what its pods read.
enum Pinned {
    /// It has them.
    Whole(Box<Configs>),
    /// One that the pods need does not exist: the controller cannot tell the revision either.
    Lacking,
    /// One may not be read.
    Unread(String),
}

async fn pin(desk: &Desk<'_>, view: &View, target: &mut Value) -> Result<Pinned, ReleaseError> {
    let canary: Option<Canary> = serde_json::from_value(view.raw.clone()).ok();
    let mode = |config: &ConfigRef| canary.as_ref().and_then(|canary| mode(canary, config));
    let template = target.pointer("/spec/template").cloned().unwrap_or_default();
    let name = target
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let mut configs = Configs::off();
    for (config, optional) in references(&template) {
        if matches!(mode(&config), Some(ConfigMode::Live | ConfigMode::LiveRestart)) {
            continue;
        }
        match get(desk, view, "", config.kind.as_str(), &config.name).await? {
            Found::There(object) => {
                let digest = digest(&object);
                if digest.followed() {
                    let name = copy_name(&name, &config, &digest.content);
                    let source = config.clone();
                    configs.followed.insert(config, Copied { name, digest, source });
                }
            }
            Found::Gone if optional => {}
            Found::Gone => return Ok(Pinned::Lacking),
            Found::Forbidden(words) => return Ok(Pinned::Unread(words)),
        }
    }
    let names = names(&configs.followed);
    target["spec"]["template"] = pinned(&template, &names);
    Ok(Pinned::Whole(Box::new(configs)))
}

/// What a read came to.
enum Found {
    There(Value),
    Gone,
    /// The server's words.
    Forbidden(String),
}

async fn get(desk: &Desk<'_>, view: &View, group: &str, kind: &str, name: &str) -> Result<Found, ReleaseError> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    let objects: Api<DynamicObject> = Api::namespaced_with(desk.client.clone(), &view.namespace, &resource);
    match objects.get_opt(name).await {
        Ok(Some(object)) => Ok(Found::There(serde_json::to_value(&object).unwrap_or_default())),
        Ok(None) => Ok(Found::Gone),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Found::Forbidden(status.message)),
        Err(error) => Err(told(error)),
    }
}
