//! The picture of a moment: a pure function from what is known to lines of text.

use chrono::TimeDelta;

use super::board::{Board, EventBoard, Limit, MetricBoard, PodBoard, SideBoard};
use super::ink::{Ink, Line, wrapped};

/// The widest picture that is still easy to read.
const WIDEST: usize = 100;
/// Where the texts begin, behind their captions.
const MARGIN: usize = 12;

/// Draws a moment into at most `height` lines of at most `width` columns; what is least needed goes first.
pub(super) fn draw(board: &Board, width: usize, height: usize) -> Vec<Line> {
    let width = width.min(WIDEST);
    let top = [head(board, width), Line::blank()];
    let mut lines: Vec<Line> = top.into_iter().chain(caption(board, width)).collect();
    lines.push(Line::blank());
    lines.extend(traffic(board, width));
    lines.push(Line::blank());
    lines.push(steps(board, width));
    lines.push(history(board, width));
    lines.push(Line::blank());
    lines.extend(checks(board));
    lines.push(Line::blank());
    lines.extend(why(board, width));
    lines.push(Line::blank());
    let foot = requests(board);
    let room = height.saturating_sub(lines.len() + 2);
    lines.extend(events(&board.events, room));
    lines.push(Line::blank());
    lines.push(foot);
    while lines.len() > height {
        let blank = lines.iter().rposition(|line| line.pieces.is_empty());
        lines.remove(blank.unwrap_or(lines.len() - 1));
    }
    lines.into_iter().map(|line| line.cut(width)).collect()
}

fn captioned(caption: &str) -> Line {
    Line::blank().then(Ink::Faint, format!(" {caption}")).to(MARGIN)
}

fn head(board: &Board, width: usize) -> Line {
    let clock = format!("{}   {}x", board.now.format("%H:%M:%S"), board.speed);
    let about = if width >= 80 {
        "   the real controller on a cluster in memory"
    } else {
        ""
    };
    let line = Line::blank().then(Ink::Strong, " serin demo").then(Ink::Faint, about);
    line.right(width.saturating_sub(1), Ink::Faint, &clock)
}

fn caption(board: &Board, width: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = wrapped(&board.caption, width.saturating_sub(2))
        .into_iter()
        .map(|text| Line::blank().then(Ink::Strong, format!(" {text}")))
        .collect();
    lines.push(Line::blank().then(Ink::Faint, format!(" $ {}", board.command)));
    lines
}

fn traffic(board: &Board, width: usize) -> Vec<Line> {
    vec![
        side("primary", Ink::Primary, &board.primary, width),
        side("canary", Ink::Canary, &board.canary, width),
    ]
}

/// A bar as long as the side's part of the requests, with its pods behind it.
fn side(name: &str, ink: Ink, side: &SideBoard, width: usize) -> Line {
    let version = if side.version.is_empty() { "-" } else { &side.version };
    let label = captioned(name).then(ink, format!("{version:<8}"));
    let room = width.saturating_sub(label.width() + 22).max(10);
    let bar = bar(side.part, room);
    let rest = room - bar.chars().count();
    let percent = format!("{:>4.0} %  ", side.part * 100.0);
    let label = label
        .then(ink, bar)
        .then(Ink::Faint, "·".repeat(rest))
        .then(Ink::Strong, percent);
    side.pods.iter().fold(label, |line, pod| match pod {
        PodBoard::Ready => line.then(ink, "●"),
        PodBoard::Starting => line.then(Ink::Faint, "○"),
        PodBoard::Leaving => line.then(Ink::Faint, "◌"),
    })
}

/// A part of `room` columns in eighths of a column.
fn bar(part: f64, room: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = whole(part.clamp(0.0, 1.0) * 8.0 * columns(room));
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

fn columns(count: usize) -> f64 {
    f64::from(u16::try_from(count).unwrap_or(u16::MAX))
}

/// A number that is not negative as a whole one.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what a screen can have"
)]
fn whole(number: f64) -> usize {
    number.round().clamp(0.0, 100_000.0) as usize
}

/// The road of the release: where it is, what lies behind it.
fn steps(board: &Board, width: usize) -> Line {
    let line = captioned("steps");
    let phase = |line: Line| {
        let fits = line.width() + board.phase.len() + 2 < width;
        if fits {
            line.right(width.saturating_sub(1), Ink::Faint, &board.phase)
        } else {
            line
        }
    };
    if board.steps.is_empty() {
        return phase(line.then(Ink::Faint, "no release under way"));
    }
    let line = board.steps.iter().fold(line, |line, step| {
        let line = match board.weight {
            weight if weight == *step && !board.promoting => line.then(Ink::Canary, format!("[{step} %]")),
            weight if weight > *step || board.promoting => line.then(Ink::Good, format!(" {step} ✓ ")),
            _ => line.then(Ink::Faint, format!(" {step} % ")),
        };
        line.then(Ink::Faint, "─")
    });
    let goal = if board.promoting { Ink::Canary } else { Ink::Faint };
    phase(line.then(goal, if board.promoting { "[promote]" } else { " promote " }))
}

