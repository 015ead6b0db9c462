//! The ends of a run: promoted, rolled back, reverted. A resting phase is written only when the world was seen drawn.

use super::super::mark::{self, OWED};
use super::super::notice::Severity;
use super::super::question::{Question, QuestionKey};
use super::super::round::{self, Check, Progress, Tally};
use super::super::state::{GateState, RunResult, Stage};
use super::super::weight::{Side, Weight};
use super::turn::Turn;
use super::{down, hold, homeward, moving, promote, scaling, verdict};
use crate::api::HookType;

/// Notes that the hooks after the run are still to be called. They come after the phase is written, which they may read.
pub(super) fn owe_post_rollout(turn: &mut Turn<'_>) {
    let wanted = mark::hooks(turn.canary)
        .iter()
        .any(|hook| hook.type_() == HookType::PostRollout);
    if wanted {
        turn.block.gates.insert(OWED.into(), GateState::Told);
    }
}

/// Calls the hooks that are owed. True while they keep a new revision from starting: it waits until all were called, not for their
/// answers.
pub(super) fn post_rollout(turn: &mut Turn<'_>, revision_waits: bool) -> bool {
    if !turn.block.gates.contains_key(OWED) {
        return false;
    }
    match turn.check() {
        Check::Later(_) => return revision_waits,
        Check::Nothing => {}
        Check::Due(due) => match round::progress(&due, turn.canary, turn.answers) {
            Progress::Ask(open) if revision_waits && are_called(turn, &open) => turn.drop_round(),
            // The beginning of a call wakes, and so does an answer.
            Progress::Ask(_) => return revision_waits,
            Progress::Done(tally) => {
                turn.drop_round();
                tell_post_rollout(turn, &tally);
            }
        },
    }
    turn.block.gates.retain(|mark, _| mark != OWED);
    revision_waits
}

fn are_called(turn: &Turn<'_>, questions: &[Question]) -> bool {
    let called = |question| turn.answers.called.contains(&QuestionKey::of(question));
    questions.iter().all(called)
}

/// Rolls back with a warning and an alert that name the cause: no failure is silent (W4 of `spec/core.md` 7.3).
pub(super) fn begin_rollback(turn: &mut Turn<'_>, reason: &str, message: &str) {
    let (text, alert) = if reason == "ProgressDeadlineExceeded" {
        (
            format!(
                "Rolling back {} progress deadline exceeded {message}",
                turn.canary_name()
            ),
            format!("Progress deadline exceeded {message}"),
        )
    } else {
        (
            format!("Rolling back {} {message}", turn.canary_name()),
            format!("Rolled back: {message}"),
        )
    };
    turn.warning("rollback", "RollBack", &text)
        .alerts(Severity::Error, &alert);
    roll_traffic_back(turn, reason, message);
}

/// Sends traffic home; the caller has told why.
pub(super) fn roll_traffic_back(turn: &mut Turn<'_>, reason: &str, message: &str) {
    turn.outcome(RunResult::Failed, reason, message);
    turn.enter(Stage::RollingBack);
    homeward::bring_home(turn);
    rollback_words(turn);
}

fn rollback_words(turn: &mut Turn<'_>) {
    let (reason, cause) = turn.outcome_words();
    down::say(turn, &reason, &format!("rolling back: {cause}"), down::HOME_AND_DOWN);
}

/// Traffic home, target down, `post-rollout` hooks, then `Failed`.
pub(super) fn roll_back(turn: &mut Turn<'_>) {
    homeward::bring_home(turn);
    rollback_words(turn);
    let kept_until = down::keeps_until(turn);
    if kept_until.is_none() && !down::home_and_down(turn) {
        return;
    }
    if let Some(failed) = turn.block.running.take() {
        turn.block.last_failed = Some(failed);
    }
    turn.block.plan = None;
    turn.enter(Stage::Resting);
    turn.block.kept_until = kept_until;
    owe_post_rollout(turn);
    let text = match kept_until {
        Some(_) => format!(
            "Canary failed! Keeping the pods of {} for {}",
            turn.target_name(),
            down::delay_words(turn)
        ),
        None => format!("Canary failed! Scaling down {}", turn.canary_name()),
    };
    turn.warning("failed", "RollBack", &text);
    let (reason, cause) = turn.outcome_words();
    let why = turn.why(&reason, &cause).awaiting(down::NEXT);
    if let Some(at) = kept_until {
        why.until(at, down::THEN);
    }
}

