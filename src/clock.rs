//! Time as the program sees it: one value that every part asks, so that a test or the demo can bend it.
//!
//! In a cluster the clock is the system's. In tests it hangs on tokio's own clock, which a paused runtime moves by
//! itself; in the demo it runs some times faster than the wall. Nothing else in the program reads the time.

use std::{future::Future, time::Duration};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use tokio::time::{Instant, error::Elapsed};

/// A source of time; cheap to clone, and all clones agree.
#[derive(Clone, Debug)]
pub struct Clock {
    pace: Pace,
}

#[derive(Clone, Debug)]
enum Pace {
    System,
    Scaled {
        start: DateTime<Utc>,
        origin: Instant,
        speed: f64,
    },
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self { pace: Pace::System }
    }

    /// A clock that stands at `start` now and runs `speed` times as fast as tokio's clock.
    ///
    /// A speed that is not a positive number counts as 1.
    pub fn scaled(start: DateTime<Utc>, speed: f64) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        Self {
            pace: Pace::Scaled {
                start,
                origin: Instant::now(),
                speed,
            },
        }
    }

    /// A clock that stands at `start` now and follows tokio's clock: virtual when the runtime is paused.
    pub fn virtual_at(start: DateTime<Utc>) -> Self {
        Self::scaled(start, 1.0)
    }

    /// The time now, in whole microseconds: as fine as Kubernetes keeps times (`MicroTime` of its API). A time that was written to a
    /// status and read back is thus never before the one it was computed from.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that may read the machine's clock"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        let now = match &self.pace {
            Pace::System => Utc::now(),
            Pace::Scaled { start, origin, speed } => {
                let passed = stretch(origin.elapsed(), *speed);
                *start + TimeDelta::from_std(passed).unwrap_or(TimeDelta::MAX)
            }
        };
        now.trunc_subsecs(6)
    }

    /// Waits for a span of this clock's time.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(self.real(span)).await;
    }

    /// Waits until this clock shows `deadline`; returns at once if it has passed.
    pub async fn sleep_until(&self, deadline: DateTime<Utc>) {
        if let Ok(span) = (deadline - self.now()).to_std() {
            self.sleep(span).await;
        }
    }

    /// Runs `work`, but for at most `span` of this clock's time.
    ///
    /// # Errors
    /// `Elapsed` when the span ended first; the work is then dropped.
    pub async fn timeout<F: Future>(&self, span: Duration, work: F) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(self.real(span), work).await
    }

    /// How long tokio's clock runs while this one passes `span`.
    fn real(&self, span: Duration) -> Duration {
        match self.pace {
            Pace::System => span,
            Pace::Scaled { speed, .. } => stretch(span, 1.0 / speed),
        }
    }
}

/// `span` times `factor`; exact for the factor 1, so that virtual time has no rounding.
fn stretch(span: Duration, factor: f64) -> Duration {
    #[allow(clippy::float_cmp, reason = "1.0 is a marker for an unscaled clock, not a result")]
    if factor == 1.0 {
        return span;
    }
    Duration::try_from_secs_f64(span.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).expect("a fixed time must be valid")
    }

    #[tokio::test(start_paused = true)]
    async fn a_virtual_clock_moves_exactly_with_tokio() {
        let clock = Clock::virtual_at(start());
        clock.sleep(Duration::from_millis(61_001)).await;
        assert_eq!(clock.now() - start(), TimeDelta::milliseconds(61_001));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_finer_than_a_status_keeps_is_cut_off() {
        let clock = Clock::virtual_at(start() + TimeDelta::nanoseconds(123_456_789));
        assert_eq!(clock.now() - start(), TimeDelta::microseconds(123_456));
        assert_eq!(Clock::system().now().timestamp_subsec_nanos() % 1000, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_scaled_clock_passes_ten_seconds_in_one() {
        let (clock, before) = (Clock::scaled(start(), 10.0), Instant::now());
        clock.sleep_until(start() + TimeDelta::seconds(10)).await;
        assert_eq!(before.elapsed(), Duration::from_secs(1));
        assert_eq!(clock.now() - start(), TimeDelta::seconds(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_past_deadline_does_not_wait() {
        let clock = Clock::virtual_at(start());
        clock.sleep_until(start() - TimeDelta::seconds(5)).await;
        assert_eq!(clock.now(), start());
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_is_measured_in_the_clocks_own_time() {
        let (clock, before) = (Clock::scaled(start(), 60.0), Instant::now());
        let outcome = clock
            .timeout(Duration::from_mins(1), std::future::pending::<()>())
            .await;
        assert!(outcome.is_err());
        assert_eq!(before.elapsed(), Duration::from_secs(1));
    }
}
