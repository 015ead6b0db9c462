//! The core: what a canary does next, as pure functions.
//!
//! ```text
//! observe   caches with our own writes laid over                                       controller/observe.rs
//! remember  (memory, canary, observation, now) -> memory                               memory.rs
//! ask       (canary, observation, memory, answers, now) -> the next round              ask.rs
//! advance   (canary, observation, memory, answers, now) -> next block, notices, wake   advance.rs
//! render    (canary, block, observation, memory) -> assertions, in order               render.rs
//! apply     status with its precondition, then each assertion not met, then tell       controller/apply.rs
//! ```
//!
//! `advance` is the only code that changes a stage, a weight or a counter. There is no clock, no client, no randomness and no
//! `async` here: time comes in as an argument. This module imports `api` and plain data only; `tests/suite/architecture.rs` holds it to that.

mod advance;
mod announcement;
mod ask;
mod assertion;
mod capacity;
mod cookies;
mod handover;
mod known;
mod mark;
mod memory;
mod met;
mod notice;
mod observation;
mod pods;
mod public;
mod question;
mod render;
mod round;
mod scaler;
mod size;
mod slots;
mod state;
mod steps;
mod traffic;
mod weight;
mod word;

pub use advance::{Decision, advance, in_doubt, may_roll};
pub use ask::ask;
pub use assertion::{Assertion, Destination, Leftover};
pub use capacity::need;
pub use known::Known;
pub use memory::remember;
pub use met::met;
pub use notice::{Alert, Notice, Severity};
pub use observation::{
    Confirmation, DestinationFacts, Memory, Observation, Obstacle, Progress, Refusal, Rehearsal, Rollout, RouteFacts,
    Selects, ServiceFacts, Taken, Workload,
};
pub use pods::awaited_pods;
pub use public::{phase, publish};
pub use question::{Answer, Answers, Judged, Question, QuestionKey, Round, RoundId, Says, Verdict};
pub use render::render;
pub use scaler::{Bounds, Follow, ScalerCopy, ScalerFacts, wanted as wanted_scaler};
pub use size::with_untold;
pub use slots::{Contender, Full, Limits, Line, QUEUED, Queued, Stands, begins, stands};
pub use state::{
    Baseline, Block, ClosedGate, Cookies, Fingerprint, GateState, Outcome, Plan, RunResult, SampleRecord, Stage,
    Subject, TEXT_LIMIT, VERSION, Why,
};
pub use steps::Next;
pub use traffic::{Affinity, Cookie, Traffic};
pub use weight::{Side, Weight, WeightError};
pub use word::{Heard, Said, Verb, Word, WordError, Words};
