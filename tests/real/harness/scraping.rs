//! The list of pods that Prometheus reads: a file that it watches, in the format of its file discovery.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::harness::Outcome;

/// The file, and what stands in it.
pub struct ScrapedPods {
    file: PathBuf,
    by_address: Mutex<BTreeMap<SocketAddr, Value>>,
}

impl ScrapedPods {
    /// An empty list in `state/pods.json`, where the configuration of Prometheus looks for it.
    pub fn new(state: &Path) -> Outcome<Self> {
        let pods = Self {
            file: state.join("pods.json"),
            by_address: Mutex::default(),
        };
        pods.change(|_| ())?;
        Ok(pods)
    }

    /// Adds a pod, with the labels that the built-in queries for the Gateway API select by.
    pub fn add(&self, address: SocketAddr, namespace: &str, name: &str) -> Outcome<()> {
        let labels = json!({ "kubernetes_namespace": namespace, "kubernetes_pod_name": name });
        let entry = json!({ "targets": [address.to_string()], "labels": labels });
        self.change(|pods| drop(pods.insert(address, entry)))
    }

    /// Takes a pod off.
    pub fn remove(&self, address: SocketAddr) -> Outcome<()> {
        self.change(|pods| drop(pods.remove(&address)))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<SocketAddr, Value>)) -> Outcome<()> {
        let mut pods = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut pods);
        let all: Vec<_> = pods.values().collect();
        // Moved into place, so that Prometheus never reads half of it.
        let half = self.file.with_extension("new");
        std::fs::write(&half, serde_json::to_vec_pretty(&all)?)?;
        Ok(std::fs::rename(half, &self.file)?)
    }
}
