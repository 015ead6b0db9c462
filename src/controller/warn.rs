//! What is odd about a Canary and harmless: told once for each generation, as warnings that a person may want to mend.

use sha2::{Digest, Sha256};

use super::site::{Rules, Site};
use crate::api::validate;
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
    let generation = canary.metadata.generation.unwrap_or_default();
    let phase = canary.status.as_ref().map(|status| status.phase.as_str().to_owned());
    let notice = |text: String| Notice {
        id: format!("warn-{generation}-{}", short_hash(&text)),
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
