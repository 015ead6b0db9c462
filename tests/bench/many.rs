//! Many releases at once, among others at rest: how late their steps are, and how long a fault of one more of them stays.

use std::fmt;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tokio::time::Instant;

use crate::bench::fleet::{Fleet, INTERVAL, THRESHOLD};
use crate::bench::trails::{self, Course, Trail, Written};
use crate::bench::usage::load_average;
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::verdict::Expectation;

/// A release that was promoted: when its version came, and what was written for it.
struct Release<'a> {
    asked: DateTime<Utc>,
    trail: &'a Trail,
    course: Course,
}

/// Gives the first so many applications a good version and the one behind them, if there is one, a version that fails.
pub async fn releases(cluster: &Cluster, fleet: &Fleet, count: usize) -> Outcome<Vec<Expectation>> {
    let faulty = (count < fleet.size).then_some(count);
    let (from, begun) = (Utc::now(), Instant::now());
    let moment = (from + INTERVAL * 5 / 2).trunc_subsecs(0);
    if let Some(number) = faulty {
        fleet.fails_from(number, moment).await?;
    }
    let together = count + usize::from(faulty.is_some());
    let asked = fleet.release(together, "2.0.0").await?;
    fleet.so_many_of_are(together, count, "Succeeded").await?;
    let took = begun.elapsed();
    if faulty.is_some() {
        fleet.so_many_of_are(together, 1, "Failed").await?;
    }
    let trails = trails::trails(cluster, fleet.namespace, from)?;
    let promoted: Vec<_> = (0..count)
        .filter_map(|number| {
            let trail = trails.get(&Fleet::name(number))?;
            Some(Release {
                asked: asked[number],
                trail,
                course: trail.course()?,
            })
        })
        .collect();

    println!("## {count} releases at once, among {}\n", fleet.size);
    println!(
        "All were promoted after {took:.0?}. The load average was {}.\n",
        load_average()?
    );
    println!("{}", lateness(&promoted));
    let answers = trails.values().flat_map(|trail| {
        let routes = trail.routes.iter().map(|route| &route.write);
        trail.statuses.iter().chain(routes)
    });
    let answers = Spread::new(answers.map(|write| seconds(write.answered - write.received)));
    println!("Beside it, the API server's answer to a write took: {answers} (p50, p99, most, s).\n");

    let mut all = vec![Expectation::new(
        format!(
            "{count} releases at once went out, were promoted and came home, each once ({})",
            promoted.len()
        ),
        promoted.len() == count,
    )];
    if let Some(number) = faulty {
        let home = trails
            .get(&Fleet::name(number))
            .and_then(|trail| trail.home_after(moment));
        println!("## From the fault to the route home, beside them\n");
        if let Some(home) = home {
            println!(
                "{:.1} s, with a threshold of {THRESHOLD} checks, one each {INTERVAL:?}. Flagger 1.44: 340 s among 1,000.\n",
                seconds(home.answered - moment)
            );
        }
        all.push(Expectation::new(
            "One that fails beside them comes home",
            home.is_some(),
        ));
    }
    Ok(all)
}

/// How late each part of a release was. A part that has to wait for an interval counts from when that was over; no interval stands before
/// the first weight, nor before the way home, which waits for the primary's pods.
fn lateness(releases: &[Release<'_>]) -> String {
    let interval = INTERVAL.as_secs_f64();
    let spread = |parts: &dyn Fn(&Release<'_>) -> Vec<f64>| Spread::new(releases.iter().flat_map(parts));
    let first = spread(&|release| vec![seconds(release.course.out[0].answered - release.asked)]);
    let late = |moment: &dyn Fn(&Trail, &Written) -> DateTime<Utc>| {
        spread(&|release| {
            let steps = release.steps();
            let took = steps
                .windows(2)
                .map(|pair| moment(release.trail, &pair[1]) - pair[0].answered);
            took.map(|took| seconds(took) - interval).collect()
        })
    };
    let written = late(&|_, next| next.answered);
    let decided = late(&Trail::decided);
    let home = spread(&|release| {
        vec![seconds(
            release.course.home.answered - release.course.promotion.answered,
        )]
    });
    let whole = spread(&|release| vec![seconds(release.course.home.answered - release.asked)]);
    let seen = written.0.len();
    format!(
        "| from, until | p50, s | p99, s | most, s |
| --- | --: | --: | --: |
| the new version, the first weight written | {first} |
| {INTERVAL:?} after each weight, the next or the primary's template written | {written} |
| the same, until the status before it came in at the API server | {decided} |
| the primary's template, the route home | {home} |
| the new version, the route home | {whole} |

{} releases, {seen} intervals. Flagger 1.44: 755 s for a rollout of 70 s.
",
        releases.len()
    )
}

impl Release<'_> {
    /// The writes that an interval stands between: each weight, then the promotion.
    fn steps(&self) -> Vec<Written> {
        let Course { out, promotion, .. } = &self.course;
        out.iter().chain([promotion]).copied().collect()
    }
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
