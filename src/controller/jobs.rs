//! Questions run as jobs beside the passes: one round a canary at a time, each question once.
//!
//! A pass says which round is due ([`Jobs::ask`]) as often as it likes; only questions that were not asked yet are started.
//! When an answer comes, the canary is woken, and its next pass finds it in [`Jobs::answers`]. A question is named by uid, run,
//! check and its own key, so a conflict or a repeated pass never asks twice (`design.md`, "Questions are jobs").
//!
//! A round that is superseded is dropped: metrics are asked no further, since nobody wants their answer. A hook that was
//! called has effects, so its call runs to its end; it is not repeated should the same question come up again meanwhile.
//!
//! Places are limited, and no canary can take them from another: hooks have places in their own canary alone, so that slow
//! ones, also those of rounds that were left, delay no metric and no other canary; metrics have some in their canary and
//! share those of the process.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::task::{self, AbortHandle};

use crate::api::{Canary, HookType, Metric, Webhook};
use crate::clock::Clock;
use crate::metrics::unreachable;
use crate::rollout::{
    Answer, Answers, Fingerprint, Judged, Question, QuestionKey, Round, RoundId, SampleRecord, Says, Verdict,
};

/// Hooks of one canary that are called at the same time. A round asks one after another; the rest are of rounds that were left.
const HOOKS_OF_ONE: usize = 4;
/// Metrics of one canary that are read at the same time.
const METRICS_OF_ONE: usize = 16;

/// One question, with everything that is needed to ask it.
#[derive(Debug, Clone)]
pub struct Inquiry {
    /// The Canary as it was when the round was due.
    pub canary: Arc<Canary>,
    /// The check that it belongs to.
    pub round: RoundId,
    /// What to ask.
    pub question: Question,
    /// Its name within the round.
    pub key: QuestionKey,
}

impl Inquiry {
    /// The hook that it calls, as long as the spec has it.
    pub fn hook(&self) -> Option<&Webhook> {
        match self.question {
            Question::Hook { index, .. } => self.canary.spec.analysis.as_ref()?.webhooks.get(index),
            Question::Metric { .. } | Question::Probe => None,
        }
    }

    /// The metric that it reads, as long as the spec has it.
    pub fn metric(&self) -> Option<&Metric> {
        match self.question {
            Question::Metric { index } => self.canary.spec.analysis.as_ref()?.metrics.get(index),
            Question::Hook { .. } | Question::Probe => None,
        }
    }

    /// Names the question among all: `uid/run/revision/stage-weight/check/key`. Sent to hooks as `Idempotency-Key`.
    pub fn idempotency_key(&self) -> String {
        let uid = self.canary.metadata.uid.as_deref().unwrap_or_default();
        let RoundId {
            run,
            revision,
            stage,
            weight,
            check,
        } = &self.round;
        let revision = revision.as_ref().map_or("-", Fingerprint::short);
        format!("{uid}/{run}/{revision}/{stage:?}-{weight}/{check}/{}", self.key.0)
    }
}

/// Asks one question and waits for the answer. Bounded in time by the implementation.
#[async_trait]
pub trait Asker: Send + Sync {
    /// Asks.
    async fn ask(&self, inquiry: &Inquiry) -> Says;
}

/// Called with the Canary whose question was answered.
pub type Wake = Arc<dyn Fn(&Canary) + Send + Sync>;

/// Runs the questions of all canaries.
pub struct Jobs {
    shared: Arc<Shared>,
}

struct Shared {
    asker: Arc<dyn Asker>,
    wake: Wake,
    clock: Clock,
    /// For metrics, over all canaries.
    places: Semaphore,
    canaries: Mutex<HashMap<String, Rounds>>,
}

/// The rounds of one canary: the present one, and those left of which a hook still runs.
struct Rounds {
    present: Option<RoundId>,
    /// When the present one was first asked.
    begun: Option<DateTime<Utc>>,
    asked: BTreeMap<RoundId, BTreeMap<QuestionKey, Job>>,
    hooks: Arc<Semaphore>,
    metrics: Arc<Semaphore>,
}

enum Job {
    /// Waits for a place, or is being asked. A hook whose call has begun is let finish.
    Running { task: AbortHandle, called: bool },
    /// It was answered.
    Answered(Answer),
}

