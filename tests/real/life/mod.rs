//! The whole life of a release, on the real control plane and with real traffic: what the end to end scenario, which is about the roads
//! and about losing nothing, has no room for.
//!
//! [`tale`] is what all share: an application with requests to it. Each room is one matter: [`plain`] (no route), [`scaled`] (a scaler of the
//! controller-manager's), [`slow`], [`template`], [`promotion`] (a primary that does not come up), [`configs`], [`words`] (a person and the
//! commands). Cases 67, 69, 78 and 79 of `spec/core.md` 8 are among them.

mod configs;
mod plain;
mod promotion;
mod scaled;
mod slow;
mod tale;
mod template;
mod words;

use std::time::Duration;

use chrono::TimeDelta;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::controller::Controller;
use crate::harness::listener::Listener;
use crate::harness::pod_metrics;
use crate::harness::shop::Road;
use crate::harness::verdict::{Expectation, listed};

/// What can be told to the scenario.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only these rooms: plain, scaled, slow, template, promotion, configs, words.
    #[arg(long, value_name = "ROOM")]
    only: Vec<String>,
}

/// The gateway has what a route or a Service says this long after the object says it.
const SETTLE: TimeDelta = TimeDelta::seconds(2);

/// How long requests go on after something, to see where they come to rest.
const AFTERMATH: Duration = Duration::from_secs(8);

/// All rooms, in two rounds: a machine has two cores.
pub async fn run(arguments: &Arguments, cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    pod_metrics::define(&cluster.client).await?;
    let flags = [
        "-leader-election-namespace",
        cluster.lease_namespace(),
        &format!("-include-label-prefix={}", plain::PREFIX),
    ];
    let kubeconfig = &cluster.controller_kubeconfig;
    let controller = Controller::start_as(cluster, "controller", 18080, kubeconfig, &flags).await?;
    let listener = &Listener::start().await?;
    let first = [
        ("plain", plain::run(cluster, listener).boxed_local()),
        ("slow", slow::run(cluster, "slow-proxy", Road::HttpProxy).boxed_local()),
        ("slow", slow::run(cluster, "slow-route", Road::HttpRoute).boxed_local()),
        (
            "template",
            template::run(cluster, "template-testers", template::By::Testers).boxed_local(),
        ),
        (
            "template",
            template::run(cluster, "template-nobody", template::By::Nobody).boxed_local(),
        ),
    ];
    let second = [
        (
            "scaled",
            scaled::run(cluster, listener, "scaled-plain", scaled::By::Service).boxed_local(),
        ),
        (
            "scaled",
            scaled::run(cluster, listener, "scaled-route", scaled::By::Weights).boxed_local(),
        ),
        ("promotion", promotion::held(cluster).boxed_local()),
        ("promotion", promotion::restored(cluster).boxed_local()),
        ("configs", configs::run(cluster).boxed_local()),
        ("words", words::run(cluster, listener).boxed_local()),
    ];
    let mut all = round(arguments, first).await;
    all.extend(round(arguments, second).await);
    all.push(controller.ends_cleanly().await?);
    println!("\n{}", listed(&all));
    Ok(all)
}

type Room<'a> = (&'a str, LocalBoxFuture<'a, Outcome<Vec<Expectation>>>);

/// Those of the rooms that are wanted, at once. That one comes to no end is a finding as well.
async fn round<'a>(arguments: &Arguments, rooms: impl IntoIterator<Item = Room<'a>>) -> Vec<Expectation> {
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let told = rooms
        .into_iter()
        .filter(|room| wanted(room.0))
        .map(async |(name, run)| {
            run.await.unwrap_or_else(|error| {
                eprintln!("{name}: {error}");
                vec![Expectation::new(format!("{name} comes to its end: {error}"), false)]
            })
        });
    join_all(told).await.into_iter().flatten().collect()
}
