//! Not all at once: a release or an initialisation takes a slot, and who finds none waits in line (rank 56 of `spec/users.md`).
//!
//! One commit to a shared base can change every application of a cluster. Without a limit all of them scale up in the same minute and
//! none finds room for its pods. The line is made of statuses alone, so that a new leader, and anybody who reads, finds the same one.
//!
//! It is fair: of those who wait, the next is one whose namespace has the fewest at work, and of these the one that waits longest. Who
//! waits for a person gives the slot back, so that neither a closed gate nor a pause ever stops the others; it goes on without asking
//! when the person has spoken, and asks again before it begins with a newer revision.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::public;
use super::state::{Block, Fingerprint, Stage};

/// The reason in [`super::Why`] of a canary that waits in line.
pub const QUEUED: &str = "Queued";

/// How many canaries may work at the same time; `None`: as many as there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all namespaces together.
    pub fleet: Option<NonZeroU32>,
    /// In any one namespace.
    pub namespace: Option<NonZeroU32>,
}

impl Default for Limits {
    /// 64 and 16: enough for a fleet of a thousand, and few enough for its nodes.
    fn default() -> Self {
        Self {
            fleet: NonZeroU32::new(64),
            namespace: NonZeroU32::new(16),
        }
    }
}

/// A place in line, as the status remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queued {
    /// Since when it waits.
    pub since: DateTime<Utc>,
    /// The revision whose gates have passed; none for an initialisation, and for a run that had given its slot back and returns for a
    /// newer revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Fingerprint>,
}

/// What a canary is to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// It has a slot.
    Working,
    /// It waits for one since then.
    Queued(DateTime<Utc>),
    /// It wants none.
    Idle,
}

/// What this block is to the line.
pub fn stands(block: &Block) -> Stands {
    if block.why.reason == QUEUED {
        let since = block.queued.as_ref().map(|queued| queued.since);
        return since.map_or(Stands::Idle, Stands::Queued);
    }
    let awaits_a_person = block.gate.is_some()
        || block.words.paused.is_some()
        || matches!(block.why.reason.as_str(), "Suspended" | "TargetTaken");
    match block.stage {
        // These wait for a person, bring back what was good, or go.
        Stage::Resting
        | Stage::Waiting
        | Stage::WaitingPromotion
        | Stage::HoldOnCanary
        | Stage::Restoring
        | Stage::Leaving => Stands::Idle,
        // Nothing was made for it yet, or it waits for somebody to mend what is in its way.
        Stage::Initializing if block.promoted.is_none() || public::needs_help(block) => Stands::Idle,
        Stage::Raising | Stage::Stepping if awaits_a_person => Stands::Idle,
        // It gave its slot back before the newer revision came.
        Stage::Restarting if block.queued.is_some() => Stands::Idle,
        _ => Stands::Working,
    }
}

/// Whether the change from the one block to the other needs a slot. What is under way goes on without asking again.
pub fn begins(old: Option<&Block>, new: &Block) -> bool {
    let Some(old) = old else { return false };
    match new.stage {
        Stage::Raising => {
            matches!(old.stage, Stage::Resting | Stage::Waiting)
                || (new.run != old.run && stands(old) != Stands::Working)
        }
        Stage::Initializing => old.promoted.is_none() && new.promoted.is_some(),
        _ => false,
    }
}

/// One canary in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender<'a> {
    /// Who it is: a uid, or whatever tells canaries apart.
    pub id: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// What it is to the line.
    pub stands: Stands,
}

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// How many are at work where the limit was reached.
    pub working: u32,
    /// The limit that was reached.
    pub limit: NonZeroU32,
    /// Whether it is the one of the namespace.
    pub in_namespace: bool,
}

/// The line: who waits, in the order in which they get slots, and how many slots are free for them now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// Ids in their order. Those whose namespace is full stand behind all others.
    pub order: Vec<&'a str>,
    /// So many of the first may go now.
    pub free: usize,
    working: BTreeMap<&'a str, u32>,
    limits: Limits,
}

impl<'a> Line<'a> {
    /// The line of these canaries.
    pub fn new(limits: Limits, contenders: impl IntoIterator<Item = Contender<'a>>) -> Self {
        let mut working: BTreeMap<&str, u32> = BTreeMap::new();
        let mut waiting: BTreeMap<&str, Vec<(DateTime<Utc>, &str)>> = BTreeMap::new();
        for contender in contenders {
            match contender.stands {
                Stands::Working => *working.entry(contender.namespace).or_default() += 1,
                Stands::Queued(since) => waiting
                    .entry(contender.namespace)
                    .or_default()
                    .push((since, contender.id)),
                Stands::Idle => {}
            }
        }
        for queue in waiting.values_mut() {
            // From the end it is taken from.
            queue.sort_unstable_by(|a, b| b.cmp(a));
        }
        let mut line = Self {
            order: Vec::new(),
            free: 0,
            working,
            limits,
        };
        line.settle(waiting);
        line
    }

