//! The loop around the core: the only code that reads and writes the cluster.

pub mod asking;
pub mod channels;
pub mod jobs;
pub mod leader;
pub mod lookup;
mod retry;
pub mod settings;
pub mod tell;
