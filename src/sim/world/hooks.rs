//! The hooks of the embedded cluster: what each address answers, and a record of who was asked what.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    clock::Clock,
    hooks::{Caller, HookCall, HookError},
};

/// What a hook does with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookSays {
    /// It says yes.
    Yes,
    /// It says no, with this body.
    No(String),
    /// It says yes after this time, if the call lasts that long.
    YesAfter(Duration),
    /// It never answers: the call ends by its timeout.
    Nothing,
}

/// One call that came.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    /// When.
    pub at: DateTime<Utc>,
    /// With what.
    pub call: HookCall,
}

#[derive(Debug, Default)]
struct Inner {
    /// Answers to calls whose address contains a text, one after the other; the last one stays.
    scripted: Vec<(String, VecDeque<HookSays>)>,
    calls: Vec<Called>,
}

/// All hooks; clones are handles to the same ones. An address without a rule says yes.
#[derive(Debug, Clone)]
pub struct SimCaller {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

impl SimCaller {
    /// Hooks that all say yes.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            inner: Arc::default(),
        }
    }

    /// Lets the addresses that contain `url` answer with these in turn, and with the last one from then on. The rule
    /// that was added last is asked first.
    pub fn answer(&self, url: impl Into<String>, says: impl IntoIterator<Item = HookSays>) {
        let scripted = (url.into(), says.into_iter().collect());
        self.with(|inner| inner.scripted.push(scripted));
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Called> {
        self.with(|inner| inner.calls.clone())
    }

    /// The calls so far to addresses that contain this text.
    pub fn calls_to(&self, url: &str) -> Vec<Called> {
        self.calls()
            .into_iter()
            .filter(|called| called.call.url.reveal().contains(url))
            .collect()
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn says(&self, call: &HookCall) -> HookSays {
        let at = self.clock.now();
        self.with(|inner| {
            inner.calls.push(Called { at, call: call.clone() });
            let url = call.url.reveal();
            let Some((_, says)) = inner
                .scripted
                .iter_mut()
                .rev()
                .find(|(text, _)| url.contains(text.as_str()))
            else {
                return HookSays::Yes;
            };
            let next = if says.len() > 1 {
                says.pop_front()
            } else {
                says.front().cloned()
            };
            next.unwrap_or(HookSays::Yes)
        })
    }
}

#[async_trait]
impl Caller for SimCaller {
    async fn call(&self, call: &HookCall) -> Result<(), HookError> {
        let answer = match self.says(call) {
            HookSays::Yes => return Ok(()),
            HookSays::No(body) => return Err(HookError::Refused(body)),
            HookSays::YesAfter(span) => self.clock.timeout(call.timeout, self.clock.sleep(span)).await,
            HookSays::Nothing => self.clock.timeout(call.timeout, std::future::pending()).await,
        };
        answer.map_err(|_| HookError::GivenUp {
            origin: "the embedded hook".to_owned(),
            attempts: 1,
            cause: "no answer in time".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> HookCall {
        HookCall {
            url: "http://gate/approve".into(),
            timeout: Duration::from_secs(10),
            retries: 0,
            insecure_skip_verify: false,
            body: crate::hooks::Payload {
                name: "app".into(),
                namespace: "test".into(),
                phase: "Progressing".into(),
                checksum: String::new(),
                metadata: std::collections::BTreeMap::new(),
            },
            idempotency_key: "1".into(),
            secrets: crate::hooks::SecretNames::default(),
            credentials: crate::hooks::Credentials::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hook_refuses_then_passes_then_hangs() {
        let clock = Clock::virtual_at(DateTime::UNIX_EPOCH);
        let caller = SimCaller::new(clock.clone());
        caller.answer(
            "gate",
            [HookSays::No("closed".into()), HookSays::Yes, HookSays::Nothing],
        );
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(caller.call(&call()).await.map_err(|error| error.to_string()));
        }
        assert_eq!(answers[0], Err("closed".to_owned()));
        assert_eq!(answers[1], Ok(()));
        assert!(answers[2].is_err());
        assert_eq!(clock.now().timestamp(), 10);
        assert_eq!(caller.calls_to("approve").len(), 3);
    }
}
