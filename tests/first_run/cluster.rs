//! The test cluster: a real control plane, gateway and metrics server, and the process kubelet.
//!
//! What the rest of the harness uses of it are four things: a client, a kubeconfig for the controller, the address where
//! requests go in, and the address of Prometheus. Any other cluster that offers these four could take its place.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::time::{Instant, sleep};

use crate::kubelet::Kubelet;
use crate::process::{Process, output_of, succeed};
use crate::programs::{Controller, Programs};
use crate::{Outcome, objects};

/// How long any part may take to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long a process may take to end after it was asked to.
const FAREWELL: Duration = Duration::from_secs(20);

/// The ports of the API server and of etcd; they are ours alone, as the network is.
const API_PORT: u16 = 16443;
const ETCD: &str = "http://127.0.0.1:12379";

/// The token in the kubeconfig, and that of the controller, which gets no more rights than it says it needs.
const ADMIN_TOKEN: &str = "admin-of-the-test-cluster";
const CONTROLLER_TOKEN: &str = "controller-of-the-test-cluster";

/// The name of the controller's process, and so of its log.
const CONTROLLER: &str = "controller";

/// The controller under test serves its health and metrics here.
const CONTROLLER_PORT: u16 = 18080;

/// A running cluster.
pub struct Cluster {
    /// Talks to the API server as its administrator.
    pub client: Client,
    /// Where the gateway takes requests.
    pub gateway: SocketAddr,
    /// Where Prometheus answers queries.
    pub prometheus: String,
    state: PathBuf,
    controller: Option<Process>,
    processes: Vec<Process>,
    kubelet: Kubelet,
}

impl Cluster {
    /// Starts everything but the controller.
    pub async fn start(programs: &Programs, checkout: &Path, state: &Path) -> Outcome<Self> {
        let config = checkout.join("tests/cluster/config");
        let mut processes = Vec::new();

        let kubeconfig = std::fs::read_to_string(config.join("kubeconfig.yaml"))?;
        std::fs::write(state.join("kubeconfig"), &kubeconfig)?;
        std::fs::write(
            state.join("kubeconfig-controller"),
            kubeconfig.replace(ADMIN_TOKEN, CONTROLLER_TOKEN),
        )?;
        start_control_plane(programs, state, &mut processes)?;
        let client = client(&state.join("kubeconfig")).await?;
        until("the API server answers", &mut processes, async || {
            client
                .request_text(http::Request::get("/readyz").body(Vec::new())?)
                .await?;
            Ok(true)
        })
        .await?;
        start_controllers(programs, state, &mut processes)?;

        let source = programs.place("contour-source")?;
        // Contour watches kinds of the experimental channel, so the definitions must be the ones that it ships.
        objects::apply_file(&client, &source.join("examples/gateway/00-crds.yaml")).await?;
        objects::apply_file(&client, &source.join("examples/contour/01-crds.yaml")).await?;
        let objects = checkout.join("tests/cluster/objects");
        match &programs.controller {
            Controller::Serin(program) => {
                objects::apply_folder(&client, &checkout.join("crds")).await?;
                objects::apply_text(&client, &output_of(Command::new(program).arg("rbac"))?).await?;
                objects::apply_file(&client, &objects.join("controller.yaml")).await?;
            }
            Controller::Flagger(_) => {
                let source = programs.place("flagger-source")?;
                objects::apply_lenient_file(&client, &source.join("artifacts/flagger/crd.yaml")).await?;
            }
        }
        objects::all_definitions_are_served(&client, PATIENCE).await?;
        objects::apply_file(&client, &objects.join("edge.yaml")).await?;

        start_gateway(programs, &config, state, &mut processes)?;
        let kubelet = Kubelet::start(client.clone(), state).await?;
        start_prometheus(programs, &config, state, &mut processes)?;
        let prometheus = "http://127.0.0.1:19090".to_owned();
        let web = reqwest::Client::builder().no_proxy().build()?;
        until("Prometheus is ready", &mut processes, async || {
            Ok(web
                .get(format!("{prometheus}/-/ready"))
                .send()
                .await?
                .status()
                .is_success())
        })
        .await?;

        Ok(Self {
            client,
            gateway: SocketAddr::from(([127, 0, 0, 1], 8080)),
            prometheus,
            state: state.to_owned(),
            controller: None,
            processes,
            kubelet,
        })
    }