/// As a rollback, without a failure.
pub(super) fn revert(turn: &mut Turn<'_>) {
    let renamed = moving::is_renamed(&turn.block, turn.observation);
    if !renamed
        && turn
            .observation
            .target
            .present()
            .and_then(|t| t.fingerprint.as_ref())
            .is_some_and(|f| Some(f) != turn.block.promoted.as_ref())
        && turn.block.weight > Weight::ZERO
    {
        // It changed once more while traffic is on its way home.
        return homeward::leave_for_new_revision(turn);
    }
    homeward::bring_home(turn);
    if !down::home_and_down(turn) {
        let (reason, message) = if renamed {
            ("NamesChanged", "the spec names other objects; the run is ended first")
        } else {
            ("Reverting", homeward::REVERTED)
        };
        down::say(turn, reason, message, down::HOME_AND_DOWN);
        return;
    }
    turn.block.running = None;
    turn.block.plan = None;
    if renamed {
        return moving::run_ended(turn);
    }
    turn.block.last_failed = None;
    let first = turn.block.last_promoted.is_none()
        && turn.block.run <= 1
        && turn
            .block
            .outcome
            .as_ref()
            .is_some_and(|o| o.result == RunResult::Initialized);
    let result = if first {
        RunResult::Initialized
    } else {
        RunResult::Succeeded
    };
    turn.outcome(
        result,
        "Reverted",
        "the target was returned to the promoted revision; the run was ended",
    );
    turn.enter(Stage::Resting);
    owe_post_rollout(turn);
    turn.event(
        "reverted",
        "Revert",
        &format!("Run ended! Scaling down {}", turn.target_name()),
    );
    turn.why(
        "Reverted",
        "the target was returned to the promoted revision; the run was ended",
    );
}

/// After a promotion: target down, `post-rollout` hooks, then `Succeeded`.
pub(super) fn finalise(turn: &mut Turn<'_>) {
    let canary_up =
        turn.observation.target.is_present_and(|target| target.replicas > 0) && turn.capacity().canary_takes_all();
    if canary_up && !turn.capacity().carries(Side::Primary, Weight::ZERO) {
        let primary = &turn.observation.primary;
        if primary.is_present_and(|primary| primary.rollout.deadline_exceeded) || turn.past_deadline() {
            return hold::fail(turn);
        }
        if turn.observation.primary_endpoints == Some(0) {
            return promote::take_back(turn);
        }
    }
    // Nothing is taken from the canary while the primary does not carry everything: `render` waits for the same.
    if !down::home_and_down(turn) || !(scaling::is_promoted(turn) || turn.past_deadline()) {
        let message = "all traffic is on the primary; the target is scaled to zero";
        down::say(turn, "Finalising", message, "the target at zero replicas");
        return;
    }
    let skipped = turn.block.plan.as_ref().is_none_or(|plan| !plan.judges());
    let promoted = turn.block.running.take();
    if turn.block.promoted != promoted {
        turn.block.last_promoted = turn.block.promoted.take();
        turn.block.promoted = promoted;
    }
    turn.block.last_failed = None;
    turn.block.plan = None;
    let (text, message) = if skipped {
        (
            format!(
                "Promotion completed! Canary analysis was skipped for {}",
                turn.target_name()
            ),
            "Canary analysis was skipped, promotion finished.",
        )
    } else {
        (
            format!("Promotion completed! Scaling down {}", turn.target_name()),
            "Canary analysis completed successfully, promotion finished.",
        )
    };
    turn.outcome(
        RunResult::Succeeded,
        if skipped { "PromotedUnjudged" } else { "Promoted" },
        message,
    );
    turn.enter(Stage::Resting);
    owe_post_rollout(turn);
    turn.event("promoted", "Promote", &text).alerts(Severity::Info, message);
    let reason = turn
        .block
        .outcome
        .as_ref()
        .map(|outcome| outcome.reason.clone())
        .unwrap_or_default();
    turn.why(&reason, message);
}

fn tell_post_rollout(turn: &mut Turn<'_>, tally: &Tally) {
    verdict::tell_passed(turn, tally);
    if let Some(refusal) = &tally.refused {
        turn.warning(
            "post-rollout",
            "PostRollout",
            &format!("Post-rollout hook {} failed {}", refusal.name, refusal.text),
        );
    }
}
