//! `serin wait`: until the release of what the target is now is over; the exit code says how it ended.

use super::target::{self, Sight, Standing};
use super::view::View;
use super::{Desk, GLANCE, ReleaseError, Where, limit};
use crate::controller::projection;
use crate::rollout::{Block, RunResult, Stage};

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
    let (mut told, mut unread) = (String::new(), None);
    let end = {
        let clock = desk.clock.clone();
        let waited = async {
            loop {
                let view = desk.canary(&namespace, &args.name).await?;
                if let Some(end) = over(desk, &view, &mut unread).await? {
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

/// How it ended, if it is over, and if what is over is about the target as it is now. `told` has what was printed of what may not be
/// read.
async fn over(desk: &mut Desk<'_>, view: &View, told: &mut Option<String>) -> Result<Option<End>, ReleaseError> {
    let Some(block) = &view.block else { return Ok(None) };
    let ends = matches!(block.stage, Stage::Resting | Stage::HoldOnCanary);
    // A word that was not heard yet may be about to begin it again.
    let Some(outcome) = block.outcome.as_ref().filter(|_| ends && !is_spoken_to(view, block)) else {
        return Ok(None);
    };
    let Sight { standing, unread } = target::look(desk, view, block).await?;
    if unread.is_some() && unread != *told {
        let words = unread.as_deref().unwrap_or_default();
        writeln!(desk.out, "{words}; what the status says of it counts")?;
        *told = unread;
    }
    let words = format!("{}: {}: {}", view.full_name(), outcome.reason, outcome.message);
    Ok(match (block.stage, standing, outcome.result) {
        (Stage::HoldOnCanary, Standing::Running | Standing::Failed, _)
        | (Stage::Resting, Standing::Failed, RunResult::Failed) => Some(End::Failed(words)),
        (Stage::Resting, Standing::Promoted, RunResult::Succeeded | RunResult::Initialized) => {
            Some(End::Promoted(words))
        }
        // It waits at rest, or the controller has not taken note of it yet.
        _ => None,
    })
}

fn is_spoken_to(view: &View, block: &Block) -> bool {
    !block.words.news(&projection::words(&view.raw)).is_empty()
}
