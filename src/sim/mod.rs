//! The embedded cluster: a Kubernetes in memory for the demo and the tests.

pub mod world;
