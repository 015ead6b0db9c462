//! Dashboards and alert rules ask only for series that Serin exports.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;
use serin::api::Phase;
use serin::clock::Clock;
use serin::rollout::Weight;
use serin::telemetry::metrics::{Ending, Metrics, Standing};

/// The names of all series of a Serin in whose life everything has happened once.
fn exported() -> BTreeSet<String> {
    let start = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
    let metrics = Metrics::new("0.1.0", "contour", Clock::virtual_at(start));
    let standing = Standing {
        target: "podinfo".to_owned(),
        owner: true,
        phase: Phase::Progressing,
        since: start,
        weight: Some(Weight::FULL),
    };
    metrics.stands("test", "release", standing);
    metrics.judged("test", "release", "request-duration", 0.25);
    metrics.check_took("test", "podinfo", Duration::from_millis(30));
    metrics.ended("test", "release", "canary", Ending::Completed);
    metrics.ended("test", "release", "canary", Ending::Failed);
    metrics.untold("alert");
    let text = metrics.text().expect("metrics must encode");
    let series = text.lines().filter(|line| !line.starts_with('#'));
    series
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(str::to_owned)
        .collect()
}

/// The words in a text that name a series.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| word.starts_with("flagger_") || word.starts_with("serin_"))
        .map(str::to_owned)
        .collect()
}

/// Every text in a JSON value that stands under one of these keys.
fn under<'a>(value: &'a Value, keys: &[&str], found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| under(item, keys, found)),
        Value::Object(fields) => {
            for (key, field) in fields {
                match field.as_str() {
                    Some(text) if keys.contains(&key.as_str()) => found.push(text),
                    _ => under(field, keys, found),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_what_is_exported() {
    let dashboard: Value =
        serde_json::from_str(include_str!("../../dashboards/releases.json")).expect("the dashboard must be JSON");
    let mut queries = Vec::new();
    under(&dashboard, &["expr", "query"], &mut queries);
    assert!(queries.len() > 10, "{queries:?}");
    let asked = named(&queries.join(" "));
    let unknown: Vec<_> = asked.difference(&exported()).cloned().collect();
    assert!(asked.len() > 7 && unknown.is_empty(), "{asked:?} asks for {unknown:?}");
}

#[test]
fn the_rules_watch_what_is_exported() {
    let rules = include_str!("../../dashboards/alerts.yaml");
    let expressions: Vec<&str> = rules.lines().filter(|line| line.trim().starts_with("expr:")).collect();
    let asked = named(&expressions.join(" "));
    let unknown: Vec<_> = asked.difference(&exported()).cloned().collect();
    assert!(asked.len() == 4 && unknown.is_empty(), "{asked:?} asks for {unknown:?}");
}
