//! The loop around the core: the only code that reads and writes the cluster.

pub mod jobs;
pub mod leader;
pub mod lookup;
pub mod settings;
