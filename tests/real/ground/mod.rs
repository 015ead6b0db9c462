//! The ground that the other scenarios stand on: whether the cluster is one. Its control plane comes back after it was killed, a
//! frozen program is frozen, KWOK's pods are ready without anything that runs, and there are no [`leftovers`] of a run that was killed. And
//! what other tools make of a Canary is [`health`].

mod health;
mod leftovers;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::json;
use tokio::time::timeout;

use crate::harness::cluster::{Cluster, until};
use crate::harness::process::{Process, Signal};
use crate::harness::verdict::{Expectation, listed};
use crate::harness::{Outcome, kwok, objects};

/// Pods without processes: more than a machine would like to run.
const PODS: usize = 300;

/// All of it.
pub async fn run(cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let kwok = kwok::start(cluster, 2).await?;
    let mut all = vec![many_pods(cluster, kwok).await?];
    for name in ["etcd", "kube-apiserver"] {
        all.push(comes_back(cluster, name).await?);
    }
    all.push(is_frozen(cluster).await?);
    all.push(leftovers::none(cluster).await?);
    all.extend(health::told(cluster)?);
    println!("\n{}", listed(&all));
    Ok(all)
}

async fn many_pods(cluster: &Cluster, mut kwok: Process) -> Outcome<Expectation> {
    let crowd = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "crowd", "namespace": "default" },
        "spec": {
            "replicas": PODS,
            "selector": { "matchLabels": { "app": "crowd" } },
            "template": { "metadata": { "labels": { "app": "crowd" } }, "spec": kwok::placed(json!({
                "containers": [{ "name": "crowd", "image": "crowd:1.0.0" }],
            }))},
        },
    });
    objects::apply_text(&cluster.client, &crowd.to_string()).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
    let of_crowd = ListParams::default().labels("app=crowd");
    until("the crowd is ready", [&mut kwok], async || {
        let list = pods.list(&of_crowd).await?;
        Ok(list.iter().filter(|pod| is_ready(pod)).count() == PODS)
    })
    .await?;
    let list = pods.list(&of_crowd).await?;
    let on_kwok = list.iter().filter(|pod| is_on_kwok(pod)).count();
    Ok(Expectation::new(
        format!("KWOK calls {PODS} pods ready, all of them on its own nodes ({on_kwok})"),
        on_kwok == PODS,
    ))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn is_on_kwok(pod: &Pod) -> bool {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    node.is_some_and(|node| node.starts_with("kwok-"))
}

/// A part of the control plane is killed and started again; what was stored before is still there.
async fn comes_back(cluster: &Cluster, name: &str) -> Outcome<Expectation> {
    let note = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default" },
        "data": { "written": "before" },
    });
    objects::apply_text(&cluster.client, &note.to_string()).await?;
    let mut process = cluster.process(name).await?;
    process.tell(Signal::Kill)?;
    process.stop(Duration::from_secs(5)).await?;
    let note = note.to_string();
    let write = timeout(Duration::from_secs(3), objects::apply_text(&cluster.client, &note)).await;
    let gone = !matches!(write, Ok(Ok(())));
    process.start_again()?;
    until("the API server is ready again", [&mut *process], async || {
        cluster.is_ready().await
    })
    .await?;
    objects::apply_text(&cluster.client, &note).await?;
    Ok(Expectation::new(
        format!("Nothing is written without {name}, and again after its return"),
        gone,
    ))
}

/// The scheduler, frozen, schedules nothing, and does when it is thawed.
async fn is_frozen(cluster: &Cluster) -> Outcome<Expectation> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "late", "namespace": "default" },
        "spec": kwok::placed(json!({ "containers": [{ "name": "late", "image": "late:1.0.0" }] })),
    });
    let mut scheduler = cluster.process("kube-scheduler").await?;
    scheduler.tell(Signal::Freeze)?;
    objects::apply_text(&cluster.client, &pod.to_string()).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let placed = async || {
        Ok(pods
            .get("late")
            .await?
            .spec
            .is_some_and(|spec| spec.node_name.is_some()))
    };
    let idle = !placed().await?;
    scheduler.tell(Signal::Thaw)?;
    until("the pod is placed", [&mut *scheduler], placed).await?;
    Ok(Expectation::new(
        "A frozen scheduler does nothing, and goes on when it is thawed",
        idle,
    ))
}
