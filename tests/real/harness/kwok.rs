//! Nodes whose pods are objects only: KWOK calls them ready a moment after they come. For scenarios with more pods than a
//! machine can run.
//!
//! Only nodes with KWOK's annotation are its own, so pods of the process kubelet's node are left alone. A pod gets to these
//! nodes by [`placed`], and by nothing else: they carry a taint.
//! Source: KWOK documentation, "Manage Nodes and Pods".

use std::process::Command;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::control_plane::ADMIN_KUBECONFIG;
use crate::harness::process::Process;

/// Annotation, label and taint of the nodes.
const MARK: &str = "kwok.x-k8s.io/node";

/// How nodes and pods of KWOK live, in the folder of its source: both are ready at once.
const STAGES: [&str; 4] = [
    "node/fast/node-initialize.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
];

/// Starts KWOK and gives it that many nodes, each with room for thousands of pods. It runs until the result is dropped.
pub async fn start(cluster: &Cluster, nodes: u32) -> Outcome<Process> {
    let programs = &cluster.programs;
    let stages = programs.place("kwok-source")?.join("kustomize/stage");
    let mut kwok = Command::new(programs.place("kwok")?);
    kwok.arg(format!("--kubeconfig={ADMIN_KUBECONFIG}"))
        .arg(format!("--manage-nodes-with-annotation-selector={MARK}=fake"))
        .arg("--server-address=127.0.0.1:16446");
    for stage in STAGES {
        kwok.arg("--config").arg(stages.join(stage));
    }
    let kwok = Process::start("kwok", &cluster.state, kwok)?;
    let api: Api<Node> = Api::all(cluster.client.clone());
    for number in 0..nodes {
        api.create(&PostParams::default(), &node(number)?).await?;
    }
    Ok(kwok)
}

fn node(number: u32) -> Outcome<Node> {
    let plenty = json!({ "cpu": "10000", "memory": "40000Gi", "pods": "20000" });
    let name = format!("kwok-{number}");
    Ok(serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "annotations": { MARK: "fake" },
            "labels": { MARK: "fake", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name },
        },
        "spec": { "taints": [{ "key": MARK, "value": "fake", "effect": "NoSchedule" }] },
        "status": { "capacity": plenty, "allocatable": plenty },
    }))?)
}

/// A pod's spec with what it says to get to these nodes.
pub fn placed(mut spec: Value) -> Value {
    spec["nodeSelector"] = json!({ MARK: "fake" });
    spec["tolerations"] = json!([{ "key": MARK, "operator": "Exists", "effect": "NoSchedule" }]);
    spec
}
