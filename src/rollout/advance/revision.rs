//! Is the target what we know, or something new? (`design.md`, "Fingerprint"; invariant 5)

use chrono::{DateTime, TimeDelta, Utc};

use super::super::observation::{Memory, Observation, Workload};
use super::super::state::{Baseline, Block, Fingerprint, Stage};

/// A change is taken after this long without another one, so that one commit starts one run.
const QUIET: TimeDelta = TimeDelta::seconds(1);
/// The annotation holds a number. A longer text is somebody's mischief, and no anchor.
const LONGEST_ANCHOR: usize = 32;

/// What the target's template is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The target cannot be judged now: not read, or its controller has not caught up.
    Unknown,
    /// It changed a moment ago; judged at that time.
    Unsettled(DateTime<Utc>),
    /// Only its encoding changed, and its content is not stored under the new name yet; until then it keeps the old one, under which
    /// it would be found if target and primary were lost now.
    Recoded,
    /// Only its encoding changed, by an upgrade of Serin or Kubernetes: the known revision has this fingerprint now.
    Rebased(Fingerprint),
    /// It has this fingerprint.
    Settled(Fingerprint),
}

/// Judges the target's template.
pub fn seen(block: &Block, observation: &Observation, memory: &Memory, now: DateTime<Utc>) -> Seen {
    let Some(target) = observation.target.present() else {
        return Seen::Unknown;
    };
    let Some(fingerprint) = target.fingerprint.clone().filter(|_| target.rollout.observed) else {
        return Seen::Unknown;
    };
    let known = knows(block, &fingerprint);
    if recoded_as(block, observation).is_some() {
        let is_stored = observation
            .stored
            .is_present_and(|stored| stored.contains(&fingerprint));
        return if is_stored {
            Seen::Rebased(fingerprint)
        } else {
            Seen::Recoded
        };
    }
    match &memory.template_seen {
        Some((same, since)) if *same == fingerprint => {
            let at = *since + QUIET;
            if now < at && !known {
                Seen::Unsettled(at)
            } else {
                Seen::Settled(fingerprint)
            }
        }
        _ => Seen::Unsettled(now + QUIET),
    }
}

/// The revision that a run is owed for: settled, neither promoted nor the one that failed last (invariant 5).
pub fn unreleased(
    block: &Block,
    observation: &Observation,
    memory: &Memory,
    now: DateTime<Utc>,
) -> Option<Fingerprint> {
    match seen(block, observation, memory, now) {
        Seen::Settled(fingerprint) => {
            let done = [&block.promoted, &block.last_failed]
                .into_iter()
                .any(|known| known.as_ref() == Some(&fingerprint));
            (!done).then_some(fingerprint)
        }
        _ => None,
    }
}

/// Whether the target's template is no longer the one under test, settled or not: traffic on it is answered at once.
pub fn strayed(block: &Block, observation: &Observation) -> bool {
    let fingerprint = observation
        .target
        .present()
        .and_then(|target| target.fingerprint.as_ref());
    let rebased = block
        .baseline
        .as_ref()
        .is_some_and(|baseline| block.running.as_ref() == Some(&baseline.fingerprint))
        && recoded(block.baseline.as_ref(), observation);
    fingerprint.is_some() && fingerprint != block.running.as_ref() && !rebased
}

/// What counts as the last good revision when the content of the recorded one stands nowhere any more, neither in the store nor in the
/// target or the primary (somebody deleted the one and edited the others): that which the primary serves with.
pub(super) fn replacing_the_lost(block: &Block, observation: &Observation) -> Option<Fingerprint> {
    let promoted = block.promoted.as_ref()?;
    let is_stored = observation.stored.present()?.contains(promoted);
    let in_target = observation.target.present()?.fingerprint.as_ref() == Some(promoted);
    let primary = observation.primary.present()?;
    // What was to be stored under another name may have been gone by then.
    let is_it = primary.fingerprint.as_ref() == Some(promoted) || primary.unpinned.is_some();
    let serves = primary.rollout.complete && is_it;
    let recovered = primary.recovered.clone().filter(|recovered| recovered != promoted);
    recovered.filter(|_| serves && !is_stored && !in_target)
}

/// Whether the primary got the revision of a promotion that had been called off: a write that had been under way arrived late.
pub fn overtaken(block: &Block, observation: &Observation) -> bool {
    let promotes = matches!(
        block.stage,
        Stage::Initializing
            | Stage::Promoting
            | Stage::Returning
            | Stage::Finalising
            | Stage::HoldOnCanary
            | Stage::Restoring
            | Stage::Leaving
    );
    let called_off = block.copied.is_some() && block.copied != block.promoted;
    !promotes
        && called_off
        && observation
            .primary
            .is_present_and(|primary| primary.fingerprint == block.copied)
}

/// The fingerprint that a known revision has in its new encoding, while the block knows it by the old one only.
pub fn recoded_as(block: &Block, observation: &Observation) -> Option<Fingerprint> {
    let fingerprint = observation.target.present()?.fingerprint.as_ref()?;
    // A baseline taken of a revision that nothing was done about yet must not swallow it.
    let told_apart = block
        .baseline
        .as_ref()
        .filter(|baseline| knows(block, &baseline.fingerprint));
    let is_other = !knows(block, fingerprint) && recoded(told_apart, observation);
    is_other.then(|| fingerprint.clone())
}

