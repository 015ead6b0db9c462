//! Finds out why pods do not come up: a live list of one side's pods, while a stage waits for them and none has become ready for a
//! while. Nothing of it is watched, and without the right to list pods everything else goes on.

use chrono::{DateTime, TimeDelta, Utc};

use super::held::Held;
use super::meta;
use super::pass::Engine;
use super::site::Site;
use crate::rollout::{self, Block, Known, Observation, Side, Stage};
use crate::workload::pods;

/// Pods that come up take less, as a rule. Each further look waits twice as long as the one before.
const QUIET: TimeDelta = TimeDelta::seconds(20);
/// Looks for one stage; the last comes ten minutes after the first, which is the deadline where the spec names none.
const MOST_LOOKS: u32 = 5;

/// What was found out about the pods of one side in one stage.
#[derive(Debug, Default)]
pub struct Ailing {
    about: Option<(u64, Stage, Side)>,
    looks: u32,
    at: Option<DateTime<Utc>>,
    words: Option<String>,
}

impl Engine {
    /// Completes the observation by what ails the pods that are awaited. Returns when to look again.
    pub(super) async fn ail(
        &self,
        site: &Site,
        block: &Block,
        observation: &mut Observation,
        held: &mut Held,
    ) -> Option<DateTime<Utc>> {
        let Some(side) = rollout::awaited_pods(block, observation) else {
            held.ailing = Ailing::default();
            return None;
        };
        let about = Some((block.run, block.stage, side));
        if held.ailing.about != about {
            held.ailing = Ailing {
                about,
                ..Ailing::default()
            };
        }
        let now = self.look.clock.now();
        let progress = held.memory.progress.map_or(block.since, |progress| progress.at);
        let from = progress.max(block.since);
        let ailing = &mut held.ailing;
        if ailing.at.is_some_and(|at| at < from) {
            // A pod has become ready since: what the others lacked may be over.
            ailing.words = None;
        }
        let after_last = ailing.at.map(|at| at + QUIET * (1 << ailing.looks.min(MOST_LOOKS)));
        let due = after_last.map_or(from + QUIET, |next| next.max(from + QUIET));
        if ailing.looks < MOST_LOOKS && now >= due {
            ailing.looks += 1;
            ailing.at = Some(now);
            if let Some(found) = self.pods_of(site, side).await {
                held.ailing.words = found;
            }
        }
        let workload = match side {
            Side::Primary => &mut observation.primary,
            Side::Canary => &mut observation.target,
        };
        if let (Known::Present(workload), Some(words)) = (workload, &held.ailing.words) {
            let known = workload.trouble.take().into_iter();
            workload.trouble = Some(known.chain([words.clone()]).collect::<Vec<_>>().join("; "));
        }
        (held.ailing.looks < MOST_LOOKS && now < due).then_some(due)
    }

    /// What the side's pods say; `None` when they cannot be listed.
    async fn pods_of(&self, site: &Site, side: Side) -> Option<Option<String>> {
        let selector = site.selector.as_ref().ok()?;
        let value = match side {
            Side::Primary => format!("{}-primary", selector.value),
            Side::Canary => selector.value.clone(),
        };
        let label = format!("{}={value}", selector.key);
        match self.look.pods(meta::namespace(&site.raw), &label).await {
            Known::Present(list) => Some(pods::trouble(&list, &site.keys().workload(side).name)),
            _ => None,
        }
    }
}
