//! Case 67 of `spec/core.md` 8: no route of Serin's, so the apex Service alone decides who answers. The way in is an `HTTPProxy` of the
//! team's to that Service, since there is no kube-proxy here.

use chrono::Utc;
use serde_json::json;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::listener::{Answers, Listener};
use crate::harness::shop::{NAME, Road};
use crate::harness::verdict::Expectation;
use crate::life::tale::Tale;
use crate::release::story::{FIRST, GOOD};

const NAMESPACE: &str = "plain";
const SERVICE: [&str; 3] = ["", "v1", "Service"];
const PROXY: [&str; 3] = ["projectcontour.io", "v1", "HTTPProxy"];
const DEPLOYMENT: [&str; 3] = ["apps", "v1", "Deployment"];
/// Labels and annotations with this prefix go along to the primary.
pub const PREFIX: &str = "team.example/";
/// What keeps Flux from undoing what Serin writes.
const TOOLKITS: [&str; 2] = [
    "kustomize.toolkit.fluxcd.io/reconcile",
    "helm.toolkit.fluxcd.io/driftDetection",
];

/// A release by five iterations behind a gate, then the hand-back.
pub async fn run(cluster: &Cluster, listener: &Listener) -> Outcome<Vec<Expectation>> {
    let mut tale = Tale::begin(cluster, "Without a route", NAMESPACE, Road::HttpProxy).await?;
    let hook = |name: &str, kind: &str| json!({ "name": name, "type": kind, "url": listener.url(&of(name)) });
    let hooks = [
        hook("gate", "confirm-rollout"),
        hook("smoke", "pre-rollout"),
        hook("load", "rollout"),
    ];
    let own = json!({ "team.example/part": "front", "other.example/part": "front" });
    tale.merge(
        DEPLOYMENT,
        NAME,
        &json!({ "metadata": { "labels": own, "annotations": own } }),
    )
    .await?;
    let proxy = tale.object(PROXY, NAME).await?["spec"].take();
    let before = Utc::now();
    let spec = json!({ "provider": "kubernetes", "analysis": { "iterations": 5, "webhooks": hooks } });
    tale.canary(&spec).await?;

    listener.answer(&of("gate"), Answers::Badly);
    let start = tale.release(GOOD, &[]).await?;
    tale.until_stage("Waiting").await?;
    let size = tale.size(NAME).await?;
    tale.expect(
        format!("A gate that is closed keeps the new version from starting ({size} pods)"),
        size == 0,
    );
    listener.answer(&of("gate"), Answers::Well);
    let promoting = tale.phase_after(start, "Promoting", "Failed").await?;
    let promoted = tale.phase_after(promoting, "Succeeded", "Failed").await?;

    let calls = |name: &str| listener.calls(&of(name)).len();
    let (smoke, load) = (calls("smoke"), calls("load"));
    tale.expect(
        format!("Hooks are called once before and once for each of five iterations ({smoke}, {load})"),
        (smoke, load) == (1, 5),
    );
    let apex = tale.object(SERVICE, NAME).await?;
    tale.expect(
        "The apex Service leads to the primary's pods and tells Flux to leave it",
        apex["spec"]["selector"]["app"] == format!("{NAME}-primary")
            && TOOLKITS
                .iter()
                .all(|mark| apex["metadata"]["annotations"][mark] == "disabled"),
    );
    let primary = tale.object(DEPLOYMENT, &format!("{NAME}-primary")).await?;
    let version = tale.shop.primary_version().await?;
    tale.expect(
        format!("The primary has the target's labels under its own name, and its new version ({version})"),
        primary["metadata"]["labels"]["app"] == format!("{NAME}-primary") && version == GOOD,
    );
    let along = ["labels", "annotations"].map(|kind| &primary["metadata"][kind]);
    tale.expect(
        format!(
            "Labels and annotations that begin with {PREFIX} go along to it, and no others ({})",
            along[0]
        ),
        along
            .iter()
            .all(|all| all["team.example/part"] == "front" && all["other.example/part"].is_null()),
    );
    let still = tale.object(PROXY, NAME).await?["spec"].take();
    tale.expect("The team's route is left alone", still == proxy);

    tale.shop.remove_canary().await?;
    let given_back = Utc::now();
    let apex = tale.object(SERVICE, NAME).await?;
    tale.expect(
        "It is given back to the target's pods",
        apex["spec"]["selector"]["app"] == NAME,
    );
    tale.say("is given back");
    tokio::time::sleep(super::AFTERMATH).await;

    let (answers, mut found) = tale.end().await?;
    let first = answers.between(before, promoting);
    let last = answers.between(promoted + super::SETTLE, given_back);
    found.extend([
        Expectation::new(
            format!(
                "Without a route: until the promotion {FIRST} alone answers ({} answers)",
                first.answered
            ),
            first.answered > 0 && first.of_version(FIRST) == first.answered,
        ),
        Expectation::new(
            format!("Without a route: then {GOOD} alone answers ({} answers)", last.answered),
            last.answered > 0 && last.of_version(GOOD) == last.answered,
        ),
    ]);
    Ok(found)
}

/// The path of a hook.
fn of(hook: &str) -> String {
    format!("{NAMESPACE}/{hook}")
}