/// The canary's weight until now, one column for each moment; the highest column is the last step of the plan.
fn history(board: &Board, width: usize) -> Line {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let room = width.saturating_sub(MARGIN + 1);
    let shown = board.history.iter().skip(board.history.len().saturating_sub(room));
    let highest = board.history.iter().map(|past| past.weight).max().unwrap_or(0).max(1);
    shown.fold(captioned("weight"), |line, past| {
        let ink = match (past.weight, past.failing) {
            (0, _) => Ink::Faint,
            (_, true) => Ink::Bad,
            (_, false) => Ink::Canary,
        };
        let height = usize::from(past.weight) * (HEIGHTS.len() - 1) / usize::from(highest);
        line.then(ink, HEIGHTS[height])
    })
}

fn checks(board: &Board) -> Vec<Line> {
    let ink = if board.failed_checks > 0 { Ink::Bad } else { Ink::Plain };
    let mut lines = vec![captioned("checks")];
    if board.threshold > 0 {
        let count = format!(
            "{} failed; the release is rolled back at {}",
            board.failed_checks, board.threshold
        );
        lines = vec![captioned("checks").then(ink, count)];
    }
    lines.extend(board.metrics.iter().map(metric));
    lines
}

fn metric(metric: &MetricBoard) -> Line {
    let (mark, ink) = match metric.passes() {
        Some(true) => ("✓", Ink::Good),
        Some(false) => ("✗", Ink::Bad),
        None => ("·", Ink::Faint),
    };
    let number = |value: f64| {
        if metric.unit == "%" {
            format!("{value:.2} %")
        } else {
            format!("{value:.0} {}", metric.unit)
        }
    };
    let value = metric.value.map_or_else(|| "no data".to_owned(), number);
    let limit = match metric.limit {
        Limit::AtLeast(limit) => format!("≥ {limit} {}", metric.unit),
        Limit::AtMost(limit) => format!("≤ {limit} {}", metric.unit),
    };
    let line = Line::blank()
        .to(MARGIN)
        .then(ink, format!("{mark} "))
        .then(Ink::Plain, format!("{:<22}", metric.name));
    gauge(
        line.right(MARGIN + 35, ink, &value)
            .then(Ink::Faint, format!("  {limit:<10} ")),
        metric,
        ink,
    )
}

/// A scale with the limit and the number on it.
fn gauge(line: Line, metric: &MetricBoard, ink: Ink) -> Line {
    const LENGTH: usize = 24;
    // A success rate is worth reading near 100, a duration from 0 on.
    let (from, to, limit) = match metric.limit {
        Limit::AtLeast(limit) => (100.0 - (100.0 - limit) * 5.0, 100.0, limit),
        Limit::AtMost(limit) => (0.0, limit * 1.5, limit),
    };
    let place = |value: f64| whole(((value - from) / (to - from)).clamp(0.0, 1.0) * columns(LENGTH - 1));
    let at = metric.value.map(place);
    (0..LENGTH).fold(line, |line, column| {
        if at == Some(column) {
            line.then(ink, "●")
        } else if place(limit) == column {
            line.then(Ink::Plain, "┃")
        } else {
            line.then(Ink::Faint, "─")
        }
    })
}

/// What Serin says of itself: why things are as they are, what it waits for, and what then.
///
/// It always takes four lines, so that the picture keeps its shape.
fn why(board: &Board, width: usize) -> Vec<Line> {
    let Some(why) = &board.why else {
        return vec![
            captioned("now").then(Ink::Faint, "Serin has nothing to do yet"),
            captioned("next"),
        ];
    };
    let room = width.saturating_sub(MARGIN + 1);
    let bad = board.failed_checks > 0 || board.phase == "Failed";
    let ink = if bad { Ink::Bad } else { Ink::Strong };
    let texts = wrapped(&why.message, room);
    let mut lines = vec![captioned("now").then(ink, texts.first().map_or("", String::as_str))];
    if let Some(rest) = texts.get(1..).filter(|rest| !rest.is_empty()) {
        lines.push(Line::blank().to(MARGIN).then(ink, rest.join(" ")));
    }
    let mut next = captioned("next");
    if let Some(awaiting) = &why.awaiting {
        next = next.then(Ink::Plain, format!("waits for {awaiting}"));
    }
    if let Some(left) = board.left() {
        next = next.then(Ink::Canary, format!(", {} left", span(left)));
    }
    lines.push(next);
    lines.extend(
        why.then
            .as_ref()
            .map(|then| Line::blank().to(MARGIN).then(Ink::Faint, format!("then {then}"))),
    );
    lines.resize(4, Line::blank());
    lines
}

