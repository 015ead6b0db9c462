//! `serin leave`: Canaries are deleted, one after another or several at once, and each is waited for until its target serves alone.
//!
//! A deletion cannot be taken back, so everything that speaks against it is looked for before: no Serin that would hand back, a
//! release under way, a target with a revision that was not promoted.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use chrono::TimeDelta;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, ListParams, Preconditions, PropagationPolicy};

use super::target::{self, Sight, Standing};
use super::view::View;
use super::{Desk, GLANCE, ReleaseError, Where, limit, told};
use crate::controller::leader::{LEASE_DURATION, LEASE_NAME};
use crate::controller::meta;
use crate::rollout::{Block, Stage};

/// How long a controller may take to notice a deletion before that is worth a word.
const NOTICED: TimeDelta = TimeDelta::seconds(30);

/// What is said then.
const UNHEARD: &str = "no Serin has reacted; is one running, and does it watch this namespace? (docs/leave.md, \"With no Serin running\")";

/// Marks of tools that apply a Canary again when it is gone: the label or annotation, and who sets it.
const APPLIERS: [(&str, &str); 4] = [
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("meta.helm.sh/release-name", "Helm"),
];

/// Which Canaries, and how.
#[derive(Debug, Clone, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub struct Args {
    /// The Canaries
    #[arg(required_unless_present_any = ["all", "all_namespaces"])]
    names: Vec<String>,
    /// All Canaries of the namespace
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// All Canaries of the cluster
    #[arg(long, short = 'A', conflicts_with_all = ["names", "namespace"])]
    all_namespaces: bool,
    #[command(flatten)]
    pub(super) place: Where,
    /// How many are handed back at a time: each needs room for the target's pods beside the primary's
    #[arg(long, default_value = "4")]
    at_once: NonZeroUsize,
    /// How long to wait for each, such as 90s or 1h30m
    #[arg(long, default_value = "30m")]
    timeout: String,
    /// Also those that are in the middle of a release or whose target has a revision that was not promoted, and also when no Serin
    /// seems to run
    #[arg(long)]
    force: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(desk: &mut Desk<'_>, args: &Args) -> Result<(), ReleaseError> {
    let within = limit(&args.timeout)?;
    let views = chosen(desk, args).await?;
    if views.is_empty() {
        return Ok(writeln!(desk.out, "There is no Canary to hand back.")?);
    }
    let staying = staying(desk, args, &views).await;
    let (mut ready, mut kept) = (Vec::new(), Vec::new());
    for view in views {
        if stays(desk, &view, args.force, true).await? {
            kept.push(view.full_name());
        } else {
            ready.push(view);
        }
    }
    // Who waits for another's target would take it over as soon as that one is gone.
    ready.sort_by_key(|view| !is_late(view));
    for view in &ready {
        for note in remark(view).into_iter().chain(claim(view, &staying)) {
            writeln!(desk.out, "{}: {note}", view.full_name())?;
        }
    }
    if args.dry_run {
        for view in &ready {
            writeln!(desk.out, "{}: would be deleted and handed back", view.full_name())?;
        }
        return refused(&kept);
    }
    if !ready.is_empty() {
        is_led(desk, args.force).await?;
    }
    let Handed { late, stayed } = hand_back(desk, ready, args, within).await?;
    kept.extend(stayed);
    if !late.is_empty() {
        return Err(ReleaseError::TimedOut {
            within: args.timeout.clone(),
            now: late.join("; "),
        });
    }
    refused(&kept)
}

/// Those that were not handed back.
#[derive(Default)]
struct Handed {
    /// What was not gone in time, with what was said of it last.
    late: Vec<String>,
    /// What was not deleted, since a release had begun meanwhile.
    stayed: Vec<String>,
}

/// Deletes these, so many at a time, and waits for each.
async fn hand_back(
    desk: &mut Desk<'_>,
    views: Vec<View>,
    args: &Args,
    within: Duration,
) -> Result<Handed, ReleaseError> {
    let mut waiting: VecDeque<View> = views.into();
    let mut leaving: Vec<Leaving> = Vec::new();
    let mut handed = Handed::default();
    let limit = TimeDelta::from_std(within).unwrap_or(TimeDelta::MAX);
    while !waiting.is_empty() || !leaving.is_empty() {
        while leaving.len() < args.at_once.get()
            && let Some(view) = waiting.pop_front()
        {
            // The others may have taken hours.
            let view = match desk.canary(&view.namespace, &view.name).await {
                Ok(now) if meta::uid(&now.raw) == meta::uid(&view.raw) => now,
                Ok(_) | Err(ReleaseError::NotFound { .. }) => view,
                Err(error) => return Err(error),
            };
            if stays(desk, &view, args.force, false).await? {
                handed.stayed.push(view.full_name());
                continue;
            }
            delete(desk, &view).await?;
            writeln!(desk.out, "{}: deleted, its target takes over", view.full_name())?;
            leaving.push(Leaving::new(view, desk));
        }
        desk.clock.sleep(GLANCE).await;
        let mut still = Vec::new();
        for mut one in leaving {
            if look(desk, &mut one).await? {
                writeln!(desk.out, "{}: handed back", one.view.full_name())?;
            } else if desk.clock.now() - one.since >= limit {
                handed.late.push(format!("{}: {}", one.view.full_name(), one.told));
            } else {
                still.push(one);
            }
        }
        leaving = still;
    }
    Ok(handed)
}

