//! The terminal: draws a picture over the one before, and leaves everything as it was found.

use std::io::{self, Stdout, Write};

use crossterm::{
    cursor::{Hide, MoveToPreviousLine, Show},
    queue,
    style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor},
    terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, size},
};

use super::ink::{Ink, Line};

/// A place in the terminal where pictures appear. The cursor is hidden as long as it lives.
#[derive(Debug)]
pub(super) struct Screen {
    out: Stdout,
    coloured: bool,
    /// How many lines the last picture has.
    drawn: u16,
}

impl Screen {
    /// Takes the place below the cursor. Colours are left out where `NO_COLOR` is set to anything.
    pub(super) fn open() -> io::Result<Self> {
        let coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut screen = Self {
            out: io::stdout(),
            coloured,
            drawn: 0,
        };
        queue!(screen.out, Hide)?;
        screen.out.flush()?;
        Ok(screen)
    }

    /// Columns and lines that a picture may take; the last line is the cursor's.
    pub(super) fn room() -> (usize, usize) {
        // A terminal that does not know its size says that it has none.
        let known = size().ok().filter(|(columns, lines)| *columns > 0 && *lines > 0);
        let (columns, lines) = known.unwrap_or((80, 24));
        (usize::from(columns), usize::from(lines).saturating_sub(1))
    }

    /// Draws a picture in the place of the last one.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        queue!(self.out, BeginSynchronizedUpdate)?;
        if self.drawn > 0 {
            queue!(self.out, MoveToPreviousLine(self.drawn))?;
        }
        for line in lines {
            self.line(line)?;
        }
        // What a higher picture left below, and what a narrower terminal wrapped.
        queue!(self.out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        self.drawn = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        self.out.flush()
    }

    /// Writes lines below the last picture, for good.
    pub(super) fn add(&mut self, lines: &[Line]) -> io::Result<()> {
        lines.iter().try_for_each(|line| self.line(line))?;
        self.drawn = 0;
        self.out.flush()
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        for (ink, text) in &line.pieces {
            if self.coloured {
                dip(&mut self.out, *ink)?;
            }
            queue!(self.out, Print(text))?;
            if self.coloured {
                queue!(self.out, SetAttribute(Attribute::Reset), ResetColor)?;
            }
        }
        queue!(self.out, Clear(ClearType::UntilNewLine), Print("\r\n"))
    }
}

/// How each ink looks.
fn dip(out: &mut impl Write, ink: Ink) -> io::Result<()> {
    let colour = match ink {
        Ink::Plain => return Ok(()),
        Ink::Strong => return queue!(out, SetAttribute(Attribute::Bold)),
        Ink::Faint => Color::DarkGrey,
        Ink::Primary => Color::Blue,
        Ink::Canary => Color::Yellow,
        Ink::Good => Color::Green,
        Ink::Bad => Color::Red,
    };
    queue!(out, SetForegroundColor(colour))
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody can be told that the cursor could not be shown again.
        let _ = queue!(self.out, ResetColor, Show).and_then(|()| self.out.flush());
    }
}
