//! One check: which questions belong to it, in which order, and what their answers come to.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::advance;
use super::capacity::Capacity;
use super::mark::{OWED, hooks, mark};
use super::observation::{Memory, Observation};
use super::public;
use super::question::{Answers, Judged, Question, QuestionKey, RoundId, Says, Verdict};
use super::state::{Block, GateState, SampleRecord, Stage};
use super::steps::Next;
use super::weight::Side;
use crate::api::{Canary, HookType, Webhook};

/// A hook that may take longer than this is repeated under its old key sooner: no restart holds a release up for hours.
const LONGEST_SUCCESSION: Duration = Duration::from_mins(5);

/// A check that is due now. Each batch is asked when the one before it was answered and let it pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// Which check.
    pub id: RoundId,
    batches: Vec<Vec<Question>>,
}

/// Whether there is something to ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// This stage asks nobody now.
    Nothing,
    /// Something will be asked then.
    Later(DateTime<Utc>),
    /// This is to be asked now.
    Due(Due),
}

/// How far a check has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// These questions come next.
    Ask(Vec<Question>),
    /// It is over, with this result.
    Done(Box<Tally>),
}

/// What the answers of one check come to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tally {
    /// A `rollback` hook asked for it.
    pub roll_back: Option<String>,
    /// `rollback` hooks that said nothing, which counts as no: the texts of their events.
    pub silent: Vec<String>,
    /// Hooks that count, and metrics, that failed: the texts of their events.
    pub failures: Vec<String>,
    /// Metrics without a number that are to be waited for.
    pub held: Vec<String>,
    /// Metrics whose server could not be asked.
    pub unreachable: Vec<String>,
    /// The first gate that refused.
    pub refused: Option<GateRefusal>,
    /// Gates, `pre-rollout` and `post-rollout` hooks that passed, in order.
    pub passed: Vec<Pass>,
    /// What was read.
    pub samples: Vec<SampleRecord>,
}

/// A hook that answered as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Which kind of hook.
    pub kind: HookType,
    /// Its name.
    pub name: String,
    /// Its key in [`Block::gates`].
    pub mark: String,
}

/// A gate that keeps closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateRefusal {
    /// Which kind of gate.
    pub kind: HookType,
    /// The hook's name.
    pub name: String,
    /// Its key in [`Block::gates`].
    pub mark: String,
    /// What it answered.
    pub text: String,
    /// No alert about it (`muteAlert`).
    pub muted: bool,
}

impl Tally {
    /// Nothing failed, nothing is missing, no gate is closed.
    pub const fn passed(&self) -> bool {
        self.failures.is_empty() && self.held.is_empty() && self.unreachable.is_empty() && self.refused.is_none()
    }
}

/// The check that is due now, or when one will be.
pub fn check(canary: &Canary, block: &Block, observation: &Observation, memory: &Memory, now: DateTime<Utc>) -> Check {
    let Some(batches) = batches(canary, block, observation, memory, now) else {
        return Check::Nothing;
    };
    let after = |at: DateTime<Utc>| at + advance::delta(canary.spec.interval());
    let interval_ends = match block.stage {
        Stage::Stepping | Stage::WaitingPromotion => match stands_since(block, memory) {
            Some(since) => Some(after(since)),
            None => return Check::Nothing,
        },
        Stage::Resting | Stage::Waiting | Stage::Raising => memory.last_check.map(after),
        _ => None,
    };
    let opens = interval_ends.max(succession(canary, block, memory, &batches));
    if let Some(at) = opens.filter(|at| now < *at) {
        return Check::Later(at);
    }
    let revision = match block.stage {
        Stage::Resting | Stage::Waiting if !block.gates.contains_key(OWED) => {
            advance::unreleased(block, observation, memory, now)
        }
        _ => block.running.clone(),
    };
    let id = RoundId {
        run: block.run,
        revision,
        stage: block.stage,
        weight: block.weight,
        check: memory.checks,
    };
    Check::Due(Due { id, batches })
}

