//! Which canaries are due for a pass: without duplicates, never one twice at once, and each with at most one timer.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::resource::CanaryKey;
use crate::clock::Clock;

/// The queue. Workers take from it; watches, answers and timers put into it.
#[derive(Debug)]
pub struct Queue {
    clock: Clock,
    inner: Mutex<Inner>,
    /// Something is ready for a worker.
    ready: Notify,
    /// The earliest timer changed.
    timer: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<CanaryKey>,
    queued: HashSet<CanaryKey>,
    running: HashSet<CanaryKey>,
    /// Came again while its pass ran.
    again: HashSet<CanaryKey>,
    timers: BTreeSet<(DateTime<Utc>, CanaryKey)>,
    due: HashMap<CanaryKey, DateTime<Utc>>,
}

impl Queue {
    /// An empty queue with timers on this clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            inner: Mutex::default(),
            ready: Notify::new(),
            timer: Notify::new(),
        }
    }

    /// The canary is due now. If its pass is running, it is due again right after it.
    pub fn add(&self, key: &CanaryKey) {
        let mut inner = self.lock();
        if inner.running.contains(key) {
            inner.again.insert(key.clone());
        } else if inner.queued.insert(key.clone()) {
            inner.waiting.push_back(key.clone());
            self.ready.notify_one();
        }
    }

    /// Sets the canary's only timer; `None` takes it away.
    pub fn wake_at(&self, key: &CanaryKey, at: Option<DateTime<Utc>>) {
        let mut inner = self.lock();
        if let Some(old) = inner.due.remove(key) {
            inner.timers.remove(&(old, key.clone()));
        }
        if let Some(at) = at {
            inner.due.insert(key.clone(), at);
            inner.timers.insert((at, key.clone()));
            self.timer.notify_one();
        }
    }

    /// Waits for the next canary. Its pass is over when the returned guard is dropped, also by a panic.
    pub async fn next(&self) -> Turn<'_> {
        loop {
            let notified = self.ready.notified();
            if let Some(key) = self.take() {
                return Turn { queue: self, key };
            }
            notified.await;
        }
    }

    /// Moves what is due from the timers to the queue, for ever.
    pub async fn run_timers(&self) {
        loop {
            let changed = self.timer.notified();
            match self.ring() {
                Some(next) => {
                    tokio::select! {
                        biased;
                        () = self.clock.sleep_until(next) => {}
                        () = changed => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Adds every canary whose time has come; returns the time of the next timer.
    fn ring(&self) -> Option<DateTime<Utc>> {
        let now = self.clock.now();
        loop {
            let key = {
                let mut inner = self.lock();
                let (at, key) = inner.timers.first().cloned()?;
                if at > now {
                    return Some(at);
                }
                inner.timers.remove(&(at, key.clone()));
                inner.due.remove(&key);
                key
            };
            self.add(&key);
        }
    }

    fn take(&self) -> Option<CanaryKey> {
        let mut inner = self.lock();
        let key = inner.waiting.pop_front()?;
        inner.queued.remove(&key);
        inner.running.insert(key.clone());
        if !inner.waiting.is_empty() {
            self.ready.notify_one();
        }
        Some(key)
    }

    fn done(&self, key: &CanaryKey) {
        let again = {
            let mut inner = self.lock();
            inner.running.remove(key);
            inner.again.remove(key)
        };
        if again {
            self.add(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One canary's turn.
#[derive(Debug)]
pub struct Turn<'a> {
    queue: &'a Queue,
    /// Whose turn it is.
    pub key: CanaryKey,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.queue.done(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use futures::FutureExt as _;

    fn key(name: &str) -> CanaryKey {
        CanaryKey::new("test", name)
    }

    fn queue() -> Queue {
        Queue::new(Clock::virtual_at(DateTime::UNIX_EPOCH))
    }

    #[tokio::test(start_paused = true)]
    async fn a_canary_is_queued_once_and_never_runs_twice_at_once() {
        let queue = queue();
        queue.add(&key("a"));
        queue.add(&key("a"));
        let turn = queue.next().await;
        queue.add(&key("a"));
        assert!(queue.next().now_or_never().is_none(), "it is running");
        drop(turn);
        assert_eq!(queue.next().await.key, key("a"));
        assert!(queue.next().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_timer_replaces_the_old_one() {
        let queue = std::sync::Arc::new(queue());
        let start = queue.clock.now();
        tokio::spawn({
            let queue = queue.clone();
            async move { queue.run_timers().await }
        });
        queue.wake_at(&key("a"), Some(start + TimeDelta::seconds(10)));
        queue.wake_at(&key("a"), Some(start + TimeDelta::seconds(60)));
        assert_eq!(queue.next().await.key, key("a"));
        assert_eq!(queue.clock.now() - start, TimeDelta::seconds(60));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_timer_nothing_wakes() {
        let queue = queue();
        queue.wake_at(&key("a"), Some(queue.clock.now()));
        queue.wake_at(&key("a"), None);
        assert!(queue.run_timers().now_or_never().is_none());
        assert!(queue.next().now_or_never().is_none());
    }
}
