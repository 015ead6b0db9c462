//! A road to the API server that is bad for a while: requests fail, take effect without an answer, or arrive late.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serin::sim::fault::{Action, Failure, Fault, RequestInfo};

use super::dice::Dice;

/// The road of all processes of one schedule.
#[derive(Debug)]
pub struct Chaos {
    inner: Mutex<(Dice, u64)>,
}

impl Chaos {
    /// A good road, for now.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new((Dice::new(seed ^ 0x5eed), 0)),
        })
    }

    /// From now on so many of a hundred requests go wrong.
    pub fn set(&self, percent: u64) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1 = percent;
    }
}

impl Fault for Chaos {
    fn on_request(&self, request: &RequestInfo) -> Action {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (dice, percent) = &mut *inner;
        if *percent == 0 || request.verb == "watch" || !dice.percent(*percent) {
            return Action::Pass;
        }
        match dice.from(0, 5) {
            0 => Action::FailBefore(Failure::InternalError),
            1 => Action::FailBefore(Failure::ConnectionReset),
            2 => Action::FailAfter(Failure::ConnectionReset),
            3 => Action::FailAfter(Failure::InternalError),
            _ => Action::Delay(Duration::from_millis(dice.from(1, 8_000))),
        }
    }
}
