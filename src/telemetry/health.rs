//! Whether the process works (`/healthz`) and may be relied on (`/readyz`), in words.
//!
//! A process is alive while each of its loops runs and none of them is stuck in one piece of work. It is ready when all
//! its conditions hold: caches filled, CRDs and rights as needed. Nothing here polls; the answer is worked out when it is asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The health of this process. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Health {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    loops: BTreeMap<&'static str, Loop>,
    conditions: BTreeMap<&'static str, Result<String, String>>,
    next_work: u64,
}

#[derive(Debug)]
struct Loop {
    limit: Duration,
    running: bool,
    /// What it works on now, and since when.
    works: BTreeMap<u64, (String, Instant)>,
}

/// A loop's side of its health. When it is dropped the loop has ended, which is not healthy.
#[derive(Debug)]
pub struct Pulse {
    health: Health,
    name: &'static str,
}

/// One piece of work of a loop; over when dropped.
#[derive(Debug)]
pub struct Work {
    health: Health,
    name: &'static str,
    number: u64,
}

/// An answer: whether it is good, and a line for each loop or condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether all lines are good.
    pub good: bool,
    /// Lines such as `ok: caches` and `not ready: crds: ...`.
    pub lines: Vec<String>,
}

impl Health {
    /// A loop that has begun, and whose single pieces of work take at most `limit`.
    pub fn pulse(&self, name: &'static str, limit: Duration) -> Pulse {
        self.inner().loops.insert(
            name,
            Loop {
                limit,
                running: true,
                works: BTreeMap::new(),
            },
        );
        Pulse {
            health: self.clone(),
            name,
        }
    }

    /// A condition of readiness: `Ok` or `Err` with words about it. Said again, it replaces what was said before.
    pub fn condition(&self, name: &'static str, state: Result<String, String>) {
        self.inner().conditions.insert(name, state);
    }

    /// The process is about to end: its loops may end, and it is not ready any more.
    pub fn stopping(&self) {
        self.waiting("process", "shutting down");
    }

    /// Nothing is done as long as this condition does not hold: the loops may end, and the process is not ready.
    pub fn waiting(&self, name: &'static str, words: &str) {
        let mut inner = self.inner();
        inner.loops.clear();
        inner.conditions.insert(name, Err(words.to_owned()));
    }

    /// Whether the process works.
    pub fn alive(&self) -> Report {
        let inner = self.inner();
        let lines = inner.loops.iter().map(|(name, state)| match state.trouble() {
            None => (true, format!("ok: {name}")),
            Some(trouble) => (false, format!("not healthy: {name}: {trouble}")),
        });
        Report::of(lines)
    }

    /// Whether the process may be relied on.
    pub fn ready(&self) -> Report {
        let inner = self.inner();
        let lines = inner.conditions.iter().map(|(name, state)| match state {
            Ok(words) if words.is_empty() => (true, format!("ok: {name}")),
            Ok(words) => (true, format!("ok: {name}: {words}")),
            Err(words) => (false, format!("not ready: {name}: {words}")),
        });
        Report::of(lines)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    fn of(lines: impl Iterator<Item = (bool, String)>) -> Self {
        let (good, lines): (Vec<bool>, Vec<String>) = lines.unzip();
        Self {
            good: good.into_iter().all(|good| good),
            lines,
        }
    }
}

impl Loop {
    fn trouble(&self) -> Option<String> {
        if !self.running {
            return Some("it has ended".into());
        }
        let stuck = self.works.values().find(|(_, since)| since.elapsed() > self.limit);
        stuck.map(|(what, since)| format!("{what} has taken {} s so far", since.elapsed().as_secs()))
    }
}

impl Pulse {
    /// The loop begins a piece of work.
    pub fn works_on(&self, what: impl Into<String>) -> Work {
        let mut inner = self.health.inner();
        let number = inner.next_work;
        inner.next_work += 1;
        if let Some(state) = inner.loops.get_mut(self.name) {
            state.works.insert(number, (what.into(), Instant::now()));
        }
        Work {
            health: self.health.clone(),
            name: self.name,
            number,
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if let Some(state) = self.health.inner().loops.get_mut(self.name) {
            state.running = false;
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(state) = self.health.inner().loops.get_mut(self.name) {
            state.works.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_is_healthy_at_rest_and_sick_when_stuck() {
        let health = Health::default();
        let pulse = health.pulse("passes", Duration::from_mins(1));
        tokio::time::sleep(Duration::from_hours(24)).await;
        assert!(health.alive().good);
        let work = pulse.works_on("test/podinfo");
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(
            health.alive().lines,
            ["not healthy: passes: test/podinfo has taken 61 s so far"]
        );
        drop(work);
        assert!(health.alive().good);
    }

    #[tokio::test]
    async fn a_loop_that_ended_is_sick_unless_the_process_is_stopping() {
        let health = Health::default();
        drop(health.pulse("passes", Duration::from_mins(1)));
        assert_eq!(
            health.alive(),
            Report {
                good: false,
                lines: vec!["not healthy: passes: it has ended".into()]
            }
        );
        health.stopping();
        assert!(health.alive().good && !health.ready().good);
    }

    #[test]
    fn readiness_says_which_condition_does_not_hold() {
        let health = Health::default();
        health.condition("caches", Ok(String::new()));
        health.condition("crds", Err("canaries.flagger.app is not installed".into()));
        let report = health.ready();
        assert!(!report.good);
        assert_eq!(
            report.lines,
            ["ok: caches", "not ready: crds: canaries.flagger.app is not installed"]
        );
        health.condition("crds", Ok(String::new()));
        assert!(health.ready().good);
    }
}