    /// Starts the controller under test and waits until it calls itself healthy.
    pub async fn start_controller(&mut self, programs: &Programs) -> Outcome<()> {
        let mut command = match &programs.controller {
            Controller::Serin(program) => {
                let mut command = Command::new(program);
                command.args(["controller", "-kubeconfig", "kubeconfig-controller"]);
                command
            }
            Controller::Flagger(program) => {
                let mut command = Command::new(program);
                command.args(["-kubeconfig", "kubeconfig"]);
                command
            }
        };
        command
            .args(["-metrics-server", &self.prometheus])
            .args(["-mesh-provider", "contour"])
            .args(["-port", &CONTROLLER_PORT.to_string()])
            .args(["-leader-election-namespace", "edge"])
            .args(["-log-level", "info"]);
        let mut controller = [Process::start(CONTROLLER, &self.state, &mut command)?];
        let web = reqwest::Client::builder().no_proxy().build()?;
        let outcome = until("the controller is healthy", &mut controller, async || {
            let url = format!("http://127.0.0.1:{CONTROLLER_PORT}/healthz");
            Ok(web.get(url).send().await?.status().is_success())
        })
        .await;
        let [controller] = controller;
        self.controller = Some(controller);
        outcome
    }

    /// Asks the controller to end and says how it did; `None` if it had to be killed.
    pub async fn stop_controller(&mut self) -> Outcome<Option<ExitStatus>> {
        match &mut self.controller {
            Some(controller) => {
                controller.must_run()?;
                controller.stop(FAREWELL).await
            }
            None => Ok(None),
        }
    }

