//! The rest of the embedded cluster: everything that acts beside Serin in a real one.
//!
//! Controllers for Deployments, `ReplicaSets`, pods and endpoints, and the data plane's word on routes. They know nothing but
//! what the API server's watches and answers tell them. What goes wrong, and how slowly, stands in a [`Script`].

pub mod alerts;
mod autoscaler;
mod deployment;
mod deployment_status;
mod endpointslice;
mod engine;
pub mod hooks;
pub mod invariants;
mod leeway;
pub mod manifests;
pub mod metrics;
mod mirror;
mod plane;
mod pod;
mod replicaset;
mod route_crds;
pub mod route_shape;
mod router;
pub mod script;
mod stamp;
pub mod traffic;
mod wire;
mod write;

use tokio::task::JoinHandle;

use self::engine::{Engine, Plot};
pub use self::{
    alerts::SimSender, hooks::SimCaller, metrics::SimReader, route_crds::route_crds, script::Script, traffic::Traffic,
};
use super::apiserver::ApiServer;
use crate::clock::Clock;

/// The user as whom they write.
const USER: &str = "kube-controller-manager";

/// How many requests come to each Service that clients call.
const REQUESTS_PER_SECOND: f64 = 100.0;

/// The controllers of one embedded cluster. They stop when it is dropped.
#[derive(Debug)]
pub struct World {
    plot: Plot,
    traffic: Traffic,
    task: JoinHandle<()>,
}

impl World {
    /// Starts the controllers on an API server. Names that they make up are drawn from `seed`.
    pub fn start(api: &ApiServer, clock: Clock, script: Script, seed: u64) -> Self {
        let plot = Plot::new(script);
        let traffic = Traffic::new(REQUESTS_PER_SECOND);
        let engine = Engine::new(api.direct(USER), clock, plot.clone(), traffic.clone(), seed);
        Self {
            plot,
            traffic,
            task: tokio::spawn(engine.run()),
        }
    }

    /// The requests of the clients.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Changes what happens from now on.
    pub fn change(&self, change: impl FnOnce(Script) -> Script) {
        self.plot.change(change);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}
