//! Many canaries with nothing to do.

use std::time::Duration;

use chrono::Utc;
use tokio::time::sleep;

use crate::bench::SETTLED;
use crate::bench::marks::Count;
use crate::bench::requests::Class;
use crate::bench::usage::Usage;
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::controller::Controller;
use crate::harness::verdict::Expectation;

/// How long rest is watched.
const REST: Duration = Duration::from_mins(1);

/// What the controller asks and takes in a minute of it.
pub async fn watch(cluster: &Cluster, controller: &Controller, canaries: usize) -> Outcome<Expectation> {
    sleep(SETTLED).await;
    let id = controller.process.id();
    let (from, before) = (Utc::now(), Usage::of(id)?);
    sleep(REST).await;
    let (until, after) = (Utc::now(), Usage::of(id)?);
    let count = Count::read(cluster, from, until)?;
    let asked = count.of(|class| !matches!(class, Class::Lease | Class::Watch));
    let lease = count.of(|class| class == Class::Lease);
    let watches = count.of(|class| class == Class::Watch);
    let cpu = after.cpu_seconds - before.cpu_seconds;
    let Usage { memory, own, peak, .. } = after;
    println!("## {canaries} canaries at rest for {} seconds\n", REST.as_secs());
    println!("| | seen | mark | Flagger 1.44 |\n| --- | --: | --- | --- |");
    println!("| requests but lease and watches | {asked} | none | 148 a second at 100 |");
    println!("| lease | {lease} | | |");
    println!("| watches renewed | {watches} | | |");
    println!("| CPU seconds | {cpu:.2} | | |");
    println!("| memory, MB | {memory:.1} | 25 at 100, 60 at 1,000 | 70 and 120, without bystanders |");
    println!("| of it its own and not the program's file, MB | {own:.1} | | |");
    println!("| its peak since the start, MB | {peak:.1} | | |\n");
    if asked > 0 {
        println!("What was asked:\n\n{}", count.listed());
    }
    Ok(Expectation::new(
        format!("{canaries} canaries at rest ask for nothing but lease and watches ({asked} requests)"),
        asked == 0,
    ))
}
