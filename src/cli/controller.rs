//! `serin controller`: puts the parts together, and takes them down in order.
//!
//! Down comes first what decides, then what lets it decide: passes end, what they announced is told, then the Lease is
//! given back, then the pages go. A second signal ends the process at once; the next one goes on from the status.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::FAILED;
use super::connect::{ConnectError, Connection, connect};
use super::flags::{FlagError, Flags, Outcome};
use crate::clock::Clock;
use crate::controller::guard::{Guard, Pod};
use crate::controller::leader::{Candidate, Claim, Ended, Standing};
use crate::controller::settings::{Election, Settings};
use crate::controller::{self, Outside, StartError, Vitals};
use crate::hooks::HttpCaller;
use crate::metrics::{HttpReader, Source};
use crate::notify::HttpSender;
use crate::outbound::{ClientError, Reach};
use crate::telemetry::health::Health;
use crate::telemetry::http::{self, HttpError, Pages};
use crate::telemetry::log;
use crate::telemetry::metrics::Metrics;

/// The wait before another try after the API server pruned a status.
const AFTER_PRUNING: Duration = Duration::from_secs(30);

/// Why the controller could not begin, or had to end.
#[derive(Debug, thiserror::Error)]
enum ControllerError {
    #[error(transparent)]
    Flag(#[from] FlagError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Outbound(#[from] ClientError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("signals cannot be received: {0}")]
    Signals(#[source] std::io::Error),
    #[error("leadership was lost, so this process ends; the next one to lead goes on from the status of the Canaries")]
    LeadershipLost,
}

/// Runs the controller until a signal ends it. `notes` are about flags that were left out.
pub(super) async fn run(flags: Flags, notes: Vec<String>) -> ExitCode {
    match work(&flags, notes).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serin controller: {error}");
            ExitCode::from(FAILED)
        }
    }
}

async fn work(flags: &Flags, notes: Vec<String>) -> Result<(), ControllerError> {
    let clock = Clock::system();
    let (level, level_note) = flags.level();
    let level = log::init(flags.format()?, level, clock.clone());
    let mut stop = Stop::on_signals().map_err(ControllerError::Signals)?;

    let Connection { client, home, note, .. } = connect(flags.kubeconfig(), flags.master()).await?;
    let host = host();
    let identity = format!("{host}_{}", unique(&clock));
    let environment = |name: &str| std::env::var(name).ok();
    let Outcome { settings, notes: more } = flags.outcome(environment, identity, home.as_deref())?;
    for note in notes.into_iter().chain(level_note).chain(note).chain(more) {
        tracing::warn!("{note}");
    }

    let health = Health::default();
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), &settings.mesh_provider, clock.clone());
    let listener = http::listen(flags.port()).await?;
    let pages = Pages {
        metrics: metrics.clone(),
        health: health.clone(),
        level,
    };
    let (pages_end, pages_ended) = watch::channel(());
    let serving = tokio::spawn(http::serve(listener, pages, closed(pages_ended)));

    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), identity = %settings.identity, port = flags.port(),
        observe_only = settings.observe_only, "serin starts"
    );
    let outside = outside(flags.reach())?;
    tokio::spawn(try_metrics_server(outside.clone(), settings.metrics_server.clone()));
    let vitals = Vitals { metrics, health };
    let pod = home.map(|namespace| Pod { namespace, name: host });
    let ended = act(client, settings, outside, vitals, clock, pod, &mut stop).await;
    drop(pages_end);
    if let Ok(Err(error)) = serving.await {
        tracing::warn!(%error, "the pages broke");
    }
    ended
}

fn outside(reach: Reach) -> Result<Outside, ClientError> {
    Ok(Outside {
        metrics: Arc::new(HttpReader::new(reach)?),
        hooks: Arc::new(HttpCaller::new(reach)?),
        alerts: Arc::new(HttpSender::new(reach)?),
    })
}

/// Says whether the metrics server answers. A Canary may name another, so this stops nothing.
async fn try_metrics_server(outside: Outside, address: String) {
    // An address that is none ends the start elsewhere, with its own words.
    let Ok(source) = Source::prometheus(&address) else {
        return;
    };
    match outside.metrics.online(&source).await {
        Ok(()) => tracing::info!("the metrics server answers"),
        Err(cause) => tracing::warn!(%cause, "the metrics server does not answer; check -metrics-server"),
    }
}

