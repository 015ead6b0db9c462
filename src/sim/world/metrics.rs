//! The metrics server of the embedded cluster: it understands Serin's built-in queries and measures the model of the
//! clients; for any other query a test says what comes back.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::traffic::{Share, Traffic};
use crate::{
    api::duration::GoDuration,
    clock::Clock,
    metrics::{Reader, Reading, Source},
};

/// The window of a query that names none.
const WINDOW: TimeDelta = TimeDelta::minutes(1);

/// Answers to the queries that contain a text, one after the other; the last one stays.
#[derive(Debug)]
struct Scripted {
    text: String,
    readings: VecDeque<Reading>,
}

#[derive(Debug, Default)]
struct Inner {
    scripted: Vec<Scripted>,
    unreachable: Option<String>,
    asked: Vec<Asked>,
    tried: Vec<String>,
}

/// One query that came.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// When.
    pub at: DateTime<Utc>,
    /// The address that it was sent to.
    pub address: String,
    /// Its text.
    pub query: String,
    /// What it was answered.
    pub reading: Reading,
}

/// The metrics server; clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct SimReader {
    traffic: Traffic,
    clock: Clock,
    /// How much numbers waver, as a part of themselves.
    noise: f64,
    inner: Arc<Mutex<Inner>>,
}

impl SimReader {
    /// A server that measures these clients.
    pub fn new(traffic: Traffic, clock: Clock) -> Self {
        Self {
            traffic,
            clock,
            noise: 0.0,
            inner: Arc::default(),
        }
    }

    /// Lets latencies and error rates waver by up to this part of themselves, as real ones do; the same moment gives the
    /// same number.
    #[must_use]
    pub fn with_noise(mut self, part: f64) -> Self {
        self.noise = part;
        self
    }

    /// Answers queries that contain `text` with these readings in turn, and with the last one from then on. The rule
    /// that was added last is asked first.
    pub fn answer(&self, text: impl Into<String>, readings: impl IntoIterator<Item = Reading>) {
        let scripted = Scripted {
            text: text.into(),
            readings: readings.into_iter().collect(),
        };
        self.with(|inner| inner.scripted.push(scripted));
    }

    /// Cannot be reached from now on for this reason, or can be again.
    pub fn unreachable(&self, why: Option<&str>) {
        self.with(|inner| inner.unreachable = why.map(str::to_owned));
    }

    /// The queries so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.with(|inner| inner.asked.clone())
    }

    /// The addresses that were asked whether they are there, so far.
    pub fn tried(&self) -> Vec<String> {
        self.with(|inner| inner.tried.clone())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reading(&self, address: &str, query: &str) -> Reading {
        let now = self.clock.now();
        let given = self.with(|inner| {
            if let Some(why) = &inner.unreachable {
                return Some(Reading::Unreachable(why.clone()));
            }
            let scripted = inner
                .scripted
                .iter_mut()
                .rev()
                .find(|scripted| query.contains(&scripted.text))?;
            let more = scripted.readings.len() > 1;
            if more {
                scripted.readings.pop_front()
            } else {
                scripted.readings.front().cloned()
            }
        });
        let reading = given.unwrap_or_else(|| match BuiltIn::of(query) {
            Some(built_in) => self.measured(&built_in, now),
            None => Reading::NoData,
        });
        let asked = Asked {
            at: now,
            address: address.to_owned(),
            query: query.to_owned(),
            reading: reading.clone(),
        };
        self.with(|inner| inner.asked.push(asked));
        reading
    }

    fn measured(&self, query: &BuiltIn, now: DateTime<Utc>) -> Reading {
        let counts = |share: &Share| query.counts(share);
        let measured = self.traffic.measure(&query.namespace, query.window, now, counts);
        let waver = 1.0 + self.noise * Self::waver(query, now);
        let value = match query.what {
            What::SuccessRate => measured
                .success_rate()
                .map(|rate| 100.0 - ((100.0 - rate) * waver).min(100.0)),
            What::Milliseconds => measured.latency().map(|latency| latency * waver),
            What::Seconds => measured.latency().map(|latency| latency * waver / 1000.0),
        };
        value.map_or(Reading::NoData, Reading::Value)
    }

    /// From −1 to 1, the same for the same moment and query.
    fn waver(query: &BuiltIn, now: DateTime<Utc>) -> f64 {
        let mut hasher = DefaultHasher::new();
        (now.timestamp(), query.what as u8).hash(&mut hasher);
        f64::from(u16::try_from(hasher.finish() % 2001).unwrap_or(1000)) / 1000.0 - 1.0
    }
}

#[async_trait]
impl Reader for SimReader {
    async fn read(&self, source: &Source, query: &str) -> Reading {
        self.reading(source.address.reveal(), query)
    }

