//! A cluster to run scenarios on: one of our own with a real control plane, gateway, metrics server and the process kubelet, or one
//! of somebody else's.
//!
//! What a scenario uses of it are a client, a kubeconfig for the controller, the address where requests go in, and the address
//! of Prometheus.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::abroad::Abroad;
use crate::harness::kubelet::Kubelet;
use crate::harness::process::{Process, tail};
use crate::harness::programs::{Product, Programs};
use crate::harness::slow_line::SlowLine;
use crate::harness::{Outcome, checkout, control_plane, gateway, guest, installation, objects};

/// How long any part may take to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running cluster. Dropping it ends everything that was started for it.
pub struct Cluster {
    /// Talks to the API server as its administrator.
    pub client: Client,
    /// The kubeconfig that the controller under test gets.
    pub controller_kubeconfig: PathBuf,
    /// Where the gateway takes requests.
    pub gateway: SocketAddr,
    /// Where Prometheus answers queries.
    pub prometheus: String,
    /// What runs in it, and what is tested on it.
    pub programs: Programs,
    /// The folder with logs and data of this run.
    pub state: PathBuf,
    /// What the shops' pods run.
    pub image: String,
    /// Namespace and name of the Gateway that each `HTTPRoute` attaches to.
    pub gateway_object: (String, String),
    /// The name under which our things stand in a cluster of somebody else's.
    pub guest: Option<String>,
    /// What we started; nothing in a cluster of somebody else's.
    pub own: Option<Own>,
}

/// What runs for a cluster of our own.
pub struct Own {
    /// What Contour tells Envoy goes this way.
    pub to_envoy: SlowLine,
    /// In the order of their start.
    processes: Vec<(String, Arc<Mutex<Process>>)>,
    kubelet: Kubelet,
}

impl Cluster {
    /// Starts everything but the controller.
    pub async fn start(programs: Programs, state: &Path) -> Outcome<Self> {
        let folder = checkout().join("tests/cluster");
        let config = folder.join("config");

        let mut processes = Vec::from(control_plane::start_api_server(&programs, state)?);
        let client = client(&state.join(control_plane::ADMIN_KUBECONFIG)).await?;
        until("the API server is ready", &mut processes, async || {
            is_ready(&client).await
        })
        .await?;
        processes.extend(control_plane::start_controllers(&programs, state)?);

        gateway::define_routes(&client, &programs).await?;
        installation::install(&client, &programs, state).await?;
        objects::all_definitions_are_served(&client, PATIENCE).await?;
        objects::apply_file(&client, &folder.join("objects/edge.yaml")).await?;

        let to_envoy = SlowLine::start(gateway::NEAR_ENVOY.into(), gateway::NEAR_CONTOUR.into()).await?;
        processes.extend(gateway::start(&programs, &config, state)?);
        let kubelet = Kubelet::start(client.clone(), state).await?;
        processes.push(gateway::start_prometheus(&programs, &config, state)?);
        let web = reqwest::Client::builder().no_proxy().build()?;
        until("Prometheus is ready", &mut processes, async || {
            let url = format!("{}/-/ready", gateway::PROMETHEUS);
            Ok(web.get(url).send().await?.status().is_success())
        })
        .await?;

        Ok(Self {
            client,
            controller_kubeconfig: state.join(control_plane::CONTROLLER_KUBECONFIG),
            gateway: gateway::entrance(),
            prometheus: gateway::PROMETHEUS.to_owned(),
            programs,
            state: state.to_owned(),
            image: "shop".to_owned(),
            gateway_object: ("edge".to_owned(), "edge".to_owned()),
            guest: None,
            own: Some(Own {
                to_envoy,
                processes: processes
                    .into_iter()
                    .map(|process| (process.name.clone(), Arc::new(Mutex::new(process))))
                    .collect(),
                kubelet,
            }),
        })
    }

