//! The way into the cluster: Contour tells Envoy what to do, Prometheus reads what Envoy and the pods counted.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kube::Client;
use tokio::time::{Instant, sleep};

use crate::harness::control_plane::ADMIN_KUBECONFIG;
use crate::harness::process::{Process, output_of};
use crate::harness::programs::Programs;
use crate::harness::{Outcome, objects};

/// Where Contour tells Envoys what to do.
pub const NEAR_CONTOUR: ([u8; 4], u16) = ([127, 0, 0, 1], 8001);

/// Where Envoy believes Contour to be.
pub const NEAR_ENVOY: ([u8; 4], u16) = ([127, 0, 0, 1], 8003);

/// The name of Envoy's process. Its log has a line of JSON for every request.
pub const ENVOY: &str = "envoy";

/// Where Prometheus answers.
pub const PROMETHEUS: &str = "http://127.0.0.1:19090";

/// Where Envoy takes requests: Contour's port for plain HTTP.
pub fn entrance() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

/// Waits until the gateway answers well for a host ten times in a row.
pub async fn answers_for(host: &str, gateway: SocketAddr, patience: Duration) -> Outcome<()> {
    let web = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{gateway}/");
    let deadline = Instant::now() + patience;
    let mut in_a_row = 0;
    while in_a_row < 10 {
        if Instant::now() > deadline {
            return Err(format!("{host} did not answer within {patience:?}").into());
        }
        let answer = web.get(&url).header("host", host).send().await;
        let good = answer.is_ok_and(|answer| answer.status().is_success());
        in_a_row = if good { in_a_row + 1 } else { 0 };
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Defines the kinds of routes: Contour's, and the Gateway API's as Contour ships them, since it watches kinds of the experimental
/// channel.
pub async fn define_routes(client: &Client, programs: &Programs) -> Outcome<()> {
    let source = programs.place("contour-source")?;
    objects::apply_file(client, &source.join("examples/gateway/00-crds.yaml")).await?;
    objects::apply_file(client, &source.join("examples/contour/01-crds.yaml")).await
}

/// Starts Contour first: Envoy asks it for everything.
pub fn start(programs: &Programs, config: &Path, state: &Path) -> Outcome<[Process; 2]> {
    let program = programs.place("contour")?;
    let mut contour = Command::new(program);
    contour
        .args(["serve", "--insecure", "--disable-leader-election"])
        .arg(format!("--kubeconfig={ADMIN_KUBECONFIG}"))
        .arg("--config-path")
        .arg(config.join("contour.yaml"))
        .args(["--xds-address=127.0.0.1", "--xds-port=8001"])
        .args(["--stats-address=127.0.0.1", "--stats-port=8002"]);
    let contour = Process::start("contour", state, contour)?;

    // The path of a socket may have 107 characters at most, so it is given relative to the folder Envoy runs in.
    output_of(
        Command::new(program)
            .args(["bootstrap", "envoy.json", "--xds-address=127.0.0.1", "--xds-port=8003"])
            .arg("--admin-address=envoy.sock")
            .current_dir(state),
    )?;
    let mut envoy = Command::new(programs.place("envoy")?);
    envoy
        .args(["--config-path", "envoy.json"])
        .args(["--service-cluster", "edge", "--service-node", "envoy"])
        .args(["--log-level", "warning", "--concurrency", "2"])
        // It would share memory by name with every other Envoy of the machine, and leave it there.
        .arg("--disable-hot-restart");
    Ok([contour, Process::start(ENVOY, state, envoy)?])
}

/// Starts Prometheus, which is ready a moment later.
pub fn start_prometheus(programs: &Programs, config: &Path, state: &Path) -> Outcome<Process> {
    // It looks for the list of pods beside its own file.
    std::fs::copy(config.join("prometheus.yml"), state.join("prometheus.yml"))?;
    let mut prometheus = Command::new(programs.place("prometheus")?);
    prometheus
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus-data"])
        .arg("--web.listen-address=127.0.0.1:19090");
    Process::start("prometheus", state, prometheus)
}
