//! The rest of the embedded cluster: everything that acts beside Serin in a real one.
//!
//! Controllers for Deployments, `ReplicaSets`, pods and endpoints, and the data plane's word on routes. They talk to an
//! API server through `kube::Client` only. What goes wrong, and how slowly, stands in a [`Script`].

mod deployment;
mod deployment_status;
mod endpointslice;
mod engine;
mod mirror;
mod pod;
mod replicaset;
mod router;
pub mod script;
mod stamp;
mod write;

use kube::Client;
use tokio::task::JoinHandle;

use self::engine::{Engine, Plot};
pub use self::script::Script;
use crate::clock::Clock;

/// The controllers of one embedded cluster. They stop when it is dropped.
#[derive(Debug)]
pub struct World {
    plot: Plot,
    task: JoinHandle<()>,
}

impl World {
    /// Starts the controllers on an API server. Names that they make up are drawn from `seed`.
    pub fn start(client: Client, clock: Clock, script: Script, seed: u64) -> Self {
        let plot = Plot::new(script);
        let task = tokio::spawn(Engine::new(client, clock, plot.clone(), seed).run());
        Self { plot, task }
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
