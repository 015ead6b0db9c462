//! A reading against its limits: the verdict, the text of the Event and what stands in the status. Pure.
//!
//! Comparisons are Flagger's (`spec/analysis.md` 1.7): strict, so that a value on a bound passes; durations and their
//! bounds cut to whole milliseconds. Different from Flagger:
//! - an infinite number fails (there, an infinite duration counts as 0 and passes every `max`), and so do several series;
//! - a server that cannot be asked is `onError`'s matter, by default no failed check; an answer without a number, NaN
//!   included, is `onNoData`'s. A query that the server refuses is the spec's fault and fails always.

use super::Reading;
use super::limits::{self, Breach, Limits};
use super::plan::{Kind, Origin, PlanError, Query, Unit};
use crate::api::{Canary, Metric, OnMissing};
use crate::rollout::{Judged, SampleRecord, TEXT_LIMIT, Verdict};

/// What Flagger calls an answer without a number.
const NO_VALUES: &str = "no values found";

/// Judges one reading of one query of a metric.
pub fn judge(canary: &Canary, metric: &Metric, query: &Query, reading: &Reading) -> Judged {
    match reading {
        Reading::Value(value) => within(canary, metric, query, *value),
        Reading::NoData => missing(metric, query, "no data", &no_data(canary, metric, query, NO_VALUES)),
        Reading::NotFinite(value) if value.is_nan() => {
            let text = no_data(canary, metric, query, &format!("{NO_VALUES}: the answer is NaN"));
            missing(metric, query, "NaN", &text)
        }
        Reading::NotFinite(value) => {
            let shown = if *value > 0.0 { "+Inf" } else { "-Inf" };
            let text = error(metric, query, &format!("the answer is {shown}, not a finite number"));
            unread(metric, query, Verdict::Fail, shown, &text)
        }
        Reading::Several(count) => {
            let text = error(
                metric,
                query,
                &format!("query returned multiple values: {count} series"),
            );
            unread(metric, query, Verdict::Fail, &format!("{count} series"), &text)
        }
        Reading::Failed(cause) => unread(metric, query, Verdict::Fail, cause, &error(metric, query, cause)),
        Reading::Unreachable(cause) => unread(metric, query, unreachable(metric), cause, &error(metric, query, cause)),
    }
}

/// The judgement of an entry that could not even be planned. It fails: the fault is in the spec. Only where nothing is
/// known about its template, because the API server did not answer, is it `onError`'s matter.
pub fn unplanned(metric: &Metric, error: &PlanError) -> Judged {
    let verdict = match error {
        PlanError::Unknown { .. } => unreachable(metric),
        _ => Verdict::Fail,
    };
    let passed = verdict == Verdict::Pass;
    let text = error.to_string();
    Judged {
        verdict,
        record: SampleRecord {
            metric: metric.name.clone(),
            value: cut(&text),
            limit: Limits::of(metric, Kind::Custom).shown(Kind::Custom),
            passed,
        },
        text: if passed { String::new() } else { text },
        value: None,
    }
}

/// The judgement of an entry by those of its queries: the worst verdict, and the first one that has it. `None` of none.
pub fn worst(judged: Vec<Judged>) -> Option<Judged> {
    let rank = |judged: &Judged| match judged.verdict {
        Verdict::Fail => 0,
        Verdict::Unreachable => 1,
        Verdict::Hold => 2,
        Verdict::Pass => 3,
    };
    judged.into_iter().min_by_key(rank)
}