/// The questions of the present stage, if it asks any now.
fn batches(
    canary: &Canary,
    block: &Block,
    observation: &Observation,
    memory: &Memory,
    now: DateTime<Utc>,
) -> Option<Vec<Vec<Question>>> {
    let list = Hooks { canary, block };
    match block.stage {
        Stage::Initializing if !block.gates.contains_key("probe") && has_metrics(canary) => {
            Some(vec![vec![Question::Probe]])
        }
        Stage::Resting | Stage::HoldOnCanary if block.gates.contains_key(OWED) => {
            let hooks = list.open(HookType::PostRollout);
            // A revision that waits does not wait for one hook after the other.
            let hurried = advance::unreleased(block, observation, memory, now).is_some();
            Some(if hurried { vec![hooks.concat()] } else { hooks })
        }
        Stage::Resting | Stage::Waiting => {
            advance::unreleased(block, observation, memory, now)?;
            // Flagger's pages promise that a rollback hook counts while a revision waits; Flagger never asks it then.
            let mut batches = match block.stage {
                Stage::Waiting => list.each(HookType::Rollback),
                _ => Vec::new(),
            };
            batches.extend(list.open(HookType::ConfirmRollout));
            Some(batches)
        }
        // A run without steps asks nobody between its two gates.
        Stage::Raising if block.plan.as_ref().is_none_or(|plan| !plan.judges()) => None,
        Stage::Raising if advance::ready_for_traffic(canary, block, observation, memory, now) => {
            let mut batches = list.each(HookType::Rollback);
            if block.words.paused.is_some() {
                return (!batches.is_empty()).then_some(batches);
            }
            batches.extend(list.open(HookType::PreRollout));
            if counts_by_weight(block) {
                batches.extend(list.open(HookType::ConfirmTrafficIncrease));
            }
            Some(batches)
        }
        Stage::Stepping | Stage::WaitingPromotion => {
            let capacity = Capacity::new(&canary.spec, block, observation, memory, now);
            Some(step(canary, block, capacity, &list))
        }
        _ => None,
    }
}

/// Until when a hook may still be answering that a predecessor of this process called in this stage: the same hook twice at the same
/// time is load twice (`design.md`, "Questions are jobs"). Nothing when this process began the stage itself.
fn succession(canary: &Canary, block: &Block, memory: &Memory, batches: &[Vec<Question>]) -> Option<DateTime<Utc>> {
    let since = memory.acting_since.filter(|since| block.since < *since)?;
    let timeouts = batches.iter().flatten().filter_map(|question| match question {
        Question::Hook { index, .. } => hooks(canary).get(*index).map(Webhook::timeout),
        Question::Metric { .. } | Question::Probe => None,
    });
    Some(since + advance::delta(timeouts.max()?.min(LONGEST_SUCCESSION)))
}

fn step(canary: &Canary, block: &Block, capacity: Capacity<'_>, list: &Hooks<'_>) -> Vec<Vec<Question>> {
    let mut batches = list.each(HookType::Rollback);
    batches.extend(list.each(HookType::Rollout));
    let metrics = canary
        .spec
        .analysis
        .as_ref()
        .map_or(0, |analysis| analysis.metrics.len());
    if metrics > 0 {
        batches.push((0..metrics).map(|index| Question::Metric { index }).collect());
    }
    let next = block.next();
    // A gate is asked right before the write that it guards, so not while that write could not be made.
    let paused = block.words.paused.is_some();
    let carried = capacity.bears(Side::Canary, &block.traffic())
        && match next {
            Next::Weight(weight) => capacity.bears(Side::Canary, &block.traffic_at(weight)),
            Next::Iteration(_) | Next::Promotion => true,
        };
    if !paused && carried {
        let weighted = counts_by_weight(block);
        if weighted && block.stage == Stage::Stepping {
            batches.extend(list.open(HookType::ConfirmTrafficIncrease));
        }
        // All traffic of Blue/Green is part of its promotion.
        if next == Next::Promotion || (!weighted && matches!(next, Next::Weight(_))) {
            batches.extend(list.open(HookType::ConfirmPromotion));
        }
    }
    batches
}

/// Whether the run raises a weight step by step, which is what `confirm-traffic-increase` guards.
fn counts_by_weight(block: &Block) -> bool {
    block.plan.as_ref().is_none_or(|plan| plan.iterations == 0)
}

/// Since when the step stands as it does: begun, its traffic seen drawn, and no check of it ended since.
pub fn stands_since(block: &Block, memory: &Memory) -> Option<DateTime<Utc>> {
    let drawn = memory.drawn_since(&block.traffic())?;
    Some(drawn.max(block.since).max(memory.last_check.unwrap_or(drawn)))
}

