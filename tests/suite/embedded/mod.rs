//! The real controller on the embedded cluster: whole releases in virtual time, every write held against the invariants.
//!
//! Every watch event comes late by a random 0 to 5 seconds, so nothing here passes because a cache happened to be fresh.
//! A test is named by behaviour; `core_NNN_...` is the acceptance case of that number in `spec/core.md` 8, played with
//! `gatewayapi:v1` and without a scaler where the case does not depend on them.

mod acceptance;
mod affinity;
mod announcement;
mod bad_input;
mod budget;
mod command;
mod configs;
mod configs_before;
mod configs_live;
mod copy;
mod deletion;
mod face;
mod faults;
mod followed;
mod hooks;
mod istio;
mod leave;
mod lifecycle;
mod line;
mod malformed;
mod metrics;
mod moving;
mod payload;
mod pods;
mod preflight;
mod process;
mod readiness;
mod refused;
mod regressions;
mod revisions;
mod rivals;
mod rollback;
mod scaler;
mod scaler_moves;
mod scheduler;
mod services;
mod setting;
mod slots;
mod stage;
mod story;
mod strategies;
mod time;
mod traffic;
mod unconfirmed;
mod warnings;
mod words;
