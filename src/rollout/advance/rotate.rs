//! Configurations that the primary reads live: when one changes, its pods are rolled, without a release (`liveRestart`, rank 8 of
//! `spec/users.md`).

use super::super::notice::Severity;
use super::super::state::{LiveConfigs, Stage};
use super::turn::Turn;

/// Stages in which the primary serves with what was promoted, and nothing else writes its template.
pub const fn may_roll(stage: Stage) -> bool {
    matches!(
        stage,
        Stage::Resting | Stage::Waiting | Stage::Raising | Stage::Stepping | Stage::WaitingPromotion
    )
}

/// Takes note of a change, and of the primary's having been rolled for it.
pub(super) fn follow(turn: &mut Turn<'_>) {
    let (Some(mark), Some(primary)) = (
        turn.observation.live_configs.present(),
        turn.observation.primary.present(),
    ) else {
        return;
    };
    if !may_roll(turn.block.stage) {
        return;
    }
    let known = turn.block.live_configs.clone();
    let took_note = LiveConfigs {
        seen: mark.clone(),
        roll: false,
    };
    match known {
        // What stands when following begins is what the pods have read.
        None => turn.block.live_configs = Some(took_note),
        Some(known) if known.seen == *mark => {
            if known.roll && primary.restarted.as_ref() == Some(mark) {
                turn.block.live_configs = Some(took_note);
            }
        }
        Some(_) if primary.worst_ready == 0 => {
            turn.block.live_configs = Some(took_note);
            let text = format!(
                "A configuration of {} changed, and its strategy would take all pods that serve: restart it by hand",
                turn.primary_name()
            );
            turn.warning("live-configs", "Restart", &text)
                .alerts(Severity::Warn, &text);
        }
        Some(_) => {
            turn.block.live_configs = Some(LiveConfigs {
                roll: true,
                ..took_note
            });
            let text = format!(
                "A configuration of {} changed! Restarting its pods",
                turn.primary_name()
            );
            turn.event("live-configs", "Restart", &text)
                .alerts(Severity::Info, &text);
        }
    }
}

/// New pods read what there is.
pub(super) fn caught_up(turn: &mut Turn<'_>) {
    let now = turn.observation.live_configs.present().cloned();
    turn.block.live_configs = now.map(|seen| LiveConfigs { seen, roll: false });
}
