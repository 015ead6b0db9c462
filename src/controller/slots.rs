//! Who works and who waits, over all canaries of this process: the one place where a slot is given away.
//!
//! Two passes that end at the same moment must not take the same slot, so it is taken under a lock, before the status that says so is
//! written. What was taken for a write that did not come about is given back at the end of the pass.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::meta;
use super::queue::Queue;
use super::resource::CanaryKey;
use super::status;
use crate::rollout::{self, Contender, Full, Limits, Line, Stands};

/// The slots of this process.
#[derive(Debug)]
pub struct Slots {
    limits: Limits,
    queue: Arc<Queue>,
    ledger: Mutex<BTreeMap<CanaryKey, Entry>>,
}

#[derive(Debug)]
struct Entry {
    id: String,
    stands: Stands,
}

impl Slots {
    /// Slots of which nobody has one.
    pub fn new(limits: Limits, queue: Arc<Queue>) -> Self {
        Self {
            limits,
            queue,
            ledger: Mutex::default(),
        }
    }

    /// Notes how all canaries stand by their statuses, as when this process begins to lead.
    pub fn fill(&self, canaries: &[Arc<Value>]) {
        let mut ledger = self.ledger();
        for canary in canaries {
            let stands = status::block(canary)
                .ok()
                .flatten()
                .map_or(Stands::Idle, |block| rollout::stands(&block));
            if stands != Stands::Idle {
                let key = CanaryKey::new(meta::namespace(canary), meta::name(canary));
                let id = key.to_string();
                ledger.insert(key, Entry { id, stands });
            }
        }
    }

    /// Takes a slot, if this canary is next in line. One that is new in line waits since now.
    pub fn take(&self, key: &CanaryKey, now: DateTime<Utc>) -> Result<(), Full> {
        let mut ledger = self.ledger();
        let entry = ledger.entry(key.clone()).or_insert_with(|| Entry {
            id: key.to_string(),
            stands: Stands::Idle,
        });
        if entry.stands == Stands::Working {
            return Ok(());
        }
        if entry.stands == Stands::Idle {
            entry.stands = Stands::Queued(now);
        }
        let id = entry.id.clone();
        line(self.limits, &ledger).admits(&id, &key.namespace)?;
        if let Some(entry) = ledger.get_mut(key) {
            entry.stands = Stands::Working;
        }
        Ok(())
    }

    /// Notes how a canary stands after a pass, and wakes who may go now.
    pub fn note(&self, key: &CanaryKey, stands: Stands) {
        let mut ledger = self.ledger();
        let before = ledger.get(key).map_or(Stands::Idle, |entry| entry.stands);
        if before == stands {
            return;
        }
        if stands == Stands::Idle {
            ledger.remove(key);
        } else {
            let id = key.to_string();
            ledger.insert(key.clone(), Entry { id, stands });
        }
        self.wake(&ledger);
    }

    /// The canary is gone.
    pub fn forget(&self, key: &CanaryKey) {
        self.note(key, Stands::Idle);
    }

    fn wake(&self, ledger: &BTreeMap<CanaryKey, Entry>) {
        let line = line(self.limits, ledger);
        let next = line.order.get(..line.free).unwrap_or_default();
        if next.is_empty() {
            return;
        }
        for (key, entry) in ledger {
            if next.contains(&entry.id.as_str()) {
                self.queue.add(key);
            }
        }
    }

    fn ledger(&self) -> MutexGuard<'_, BTreeMap<CanaryKey, Entry>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(limits: Limits, ledger: &BTreeMap<CanaryKey, Entry>) -> Line<'_> {
    Line::new(
        limits,
        ledger.iter().map(|(key, entry)| Contender {
            id: &entry.id,
            namespace: &key.namespace,
            stands: entry.stands,
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use futures::FutureExt as _;
    use std::num::NonZeroU32;

    fn key(name: &str) -> CanaryKey {
        CanaryKey::new("test", name)
    }

    fn slots(fleet: u32) -> (Slots, Arc<Queue>) {
        let queue = Arc::new(Queue::new(Clock::virtual_at(DateTime::UNIX_EPOCH)));
        let limits = Limits {
            fleet: NonZeroU32::new(fleet),
            namespace: None,
        };
        (Slots::new(limits, queue.clone()), queue)
    }

    #[test]
    fn two_do_not_take_the_same_slot() {
        let (slots, _) = slots(1);
        assert_eq!(slots.take(&key("a"), DateTime::UNIX_EPOCH), Ok(()));
        assert!(slots.take(&key("b"), DateTime::UNIX_EPOCH).is_err());
        assert_eq!(slots.take(&key("a"), DateTime::UNIX_EPOCH), Ok(()), "it has it already");
    }

    #[tokio::test]
    async fn a_slot_that_is_given_back_wakes_the_next() {
        let (slots, queue) = slots(1);
        assert_eq!(slots.take(&key("a"), DateTime::UNIX_EPOCH), Ok(()));
        assert!(slots.take(&key("b"), DateTime::UNIX_EPOCH).is_err());
        slots.note(&key("b"), Stands::Queued(DateTime::UNIX_EPOCH));
        slots.note(&key("a"), Stands::Working);
        assert!(queue.next().now_or_never().is_none());
        slots.note(&key("a"), Stands::Idle);
        let turn = queue.next().now_or_never().expect("the slot is free");
        assert_eq!(turn.key, key("b"));
        assert_eq!(slots.take(&key("b"), DateTime::UNIX_EPOCH), Ok(()));
    }

    #[test]
    fn who_comes_later_does_not_overtake() {
        let (slots, _) = slots(1);
        slots.note(&key("waits"), Stands::Queued(DateTime::UNIX_EPOCH));
        let later = DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(1);
        assert!(slots.take(&key("comes"), later).is_err());
        assert_eq!(slots.take(&key("waits"), later), Ok(()));
    }
}