    /// Prints the end of every log, for a person who has to find out what went wrong.
    pub fn print_log_tails(&self) {
        for process in self.processes.iter().chain(&self.controller) {
            eprintln!("\n--- the last lines of {}.log", process.name);
            let lines = if process.name == CONTROLLER { 40 } else { 4 };
            process.tail(lines).lines().for_each(|line| eprintln!("{line:.300}"));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nothing here has to be kept, so nobody is asked to end; but the kubelet would complain about the others' going.
        self.kubelet.stop();
        self.controller = None;
        self.processes.drain(..).rev().for_each(drop);
    }
}

fn start_control_plane(programs: &Programs, state: &Path, processes: &mut Vec<Process>) -> Outcome<()> {
    let peer = "http://127.0.0.1:12380";
    processes.push(Process::start(
        "etcd",
        state,
        Command::new(programs.place("etcd")?)
            .args(["--data-dir", "etcd-data", "--log-level", "error"])
            // The data need not survive anything, so waiting for the disk is time lost.
            .arg("--unsafe-no-fsync")
            .args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", &format!("default={peer}")]),
    )?);

    succeed(
        Command::new("openssl")
            .args(["genrsa", "-out", "accounts.key", "2048"])
            .current_dir(state),
    )?;
    succeed(
        Command::new("openssl")
            .args(["rsa", "-in", "accounts.key", "-pubout", "-out", "accounts.pub"])
            .current_dir(state),
    )?;
    let tokens = format!("{ADMIN_TOKEN},admin,admin,system:masters\n{CONTROLLER_TOKEN},controller,controller\n");
    std::fs::write(state.join("tokens.csv"), tokens)?;
    processes.push(Process::start(
        "kube-apiserver",
        state,
        Command::new(programs.place("kube-apiserver")?)
            .arg(format!("--etcd-servers={ETCD}"))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .arg(format!("--secure-port={API_PORT}"))
            .args([
                "--cert-dir=certificates",
                "--token-auth-file=tokens.csv",
                "--authorization-mode=RBAC",
            ])
            .args([
                "--service-account-key-file=accounts.pub",
                "--service-account-signing-key-file=accounts.key",
            ])
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .args([
                "--service-cluster-ip-range=10.0.0.0/16",
                "--endpoint-reconciler-type=none",
            ])
            // No pod here uses a service account, and no controller takes the not-ready taint off the nodes.
            .arg("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition"),
    )?);
    Ok(())
}

fn start_controllers(programs: &Programs, state: &Path, processes: &mut Vec<Process>) -> Outcome<()> {
    processes.push(Process::start(
        "kube-controller-manager",
        state,
        Command::new(programs.place("kube-controller-manager")?)
            .args([
                "--kubeconfig=kubeconfig",
                "--service-account-private-key-file=accounts.key",
            ])
            .args(["--use-service-account-credentials=false", "--leader-elect=false"])
            // The process kubelet keeps no node leases, so nobody may conclude from them that a node is dead.
            .arg("--controllers=*,-nodeipam,-nodelifecycle,-cloud-node-lifecycle,-route,-service-lb-controller")
            .args([
                "--bind-address=127.0.0.1",
                "--secure-port=16444",
                "--cert-dir=certificates-manager",
            ]),
    )?);
    processes.push(Process::start(
        "kube-scheduler",
        state,
        Command::new(programs.place("kube-scheduler")?)
            .args(["--kubeconfig=kubeconfig", "--leader-elect=false"])
            .args([
                "--bind-address=127.0.0.1",
                "--secure-port=16445",
                "--cert-dir=certificates-scheduler",
            ]),
    )?);
    Ok(())
}

/// Contour first: Envoy asks it for everything.
fn start_gateway(programs: &Programs, config: &Path, state: &Path, processes: &mut Vec<Process>) -> Outcome<()> {
    let contour = programs.place("contour")?;
    processes.push(Process::start(
        "contour",
        state,
        Command::new(contour)
            .args([
                "serve",
                "--insecure",
                "--disable-leader-election",
                "--kubeconfig=kubeconfig",
            ])
            .arg("--config-path")
            .arg(config.join("contour.yaml"))
            .args([
                "--xds-address=127.0.0.1",
                "--xds-port=8001",
                "--stats-address=127.0.0.1",
                "--stats-port=8002",
            ]),
    )?);
    // The path of a socket may have 107 characters at most, so it is given relative to the folder Envoy runs in.
    output_of(
        Command::new(contour)
            .args(["bootstrap", "envoy.json", "--xds-address=127.0.0.1", "--xds-port=8001"])
            .arg("--admin-address=envoy.sock")
            .current_dir(state),
    )?;
    processes.push(Process::start(
        "envoy",
        state,
        Command::new(programs.place("envoy")?)
            .args([
                "--config-path",
                "envoy.json",
                "--service-cluster",
                "edge",
                "--service-node",
                "envoy",
            ])
            .args(["--log-level", "warning", "--concurrency", "2"]),
    )?);
    Ok(())
}

fn start_prometheus(programs: &Programs, config: &Path, state: &Path, processes: &mut Vec<Process>) -> Outcome<()> {
    // It looks for the list of pods beside its own file.
    std::fs::copy(config.join("prometheus.yml"), state.join("prometheus.yml"))?;
    processes.push(Process::start(
        "prometheus",
        state,
        Command::new(programs.place("prometheus")?)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus-data"])
            .arg("--web.listen-address=127.0.0.1:19090"),
    )?);
    Ok(())
}

async fn client(kubeconfig: &Path) -> Outcome<Client> {
    let config =
        Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Asks until the answer is yes; an error counts as "not yet". A process that ends meanwhile ends the wait.
pub async fn until(what: &str, processes: &mut [Process], ask: impl AsyncFn() -> Outcome<bool>) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = "it says no".to_owned();
    while Instant::now() < deadline {
        for process in &mut *processes {
            process.must_run()?;
        }
        match ask().await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => last = error.to_string(),
        }
        sleep(Duration::from_millis(200)).await;
    }
    Err(format!("waited {PATIENCE:?} in vain until {what}: {last}").into())
}
