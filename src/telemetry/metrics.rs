//! Serin's own Prometheus metrics: Flagger's by name, label and help text (spec/core.md 5), so that dashboards and alert rules
//! work unchanged, and `serin_canary_phase_seconds` beside them.
//!
//! What holds for one canary is kept in one table and read when it is scraped. So a deleted canary leaves nothing behind
//! (spec/core.md 7.3 W30), and seconds in a phase are those of the scrape. Flagger's labels name the target, not the Canary:
//! where two Canaries name one target, the series are those of its owner.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::board::{Board, Row};
use super::process::Process;
use crate::api::Phase;
use crate::clock::Clock;
use crate::rollout::Weight;

/// Go's default buckets, which Flagger's histogram has.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of this process. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    board: Arc<Board>,
    durations: Family<CanaryLabels, Histogram, fn() -> Histogram>,
    successes: Family<ResultLabels, Counter>,
    failures: Family<ResultLabels, Counter>,
    untold: Family<ChannelLabels, Counter>,
}

/// Where a canary stands after a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// `spec.targetRef.name`: Flagger's label `name`.
    pub target: String,
    /// Whether the target is this Canary's, and not another's.
    pub owner: bool,
    /// The public phase.
    pub phase: Phase,
    /// Since when it is in that phase, for a process that sees it for the first time; another one remembers.
    pub since: DateTime<Utc>,
    /// The canary's share of the traffic; `None` before its route was first drawn.
    pub weight: Option<Weight>,
}