/// A finite number against the limits.
fn within(canary: &Canary, metric: &Metric, query: &Query, raw: f64) -> Judged {
    let kind = query.kind;
    let limits = Limits::of(metric, kind);
    let (value, limits) = match kind {
        Kind::Duration(Unit::Seconds) => ((raw * 1000.0).trunc(), limits.truncated()),
        Kind::Duration(Unit::Milliseconds) => (raw.trunc(), limits.truncated()),
        Kind::SuccessRate | Kind::Custom => (raw, limits),
    };
    let breach = limits.breach(value);
    let text = breach.map_or_else(String::new, |breach| {
        let what = match kind {
            Kind::SuccessRate => "success rate",
            Kind::Duration(_) => "request duration",
            Kind::Custom => &metric.name,
        };
        let (sign, bound) = match breach {
            Breach::Below(min) => ('<', limits::bound(kind, min)),
            Breach::Above(max) => ('>', limits::bound(kind, max)),
        };
        let (name, namespace) = name_of(canary);
        let shown = limits::reading(kind, value);
        format!("Halt {name}.{namespace} advancement {what} {shown} {sign} {bound}")
    });
    Judged {
        verdict: if breach.is_none() { Verdict::Pass } else { Verdict::Fail },
        text,
        record: record(metric, query, &limits::reading(kind, value), breach.is_none()),
        // Flagger's gauge has durations in seconds.
        value: Some(if matches!(kind, Kind::Duration(_)) {
            value / 1000.0
        } else {
            value
        }),
    }
}

/// An answer without a number, by `onNoData`.
fn missing(metric: &Metric, query: &Query, shown: &str, text: &str) -> Judged {
    let verdict = match metric.on_no_data() {
        OnMissing::Fail => Verdict::Fail,
        OnMissing::Pass => Verdict::Pass,
        OnMissing::Hold | OnMissing::Inconclusive => Verdict::Hold,
    };
    unread(metric, query, verdict, shown, text)
}

/// What a server that cannot be asked means, by `onError`.
pub fn unreachable(metric: &Metric) -> Verdict {
    match metric.on_error() {
        OnMissing::Fail => Verdict::Fail,
        OnMissing::Pass => Verdict::Pass,
        OnMissing::Hold | OnMissing::Inconclusive => Verdict::Unreachable,
    }
}

/// A judgement without a number. One that passes has no Event.
fn unread(metric: &Metric, query: &Query, verdict: Verdict, shown: &str, text: &str) -> Judged {
    let passed = verdict == Verdict::Pass;
    Judged {
        verdict,
        text: if passed { String::new() } else { text.to_owned() },
        record: record(metric, query, shown, passed),
        value: None,
    }
}

/// The text for an answer without a number.
fn no_data(canary: &Canary, metric: &Metric, query: &Query, cause: &str) -> String {
    let (name, provider) = (&metric.name, &query.provider);
    match query.origin {
        Origin::Inline => format!("Halt advancement no values found for metric: {name}"),
        Origin::Template => format!("Halt advancement no values found for custom metric: {name}: {cause}"),
        Origin::BuiltIn => {
            let subject = format!("{}.{}", canary.spec.target_ref.name, name_of(canary).1);
            let text = format!(
                "Halt advancement no values found for {provider} metric {name} probably {subject} is not receiving traffic"
            );
            match query.kind {
                Kind::SuccessRate => format!("{text}: running query failed: {cause}"),
                Kind::Duration(_) | Kind::Custom => text,
            }
        }
    }
}

/// The text for an answer that cannot be used, and for none at all.
fn error(metric: &Metric, query: &Query, cause: &str) -> String {
    let name = &metric.name;
    match query.origin {
        Origin::BuiltIn => format!("Prometheus query failed: running query failed: {cause}"),
        Origin::Inline => format!("Prometheus query failed for {name}: {cause}"),
        Origin::Template => format!("Metric query failed for {name}: {cause}"),
    }
}

fn record(metric: &Metric, query: &Query, value: &str, passed: bool) -> SampleRecord {
    SampleRecord {
        metric: metric.name.clone(),
        value: cut(value),
        limit: Limits::of(metric, query.kind).shown(query.kind),
        passed,
    }
}

/// As much of a text as the status has room for.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_LIMIT)].to_owned()
}

fn name_of(canary: &Canary) -> (&str, &str) {
    let metadata = &canary.metadata;
    (
        metadata.name.as_deref().unwrap_or_default(),
        metadata.namespace.as_deref().unwrap_or_default(),
    )
}