/// Whether the template reads differently although nobody edited it: the anchor stands, and either the object's generation does as
/// well, or the versions moved.
fn recoded(baseline: Option<&Baseline>, observation: &Observation) -> bool {
    let (Some(baseline), Some(target)) = (baseline, observation.target.present()) else {
        return false;
    };
    let untouched = baseline.generation.is_some() && baseline.generation == target.generation;
    stands(baseline, target) && (untouched || baseline.versions != observation.versions)
}

/// Whether the anchor stands, and no pause could have kept it from moving.
fn stands(baseline: &Baseline, target: &Workload) -> bool {
    baseline.uid == target.uid
        && baseline.anchor.is_some()
        && baseline.anchor == target.anchor
        && !baseline.paused
        && !target.paused
}

/// Whether it hangs on the versions if this template is a new one, so that they are worth asking for anew: those of the observation
/// may be from before an upgrade.
pub fn in_doubt(block: &Block, observation: &Observation) -> bool {
    let (Some(baseline), Some(target)) = (&block.baseline, observation.target.present()) else {
        return false;
    };
    let unknown = target.fingerprint.as_ref().is_some_and(|it| !knows(block, it));
    unknown && target.rollout.observed && stands(baseline, target) && !recoded(Some(baseline), observation)
}

/// The note that a write of this block takes of the target. While the block still knows the revision by its old encoding the old note
/// stays, since it alone tells that nothing but the encoding changed.
pub(super) fn next_baseline(block: &Block, observation: &Observation) -> Option<Baseline> {
    let Some(baseline) = baseline(observation) else {
        return same_template(block.baseline.as_ref()?, observation);
    };
    let held = recoded(block.baseline.as_ref(), observation) && !knows(block, &baseline.fingerprint);
    let stale = block
        .baseline
        .as_ref()
        .is_some_and(|old| knows(block, &old.fingerprint));
    (!(held && stale)).then_some(baseline)
}

/// The note of a target that was only scaled: its controller has not caught up, but the template is the one that was noted.
fn same_template(old: &Baseline, observation: &Observation) -> Option<Baseline> {
    let target = observation.target.present()?;
    let same = old.uid == target.uid && target.fingerprint.as_ref() == Some(&old.fingerprint);
    same.then(|| Baseline {
        generation: target.generation,
        ..old.clone()
    })
}

/// Whether something was done, or is being done, about this revision.
fn knows(block: &Block, fingerprint: &Fingerprint) -> bool {
    [&block.promoted, &block.running, &block.last_failed]
        .into_iter()
        .any(|known| known.as_ref() == Some(fingerprint))
}

/// The note of the target as it is, when it can be taken.
pub(super) fn baseline(observation: &Observation) -> Option<Baseline> {
    let target = observation.target.present().filter(|target| target.rollout.observed)?;
    Some(Baseline {
        uid: target.uid.clone(),
        fingerprint: target.fingerprint.clone()?,
        anchor: target.anchor.clone().filter(|anchor| anchor.len() <= LONGEST_ANCHOR),
        generation: target.generation,
        paused: target.paused,
        versions: observation.versions.clone(),
    })
}

impl Block {
    /// Where configurations are followed from now on, the revisions are known by what their pods read from now on, too: what was promoted by
    /// what the primary reads, the others by what the target reads. Nothing about them is new.
    pub(super) fn follow_configs(&mut self, observation: &Observation) {
        if let Some(untracked) = &observation.untracked {
            self.untracked.clone_from(untracked);
        }
        let sides = (observation.primary.present(), observation.target.present());
        let told = sides.1.is_some_and(|target| target.fingerprint.is_some())
            && (sides.0.is_some() || observation.primary.is_absent());
        match observation.follows_configs {
            Some(true) if !self.pinned && told => {}
            Some(false) if self.pinned => {
                self.pinned = false;
                return;
            }
            _ => return,
        }
        let (primary, target) = sides;
        let rename = |known: &mut Option<Fingerprint>, sides: [Option<&Workload>; 2]| {
            let mut sides = sides.into_iter().flatten();
            let side = sides.find(|side| side.unpinned.is_some() && side.unpinned == *known);
            if let Some(side) = side {
                known.clone_from(&side.fingerprint);
            }
        };
        rename(&mut self.promoted, [primary, target]);
        rename(&mut self.copied, [primary, target]);
        rename(&mut self.running, [target, primary]);
        rename(&mut self.last_failed, [target, primary]);
        self.pinned = true;
    }

    /// Gives the revision that the baseline stood for its new fingerprint.
    pub(super) fn rebase(&mut self, fingerprint: &Fingerprint) {
        let Some(old) = self.baseline.as_ref().map(|baseline| baseline.fingerprint.clone()) else {
            return;
        };
        for known in [
            &mut self.promoted,
            &mut self.running,
            &mut self.last_failed,
            &mut self.last_promoted,
            &mut self.copied,
        ] {
            if known.as_ref() == Some(&old) {
                *known = Some(fingerprint.clone());
            }
        }
    }
}
