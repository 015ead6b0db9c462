//! The page about a run, `docs/first-run.md`.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use crate::harness::programs::Programs;
use crate::harness::verdict::{Expectation, listed};
use crate::release::story::{BAD, FIRST, GOOD, Span, Story};

/// The whole page as Markdown.
pub fn page(programs: &Programs, stories: &[Story], expectations: &[Expectation]) -> String {
    let name = programs.product.name();
    let mut page = format!(
        "# The first run: {name} on a real control plane\n\n\
         Made by `bash tests/first-run.sh` on {}. Don't edit: run it again.\n\n\
         A live application with three pods is taken over by a Canary, then gets a good version ({GOOD}) and a bad one\n\
         ({BAD}, every second answer is a 500), under steady load, through a HTTPProxy and through an HTTPRoute at the\n\
         same time. Everything is real but the kubelet, whose pods are plain processes: requests go through Envoy, the\n\
         numbers come from Prometheus. {name} steps by 25 percent up to 50, every 10 seconds, and gives up after two\n\
         failed checks.\n\n",
        Utc::now().format("%Y-%m-%d %H:%M UTC"),
    );
    page.push_str("| part | version |\n| --- | --- |\n");
    for (part, version) in programs.versions() {
        line(&mut page, &format!("| {part} | {version} |"));
    }

    line(&mut page, "\n## What must be true\n");
    page.push_str(&listed(expectations));
    for story in stories {
        story_page(&mut page, story);
    }
    page
}

fn story_page(page: &mut String, story: &Story) {
    let start = story.moments.began;
    let second = |at: DateTime<Utc>| format!("{:.1}", seconds(start, at));
    line(page, &format!("\n## {}\n", story.title));
    line(
        page,
        "Each row is a span of constant weights (primary/canary) on the route, in seconds since the first request, with the",
    );
    line(
        page,
        "answers by version. Success rate and duration (99th percentile) are the canary's, as Prometheus had them at the",
    );
    line(page, "end of the span over ten seconds.\n");
    line(
        page,
        &format!(
            "| from | to | weights | canary's share | {FIRST} | {GOOD} | {BAD} | of these 5xx | lost | success rate | duration |"
        ),
    );
    line(
        page,
        "| --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    );
    for span in &story.spans {
        line(page, &row(story, span));
    }

    let moments = &story.moments;
    line(page, "\n| second | what |\n| --: | --- |");
    let mut entries = vec![
        (moments.adopted, "the Canary is created".to_owned()),
        (moments.good, format!("{GOOD} is given to the Deployment")),
        (moments.bad, format!("{BAD} is given to the Deployment")),
        (moments.deleted, "the Canary is deleted".to_owned()),
        (moments.gone, "the Canary is gone".to_owned()),
    ];
    entries.extend(
        story
            .seen
            .phases
            .iter()
            .map(|phase| (phase.at, format!("phase {}", phase.what))),
    );
    entries.extend(story.seen.weights.iter().map(|weights| {
        let [primary, canary] = [weights.what.primary, weights.what.canary];
        (weights.at, format!("route at {primary}/{canary}"))
    }));
    entries.sort_by_key(|entry| entry.0);
    for (at, what) in entries {
        line(page, &format!("| {} | {what} |", second(at)));
    }

    match story.deciding_event() {
        Some(event) => line(page, &format!("\nWhat decided against {BAD}: \"{}\"", event.what)),
        None => line(page, &format!("\nNo event says what decided against {BAD}.")),
    }
    let losses = story.answers.losses();
    if !losses.is_empty() {
        line(
            page,
            &format!(
                "\nRequests without an answer of the application, {} in all; the first of them:\n",
                losses.len()
            ),
        );
        for (at, why) in losses.iter().take(20) {
            line(page, &format!("- second {}: {why}", second(*at)));
        }
    }
    if !story.gateway_says.is_empty() {
        line(
            page,
            "\nWhat Envoy says of requests that it did not simply pass on:\n\n```text",
        );
        for each in story.gateway_says.iter().take(20) {
            line(page, &each.to_string());
        }
        line(page, "```");
    }
    line(page, "\nEvents, in seconds since the first request:\n\n```text");
    for event in &story.events {
        line(page, &format!("{:>6}  {}", second(event.at), event.what));
    }
    line(page, "```\n\nThe Canary's status at the end:\n\n```json");
    line(
        page,
        &serde_json::to_string_pretty(&story.seen.status).unwrap_or_default(),
    );
    line(page, "```");
}

fn row(story: &Story, span: &Span) -> String {
    let start = story.moments.began;
    let tally = story.answers.between(span.from, span.to);
    let weights = span
        .weights
        .map(|weights| format!("{}/{}", weights.primary, weights.canary));
    let share = span.weights.map(|_| format!("{:.0} %", tally.canary_percent()));
    format!(
        "| {:.1} | {:.1} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        seconds(start, span.from),
        seconds(start, span.to),
        weights.unwrap_or_default(),
        share.unwrap_or_default(),
        tally.of_version(FIRST),
        tally.of_version(GOOD),
        tally.of_version(BAD),
        tally.errors,
        tally.lost,
        span.measured
            .success_rate
            .map(|rate| format!("{rate:.1} %"))
            .unwrap_or_default(),
        span.measured
            .duration
            .map(|duration| format!("{duration:.0} ms"))
            .unwrap_or_default(),
    )
}

fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).as_seconds_f64()
}

fn line(page: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{text}");
}