    async fn online(&self, source: &Source) -> Result<(), String> {
        self.with(|inner| {
            inner.tried.push(source.address.reveal().to_owned());
            inner.unreachable.clone().map_or(Ok(()), Err)
        })
    }
}

/// What a built-in query asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    SuccessRate,
    Milliseconds,
    Seconds,
}

/// Whose requests it asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Of {
    /// Those sent through this Service: what the proxy counts.
    Service(String),
    /// Those answered by pods of this Deployment: what the application counts, or the proxy beside it.
    Workload(String),
}

/// A built-in query, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BuiltIn {
    what: What,
    namespace: String,
    of: Of,
    window: TimeDelta,
}

impl BuiltIn {
    fn of(query: &str) -> Option<Self> {
        let duration = query.contains("histogram_quantile");
        let window = window(query).unwrap_or(WINDOW);
        let plain = query.replace('\\', "");
        if let Some(cluster) = between(&plain, "envoy_cluster_name=~\"", "_[0-9a-zA-Z-]+\"") {
            let (namespace, service) = cluster.split_once('_')?;
            let what = if duration {
                What::Milliseconds
            } else {
                What::SuccessRate
            };
            return Some(Self {
                what,
                namespace: namespace.into(),
                of: Of::Service(service.into()),
                window,
            });
        }
        if let Some(workload) = between(&plain, "destination_workload=~\"", "\"") {
            let what = if duration {
                What::Milliseconds
            } else {
                What::SuccessRate
            };
            return Some(Self {
                what,
                namespace: between(&plain, "destination_workload_namespace=\"", "\"")?.into(),
                of: Of::Workload(workload.into()),
                window,
            });
        }
        let namespace = between(&plain, "kubernetes_namespace=\"", "\"")?;
        let workload = between(&plain, "kubernetes_pod_name=~\"", "-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\"")?;
        let what = if duration { What::Seconds } else { What::SuccessRate };
        Some(Self {
            what,
            namespace: namespace.into(),
            of: Of::Workload(workload.into()),
            window,
        })
    }

    fn counts(&self, share: &Share) -> bool {
        match &self.of {
            Of::Service(service) => share.service == *service,
            Of::Workload(workload) => {
                let rest = share
                    .pod
                    .pod
                    .strip_prefix(workload.as_str())
                    .and_then(|rest| rest.strip_prefix('-'));
                rest.is_some_and(|rest| rest.split('-').count() == 2)
            }
        }
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(&rest[..rest.find(after)?])
}

/// The range of the first selector that has one.
fn window(query: &str) -> Option<TimeDelta> {
    let ranges = query.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    let mut spans = ranges.filter_map(|range| range.parse::<GoDuration>().ok()?.to_std());
    TimeDelta::from_std(spans.next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_queries_are_understood() {
        let contour = r#" sum( rate( envoy_cluster_upstream_rq{ envoy_cluster_name=~"test_pod\\.info-canary_[0-9a-zA-Z-]+", envoy_response_code!~"5.*" }[30s] ) )"#;
        let http = r#" histogram_quantile( 0.99, sum( rate( http_request_duration_seconds_bucket{ kubernetes_namespace="test", kubernetes_pod_name=~"podinfo-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)" }[1m] ) ) by (le) )"#;
        let istio = r#" sum( rate( istio_requests_total{ reporter="destination", destination_workload_namespace="test", destination_workload=~"podinfo" }[1m] ) )"#;
        let understood = [contour, http, istio].map(BuiltIn::of);
        let expected = [
            BuiltIn {
                what: What::SuccessRate,
                namespace: "test".into(),
                of: Of::Service("pod.info-canary".into()),
                window: TimeDelta::seconds(30),
            },
            BuiltIn {
                what: What::Seconds,
                namespace: "test".into(),
                of: Of::Workload("podinfo".into()),
                window: TimeDelta::minutes(1),
            },
            BuiltIn {
                what: What::SuccessRate,
                namespace: "test".into(),
                of: Of::Workload("podinfo".into()),
                window: TimeDelta::minutes(1),
            },
        ];
        assert_eq!(understood, expected.map(Some));
        assert_eq!(BuiltIn::of("up"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn scripted_answers_come_in_turn_and_the_last_one_stays() {
        let clock = Clock::virtual_at(DateTime::UNIX_EPOCH);
        let reader = SimReader::new(Traffic::new(100.0), clock);
        reader.answer(
            "queue_depth",
            [Reading::Value(3.0), Reading::NoData, Reading::Several(2)],
        );
        let readings: Vec<_> = (0..4).map(|_| reader.reading("", "max(queue_depth)")).collect();
        assert_eq!(
            readings,
            [
                Reading::Value(3.0),
                Reading::NoData,
                Reading::Several(2),
                Reading::Several(2)
            ]
        );
        reader.unreachable(Some("connection refused"));
        assert_eq!(
            reader.reading("", "max(queue_depth)"),
            Reading::Unreachable("connection refused".into())
        );
    }
}
