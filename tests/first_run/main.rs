//! The first run: Serin on a real Kubernetes control plane, with a real gateway and real requests.
//!
//! One command, `tests/first-run.sh`, builds and starts everything in a network namespace of its own, gives the controller
//! a good release and a bad one, through an `HTTPProxy` and an `HTTPRoute` at once, counts every answer, and writes
//! `docs/first-run.md`. It fails if anything went otherwise than it should.
//!
//! The way through the files: [`namespace`] closes the door behind us, [`programs`] finds what to start, [`cluster`]
//! starts it, [`kubelet`] runs pods as processes of [`app`], [`release`] tells the story of one route while [`load`]
//! sends requests and [`record`] watches, [`expectations`] judges, [`report`] writes it down.

mod app;
mod cluster;
mod expectations;
mod kubelet;
mod load;
mod namespace;
mod objects;
mod process;
mod programs;
mod record;
mod release;
mod report;
mod scraping;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::cluster::Cluster;
use crate::programs::Programs;
use crate::release::Release;

/// What can go wrong in a harness is anything; it is only ever told to a person.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs a controller on a real control plane: one good release and one bad one, under load.
#[derive(Parser)]
#[command(name = "first-run")]
struct Arguments {
    /// Run Flagger instead of Serin, as a control experiment; docs/first-run.md is left alone.
    #[arg(long)]
    flagger: bool,

    /// Another build of Serin than the one that cargo made for this run.
    #[arg(long, value_name = "PATH", conflicts_with = "flagger")]
    controller: Option<PathBuf>,

    /// Keep the cluster after the run, until Ctrl-C.
    #[arg(long)]
    stay: bool,

    /// Requests per second on each of the two routes.
    #[arg(long, value_name = "N", default_value_t = 60)]
    rate: u32,
}

fn main() -> ExitCode {
    let role = std::env::args().nth(1);
    let outcome = match role.as_deref() {
        Some(app::ROLE) => app::run(),
        Some(namespace::ROLE) => inside(),
        _ => outside(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("first-run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds what is lacking, while there is still a network, and goes on inside.
fn outside() -> Outcome<()> {
    let arguments = Arguments::parse();
    namespace::needs_root()?;
    let places = programs::build(checkout(), arguments.flagger)?;
    match namespace::enter(&places)? {}
}

/// The run itself, inside the namespace.
fn inside() -> Outcome<()> {
    let arguments = Arguments::parse_from(std::env::args_os().skip(1));
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a TLS provider is installed already")?;
    namespace::prepare()?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            tokio::select! {
                outcome = run(&arguments) => outcome,
                () = namespace::told_to_stop() => Err("stopped; everything that ran is gone".into()),
            }
        })
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

async fn run(arguments: &Arguments) -> Outcome<()> {
    let started = Instant::now();
    let state = namespace::state_folder()?;
    let programs = Programs::find(arguments)?;

    let mut cluster = Cluster::start(&programs, checkout(), &state.path).await?;
    println!(
        "The cluster is up after {:.0?}; logs are in {}",
        started.elapsed(),
        state.path.display()
    );
    let outcome = releases(arguments, &programs, &mut cluster, &state.path).await;
    if outcome.is_err() {
        cluster.print_log_tails();
    }
    if arguments.stay {
        println!(
            "\nThe cluster stays until Ctrl-C. Enter it from another terminal:\n  {}",
            namespace::way_in()
        );
        std::future::pending::<()>().await;
    }
    drop(cluster);
    println!("Everything is stopped after {:.0?}.", started.elapsed());
    outcome
}

/// Both routes at once, then the judgement and the page.
async fn releases(arguments: &Arguments, programs: &Programs, cluster: &mut Cluster, state: &Path) -> Outcome<()> {
    cluster.start_controller(programs).await?;
    let (by_proxy, by_route) = tokio::join!(
        Release::by_httpproxy(cluster, checkout(), arguments.rate).run(),
        Release::by_httproute(cluster, checkout(), arguments.rate).run(),
    );
    let stories = [by_proxy?, by_route?];
    let stopped = cluster.stop_controller().await?;

    let expectations = expectations::judge(&programs.controller, &stories, stopped);
    let page = report::page(programs, &stories, &expectations);
    let target = if arguments.flagger {
        state.join("with-flagger.md")
    } else {
        checkout().join("docs/first-run.md")
    };
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&target, &page)?;
    println!("\n{page}\nWritten to {}", target.display());

    let broken = expectations.iter().filter(|expectation| !expectation.held).count();
    if broken == 0 {
        Ok(())
    } else {
        Err(format!("{broken} of {} expectations did not hold", expectations.len()).into())
    }
}
