//! The loop around the core: the only code that reads and writes the cluster.

pub mod asking;
mod caches;
pub mod channels;
mod draw;
pub mod guard;
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
pub mod rights;
pub mod settings;
mod site;
pub mod tell;
mod watch;
mod write;
