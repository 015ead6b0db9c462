//! The embedded cluster: a Kubernetes in memory for the demo and the tests.
//!
//! [`apiserver`] answers like a real API server behind a plain `kube::Client`, without a socket; [`fault`] breaks chosen
//! requests on the way; [`world`] is everything else that acts in a cluster beside Serin. Only `cli` and tests may import
//! this module.

pub mod apiserver;
pub mod fault;
pub mod world;
