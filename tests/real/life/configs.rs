//! Configurations that the pods refer to: a change of one that the primary reads as a copy is a release, a change of one that it reads live
//! rolls it, without an analysis.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::shop::{NAME, Road};
use crate::harness::verdict::Expectation;
use crate::life::tale::Tale;

const CONFIG: [&str; 3] = ["", "v1", "ConfigMap"];
const PRIMARY: &str = "shop-primary";

/// One change of each.
pub async fn run(cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let mut tale = Tale::begin(cluster, "Configurations", "configs", Road::HttpProxy).await?;
    for name in ["copied", "live"] {
        tale.apply(CONFIG, name, &json!({ "data": { "a": "1" } })).await?;
    }
    let sources = ["copied", "live"].map(|name| json!({ "configMapRef": { "name": name } }));
    let container = json!({ "name": NAME, "envFrom": sources });
    let change = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
    let deployments = tale.shop.deployments();
    let patched = deployments
        .patch(NAME, &PatchParams::default(), &Patch::Strategic(&change))
        .await?;
    let generation = patched.metadata.generation;
    tale.until("its pods are there", async || {
        let status = deployments.get(NAME).await?.status.unwrap_or_default();
        let done = status.observed_generation == generation && status.updated_replicas == Some(3);
        Ok((done && status.replicas == Some(3) && status.ready_replicas == Some(3)).then_some(()))
    })
    .await?;
    let tracking = [json!({ "kind": "ConfigMap", "name": "live", "mode": "liveRestart" })];
    tale.canary(&json!({ "configTracking": tracking, "analysis": { "stepWeights": [50] } }))
        .await?;

    let before = deployments.get(PRIMARY).await?;
    tale.apply(CONFIG, "live", &json!({ "data": { "a": "2" } })).await?;
    let rolled = tale
        .until("the primary is rolled", async || {
            let primary = deployments.get(PRIMARY).await?;
            Ok((restarted(&primary) != restarted(&before) && is_rolled(&primary)).then_some(primary))
        })
        .await?;
    let status = tale
        .until_status("it rests", |status| status["serin"]["stage"] == "Resting")
        .await?;
    tale.expect(
        format!(
            "A change of what is read live rolls the primary, without a run ({} runs)",
            status["serin"]["run"]
        ),
        status["serin"]["run"] == 0 && sources_of(&rolled).contains(&"live".to_owned()),
    );

    let changed = chrono::Utc::now();
    tale.apply(CONFIG, "copied", &json!({ "data": { "a": "2" } })).await?;
    tale.phase_after(changed, "Succeeded", "Failed").await?;
    let after = deployments.get(PRIMARY).await?;
    let (old, new) = (sources_of(&before), sources_of(&after));
    tale.expect(
        format!("A change of what is copied is a release, and the primary reads another copy ({old:?}, {new:?})"),
        old[0] != new[0] && new[0] != "copied" && old[1] == "live" && new[1] == "live",
    );
    let copy = tale.object(CONFIG, &new[0]).await?;
    tale.expect(
        "The copy is immutable and has the new content",
        copy["immutable"] == true && copy["data"]["a"] == "2",
    );
    tokio::time::sleep(super::AFTERMATH).await;
    Ok(tale.end().await?.1)
}

/// The mark of the last roll on its pods.
fn restarted(deployment: &Deployment) -> Option<String> {
    let template = deployment.spec.as_ref()?.template.metadata.as_ref()?;
    template.annotations.as_ref()?.get("serin.dev/restarted").cloned()
}

fn is_rolled(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    status.observed_generation == deployment.metadata.generation
        && [status.updated_replicas, status.replicas, status.ready_replicas]
            .iter()
            .all(|number| *number == wanted)
}

/// The names of what the first container reads, in its order.
fn sources_of(deployment: &Deployment) -> Vec<String> {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let container = pod.and_then(|pod| pod.containers.first());
    let sources = container.and_then(|container| container.env_from.clone());
    let names = sources
        .into_iter()
        .flatten()
        .filter_map(|source| Some(source.config_map_ref?.name));
    names.collect()
}
