//! What is left of a run whose host is killed outright: nothing. A run of its own is started inside of this one, as `real.sh` starts it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::cluster::{Cluster, until};
use crate::harness::process::{Process, Signal};
use crate::harness::verdict::Expectation;
use crate::harness::{Outcome, namespace};

/// The scenario that does nothing.
const IDLE: &str = "idle";

/// A variable that the run gets, and with it everything that it starts.
const MARK: (&str, &str) = ("SERIN_TEST_MARK", "to-be-killed");

/// The last programs that a cluster starts, and one that it starts early.
const STARTED: [&str; 3] = ["etcd", "envoy", "prometheus"];

/// The kernel ends processes in an instant; this is a busy machine's.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Starts a whole cluster, kills the process that waits for it, and looks for what it had started.
pub async fn none(cluster: &Cluster) -> Outcome<Expectation> {
    let mut command = namespace::command(&["--net", "--pid"], [OsString::from(IDLE)].into_iter())?;
    command.env(MARK.0, MARK.1);
    let mut host = Process::start("killed-run", &cluster.state, command)?;
    until("the other run's cluster is up", [&mut host], async || {
        let running = marked()?;
        Ok(STARTED
            .iter()
            .all(|name| running.values().any(|running| running == name)))
    })
    .await?;
    let before = marked()?.len();
    host.tell(Signal::Kill)?;
    let deadline = Instant::now() + PATIENCE;
    let mut left = marked()?;
    while !left.is_empty() && Instant::now() < deadline {
        sleep(LOOK).await;
        left = marked()?;
    }
    Ok(Expectation::new(
        format!("Of a run whose host is killed no process is left ({before} before, then {left:?})"),
        left.is_empty(),
    ))
}

/// The processes that run with the mark, and the names of their programs. One that has ended and that nobody asked for yet has none.
fn marked() -> Outcome<BTreeMap<u32, String>> {
    let mark = format!("{}={}", MARK.0, MARK.1);
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may end while it is looked at.
        let (Ok(environment), Ok(name)) = (
            std::fs::read(entry.path().join("environ")),
            std::fs::read_to_string(entry.path().join("comm")),
        ) else {
            continue;
        };
        if environment.split(|byte| *byte == 0).any(|word| word == mark.as_bytes()) {
            found.insert(id, name.trim().to_owned());
        }
    }
    Ok(found)
}
