//! Hooks and metrics: what they answer, and when.

use serin::rollout::{Answer, Answers, Judged, Next, Question, QuestionKey, Round, SampleRecord, Says, Verdict};

use super::World;

impl World {
    /// Asks what was not asked yet. True when something was.
    pub(super) fn put(&mut self, round: Round) -> bool {
        if self.answers.round.as_ref() != Some(&round.id) {
            self.pending.clear();
            self.answers = Answers {
                round: Some(round.id),
                ..Answers::default()
            };
        }
        let mut asked = false;
        for question in round.questions {
            let key = QuestionKey::of(&question);
            if self.pending.iter().any(|(_, pending, _)| *pending == key) {
                continue;
            }
            asked = true;
            if let (Question::Hook { .. }, Some(round)) = (&question, &self.answers.round) {
                self.calls.push((self.now, round.clone()));
            }
            let says = self.answer(&question);
            self.answers.called.insert(key.clone());
            self.pending.push((self.now + self.answers_take, key, says));
        }
        asked
    }

    /// Answers arrive. True when one did.
    pub(super) fn receive(&mut self) -> bool {
        let (come, on_their_way) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition::<Vec<_>, _>(|(at, ..)| *at <= self.now);
        self.pending = on_their_way;
        for (at, key, says) in &come {
            let answer = Answer {
                at: *at,
                says: says.clone(),
            };
            self.answers.called.remove(key);
            self.answers.given.insert(key.clone(), answer);
        }
        !come.is_empty()
    }

    fn answer(&mut self, question: &Question) -> Says {
        match question {
            Question::Probe => Says::Passed,
            Question::Hook { index, .. } => {
                let analysis = self
                    .canary
                    .spec
                    .analysis
                    .as_ref()
                    .expect("hooks are part of an analysis");
                let name = analysis.webhooks[*index].name.clone();
                let closed = name.starts_with("gate") && self.gates_closed;
                let no = closed || (name.starts_with("rollback") && !self.pressed) || self.refusing.contains(&name);
                let silent = self.silent.contains(&name);
                self.called.push(name);
                if silent {
                    return Says::Unasked("cannot connect".into());
                }
                if no { Says::Refused("no".into()) } else { Says::Passed }
            }
            Question::Metric { .. } => Says::Metric(self.judge()),
        }
    }

    fn judge(&mut self) -> Judged {
        let template = self.actual.target.as_ref().map_or(0, |target| target.template);
        let verdict = match (self.metrics_down, self.no_data, self.bad.contains(&template)) {
            (true, ..) => Verdict::Unreachable,
            (_, true, _) => Verdict::Hold,
            (.., true) => Verdict::Fail,
            _ => Verdict::Pass,
        };
        let block = self.block();
        let at_the_end = block.as_ref().is_some_and(|block| block.next() == Next::Promotion);
        if verdict == Verdict::Pass && at_the_end {
            self.judged.extend(block.and_then(|block| block.running));
        }
        let record = SampleRecord {
            metric: "rate".into(),
            value: "1".into(),
            limit: ">= 99".into(),
            passed: verdict == Verdict::Pass,
        };
        Judged {
            verdict,
            text: format!("{verdict:?}"),
            record,
            value: Some(1.0),
        }
    }
}
