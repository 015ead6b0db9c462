//! A person and the commands: a gate is approved, a release is aborted, what is waited for ends with the right code, and `serin leave` gives
//! the application back. Before all of it, what will not follow to the primary is named; behind the rollback the pods are drained.

use std::process::Command;

use chrono::Utc;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::control_plane::ADMIN_KUBECONFIG;
use crate::harness::listener::{Answers, Listener};
use crate::harness::programs::Product;
use crate::harness::shop::{NAME, Road};
use crate::harness::verdict::Expectation;
use crate::life::tale::Tale;
use crate::release::story::{BAD, GOOD};

const NAMESPACE: &str = "words";

/// How long the pods of a version that was rolled back stay, in seconds.
const DRAIN: i64 = 6;

/// A release that is approved, one that is aborted, the way out.
pub async fn run(cluster: &Cluster, listener: &Listener) -> Outcome<Vec<Expectation>> {
    let mut tale = Tale::begin(cluster, "A person's word", NAMESPACE, Road::HttpRoute).await?;
    let budget = json!({ "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": NAME } } } });
    tale.apply(["policy", "v1", "PodDisruptionBudget"], NAME, &budget)
        .await?;
    let begun = Utc::now();
    let gate =
        json!({ "name": "gate", "type": "confirm-promotion", "url": listener.url(&format!("{NAMESPACE}/gate")) });
    listener.answer(&format!("{NAMESPACE}/gate"), Answers::Badly);
    let spec = json!({
        "rollback": { "drainSeconds": DRAIN },
        "analysis": { "stepWeights": [50], "webhooks": [gate] },
    });
    tale.canary(&spec).await?;
    let named = tale.was_told(begun, "does not protect the primary's pods").await?;
    tale.expect(
        "A PodDisruptionBudget that will not follow to the primary is named",
        named,
    );

    tale.release(GOOD, &[]).await?;
    tale.until_status("the gate is awaited", |status| status["phase"] == "WaitingPromotion")
        .await?;
    let get = serin(&tale, &["get"]).await?;
    let why = serin(&tale, &["why", NAME]).await?;
    tale.expect(
        "`serin get` and `serin why` tell what is waited for",
        get.1.contains("WaitingPromotion") && why.1.contains("gate"),
    );
    let approved = serin(&tale, &["approve", NAME, "--reason", "seen"]).await?;
    let waited = serin(&tale, &["wait", NAME, "--timeout", "5m"]).await?;
    tale.expect(
        format!(
            "An approval opens the gate, and `serin wait` ends well ({}, {})",
            approved.0, waited.0
        ),
        (approved.0, waited.0) == (0, 0),
    );

    tale.release(BAD, &[]).await?;
    tale.until_status("it has traffic", |status| status["canaryWeight"] == 50)
        .await?;
    let aborted = serin(&tale, &["abort", NAME, "--reason", "not today"]).await?;
    drained(&mut tale).await?;
    let waited = serin(&tale, &["wait", NAME, "--timeout", "5m"]).await?;
    tale.expect(
        format!(
            "An abort rolls back, and `serin wait` says so ({}, {})",
            aborted.0, waited.0
        ),
        (aborted.0, waited.0) == (0, 3),
    );

    let left = serin(&tale, &["leave", NAME, "--force", "--timeout", "5m"]).await?;
    let size = tale.size(NAME).await?;
    let gone = tale.shop.canaries().get_opt(NAME).await?.is_none();
    tale.expect(
        format!("`serin leave` gives the application back ({}, {size} pods)", left.0),
        left.0 == 0 && gone && size == 3,
    );
    if left.0 != 0 {
        println!("{}", left.1);
    }
    tokio::time::sleep(super::AFTERMATH).await;
    Ok(tale.end().await?.1)
}

/// The pods stay for the time of the drain after the route has left them.
async fn drained(tale: &mut Tale<'_>) -> Outcome<()> {
    let home = tale
        .until("the traffic is home", async || {
            let route = tale.shop.routes().get(NAME).await?;
            let backends = route.data["spec"]["rules"][0]["backendRefs"].clone();
            let canary = backends
                .as_array()
                .into_iter()
                .flatten()
                .find(|it| it["name"] == format!("{NAME}-canary"));
            let weight = canary.map_or(0, |canary| canary["weight"].as_i64().unwrap_or_default());
            Ok((weight == 0).then(Utc::now))
        })
        .await?;
    let down = tale
        .until("its pods are gone", async || {
            Ok((tale.size(NAME).await? == 0).then(Utc::now))
        })
        .await?;
    // What is read here was written a moment before, at most as long ago as a look takes.
    let stayed = (down - home).num_milliseconds();
    tale.expect(
        format!("Pods without traffic stay for their drain ({stayed} ms of at least {DRAIN} s)"),
        stayed >= (DRAIN - 1) * 1000,
    );
    Ok(())
}

/// Runs a command of Serin's, in the tale's namespace, as the cluster's administrator. Its exit code and what it said.
async fn serin(tale: &Tale<'_>, arguments: &[&str]) -> Outcome<(i32, String)> {
    let Product::Serin(program) = &tale.cluster.programs.product else {
        return Err("only Serin has commands".into());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args(["--namespace", NAMESPACE, "--kubeconfig"])
        .arg(tale.cluster.state.join(ADMIN_KUBECONFIG));
    let output = spawn_blocking(move || command.output()).await??;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    tale.say(&format!(
        "heard `serin {}`: {}",
        arguments.join(" "),
        Value::from(said.concat().trim())
    ));
    Ok((output.status.code().unwrap_or(-1), said.concat()))
}
