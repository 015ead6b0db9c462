//! Case 69 and the floor rule (`design.md`; ranks 2, 29 and 30 of `spec/users.md`), with the controller-manager's own
//! `HorizontalPodAutoscaler`: what the primary had when a run began is kept for it, though its metrics ask for less, and given back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DynamicObject};
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

/// A good version that another follows before it is promoted.
const PUSHED_OVER: &str = "1.5.0";

/// The one in whose run the Canary is deleted.
const LAST: &str = "4.0.0";

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

/// A good release with a push in its middle, a bad one, and the way out of a third, each while the load asks for fewer pods than there are.
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
    let sizes = Sizes::start(tale.shop.deployments(), tale.api(SCALER));

    to_the_peak(&tale, &metrics).await?;
    tale.apply(SCALER, NAME, &scaler(55)).await?;
    let start = begun(&tale, &metrics, PUSHED_OVER).await?;
    tale.until_stage("Stepping").await?;
    let pushed = tale.release(GOOD, &[]).await?;
    let end = tale.phase_after(pushed, "Succeeded", "Failed").await?;
    let restarted = tale
        .was_told(pushed, "New revision detected! Restarting analysis")
        .await?;
    tale.expect("A push in the middle of a run begins it anew", restarted);
    floor_held(&mut tale, &sizes, "a restart and a promotion", start, end);
    let copy = tale.object(SCALER, PRIMARY).await?;
    tale.expect(
        "The promotion ends with the new utilisation on the primary's scaler (case 69)",
        copy["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 55,
    );
    to_the_scaler(&tale).await?;
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

    // At rest the scaler has its way with the primary, so the hand-back comes in the middle of a run.
    to_the_scaler(&tale).await?;
    to_the_peak(&tale, &metrics).await?;
    listener.answer(&hook, Answers::Well);
    let start = begun(&tale, &metrics, LAST).await?;
    tale.until_stage("Stepping").await?;
    metrics.demand(NAME, PEAK.1);
    tale.shop.remove_canary().await?;
    let end = Utc::now();
    let target = tale.size(NAME).await?;
    tale.expect(
        format!("The target is as large as the primary was when it takes over ({target} pods)"),
        target >= PEAK.0,
    );
    floor_held(&mut tale, &sizes, "a run and its hand-back", start, end);
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

/// The scaler takes the primary's pods that its load does not need.
async fn to_the_scaler(tale: &Tale<'_>) -> Outcome<()> {
    tale.until("the scaler has its way again", async || {
        Ok((tale.size(PRIMARY).await? < PEAK.0).then_some(()))
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
    let looks = sizes.between(from, to);
    let least = looks.iter().map(|look| look.size).min().unwrap_or_default();
    let held_back = looks.iter().filter(|look| look.fewer_are_wanted).count();
    tale.expect(
        format!(
            "During {during} the primary keeps its {} pods ({least} at least), though its scaler wants fewer (in {held_back} of {} looks)",
            PEAK.0,
            looks.len()
        ),
        least >= PEAK.0 && held_back > 0,
    );
}

/// The primary at a moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// How many pods it was to have.
    size: i32,
    /// Whether its scaler would take some away, were it not for the least number that it is allowed.
    fewer_are_wanted: bool,
}

/// The primary, looked at again and again until dropped.
struct Sizes {
    seen: Arc<Mutex<Vec<Since<Look>>>>,
    task: JoinHandle<()>,
}

impl Sizes {
    fn start(deployments: Api<Deployment>, scalers: Api<DynamicObject>) -> Self {
        let seen: Arc<Mutex<Vec<Since<Look>>>> = Arc::default();
        let notes = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                if let (Ok(primary), Ok(scaler)) = tokio::join!(deployments.get(PRIMARY), scalers.get_opt(PRIMARY)) {
                    let what = Look {
                        size: primary.spec.and_then(|spec| spec.replicas).unwrap_or_default(),
                        fewer_are_wanted: scaler.is_some_and(|scaler| is_held_back(&scaler.data["status"])),
                    };
                    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                    notes.push(Since { at: Utc::now(), what });
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        Self { seen, task }
    }

    /// What was seen in that time.
    fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Look> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = seen.iter().filter(|look| (from..to).contains(&look.at));
        looks.map(|look| look.what).collect()
    }
}

/// Whether a scaler says that it wants fewer pods than it may have. Source: Kubernetes, `HorizontalPodAutoscaler`, condition `ScalingLimited`.
fn is_held_back(status: &Value) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|condition| condition["type"] == "ScalingLimited" && condition["reason"] == "TooFewReplicas")
}

impl Drop for Sizes {
    fn drop(&mut self) {
        self.task.abort();
    }
}
