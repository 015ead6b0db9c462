//! The end of the demo: what happened, in a few lines.

use super::board::Board;
use super::draw::{span, thousands};
use super::ink::{Ink, Line};
use super::story::{Ending, Story, Told};

/// The last lines.
pub(super) fn summary(story: &Story, board: &Board) -> Vec<Line> {
    let mut lines = vec![Line::blank()];
    lines.extend(story.told.iter().map(release));
    let answered = board.answered.iter().fold(0.0, |sum, (_, count)| sum + count);
    let ink = if board.lost >= 1.0 { Ink::Bad } else { Ink::Good };
    let lost = format!(
        "{} of {} requests lost",
        thousands(board.lost),
        thousands(answered + board.lost)
    );
    lines.push(Line::blank().then(ink, format!(" {lost}")));
    lines.push(Line::blank());
    if story.went_as_it_should(board.lost) {
        let text = format!(
            " Users have {}, and it is healthy. On a cluster of your own: serin controller --help",
            board.primary.version
        );
        lines.push(Line::blank().then(Ink::Plain, text));
    } else {
        lines.push(Line::blank().then(
            Ink::Bad,
            " This is not how it should have gone. Please report it, with the output of this command.",
        ));
        if let Some(why) = &board.why {
            lines.push(Line::blank().then(Ink::Plain, format!(" Serin's last word: {}", why.message)));
        }
    }
    lines
}

fn release(told: &Told) -> Line {
    let (word, ink) = match told.ending {
        Some(Ending::Promoted) => ("promoted", Ink::Good),
        Some(Ending::RolledBack) => ("rolled back", Ink::Bad),
        None => ("came to no end", Ink::Bad),
    };
    let line = Line::blank()
        .then(Ink::Strong, format!(" {:<8}", told.version))
        .then(ink, format!("{word:<16}"));
    let line = line.then(Ink::Faint, format!("after {:<14}", span(told.took)));
    match told.ending {
        Some(Ending::Promoted) => line.then(
            Ink::Plain,
            format!("every check passed up to {} % of the traffic", told.highest),
        ),
        _ => line.then(Ink::Plain, format!("at {} %: {}", told.highest, told.reason)),
    }
}
