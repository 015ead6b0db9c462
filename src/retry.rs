//! How long to wait before something is tried again: the only place that uses the crate `backoff`.
//!
//! The crate is taken as a plain series of numbers. Its elapsed-time limit reads the machine's clock and its jitter
//! comes from an unseeded generator, so both are off; what spreads canaries apart is a hash of their uid and attempt.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff as _};

/// A growing wait, for one thing that fails.
#[derive(Debug)]
pub struct Retry {
    series: ExponentialBackoff,
    seed: String,
    attempts: u32,
}

impl Retry {
    /// For a pass that failed: from 0.2 s to a minute.
    pub fn of_pass(uid: &str) -> Self {
        Self::between(Duration::from_millis(200), Duration::from_mins(1), uid)
    }

    /// For a write that a rival undoes or the server refuses: from 1 s to 5 min (`design.md`, "Rivals and refusals").
    pub fn of_obstacle(uid: &str) -> Self {
        Self::between(Duration::from_secs(1), Duration::from_mins(5), uid)
    }

    /// For a size that a scaler changes back: from 1 s to half a minute, twice the time in which a `HorizontalPodAutoscaler` looks (15 s,
    /// `--horizontal-pod-autoscaler-sync-period` of kube-controller-manager). What a step needs has to stand for a moment now and then.
    pub fn of_size(uid: &str) -> Self {
        Self::between(Duration::from_secs(1), Duration::from_secs(30), uid)
    }

    /// For a hook that may answer better a moment later: from 1 s to half a minute (`spec/core.md` 4.2).
    pub fn of_hook(key: &str) -> Self {
        Self::between(Duration::from_secs(1), Duration::from_secs(30), key)
    }

    /// For a watch that broke: from 0.5 s to half a minute.
    pub fn of_watch(resource: &str) -> Self {
        Self::between(Duration::from_millis(500), Duration::from_secs(30), resource)
    }

    /// Doubles from `least` to `most`; `seed` spreads the waits of different things by up to a tenth.
    pub fn between(least: Duration, most: Duration, seed: &str) -> Self {
        let series = ExponentialBackoff {
            current_interval: least,
            initial_interval: least,
            max_interval: most,
            multiplier: 2.0,
            randomization_factor: 0.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self {
            series,
            seed: seed.to_owned(),
            attempts: 0,
        }
    }

    /// The wait before the next attempt, longer each time.
    pub fn wait(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let plain = self.series.next_backoff().unwrap_or(self.series.max_interval);
        plain + plain.mul_f64(spread(&self.seed, self.attempts) / 10.0)
    }

    /// How often it was tried in vain.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// It went well: the next wait is the shortest again.
    pub fn reset(&mut self) {
        self.attempts = 0;
        self.series.reset();
    }
}

/// A number from 0 to 1 that depends on the thing and the attempt alone.
fn spread(seed: &str, attempt: u32) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, attempt).hash(&mut hasher);
    let thousandths = u16::try_from(hasher.finish() % 1000).unwrap_or_default();
    f64::from(thousandths) / 1000.0
}

/// A watch's series, in the form that `kube` asks for.
#[derive(Debug)]
pub struct WatchRetry(Retry);

impl WatchRetry {
    /// For the watch of one resource.
    pub fn new(resource: &str) -> Self {
        Self(Retry::of_watch(resource))
    }
}

impl Iterator for WatchRetry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0.wait())
    }
}

impl kube::runtime::utils::Backoff for WatchRetry {
    fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(retry: &mut Retry, times: usize) -> Vec<u64> {
        (0..times).map(|_| retry.wait().as_secs()).collect()
    }

    #[test]
    fn waits_double_up_to_the_most_and_start_again_after_success() {
        let mut retry = Retry::between(Duration::from_secs(100), Duration::from_secs(400), "a");
        let waits = seconds(&mut retry, 4);
        assert!(
            (100..=110).contains(&waits[0]) && (200..=220).contains(&waits[1]),
            "{waits:?}"
        );
        assert!(
            (400..=440).contains(&waits[2]) && (400..=440).contains(&waits[3]),
            "{waits:?}"
        );
        assert_eq!(retry.attempts(), 4);
        retry.reset();
        assert!((100..=110).contains(&retry.wait().as_secs()));
    }

    #[test]
    fn the_same_thing_waits_the_same_time_and_another_one_a_little_apart() {
        let waits = |seed| Retry::of_obstacle(seed).wait();
        assert_eq!(waits("uid-1"), waits("uid-1"));
        assert_ne!(waits("uid-1"), waits("uid-2"));
    }
}
