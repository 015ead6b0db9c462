//! The loop around the core: the only code that reads and writes the cluster.

mod caches;
mod draw;
mod interest;
pub mod jobs;
pub mod leader;
mod look;
pub mod lookup;
mod meta;
mod observe;
mod obstacle;
mod overlay;
mod ownership;
mod projection;
mod queue;
mod resource;
mod retry;
pub mod settings;
mod site;
mod watch;
mod write;
