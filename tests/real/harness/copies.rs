//! How many copies of requests arrived at the pods of each side: whoever sends requests never hears of their copies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::Outcome;
use crate::harness::app::{COPIES, PORT};
use crate::harness::shop::Shop;

/// Between two looks at all pods.
const EVERY: Duration = Duration::from_millis(500);

/// All copies that had arrived at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// The moment.
    pub at: DateTime<Utc>,
    /// At pods of the primary.
    pub at_primary: u64,
    /// At the target's pods.
    pub at_canary: u64,
}

/// Asks the pods until dropped.
pub struct Copies {
    seen: Arc<Mutex<Vec<Arrived>>>,
    task: JoinHandle<()>,
}

impl Copies {
    /// Starts to ask the pods of a shop.
    pub fn start(shop: &Shop) -> Outcome<Self> {
        let web = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(1))
            .build()?;
        let pods = shop.pods();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut counts = BTreeMap::new();
            loop {
                match look(&pods, &web, &mut counts).await {
                    Ok(arrived) => shared.lock().unwrap_or_else(PoisonError::into_inner).push(arrived),
                    Err(error) => eprintln!("copies: {error}"),
                }
                sleep(EVERY).await;
            }
        });
        Ok(Self { seen, task })
    }

    /// The first and the last count within a span of time.
    pub fn within(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<(Arrived, Arrived)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut within = seen.iter().filter(|arrived| (from..=to).contains(&arrived.at));
        let first = within.next()?;
        Some((*first, *within.next_back()?))
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks every pod; one that is gone, or does not answer, counts as it last did.
async fn look(pods: &Api<Pod>, web: &reqwest::Client, counts: &mut BTreeMap<String, u64>) -> Outcome<Arrived> {
    let listed = pods.list(&ListParams::default()).await?;
    let at = Utc::now();
    for pod in listed {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        let Some(address) = address else { continue };
        let Ok(answer) = web.get(format!("http://{address}:{PORT}/metrics")).send().await else {
            continue;
        };
        if let Some(count) = count(&answer.text().await?) {
            counts.insert(pod.name_any(), count);
        }
    }
    let sum = |of_primary: bool| {
        let side = counts.iter().filter(|(pod, _)| pod.contains("-primary-") == of_primary);
        side.map(|(_, count)| count).sum()
    };
    Ok(Arrived {
        at,
        at_primary: sum(true),
        at_canary: sum(false),
    })
}

fn count(metrics: &str) -> Option<u64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(COPIES))?;
    line.trim().parse().ok()
}