/// One Canary on its way out.
struct Leaving {
    view: View,
    since: chrono::DateTime<chrono::Utc>,
    /// What was said last.
    told: String,
    /// It was said that nobody reacts.
    alone: bool,
}

impl Leaving {
    fn new(view: View, desk: &Desk<'_>) -> Self {
        Self {
            view,
            since: desk.clock.now(),
            told: "nothing has happened yet".to_owned(),
            alone: false,
        }
    }
}

async fn chosen(desk: &Desk<'_>, args: &Args) -> Result<Vec<View>, ReleaseError> {
    if args.all_namespaces {
        return desk.all(None).await;
    }
    let namespace = desk.namespace_of(&args.place);
    if args.all {
        return desk.all(Some(&namespace)).await;
    }
    let mut views: Vec<View> = Vec::new();
    for name in &args.names {
        if !views.iter().any(|view| view.name == *name) {
            views.push(desk.canary(&namespace, name).await?);
        }
    }
    Ok(views)
}

/// What speaks against a deletion now.
#[derive(Default)]
struct Objection {
    /// Why the Canary should not go, and what to do about it.
    why: Option<String>,
    /// What may not be read, so that the status is trusted in its place.
    unread: Option<String>,
}

/// Whether this Canary should not go now; says why. Whoever forces it is not asked.
async fn stays(desk: &mut Desk<'_>, view: &View, force: bool, first: bool) -> Result<bool, ReleaseError> {
    if force {
        return Ok(false);
    }
    let Objection { why, unread } = objection(desk, view).await?;
    if let Some(words) = unread.filter(|_| first) {
        writeln!(
            desk.out,
            "{}: {words}; what the status says of it counts",
            view.full_name()
        )?;
    }
    if let Some(why) = &why {
        writeln!(desk.out, "{}: stays: {why}, or use --force", view.full_name())?;
    }
    Ok(why.is_some())
}

async fn objection(desk: &Desk<'_>, view: &View) -> Result<Objection, ReleaseError> {
    let because = |why: &str| Objection {
        why: Some(why.to_owned()),
        unread: None,
    };
    if meta::deleting(&view.raw) {
        return Ok(Objection::default());
    }
    let Some(block) = &view.block else {
        let is_there = view.raw.pointer("/status/serin").is_some_and(|serin| !serin.is_null());
        let why = "another version of Serin wrote its status; use that one's `serin leave`";
        return Ok(if is_there { because(why) } else { Objection::default() });
    };
    if !matches!(block.stage, Stage::Resting | Stage::Initializing) {
        return Ok(because(&format!(
            "it is in the middle of a release ({} at {} percent), and the target would be handed all traffic with a revision that was \
             not promoted; wait for the end or `serin abort` it",
            view.phase(),
            view.weight()
        )));
    }
    // The target of the one still serves, and that of the other is another's.
    if block.stage == Stage::Initializing || is_late(view) {
        return Ok(Objection::default());
    }
    let Sight { standing, unread } = target::look(desk, view, block).await?;
    let why = match standing {
        Standing::Promoted => None,
        Standing::Failed => Some(
            "the target still has the revision that failed, and would be handed all traffic with it; return it to the good one first"
                .to_owned(),
        ),
        Standing::Running | Standing::New => Some(not_promoted(view, block)),
    };
    Ok(Objection { why, unread })
}

/// A revision waits at rest, or was pushed a moment ago.
fn not_promoted(view: &View, block: &Block) -> String {
    let why = view.why();
    // At rest the reason is that of the last release where nothing else is in the way.
    let obstacle = block.outcome.as_ref().is_none_or(|last| last.reason != why.reason);
    let waits = if obstacle {
        let awaited = why.awaiting.map(|awaited| format!("; it waits for {awaited}"));
        format!("{}: {}{}", why.reason, why.message, awaited.unwrap_or_default())
    } else {
        "its release has not begun yet".to_owned()
    };
    format!(
        "the target has a revision that was not promoted, and would be handed all traffic with it ({waits}); let it be released, or \
         return the target to the promoted one first"
    )
}

