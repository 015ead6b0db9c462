//! `serin demo`: two releases on a cluster in memory, one good, one bad, with the real controller.
//!
//! The `story` says what the team does, the `stage` does it, `look` reads the moment off the cluster, and
//! `draw` or `plain` show it. Nothing is installed, no port is opened, and it ends by itself.

mod board;
mod draw;
mod ink;
mod look;
mod plain;
mod screen;
mod stage;
mod story;
mod summary;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::controller::StartError;

use self::{board::Board, look::Onlooker, screen::Screen, stage::Stage, story::Story};

/// How often the picture changes, in the wall's time.
const FRAME: Duration = Duration::from_millis(100);
/// The exit code of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// What can be asked of the demo.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Args {
    /// How many times faster than the wall's time the cluster's time runs, from 1 to 60
    #[arg(long, default_value_t = 10.0, value_parser = speed)]
    pub speed: f64,
    /// Print one line for each change, as when the output is no terminal
    #[arg(long)]
    pub plain: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (1.0..=60.0).contains(&speed) {
        Ok(speed)
    } else {
        Err("it must be from 1 to 60".to_owned())
    }
}

/// The demo could not go on.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the embedded cluster refused a request: {}", words(.0))]
    Cluster(#[from] kube::Error),
    #[error("the controller could not start: {0}")]
    Start(#[from] StartError),
    #[error("the controller ended before the demo")]
    Ended,
    #[error("the picture could not be drawn: {0}")]
    Output(#[from] io::Error),
}

/// What the API server says, without the structure around it.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Plays the demo. The exit code is 0 when both releases went as they should and no request was lost.
pub async fn run(args: Args) -> ExitCode {
    match play(args).await {
        Ok(code) => code,
        // Whoever closed the pipe has seen enough.
        Err(DemoError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serin demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn play(args: Args) -> Result<ExitCode, DemoError> {
    let mut stage = Stage::set(args.speed).await?;
    let start = stage.clock.now();
    let mut view = View::open(args.plain, start)?;
    let (mut onlooker, mut story) = (Onlooker::default(), Story::new(start));
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let mut board = onlooker.look(&stage);
        if let Some(act) = story.turn(&board) {
            stage.act(&act).await?;
        }
        (board.caption, board.command) = (story.caption.to_owned(), story.command.clone());
        view.show(&board)?;
        if story.is_over() {
            view.end(&story, &board)?;
            let good = story.went_as_it_should(board.lost);
            return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        tokio::select! {
            _ = &mut interrupted => return Ok(ExitCode::from(INTERRUPTED)),
            ended = &mut stage.controller => {
                ended.map_err(|_| DemoError::Ended)??;
                return Err(DemoError::Ended);
            }
            () = tokio::time::sleep(FRAME) => {}
        }
    }
}

/// Where the demo is seen.
enum View {
    /// A terminal: one picture that changes.
    Screen(Screen),
    /// Anything else: lines.
    Lines { last: Box<Board>, start: DateTime<Utc> },
}

impl View {
    fn open(plain: bool, start: DateTime<Utc>) -> io::Result<Self> {
        if plain || !io::stdout().is_terminal() {
            return Ok(Self::Lines {
                last: Box::default(),
                start,
            });
        }
        Screen::open().map(Self::Screen)
    }

    fn show(&mut self, board: &Board) -> io::Result<()> {
        match self {
            Self::Screen(screen) => {
                let (width, height) = Screen::room();
                screen.draw(&draw::draw(board, width, height))
            }
            Self::Lines { last, start } => {
                let mut out = io::stdout().lock();
                for line in plain::changes(last, board, *start) {
                    writeln!(out, "{line}")?;
                }
                **last = board.clone();
                out.flush()
            }
        }
    }

    fn end(&mut self, story: &Story, board: &Board) -> io::Result<()> {
        let lines = summary::summary(story, board);
        match self {
            Self::Screen(screen) => screen.add(&lines),
            Self::Lines { .. } => {
                let mut out = io::stdout().lock();
                lines.iter().try_for_each(|line| writeln!(out, "{}", line.text()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_story_goes_as_it_should() {
        let stage = Stage::set(1.0).await.expect("the stage must be set");
        let (mut onlooker, mut story) = (Onlooker::default(), Story::new(stage.clock.now()));
        let mut board = Board::default();
        while !story.is_over() {
            board = onlooker.look(&stage);
            if let Some(act) = story.turn(&board) {
                stage.act(&act).await.expect("the cluster must take it");
            }
            stage.clock.sleep(Duration::from_secs(3)).await;
        }
        assert!(
            story.went_as_it_should(board.lost),
            "{:?}, {} lost",
            story.told,
            board.lost
        );
        let lines = summary::summary(&story, &board)
            .iter()
            .map(ink::Line::text)
            .collect::<Vec<_>>()
            .join("\n");
        assert!(lines.contains("0 of ") && lines.contains("Users have 1.1.0"), "{lines}");
        assert!(story.told[1].reason.starts_with("success rate 9"), "{lines}");
    }
}
