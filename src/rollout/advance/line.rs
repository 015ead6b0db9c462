//! Waiting for a slot: a release that may start, and an initialisation, when as many as may are at work already.

use super::super::slots::{QUEUED, Queued};
use super::super::state::Fingerprint;
use super::turn::Turn;

/// Stands in line, if there is no slot; true then. The place is kept when the revision changes.
pub(super) fn full(turn: &mut Turn<'_>, revision: Option<&Fingerprint>) -> bool {
    let Some(full) = turn.observation.full else {
        turn.block.queued = None;
        return false;
    };
    let since = turn.block.queued.as_ref().map_or(turn.now, |queued| queued.since);
    let (place, scope) = if full.in_namespace {
        ("in this namespace", "-max-concurrent-per-namespace")
    } else {
        ("in the fleet", "-max-concurrent")
    };
    // The numbers move with every release of another: they stand as they were when the wait began.
    if turn.before.why.reason != QUEUED {
        let message = format!(
            "{} releases and initialisations are under way {place}, {} may be ({scope})",
            full.working, full.limit
        );
        turn.event("queued", "Queue", &format!("Queued {}: {message}", turn.canary_name()));
        turn.why(QUEUED, &message)
            .awaiting("a slot; the line is fair over namespaces");
    }
    turn.block.queued = Some(Queued {
        since,
        revision: revision.cloned(),
    });
    true
}

/// Whether the gates of this revision have passed while it stood in line.
pub(super) fn is_queued(turn: &Turn<'_>, revision: &Fingerprint) -> bool {
    turn.block.in_line() == Some(revision)
}
