//! Everything that runs without a cluster: the core by itself, the parts, and the controller on the embedded cluster.

mod api;
mod apiserver;
mod architecture;
mod core;
mod guard;
mod jobs;
mod leader;
mod metrics;
mod tell;
mod world;
