//! `serin wait`: until the release of what the target is now is over; the exit code says how it ended.

use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::Value;

use super::view::View;
use super::{Desk, GLANCE, ReleaseError, Where, limit};
use crate::rollout::{Block, RunResult, Stage};
use crate::workload;

/// Which Canary, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The Canary
    name: String,
    #[command(flatten)]
    pub(super) place: Where,
    /// How long to wait, such as 90s or 1h30m
    #[arg(long, default_value = "30m")]
    timeout: String,
}

/// How a release ended.
enum End {
    Promoted(String),
    Failed(String),
}

pub(super) async fn run(desk: &mut Desk<'_>, args: &Args) -> Result<(), ReleaseError> {
    let within = limit(&args.timeout)?;
    let namespace = desk.namespace_of(&args.place);
    let mut told = String::new();
    let end = {
        let clock = desk.clock.clone();
        let waited = async {
            loop {
                let view = desk.canary(&namespace, &args.name).await?;
                if let Some(end) = over(desk, &view).await {
                    return Ok::<End, ReleaseError>(end);
                }
                let why = view.why();
                let now = format!("{} {}: {}", view.phase(), view.weight(), why.message);
                if now != told {
                    writeln!(desk.out, "{now}")?;
                    told = now;
                }
                clock.sleep(GLANCE).await;
            }
        };
        clock.timeout(within, waited).await
    };
    match end {
        Err(_) => Err(ReleaseError::TimedOut {
            within: args.timeout.clone(),
            now: told,
        }),
        Ok(end) => match end? {
            End::Promoted(words) => Ok(writeln!(desk.out, "{words}")?),
            End::Failed(words) => Err(ReleaseError::Failed(words)),
        },
    }
}

/// How it ended, if it is over, and if what is over is about the target as it is now.
async fn over(desk: &Desk<'_>, view: &View) -> Option<End> {
    let block = view.block.as_ref()?;
    let name = view.full_name();
    let outcome = block.outcome.as_ref()?;
    let words = format!("{name}: {}: {}", outcome.reason, outcome.message);
    let result = match block.stage {
        Stage::HoldOnCanary => RunResult::Failed,
        Stage::Resting => outcome.result,
        _ => return None,
    };
    if !is_of_the_target(desk, view, block).await {
        return None;
    }
    Some(match result {
        RunResult::Failed => End::Failed(words),
        RunResult::Succeeded | RunResult::Initialized => End::Promoted(words),
    })
}

/// Whether the controller has taken note of the target's present template. Right after a push it has not, and what the status says is
/// about the release before. A target that may not be read, or that is gone, is no reason to wait.
async fn is_of_the_target(desk: &Desk<'_>, view: &View, block: &Block) -> bool {
    let kind = GroupVersionKind::gvk("apps", "v1", "Deployment");
    let resource = ApiResource::from_gvk(&kind);
    let targets: Api<DynamicObject> = Api::namespaced_with(desk.client.clone(), &view.namespace, &resource);
    let Ok(target) = targets.get(&block.subject.target).await else {
        return true;
    };
    let Ok(facts) = serde_json::to_value(&target)
        .map_err(|_| ())
        .and_then(|target: Value| workload::target_facts(&target, 100).map_err(|_| ()))
    else {
        return true;
    };
    let baseline = block.baseline.as_ref();
    let known = [
        block.promoted.as_ref(),
        block.last_failed.as_ref(),
        block.running.as_ref(),
        baseline.map(|baseline| &baseline.fingerprint),
    ];
    let same_anchor =
        baseline.is_some_and(|it| it.uid == facts.uid && it.anchor.is_some() && it.anchor == facts.anchor);
    let observed = facts.rollout.observed;
    observed && (same_anchor || known.contains(&facts.fingerprint.as_ref()))
}
