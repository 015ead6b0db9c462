//! What all faults share: the cluster, the hooks' server, and controllers that look after one namespace each, so that a fault of one
//! does not reach the others.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::faults::accounts;
use crate::faults::chance::Chance;
use crate::faults::ledger::Ledger;
use crate::faults::trial::{End, Trial};
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::controller::Controller;
use crate::harness::listener::Listener;
use crate::harness::load::Load;
use crate::harness::verdict::Expectation;

/// The port of the first controller's health page.
const FIRST_PORT: u16 = 18080;

/// Where the faults happen.
pub struct Scene<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Answers the hooks.
    pub listener: Listener,
    /// What the moments of the faults are drawn from.
    pub chance: Chance,
    /// More of everything that a run can have more of.
    pub deep: bool,
}

/// What one fault showed.
#[derive(Default)]
pub struct Findings {
    /// Sentences, and whether they held.
    pub expectations: Vec<Expectation>,
    /// Releases that must have ended as the undisturbed one of this number did, the first being 0.
    pub ends: Vec<(String, usize, End)>,
}

impl Findings {
    /// One more sentence.
    pub fn expect(&mut self, text: impl Into<String>, held: bool) {
        self.expectations.push(Expectation::new(text, held));
    }

    /// Ends the traffic; the application must have answered every request.
    pub async fn nothing_lost(&mut self, trial: &Trial<'_>, load: Load) -> Outcome<()> {
        self.expectations.push(load.stop().await?.nothing_lost(&trial.id()));
        Ok(())
    }

    /// Takes note of how a release ended, to be compared.
    pub async fn ended(&mut self, trial: &Trial<'_>, number: usize, start: DateTime<Utc>) -> Outcome<()> {
        let end = trial.end(start).await?;
        self.ends.push((trial.id(), number, end));
        Ok(())
    }
}

impl Scene<'_> {
    /// Starts a controller for one namespace, as the account of this number, without an election.
    pub async fn controller(&self, number: u16, namespace: &str) -> Outcome<Controller> {
        self.controller_with(number, namespace, &["-enable-leader-election=false"])
            .await
    }

    /// The same with a Lease in that namespace.
    pub async fn candidate(&self, number: u16, namespace: &str) -> Outcome<Controller> {
        self.controller_with(number, namespace, &["-leader-election-namespace", namespace])
            .await
    }

    async fn controller_with(&self, number: u16, namespace: &str, election: &[&str]) -> Outcome<Controller> {
        let user = format!("controller-{number}");
        let kubeconfig = accounts::create(self.cluster, &user).await?;
        let flags: Vec<_> = ["-namespace", namespace].iter().chain(election).copied().collect();
        Controller::start_as(self.cluster, &user, FIRST_PORT + number, &kubeconfig, &flags).await
    }

    /// An application by the name of its namespace, with a Canary of the usual kind.
    pub async fn trial(&self, namespace: &str) -> Outcome<Trial<'_>> {
        self.trial_with([namespace, "shop"], &json!({})).await
    }

    /// An application by namespace and name, with a Canary that differs by a merge patch of its spec.
    pub async fn trial_with(&self, id: [&str; 2], spec: &Value) -> Outcome<Trial<'_>> {
        Trial::open(self.cluster, &self.listener, id, spec).await
    }

    /// An application by the name of its namespace, without a Canary.
    pub async fn application(&self, namespace: &str) -> Outcome<Trial<'_>> {
        Trial::found(self.cluster, &self.listener, [namespace, "shop"], &json!({})).await
    }

    /// What the API server wrote down about a namespace so far.
    pub fn ledger(&self, namespace: &str) -> Outcome<Ledger> {
        Ledger::read(self.cluster, Some(namespace))
    }
}
