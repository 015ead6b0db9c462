//! A release in words: what is going on, what is awaited and until when, the numbers, and what persons said.

use chrono::{DateTime, TimeDelta, Utc};

use super::view::View;
use crate::rollout::{Block, Heard, Stage, Weight};

/// Where the second column begins.
const MARGIN: usize = 12;

/// The story, one thing a line.
pub(super) fn story(view: &View, place: Option<&str>, now: DateTime<Utc>) -> String {
    let mut lines = vec![headline(view)];
    let why = view.why();
    lines.push(line("now", &format!("{}: {}", why.reason, why.message)));
    if let Some(awaiting) = &why.awaiting {
        let until = why
            .until
            .map(|at| format!(", until {}", moment(at, now)))
            .unwrap_or_default();
        let then = why
            .then
            .as_ref()
            .map(|then| format!("; then {then}"))
            .unwrap_or_default();
        lines.push(line("waits for", &format!("{awaiting}{until}{then}")));
    }
    lines.extend(place.map(|place| line("in line", place)));
    if let Some(since) = view.since() {
        lines.push(line("since", &moment(since, now)));
    }
    if let Some(block) = &view.block {
        lines.extend(release(block, now));
    }
    for condition in &view.conditions {
        let said = format!(
            "{} {} ({})",
            condition.type_,
            condition.status.as_str(),
            condition.reason
        );
        lines.push(line("condition", &said));
    }
    lines.join("\n") + "\n"
}

fn headline(view: &View) -> String {
    let steps = view.block.as_ref().and_then(|block| block.plan.as_ref());
    let steps = steps.filter(|plan| !plan.steps.is_empty()).map(|plan| {
        let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
        format!(" of the steps {}", steps.join(", "))
    });
    let steps = steps.unwrap_or_default();
    format!(
        "{}: {}, weight {}{steps}",
        view.full_name(),
        view.phase(),
        view.weights()
    )
}

fn release(block: &Block, now: DateTime<Utc>) -> Vec<String> {
    let mut lines = Vec::new();
    for (what, revision) in [
        ("running", &block.running),
        ("promoted", &block.promoted),
        ("failed", &block.last_failed),
        ("before", &block.last_promoted),
    ] {
        lines.extend(
            revision
                .as_ref()
                .map(|revision| line(what, &format!("revision {}", revision.short()))),
        );
    }
    if block.run > 0 {
        let checks = format!("number {}; {} failed checks so far", block.run, block.failed_checks);
        lines.push(line("run", &checks));
    }
    if let Some(outcome) = &block.outcome {
        lines.push(line("outcome", &format!("{}: {}", outcome.reason, outcome.message)));
    }
    if let Some(since) = block.words.paused {
        lines.push(line("paused", &format!("since {}", moment(since, now))));
    }
    if let Some(gate) = &block.gate {
        lines.push(line(
            "gate",
            &format!("{} is closed since {}", gate.mark, moment(gate.since, now)),
        ));
    }
    let untracked = block.untracked.iter();
    lines.extend(untracked.map(|(config, why)| line("read live", &format!("{config}: {why}"))));
    for sample in &block.samples {
        let verdict = if sample.passed { "ok" } else { "FAILED" };
        let limit = if sample.limit.is_empty() {
            String::new()
        } else {
            format!(" ({})", sample.limit)
        };
        lines.push(line(
            "metric",
            &format!("{} {}{limit} {verdict}", sample.metric, sample.value),
        ));
    }
    lines.extend(block.words.history.iter().map(|heard| line("word", &word(heard, now))));
    lines
}

fn word(heard: &Heard, now: DateTime<Utc>) -> String {
    let weight = heard.weight.map(|weight| format!(" {weight}")).unwrap_or_default();
    let by = heard.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let reason = heard
        .reason
        .as_ref()
        .map(|reason| format!(", {reason:?}"))
        .unwrap_or_default();
    let refused = heard
        .refused
        .as_ref()
        .map(|why| format!("; not followed: {why}"))
        .unwrap_or_default();
    format!(
        "{}{weight}{by}, {}{reason}{refused}",
        heard.verb.as_str(),
        moment(heard.at, now)
    )
}

/// What a word will do, as far as the status tells; the controller decides by what it sees then.
pub(super) fn forecast(verb: crate::rollout::Verb, weight: Option<u8>, block: &Block) -> String {
    use crate::rollout::Verb;
    let next = block.plan.as_ref().and_then(|plan| plan.after(block.weight));
    let at = format!("at weight {}", block.weight);
    let waits = block.stage == Stage::Waiting;
    let in_line = block.stage == Stage::Resting && block.in_line().is_some();
    match verb {
        Verb::Abort if in_line => "the revision that waits for a slot is not released".into(),
        Verb::Promote if waits => "the revision that waits begins its release without its gate".into(),
        Verb::Promote => next.map_or_else(
            || format!("{at}: the revision is promoted"),
            |next| format!("{at}: the next step is weight {next}"),
        ),
        Verb::PromoteFull => format!("{at}: all steps are left out, the revision is promoted when its pods are ready"),
        Verb::Abort | Verb::Reject if waits => "the revision that waits is not released".into(),
        Verb::Abort | Verb::Reject => {
            format!("{at}: traffic goes back to the primary, and this revision is not tried again")
        }
        Verb::Pause => format!("{at}: the release is held there until it is resumed"),
        Verb::Resume => format!("{at}: the release goes on"),
        Verb::Retry => "the failed revision is tried again".into(),
        Verb::Approve => {
            let gate = block
                .gate
                .as_ref()
                .map_or("no gate is awaited now", |gate| gate.mark.as_str());
            format!("the gate counts as passed: {gate}")
        }
        Verb::Goto => {
            let weight = weight.map_or(Weight::ZERO, |weight| Weight::clamped(i64::from(weight)));
            format!("{at}: the canary gets weight {weight}")
        }
    }
}

fn line(what: &str, text: &str) -> String {
    format!("  {what:<MARGIN$}{text}")
}

/// A time, and how far away it is.
fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let time = at.format("%Y-%m-%d %H:%M:%S UTC");
    if at > now {
        format!("{time} (in {})", span(at - now))
    } else {
        format!("{time} ({} ago)", span(now - at))
    }
}

/// A span in its largest unit, as kubectl shows ages.
pub(super) fn span(span: TimeDelta) -> String {
    match span.num_seconds().max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_largest_unit() {
        for (seconds, expected) in [
            (-3, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(span(TimeDelta::seconds(seconds)), expected);
        }
    }
}