    /// The position of a canary, from 1 on; `None` where it does not wait.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.order.iter().position(|other| *other == id).map(|index| index + 1)
    }

    /// Whether this one may go now; if not, why.
    pub fn admits(&self, id: &str, namespace: &str) -> Result<(), Full> {
        if self.order.iter().take(self.free).any(|other| *other == id) {
            return Ok(());
        }
        let here = self.working.get(namespace).copied().unwrap_or_default();
        let all: u32 = self.working.values().sum();
        let of_namespace = self.limits.namespace.filter(|limit| here >= limit.get());
        match (of_namespace, self.limits.fleet) {
            (Some(limit), _) => Err(Full {
                working: here,
                limit,
                in_namespace: true,
            }),
            (None, Some(limit)) => Err(Full {
                working: all,
                limit,
                in_namespace: false,
            }),
            // Without a limit everybody who waits is admitted; who does not wait has nothing to be refused for.
            (None, None) => Ok(()),
        }
    }

    /// Deals out slots one after another, as if each that gets one went to work.
    fn settle(&mut self, mut waiting: BTreeMap<&'a str, Vec<(DateTime<Utc>, &'a str)>>) {
        let mut taken = self.working.clone();
        let mut all: u32 = taken.values().sum();
        loop {
            let room = |namespace: &str| {
                let here = taken.get(namespace).copied().unwrap_or_default();
                self.limits.namespace.is_none_or(|limit| here < limit.get())
            };
            let next = waiting
                .iter()
                .filter_map(|(namespace, queue)| {
                    let (since, id) = queue.last()?;
                    let here = taken.get(namespace).copied().unwrap_or_default();
                    Some((!room(namespace), here, *since, *id, *namespace))
                })
                .min();
            let Some((full, .., id, namespace)) = next else { return };
            if !full && self.limits.fleet.is_none_or(|limit| all < limit.get()) {
                self.free += 1;
                all += 1;
            }
            *taken.entry(namespace).or_default() += 1;
            self.order.push(id);
            waiting.entry(namespace).or_default().pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn limits(fleet: u32, namespace: u32) -> Limits {
        Limits {
            fleet: NonZeroU32::new(fleet),
            namespace: NonZeroU32::new(namespace),
        }
    }

    fn working<'a>(id: &'a str, namespace: &'a str) -> Contender<'a> {
        Contender {
            id,
            namespace,
            stands: Stands::Working,
        }
    }

    fn queued<'a>(id: &'a str, namespace: &'a str, since: i64) -> Contender<'a> {
        Contender {
            id,
            namespace,
            stands: Stands::Queued(at(since)),
        }
    }

    #[test]
    fn who_waits_longest_goes_first() {
        let line = Line::new(
            limits(2, 0),
            [working("w", "a"), queued("late", "a", 9), queued("early", "a", 1)],
        );
        assert_eq!((line.order.as_slice(), line.free), (["early", "late"].as_slice(), 1));
        assert_eq!(line.admits("early", "a"), Ok(()));
        let full = line.admits("late", "a").expect_err("it is second of one");
        assert_eq!((full.working, full.limit.get(), full.in_namespace), (1, 2, false));
        assert_eq!(line.position("late"), Some(2));
    }

    #[test]
    fn a_namespace_with_many_does_not_starve_the_others() {
        let mut all = vec![working("w", "many")];
        let ids: Vec<String> = (0..50).map(|index| format!("many-{index:02}")).collect();
        all.extend(ids.iter().map(|id| queued(id, "many", 1)));
        all.push(queued("one", "few", 100));
        let line = Line::new(limits(2, 0), all);
        assert_eq!((line.position("one"), line.free), (Some(1), 1));
    }

    #[test]
    fn a_full_namespace_holds_up_nobody_else() {
        let all = [working("w", "a"), queued("a1", "a", 1), queued("b1", "b", 2)];
        let line = Line::new(limits(10, 1), all);
        assert_eq!((line.order.as_slice(), line.free), (["b1", "a1"].as_slice(), 1));
        let full = line.admits("a1", "a").expect_err("its namespace is full");
        assert!(full.in_namespace);
        assert_eq!(line.admits("b1", "b"), Ok(()));
    }

    #[test]
    fn without_limits_nobody_waits() {
        let line = Line::new(
            limits(0, 0),
            [working("w", "a"), queued("a1", "a", 1), queued("b1", "b", 2)],
        );
        assert_eq!(line.free, 2);
    }
}
