//! The walls around a run: its own network, its own process tree, and nothing left of either afterwards.
//!
//! The harness starts itself again as process 1 of new namespaces. The kernel then does the cleaning: when that process
//! ends, however it ends, every process below it is killed, and with the last of them the network is gone. So there is
//! no name to delete and no list of process ids to keep, and a crash leaves only the log folder.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use tokio::signal::unix::{SignalKind, signal};

use crate::harness::Outcome;
use crate::harness::process::succeed;

/// The first argument of the harness once it is inside.
pub const ROLE: &str = "inside";

/// Addresses of pods. All of them are this machine's, so a pod is reached by listening on one of them.
const POD_NETWORK: &str = "10.99.0.0/16";

/// The variable that carries what the build script said; inside there is no network to build with.
pub const PLACES: &str = "SERIN_TEST_PLACES";

/// The variable that carries the process id by which the outside knows us; inside every id is another one.
const OUTSIDE: &str = "SERIN_TEST_OUTSIDE";

/// Whether we may make namespaces without asking the kernel for a user namespace first.
fn is_root() -> Outcome<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    // Real, effective, saved and file system user id.
    let mut user = status.lines().filter(|line| line.starts_with("Uid:"));
    Ok(user.any(|line| line.split_whitespace().nth(2) == Some("0")))
}

/// Replaces this process by one that waits for the harness inside of new namespaces. Returns only if that fails.
///
/// The whole tree also dies with whoever called us (cargo, or the script), even if that one is killed outright.
pub fn enter(places: &str) -> Outcome<Infallible> {
    let error = command(&["--net", "--pid"], std::env::args_os().skip(1))?
        .env(PLACES, places)
        .exec();
    Err(format!("cannot start setpriv and unshare (both are in util-linux): {error}").into())
}

/// What starts the harness inside of new namespaces of these kinds, with these arguments.
pub fn command(kinds: &[&str], arguments: impl Iterator<Item = OsString>) -> Outcome<Command> {
    let mut words = Vec::new();
    if !is_root()? {
        // Whoever has no rights gets them in a user namespace, where the kernel gives any; before the next word, because a change of
        // rights makes the kernel forget it.
        words.extend(["unshare", "--user", "--map-root-user"]);
    }
    words.extend(["setpriv", "--pdeathsig", "KILL", "unshare"]);
    words.extend(kinds);
    words.extend(["--mount-proc", "--fork", "--kill-child=KILL", "--"]);
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .arg(std::env::current_exe()?)
        .arg(ROLE)
        .args(arguments)
        .env(OUTSIDE, std::process::id().to_string());
    Ok(command)
}

/// Brings the new network up: loopback, and the pod addresses on it.
pub fn prepare() -> Outcome<()> {
    succeed(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    succeed(Command::new("ip").args(["route", "add", "local", POD_NETWORK, "dev", "lo"]))
}

/// Resolves when a person or a supervisor wants the run to end.
pub async fn told_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// The folder with logs and data of a run; emptied at the start of the next of the same scenario.
pub struct StateFolder {
    /// Where it is.
    pub path: PathBuf,
    /// Held as long as the run lives, so that two runs don't share the folder.
    _lock: File,
}

/// Takes the state folder of a scenario and empties it. Runs of other scenarios and of other checkouts are no hindrance.
pub fn state_folder(scenario: &str) -> Outcome<StateFolder> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(scenario);
    let file = path.with_extension("lock");
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file)?;
    if lock.try_lock().is_err() {
        let holder = std::fs::read_to_string(&file)?;
        return Err(format!(
            "process {} runs {scenario} in {}; wait for its end or stop it",
            holder.trim(),
            path.display()
        )
        .into());
    }
    lock.set_len(0)?;
    writeln!(lock, "{}", outside_id())?;
    if path.exists() {
        std::fs::remove_dir_all(&path)?;
    }
    std::fs::create_dir_all(&path)?;
    Ok(StateFolder { path, _lock: lock })
}

/// The command that opens a shell inside, for a person who looks around.
pub fn way_in() -> String {
    let ours = outside_id();
    format!("sudo nsenter --net --pid --mount --target \"$(pgrep --parent {ours})\"")
}

/// Our process id as the outside sees it: that of the process which waits for us.
fn outside_id() -> String {
    std::env::var(OUTSIDE).unwrap_or_else(|_| std::process::id().to_string())
}
