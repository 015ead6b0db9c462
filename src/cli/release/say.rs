//! `serin promote`, `abort` and the like: a person's word, written as an annotation of the Canary.

use chrono::{DateTime, Utc};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::story::forecast;
use super::view::View;
use super::{Desk, GLANCE, ReleaseError, Where, limit, told};
use crate::rollout::{Block, Fingerprint, Said, Verb};

/// The field manager of words that are said here; it stands in the history.
const MANAGER: &str = "serin-cli";

/// What is said, and about what.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The Canary
    name: String,
    #[command(flatten)]
    pub(super) place: Where,
    /// Why; stands in the events and in the history
    #[arg(long)]
    reason: Option<String>,
    /// Wait until the controller has heard it, and say what came of it
    #[arg(long)]
    wait: bool,
    /// How long to wait for that
    #[arg(long, default_value = "1m", requires = "wait")]
    timeout: String,
}

/// The same with a weight.
#[derive(Debug, Clone, clap::Args)]
pub struct GotoArgs {
    #[command(flatten)]
    pub(super) say: Args,
    /// The canary's share of the traffic in percent
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(super) weight: u8,
}

pub(super) async fn run(desk: &mut Desk<'_>, verb: Verb, args: &Args, weight: Option<u8>) -> Result<(), ReleaseError> {
    let within = limit(&args.timeout)?;
    let namespace = desk.namespace_of(&args.place);
    let view = desk.canary(&namespace, &args.name).await?;
    let (block, revision) = subject(&view)?;
    let nonce = nonce(desk.clock.now());
    let value = value(revision, &nonce, weight, args.reason.as_deref());
    let patch = json!({"metadata": {"annotations": { (verb.annotation()): &value }}});
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let canaries = desk.canaries(Some(&namespace));
    canaries
        .patch(&args.name, &params, &Patch::Merge(&patch))
        .await
        .map_err(told)?;
    let name = view.full_name();
    writeln!(
        desk.out,
        "{verb} {name}, revision {}; {}",
        revision.short(),
        forecast(verb, weight, block),
        verb = verb.as_str()
    )?;
    if args.wait {
        let (by, at) = (None, None);
        heard(desk, args, &Said { verb, value, by, at }, within).await?;
    }
    Ok(())
}

/// The revision that a word can be about.
fn subject(view: &View) -> Result<(&Block, &Fingerprint), ReleaseError> {
    let nothing = || {
        let (name, phase) = (view.full_name(), view.phase());
        ReleaseError::NotFollowed(format!(
            "{name} is {phase}: no revision is being released, and none has failed"
        ))
    };
    let block = view.block.as_ref().ok_or_else(nothing)?;
    Ok((block, block.spoken_of().ok_or_else(nothing)?))
}

fn value(revision: &Fingerprint, nonce: &str, weight: Option<u8>, reason: Option<&str>) -> String {
    let weight = weight.map(|weight| format!(",{weight}")).unwrap_or_default();
    let reason = reason.map(|reason| format!(",{reason}")).unwrap_or_default();
    format!("{revision}#{nonce}{weight}{reason}")
}

/// Different for each call: the time and the process.
fn nonce(now: DateTime<Utc>) -> String {
    format!("{:x}-{:x}", now.timestamp_micros(), std::process::id())
}

/// Waits until the word was heard, and says what came of it.
async fn heard(desk: &mut Desk<'_>, args: &Args, said: &Said, within: std::time::Duration) -> Result<(), ReleaseError> {
    let verb = said.verb;
    let namespace = desk.namespace_of(&args.place);
    let waited = async {
        loop {
            let view = desk.canary(&namespace, &args.name).await?;
            if view.block.as_ref().is_some_and(|block| block.words.has_heard(said)) {
                return Ok::<View, ReleaseError>(view);
            }
            desk.clock.sleep(GLANCE).await;
        }
    };
    let Ok(view) = desk.clock.timeout(within, waited).await else {
        return Err(ReleaseError::TimedOut {
            within: args.timeout.clone(),
            now: "no controller has heard the word; does one run, and may it read this namespace?".into(),
        });
    };
    let view = view?;
    let history = view.block.as_ref().map(|block| block.words.history.as_slice());
    let last = history.and_then(|history| history.iter().rfind(|heard| heard.verb == verb));
    if let Some(refused) = last.and_then(|heard| heard.refused.as_ref()) {
        let words = format!("{} is not followed: {refused}", verb.as_str());
        return Err(ReleaseError::NotFollowed(words));
    }
    let why = view.why();
    writeln!(desk.out, "heard; {}: {}", why.reason, why.message)?;
    Ok(())
}
