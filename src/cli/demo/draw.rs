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
    lines.push(steps(board));
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
    Line::blank()
        .then(Ink::Strong, " serin demo")
        .then(Ink::Faint, "   the real controller on a cluster in memory")
        .right(width.saturating_sub(1), Ink::Faint, &clock)
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
fn steps(board: &Board) -> Line {
    let line = captioned("steps");
    if board.steps.is_empty() {
        return line.then(Ink::Faint, "no release under way");
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
    line.then(goal, if board.promoting { "[promote]" } else { " promote " })
}

/// The canary's weight until now, one column each.
fn history(board: &Board, width: usize) -> Line {
    const HEIGHTS: [char; 9] = ['▁', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let room = width.saturating_sub(MARGIN + 1);
    let shown = board.history.iter().skip(board.history.len().saturating_sub(room));
    shown.fold(captioned("weight"), |line, past| {
        let ink = match (past.weight, past.failing) {
            (0, _) => Ink::Faint,
            (_, true) => Ink::Bad,
            (_, false) => Ink::Canary,
        };
        let height = HEIGHTS[usize::from(past.weight.min(100)).div_ceil(13).min(8)];
        line.then(ink, height)
    })
}

fn checks(board: &Board) -> Vec<Line> {
    let ink = if board.failed_checks > 0 { Ink::Bad } else { Ink::Plain };
    let count = format!(
        "{} of {} failures that end a release",
        board.failed_checks, board.threshold
    );
    let mut lines = vec![captioned("checks").then(ink, count)];
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
fn why(board: &Board, width: usize) -> Vec<Line> {
    let Some(why) = &board.why else {
        return vec![captioned("now").then(Ink::Faint, "nothing yet"), captioned("next")];
    };
    let room = width.saturating_sub(MARGIN + 1);
    let mut now = wrapped(&why.message, room).into_iter().take(2);
    let mut lines = vec![captioned("now").then(Ink::Strong, now.next().unwrap_or_default())];
    lines.extend(now.map(|text| Line::blank().to(MARGIN).then(Ink::Strong, text)));
    let mut next = captioned("next");
    if let Some(awaiting) = &why.awaiting {
        next = next.then(Ink::Plain, format!("waits for {awaiting}"));
    }
    if let Some(left) = board.left() {
        next = next.then(Ink::Canary, format!(", {} left", span(left)));
    }
    if let Some(then) = &why.then {
        next = next.then(Ink::Faint, format!(", then: {then}"));
    }
    lines.push(next);
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
    let mut line = captioned("requests");
    for (version, count) in &board.answered {
        line = line
            .then(Ink::Plain, format!("{count:.0}"))
            .then(Ink::Faint, format!(" by {version}   "));
    }
    let ink = if board.lost >= 1.0 { Ink::Bad } else { Ink::Good };
    line.then(ink, format!("{:.0} lost", board.lost))
}
