//! What must have happened, judged from what was seen from outside: the route, the answers, the objects, the events.

use std::process::ExitStatus;

use chrono::{DateTime, TimeDelta, Utc};

use crate::programs::Controller;
use crate::record::{Since, Weights};
use crate::release::{BAD, FIRST, GOOD, Span, Story};

/// The gateway has the new weights this long after the route object has them.
const SETTLE: TimeDelta = TimeDelta::seconds(2);

/// A share is judged from this many answers on.
const ENOUGH: u32 = 150;

/// How far a measured share may be from its weight, in points: at 150 answers and a share of one half, twelve points
/// are three standard deviations.
const TOLERANCE: f64 = 12.0;

/// A sentence about the run that should be true.
pub struct Expectation {
    /// The sentence, with what was seen.
    pub text: String,
    /// Whether it was.
    pub held: bool,
}

/// All sentences about both stories, and about the controller's end. That nothing is lost is asked of Serin only.
pub fn judge(controller: &Controller, stories: &[Story], stopped: Option<ExitStatus>) -> Vec<Expectation> {
    let mut all: Vec<_> = stories.iter().flat_map(of_story).collect();
    if matches!(controller, Controller::Serin(_)) {
        all.extend(stories.iter().flat_map(nothing_lost));
    }
    let ending = stopped.map_or_else(|| "had to be killed".to_owned(), |status| status.to_string());
    all.push(Expectation {
        text: format!("The controller ends cleanly when it is asked to ({ending})"),
        held: stopped.is_some_and(|status| status.success()),
    });
    all
}

fn of_story(story: &Story) -> Vec<Expectation> {
    let moments = &story.moments;
    let promotion = weights_between(story, moments.good, moments.promoted);
    let failure = weights_between(story, moments.bad, moments.rolled_back);
    let at_rest = |from: DateTime<Utc>, to| story.answers.between(from + SETTLE, to);
    let first = story.answers.between(moments.began, moments.good);
    let after_good = at_rest(moments.promoted, moments.bad);
    let after_bad = at_rest(moments.rolled_back, moments.ended);
    let last = story.seen.weights.last().map(|weights| weights.what);
    let highest = failure.iter().map(|weights| weights.canary).max().unwrap_or_default();

    let mut all = vec![
        (
            format!(
                "{FIRST} alone answers before the first release ({} answers)",
                first.answered
            ),
            first.answered > 0 && first.of_version(FIRST) == first.answered,
        ),
        (
            format!("The good version gets 25 and then 50 percent ({})", listed(&promotion)),
            steps(&promotion).starts_with(&[25, 50]),
        ),
        (
            format!(
                "{GOOD} is promoted and alone answers ({} of {})",
                after_good.of_version(GOOD),
                after_good.answered
            ),
            after_good.answered > 0
                && after_good.of_version(GOOD) == after_good.answered
                && story.primary_images[0].ends_with(GOOD),
        ),
        (
            format!("The bad version gets 25 percent and never more ({})", listed(&failure)),
            highest == 25,
        ),
        (
            "The success rate decided against it".to_owned(),
            story.deciding_event().is_some(),
        ),
        (
            format!(
                "After the rollback {GOOD} alone answers ({} of {})",
                after_bad.of_version(GOOD),
                after_bad.answered
            ),
            after_bad.answered > 0
                && after_bad.of_version(BAD) == 0
                && after_bad.of_version(GOOD) == after_bad.answered
                && story.primary_images[1].ends_with(GOOD),
        ),
        ("The route rests at 100/0".to_owned(), last == Some(Weights::HOME)),
        (
            "The weights of every route that was seen sum to 100".to_owned(),
            story
                .seen
                .weights
                .iter()
                .all(|weights| weights.what.primary + weights.what.canary == 100),
        ),
    ];
    all.extend(story.spans.iter().filter_map(|span| share(story, span)));
    all.into_iter().map(|(text, held)| about(story, &text, held)).collect()
}

fn about(story: &Story, text: &str, held: bool) -> Expectation {
    Expectation {
        text: format!("{}: {text}", story.title),
        held,
    }
}

fn nothing_lost(story: &Story) -> Vec<Expectation> {
    let moments = &story.moments;
    let (answers, leaving) = (&story.answers, &story.leaving);
    let ever = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    [
        ("the Canary takes over", answers.between(moments.began, moments.good)),
        (
            "the good version is released",
            answers.between(moments.good, moments.bad),
        ),
        ("the bad version is tried", answers.between(moments.bad, moments.ended)),
        ("the Canary is deleted", leaving.between(ever.0, ever.1)),
    ]
    .into_iter()
    .map(|(time, tally)| {
        let text = format!(
            "No request is lost while {time} ({} of {})",
            tally.lost,
            tally.lost + tally.answered
        );
        about(story, &text, tally.lost == 0)
    })
    .collect()
}

/// Whether the answers of a span came in the proportion of its weights.
fn share(story: &Story, span: &Span) -> Option<(String, bool)> {
    let weights = span.weights.filter(|weights| weights.canary > 0)?;
    let tally = story.answers.between(span.from + SETTLE, span.to);
    if tally.answered < ENOUGH {
        return None;
    }
    let percent = tally.canary_percent();
    let text = format!(
        "At weight {} the canary gives {percent:.0} percent of {} answers",
        weights.canary, tally.answered
    );
    let weight = f64::from(u32::try_from(weights.canary).ok()?);
    Some((text, (percent - weight).abs() <= TOLERANCE))
}

impl Story {
    /// The first event that speaks of a success rate below its limit.
    pub fn deciding_event(&self) -> Option<&Since<String>> {
        let of_bad = |event: &&Since<String>| event.at >= self.moments.bad - TimeDelta::seconds(1);
        self.events
            .iter()
            .filter(of_bad)
            .find(|event| event.what.contains("success") && event.what.contains('<'))
    }
}

fn weights_between(story: &Story, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Weights> {
    let within = story
        .seen
        .weights
        .iter()
        .filter(|weights| (from..=to).contains(&weights.at));
    within.map(|weights| weights.what).collect()
}

fn steps(weights: &[Weights]) -> Vec<u64> {
    weights.iter().map(|weights| weights.canary).collect()
}

fn listed(weights: &[Weights]) -> String {
    let all: Vec<_> = weights
        .iter()
        .map(|weights| format!("{}/{}", weights.primary, weights.canary))
        .collect();
    all.join(", ")
}
