//! What the process keeps of each canary between passes. All of it may be lost: a successor finds the rest in the status.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::ailing::Ailing;
use super::obstacle::Obstacles;
use super::record::Attempt;
use super::resource::CanaryKey;
use crate::api::CanarySpec;
use crate::retry::Retry;
use crate::rollout::{Block, Fingerprint, Memory, Subject};

/// One canary's part.
#[derive(Debug)]
pub struct Held {
    /// The Canary that it is about: one of the same name and another uid begins anew.
    pub uid: String,
    /// The core's memory.
    pub memory: Memory,
    /// Why pods do not come up.
    pub ailing: Ailing,
    /// What stands in the way of drawing.
    pub obstacles: Obstacles,
    /// The last spec that could be read, while a run goes on.
    pub readable: Option<Box<CanarySpec>>,
    /// Why the present one cannot be.
    pub malformed: Option<String>,
    /// The version of the Canary that our last status write made.
    pub written: Option<String>,
    /// Status writes that had no answer.
    pub attempts: Vec<Attempt>,
    /// Grows with each pass that fails.
    pub retry: Retry,
    /// What the status announced before this process began was looked after.
    pub introduced: bool,
    /// The generation of the Canary whose oddities were told.
    pub warned: Option<i64>,
    /// The target's template for which the API server's version was asked anew.
    pub doubted: Option<Fingerprint>,
    /// The names for which it was looked what will not follow to the primary.
    pub preflighted: Option<Subject>,
    /// The namespace goes: read so, or a create was refused with these words.
    pub namespace_terminating: bool,
    /// When the namespace was last read.
    pub namespace_read: Option<DateTime<Utc>>,
    /// Passes in a row that asked for another one at once.
    pub hurried: u32,
    /// With `--observe-only`: the block, which is not written.
    pub block: Option<Block>,
    /// With `--observe-only`: what was said already.
    pub said: BTreeSet<String>,
}

impl Held {
    fn new(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            memory: Memory::default(),
            ailing: Ailing::default(),
            obstacles: Obstacles::default(),
            readable: None,
            malformed: None,
            written: None,
            attempts: Vec::new(),
            retry: Retry::of_pass(uid),
            introduced: false,
            warned: None,
            doubted: None,
            preflighted: None,
            namespace_terminating: false,
            namespace_read: None,
            hurried: 0,
            block: None,
            said: BTreeSet::new(),
        }
    }
}

impl Held {
    /// A panic may have left anything here: begin anew, but do not try again sooner for it.
    pub fn forget_all(&mut self) {
        let fresh = Self::new(&self.uid);
        let retry = std::mem::replace(&mut self.retry, Retry::of_pass(&self.uid));
        *self = Self { retry, ..fresh };
    }
}

/// The parts of all canaries. Each is boxed: a map has room for up to twice as many as it holds.
#[derive(Debug, Default)]
pub struct Holder {
    held: Mutex<HashMap<CanaryKey, Box<Held>>>,
}

impl Holder {
    /// Takes a canary's part out for its pass; a new one where there is none of this uid.
    pub fn take(&self, key: &CanaryKey, uid: &str) -> Box<Held> {
        let held = self.lock().remove(key);
        held.filter(|held| held.uid == uid)
            .unwrap_or_else(|| Box::new(Held::new(uid)))
    }

    /// Puts it back.
    pub fn put(&self, key: &CanaryKey, held: Box<Held>) {
        self.lock().insert(key.clone(), held);
    }

    /// The uid of the Canary that the present part is about.
    pub fn uid(&self, key: &CanaryKey) -> Option<String> {
        self.lock().get(key).map(|held| held.uid.clone())
    }

    /// The canary is gone.
    pub fn forget(&self, key: &CanaryKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CanaryKey, Box<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_made_anew_under_the_same_name_begins_anew() {
        let (holder, key) = (Holder::default(), CanaryKey::new("test", "podinfo"));
        let mut held = holder.take(&key, "old");
        held.introduced = true;
        holder.put(&key, held);
        assert_eq!(holder.uid(&key).as_deref(), Some("old"));
        let held = holder.take(&key, "old");
        assert!(held.introduced);
        holder.put(&key, held);
        assert!(!holder.take(&key, "new").introduced);
    }
}