impl Jobs {
    /// Asks through `asker`, and calls `wake` for each answer. At most `at_once` metrics are read at a time over all canaries.
    pub fn new(asker: Arc<dyn Asker>, wake: Wake, clock: Clock, at_once: usize) -> Self {
        let places = Semaphore::new(at_once.max(1));
        Self {
            shared: Arc::new(Shared {
                asker,
                wake,
                clock,
                places,
                canaries: Mutex::default(),
            }),
        }
    }

    /// Makes `round` the canary's one round, and starts those of its questions that were not asked yet.
    pub fn ask(&self, canary: &Arc<Canary>, round: &Round) {
        let mut canaries = self.shared.canaries();
        let rounds = canaries.entry(uid(canary)).or_default();
        rounds.turn_to(&round.id, self.shared.clock.now());
        let asked = rounds.asked.entry(round.id.clone()).or_default();
        for question in &round.questions {
            let key = QuestionKey::of(question);
            if asked.contains_key(&key) {
                continue;
            }
            let inquiry = Inquiry {
                canary: canary.clone(),
                round: round.id.clone(),
                question: question.clone(),
                key: key.clone(),
            };
            let own = match question {
                Question::Hook { .. } => rounds.hooks.clone(),
                Question::Metric { .. } | Question::Probe => rounds.metrics.clone(),
            };
            // The task cannot report before this job is put down: the lock is held here.
            let task = tokio::spawn(run(Arc::downgrade(&self.shared), inquiry, own)).abort_handle();
            asked.insert(key, Job::Running { task, called: false });
        }
    }

    /// The answers of the canary's present round so far.
    pub fn answers(&self, uid: &str) -> Answers {
        let canaries = self.shared.canaries();
        let Some(rounds) = canaries.get(uid) else {
            return Answers::default();
        };
        let Some(present) = &rounds.present else {
            return Answers::default();
        };
        let mut answers = Answers {
            round: Some(present.clone()),
            ..Answers::default()
        };
        for (key, job) in rounds.asked.get(present).into_iter().flatten() {
            match job {
                Job::Answered(answer) => drop(answers.given.insert(key.clone(), answer.clone())),
                Job::Running { called: true, .. } => drop(answers.called.insert(key.clone())),
                Job::Running { called: false, .. } => {}
            }
        }
        answers
    }

    /// Nothing is to be asked for this canary now: its round is dropped.
    pub fn drop_round(&self, uid: &str) {
        if let Some(rounds) = self.shared.canaries().get_mut(uid) {
            rounds.leave();
        }
    }

    /// The canary is gone.
    pub fn forget(&self, uid: &str) {
        if let Some(mut rounds) = self.shared.canaries().remove(uid) {
            rounds.leave();
        }
    }

    /// How long the canary's present round has been asked for.
    pub fn took(&self, uid: &str) -> Option<Duration> {
        let begun = self.shared.canaries().get(uid)?.begun?;
        (self.shared.clock.now() - begun).to_std().ok()
    }

    /// The number of questions that are being asked now.
    pub fn running(&self) -> usize {
        let canaries = self.shared.canaries();
        let jobs = canaries
            .values()
            .flat_map(|rounds| rounds.asked.values())
            .flatten()
            .map(|(_, job)| job);
        jobs.filter(|job| matches!(job, Job::Running { .. })).count()
    }
}

impl Drop for Jobs {
    /// Asks no further. A successor asks again with the same keys.
    fn drop(&mut self) {
        let rounds = self
            .shared
            .canaries()
            .drain()
            .flat_map(|(_, rounds)| rounds.asked)
            .collect::<Vec<_>>();
        for job in rounds.into_iter().flat_map(|(_, asked)| asked.into_values()) {
            if let Job::Running { task, .. } = job {
                task.abort();
            }
        }
    }
}

impl Shared {
    fn canaries(&self) -> MutexGuard<'_, HashMap<String, Rounds>> {
        self.canaries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            present: None,
            begun: None,
            asked: BTreeMap::new(),
            hooks: Arc::new(Semaphore::new(HOOKS_OF_ONE)),
            metrics: Arc::new(Semaphore::new(METRICS_OF_ONE)),
        }
    }
}

impl Rounds {
    fn turn_to(&mut self, id: &RoundId, now: DateTime<Utc>) {
        if self.present.as_ref() != Some(id) {
            self.leave();
            self.present = Some(id.clone());
            self.begun = Some(now);
        }
    }

