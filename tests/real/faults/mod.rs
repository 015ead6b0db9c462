//! Faults on the real API server: releases while the controller, the API server, etcd, Prometheus, a hook's server, a rival or an
//! admission policy do their worst. Each release must end as the undisturbed one beside it, or wait with the reason said; and every
//! write of every controller, read from the audit log, must keep the invariants.
//!
//! [`scene`] is what the faults share, [`accounts`] are the controllers' own, [`trial`] an application that one is tried on. [`ledger`]
//! reads the audit log, [`witness`] adds what it lacks, [`laws`] judges it. Each fault is a room: [`kills`], [`comings`], [`frozen`],
//! [`metrics`], [`hanging`], [`rival`], [`refused`], and then [`outage`] and [`dark`], which reach everybody.

mod accounts;
mod chance;
mod comings;
mod dark;
mod frozen;
mod hanging;
mod kills;
mod laws;
mod ledger;
mod metrics;
mod outage;
mod refused;
mod rival;
mod scene;
mod trial;
mod undisturbed;
mod witness;

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::faults::chance::Chance;
use crate::faults::ledger::Ledger;
use crate::faults::scene::{Findings, Scene};
use crate::faults::trial::End;
use crate::faults::witness::Witness;
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::listener::Listener;
use crate::harness::verdict::{Expectation, listed};

/// What can be told to the scenario.
#[derive(clap::Args)]
pub struct Arguments {
    /// What the moments of the kills are drawn from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// More kills, more releases.
    #[arg(long, env = "SERIN_DEEP", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    deep: bool,

    /// Only these faults, beside the undisturbed release: kills, comings, frozen, metrics, hanging, rival, refused,
    /// outage, dark.
    #[arg(long, value_name = "FAULT")]
    only: Vec<String>,
}

impl Arguments {
    fn wants(&self, fault: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == fault)
    }
}

/// All faults but the outages at once, each in a namespace with a controller of its own; then the outages; then the laws.
pub async fn run(arguments: &Arguments, cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    accounts::prepare(cluster).await?;
    let witness = Witness::start(&cluster.client);
    let scene = Scene {
        cluster,
        listener: Listener::start().await?,
        chance: Chance(arguments.seed),
        deep: arguments.deep,
    };
    println!("seed {}", arguments.seed);
    let scene = &scene;
    let found = tokio::join!(
        told("undisturbed", true, undisturbed::run(scene)),
        told("kills", arguments.wants("kills"), kills::run(scene, 1, "kills-a")),
        told("kills", arguments.wants("kills"), kills::run(scene, 2, "kills-b")),
        told("comings", arguments.wants("comings"), comings::run(scene, 10)),
        told("frozen", arguments.wants("frozen"), frozen::run(scene, [3, 4])),
        told("metrics", arguments.wants("metrics"), metrics::run(scene, 5)),
        told("hanging", arguments.wants("hanging"), hanging::run(scene, 6)),
        told("rival", arguments.wants("rival"), rival::run(scene, 7)),
        told("refused", arguments.wants("refused"), refused::run(scene, 8)),
    );
    let mut found = Vec::from(<[Findings; 9]>::from(found));
    found.push(told("outage", arguments.wants("outage"), outage::run(scene, 9)).await);
    found.push(told("dark", arguments.wants("dark"), dark::run(scene, 11)).await);

    let undisturbed: Vec<End> = found[0].ends.drain(..).map(|(_, _, end)| end).collect();
    let mut all = Vec::new();
    for findings in found {
        all.extend(findings.expectations);
        let compared = findings.ends.iter();
        all.extend(compared.filter_map(|(who, number, end)| Some(as_undisturbed(who, end, undisturbed.get(*number)?))));
    }
    let mut ledger = Ledger::read(cluster, None)?;
    ledger.supplement(witness.testimony());
    all.extend(laws::every_write(&ledger));
    all.extend(laws::every_step(&ledger));
    for namespace in [
        "undisturbed",
        "kills-a",
        "kills-b",
        "frozen",
        "metrics",
        "rival",
        "refused",
        "outage",
        "dark",
    ] {
        let canary = format!("{namespace}/shop");
        let calls = scene.listener.calls(&canary);
        if !calls.is_empty() {
            all.push(laws::one_check_at_a_time(&canary, &calls));
        }
    }
    println!("\n{}", listed(&all));
    Ok(all)
}

/// What a fault showed; that it came to no end is a finding as well.
fn told<'a>(
    fault: &'a str,
    wanted: bool,
    run: impl Future<Output = Outcome<Findings>> + 'a,
) -> LocalBoxFuture<'a, Findings> {
    async move {
        if !wanted {
            return Findings::default();
        }
        match run.await {
            Ok(findings) => findings,
            Err(error) => {
                eprintln!("{fault}: {error}");
                let mut findings = Findings::default();
                findings.expect(format!("{fault} comes to its end: {error}"), false);
                findings
            }
        }
    }
    .boxed_local()
}

/// Whether a disturbed release came to the same end, and told all that the undisturbed one told, as often. It may tell more.
fn as_undisturbed(who: &str, disturbed: &End, undisturbed: &End) -> Expectation {
    let differing: Vec<_> = disturbed
        .facts
        .iter()
        .zip(&undisturbed.facts)
        .filter(|(ours, theirs)| ours != theirs)
        .map(|(ours, theirs)| format!("{}: {} instead of {}", ours.0, ours.1, theirs.1))
        .collect();
    let count = |end: &End, event: &String| end.events.iter().filter(|each| *each == event).count();
    // Whether a roll is caught in the midst, and where, is a matter of moments.
    let lasts = |event: &&String| !event.contains(" not ready: waiting for rollout to finish");
    let told_otherwise: Vec<_> = undisturbed
        .events
        .iter()
        .filter(lasts)
        .filter(|event| count(disturbed, event) != count(undisturbed, event))
        .collect();
    let more: Vec<_> = disturbed
        .events
        .iter()
        .filter(|event| !undisturbed.events.contains(event))
        .collect();
    let text = format!(
        "{who} ends as if undisturbed, and told the same ({differing:?}, {told_otherwise:?}; beyond that it told {more:?})"
    );
    Expectation::new(text, differing.is_empty() && told_otherwise.is_empty())
}
