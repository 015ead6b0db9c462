//! Everything that runs without a cluster: the core by itself, the parts, and the controller on the embedded cluster.

mod api;
mod apiserver;
mod controller;
mod core;
mod embedded;
mod metrics;
mod world;