    /// Takes one of somebody else's, where nothing is started.
    pub async fn abroad(programs: Programs, state: &Path, abroad: &Abroad) -> Outcome<Self> {
        let (Some(kubeconfig), Some(gateway), Some(prometheus), Some(image)) =
            (&abroad.kubeconfig, abroad.gateway, &abroad.prometheus, &abroad.image)
        else {
            return Err("--kubeconfig needs --gateway, --prometheus and --image".into());
        };
        let gateway_object = abroad.gateway_object.split_once('/');
        let (namespace, name) = gateway_object.ok_or("--gateway-object wants NAMESPACE/NAME")?;
        let client = client(kubeconfig).await?;
        if !is_ready(&client).await? {
            return Err("the API server is not ready".into());
        }
        let run = guest::name()?;
        if !abroad.installed {
            guest::must_have_no_canaries(&client).await?;
            guest::claim(&client, guest::NAMESPACE, &run).await?;
        }
        Ok(Self {
            client,
            controller_kubeconfig: kubeconfig.canonicalize()?,
            gateway,
            prometheus: prometheus.clone(),
            programs,
            state: state.to_owned(),
            image: image.clone(),
            gateway_object: (namespace.to_owned(), name.to_owned()),
            guest: Some(run),
            own: None,
        })
    }

    /// One of its processes, such as `etcd` or `prometheus`, to be told something or started again.
    pub async fn process(&self, name: &str) -> Outcome<OwnedMutexGuard<Process>> {
        let own = self.own.as_ref().ok_or("this cluster is not ours to handle")?;
        let process = own.processes.iter().find(|process| process.0 == name);
        let (_, process) = process.ok_or_else(|| format!("the cluster has no process {name}"))?;
        Ok(Arc::clone(process).lock_owned().await)
    }

    /// Whether the API server calls itself ready: it answers, and so does etcd.
    pub async fn is_ready(&self) -> Outcome<bool> {
        is_ready(&self.client).await
    }

    /// Where the controller keeps its Lease.
    pub const fn lease_namespace(&self) -> &'static str {
        match self.programs.product {
            Product::Serin(_) if self.own.is_some() => installation::NAMESPACE,
            Product::Serin(_) => guest::NAMESPACE,
            Product::Flagger(_) => "default",
        }
    }

    /// Prints the end of every log, for a person who has to find out what went wrong.
    pub fn print_log_tails(&self) {
        let entries = std::fs::read_dir(&self.state).into_iter().flatten().flatten();
        let mut logs: Vec<_> = entries.map(|entry| entry.path()).collect();
        logs.retain(|log| log.extension().is_some_and(|extension| extension == "log"));
        logs.sort();
        for log in logs {
            let name = log.file_name().unwrap_or_default().display().to_string();
            eprintln!("\n--- the last lines of {name}");
            let lines = if name.starts_with("controller") { 40 } else { 4 };
            tail(&log, lines).lines().for_each(|line| eprintln!("{line:.300}"));
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Nothing here has to be kept, so nobody is asked to end; but the kubelet would complain about the others' going.
        self.kubelet.stop();
        self.processes.drain(..).rev().for_each(drop);
    }
}

/// Whether the API server behind a client calls itself ready.
pub async fn is_ready(client: &Client) -> Outcome<bool> {
    let request = http::Request::get("/readyz").body(Vec::new())?;
    timeout(Duration::from_secs(5), client.request_text(request)).await??;
    Ok(true)
}

/// A client by a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Outcome<Client> {
    let config =
        Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Asks until the answer is yes; an error counts as "not yet". A process that ends meanwhile ends the wait.
pub async fn until<'a>(
    what: &str,
    processes: impl IntoIterator<Item = &'a mut Process>,
    ask: impl AsyncFn() -> Outcome<bool>,
) -> Outcome<()> {
    let mut processes: Vec<_> = processes.into_iter().collect();
    let deadline = Instant::now() + PATIENCE;
    let mut last = "it says no".to_owned();
    while Instant::now() < deadline {
        for process in &mut processes {
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
