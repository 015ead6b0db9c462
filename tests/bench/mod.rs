//! What a controller costs: what it asks of the API server and what it takes of the machine. Prints figures beside their marks. How
//! often it asks is judged; nothing is that depends on the machine's speed.
//!
//! Istio's routes under Istio's own definitions, pods that are objects only, and a metric that Prometheus answers with 100.
//! [`one`] canary alone, many at [`rest`], [`many`] releases at once, and all [`options`] of Istio. [`fleet`] makes applications, [`bystanders`] what else stands in a
//! cluster. [`requests`] reads the API server's audit log; [`marks`] counts what is there, [`trails`] tells what was written about each
//! application. [`usage`] is what the kernel counted, and [`under_test`] says what all of that is about.

mod bystanders;
mod fleet;
mod many;
mod marks;
mod one;
mod options;
mod requests;
mod rest;
mod trails;
mod under_test;
mod usage;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bench::bystanders::Bystanders;
use crate::bench::fleet::Fleet;
use crate::bench::under_test::UnderTest;
use crate::bench::usage::{Usage, load_average};
use crate::harness::cluster::Cluster;
use crate::harness::controller::Controller;
use crate::harness::programs::Product;
use crate::harness::verdict::{Expectation, listed};
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

    /// Only these rooms. What does not look at CPU and memory then stands in a cluster without bystanders.
    #[arg(long, value_name = "ROOM")]
    only: Vec<Room>,

    /// A controller that does not track configs, and so watches none of the bystanders' `ConfigMaps` and Secrets.
    #[arg(long)]
    without_config_tracking: bool,

    /// A controller that is no optimised build is good enough: requests are the same.
    #[arg(long)]
    debug_build: bool,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Room {
    /// A release alone.
    One,
    /// One that fails.
    Fault,
    /// All that a Canary can say to Istio. Only where it is named: it has no figures, and its canaries would be in others'.
    Options,
    /// Many canaries with nothing to do.
    Rest,
    /// Many releases at once.
    Rolling,
}

impl Arguments {
    fn want(&self, room: Room) -> bool {
        (self.only.is_empty() && room != Room::Options) || self.only.contains(&room)
    }

    /// What the controller is told beside the usual, with `others`.
    fn flags<'a>(&self, cluster: &Cluster, others: &[&'a str]) -> Vec<&'a str> {
        let tracking = if self.without_config_tracking {
            "-enable-config-tracking=false"
        } else {
            "-enable-config-tracking=true"
        };
        let usual = ["-leader-election-namespace", cluster.lease_namespace(), tracking];
        usual.into_iter().chain(others.iter().copied()).collect()
    }
}

/// One release alone, one that fails, many canaries at rest, many releases at once.
pub async fn run(arguments: &Arguments, cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let (Product::Serin(program) | Product::Flagger(program)) = &cluster.programs.product;
    let under_test = UnderTest::look(program)?;
    under_test.must_be_optimised(arguments.debug_build)?;
    let tracking = if arguments.without_config_tracking { "off" } else { "on" };
    println!("{under_test}\nThe tracking of configs is {tracking}.\n");
    let _kwok = kwok::start(cluster, 4).await?;
    let definitions = "kubernetes/customresourcedefinitions.gen.yaml";
    objects::apply_file(
        &cluster.client,
        &cluster.programs.place("istio-source")?.join(definitions),
    )
    .await?;
    objects::all_definitions_are_served(&cluster.client, Duration::from_secs(90)).await?;

    let many = arguments.want(Room::Rest) || arguments.want(Room::Rolling);
    if many {
        let begun = Instant::now();
        let bystanders = Bystanders::new(arguments.full);
        bystanders.create(&cluster.client).await?;
        println!("{bystanders} were made in {:.0?}.", begun.elapsed());
    }
    let kubeconfig = &cluster.controller_kubeconfig;
    let flags = arguments.flags(cluster, &[]);
    let controller = Controller::start_as(cluster, "controller", PORT, kubeconfig, &flags).await?;
    sleep(SETTLED).await;
    println!(
        "Without a canary, among all there is: {}.\n",
        Usage::of(controller.process.id())?
    );
    let mut all = Vec::new();
    if arguments.want(Room::One) {
        all.extend(one::release(cluster).await?);
    }
    if arguments.want(Room::Fault) {
        all.push(one::fault(cluster).await?);
    }
    if arguments.want(Room::Options) {
        all.extend(options::accepted(cluster).await?);
    }
    all.extend(if many {
        among_many(arguments, cluster, controller).await?
    } else {
        vec![controller.ends_cleanly().await?]
    });
    println!("\n{}", listed(&all));
    Ok(all)
}

/// Many canaries, taken over by one controller, and their releases with another.
async fn among_many(arguments: &Arguments, cluster: &Cluster, controller: Controller) -> Outcome<Vec<Expectation>> {
    let mut all = Vec::new();
    let begun = Instant::now();
    let fleet = Fleet::create(cluster, FLEET, arguments.canaries, 1).await?;
    println!(
        "{} canaries were initialised {:.0?} after the first came. The load average was {}.\n",
        arguments.canaries,
        begun.elapsed(),
        load_average()?
    );
    if arguments.want(Room::Rest) {
        all.push(rest::watch(cluster, &controller, arguments.canaries).await?);
    }
    all.push(controller.ends_cleanly().await?);
    if !arguments.want(Room::Rolling) {
        return Ok(all);
    }
    // Without its limits, which let 16 of a namespace begin and the others wait; Flagger has none.
    let flags = arguments.flags(cluster, &["-max-concurrent=0", "-max-concurrent-per-namespace=0"]);
    let kubeconfig = &cluster.controller_kubeconfig;
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
