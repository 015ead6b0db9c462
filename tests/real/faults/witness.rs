//! What the audit log cannot tell: a client that is killed before its answer leaves a request behind that took effect and was answered
//! with nothing. Whoever watches sees it all the same.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;
use tokio::task::JoinHandle;

/// What controllers write and the invariants read.
const KINDS: [(&str, &str, &str); 5] = [
    ("", "v1", "Service"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "ControllerRevision"),
    ("flagger.app", "v1beta1", "Canary"),
    ("projectcontour.io", "v1", "HTTPProxy"),
];

/// An object as it was from a moment on.
#[derive(Debug)]
pub struct Seen {
    /// The plural name of its kind.
    pub resource: String,
    /// The object.
    pub object: Value,
    /// When its news came.
    pub at: DateTime<Utc>,
}

/// Watches all objects of these kinds until dropped.
pub struct Witness {
    seen: Arc<Mutex<Vec<Seen>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Witness {
    /// Begins to watch.
    pub fn start(client: &Client) -> Self {
        let seen = Arc::new(Mutex::default());
        let kinds = KINDS
            .iter()
            .map(|(group, version, kind)| GroupVersionKind::gvk(group, version, kind));
        let tasks = kinds
            .map(|kind| tokio::spawn(watch(client.clone(), kind, Arc::clone(&seen))))
            .collect();
        Self { seen, tasks }
    }

    /// Everything since this was asked last.
    pub fn testimony(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn watch(client: Client, kind: GroupVersionKind, seen: Arc<Mutex<Vec<Seen>>>) {
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut objects = watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .boxed();
    loop {
        match objects.try_next().await {
            Ok(Some(object)) => {
                let Ok(mut object) = serde_json::to_value(object) else {
                    continue;
                };
                // Lists leave them out.
                object["kind"] = resource.kind.as_str().into();
                object["apiVersion"] = resource.api_version.as_str().into();
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(Seen {
                    resource: resource.plural.clone(),
                    object,
                    at: Utc::now(),
                });
            }
            Ok(None) => return,
            // The API server is away, as it is meant to be; the watcher begins anew by itself.
            Err(_) => {}
        }
    }
}