/// Reads the answers of this check: what to ask next, or what it all comes to.
pub fn progress(due: &Due, canary: &Canary, answers: &Answers) -> Progress {
    let given = (answers.round.as_ref() == Some(&due.id)).then_some(&answers.given);
    let mut tally = Tally::default();
    for batch in &due.batches {
        let open: Vec<Question> = batch
            .iter()
            .filter(|q| given.and_then(|given| given.get(&QuestionKey::of(q))).is_none())
            .cloned()
            .collect();
        if !open.is_empty() {
            return Progress::Ask(open);
        }
        for question in batch {
            if let Some(answer) = given.and_then(|given| given.get(&QuestionKey::of(question))) {
                tally.count(canary, question, &answer.says);
            }
        }
        if tally.roll_back.is_some() || !tally.passed() {
            break;
        }
    }
    Progress::Done(Box::new(tally))
}

impl Tally {
    fn count(&mut self, canary: &Canary, question: &Question, says: &Says) {
        match (question, says) {
            (Question::Hook { index, .. }, says) => {
                let Some(hook) = hooks(canary).get(*index) else { return };
                self.count_hook(canary, hook, mark(canary, *index), says);
            }
            (_, Says::Metric(judged)) => self.count_metric(judged),
            (Question::Probe, Says::Refused(text) | Says::Unasked(text)) => {
                self.failures.push(format!("Error checking metric providers: {text}"));
            }
            _ => {}
        }
    }

    fn count_hook(&mut self, canary: &Canary, hook: &Webhook, mark: String, says: &Says) {
        let (kind, name) = (hook.type_(), hook.name.as_str());
        let refusal = match says {
            Says::Refused(text) | Says::Unasked(text) => Some(text.clone()),
            _ => None,
        };
        if let (HookType::Rollback, Says::Unasked(text)) = (kind, says) {
            self.silent
                .push(format!("Rollback check {name} could not be asked: {text}"));
        }
        match (kind, refusal) {
            (HookType::Rollback, None) => self.roll_back = Some(name.to_owned()),
            (HookType::Rollback, Some(_)) | (HookType::Rollout | HookType::Event, None) => {}
            (HookType::Rollout | HookType::PreRollout, Some(text)) => {
                let what = if kind == HookType::PreRollout {
                    "pre-rollout"
                } else {
                    "external"
                };
                let canary = format!("{}.{}", public::name(canary), public::namespace(canary));
                self.failures
                    .push(format!("Halt {canary} advancement {what} check {name} failed {text}"));
            }
            (kind, None) => self.passed.push(Pass {
                kind,
                name: name.to_owned(),
                mark,
            }),
            (kind, Some(text)) => {
                if self.refused.is_none() {
                    self.refused = Some(GateRefusal {
                        kind,
                        name: name.to_owned(),
                        mark,
                        text,
                        muted: hook.mute_alert,
                    });
                }
            }
        }
    }

    fn count_metric(&mut self, judged: &Judged) {
        self.samples.push(judged.record.clone());
        match judged.verdict {
            Verdict::Pass => {}
            Verdict::Fail => self.failures.push(judged.text.clone()),
            Verdict::Hold => self.held.push(judged.text.clone()),
            Verdict::Unreachable => self.unreachable.push(judged.text.clone()),
        }
    }
}

fn has_metrics(canary: &Canary) -> bool {
    !canary.spec.skips_analysis()
        && canary
            .spec
            .analysis
            .as_ref()
            .is_some_and(|analysis| !analysis.metrics.is_empty())
}

/// The hooks of a canary, by kind and in list order.
struct Hooks<'a> {
    canary: &'a Canary,
    block: &'a Block,
}

impl Hooks<'_> {
    /// One batch for each hook of the kind: they are called one after another.
    fn each(&self, kind: HookType) -> Vec<Vec<Question>> {
        self.select(kind, |_| true)
    }

    /// The same without those that have passed already in this stage.
    fn open(&self, kind: HookType) -> Vec<Vec<Question>> {
        self.select(kind, |index| {
            self.block.gates.get(&mark(self.canary, index)) != Some(&GateState::Passed)
        })
    }

    fn select(&self, kind: HookType, wanted: impl Fn(usize) -> bool) -> Vec<Vec<Question>> {
        hooks(self.canary)
            .iter()
            .enumerate()
            .filter(|(index, hook)| hook.type_() == kind && wanted(*index))
            .map(|(index, _)| {
                vec![Question::Hook {
                    index,
                    phase: self.phase(kind),
                }]
            })
            .collect()
    }

    /// The phase in the payload (`spec/core.md` 4.1).
    fn phase(&self, kind: HookType) -> String {
        match kind {
            HookType::ConfirmRollout | HookType::Rollback | HookType::PostRollout => {
                public::phase(self.block).as_str().into()
            }
            _ => "Progressing".into(),
        }
    }
}
