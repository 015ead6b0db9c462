//! Many releases at once, among others at rest: how late their steps are, and how long a fault of one more of them stays.

use std::fmt;

use chrono::{SubsecRound, TimeDelta, Utc};
use tokio::time::Instant;

use crate::bench::fleet::{Fleet, INTERVAL, THRESHOLD};
use crate::bench::requests::{self, Trail};
use crate::bench::usage::load_average;
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::verdict::Expectation;

/// Gives the first so many applications a good version and the one behind them, if there is one, a version that fails.
pub async fn releases(cluster: &Cluster, fleet: &Fleet, count: usize) -> Outcome<Vec<Expectation>> {
    let faulty = (count < fleet.size).then_some(count);
    let (from, begun) = (Utc::now(), Instant::now());
    let moment = (from + INTERVAL * 5 / 2).trunc_subsecs(0);
    if let Some(number) = faulty {
        fleet.fails_from(number, moment).await?;
    }
    let together = count + usize::from(faulty.is_some());
    fleet.release(together, "2.0.0").await?;
    fleet.so_many_of_are(together, count, "Succeeded").await?;
    let took = begun.elapsed();
    if faulty.is_some() {
        fleet.so_many_of_are(together, 1, "Failed").await?;
    }
    let trails = requests::trails(cluster, fleet.namespace, from)?;
    let failed = faulty.and_then(|number| trails.get(&Fleet::name(number)));
    let good = trails
        .values()
        .filter(|trail| failed.is_none_or(|failed| !std::ptr::eq(*trail, failed)));
    let good: Vec<_> = good.filter(|trail| !trail.routes.is_empty()).collect();

    let answers = trails
        .values()
        .flat_map(|trail| trail.statuses.iter().chain(&trail.routes));
    let answers = Spread::new(answers.map(|write| seconds(write.answered - write.received)));
    println!("## {count} releases at once, among {}\n", fleet.size);
    println!("All were promoted after {took:.0?}. From one weight to the next it took {INTERVAL:?} and\n");
    println!("| | p50, s | p99, s | most, s |\n| --- | --: | --: | --: |");
    println!(
        "| until the next route was written | {} |",
        lateness(&good, |_, next| next.answered)
    );
    println!(
        "| until the status before it came in at the API server | {} |",
        lateness(&good, requests::Trail::decided)
    );
    println!("| beside it: the API server's answer to a write | {answers} |");
    println!(
        "\nOf {} steps. The load average was {}. Flagger 1.44: 755 s for a rollout of 70 s.\n",
        steps(&good).count(),
        load_average()?
    );

    let mut all = vec![Expectation::new(
        format!("{count} releases at once wrote {} routes", good.len()),
        good.len() == count,
    )];
    if let Some(failed) = failed {
        println!("## From the fault to the route home, beside them\n");
        println!(
            "{:.1} s, with a threshold of {THRESHOLD} checks, one each {INTERVAL:?}. Flagger 1.44: 340 s among 1,000.\n",
            failed.home_after(moment)?
        );
        all.push(Expectation::new(
            "One that fails beside them comes home",
            failed.routes.len() > 1,
        ));
    }
    Ok(all)
}

/// Each write of a weight but the first, with the one before. The last write of a route is the way home, which waits for the promotion
/// and not for the clock.
fn steps<'a>(trails: &[&'a Trail]) -> impl Iterator<Item = (&'a Trail, [requests::Written; 2])> {
    trails.iter().copied().flat_map(|trail| {
        let weights = &trail.routes[..trail.routes.len() - 1];
        weights.windows(2).map(move |pair| (trail, [pair[0], pair[1]]))
    })
}

/// How much longer than the interval it took from the answer to one weight to a moment of the next.
fn lateness(trails: &[&Trail], moment: impl Fn(&Trail, &requests::Written) -> chrono::DateTime<Utc>) -> Spread {
    let late = steps(trails).map(|(trail, [before, next])| seconds(moment(trail, &next) - before.answered));
    Spread::new(late.map(|took| took - INTERVAL.as_secs_f64()))
}

fn seconds(duration: TimeDelta) -> f64 {
    duration.as_seconds_f64()
}

/// Durations, in order.
struct Spread(Vec<f64>);

impl Spread {
    fn new(seconds: impl Iterator<Item = f64>) -> Self {
        let mut seconds: Vec<f64> = seconds.collect();
        seconds.sort_by(f64::total_cmp);
        Self(seconds)
    }

    fn at(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0
            .get((self.0.len() * percent / 100).min(last))
            .copied()
            .unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} | {:.2} | {:.2}", self.at(50), self.at(99), self.at(100))
    }
}