/// Waits until the cluster is as it must be, stands for leader, and runs the controller.
async fn act(
    client: kube::Client,
    settings: Settings,
    outside: Outside,
    vitals: Vitals,
    clock: Clock,
    pod: Option<Pod>,
    stop: &mut Stop,
) -> Result<(), ControllerError> {
    let guard = Guard::new(
        client.clone(),
        settings.clone(),
        vitals.health.clone(),
        clock.clone(),
        pod,
    );
    tokio::select! {
        () = guard.passed() => {}
        () = stop.wait() => return Ok(()),
    }
    let (claim, mut candidate) = stand(&client, &settings, &vitals.health, &clock);
    loop {
        let (client, settings, outside, vitals) = (client.clone(), settings.clone(), outside.clone(), vitals.clone());
        let running = controller::run(
            client,
            settings,
            outside,
            vitals,
            clock.clone(),
            claim.clone(),
            stop.wait(),
        );
        tokio::select! {
            outcome = running => match outcome {
                Err(error @ StartError::Pruned) => tracing::error!("{error}; nothing is done until then"),
                outcome => {
                    outcome?;
                    break;
                }
            },
            () = candidate.lost() => return Err(ControllerError::LeadershipLost),
        }
        // Where the CRD may not be read, the guard cannot tell when it was put right.
        let put_right = async {
            clock.sleep(AFTER_PRUNING).await;
            guard.passed().await;
        };
        tokio::select! {
            () = put_right => {}
            () = stop.wait() => break,
            () = candidate.lost() => return Err(ControllerError::LeadershipLost),
        }
    }
    candidate.retire().await;
    Ok(())
}

/// A candidate for leadership at work; none where there is no election.
struct Standby {
    task: Option<JoinHandle<Ended>>,
    retire: Option<watch::Sender<()>>,
}

fn stand(client: &kube::Client, settings: &Settings, health: &Health, clock: &Clock) -> (Claim, Standby) {
    let Election::Lease { namespace } = &settings.election else {
        return (
            Claim::permanent(),
            Standby {
                task: None,
                retire: None,
            },
        );
    };
    let (candidate, claim) = Candidate::new(client.clone(), namespace, &settings.identity, clock.clone());
    let (retire, retired) = watch::channel(());
    let task = tokio::spawn(candidate.run(closed(retired)));
    tokio::spawn(show(claim.clone(), health.clone()));
    (
        claim,
        Standby {
            task: Some(task),
            retire: Some(retire),
        },
    )
}

impl Standby {
    /// Waits until leadership is lost; for ever where that cannot be.
    async fn lost(&mut self) {
        match &mut self.task {
            Some(task) => {
                // Whatever else ended it, this process leads no more.
                let _ended = task.await;
                self.task = None;
            }
            None => std::future::pending().await,
        }
    }

    /// Gives the Lease back.
    async fn retire(mut self) {
        drop(self.retire.take());
        if let Some(task) = self.task {
            let _ended = task.await;
        }
    }
}

/// Keeps `/readyz` saying who leads. A process that waits for leadership is ready: it takes over when it must.
async fn show(mut claim: Claim, health: Health) {
    loop {
        health.condition(
            "leader",
            match claim.standing() {
                Standing::Permanent => Ok("this process acts; there is no election".into()),
                Standing::Leading { .. } => Ok("this process leads".into()),
                Standing::Waiting { holder: Some(holder) } => Ok(format!("{holder} leads; this process waits")),
                Standing::Waiting { holder: None } => Ok("nobody leads yet".into()),
                Standing::Failing(words) => Err(words),
            },
        );
        if !claim.changed().await {
            return;
        }
    }
}

/// Ready when the sender is dropped.
async fn closed(mut end: watch::Receiver<()>) {
    while end.changed().await.is_ok() {}
}

/// The signals that end the process.
struct Stop {
    asked: watch::Receiver<bool>,
}

impl Stop {
    /// Listens from now on. The first signal asks for the end, the second one forces it.
    fn on_signals() -> std::io::Result<Self> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (ask, asked) = watch::channel(false);
        tokio::spawn(async move {
            let mut next = async || tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} };
            next().await;
            tracing::info!("stopping; a second signal ends the process at once");
            ask.send_replace(true);
            next().await;
            std::process::exit(FAILED.into());
        });
        Ok(Self { asked })
    }

    async fn wait(&mut self) {
        // The sender lives as long as the process.
        let _asked = self.asked.wait_for(|asked| *asked).await;
    }
}

/// The name of this host: in a cluster, of the pod.
fn host() -> String {
    let named = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    let read = || {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .map(|name| name.trim().to_owned())
    };
    named
        .or_else(read)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "serin".into())
}

/// Tells this process from an earlier one on the same host.
fn unique(clock: &Clock) -> String {
    format!("{:x}-{:x}", std::process::id(), clock.now().timestamp_micros())
}
