//! Writing the status: with the version that it was computed from, and without losing count when the answer is lost.

use std::sync::Arc;

use serde_json::Value;

use super::held::Held;
use super::meta;
use super::pass::{Engine, Stop, Turned};
use super::resource::CanaryKey;
use super::say;
use super::site::Site;
use super::status;
use super::write::WriteError;
use crate::api::{Canary, CanaryStatus};
use crate::rollout::{self, Block, Memory, Notice};
use crate::telemetry::metrics::Ending;

/// What goes with a decision, and must not happen before its status is written.
#[derive(Debug, Clone)]
pub struct Step {
    /// The core's memory after it.
    pub memory: Memory,
    /// The answers were used, or are to questions that are not asked any more.
    pub drop_round: bool,
    /// How a run ended by it.
    pub ending: Option<Ending>,
}

/// A status write that had no answer. It may have taken effect, or still do.
#[derive(Debug)]
pub struct Attempt {
    block: Block,
    step: Step,
    /// What it announced, besides what was on its way already.
    news: Vec<Notice>,
}

impl Engine {
    /// Writes the status, first of all, with the version that it was computed from.
    pub(super) async fn write_status(
        &self,
        site: &mut Site,
        block: &Block,
        step: &Step,
        held: &mut Held,
    ) -> Result<(), Stop> {
        let news = block.notices.clone();
        let block = &rollout::with_untold(block, self.teller.untold(site.uid()));
        let mut public = rollout::publish(&site.canary, block, self.look.clock.now());
        if !self.rules.config_tracking {
            // Nothing is followed any more (spec/core.md 3.5); what cannot be known for a moment stays.
            public.tracked_configs = None;
        } else if let Some(tracked) = site.configs.tracked() {
            public.tracked_configs = Some(tracked);
        }
        let document = status::document(&site.raw, &public);
        let key = site.key();
        match self.writer.replace_status(&key.object(), &document).await {
            Ok(answer) => {
                if answer.pointer("/status/serin") != document.pointer("/status/serin") {
                    // Nothing else can be remembered either.
                    self.pruned.notify_one();
                    return Err(Stop::Failed("the API server pruned status.serin".into()));
                }
                held.written = Some(meta::version(&answer).to_owned());
                take_over(site, answer, public);
                // Whatever is still on its way comes too late now.
                held.attempts.clear();
                Ok(())
            }
            Err(WriteError::Withheld) => {
                let place = |block: &Block| (block.run, block.stage, block.weight, block.iterations);
                if held.block.as_ref().map(place) != Some(place(block)) {
                    // Another step says what it would do, also where an earlier one did the same.
                    held.said.clear();
                }
                say::would(
                    &key,
                    &format!("write the status: {:?}, weight {}", block.stage, block.weight),
                    &mut held.said,
                );
                held.block = Some(block.clone());
                Ok(())
            }
            Err(WriteError::Conflict(_) | WriteError::Gone(_)) => {
                self.look.live(&key.object()).await;
                Err(Stop::Stale)
            }
            Err(error) => {
                if matches!(error, WriteError::Passing(_)) {
                    held.attempts.push(Attempt {
                        block: block.clone(),
                        step: step.clone(),
                        news,
                    });
                }
                Err(Stop::Failed(format!("writing the status: {error}")))
            }
        }
    }

    /// What a written status brings with it in this process. Returns how the run ended, if it did.
    pub(super) fn take_step(&self, uid: &str, step: Step, held: &mut Held) -> Option<Ending> {
        held.memory = step.memory;
        if step.drop_round {
            self.jobs.drop_round(uid);
        }
        step.ending
    }

    /// Counts a run that has ended.
    pub(super) fn ended(&self, canary: &Canary, ending: Option<Ending>) {
        let (namespace, name) = (&canary.metadata.namespace, &canary.metadata.name);
        if let (Some(ending), Some(namespace), Some(name)) = (ending, namespace, name) {
            self.metrics
                .ended(namespace, name, canary.spec.strategy().as_str(), ending);
        }
    }

    /// Finds out that an attempt without an answer took effect after all: everything that comes with it is made up for,
    /// so that no check counts twice and no notice is lost.
    pub(super) fn recognise(&self, canary: &Arc<Canary>, block: &Block, held: &mut Held) {
        let Some(found) = held.attempts.iter().position(|attempt| attempt.block == *block) else {
            return;
        };
        let Attempt { step, news, .. } = held.attempts.swap_remove(found);
        held.attempts.clear();
        let ending = self.take_step(canary.metadata.uid.as_deref().unwrap_or_default(), step, held);
        self.teller.tell(canary.clone(), news);
        self.ended(canary, ending);
    }

    /// Nothing is done about this Canary; its conditions say why.
    pub(super) async fn hold(&self, raw: &Value, reason: &str, words: &str, held: &mut Held) -> Result<Turned, Stop> {
        let key = CanaryKey::new(meta::namespace(raw), meta::name(raw));
        let Some(document) = status::on_hold(raw, reason, words, self.look.clock.now()) else {
            return Ok(Turned::default());
        };
        tracing::warn!(canary = %key, reason, "{words}");
        self.slots.forget(&key);
        match self.writer.replace_status(&key.object(), &document).await {
            Ok(_) => Ok(Turned::default()),
            Err(WriteError::Withheld) => {
                say::notes(&key, words, &mut held.said);
                Ok(Turned::default())
            }
            Err(WriteError::Conflict(_) | WriteError::Gone(_)) => {
                self.look.live(&key.object()).await;
                Err(Stop::Stale)
            }
            Err(error) => Err(Stop::Failed(format!("writing the status: {error}"))),
        }
    }
}

/// The site as it is after its status was written.
fn take_over(site: &mut Site, answer: Arc<Value>, public: CanaryStatus) {
    let mut canary = Canary::clone(&site.canary);
    canary.status = Some(public);
    canary.metadata.resource_version = Some(meta::version(&answer).to_owned());
    site.canary = Arc::new(canary);
    site.raw = answer;
}
