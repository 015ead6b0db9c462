//! Serin on a real Kubernetes control plane, with a real gateway and real requests: `bash tests/real.sh SCENARIO`.
//!
//! Each scenario is a room of its own and tells what it shows: [`first_run`], [`end_to_end`], [`life`], [`faults`], [`sim`], [`bench`]. They share the [`harness`], which
//! builds and starts everything in a network namespace of its own, and the story of a [`release`].

#[path = "../bench/mod.rs"]
mod bench;
mod end_to_end;
mod faults;
mod first_run;
mod ground;
mod harness;
mod life;
mod release;
mod sim;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::harness::abroad::Abroad;
use crate::harness::cluster::Cluster;
use crate::harness::programs::Programs;
use crate::harness::verdict::{Expectation, closing_line};
use crate::harness::{Outcome, app, guest, namespace, programs};

/// Runs a controller on a real control plane, with real traffic.
#[derive(Parser)]
#[command(name = "real")]
struct Arguments {
    /// What is to be shown.
    #[command(subcommand)]
    scenario: Scenario,

    /// Another build of Serin than the one that cargo made for this run.
    #[arg(long, value_name = "PATH", global = true)]
    controller: Option<PathBuf>,

    /// Keep the cluster after the run, until Ctrl-C.
    #[arg(long, global = true)]
    stay: bool,
}

#[derive(Subcommand)]
enum Scenario {
    /// The embedded API server and a real one, asked the same and compared field by field.
    Sim(sim::Arguments),
    #[command(flatten)]
    OnCluster(OnCluster),
}

/// What is played on a whole cluster.
#[derive(Subcommand)]
enum OnCluster {
    /// A good release and a bad one, and a page about what was seen: docs/first-run.md.
    FirstRun(first_run::Arguments),
    /// Releases through both kinds of routes, every answer counted, none lost; and a mutant that must lose some.
    EndToEnd(end_to_end::Arguments),
    /// What else happens in the life of a release: no route, a scaler, a slow version, a primary that does not come up, a person.
    Life(life::Arguments),
    /// Releases while controller, API server, etcd, Prometheus, hooks, a rival and an admission policy do their worst.
    Faults(faults::Arguments),
    /// What a controller costs: requests, CPU, memory. Judges how often it asks, and nothing that has to do with time.
    Bench(bench::Arguments),
    /// Whether the test cluster itself is one: restarts, frozen processes, pods without processes, nothing left of a run that was killed.
    Ground,
    /// Nothing but a cluster, until Ctrl-C.
    Idle,
}

impl Scenario {
    /// The name of its state folder.
    const fn name(&self) -> &'static str {
        match self {
            Self::Sim(_) => "sim",
            Self::OnCluster(OnCluster::FirstRun(_)) => "first-run",
            Self::OnCluster(OnCluster::EndToEnd(_)) => "end-to-end",
            Self::OnCluster(OnCluster::Life(_)) => "life",
            Self::OnCluster(OnCluster::Faults(_)) => "faults",
            Self::OnCluster(OnCluster::Bench(_)) => "bench",
            Self::OnCluster(OnCluster::Ground) => "ground",
            Self::OnCluster(OnCluster::Idle) => "idle",
        }
    }

    const fn with_flagger(&self) -> bool {
        matches!(self, Self::OnCluster(OnCluster::FirstRun(arguments)) if arguments.flagger)
    }

    /// The cluster that it should run on, if not one of ours.
    fn abroad(&self) -> Option<&Abroad> {
        match self {
            Self::OnCluster(OnCluster::EndToEnd(arguments)) => {
                Some(&arguments.abroad).filter(|abroad| abroad.kubeconfig.is_some())
            }
            Self::Sim(_) | Self::OnCluster(_) => None,
        }
    }

    /// What `tests/cluster/build.sh` has to bring.
    fn parts(&self) -> &'static [&'static str] {
        match self {
            Self::Sim(_) => &["kubernetes", "etcd", "contour", "istio"],
            Self::OnCluster(OnCluster::Bench(_)) => &["all", "istio"],
            Self::OnCluster(_) if self.with_flagger() => &["all", "flagger"],
            Self::OnCluster(_) if self.abroad().is_some() => &["vegeta"],
            Self::OnCluster(OnCluster::Ground) => &["all", "health"],
            Self::OnCluster(_) => &["all"],
        }
    }
}

