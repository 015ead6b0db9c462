//! What a controller costs: what it asks of the API server and what it takes of the machine. Prints figures beside their marks;
//! nothing that depends on the machine's speed is judged.
//!
//! Istio's routes under Istio's own definitions, pods that are objects only, and a metric that Prometheus answers with 100.
//! [`fleet`] makes applications, [`bystanders`] what else stands in a cluster, [`requests`] counts in the API server's audit log, [`usage`]
//! reads what the kernel counted.

mod bystanders;
mod fleet;
mod requests;
mod usage;

use std::time::Duration;

use chrono::Utc;
use tokio::time::{Instant, sleep};

use crate::bench::bystanders::Bystanders;
use crate::bench::fleet::Fleet;
use crate::bench::requests::{Class, Count};
use crate::bench::usage::Usage;
use crate::harness::cluster::Cluster;
use crate::harness::controller::Controller;
use crate::harness::programs::Product;
use crate::harness::verdict::Expectation;
use crate::harness::{Outcome, kwok, objects};

/// The port of the controller's health page.
const PORT: u16 = 18080;

/// How long nothing may have to be done before it counts as rest.
const SETTLED: Duration = Duration::from_secs(10);

/// How long rest is watched.
const REST: Duration = Duration::from_secs(60);

/// What can be told to the scenario.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many canaries are at rest.
    #[arg(long, value_name = "N", default_value_t = 100)]
    canaries: usize,

    /// Among 2,000 Deployments, 5,000 `EndpointSlices`, 5,000 `ConfigMaps` and 5,000 Secrets of 20 KB, not among a tenth of them.
    #[arg(long)]
    full: bool,
}

/// One release alone, then many canaries at rest.
pub async fn run(arguments: &Arguments, cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let _kwok = kwok::start(cluster, 4).await?;
    let definitions = "kubernetes/customresourcedefinitions.gen.yaml";
    objects::apply_file(
        &cluster.client,
        &cluster.programs.place("istio-source")?.join(definitions),
    )
    .await?;
    objects::all_definitions_are_served(&cluster.client, Duration::from_secs(90)).await?;
    let bystanders = Bystanders::new(arguments.full);
    bystanders.create(&cluster.client).await?;

    let (Product::Serin(program) | Product::Flagger(program)) = &cluster.programs.product;
    println!("Among {bystanders}.\nThe controller: {}\n", build_of(program));
    let controller = Controller::start(cluster, "controller", PORT).await?;
    let alone = alone(cluster).await?;
    let rest = at_rest(cluster, &controller, arguments.canaries).await?;
    Ok(vec![alone, rest, controller.ends_cleanly().await?])
}

/// Optimised or not, as far as the folder tells.
fn build_of(program: &std::path::Path) -> String {
    let folder = program.parent().and_then(std::path::Path::file_name);
    let kind = match folder.and_then(std::ffi::OsStr::to_str) {
        Some("release") => "an optimised build",
        Some("debug") => "NOT an optimised build: its CPU and memory say little. Give one with --controller",
        _ => "a build of unknown kind",
    };
    format!("{kind} ({})", program.display())
}

/// Three steps of one canary: every request that the controller made for them.
async fn alone(cluster: &Cluster) -> Outcome<Expectation> {
    let fleet = Fleet::create(cluster, "alone", 1, 3).await?;
    fleet.all_are("Initialized").await?;
    sleep(SETTLED).await;
    let from = Utc::now();
    fleet.release("2.0.0").await?;
    let ended = fleet.all_are("Succeeded").await;
    sleep(SETTLED).await;
    let count = Count::read(cluster, from, Utc::now())?;
    println!("## One canary alone, three steps\n\n{}", count.beside_marks());
    Ok(Expectation::new(
        "A canary alone is promoted after three steps",
        ended.is_ok(),
    ))
}

/// Many canaries with nothing to do.
async fn at_rest(cluster: &Cluster, controller: &Controller, canaries: usize) -> Outcome<Expectation> {
    let begun = Instant::now();
    let fleet = Fleet::create(cluster, "fleet", canaries, 1).await?;
    let taken = fleet.all_are("Initialized").await;
    println!(
        "{canaries} canaries were initialised {:.0?} after the first came.",
        begun.elapsed()
    );
    sleep(SETTLED).await;

    let id = controller.process.id();
    let (from, before) = (Utc::now(), Usage::of(id)?);
    sleep(REST).await;
    let (until, after) = (Utc::now(), Usage::of(id)?);
    let count = Count::read(cluster, from, until)?;
    let seconds = REST.as_secs();
    println!("\n## {canaries} canaries at rest for {seconds} seconds\n");
    println!("| | seen | mark | Flagger 1.44 |\n| --- | --: | --- | --- |");
    let asked = count.of(|class| !matches!(class, Class::Lease | Class::Watch));
    println!("| requests but lease and watches | {asked} | none | 148 a second at 100 |");
    println!("| lease | {} | | |", count.of(|class| class == Class::Lease));
    println!("| watches renewed | {} | | |", count.of(|class| class == Class::Watch));
    println!("| CPU seconds | {:.2} | | |", after.cpu_seconds - before.cpu_seconds);
    println!(
        "| memory, MB | {:.1} | 25 at 100, 60 at 1,000 | 70 and 120, without bystanders |",
        after.memory
    );
    println!("| its peak since the start, MB | {:.1} | | |", after.peak);
    if asked > 0 {
        println!("\nWhat was asked:\n\n{}", count.listed());
    }
    Ok(Expectation::new(
        format!("{canaries} canaries are initialised"),
        taken.is_ok(),
    ))
}
