//! What a controller costs: what it asks of the API server and what it takes of the machine. Prints figures beside their marks;
//! nothing that depends on the machine's speed is judged.
//!
//! Istio's routes under Istio's own definitions, pods that are objects only, and a metric that Prometheus answers with 100.
//! [`one`] canary alone, many at [`rest`], [`many`] releases at once. [`fleet`] makes applications, [`bystanders`] what else stands in a
//! cluster, [`requests`] reads the API server's audit log, [`usage`] what the kernel counted.

mod bystanders;
mod fleet;
mod many;
mod one;
mod requests;
mod rest;
mod usage;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bench::bystanders::Bystanders;
use crate::bench::fleet::Fleet;
use crate::bench::usage::{Usage, load_average};
use crate::harness::cluster::Cluster;
use crate::harness::controller::Controller;
use crate::harness::programs::Product;
use crate::harness::verdict::Expectation;
use crate::harness::{Outcome, kwok, objects};

/// The port of the controller's health page.
const PORT: u16 = 18080;

/// How long nothing may have to be done before it counts as rest.
const SETTLED: Duration = Duration::from_secs(10);

/// The namespace of the many.
const FLEET: &str = "fleet";

/// What can be told to the scenario.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many canaries are at rest.
    #[arg(long, value_name = "N", default_value_t = 100)]
    canaries: usize,

    /// How many of them get a new version at once; one more gets a version that fails.
    #[arg(long, value_name = "N", default_value_t = 50)]
    rolling: usize,

    /// Among 2,000 Deployments, 5,000 `EndpointSlices`, 5,000 `ConfigMaps` and 5,000 Secrets of 20 KB, not among a tenth of them.
    #[arg(long)]
    full: bool,
}

/// One release alone, one that fails, many canaries at rest, many releases at once.
pub async fn run(arguments: &Arguments, cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let _kwok = kwok::start(cluster, 4).await?;
    let definitions = "kubernetes/customresourcedefinitions.gen.yaml";
    objects::apply_file(
        &cluster.client,
        &cluster.programs.place("istio-source")?.join(definitions),
    )
    .await?;
    objects::all_definitions_are_served(&cluster.client, Duration::from_secs(90)).await?;
    let begun = Instant::now();
    let bystanders = Bystanders::new(arguments.full);
    bystanders.create(&cluster.client).await?;
    println!("{bystanders} were made in {:.0?}.", begun.elapsed());

    let (Product::Serin(program) | Product::Flagger(program)) = &cluster.programs.product;
    println!("The controller: {}\n", build_of(program));
    let controller = Controller::start(cluster, "controller", PORT).await?;
    sleep(SETTLED).await;
    println!(
        "Without a canary among all these: {}.\n",
        Usage::of(controller.process.id())?
    );
    let mut all = vec![one::release(cluster).await?, one::fault(cluster).await?];
    let begun = Instant::now();
    let fleet = Fleet::create(cluster, FLEET, arguments.canaries, 1).await?;
    println!(
        "{} canaries were initialised {:.0?} after the first came. The load average was {}.\n",
        arguments.canaries,
        begun.elapsed(),
        load_average()?
    );
    rest::watch(cluster, &controller, arguments.canaries).await?;
    all.push(controller.ends_cleanly().await?);

    // Without its limits, which let 16 of a namespace begin and the others wait; Flagger has none.
    let kubeconfig = &cluster.controller_kubeconfig;
    let flags = [
        "-leader-election-namespace",
        cluster.lease_namespace(),
        "-max-concurrent=0",
        "-max-concurrent-per-namespace=0",
    ];
    let controller = Controller::start_as(cluster, "controller-again", PORT + 1, kubeconfig, &flags).await?;
    sleep(SETTLED).await;
    let usage = Usage::of(controller.process.id())?;
    println!("Another controller, {SETTLED:?} after its start among all these: {usage}.\n");
    all.extend(many::releases(cluster, &fleet, arguments.canaries.min(arguments.rolling)).await?);
    let usage = Usage::of(controller.process.id())?;
    println!("The controller after that: {usage}.");
    all.push(controller.ends_cleanly().await?);
    Ok(all)
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
