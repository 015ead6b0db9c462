//! The table of what holds for each canary, and the series that are made of it when it is scraped.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::metrics::{ResultLabels, Standing};
use crate::api::Phase;
use crate::clock::Clock;

/// All canaries that this process has passed over.
#[derive(Debug)]
pub(super) struct Board {
    pub clock: Clock,
    /// By namespace, then name of the Canary.
    pub canaries: Mutex<BTreeMap<(String, String), Row>>,
}

/// One canary.
#[derive(Debug)]
pub(super) struct Row {
    pub standing: Standing,
    /// Last values by name of the metric.
    pub values: BTreeMap<String, f64>,
    /// Label sets that were counted with, to be dropped with the canary.
    pub results: Vec<ResultLabels>,
}

impl Board {
    pub(super) fn canaries(&self) -> MutexGuard<'_, BTreeMap<(String, String), Row>> {
        self.canaries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Flagger's number for a phase.
const fn status_number(phase: Phase) -> i64 {
    match phase {
        Phase::Progressing => 0,
        Phase::Failed => 2,
        _ => 1,
    }
}

impl Collector for Board {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let canaries = self.canaries();
        let now = self.clock.now();

        let mut totals: BTreeMap<&str, i64> = BTreeMap::new();
        for (namespace, _) in canaries.keys() {
            *totals.entry(namespace).or_default() += 1;
        }
        let mut total = gauge(&mut encoder, "flagger_canary_total", "Total number of canary object")?;
        for (namespace, count) in totals {
            ConstGauge::new(count).encode(total.encode_family(&[("namespace", namespace)])?)?;
        }

        let shown = shown(&canaries);
        let mut status = gauge(&mut encoder, "flagger_canary_status", "Last canary analysis result")?;
        for ((namespace, target), row) in &shown {
            let labels = [("name", *target), ("namespace", *namespace)];
            ConstGauge::new(status_number(row.standing.phase)).encode(status.encode_family(&labels)?)?;
        }

        let help = "The virtual service destination weight current value";
        let mut weights = gauge(&mut encoder, "flagger_canary_weight", help)?;
        // A target may have the name of another one's primary.
        let mut shares: BTreeMap<(&str, String), u8> = BTreeMap::new();
        for ((namespace, target), row) in &shown {
            let Some(weight) = row.standing.weight else { continue };
            shares.insert((*namespace, format!("{target}-primary")), weight.primary());
            shares.insert((*namespace, (*target).to_owned()), weight.percent());
        }
        for ((namespace, workload), share) in shares {
            let labels = [("workload", workload.as_str()), ("namespace", namespace)];
            ConstGauge::new(i64::from(share)).encode(weights.encode_family(&labels)?)?;
        }

        let help = "Last canary analysis result per metric";
        let mut values = gauge(&mut encoder, "flagger_canary_metric_analysis", help)?;
        for ((namespace, target), row) in &shown {
            for (metric, value) in &row.values {
                let labels = [
                    ("name", *target),
                    ("namespace", *namespace),
                    ("metric", metric.as_str()),
                ];
                ConstGauge::new(*value).encode(values.encode_family(&labels)?)?;
            }
        }

        let help = "Seconds since the canary entered its phase";
        let mut seconds = gauge(&mut encoder, "serin_canary_phase_seconds", help)?;
        for ((namespace, name), row) in canaries.iter() {
            let Standing {
                target, phase, since, ..
            } = &row.standing;
            let phase = phase.as_str();
            let labels = [
                ("canary", name.as_str()),
                ("name", target),
                ("namespace", namespace),
                ("phase", phase),
            ];
            let passed = (now - *since).to_std().unwrap_or_default();
            ConstGauge::new(passed.as_secs_f64()).encode(seconds.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The row that is shown for each target: its owner's, else that of the first Canary that names it.
fn shown(canaries: &BTreeMap<(String, String), Row>) -> BTreeMap<(&str, &str), &Row> {
    let mut shown: BTreeMap<(&str, &str), &Row> = BTreeMap::new();
    for ((namespace, _), row) in canaries {
        let place = (namespace.as_str(), row.standing.target.as_str());
        if shown
            .get(&place)
            .is_none_or(|other| row.standing.owner && !other.standing.owner)
        {
            shown.insert(place, row);
        }
    }
    shown
}

fn gauge<'e>(encoder: &'e mut DescriptorEncoder<'_>, name: &'e str, help: &str) -> Result<MetricEncoder<'e>, Error> {
    // The registry ends help texts with a full stop; descriptors of a collector do not get one.
    encoder.encode_descriptor(name, &format!("{help}."), None, MetricType::Gauge)
}
