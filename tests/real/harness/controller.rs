//! The controller under test, as a process.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::Outcome;
use crate::harness::cluster::{Cluster, until};
use crate::harness::process::Process;
use crate::harness::programs::Product;
use crate::harness::verdict::Expectation;

/// How long it may take to end after it was asked to.
const FAREWELL: Duration = Duration::from_secs(20);

/// A controller that runs. Dropping it kills it.
pub struct Controller {
    /// Its process.
    pub process: Process,
    port: u16,
}

impl Controller {
    /// Starts it and waits until it calls itself healthy. `name` names its log, `port` is where its health and metrics are; a
    /// second one needs others.
    pub async fn start(cluster: &Cluster, name: &str, port: u16) -> Outcome<Self> {
        let kubeconfig = &cluster.controller_kubeconfig;
        let election = ["-leader-election-namespace", cluster.lease_namespace()];
        Self::start_as(cluster, name, port, kubeconfig, &election).await
    }

    /// The same as another user, and with flags of its own.
    pub async fn start_as(
        cluster: &Cluster,
        name: &str,
        port: u16,
        kubeconfig: &Path,
        flags: &[&str],
    ) -> Outcome<Self> {
        let programs = &cluster.programs;
        let mut command = match &programs.product {
            Product::Serin(program) => {
                let mut command = Command::new(program);
                command.arg("controller");
                command
            }
            Product::Flagger(program) => Command::new(program),
        };
        command
            .arg("-kubeconfig")
            .arg(kubeconfig)
            .args(["-metrics-server", &cluster.prometheus])
            .args(["-mesh-provider", "contour"])
            .args(["-port", &port.to_string()])
            .args(["-log-level", "info"])
            .args(flags);
        let process = Process::start(name, &cluster.state, command)?;
        let mut controller = Self { process, port };
        controller.is_healthy().await?;
        Ok(controller)
    }

    /// Waits until it calls itself healthy.
    pub async fn is_healthy(&mut self) -> Outcome<()> {
        let web = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://127.0.0.1:{}/healthz", self.port);
        until("the controller is healthy", [&mut self.process], async || {
            Ok(web.get(&url).send().await?.status().is_success())
        })
        .await
    }

    /// Asks it to end, and expects that it does so in order. An error if it had ended before.
    pub async fn ends_cleanly(mut self) -> Outcome<Expectation> {
        self.process.must_run()?;
        let ending = self.process.stop(FAREWELL).await?;
        let word = ending.map_or_else(|| "had to be killed".to_owned(), |status| status.to_string());
        Ok(Expectation::new(
            format!("The controller ends cleanly when it is asked to ({word})"),
            ending.is_some_and(|status| status.success()),
        ))
    }
}
