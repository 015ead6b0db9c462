//! Everything that runs without a cluster: the core by itself, the parts, and the controller on the embedded cluster.

mod core;
//! Tests.

mod api;
mod apiserver;
mod metrics;
mod world;
mod metrics;
