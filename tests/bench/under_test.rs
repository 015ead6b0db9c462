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
    /// Why it is not known, where the checkout has no history.
    commit: Result<Commit, String>,
}

/// The last commit of the checkout.
struct Commit {
    hash: String,
    made: DateTime<Utc>,
    /// Files that were changed since.
    changed: usize,
}

impl UnderTest {
    /// Looks at a program and at the checkout of this run.
    pub fn look(program: &Path) -> Outcome<Self> {
        Ok(Self {
            program: program.to_owned(),
            built: program.metadata()?.modified()?.into(),
            commit: Commit::last().map_err(|error| error.to_string()),
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
        let (program, built) = (self.program.display(), self.built.format("%F %T"));
        let kind = if self.is_optimised() {
            "an optimised build"
        } else {
            "NOT an optimised build: its CPU and memory say little"
        };
        match &self.commit {
            Ok(Commit { hash, changed, .. }) => writeln!(f, "Commit {hash}, {changed} files changed since.")?,
            Err(error) => writeln!(f, "Commit unknown: {error}.")?,
        }
        write!(f, "The controller is {kind}: {program}, made {built}.")?;
        if self.commit.as_ref().is_ok_and(|commit| self.built < commit.made) {
            write!(f, " It is OLDER than the commit.")?;
        }
        Ok(())
    }
}

impl Commit {
    fn last() -> Outcome<Self> {
        let last = git(&["log", "-1", "--format=%H %cI"])?;
        let (hash, made) = last.trim().split_once(' ').ok_or("git knows no commit")?;
        let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
        Ok(Self {
            hash: hash.to_owned(),
            made: made.parse()?,
            changed: changed.lines().count(),
        })
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
