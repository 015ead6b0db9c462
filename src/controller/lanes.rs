//! Lanes: work that is done in order within a lane, and side by side between lanes.
//!
//! A lane has a task for as long as it has work. What waits in it is limited, so that a receiver that is gone for good
//! costs its own lane alone, and no more than that much memory.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What waits, by lane. A lane stands here for as long as a task works on it.
#[derive(Debug)]
pub struct Lanes<K, T> {
    waiting: Mutex<HashMap<K, VecDeque<T>>>,
    idle: Notify,
    longest: usize,
}

/// What became of work that was put into a lane.
#[derive(Debug, PartialEq, Eq)]
pub enum Put<T> {
    /// The lane was empty: its task is to be started.
    First,
    /// It waits behind other work.
    Behind,
    /// The lane is full. Here it is again.
    Full(T),
}

impl<K: Eq + Hash + Clone, T> Lanes<K, T> {
    /// Lanes in each of which at most so many pieces of work wait.
    pub fn new(longest: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            idle: Notify::new(),
            longest,
        }
    }

    /// Puts work at the end of a lane.
    pub fn put(&self, lane: &K, work: T) -> Put<T> {
        let mut waiting = self.waiting();
        match waiting.get_mut(lane) {
            Some(queue) if queue.len() >= self.longest => Put::Full(work),
            Some(queue) => {
                queue.push_back(work);
                Put::Behind
            }
            None => {
                waiting.insert(lane.clone(), VecDeque::from([work]));
                Put::First
            }
        }
    }

    /// The next work of a lane. Without any the lane's task is over.
    pub fn next(&self, lane: &K) -> Option<T> {
        let mut waiting = self.waiting();
        let work = waiting.get_mut(lane).and_then(VecDeque::pop_front);
        if work.is_none() {
            waiting.remove(lane);
            self.idle.notify_waiters();
        }
        work
    }

    /// Waits until no lane has work.
    pub async fn idle(&self) {
        self.until(HashMap::is_empty).await;
    }

    /// Waits until this lane has no work.
    pub async fn empty(&self, lane: &K) {
        self.until(|waiting| !waiting.contains_key(lane)).await;
    }

    async fn until(&self, holds: impl Fn(&HashMap<K, VecDeque<T>>) -> bool) {
        loop {
            let mut done = std::pin::pin!(self.idle.notified());
            done.as_mut().enable();
            if holds(&self.waiting()) {
                return;
            }
            done.await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<K, VecDeque<T>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_keeps_its_order_and_is_over_when_it_is_empty() {
        let lanes = Lanes::new(2);
        assert_eq!(lanes.put(&"a", 1), Put::First);
        assert_eq!(lanes.put(&"b", 7), Put::First);
        assert_eq!(lanes.put(&"a", 2), Put::Behind);
        assert_eq!(
            (lanes.next(&"a"), lanes.next(&"a"), lanes.next(&"a")),
            (Some(1), Some(2), None)
        );
        assert_eq!(lanes.put(&"a", 3), Put::First);
    }

    #[test]
    fn a_full_lane_gives_the_work_back_and_hurts_no_other() {
        let lanes = Lanes::new(1);
        assert_eq!(lanes.put(&"a", 1), Put::First);
        assert_eq!(lanes.put(&"a", 2), Put::Full(2));
        assert_eq!(lanes.put(&"b", 3), Put::First);
    }
}