/// How a run ended, in Flagger's labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Promoted after its analysis.
    Completed,
    /// Promoted without analysis.
    Skipped,
    /// Rolled back, or its promotion failed.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CanaryLabels {
    name: String,
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabels {
    name: String,
    namespace: String,
    deployment_strategy: &'static str,
    analysis_status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabels {
    channel: &'static str,
}

impl Metrics {
    /// Metrics of a process of this version whose Canaries have `mesh_provider` for default.
    pub fn new(version: &str, mesh_provider: &str, clock: Clock) -> Self {
        let board = Arc::new(Board {
            clock,
            canaries: Mutex::default(),
        });
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let (successes, failures) = (Family::default(), Family::default());
        let untold = Family::default();

        let mut registry = Registry::default();
        let info: Family<Vec<(&str, String)>, Gauge> = Family::default();
        info.get_or_create(&vec![
            ("version", version.to_owned()),
            ("mesh_provider", mesh_provider.to_owned()),
        ])
        .set(1);
        registry.register("flagger_info", "Flagger version and mesh provider information", info);
        registry.register(
            "flagger_canary_duration_seconds",
            "Seconds spent performing canary analysis",
            durations.clone(),
        );
        registry.register(
            "flagger_canary_successes",
            "Total number of canary successes",
            successes.clone(),
        );
        registry.register(
            "flagger_canary_failures",
            "Total number of canary failures",
            failures.clone(),
        );
        registry.register(
            "serin_untold",
            "Notices that a channel could not deliver",
            untold.clone(),
        );
        registry.register_collector(Box::new(board.clone()));
        registry.register_collector(Box::new(Process));
        Self {
            registry: Arc::new(registry),
            board,
            durations,
            successes,
            failures,
            untold,
        }
    }

    /// A pass over this Canary ended, and it stands like this now.
    pub fn stands(&self, namespace: &str, canary: &str, standing: Standing) {
        let mut canaries = self.board.canaries();
        let key = (namespace.to_owned(), canary.to_owned());
        match canaries.get_mut(&key) {
            Some(row) => {
                let since = if row.standing.phase == standing.phase {
                    row.standing.since
                } else {
                    self.board.clock.now()
                };
                row.standing = Standing { since, ..standing };
            }
            None => {
                canaries.insert(
                    key,
                    Row {
                        standing,
                        values: BTreeMap::new(),
                        results: Vec::new(),
                    },
                );
            }
        }
    }

    /// A metric of the Canary was read: its name in the spec, and the number (seconds for a duration).
    pub fn judged(&self, namespace: &str, canary: &str, metric: &str, value: f64) {
        if let Some(row) = self
            .board
            .canaries()
            .get_mut(&(namespace.to_owned(), canary.to_owned()))
        {
            row.values.insert(metric.to_owned(), value);
        }
    }

    /// A check of a Canary under analysis took that long: its hooks and metrics together.
    pub fn check_took(&self, namespace: &str, target: &str, span: Duration) {
        let labels = CanaryLabels {
            name: target.to_owned(),
            namespace: namespace.to_owned(),
        };
        self.durations.get_or_create(&labels).observe(span.as_secs_f64());
    }

    /// A run of the Canary ended. `strategy` is Flagger's word, such as `canary`.
    pub fn ended(&self, namespace: &str, canary: &str, strategy: &'static str, ending: Ending) {
        let mut canaries = self.board.canaries();
        let Some(row) = canaries.get_mut(&(namespace.to_owned(), canary.to_owned())) else {
            return;
        };
        let labels = ResultLabels {
            name: row.standing.target.clone(),
            namespace: namespace.to_owned(),
            deployment_strategy: strategy,
            analysis_status: if ending == Ending::Skipped {
                "skipped"
            } else {
                "completed"
            },
        };
        let counters = if ending == Ending::Failed {
            &self.failures
        } else {
            &self.successes
        };
        counters.get_or_create(&labels).inc();
        if !row.results.contains(&labels) {
            row.results.push(labels);
        }
    }

    /// A notice could not be told through this channel, such as `alert`.
    pub fn untold(&self, channel: &'static str) {
        self.untold.get_or_create(&ChannelLabels { channel }).inc();
    }

    /// The Canary is gone, and with it all its series.
    pub fn forget(&self, namespace: &str, canary: &str) {
        let Some(row) = self.board.canaries().remove(&(namespace.to_owned(), canary.to_owned())) else {
            return;
        };
        let labels = CanaryLabels {
            name: row.standing.target,
            namespace: namespace.to_owned(),
        };
        self.durations.remove(&labels);
        for labels in row.results {
            self.successes.remove(&labels);
            self.failures.remove(&labels);
        }
    }

    /// All metrics as text, in the `OpenMetrics` format.
    pub fn text(&self) -> Result<String, Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        let start = DateTime::from_timestamp(1_700_000_000, 0).expect("a fixed time must be valid");
        Metrics::new("0.1.0", "contour", Clock::virtual_at(start))
    }

    fn standing(metrics: &Metrics, phase: Phase, weight: i64) -> Standing {
        Standing {
            target: "podinfo".into(),
            owner: true,
            phase,
            since: metrics.board.clock.now(),
            weight: Some(Weight::clamped(weight)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn flaggers_series_come_out_under_flaggers_names() {
        let metrics = metrics();
        metrics.stands("test", "release", standing(&metrics, Phase::Progressing, 20));
        metrics.judged("test", "release", "request-duration", 0.25);
        metrics.check_took("test", "podinfo", Duration::from_millis(30));
        metrics.ended("test", "release", "canary", Ending::Completed);
        metrics.ended("test", "release", "canary", Ending::Failed);
        let text = metrics.text().expect("metrics must encode");
        for line in [
            "# HELP flagger_info Flagger version and mesh provider information.",
            r#"flagger_info{version="0.1.0",mesh_provider="contour"} 1"#,
            "# TYPE flagger_canary_total gauge",
            r#"flagger_canary_total{namespace="test"} 1"#,
            r#"flagger_canary_status{name="podinfo",namespace="test"} 0"#,
            r#"flagger_canary_weight{workload="podinfo-primary",namespace="test"} 80"#,
            r#"flagger_canary_weight{workload="podinfo",namespace="test"} 20"#,
            r#"flagger_canary_duration_seconds_bucket{le="0.05",name="podinfo",namespace="test"} 1"#,
            r#"flagger_canary_metric_analysis{name="podinfo",namespace="test",metric="request-duration"} 0.25"#,
            "# HELP flagger_canary_metric_analysis Last canary analysis result per metric.",
            r#"flagger_canary_successes_total{name="podinfo",namespace="test",deployment_strategy="canary",analysis_status="completed"} 1"#,
            r#"flagger_canary_failures_total{name="podinfo",namespace="test",deployment_strategy="canary",analysis_status="completed"} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in:\n{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn seconds_in_a_phase_are_those_of_the_scrape() {
        let metrics = metrics();
        metrics.stands("test", "release", standing(&metrics, Phase::Failed, 0));
        tokio::time::sleep(Duration::from_secs(90)).await;
        let text = metrics.text().expect("metrics must encode");
        let line =
            r#"serin_canary_phase_seconds{canary="release",name="podinfo",namespace="test",phase="Failed"} 90.0"#;
        assert!(text.contains(line), "{text}");
        assert!(
            text.contains(r#"flagger_canary_status{name="podinfo",namespace="test"} 2"#),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_within_a_phase_does_not_begin_its_seconds_anew() {
        let metrics = metrics();
        for weight in [10, 20, 30] {
            metrics.stands("test", "release", standing(&metrics, Phase::Progressing, weight));
            tokio::time::sleep(Duration::from_hours(1)).await;
        }
        let seconds = |metrics: &Metrics| {
            let text = metrics.text().expect("metrics must encode");
            let line = text.lines().find(|line| line.starts_with("serin_canary_phase_seconds"));
            line.and_then(|line| line.rsplit(' ').next().map(str::to_owned))
        };
        assert_eq!(seconds(&metrics).as_deref(), Some("10800.0"));
        metrics.stands("test", "release", standing(&metrics, Phase::Promoting, 0));
        assert_eq!(seconds(&metrics).as_deref(), Some("0.0"));
    }

    #[tokio::test(start_paused = true)]
    async fn two_canaries_of_one_target_are_one_series_the_owners() {
        let metrics = metrics();
        let mut guest = standing(&metrics, Phase::Initializing, 0);
        guest.owner = false;
        metrics.stands("test", "a-guest", guest);
        metrics.stands("test", "owner", standing(&metrics, Phase::Failed, 30));
        let mut odd = standing(&metrics, Phase::Succeeded, 0);
        odd.target = "podinfo-primary".into();
        metrics.stands("test", "odd", odd);
        for canary in ["a-guest", "owner"] {
            metrics.judged("test", canary, "latency", 1.0);
        }
        let text = metrics.text().expect("metrics must encode");
        let mut series: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series))
            .collect();
        let all = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), all, "{text}");
        assert!(
            text.contains(r#"flagger_canary_status{name="podinfo",namespace="test"} 2"#),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_canary_leaves_no_series_behind() {
        let metrics = metrics();
        metrics.stands("test", "release", standing(&metrics, Phase::Succeeded, 0));
        metrics.judged("test", "release", "latency", 1.0);
        metrics.check_took("test", "podinfo", Duration::from_millis(30));
        metrics.ended("test", "release", "canary", Ending::Skipped);
        metrics.forget("test", "release");
        let text = metrics.text().expect("metrics must encode");
        assert!(
            !text.contains("podinfo") && !text.contains(r#"namespace="test""#),
            "{text}"
        );
    }
}
