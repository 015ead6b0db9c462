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

use chrono::{SubsecRound, Utc};
use tokio::time::{Instant, sleep};

use crate::bench::bystanders::Bystanders;
use crate::bench::fleet::{Fleet, INTERVAL, THRESHOLD};
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
const REST: Duration = Duration::from_mins(1);

/// The namespace of the many.
const FLEET: &str = "fleet";

/// How many of them get a new version at once.
const ROLLING: usize = 50;

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
    let bystanders = Bystanders::new(arguments.full);
    bystanders.create(&cluster.client).await?;

    let (Product::Serin(program) | Product::Flagger(program)) = &cluster.programs.product;
    println!("Among {bystanders}.\nThe controller: {}\n", build_of(program));
    let controller = Controller::start(cluster, "controller", PORT).await?;
    let mut all = vec![alone(cluster).await?, fault(cluster).await?];
    let begun = Instant::now();
    let fleet = Fleet::create(cluster, FLEET, arguments.canaries, 1).await?;
    println!(
        "{} canaries were initialised {:.0?} after the first came.\n",
        arguments.canaries,
        begun.elapsed()
    );
    at_rest(cluster, &controller, arguments.canaries).await?;
    all.push(controller.ends_cleanly().await?);

    let controller = Controller::start(cluster, "controller-again", PORT + 1).await?;
    sleep(SETTLED).await;
    let usage = Usage::of(controller.process.id())?;
    println!("Another controller, {SETTLED:?} after its start among all these: {usage}.\n");
    all.push(rolling(cluster, &fleet, arguments.canaries.min(ROLLING)).await?);
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

/// Three steps of one canary: every request that the controller made for them.
async fn alone(cluster: &Cluster) -> Outcome<Expectation> {
    let fleet = Fleet::create(cluster, "alone", 1, 3).await?;
    sleep(SETTLED).await;
    let from = Utc::now();
    fleet.release(1, "2.0.0").await?;
    fleet.so_many_are(1, "Succeeded").await?;
    sleep(SETTLED).await;
    let count = Count::read(cluster, from, Utc::now())?;
    println!("## One canary alone, three steps\n\n{}", count.beside_marks());
    let reads = count.of(|class| class == Class::Read);
    Ok(Expectation::new("A release alone reads nothing", reads == 0))
}

/// A metric that turns bad in the middle of a release.
async fn fault(cluster: &Cluster) -> Outcome<Expectation> {
    let fleet = Fleet::create(cluster, "fault", 1, 3).await?;
    let begun = Utc::now();
    let moment = (begun + INTERVAL * 3 / 2).trunc_subsecs(0);
    fleet.fails_from(moment).await?;
    fleet.release(1, "2.0.0").await?;
    fleet.so_many_are(1, "Failed").await?;
    let writes = requests::route_writes(cluster, "fault", begun)?;
    let moments = writes.values().next().ok_or("the release wrote no route")?;
    // The way home is the last write, if there was a way out.
    let home = moments.last().ok_or("the release wrote no route")?;
    let took = (*home - moment).as_seconds_f64();
    println!("## From the fault to the route home\n");
    println!("{took:.1} s, with a threshold of {THRESHOLD} checks, one each {INTERVAL:?}; the route was written");
    println!(
        "{} times. Flagger 1.44: 31 s for two checks, one each 10 s.\n",
        moments.len()
    );
    Ok(Expectation::new(
        "A release goes out and comes home after a fault",
        moments.len() > 1,
    ))
}

/// Many canaries with nothing to do.
async fn at_rest(cluster: &Cluster, controller: &Controller, canaries: usize) -> Outcome<()> {
    sleep(SETTLED).await;
    let id = controller.process.id();
    let (from, before) = (Utc::now(), Usage::of(id)?);
    sleep(REST).await;
    let (until, after) = (Utc::now(), Usage::of(id)?);
    let count = Count::read(cluster, from, until)?;
    let asked = count.of(|class| !matches!(class, Class::Lease | Class::Watch));
    let lease = count.of(|class| class == Class::Lease);
    let watches = count.of(|class| class == Class::Watch);
    let cpu = after.cpu_seconds - before.cpu_seconds;
    let Usage { memory, own, peak, .. } = after;
    println!("## {canaries} canaries at rest for {} seconds\n", REST.as_secs());
    println!("| | seen | mark | Flagger 1.44 |\n| --- | --: | --- | --- |");
    println!("| requests but lease and watches | {asked} | none | 148 a second at 100 |");
    println!("| lease | {lease} | | |");
    println!("| watches renewed | {watches} | | |");
    println!("| CPU seconds | {cpu:.2} | | |");
    println!("| memory, MB | {memory:.1} | 25 at 100, 60 at 1,000 | 70 and 120, without bystanders |");
    println!("| of it its own and not the program's file, MB | {own:.1} | | |");
    println!("| its peak since the start, MB | {peak:.1} | | |\n");
    if asked > 0 {
        println!("What was asked:\n\n{}", count.listed());
    }
    Ok(())
}

/// Many releases at once, among others at rest: how much longer than the interval it takes from one weight to the next.
async fn rolling(cluster: &Cluster, fleet: &Fleet, count: usize) -> Outcome<Expectation> {
    let (from, begun) = (Utc::now(), Instant::now());
    fleet.release(count, "2.0.0").await?;
    fleet.so_many_are(count, "Succeeded").await?;
    let took = begun.elapsed();
    let mut late: Vec<f64> = Vec::new();
    let writes = requests::route_writes(cluster, FLEET, from)?;
    for moments in writes.values() {
        // The last write is the way home, which waits for the promotion and not for the clock.
        let steps = &moments[..moments.len() - 1];
        let gaps = steps.windows(2).map(|pair| (pair[1] - pair[0]).as_seconds_f64());
        late.extend(gaps.map(|gap| gap - INTERVAL.as_secs_f64()));
    }
    late.sort_by(f64::total_cmp);
    let at = |percent: usize| late.get(late.len() * percent / 100).copied().unwrap_or(f64::NAN);
    println!("## {count} releases at once\n");
    println!("All were promoted after {took:.0?}. From one weight to the next it took {INTERVAL:?} and");
    println!(
        "{:.2} s (p50), {:.2} s (p99), of {} steps.\n",
        at(50),
        at(99),
        late.len()
    );
    Ok(Expectation::new(
        format!("{count} releases at once wrote {} routes", writes.len()),
        writes.len() == count,
    ))
}