    /// Drops the present round: its answers are forgotten, its metrics asked no further, its hooks run on unheard if they were
    /// called already.
    fn leave(&mut self) {
        self.present = None;
        self.begun = None;
        for asked in self.asked.values_mut() {
            asked.retain(|_, job| match job {
                Job::Running { called: true, .. } => true,
                Job::Running { task, called: false } => {
                    task.abort();
                    false
                }
                Job::Answered(_) => false,
            });
        }
        self.asked.retain(|_, asked| !asked.is_empty());
    }

    /// This task is about to call its hook. False when nobody wants that any more: its round was left while it waited.
    fn call_begins(&mut self, inquiry: &Inquiry, me: task::Id) -> bool {
        let job = self
            .asked
            .get_mut(&inquiry.round)
            .and_then(|asked| asked.get_mut(&inquiry.key));
        match job {
            Some(Job::Running { task, called }) if task.id() == me => {
                *called = true;
                true
            }
            _ => false,
        }
    }

    /// Puts an answer down where it is waited for; elsewhere the question is merely over.
    fn put_down(&mut self, inquiry: &Inquiry, answer: Answer) {
        let Some(asked) = self.asked.get_mut(&inquiry.round) else {
            return;
        };
        if self.present.as_ref() == Some(&inquiry.round) {
            asked.insert(inquiry.key.clone(), Job::Answered(answer));
        } else {
            asked.remove(&inquiry.key);
        }
        self.asked.retain(|_, asked| !asked.is_empty());
    }
}

/// Asks one question, when there is a place for it, and puts the answer down.
async fn run(shared: Weak<Shared>, inquiry: Inquiry, own: Arc<Semaphore>) {
    let Some(shared) = shared.upgrade() else { return };
    let Ok(_own) = own.acquire().await else { return };
    let _common = match inquiry.question {
        Question::Hook { .. } => {
            let wanted = shared
                .canaries()
                .get_mut(&uid(&inquiry.canary))
                .is_some_and(|rounds| rounds.call_begins(&inquiry, task::id()));
            if !wanted {
                return;
            }
            if inquiry.hook().is_some_and(|hook| hook.type_() == HookType::PostRollout) {
                // What waits for the call does not wait for its answer.
                (shared.wake)(&inquiry.canary);
            }
            None
        }
        Question::Metric { .. } | Question::Probe => shared.places.acquire().await.ok(),
    };
    let asked = AssertUnwindSafe(shared.asker.ask(&inquiry)).catch_unwind().await;
    let says = asked.unwrap_or_else(|_| {
        tracing::error!(key = %inquiry.idempotency_key(), "a question ended in a panic; it counts as failed");
        unanswered(
            &inquiry,
            "internal error: the question could not be asked; this is a bug in Serin",
        )
    });
    let answer = Answer {
        at: shared.clock.now(),
        says,
    };
    if let Some(rounds) = shared.canaries().get_mut(&uid(&inquiry.canary)) {
        rounds.put_down(&inquiry, answer);
    }
    (shared.wake)(&inquiry.canary);
}

/// The answer of a question that could not be asked, in the form that fits it.
pub fn unanswered(inquiry: &Inquiry, words: &str) -> Says {
    without_number(inquiry, words, |_| Verdict::Fail)
}

/// The same where time ran out: a metric then counts as its `onError` says.
pub fn unread(inquiry: &Inquiry, words: &str) -> Says {
    without_number(inquiry, words, |metric| {
        metric.map_or(Verdict::Unreachable, unreachable)
    })
}

fn without_number(inquiry: &Inquiry, words: &str, verdict: impl FnOnce(Option<&Metric>) -> Verdict) -> Says {
    let Question::Metric { .. } = inquiry.question else {
        return Says::Unasked(words.to_owned());
    };
    let metric = inquiry.metric();
    let verdict = verdict(metric);
    Says::Metric(Judged {
        verdict,
        text: if verdict == Verdict::Pass {
            String::new()
        } else {
            words.to_owned()
        },
        record: SampleRecord {
            metric: metric.map(|metric| metric.name.clone()).unwrap_or_default(),
            value: "error".into(),
            limit: String::new(),
            passed: verdict == Verdict::Pass,
        },
        value: None,
    })
}

fn uid(canary: &Canary) -> String {
    canary.metadata.uid.clone().unwrap_or_default()
}
