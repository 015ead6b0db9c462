//! Commands about releases: `get`, `why` and `wait` read them, a verb such as `serin abort` says a person's word, and `leave` ends it all.
//!
//! They talk to the API server alone, with the rights of whoever calls them: reading Canaries (for `wait` and `leave` also their
//! targets, and what the pods of those read where that is followed), and for a word patching the annotations of one.

mod get;
mod leave;
mod line;
mod say;
mod story;
mod target;
mod view;
mod wait;
mod why;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;

use super::connect::{ConnectError, Connection, connect};
use crate::api::{DurationText, GROUP, VERSION};
use crate::clock::Clock;
use crate::rollout::Verb;
use view::View;

/// How often a command that waits looks again.
const GLANCE: Duration = Duration::from_secs(1);

/// Which command.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List Canaries: where each release stands and what it waits for
    Get(get::Args),
    /// Tell the whole story of one release
    Why(why::Args),
    /// Wait until a release is over; the exit code says how it ended
    #[command(after_help = EXIT_CODES)]
    Wait(wait::Args),
    /// Delete Canaries and wait until their targets serve alone
    #[command(after_help = LEAVING)]
    Leave(leave::Args),
    /// Go on to the next step, past the checks and gates of this one
    Promote(say::Args),
    /// Leave out all steps and promote
    PromoteFull(say::Args),
    /// Roll back; the same revision is not tried again
    Abort(say::Args),
    /// Hold the release at its weight; a failing one is still rolled back
    Pause(say::Args),
    /// End a pause
    Resume(say::Args),
    /// Try a revision again that failed
    Retry(say::Args),
    /// Say yes to the gate that is awaited
    Approve(say::Args),
    /// Say no to the gate that is awaited: the release is rolled back, or does not begin
    Reject(say::Args),
    /// Give the canary this weight, as far as its pods carry it
    Goto(say::GotoArgs),
}

/// What the exit codes mean.
const EXIT_CODES: &str = "Exit codes: 0 promoted, 3 failed or rolled back, 4 timeout, 5 no such Canary, 6 no connection to the cluster, \
                          7 a word was not followed, 1 anything else";

/// What the exit codes of `serin leave` mean.
const LEAVING: &str = "Exit codes: 0 all are handed back, 4 timeout, 5 no such Canary, 6 no connection to the cluster, 7 some stay because \
                       something speaks against it, 1 anything else";

/// How the cluster is found.
#[derive(Debug, Clone, Default, Args)]
pub struct Where {
    /// Namespace; without one: the one of the kubeconfig's context
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Path of a kubeconfig; without one: what kubectl would use
    #[arg(long)]
    pub kubeconfig: Option<String>,
}

/// How something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Why a command did not come to a good end.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// There is no cluster to talk to.
    #[error(transparent)]
    Connect(#[from] Unconnected),
    /// The connection broke later.
    #[error("the API server does not answer: {0}")]
    Silent(String),
    /// There is no such Canary.
    #[error("there is no Canary {name} in namespace {namespace}")]
    NotFound {
        /// The name that was given.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The API server refused.
    #[error("{0}")]
    Refused(String),
    /// The release failed.
    #[error("{0}")]
    Failed(String),
    /// What was waited for did not come in time.
    #[error("no end within {within}: {now}")]
    TimedOut {
        /// The time that was given, as written.
        within: String,
        /// What is going on instead.
        now: String,
    },
    /// A word was heard and not followed, or there is nothing that it could be about.
    #[error("{0}")]
    NotFollowed(String),
    /// An option makes no sense.
    #[error("{0}")]
    Misused(String),
    /// What was found cannot be printed.
    #[error("cannot print: {0}")]
    Print(#[from] std::io::Error),
}

/// The cluster cannot be talked to, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unconnected(String);

impl From<ConnectError> for ReleaseError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Unconnected(error.to_string()))
    }
}

impl ReleaseError {
    /// The exit code of the process; see the help of `serin wait`.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 3,
            Self::TimedOut { .. } => 4,
            Self::NotFound { .. } => 5,
            Self::Connect(_) | Self::Silent(_) => 6,
            Self::NotFollowed(_) => 7,
            Self::Misused(_) => super::MISUSED,
            Self::Refused(_) | Self::Print(_) => super::FAILED,
        }
    }
}

/// A cluster, a namespace in it and a place to print to.
pub struct Desk<'a> {
    /// The cluster.
    pub client: Client,
    /// The namespace that is meant where none is named.
    pub namespace: String,
    /// The time.
    pub clock: Clock,
    /// Where answers go.
    pub out: &'a mut dyn Write,
}

