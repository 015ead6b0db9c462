//! What happens in the demo, as a pure state machine: it looks at the board and says what the team does next.

use chrono::{DateTime, TimeDelta, Utc};

use super::board::{Board, PodBoard};

/// The version that runs before the first release.
const FIRST: &str = "1.0.0";
/// How long a moment stands before the story goes on.
const PAUSE: TimeDelta = TimeDelta::seconds(15);
/// What takes longer than this does not happen any more.
const PATIENCE: TimeDelta = TimeDelta::minutes(15);

/// What the team does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Deploys the application for the first time.
    Deploy(&'static str),
    /// Adds the Canary.
    Adopt,
    /// Ships a version.
    Ship(&'static str),
}

/// How a release ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Promoted,
    RolledBack,
}

#[derive(Debug)]
struct Release {
    version: &'static str,
    caption: &'static str,
    expected: Ending,
}

const RELEASES: [Release; 2] = [
    Release {
        version: "1.1.0",
        caption: "Release 1 of 2: version 1.1.0. The team changed one line of its Deployment.",
        expected: Ending::Promoted,
    },
    Release {
        version: "1.2.0",
        caption: "Release 2 of 2: version 1.2.0. It answers well, until it gets real load.",
        expected: Ending::RolledBack,
    },
];

/// How one release went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) version: &'static str,
    /// None where it came to no end.
    pub(super) ending: Option<Ending>,
    pub(super) expected: Ending,
    pub(super) took: TimeDelta,
    /// The highest weight that the version had.
    pub(super) highest: u8,
    /// Why it ended so, in Serin's words.
    pub(super) reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Beginning,
    /// The application comes up.
    Deployed,
    /// Serin takes it over.
    Adopted,
    /// Serin has it.
    TakenOver,
    /// A release is shipped; whether its run was seen to begin.
    Shipped {
        release: usize,
        begun: bool,
    },
    /// A release has ended.
    Ended {
        release: usize,
    },
    Over,
}

/// The story so far.
#[derive(Debug)]
pub(super) struct Story {
    at: At,
    since: DateTime<Utc>,
    pub(super) caption: &'static str,
    pub(super) command: String,
    pub(super) told: Vec<Told>,
    highest: u8,
}

