//! Case 69 and the floor rule (`design.md`; ranks 2, 29 and 30 of `spec/users.md`), with the controller-manager's own
//! `HorizontalPodAutoscaler`: what the primary had when a run began is kept for it, though its metrics ask for less, and given back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::listener::{Answers, Listener};
use crate::harness::pod_metrics::PodMetrics;
use crate::harness::record::Since;
use crate::harness::shop::{NAME, Road};
use crate::harness::verdict::Expectation;
use crate::life::tale::Tale;
use crate::release::story::{BAD, GOOD};

const SCALER: [&str; 3] = ["autoscaling", "v2", "HorizontalPodAutoscaler"];
const PRIMARY: &str = "shop-primary";

/// How many pods the primary's load wants before a release, and what that is in thousandths of a processor: each of 100 that a pod asks for
/// is to be used by half.
const PEAK: (i32, u32) = (5, 250);

/// A load that one pod carries.
const QUIET: u32 = 40;

/// How traffic gets to the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By the apex Service alone.
    Service,
    /// By a route's weights.
    Weights,
}

/// A good release, a bad one, and the way out, each while the load asks for fewer pods than there are.
pub async fn run(cluster: &Cluster, listener: &Listener, namespace: &str, by: By) -> Outcome<Vec<Expectation>> {
    let (title, road) = match by {
        By::Service => ("Scaled, without a route", Road::HttpProxy),
        By::Weights => ("Scaled, by weights", Road::HttpRoute),
    };
    let mut tale = Tale::begin(cluster, title, namespace, road).await?;
    let metrics = PodMetrics::start(&cluster.client, namespace, NAME);
    metrics.demand(NAME, 150);
    metrics.demand(PRIMARY, 150);
    tale.apply(SCALER, NAME, &scaler(50)).await?;
    tale.until("the autoscaler is at work", async || {
        let status = tale.object(SCALER, NAME).await?["status"].take();
        Ok((status["currentMetrics"][0]["resource"]["current"]["averageUtilization"].as_u64() > Some(0)).then_some(()))
    })
    .await?;
    let hook = format!("{namespace}/check");
    let check = json!({ "name": "check", "type": "rollout", "url": listener.url(&hook) });
    let mut spec = json!({
        "autoscalerRef": { "apiVersion": "autoscaling/v2", "kind": SCALER[2], "name": NAME },
        "analysis": { "webhooks": [check] },
    });
    match by {
        By::Service => {
            spec["provider"] = json!("kubernetes");
            spec["analysis"]["iterations"] = json!(3);
        }
        By::Weights => spec["analysis"]["stepWeights"] = json!([30, 60]),
    }
    tale.canary(&spec).await?;
    let sizes = Sizes::start(tale.shop.deployments());

    to_the_peak(&tale, &metrics).await?;
    tale.apply(SCALER, NAME, &scaler(55)).await?;
    let start = begun(&tale, &metrics, GOOD).await?;
    let end = tale.phase_after(start, "Succeeded", "Failed").await?;
    floor_held(&mut tale, &sizes, "a promotion", start, end);
    let copy = tale.object(SCALER, PRIMARY).await?;
    tale.expect(
        "The promotion ends with the new utilisation on the primary's scaler (case 69)",
        copy["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 55,
    );
    tale.until("the scaler has its way again", async || {
        Ok((tale.size(PRIMARY).await? < PEAK.0).then_some(()))
    })
    .await?;
    let target = tale.size(NAME).await?;
    tale.expect(
        format!("Then the scaler takes the primary's pods that are not needed; the target has {target}"),
        target == 0,
    );

    to_the_peak(&tale, &metrics).await?;
    listener.answer(&hook, Answers::Badly);
    let start = begun(&tale, &metrics, BAD).await?;
    let end = tale.phase_after(start, "Failed", "Succeeded").await?;
    floor_held(&mut tale, &sizes, "a rollback", start, end);

    to_the_peak(&tale, &metrics).await?;
    let start = Utc::now();
    metrics.demand(NAME, PEAK.1);
    tale.shop.remove_canary().await?;
    let target = tale.size(NAME).await?;
    tale.expect(
        format!("The target is as large as the primary was when it takes over ({target} pods)"),
        target >= PEAK.0,
    );
    floor_held(
        &mut tale,
        &sizes,
        "the hand-back",
        start,
        start + chrono::TimeDelta::seconds(1),
    );
    sleep(super::AFTERMATH).await;
    Ok(tale.end().await?.1)
}

/// Two to eight pods whose use of what they ask for is to be this, in percent.
fn scaler(utilization: u32) -> Value {
    let target = json!({ "type": "Utilization", "averageUtilization": utilization });
    json!({ "spec": {
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": NAME },
        "minReplicas": 2,
        "maxReplicas": 8,
        "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": target } }],
    } })
}

/// The primary's load grows until it has its peak's pods, all ready.
async fn to_the_peak(tale: &Tale<'_>, metrics: &PodMetrics) -> Outcome<()> {
    metrics.demand(PRIMARY, PEAK.1);
    tale.until("the primary is at its peak", async || {
        let primary = tale.shop.deployments().get(PRIMARY).await?;
        let wanted = primary.spec.and_then(|spec| spec.replicas);
        let ready = primary.status.and_then(|status| status.ready_replicas);
        Ok((wanted.min(ready) >= Some(PEAK.0)).then_some(()))
    })
    .await
}

/// A release, whose primary gets less to do as soon as it has begun. The moment of that.
async fn begun(tale: &Tale<'_>, metrics: &PodMetrics, version: &str) -> Outcome<DateTime<Utc>> {
    tale.release(version, &[]).await?;
    tale.until("the primary's scaler keeps what there is", async || {
        let copy = tale.object(SCALER, PRIMARY).await?;
        Ok((copy["spec"]["minReplicas"].as_i64() >= Some(PEAK.0.into())).then_some(()))
    })
    .await?;
    metrics.demand(PRIMARY, QUIET);
    Ok(Utc::now())
}

fn floor_held(tale: &mut Tale<'_>, sizes: &Sizes, during: &str, from: DateTime<Utc>, to: DateTime<Utc>) {
    let (seen, least) = sizes.between(from, to);
    tale.expect(
        format!(
            "During {during} the primary keeps its {} pods ({least} at least, {seen} looks)",
            PEAK.0
        ),
        seen > 0 && least >= PEAK.0,
    );
}

/// How many pods the primary was to have, looked at again and again until dropped.
struct Sizes {
    seen: Arc<Mutex<Vec<Since<i32>>>>,
    task: JoinHandle<()>,
}

impl Sizes {
    fn start(deployments: Api<Deployment>) -> Self {
        let seen: Arc<Mutex<Vec<Since<i32>>>> = Arc::default();
        let notes = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                if let Ok(primary) = deployments.get(PRIMARY).await {
                    let what = primary.spec.and_then(|spec| spec.replicas).unwrap_or_default();
                    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                    notes.push(Since { at: Utc::now(), what });
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        Self { seen, task }
    }

    /// How often was looked in that time, and the least size that was seen.
    fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> (usize, i32) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let sizes = seen
            .iter()
            .filter(|size| (from..to).contains(&size.at))
            .map(|size| size.what);
        (sizes.clone().count(), sizes.min().unwrap_or_default())
    }
}

impl Drop for Sizes {
    fn drop(&mut self) {
        self.task.abort();
    }
}
