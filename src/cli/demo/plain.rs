//! The story as lines of text, for logs and pipes: one line for each change, with the cluster's time.

use chrono::{DateTime, Utc};

use super::board::{Board, Limit, MetricBoard};

/// What changed between two moments, as lines.
pub(super) fn changes(before: &Board, after: &Board, start: DateTime<Utc>) -> Vec<String> {
    let mut told = Vec::new();
    if before.command != after.command {
        told.push(after.caption.clone());
        told.push(format!("$ {}", after.command));
    }
    let news = after.events.iter().skip(before.events.len());
    told.extend(news.map(|event| format!("{} {}", if event.warning { "warning" } else { "event" }, event.text)));
    if before.phase != after.phase {
        told.push(format!("phase {}", after.phase));
    }
    let (was, is) = (percent(before.canary.part), percent(after.canary.part));
    let versions = (&before.primary.version, &before.canary.version) != (&after.primary.version, &after.canary.version);
    if was != is || versions {
        let primary = format!("primary {} {} %", after.primary.version, percent(after.primary.part));
        told.push(format!("traffic {primary}, canary {} {is} %", after.canary.version));
    }
    if before.metrics != after.metrics && after.metrics.iter().any(|metric| metric.value.is_some()) {
        told.push(format!(
            "check {}",
            after.metrics.iter().map(metric).collect::<Vec<_>>().join(", ")
        ));
    }
    let reason = |board: &Board| board.why.as_ref().map(|why| (why.reason.clone(), why.message.clone()));
    if let Some(why) = after.why.as_ref().filter(|_| reason(before) != reason(after)) {
        let awaiting = why
            .awaiting
            .as_ref()
            .map(|what| format!("; waits for {what}"))
            .unwrap_or_default();
        told.push(format!("now {}{awaiting}", why.message.trim()));
    }
    let passed = (after.now - start).num_seconds().max(0);
    let clock = format!("{:02}:{:02}", passed / 60, passed % 60);
    told.into_iter().map(|text| format!("{clock}  {text}")).collect()
}

fn percent(part: f64) -> String {
    format!("{:.0}", part * 100.0)
}

fn metric(metric: &MetricBoard) -> String {
    let (sign, limit) = match metric.limit {
        Limit::AtLeast(limit) => ("≥", limit),
        Limit::AtMost(limit) => ("≤", limit),
    };
    let verdict = match metric.passes() {
        Some(true) => "ok",
        Some(false) => "FAILED",
        None => "no data",
    };
    let value = metric
        .value
        .map(|value| format!("{value:.2} {} ", metric.unit))
        .unwrap_or_default();
    format!("{} {value}({sign} {limit}) {verdict}", metric.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::board::{EventBoard, SideBoard};

    #[test]
    fn each_change_is_one_line_with_the_time_since_the_start() {
        let start = DateTime::UNIX_EPOCH;
        let before = Board {
            now: start,
            phase: "Progressing".into(),
            ..Board::default()
        };
        let after = Board {
            now: start + chrono::TimeDelta::seconds(95),
            phase: "Progressing".into(),
            events: vec![EventBoard {
                at: start,
                text: "Advance podinfo.demo canary weight 10".into(),
                warning: false,
            }],
            primary: SideBoard {
                version: "1.0.0".into(),
                part: 0.9,
                pods: Vec::new(),
            },
            canary: SideBoard {
                version: "1.1.0".into(),
                part: 0.1,
                pods: Vec::new(),
            },
            metrics: vec![MetricBoard {
                name: "request-success-rate".into(),
                value: Some(97.123),
                unit: "%",
                limit: Limit::AtLeast(99.0),
            }],
            ..before.clone()
        };
        let expected = [
            "01:35  event Advance podinfo.demo canary weight 10",
            "01:35  traffic primary 1.0.0 90 %, canary 1.1.0 10 %",
            "01:35  check request-success-rate 97.12 % (≥ 99) FAILED",
        ];
        assert_eq!(changes(&before, &after, start), expected);
        assert_eq!(changes(&after, &after, start), Vec::<String>::new());
    }
}
