//! A started program with its log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::Outcome;

/// How often a process is looked at while somebody waits for its end.
const LOOK: Duration = Duration::from_millis(50);

/// What can be told to a process. The standard library knows only the last one.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// Stop what you do: a load generator ends with its answers counted.
    Interrupt,
    /// End in order.
    Terminate,
    /// Freeze where you are.
    Freeze,
    /// Go on.
    Thaw,
    /// End now; nothing can be done about it.
    Kill,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Freeze => "STOP",
            Self::Thaw => "CONT",
            Self::Kill => "KILL",
        }
    }
}

/// A program that runs until it is stopped. Dropping it kills it.
pub struct Process {
    /// What it is called in messages; its log is `<name>.log`.
    pub name: String,
    command: Command,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in `folder` with both outputs in `folder/<name>.log`.
    pub fn start(name: &str, folder: &Path, mut command: Command) -> Outcome<Self> {
        let log = folder.join(format!("{name}.log"));
        command.current_dir(folder).stdin(Stdio::null());
        Ok(Self {
            name: name.to_owned(),
            child: spawn(name, &mut command, &log)?,
            command,
            log,
        })
    }

    /// Starts it once more with the same arguments, after it ended or was killed. Its log goes on.
    pub fn start_again(&mut self) -> Outcome<()> {
        if self.ended()?.is_none() {
            return Err(format!("{} still runs", self.name).into());
        }
        self.child = spawn(&self.name, &mut self.command, &self.log)?;
        Ok(())
    }

    /// Its process id, as the namespace of this run counts them.
    pub fn id(&self) -> u32 {
        self.child.id()
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

    /// Tells it something. One that has ended already is not told anything.
    pub fn tell(&mut self, signal: Signal) -> Outcome<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        let script = format!("kill -{} \"$0\"", signal.name());
        succeed(
            Command::new("sh")
                .args(["-c", &script])
                .arg(self.child.id().to_string()),
        )
    }

    /// Asks it to end and waits that long; then kills it. `None` if it had to be killed.
    pub async fn stop(&mut self, patience: Duration) -> Outcome<Option<ExitStatus>> {
        self.stop_by(Signal::Terminate, patience).await
    }

    /// As [`Process::stop`], asking with another signal.
    pub async fn stop_by(&mut self, signal: Signal, patience: Duration) -> Outcome<Option<ExitStatus>> {
        self.tell(signal)?;
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

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(name: &str, command: &mut Command, log: &Path) -> Outcome<Child> {
    let output = File::options().create(true).append(true).open(log)?;
    command
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .map_err(|error| format!("cannot start {name} ({}): {error}", command.get_program().display()).into())
}

/// The last lines of a log; nothing of one that cannot be read.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
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