/// Runs a command against the cluster that it names.
pub(super) async fn run(command: Command) -> ExitCode {
    let outcome = async {
        let place = command.place();
        let Connection { client, namespace, .. } = connect(place.kubeconfig.as_deref(), None).await?;
        let mut out = std::io::stdout();
        let mut desk = Desk {
            client,
            namespace,
            clock: Clock::system(),
            out: &mut out,
        };
        perform(&mut desk, &command).await
    };
    match outcome.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serin: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs a command on a desk.
///
/// # Errors
/// It did not come to a good end; [`ReleaseError::exit_code`] tells how.
pub async fn perform(desk: &mut Desk<'_>, command: &Command) -> Result<(), ReleaseError> {
    match command {
        Command::Get(args) => get::run(desk, args).await,
        Command::Why(args) => why::run(desk, args).await,
        // These look at much, and nobody who only says a word should carry the room for it.
        Command::Wait(args) => Box::pin(wait::run(desk, args)).await,
        Command::Leave(args) => Box::pin(leave::run(desk, args)).await,
        _ => match command.word() {
            Some((verb, args, weight)) => say::run(desk, verb, args, weight).await,
            None => Ok(()),
        },
    }
}

impl Command {
    /// The word that it says, if it says one.
    const fn word(&self) -> Option<(Verb, &say::Args, Option<u8>)> {
        Some(match self {
            Self::Get(_) | Self::Why(_) | Self::Wait(_) | Self::Leave(_) => return None,
            Self::Promote(args) => (Verb::Promote, args, None),
            Self::PromoteFull(args) => (Verb::PromoteFull, args, None),
            Self::Abort(args) => (Verb::Abort, args, None),
            Self::Pause(args) => (Verb::Pause, args, None),
            Self::Resume(args) => (Verb::Resume, args, None),
            Self::Retry(args) => (Verb::Retry, args, None),
            Self::Approve(args) => (Verb::Approve, args, None),
            Self::Reject(args) => (Verb::Reject, args, None),
            Self::Goto(args) => (Verb::Goto, &args.say, Some(args.weight)),
        })
    }

    fn place(&self) -> Where {
        let place = match self {
            Self::Get(args) => Some(&args.place),
            Self::Why(args) => Some(&args.place),
            Self::Wait(args) => Some(&args.place),
            Self::Leave(args) => Some(&args.place),
            _ => self.word().map(|(_, args, _)| &args.place),
        };
        place.cloned().unwrap_or_default()
    }
}

impl Desk<'_> {
    fn namespace_of(&self, place: &Where) -> String {
        place.namespace.clone().unwrap_or_else(|| self.namespace.clone())
    }

    fn canaries(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, "Canary"));
        namespace.map_or_else(
            || Api::all_with(self.client.clone(), &resource),
            |namespace| Api::namespaced_with(self.client.clone(), namespace, &resource),
        )
    }

    /// One Canary.
    async fn canary(&self, namespace: &str, name: &str) -> Result<View, ReleaseError> {
        match self.canaries(Some(namespace)).get_opt(name).await {
            Ok(Some(canary)) => Ok(View::of(&canary)),
            Ok(None) => Err(ReleaseError::NotFound {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
            }),
            Err(error) => Err(told(error)),
        }
    }

    /// All Canaries of a namespace, or of the cluster, by namespace and name.
    async fn all(&self, namespace: Option<&str>) -> Result<Vec<View>, ReleaseError> {
        let list = self.canaries(namespace).list(&ListParams::default()).await;
        let mut views: Vec<View> = list.map_err(told)?.items.iter().map(View::of).collect();
        views.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
        Ok(views)
    }
}

/// What the API server's answer means for a person at a terminal.
fn told(error: kube::Error) -> ReleaseError {
    match error {
        kube::Error::Api(status) if status.code == 404 => ReleaseError::Refused(format!(
            "the cluster has no Canaries: {} (are Serin's CRDs installed? `serin crds` prints them)",
            status.message
        )),
        kube::Error::Api(status) => ReleaseError::Refused(status.message),
        error => ReleaseError::Silent(error.to_string()),
    }
}

/// A time limit as people write it, such as `90s` or `1h30m`.
fn limit(text: &str) -> Result<Duration, ReleaseError> {
    let duration = DurationText::from(text).parse();
    let duration = duration.map_err(|error| ReleaseError::Misused(format!("--timeout: {error}")))?;
    duration
        .to_std()
        .ok_or_else(|| ReleaseError::Misused(format!("--timeout: {text} is negative")))
}
