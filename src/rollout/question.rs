//! Questions to the outside world and their answers: hooks, gates and metrics. They run as jobs, outside the pass.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::state::{Fingerprint, SampleRecord, Stage};
use super::weight::Weight;

/// The questions of one check. Hooks come one at a time, metrics side by side, gates last.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Which check this is; answers to another one are dropped.
    pub id: RoundId,
    /// What to ask now. Those with an answer already are not in it.
    pub questions: Vec<Question>,
}

/// Names one check of one run. Stable over conflicts and repeated passes, so that a question is asked once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoundId {
    /// The run.
    pub run: u64,
    /// The revision that it is asked about: what one revision was allowed says nothing about the next.
    pub revision: Option<Fingerprint>,
    /// The stage that asks.
    pub stage: Stage,
    /// The canary's weight while it is asked.
    pub weight: Weight,
    /// The number of checks that ended before it.
    pub check: u32,
}

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Call the hook at this place of `analysis.webhooks`.
    Hook {
        /// Index into the list, as it stands in the observed spec.
        index: usize,
        /// The phase in its payload.
        phase: String,
    },
    /// Are the metrics servers that the analysis will need there (`spec/analysis.md` 1.2)? Told, never blocking.
    Probe,
    /// Read and judge the metric at this place of `analysis.metrics`.
    Metric {
        /// Index into the list, as it stands in the observed spec.
        index: usize,
    },
}

/// Names a question within its round, for example `hook/0` or `metric/2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionKey(pub String);

impl QuestionKey {
    /// The key of a question in the list as observed. The name alone would not do: two entries may share it.
    pub fn of(question: &Question) -> Self {
        match question {
            Question::Hook { index, .. } => Self(format!("hook/{index}")),
            Question::Metric { index } => Self(format!("metric/{index}")),
            Question::Probe => Self("probe".into()),
        }
    }
}

/// The answers so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers {
    /// The check they belong to.
    pub round: Option<RoundId>,
    /// What came back.
    pub given: BTreeMap<QuestionKey, Answer>,
    /// Hooks whose call has begun and that have not answered yet.
    pub called: BTreeSet<QuestionKey>,
}

/// What came back for one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// When it came.
    pub at: DateTime<Utc>,
    /// What it says.
    pub says: Says,
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Says {
    /// The hook answered with a 2xx.
    Passed,
    /// The hook answered something else; the text for people.
    Refused(String),
    /// There was no answer that says anything: no connection, a secret that is missing, an error of the server. It counts as a refusal.
    Unasked(String),
    /// The metric was read and judged.
    Metric(Judged),
}

/// One judged metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// The text of the Event when it did not pass (`spec/analysis.md` 1.9); empty when it did.
    pub text: String,
    /// What stands in the status.
    pub record: SampleRecord,
    /// The number, in the unit of Flagger's gauge (seconds for a duration), when there was one.
    pub value: Option<f64>,
}

/// What one metric says about the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Within its limits, or excused (`pass`).
    Pass,
    /// Outside its limits, or counted as that (`fail`).
    Fail,
    /// No number, and that is to be waited for (`onNoData: hold`).
    Hold,
    /// The server could not be asked (`onError: hold`).
    Unreachable,
}
