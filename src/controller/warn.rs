//! What is odd about a Canary and harmless: told once for each generation, as warnings that a person may want to mend.

use sha2::{Digest, Sha256};

use super::configs;
use super::site::{Rules, Site};
use crate::api::validate;
use crate::object::text;
use crate::rollout::Notice;

/// The Event's `action`.
const ACTION: &str = "Warn";

/// A notice for each thing that the spec asks for and that is understood otherwise, or left out by the traffic provider. Equal
/// for equal generations, so that a successor finds what was told before.
pub fn notices(site: &Site, rules: &Rules) -> Vec<Notice> {
    let canary = &site.canary;
    let understood = validate::validate(canary, &site.wanted.provider).unwrap_or_default();
    let mut texts: Vec<String> = understood.iter().map(ToString::to_string).collect();
    if let Some(provider) = site.provider {
        texts.extend(provider.warnings(&site.route_context(rules)));
    }
    texts.extend(frozen(site));
    texts.extend(unpinned(site));
    texts.extend(gone(site));
    texts.extend(recreated(site));
    let generation = canary.metadata.generation.unwrap_or_default();
    told_once(site, &format!("warn-{generation}"), texts)
}

/// Secrets that somebody keeps up to date, and whose copy stays what it was at the last promotion (rank 8 of `spec/users.md`).
fn frozen(site: &Site) -> impl Iterator<Item = String> {
    let unsaid = site
        .configs
        .followed
        .iter()
        .filter(|(config, _)| configs::mode(&site.canary, config).is_none());
    unsaid.filter_map(|(config, copied)| {
        let rotator = copied.digest.rotated_by.as_ref()?;
        Some(format!(
            "spec.configTracking: {config} is kept up to date by {rotator}, and the primary reads the copy of the last promotion; mode live \
             or liveRestart would let it read the Secret itself"
        ))
    })
}

/// What the primary goes on reading itself, since nothing rolls it only because configurations are followed from now on.
fn unpinned(site: &Site) -> Option<String> {
    let before = site.configs.before.present()?;
    let read: Vec<String> = before.originals.iter().map(ToString::to_string).collect();
    (!read.is_empty()).then(|| {
        format!(
            "spec.configTracking: what {} says now is stored for restores, but the pods of the primary go on reading it as it is until the next \
             promotion",
            read.join(", ")
        )
    })
}

/// What was promoted and cannot be stored any more.
fn gone(site: &Site) -> impl Iterator<Item = String> {
    let gone = site.configs.before.present().map(|before| &before.gone);
    gone.into_iter().flatten().map(|config| {
        format!(
            "spec.configTracking: {config}, which the primary reads, does not exist: a restore or a rebuild reads what the original says now"
        )
    })
}

/// A primary whose pods all go at once while nobody else may answer for it.
fn recreated(site: &Site) -> Option<String> {
    let target = site.target.present()?;
    let is_alone = !site.subject.has_route() && text(target, "/spec/strategy/type") == "Recreate";
    is_alone.then(|| {
        format!(
            "spec.targetRef: Deployment {} has strategy Recreate, and provider {} leads every request to the primary: at a promotion nobody \
             answers until its pods are made anew",
            site.subject.target, site.subject.provider
        )
    })
}

/// A warning for each text, which is told once for as long as its Event stands.
pub fn told_once(site: &Site, about: &str, texts: Vec<String>) -> Vec<Notice> {
    let status = site.canary.status.as_ref();
    let phase = status.map(|status| status.phase.as_str().to_owned());
    let notice = |text: String| Notice {
        id: format!("{about}-{}", short_hash(&text)),
        text,
        warning: true,
        action: ACTION.to_owned(),
        phase: phase.clone().unwrap_or_default(),
        alert: None,
        event: true,
    };
    texts.into_iter().map(notice).collect()
}

fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    let start: [u8; 4] = [digest[0], digest[1], digest[2], digest[3]];
    format!("{:08x}", u32::from_be_bytes(start))
}
