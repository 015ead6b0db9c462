//! The core as the model runs it: the real functions, or the same with one defect put in front of them.
//!
//! A checker that finds nothing proves little until it has found something. Each defect here is one that the design warns of, made
//! outside of the core, by corrupting what goes into one of its functions.

use chrono::{DateTime, TimeDelta, Utc};
use serin::api::Canary;
use serin::rollout::{
    self, Answers, Assertion, Block, Decision, Known, Memory, Observation, Round, RoundId, Selects, Stage, Traffic,
    Weight,
};

type Ask = fn(&Canary, Option<&Block>, &Observation, &Memory, &Answers, DateTime<Utc>) -> Option<Round>;
type Advance = fn(&Canary, Option<&Block>, &Observation, &Memory, &Answers, DateTime<Utc>) -> Decision;
type Render = fn(&Canary, &Block, &Observation, &Memory, DateTime<Utc>) -> Vec<Assertion>;

/// What decides, and what the controller around it promises.
#[derive(Clone, Copy)]
pub struct Core {
    /// [`rollout::ask`].
    pub ask: Ask,
    /// [`rollout::advance`].
    pub advance: Advance,
    /// [`rollout::render`].
    pub render: Render,
    /// A status is written with the resourceVersion that it was computed from.
    pub fenced: bool,
    /// Answers are dropped when they were judged, or the run moves on.
    pub drops_answers: bool,
}

/// The core of Serin.
pub const REAL: Core = Core {
    ask: rollout::ask,
    advance: rollout::advance,
    render: rollout::render,
    fenced: true,
    drops_answers: true,
};

/// Waits for `ready` where it should wait for `drawn && ready`: what was written to the route counts as what the route shows.
pub const BELIEVES_ITS_WRITES: Core = Core {
    ask: |canary, block, observation, memory, answers, now| {
        let memory = believing(block, memory);
        rollout::ask(canary, block, observation, &memory, answers, now)
    },
    advance: |canary, block, observation, memory, answers, now| {
        let memory = believing(block, memory);
        rollout::advance(canary, block, observation, &memory, answers, now)
    },
    ..REAL
};

/// Takes the target's pods before the route was seen at home.
pub const FINISHES_EARLY: Core = Core {
    render: |canary, block, observation, memory, now| {
        let mut memory = memory.clone();
        let mut observation = observation.clone();
        if block.weight == Weight::ZERO && matches!(block.stage, Stage::Finalising | Stage::RollingBack) {
            memory.traffic_seen = Some((Traffic::default(), block.since - TimeDelta::hours(1)));
            observation.canary_endpoints = Some(0);
        }
        // The target first, as a careless order of writes would have it.
        let mut all = rollout::render(canary, block, &observation, &memory, now);
        all.sort_by_key(|one| *one != Assertion::TargetDown);
        all
    },
    ..REAL
};

/// Rolls the primary although its roll takes the pods that carry its share (`Recreate`).
pub const ROLLS_UNSHIELDED: Core = Core {
    advance: |canary, block, observation, memory, answers, now| {
        rollout::advance(canary, block, &steady(observation), memory, answers, now)
    },
    render: |canary, block, observation, memory, now| rollout::render(canary, block, &steady(observation), memory, now),
    ..REAL
};

/// Judges whatever answer is there, whichever check it belongs to.
pub const JUDGES_OLD_ANSWERS: Core = Core {
    ask: |canary, block, observation, memory, answers, now| {
        let answers = renamed(canary, block, observation, memory, answers, now);
        rollout::ask(canary, block, observation, memory, &answers, now)
    },
    advance: |canary, block, observation, memory, answers, now| {
        let answers = renamed(canary, block, observation, memory, answers, now);
        rollout::advance(canary, block, observation, memory, &answers, now)
    },
    drops_answers: false,
    ..REAL
};

/// Writes the status without its precondition, so that a late writer wins.
pub const UNFENCED: Core = Core { fenced: false, ..REAL };

/// On the way in, takes the target's pods while the apex still leads to them.
pub const TAKES_BEFORE_IT_SWITCHES: Core = Core {
    render: |canary, block, observation, memory, now| {
        let mut memory = memory.clone();
        if block.stage == Stage::Initializing {
            memory.apex_seen = Some((Selects::Primary, block.since - TimeDelta::hours(1)));
        }
        // The target first, as a careless order of writes would have it.
        let mut all = rollout::render(canary, block, observation, &memory, now);
        all.sort_by_key(|one| *one != Assertion::TargetDown);
        all
    },
    ..REAL
};

/// On the way in, gives the traffic to Services that the data plane has not heard of.
pub const ANNOUNCES_NOTHING: Core = Core {
    render: |canary, block, observation, memory, now| {
        let mut memory = memory.clone();
        memory.announced_seen = Some(block.since - TimeDelta::hours(1));
        rollout::render(canary, block, observation, &memory, now)
    },
    ..REAL
};

/// On the way out, lets the Canary go before the target has its traffic back.
pub const LETS_GO_EARLY: Core = Core {
    render: |canary, block, observation, memory, now| {
        let mut all = rollout::render(canary, block, observation, memory, now);
        if block.stage == Stage::Leaving {
            all.push(Assertion::Unfinalized { hand_back: true });
        }
        all
    },
    ..REAL
};

/// The weight of the status counts as seen since it was written.
fn believing(block: Option<&Block>, memory: &Memory) -> Memory {
    let mut memory = memory.clone();
    let believed = block.map(|block| (Traffic::shared(block.weight), block.since));
    memory.traffic_seen = believed.or(memory.traffic_seen);
    memory
}

/// No roll takes a pod.
fn steady(observation: &Observation) -> Observation {
    let mut observation = observation.clone();
    for side in [&mut observation.primary, &mut observation.target] {
        if let Known::Present(workload) = side {
            workload.worst_ready = workload.replicas;
        }
    }
    observation
}

/// The answers under the name of the check that is due.
fn renamed(
    canary: &Canary,
    block: Option<&Block>,
    observation: &Observation,
    memory: &Memory,
    answers: &Answers,
    now: DateTime<Utc>,
) -> Answers {
    let due = rollout::ask(canary, block, observation, memory, &Answers::default(), now);
    let name: Option<RoundId> = due.map(|round| round.id).or_else(|| answers.round.clone());
    Answers {
        round: name,
        ..answers.clone()
    }
}
