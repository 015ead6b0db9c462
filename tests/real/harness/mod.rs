//! What every scenario shares: a cluster to work on, load, and somebody who writes down what happened.
//!
//! The way through the files. [`namespace`] closes the door behind us and [`programs`] finds what to start. [`cluster`] starts
//! it, or takes one from [`abroad`], where the run is a [`guest`]: [`control_plane`], [`gateway`] behind a [`slow_line`], [`kubelet`] for pods that are processes of [`app`], [`kwok`] for pods
//! that are objects only; [`installation`] puts the product in. [`controller`] is what is under test. [`shop`] is an application with its route and its Canary, [`load`] sends
//! requests to it, [`record`] watches it, [`copies`] counts at its pods, [`pod_metrics`] says what those use. [`listener`] answers hooks. [`verdict`] is how a scenario says what held and what did not.

pub mod abroad;
pub mod access_log;
pub mod app;
pub mod cluster;
pub mod control_plane;
pub mod controller;
pub mod copies;
pub mod gateway;
pub mod guest;
pub mod installation;
pub mod kubelet;
pub mod kwok;
pub mod listener;
pub mod load;
pub mod namespace;
pub mod objects;
pub mod pod_metrics;
pub mod process;
pub mod programs;
pub mod record;
mod scraping;
pub mod shop;
pub mod slow_line;
pub mod verdict;

use std::path::Path;

/// What can go wrong in a harness is anything; it is only ever told to a person.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The root of this checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
