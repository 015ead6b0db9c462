//! Everything that runs without a cluster: the core by itself, the parts, and the controller on the embedded cluster.

mod api;
mod apiserver;
mod core;
mod metrics;
mod routing;
mod workload;
mod world;
