//! Requests at a steady rate, and every single answer counted.
//!
//! Vegeta sends them: at a constant rate that slow answers do not slow down, with a record of each request. What it recorded is
//! read when it has stopped. Only an answer with the application's own header came from the application.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::harness::Outcome;
use crate::harness::app::{POD_HEADER, VERSION_HEADER};
use crate::harness::cluster::Cluster;
use crate::harness::process::{Process, Signal, output_of};
use crate::harness::verdict::Expectation;

/// Nobody waits longer than this for a shop.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came back for one request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The application answered.
    Given {
        /// The version of the pod.
        version: String,
        /// Whether the pod belongs to the primary.
        by_primary: bool,
        /// Whether the answer was a good one.
        good: bool,
    },
    /// Nobody of the application answered: the gateway refused, or the connection broke.
    Lost {
        /// In words.
        why: String,
    },
}

/// An answer and the moment it was asked for.
#[derive(Clone, Debug)]
pub struct Counted {
    /// When the request was sent.
    pub at: DateTime<Utc>,
    /// What came of it.
    pub answer: Answer,
}

/// Answers of some span of time, added up.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers of the application.
    pub answered: usize,
    /// Those of them that were errors.
    pub errors: usize,
    /// Those of them that pods outside of the primary gave.
    pub by_canary: usize,
    /// Requests that the application never answered.
    pub lost: usize,
    by_version: BTreeMap<String, usize>,
}

impl Tally {
    /// Answers of a version, good or not.
    pub fn of_version(&self, version: &str) -> usize {
        *self.by_version.get(version).unwrap_or(&0)
    }

    /// How much of a hundred answers pods outside of the primary gave.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a run has far fewer answers than a float has digits"
    )]
    pub fn canary_percent(&self) -> f64 {
        100.0 * self.by_canary as f64 / self.answered.max(1) as f64
    }

    fn add(&mut self, answer: &Answer) {
        match answer {
            Answer::Given {
                version,
                by_primary,
                good,
            } => {
                self.answered += 1;
                self.errors += usize::from(!good);
                self.by_canary += usize::from(!by_primary);
                *self.by_version.entry(version.clone()).or_default() += 1;
            }
            Answer::Lost { .. } => self.lost += 1,
        }
    }
}

/// Everything that came back, in the order in which it was asked for.
#[derive(Clone, Debug, Default)]
pub struct Answers(Vec<Counted>);

impl Answers {
    /// The answers to requests sent in `from..to`, added up.
    pub fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Tally {
        let mut tally = Tally::default();
        self.0
            .iter()
            .filter(|counted| (from..to).contains(&counted.at))
            .for_each(|counted| tally.add(&counted.answer));
        tally
    }

    /// All of them, added up.
    pub fn all(&self) -> Tally {
        self.between(DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC)
    }

    /// That the application answered every request; the first losses are told.
    pub fn nothing_lost(&self, who: &str) -> Expectation {
        for (at, why) in self.losses().into_iter().take(10) {
            println!("{who}: lost at {} {why}", at.format("%H:%M:%S%.3f"));
        }
        let all = self.all();
        let text = format!("No request is lost ({} of {})", all.lost, all.lost + all.answered);
        Expectation::new(text, all.lost == 0 && all.answered > 0).about(who)
    }

    /// The moments at which requests were lost, and why.
    pub fn losses(&self) -> Vec<(DateTime<Utc>, &str)> {
        let lost = self.0.iter().filter_map(|counted| match &counted.answer {
            Answer::Lost { why } => Some((counted.at, why.as_str())),
            Answer::Given { .. } => None,
        });
        lost.collect()
    }
}

/// Sends until dropped or stopped.
pub struct Load {
    vegeta: Process,
    program: PathBuf,
    state: PathBuf,
    recorded: String,
}

impl Load {
    /// Starts to send `rate` requests a second for `host` to the gateway. `name` names the files of the load.
    pub fn start(cluster: &Cluster, name: &str, host: &str, rate: u32) -> Outcome<Self> {
        Self::start_with(cluster, name, host, rate, &[])
    }

    /// The same, with headers on every request.
    pub fn start_with(cluster: &Cluster, name: &str, host: &str, rate: u32, headers: &[(&str, &str)]) -> Outcome<Self> {
        let program = cluster.programs.place("vegeta")?.to_owned();
        let name = format!("load-{name}");
        let mut targets = String::new();
        write!(targets, "GET http://{}/\nHost: {host}\n", cluster.gateway)?;
        for (header, value) in headers {
            writeln!(targets, "{header}: {value}")?;
        }
        std::fs::write(cluster.state.join(format!("{name}.targets")), targets)?;
        let recorded = format!("{name}.recorded");
        let mut vegeta = Command::new(&program);
        vegeta
            .args(["attack", "-targets", &format!("{name}.targets"), "-output", &recorded])
            .args(["-rate", &format!("{rate}/1s"), "-duration", "0"])
            .args(["-timeout", &format!("{}s", PATIENCE.as_secs())])
            .args(["-max-body", "0", "-redirects", "-1"]);
        Ok(Self {
            vegeta: Process::start(&name, &cluster.state, vegeta)?,
            program,
            state: cluster.state.clone(),
            recorded,
        })
    }

    /// Sends nothing more, waits for the answers that are under way, and reads them all.
    pub async fn stop(mut self) -> Outcome<Answers> {
        self.vegeta.must_run()?;
        if self.vegeta.stop_by(Signal::Interrupt, PATIENCE * 2).await?.is_none() {
            return Err("the load generator did not end".into());
        }
        let text = output_of(
            Command::new(&self.program)
                .args(["encode", "-to", "json", &self.recorded])
                .current_dir(&self.state),
        )?;
        let mut hits: Vec<Hit> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        hits.sort_by_key(|hit| hit.seq);
        // The generator numbers what it sends, so one without a record would leave a gap.
        if let Some(gap) = hits.iter().zip(0..).find(|(hit, number)| hit.seq != *number) {
            return Err(format!("the load generator has no record of request {}", gap.1).into());
        }
        Ok(Answers(hits.into_iter().map(Counted::from).collect()))
    }
}

/// What Vegeta knows of a request. Source: Vegeta's README, "encode".
#[derive(Deserialize)]
struct Hit {
    seq: u64,
    timestamp: DateTime<Utc>,
    code: u16,
    error: String,
    #[serde(default)]
    headers: Option<BTreeMap<String, Vec<String>>>,
}

impl Hit {
    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.headers.as_ref()?;
        let header = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        header?.1.first().map(String::as_str)
    }
}

impl From<Hit> for Counted {
    fn from(hit: Hit) -> Self {
        let answer = match hit.header(VERSION_HEADER) {
            // A body that broke off leaves an error beside a good code.
            Some(version) if hit.code != 200 || hit.error.is_empty() => Answer::Given {
                version: version.to_owned(),
                by_primary: hit.header(POD_HEADER).is_some_and(|pod| pod.contains("-primary-")),
                good: hit.code == 200,
            },
            _ if hit.code == 0 => Answer::Lost { why: hit.error },
            _ => Answer::Lost {
                why: format!("the gateway answered {} {}", hit.code, hit.error),
            },
        };
        Self {
            at: hit.timestamp,
            answer,
        }
    }
}
