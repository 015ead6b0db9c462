//! A run on a cluster of somebody's own: nothing of it may stay there or here, however it ends.
//!
//! Three processes see to that. The run is process 1 of a process namespace, so that whatever it started ends with it. Its host waits
//! for it. A cleaner in a session of its own waits for both: it holds one end of a pipe whose other end is the host's, and when that one
//! closes, be it because the host was killed, it deletes the namespaces that the run made. A label tells which these are.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::{Outcome, cluster, namespace};

/// The first argument of the host.
pub const HOST: &str = "host";

/// The first argument of the cleaner; the kubeconfig and the run's name follow.
pub const CLEANER: &str = "cleaner";

/// Where the controller's Lease is, so that it goes with everything else.
pub const NAMESPACE: &str = "serin-under-test";

/// The label of everything that a run makes at the top of the cluster; its value is the run's name.
const LABEL: &str = "serin.test/run";

/// The variable that carries the run's name inside.
const RUN: &str = "SERIN_TEST_RUN";

/// An empty namespace is gone long before.
const PATIENCE: Duration = Duration::from_mins(3);

/// Replaces this process by the host, which dies with whoever called us. Returns only if that fails.
pub fn enter(places: &str) -> Outcome<Infallible> {
    let error = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(std::env::current_exe()?)
        .arg(HOST)
        .args(std::env::args_os().skip(1))
        .env(namespace::PLACES, places)
        .exec();
    Err(format!("cannot start setpriv (util-linux): {error}").into())
}

/// Starts the run and its cleaner, and waits for both. Whether the run was a good one.
pub fn host(kubeconfig: &Path) -> Outcome<bool> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let run = format!("{}-{}", since.as_secs(), std::process::id());
    // In a session of its own, where neither Ctrl-C nor the end of a terminal reaches it.
    let mut cleaner = Command::new("setsid")
        .arg(std::env::current_exe()?)
        .args([CLEANER.as_ref(), kubeconfig.as_os_str(), run.as_ref()])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start setsid (util-linux): {error}"))?;
    let lifeline = cleaner.stdin.take();
    let outcome = namespace::command(&["--pid"], std::env::args_os().skip(2))?
        .env(RUN, run)
        .status()?;
    drop(lifeline);
    let cleaned = cleaner.wait()?;
    Ok(outcome.success() && cleaned.success())
}

/// Waits until the host is gone, and deletes what its run has made.
pub fn clean_up() -> Outcome<bool> {
    let mut arguments = std::env::args_os().skip(2);
    let (Some(kubeconfig), Some(run)) = (arguments.next(), arguments.next()) else {
        return Err("a cleaner needs a kubeconfig and the name of a run".into());
    };
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let (kubeconfig, run) = (PathBuf::from(kubeconfig), run.to_string_lossy().into_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async { delete(&cluster::client(&kubeconfig).await?, &run).await });
    // Whoever could read it may be gone.
    let _ = match &outcome {
        Ok(count) => writeln!(std::io::stdout(), "{count} namespaces of the run are deleted."),
        Err(error) => writeln!(
            std::io::stderr(),
            "namespaces with the label {LABEL}={run} may be left: {error}"
        ),
    };
    Ok(outcome.is_ok())
}

/// The name of this run, if it is one on a cluster of somebody's own.
pub fn name() -> Outcome<String> {
    std::env::var(RUN).map_err(|_| "the run has no name: start it by its script".into())
}

/// Makes a namespace for this run. One that is there already is somebody's.
pub async fn claim(client: &Client, name: &str, run: &str) -> Outcome<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({ "metadata": { "name": name, "labels": { LABEL: run } } }))?;
    match namespaces.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            Err(format!("there is a namespace {name} already; it is left alone").into())
        }
        other => Ok(other.map(drop)?),
    }
}

/// An error if there are Canaries: a second controller would work on them.
pub async fn must_have_no_canaries(client: &Client) -> Outcome<()> {
    let found = canaries(client, None).list(&ListParams::default().limit(1)).await?;
    match found.items.first() {
        None => Ok(()),
        Some(canary) => Err(format!(
            "there are Canaries in this cluster, such as {} in {}; let their own controller do the work: --installed",
            canary.name_any(),
            canary.namespace().unwrap_or_default()
        )
        .into()),
    }
}

fn canaries(client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("flagger.app", "v1beta1", "Canary"));
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    }
}

/// Deletes the namespaces of a run and waits until they are gone. Tells how many they were.
async fn delete(client: &Client, run: &str) -> Outcome<usize> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let of_run = ListParams::default().labels(&format!("{LABEL}={run}"));
    let first = namespaces.list(&of_run).await?.items.len();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = namespaces.list(&of_run).await?.items;
        if left.is_empty() {
            return Ok(first);
        }
        if Instant::now() > deadline {
            return Err(format!("{} are still there", left.len()).into());
        }
        for namespace in left.iter().map(ResourceExt::name_any) {
            match namespaces.delete(&namespace, &DeleteParams::default()).await {
                // Gone meanwhile, or on its way.
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
                other => drop(other?),
            }
            release(client, &namespace).await?;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Takes the finalizers off the Canaries of a namespace: their controller is gone, and so will be what it would give back.
async fn release(client: &Client, namespace: &str) -> Outcome<()> {
    let canaries = canaries(client, Some(namespace));
    for canary in canaries.list(&ListParams::default()).await? {
        let none = json!({ "metadata": { "finalizers": null } });
        let outcome = canaries
            .patch(&canary.name_any(), &PatchParams::default(), &Patch::Merge(&none))
            .await;
        match outcome {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            other => drop(other?),
        }
    }
    Ok(())
}
