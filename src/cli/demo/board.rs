//! Everything that the demo shows at one moment, as plain numbers and texts. Drawing it needs nothing else.

use chrono::{DateTime, TimeDelta, Utc};

use crate::rollout::Why;

/// One side of the release: the pods of one Deployment.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct SideBoard {
    /// The version that its Deployment asks for.
    pub(super) version: String,
    /// The part of the requests that its pods answer, from 0 to 1.
    pub(super) part: f64,
    /// Its pods, in the order of their age.
    pub(super) pods: Vec<PodBoard>,
}

/// How a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PodBoard {
    Starting,
    Ready,
    Leaving,
}

/// One metric of the analysis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetricBoard {
    pub(super) name: String,
    /// The number of the last check, if there was one.
    pub(super) value: Option<f64>,
    pub(super) unit: &'static str,
    pub(super) limit: Limit,
}

/// What a metric is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl MetricBoard {
    /// Whether the last number is within its limit; nothing is said without one.
    pub(super) fn passes(&self) -> Option<bool> {
        self.value.map(|value| match self.limit {
            Limit::AtLeast(limit) => value >= limit,
            Limit::AtMost(limit) => value <= limit,
        })
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventBoard {
    pub(super) at: DateTime<Utc>,
    pub(super) text: String,
    pub(super) warning: bool,
}

/// The canary's weight at one moment of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) weight: u8,
    /// Whether a check had failed by then.
    pub(super) failing: bool,
}

/// The whole picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Board {
    pub(super) now: DateTime<Utc>,
    pub(super) speed: f64,
    /// What the story is about at this moment.
    pub(super) caption: String,
    /// What was last done from outside, such as `kubectl set image ...`.
    pub(super) command: String,
    pub(super) phase: String,
    /// The canary's weight by the status, in percent.
    pub(super) weight: u8,
    /// The weights of the plan; none outside a run.
    pub(super) steps: Vec<u8>,
    pub(super) promoting: bool,
    pub(super) failed_checks: u32,
    pub(super) threshold: u32,
    pub(super) primary: SideBoard,
    pub(super) canary: SideBoard,
    pub(super) metrics: Vec<MetricBoard>,
    pub(super) why: Option<Why>,
    /// Why the last run ended as it did; empty before the first.
    pub(super) outcome: String,
    pub(super) events: Vec<EventBoard>,
    pub(super) history: Vec<Past>,
    /// Answered requests by version, oldest version first.
    pub(super) answered: Vec<(String, f64)>,
    pub(super) lost: f64,
}

impl Board {
    /// The time until what is awaited, if there is one and it has not passed.
    pub(super) fn left(&self) -> Option<TimeDelta> {
        let until = self.why.as_ref()?.until?;
        Some(until - self.now).filter(|left| *left > TimeDelta::zero())
    }
}
