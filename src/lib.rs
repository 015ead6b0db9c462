//! Serin, a progressive delivery controller for Kubernetes.
//!
//! The status is the program counter; the world is drawn from it, and a step is over only when the world is seen drawn:
//!
//! ```text
//! observe   caches with our own writes laid over                                            I/O, no decisions
//! ask       (canary, observation, answers so far, now) -> the next round of questions       pure
//! advance   (canary, observation, answers, now) -> next status, notices, wake-up time       pure
//! render    (canary, observation, status) -> assertions, in order                           pure
//! apply     status with its precondition, then each assertion not met, then tell            I/O, no decisions
//! ```
//!
//! Arrows point one way: `cli -> controller -> {rollout, workload, routing, metrics, hooks, notify} -> api`.

pub mod api;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod hooks;
pub mod metrics;
pub mod notify;
pub mod object;
pub mod outbound;
pub mod retry;
pub mod rollout;
pub mod routing;
pub mod sim;
pub mod telemetry;
pub mod tls;
pub mod workload;
