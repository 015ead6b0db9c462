//! Requests at a steady rate, and every single answer counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::Outcome;
use crate::app::{POD_HEADER, VERSION_HEADER};

/// Nobody waits longer than this for a shop.
const PATIENCE: Duration = Duration::from_secs(5);

/// Requests under way at once; past it the generator waits rather than fall over itself.
const AT_ONCE: usize = 64;

/// A run that hangs must not send for ever.
const MOST_REQUESTS: u32 = 200_000;

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
    pub answered: u32,
    /// Those of them that were errors.
    pub errors: u32,
    /// Those of them that pods outside of the primary gave.
    pub by_canary: u32,
    /// Requests that the application never answered.
    pub lost: u32,
    by_version: BTreeMap<String, u32>,
}

impl Tally {
    /// Answers of a version, good or not.
    pub fn of_version(&self, version: &str) -> u32 {
        *self.by_version.get(version).unwrap_or(&0)
    }

    /// How much of a hundred answers pods outside of the primary gave.
    pub fn canary_percent(&self) -> f64 {
        100.0 * f64::from(self.by_canary) / f64::from(self.answered.max(1))
    }

    fn add(&mut self, answer: &Answer) {
        match answer {
            Answer::Given {
                version,
                by_primary,
                good,
            } => {
                self.answered += 1;
                self.errors += u32::from(!good);
                self.by_canary += u32::from(!by_primary);
                *self.by_version.entry(version.clone()).or_default() += 1;
            }
            Answer::Lost { .. } => self.lost += 1,
        }
    }
}

/// Everything that came back so far, shared by the requests under way.
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<Vec<Counted>>>);

impl Answers {
    fn push(&self, counted: Counted) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(counted);
    }

    /// The answers to requests sent in `from..to`, added up.
    pub fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Tally {
        let mut tally = Tally::default();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter(|counted| (from..to).contains(&counted.at))
            .for_each(|counted| tally.add(&counted.answer));
        tally
    }

    /// The moments at which requests were lost, and why.
    pub fn losses(&self) -> Vec<(DateTime<Utc>, String)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter_map(|counted| match &counted.answer {
                Answer::Lost { why } => Some((counted.at, why.clone())),
                Answer::Given { .. } => None,
            })
            .collect()
    }
}

/// Sends until dropped or stopped.
pub struct Load {
    /// What came back so far.
    pub answers: Answers,
    task: JoinHandle<()>,
    under_way: Arc<Semaphore>,
}

impl Load {
    /// Starts to send `rate` requests a second for `host` to the gateway.
    pub fn start(gateway: SocketAddr, host: &'static str, rate: u32) -> Outcome<Self> {
        let answers = Answers::default();
        let under_way = Arc::new(Semaphore::new(AT_ONCE));
        let web = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let task = tokio::spawn(send(
            web,
            format!("http://{gateway}/"),
            host,
            rate,
            answers.clone(),
            Arc::clone(&under_way),
        ));
        Ok(Self {
            answers,
            task,
            under_way,
        })
    }

    /// Sends nothing more and waits for the answers that are under way.
    pub async fn stop(self) -> Outcome<Answers> {
        self.task.abort();
        let all = u32::try_from(AT_ONCE)?;
        drop(self.under_way.acquire_many(all).await?);
        Ok(self.answers.clone())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send(
    web: reqwest::Client,
    url: String,
    host: &'static str,
    rate: u32,
    answers: Answers,
    under_way: Arc<Semaphore>,
) {
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..MOST_REQUESTS {
        ticks.tick().await;
        let Ok(permit) = Arc::clone(&under_way).acquire_owned().await else {
            return;
        };
        let request = web.get(&url).header("host", host);
        let answers = answers.clone();
        tokio::spawn(async move {
            let at = Utc::now();
            let answer = request_once(request).await.unwrap_or_else(|error| lost(&error));
            answers.push(Counted { at, answer });
            drop(permit);
        });
    }
}

/// One request; an answer counts only when its last byte has come.
async fn request_once(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let status = response.status();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let version = header(VERSION_HEADER);
    let by_primary = header(POD_HEADER).is_some_and(|pod| pod.contains("-primary-"));
    response.bytes().await?;
    Ok(match version {
        Some(version) => Answer::Given {
            version,
            by_primary,
            good: status.is_success(),
        },
        None => Answer::Lost {
            why: format!("the gateway answered {status}"),
        },
    })
}

fn lost(error: &reqwest::Error) -> Answer {
    let why = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "the gateway took no connection"
    } else {
        "the connection broke"
    };
    Answer::Lost { why: why.to_owned() }
}