/// A time as people say it.
pub(super) fn span(time: TimeDelta) -> String {
    match (time.num_minutes(), time.num_seconds() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

fn events(events: &[EventBoard], room: usize) -> Vec<Line> {
    let count = room.min(6);
    let first = events.len().saturating_sub(count);
    let mut lines: Vec<Line> = events[first..]
        .iter()
        .enumerate()
        .map(|(index, event)| {
            let line = if index == 0 {
                captioned("events")
            } else {
                Line::blank().to(MARGIN)
            };
            let ink = if event.warning { Ink::Bad } else { Ink::Plain };
            line.then(Ink::Faint, event.at.format("%H:%M:%S  ").to_string())
                .then(ink, event.text.clone())
        })
        .collect();
    lines.resize(count, Line::blank());
    lines
}

fn requests(board: &Board) -> Line {
    let ink = if board.lost >= 1.0 { Ink::Bad } else { Ink::Good };
    let line = captioned("requests").then(ink, format!("{} lost", thousands(board.lost)));
    board.answered.iter().fold(line, |line, (version, count)| {
        line.then(Ink::Plain, format!("   {}", thousands(*count)))
            .then(Ink::Faint, format!(" answered by {version}"))
    })
}

/// A count with its digits in groups of three.
pub(super) fn thousands(count: f64) -> String {
    let digits = format!("{count:.0}");
    let grouped = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    grouped.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::{cli::demo::board::Past, rollout::Why};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a fixed time must be valid")
    }

    fn text(board: &Board, width: usize, height: usize) -> String {
        draw(board, width, height)
            .iter()
            .map(Line::text)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn failing() -> Board {
        let metric = |name: &str, value, unit, limit| MetricBoard {
            name: name.into(),
            value: Some(value),
            unit,
            limit,
        };
        let event = |seconds, text: &str, warning| EventBoard {
            at: at(seconds),
            text: text.into(),
            warning,
        };
        Board {
            now: at(150),
            speed: 10.0,
            caption: "Release 2 of 2: 1.2.0 answers well, until it gets real load.".into(),
            command: "kubectl set image deployment/podinfo podinfo=podinfo:1.2.0".into(),
            phase: "Progressing".into(),
            weight: 20,
            steps: vec![10, 20, 30, 40, 50],
            failed_checks: 2,
            threshold: 3,
            primary: SideBoard {
                version: "1.1.0".into(),
                part: 0.8,
                pods: vec![PodBoard::Ready; 4],
            },
            canary: SideBoard {
                version: "1.2.0".into(),
                part: 0.2,
                pods: vec![PodBoard::Ready, PodBoard::Ready, PodBoard::Starting, PodBoard::Leaving],
            },
            metrics: vec![
                metric("request-success-rate", 96.41, "%", Limit::AtLeast(99.0)),
                metric("request-duration", 312.4, "ms", Limit::AtMost(500.0)),
            ],
            why: Some(Why {
                reason: "CheckFailed".into(),
                message: "2 of at most 3 failed checks: success rate 96.41% < 99%".into(),
                awaiting: Some("the next check".into()),
                until: Some(at(184)),
                then: Some("one more failure counts".into()),
            }),
            events: vec![
                event(0, "New revision detected! Scaling up podinfo.demo", false),
                event(60, "Advance podinfo.demo canary weight 10", false),
                event(120, "Halt podinfo.demo advancement success rate 96.41% < 99%", true),
            ],
            history: (0_u8..30)
                .map(|step| Past {
                    weight: step / 10 * 10,
                    failing: step > 25,
                })
                .collect(),
            answered: vec![
                ("1.0.0".into(), 40_000.0),
                ("1.1.0".into(), 21_345.4),
                ("1.2.0".into(), 1_204.0),
            ],
            ..Board::default()
        }
    }

    #[test]
    fn a_failing_release_is_seen_at_once() {
        insta::assert_snapshot!(text(&failing(), 100, 40));
    }

    #[test]
    fn a_narrow_and_low_terminal_shows_what_matters() {
        let text = text(&failing(), 60, 18);
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert_eq!(text.lines().count(), 18);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn before_anything_is_known_there_is_a_picture_too() {
        insta::assert_snapshot!(text(
            &Board {
                now: at(0),
                speed: 10.0,
                ..Board::default()
            },
            80,
            24
        ));
    }

    #[test]
    fn spans_are_told_as_people_say_them() {
        let told = [5, 60, 95].map(|seconds| span(TimeDelta::seconds(seconds)));
        assert_eq!(told, ["5 s", "1 min", "1 min 35 s"]);
    }

    #[test]
    fn large_counts_are_grouped() {
        assert_eq!([0.0, 999.6, 1_234_567.0].map(thousands), ["0", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_bar_is_as_long_as_its_part() {
        assert_eq!(
            (bar(0.0, 8), bar(0.5, 8), bar(1.0, 8)),
            (String::new(), "████".into(), "████████".into())
        );
        assert_eq!(bar(0.1, 10), "█");
        assert_eq!(bar(0.05, 10), "▌");
    }
}