/// What is to be known beforehand.
fn remark(view: &View) -> Option<String> {
    let metadata = view.raw.get("metadata")?;
    let has = |key: &str| {
        ["labels", "annotations"]
            .iter()
            .any(|kind| metadata[kind].get(key).is_some())
    };
    let (_, applier) = APPLIERS.into_iter().find(|(key, _)| has(key))?;
    Some(format!(
        "was applied by {applier}, which makes it again unless it is taken out there first"
    ))
}

/// The Canaries beside these that nobody wants to hand back. Who may not list them is told nothing of them.
async fn staying(desk: &Desk<'_>, args: &Args, views: &[View]) -> Vec<View> {
    if args.all || args.all_namespaces {
        return Vec::new();
    }
    let all = desk.all(Some(&desk.namespace_of(&args.place))).await;
    let mut all = all.unwrap_or_default();
    all.retain(|other| !meta::deleting(&other.raw) && !views.iter().any(|view| view.name == other.name));
    all
}

/// Who takes the target over when this one is gone.
fn claim(view: &View, staying: &[View]) -> Option<String> {
    let target = |view: &View| view.raw.pointer("/spec/targetRef/name").cloned();
    let next = staying.iter().find(|other| target(other) == target(view))?;
    Some(format!(
        "Canary {} names the same target and takes it over as soon as this one is gone",
        next.name
    ))
}

/// Whether another Canary has its target.
fn is_late(view: &View) -> bool {
    view.block
        .as_ref()
        .is_some_and(|block| block.why.reason == "TargetTaken")
}

/// Whether some Serin leads: its Lease was renewed lately. No Lease, or no right to list them, proves nothing: leader election can be
/// off.
async fn is_led(desk: &mut Desk<'_>, force: bool) -> Result<(), ReleaseError> {
    let leases: Api<Lease> = Api::all(desk.client.clone());
    let name = ListParams::default().fields(&format!("metadata.name={LEASE_NAME}"));
    let Ok(found) = leases.list(&name).await else {
        return Ok(());
    };
    let renewed = found.items.iter().filter_map(|lease| {
        let at = lease.spec.as_ref()?.renew_time.as_ref()?.0.as_microsecond();
        chrono::DateTime::from_timestamp_micros(at)
    });
    let Some(last) = renewed.max() else { return Ok(()) };
    let age = desk.clock.now() - last;
    if age < TimeDelta::from_std(LEASE_DURATION * 2).unwrap_or(TimeDelta::MAX) {
        return Ok(());
    }
    let words = format!(
        "no Serin seems to run: its Lease {LEASE_NAME} was last renewed {} minutes ago. A deleted Canary would wait for one",
        age.num_minutes()
    );
    if force {
        return Ok(writeln!(desk.out, "{words}.")?);
    }
    Err(ReleaseError::NotFollowed(format!(
        "{words}, so none was deleted; start Serin, or see \"With no Serin running\" in docs/leave.md, or use --force"
    )))
}

/// Deletes the very Canary that was looked at.
async fn delete(desk: &Desk<'_>, view: &View) -> Result<(), ReleaseError> {
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(meta::uid(&view.raw).to_owned()),
            resource_version: None,
        }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    let deleted = desk
        .canaries(Some(&view.namespace))
        .delete(&view.name, &parameters)
        .await;
    match deleted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(told(error)),
    }
}

/// Whether it is gone; says what it does where that has changed.
async fn look(desk: &mut Desk<'_>, one: &mut Leaving) -> Result<bool, ReleaseError> {
    let now = match desk.canary(&one.view.namespace, &one.view.name).await {
        Ok(now) if meta::uid(&now.raw) == meta::uid(&one.view.raw) => now,
        // Another one of that name is none of ours.
        Ok(_) | Err(ReleaseError::NotFound { .. }) => return Ok(true),
        // It is looked at again until the time is over.
        Err(ReleaseError::Silent(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let heard = now.block.as_ref().is_some_and(|block| block.stage == Stage::Leaving);
    if heard {
        let why = now.why();
        let mut words = why.message;
        if let Some(awaited) = why.awaiting {
            let _infallible = write!(words, "; waiting for {awaited}");
        }
        if words != one.told {
            writeln!(desk.out, "{}: {words}", now.full_name())?;
            one.told = words;
        }
    } else if !one.alone && desk.clock.now() - one.since >= NOTICED {
        one.alone = true;
        UNHEARD.clone_into(&mut one.told);
        writeln!(desk.out, "{}: {}", now.full_name(), one.told)?;
    }
    Ok(false)
}

/// The end, where some had to stay.
fn refused(kept: &[String]) -> Result<(), ReleaseError> {
    if kept.is_empty() {
        return Ok(());
    }
    Err(ReleaseError::NotFollowed(format!(
        "not handed back: {}",
        kept.join(", ")
    )))
}
