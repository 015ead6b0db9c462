//! One canary alone: what a release asks of the API server, and how long a fault stays.

use chrono::{SubsecRound, Utc};
use tokio::time::sleep;

use crate::bench::SETTLED;
use crate::bench::fleet::{Fleet, INTERVAL, THRESHOLD};
use crate::bench::marks::Count;
use crate::bench::trails;
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::verdict::Expectation;

/// Three steps: every request that the controller made for them.
pub async fn release(cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let fleet = Fleet::create(cluster, "alone", 1, 3).await?;
    sleep(SETTLED).await;
    let from = Utc::now();
    fleet.release(1, "2.0.0").await?;
    fleet.so_many_are(1, "Succeeded").await?;
    sleep(SETTLED).await;
    let count = Count::read(cluster, from, Utc::now())?;
    println!("## One canary alone, three steps\n\n{}", count.beside_marks());
    let trails = trails::trails(cluster, "alone", from)?;
    let course = trails.get(&Fleet::name(0)).and_then(trails::Trail::course);
    let steps = course.map_or(0, |course| course.out.len());
    let mut all = count.judged();
    all.push(Expectation::new(
        format!("It went out in three steps, was promoted and came home ({steps} steps)"),
        steps == 3,
    ));
    Ok(all)
}

/// A metric that turns bad in the middle of a release.
pub async fn fault(cluster: &Cluster) -> Outcome<Expectation> {
    let fleet = Fleet::create(cluster, "fault", 1, 3).await?;
    let begun = Utc::now();
    let moment = (begun + INTERVAL * 3 / 2).trunc_subsecs(0);
    fleet.fails_from(0, moment).await?;
    fleet.release(1, "2.0.0").await?;
    fleet.so_many_are(1, "Failed").await?;
    let trails = trails::trails(cluster, "fault", begun)?;
    let trail = trails.get(&Fleet::name(0)).ok_or("the release wrote nothing")?;
    println!("## From the fault to the route home\n");
    if let Some(home) = trail.home_after(moment) {
        println!(
            "{:.1} s, with a threshold of {THRESHOLD} checks, one each {INTERVAL:?}; the route was written",
            (home.answered - moment).as_seconds_f64()
        );
        println!(
            "{} times. Flagger 1.44: 31 s for two checks, one each 10 s.\n",
            trail.routes.len()
        );
    }
    Ok(Expectation::new(
        "A release goes out and comes home after a fault",
        trail.home_after(moment).is_some(),
    ))
}
