//! One canary alone: what a release asks of the API server, and how long a fault stays.

use chrono::{SubsecRound, Utc};
use tokio::time::sleep;

use crate::bench::SETTLED;
use crate::bench::fleet::{Fleet, INTERVAL, THRESHOLD};
use crate::bench::requests::{self, Class, Count};
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::verdict::Expectation;

/// Three steps: every request that the controller made for them.
pub async fn release(cluster: &Cluster) -> Outcome<Expectation> {
    let fleet = Fleet::create(cluster, "alone", 1, 3).await?;
    sleep(SETTLED).await;
    let from = Utc::now();
    fleet.release(1, "2.0.0").await?;
    fleet.so_many_are(1, "Succeeded").await?;
    sleep(SETTLED).await;
    let count = Count::read(cluster, from, Utc::now())?;
    println!("## One canary alone, three steps\n\n{}", count.beside_marks());
    let reads = count.of(|class| class == Class::Read);
    Ok(Expectation::new("A release alone reads nothing", reads == 0))
}

/// A metric that turns bad in the middle of a release.
pub async fn fault(cluster: &Cluster) -> Outcome<Expectation> {
    let fleet = Fleet::create(cluster, "fault", 1, 3).await?;
    let begun = Utc::now();
    let moment = (begun + INTERVAL * 3 / 2).trunc_subsecs(0);
    fleet.fails_from(0, moment).await?;
    fleet.release(1, "2.0.0").await?;
    fleet.so_many_are(1, "Failed").await?;
    let trails = requests::trails(cluster, "fault", begun)?;
    let trail = trails.values().next().ok_or("the release wrote nothing")?;
    println!("## From the fault to the route home\n");
    println!(
        "{:.1} s, with a threshold of {THRESHOLD} checks, one each {INTERVAL:?}; the route was written",
        trail.home_after(moment)?
    );
    println!(
        "{} times. Flagger 1.44: 31 s for two checks, one each 10 s.\n",
        trail.routes.len()
    );
    Ok(Expectation::new(
        "A release goes out and comes home after a fault",
        trail.routes.len() > 1,
    ))
}