impl Story {
    /// A story that begins now.
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self {
            at: At::Beginning,
            since: now,
            caption: "",
            command: String::new(),
            told: Vec::new(),
            highest: 0,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Whether everything went as it should: both releases, and no request lost.
    pub(super) fn went_as_it_should(&self, lost: f64) -> bool {
        let right = self
            .told
            .iter()
            .filter(|told| told.ending == Some(told.expected))
            .count();
        right == RELEASES.len() && lost < 1.0
    }

    /// Looks at the board; says what the team does now.
    pub(super) fn turn(&mut self, board: &Board) -> Option<Act> {
        self.highest = self.highest.max(board.weight);
        let waited = board.now - self.since;
        let paused = waited >= PAUSE;
        match self.at {
            At::Beginning => {
                self.go(At::Deployed, board.now);
                self.caption = "A team runs podinfo 1.0.0: a plain Deployment behind a Service.";
                "kubectl apply -f podinfo.yaml".clone_into(&mut self.command);
                Some(Act::Deploy(FIRST))
            }
            At::Deployed if paused && is_up(board) => {
                self.go(At::Adopted, board.now);
                self.caption = "One Canary object is added. Serin takes the application over while it serves.";
                "kubectl apply -f canary.yaml".clone_into(&mut self.command);
                Some(Act::Adopt)
            }
            At::Adopted if board.phase == "Initialized" => {
                self.go(At::TakenOver, board.now);
                None
            }
            At::TakenOver if paused => Some(self.ship(0, board)),
            At::Shipped { release, begun: false } if !is_resting(board) => {
                self.at = At::Shipped { release, begun: true };
                None
            }
            At::Shipped { release, begun: true } if is_resting(board) => {
                self.tell(release, board);
                None
            }
            At::Ended { release } if paused && release + 1 < RELEASES.len() => Some(self.ship(release + 1, board)),
            At::Ended { .. } if paused => {
                self.go(At::Over, board.now);
                None
            }
            At::Shipped { release, .. } if waited > PATIENCE => {
                self.tell(release, board);
                self.go(At::Over, board.now);
                None
            }
            At::Deployed | At::Adopted if waited > PATIENCE => {
                self.go(At::Over, board.now);
                None
            }
            _ => None,
        }
    }

    fn go(&mut self, at: At, now: DateTime<Utc>) {
        self.at = at;
        self.since = now;
    }

    fn ship(&mut self, release: usize, board: &Board) -> Act {
        let Release { version, caption, .. } = RELEASES[release];
        self.go(At::Shipped { release, begun: false }, board.now);
        self.caption = caption;
        self.command = format!("kubectl set image deployment/podinfo podinfo=podinfo:{version}");
        self.highest = 0;
        Act::Ship(version)
    }

    fn tell(&mut self, release: usize, board: &Board) {
        let Release { version, expected, .. } = RELEASES[release];
        let runs = board.primary.version == version;
        let ending = match board.phase.as_str() {
            "Succeeded" if runs => Some(Ending::Promoted),
            "Failed" if !runs && board.weight == 0 => Some(Ending::RolledBack),
            _ => None,
        };
        // The Event's words begin with what everybody sees: that the canary's way up is halted.
        let reason = board
            .outcome
            .rsplit(" advancement ")
            .next()
            .unwrap_or_default()
            .to_owned();
        self.told.push(Told {
            version,
            ending,
            expected,
            took: board.now - self.since,
            highest: self.highest,
            reason,
        });
        self.go(At::Ended { release }, board.now);
    }
}

/// The application serves with all its pods.
fn is_up(board: &Board) -> bool {
    !board.canary.pods.is_empty() && board.canary.pods.iter().all(|pod| *pod == PodBoard::Ready)
}

fn is_resting(board: &Board) -> bool {
    matches!(board.phase.as_str(), "" | "Initialized" | "Succeeded" | "Failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::board::SideBoard;

    /// Plays a story in which each release ends in these phases, with this version on the primary.
    fn played(endings: [(&str, &str); 2]) -> (Vec<Act>, Story) {
        let mut board = Board {
            now: DateTime::UNIX_EPOCH,
            ..Board::default()
        };
        let mut story = Story::new(board.now);
        let (mut acts, mut endings) = (Vec::new(), endings.into_iter());
        while !story.is_over() && board.now < DateTime::UNIX_EPOCH + TimeDelta::hours(2) {
            match story.turn(&board) {
                Some(Act::Deploy(version)) => {
                    board.canary = SideBoard {
                        version: version.into(),
                        part: 1.0,
                        pods: vec![PodBoard::Ready],
                    };
                    acts.push(Act::Deploy(version));
                }
                Some(Act::Adopt) => {
                    board.phase = "Initialized".into();
                    acts.push(Act::Adopt);
                }
                Some(act) => {
                    acts.push(act);
                    (board.phase, board.weight) = ("Progressing".into(), 30);
                }
                None if board.phase == "Progressing" => {
                    if let Some((phase, version)) = endings.next() {
                        (board.phase, board.weight, board.primary.version) = (phase.into(), 0, version.into());
                    }
                }
                None => {}
            }
            board.now += TimeDelta::seconds(1);
        }
        (acts, story)
    }

    #[test]
    fn a_good_and_a_bad_release_are_told() {
        let (acts, story) = played([("Succeeded", "1.1.0"), ("Failed", "1.1.0")]);
        assert_eq!(
            acts,
            [Act::Deploy("1.0.0"), Act::Adopt, Act::Ship("1.1.0"), Act::Ship("1.2.0")]
        );
        let endings: Vec<_> = story.told.iter().map(|told| (told.ending, told.highest)).collect();
        assert_eq!(endings, [(Some(Ending::Promoted), 30), (Some(Ending::RolledBack), 30)]);
        assert!(story.went_as_it_should(0.2));
        assert!(!story.went_as_it_should(5.0), "requests were lost");
    }

    #[test]
    fn another_ending_is_not_as_it_should_be() {
        for endings in [
            [("Failed", "1.0.0"), ("Failed", "1.0.0")],
            [("Succeeded", "1.0.0"), ("Failed", "1.0.0")],
        ] {
            let (_, story) = played(endings);
            assert!(story.is_over());
            assert!(!story.went_as_it_should(0.0), "{:?}", story.told);
        }
    }

    #[test]
    fn a_release_that_never_ends_is_given_up() {
        let (_, story) = played([("Succeeded", "1.1.0"), ("Progressing", "1.1.0")]);
        assert!(story.is_over());
        assert_eq!(story.told[1].ending, None);
        assert!(!story.went_as_it_should(0.0));
    }
}
