//! A started program with its log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Outcome;

/// How often a process is looked at while somebody waits for its end.
const LOOK: Duration = Duration::from_millis(50);

/// A program that runs until it is stopped. Dropping it kills it.
pub struct Process {
    /// What it is called in messages; its log is `<name>.log`.
    pub name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in `folder` with both outputs in `folder/<name>.log`.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Outcome<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("cannot start {name} ({}): {error}", command.get_program().display()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error with the end of the log if the process is no longer there.
    pub fn must_run(&mut self) -> Outcome<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => {
                Err(format!("{} ended with {status}; its last words:\n{}", self.name, self.tail(20)).into())
            }
        }
    }

    /// Asks it to end (SIGTERM) and waits that long; then kills it. `None` if it had to be killed.
    pub async fn stop(&mut self, patience: Duration) -> Outcome<Option<ExitStatus>> {
        if let Some(status) = self.ended()? {
            return Ok(Some(status));
        }
        self.ask_to_end()?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            sleep(LOOK).await;
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(None)
    }

    fn ask_to_end(&self) -> Outcome<()> {
        // The standard library can only kill; the shell's own `kill` can ask.
        succeed(
            Command::new("sh")
                .args(["-c", "kill -TERM \"$0\""])
                .arg(self.child.id().to_string()),
        )
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a short command and turns a failure into an error with its output.
pub fn succeed(command: &mut Command) -> Outcome<()> {
    output_of(command).map(drop)
}

/// Runs a short command and gives what it printed.
pub fn output_of(command: &mut Command) -> Outcome<String> {
    let name = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "{name} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )
        .into())
    }
}