impl OnCluster {
    fn run<'a>(&'a self, cluster: &'a Cluster) -> LocalBoxFuture<'a, Outcome<Vec<Expectation>>> {
        match self {
            Self::FirstRun(arguments) => first_run::run(arguments, cluster).boxed_local(),
            Self::EndToEnd(arguments) => end_to_end::run(arguments, cluster).boxed_local(),
            Self::Life(arguments) => life::run(arguments, cluster).boxed_local(),
            Self::Faults(arguments) => faults::run(arguments, cluster).boxed_local(),
            Self::Bench(arguments) => bench::run(arguments, cluster).boxed_local(),
            Self::Ground => ground::run(cluster).boxed_local(),
            Self::Idle => std::future::pending().boxed_local(),
        }
    }
}

fn main() -> ExitCode {
    let role = std::env::args().nth(1);
    let outcome = match role.as_deref() {
        Some(app::ROLE) => app::run().map(|()| true),
        Some(namespace::ROLE) => inside(),
        Some(guest::HOST) => host(),
        Some(guest::CLEANER) => guest::clean_up(),
        _ => outside(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("real: {error}");
            println!(
                "{}",
                closing_line(&[Expectation::new("the scenario comes to its end", false)])
            );
            ExitCode::FAILURE
        }
    }
}

/// Builds what is lacking, while there is still a network, and goes on inside.
fn outside() -> Outcome<bool> {
    let arguments = Arguments::parse();
    let places = programs::build(arguments.scenario.parts())?;
    if arguments.scenario.abroad().is_some() {
        match guest::enter(&places)? {}
    }
    match namespace::enter(&places)? {}
}

/// Watches over a run on a cluster of somebody's own.
fn host() -> Outcome<bool> {
    let arguments = Arguments::parse_from(std::env::args_os().skip(1));
    let abroad = arguments.scenario.abroad();
    let kubeconfig = abroad.and_then(|abroad| abroad.kubeconfig.as_deref());
    guest::host(kubeconfig.ok_or("a host needs a kubeconfig")?)
}

/// The run itself, inside the namespace.
fn inside() -> Outcome<bool> {
    let arguments = Arguments::parse_from(std::env::args_os().skip(1));
    if arguments.scenario.abroad().is_none() {
        namespace::prepare()?;
    }
    perform(&arguments, &std::env::var(namespace::PLACES)?)
}

/// Runs and counts. Whether everything was as it should be.
fn perform(arguments: &Arguments, places: &str) -> Outcome<bool> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a TLS provider is installed already")?;
    let expectations = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            tokio::select! {
                outcome = run(arguments, places) => outcome,
                () = namespace::told_to_stop() => Err("stopped; everything that ran is gone".into()),
            }
        })?;
    let broken: Vec<_> = expectations.iter().filter(|expectation| !expectation.held).collect();
    for expectation in &broken {
        println!("did not hold: {}", expectation.text);
    }
    println!("{}", closing_line(&expectations));
    Ok(broken.is_empty())
}

async fn run(arguments: &Arguments, places: &str) -> Outcome<Vec<Expectation>> {
    let started = Instant::now();
    let scenario = &arguments.scenario;
    let state = namespace::state_folder(scenario.name())?;
    let programs = Programs::find(places, scenario.with_flagger(), arguments.controller.as_deref())?;

    let on_cluster = match scenario {
        Scenario::Sim(arguments) => return sim::run(arguments, &programs, &state.path).await,
        Scenario::OnCluster(on_cluster) => on_cluster,
    };
    let cluster = match scenario.abroad() {
        Some(abroad) => Cluster::abroad(programs, &state.path, abroad).await?,
        None => Cluster::start(programs, &state.path).await?,
    };
    println!(
        "The cluster is up after {:.0?}; logs are in {}",
        started.elapsed(),
        state.path.display()
    );
    let outcome = on_cluster.run(&cluster).await;
    if let Err(error) = &outcome {
        eprintln!("{error}");
        cluster.print_log_tails();
    }
    if arguments.stay {
        match &cluster.guest {
            None => println!(
                "\nThe cluster stays until Ctrl-C. Enter it from another terminal:\n  {}",
                namespace::way_in()
            ),
            Some(_) => println!("\nThe applications stay until Ctrl-C."),
        }
        std::future::pending::<()>().await;
    }
    drop(cluster);
    println!("Everything is stopped after {:.0?}.", started.elapsed());
    outcome
}
