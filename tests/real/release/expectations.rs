//! What must have happened, judged from what was seen from outside: the route, the answers, the objects, the events.

use chrono::{DateTime, TimeDelta, Utc};

use crate::harness::record::{Since, Weights};
use crate::harness::verdict::Expectation;
use crate::release::story::{FIRST, GOOD, Span, Story};

/// The gateway has the new weights this long after the route object has them.
const SETTLE: TimeDelta = TimeDelta::seconds(2);

/// A share is judged from this many answers on.
const ENOUGH: usize = 150;

/// How far a measured share may be from its weight, in points: at 150 answers and a share of one half, twelve points
/// are three standard deviations.
const TOLERANCE: f64 = 12.0;

/// That the story went as it should; whether requests were lost is another question.
pub fn course(story: &Story) -> Vec<Expectation> {
    let moments = &story.moments;
    let promotion = weights_between(story, moments.good, moments.promoted);
    let failure = weights_between(story, moments.bad, moments.rolled_back);
    let at_rest = |from: DateTime<Utc>, to| story.answers.between(from + SETTLE, to);
    let first = story.answers.between(moments.began, moments.good);
    let after_good = at_rest(moments.promoted, moments.bad);
    let after_bad = at_rest(moments.rolled_back, moments.deleted);
    let last = story.seen.weights.last().map(|weights| weights.what);
    let highest = failure.iter().map(|weights| weights.canary).max().unwrap_or_default();

    let mut all = vec![
        Expectation::new(
            format!(
                "{FIRST} alone answers before the first release ({} answers)",
                first.answered
            ),
            first.answered > 0 && first.of_version(FIRST) == first.answered,
        ),
        Expectation::new(
            format!("The good version gets 25 and then 50 percent ({})", listed(&promotion)),
            steps(&promotion).starts_with(&[25, 50]),
        ),
        Expectation::new(
            format!(
                "{GOOD} is promoted and alone answers ({} of {})",
                after_good.of_version(GOOD),
                after_good.answered
            ),
            after_good.answered > 0
                && after_good.of_version(GOOD) == after_good.answered
                && story.primary_versions[0] == GOOD,
        ),
        Expectation::new(
            format!("The bad version gets 25 percent and never more ({})", listed(&failure)),
            highest == 25,
        ),
        Expectation::new(
            format!("The {} decided against it", story.success_rate),
            story.deciding_event().is_some(),
        ),
        Expectation::new(
            format!(
                "After the rollback {GOOD} alone answers ({} of {})",
                after_bad.of_version(GOOD),
                after_bad.answered
            ),
            after_bad.answered > 0
                && after_bad.of_version(GOOD) == after_bad.answered
                && story.primary_versions[1] == GOOD,
        ),
        Expectation::new("The route rests at 100/0", last == Some(Weights::HOME)),
        Expectation::new(
            "The weights of every route that was seen sum to 100",
            story
                .seen
                .weights
                .iter()
                .all(|weights| weights.what.primary + weights.what.canary == 100),
        ),
    ];
    all.extend(story.spans.iter().filter_map(|span| share(story, span)));
    all.into_iter().map(|each| each.about(&story.title)).collect()
}

/// What was lost in a part of the story.
pub struct Losses {
    /// The part, behind "while".
    pub time: &'static str,
    /// Requests without an answer of the application.
    pub lost: usize,
    /// All of them.
    pub all: usize,
}

/// What was lost in each part.
pub fn losses(story: &Story) -> [Losses; 4] {
    let moments = &story.moments;
    let parts = [
        ("the Canary takes over", DateTime::<Utc>::MIN_UTC, moments.good),
        ("the good version is released", moments.good, moments.bad),
        ("the bad version is tried", moments.bad, moments.deleted),
        ("the Canary is deleted", moments.deleted, DateTime::<Utc>::MAX_UTC),
    ];
    parts.map(|(time, from, to)| {
        let tally = story.answers.between(from, to);
        Losses {
            time,
            lost: tally.lost,
            all: tally.lost + tally.answered,
        }
    })
}

/// That every request was answered by the application, in every part of the story.
pub fn nothing_lost(story: &Story) -> Vec<Expectation> {
    let judged = losses(story).map(|Losses { time, lost, all }| {
        let text = format!("No request is lost while {time} ({lost} of {all})");
        Expectation::new(text, lost == 0 && all > 0).about(&story.title)
    });
    judged.into()
}

/// Whether the answers of a span came in the proportion of its weights.
fn share(story: &Story, span: &Span) -> Option<Expectation> {
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
    Some(Expectation::new(text, (percent - weight).abs() <= TOLERANCE))
}

impl Story {
    /// The first event that speaks of a success rate below its limit.
    pub fn deciding_event(&self) -> Option<&Since<String>> {
        let of_bad = |event: &&Since<String>| event.at >= self.moments.bad - TimeDelta::seconds(1);
        self.events
            .iter()
            .filter(of_bad)
            .find(|event| event.what.contains(self.success_rate) && event.what.contains('<'))
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
