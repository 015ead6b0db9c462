//! What is measured: which commit, and how the program was built. Figures without these say nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{DateTime, Utc};

use crate::harness::process::output_of;
use crate::harness::{Outcome, checkout};

/// The folder into which cargo puts what it optimised.
const OPTIMISED: &str = "release";

/// A program, and the checkout that it should come from.
pub struct UnderTest {
    program: PathBuf,
    built: DateTime<Utc>,
    /// The checkout's commit, when it was made, and how many files were changed since.
    commit: (String, DateTime<Utc>, usize),
}

impl UnderTest {
    /// Looks at a program and at the checkout of this run.
    pub fn look(program: &Path) -> Outcome<Self> {
        let last = git(&["log", "-1", "--format=%H %cI"])?;
        let (commit, made) = last.trim().split_once(' ').ok_or("git knows no commit")?;
        let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
        Ok(Self {
            program: program.to_owned(),
            built: program.metadata()?.modified()?.into(),
            commit: (commit.to_owned(), made.parse()?, changed.lines().count()),
        })
    }

    /// Whether cargo optimised it, as far as its folder tells.
    fn is_optimised(&self) -> bool {
        let folder = self.program.parent().and_then(Path::file_name);
        folder.is_some_and(|folder| folder == OPTIMISED)
    }

    /// An error about a program whose figures would mislead, unless that is what is wanted.
    pub fn must_be_optimised(&self, debug_build: bool) -> Outcome<()> {
        if self.is_optimised() || debug_build {
            return Ok(());
        }
        let program = self.program.display();
        Err(format!(
            "{program} is not in a folder named `{OPTIMISED}`, so it is no optimised build: its CPU and memory say little. \
             Give one with --controller target/{OPTIMISED}/serin, or say --debug-build if only requests are to be counted"
        )
        .into())
    }
}

impl fmt::Display for UnderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (commit, made, changed) = &self.commit;
        let (program, built) = (self.program.display(), self.built.format("%F %T"));
        let kind = if self.is_optimised() {
            "an optimised build"
        } else {
            "NOT an optimised build: its CPU and memory say little"
        };
        writeln!(f, "Commit {commit}, {changed} files changed since.")?;
        write!(f, "The controller is {kind}: {program}, made {built}.")?;
        if self.built < *made {
            write!(f, " It is OLDER than the commit.")?;
        }
        Ok(())
    }
}

/// What git says about the checkout, whoever owns it.
fn git(arguments: &[&str]) -> Outcome<String> {
    output_of(
        Command::new("git")
            .args(["-c", "safe.directory=*", "-C"])
            .arg(checkout())
            .args(arguments),
    )
}
