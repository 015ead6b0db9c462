//! Lines of text with meaning instead of colours: what is drawn says what it is, the screen decides how that looks.

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    Plain,
    /// Headings and numbers that matter.
    Strong,
    /// Captions and what is past.
    Faint,
    /// Whatever belongs to the primary.
    Primary,
    /// Whatever belongs to the canary.
    Canary,
    Good,
    Bad,
}

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) pieces: Vec<(Ink, String)>,
}

impl Line {
    /// A line without anything.
    pub(super) fn blank() -> Self {
        Self::default()
    }

    /// The line with this at its end.
    pub(super) fn then(mut self, ink: Ink, text: impl Into<String>) -> Self {
        self.pieces.push((ink, text.into()));
        self
    }

    /// The line filled up to a column.
    pub(super) fn to(self, column: usize) -> Self {
        let missing = column.saturating_sub(self.width());
        self.then(Ink::Plain, " ".repeat(missing))
    }

    /// The line with this so that it ends at a column.
    pub(super) fn right(self, column: usize, ink: Ink, text: &str) -> Self {
        let start = column.saturating_sub(text.chars().count());
        self.to(start).then(ink, text)
    }

    /// How many columns it takes. No character here takes two.
    pub(super) fn width(&self) -> usize {
        self.pieces.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// The line cut so that it fits.
    pub(super) fn cut(mut self, width: usize) -> Self {
        let mut left = width;
        for (_, text) in &mut self.pieces {
            let count = text.chars().count();
            if count > left {
                *text = text
                    .chars()
                    .take(left.saturating_sub(1))
                    .chain((left > 0).then_some('…'))
                    .collect();
            }
            left = left.saturating_sub(count);
        }
        self.pieces.retain(|(_, text)| !text.is_empty());
        self
    }

    /// The text alone.
    pub(super) fn text(&self) -> String {
        let text: String = self.pieces.iter().map(|(_, text)| text.as_str()).collect();
        text.trim_end().to_owned()
    }
}

/// A text broken into lines of at most `width` columns, at blanks.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let line = Line::blank().then(Ink::Strong, "primary").then(Ink::Plain, " 1.0.0");
        assert_eq!(line.clone().cut(10).text(), "primary 1…");
        assert_eq!(line.clone().cut(13).text(), "primary 1.0.0");
        assert_eq!(line.cut(7).text(), "primary");
    }

    #[test]
    fn text_is_broken_at_blanks() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("", 7), Vec::<String>::new());
    }
}
