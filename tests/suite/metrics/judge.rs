//! The judge: numbers against limits, and the ways of having no number.

use serin::api::{Canary, Metric, OnMissing, Range};
use serin::metrics::{Kind, Origin, PlanError, Query, Reading, Unit, judge, unplanned, worst};
use serin::rollout::{Judged, TEXT_LIMIT, Verdict};

const SUCCESS: (Kind, Origin) = (Kind::SuccessRate, Origin::BuiltIn);
const SECONDS: (Kind, Origin) = (Kind::Duration(Unit::Seconds), Origin::BuiltIn);
const MILLIS: (Kind, Origin) = (Kind::Duration(Unit::Milliseconds), Origin::BuiltIn);
const INLINE: (Kind, Origin) = (Kind::Custom, Origin::Inline);
const TEMPLATE: (Kind, Origin) = (Kind::Custom, Origin::Template);

fn canary() -> Canary {
    let mut canary = Canary::default();
    canary.metadata.name = Some("podinfo".to_owned());
    canary.metadata.namespace = Some("default".to_owned());
    "podinfo-app".clone_into(&mut canary.spec.target_ref.name);
    canary
}

fn range(min: Option<f64>, max: Option<f64>) -> Metric {
    Metric {
        name: "own".to_owned(),
        threshold_range: Some(Range { min, max }),
        ..Metric::default()
    }
}

fn threshold(threshold: Option<f64>) -> Metric {
    Metric {
        name: "own".to_owned(),
        threshold,
        ..Metric::default()
    }
}

fn judged(metric: &Metric, (kind, origin): (Kind, Origin), reading: &Reading) -> Judged {
    let query = Query {
        kind,
        origin,
        text: String::new(),
        provider: "contour".to_owned(),
    };
    judge(&canary(), metric, &query, reading)
}

#[test]
fn numbers_are_held_against_their_limits() {
    let (none, least, most) = (range(None, None), range(Some(99.5), None), range(None, Some(500.0)));
    let both = range(Some(1.0), Some(2_000_000.0));
    let cases = [
        // Success rate: full precision, equality passes, without any limit everything does.
        (
            &least,
            SUCCESS,
            98.694,
            "Halt podinfo.default advancement success rate 98.69% < 99.5%",
        ),
        (&least, SUCCESS, 99.5, ""),
        (
            &range(None, Some(50.0)),
            SUCCESS,
            51.0,
            "Halt podinfo.default advancement success rate 51.00% > 50%",
        ),
        (&none, SUCCESS, 0.0, ""),
        (&threshold(None), SUCCESS, 0.0, ""),
        (
            &threshold(Some(99.0)),
            SUCCESS,
            98.999,
            "Halt podinfo.default advancement success rate 99.00% < 99%",
        ),
        // Durations: whole milliseconds.
        (&most, MILLIS, 500.9, ""),
        (
            &most,
            MILLIS,
            501.0,
            "Halt podinfo.default advancement request duration 501ms > 500ms",
        ),
        (&most, SECONDS, 0.5009, ""),
        (
            &most,
            SECONDS,
            1.515,
            "Halt podinfo.default advancement request duration 1.515s > 500ms",
        ),
        (
            &range(None, Some(500.9)),
            MILLIS,
            501.0,
            "Halt podinfo.default advancement request duration 501ms > 500ms",
        ),
        (
            &range(Some(10.0), None),
            MILLIS,
            9.9,
            "Halt podinfo.default advancement request duration 9ms < 10ms",
        ),
        (
            &threshold(Some(60_000.0)),
            SECONDS,
            61.0,
            "Halt podinfo.default advancement request duration 1m1s > 1m0s",
        ),
        (&threshold(None), MILLIS, 0.9, ""),
        (
            &threshold(None),
            MILLIS,
            1.0,
            "Halt podinfo.default advancement request duration 1ms > 0s",
        ),
        // The user's own numbers.
        (&both, INLINE, 0.5, "Halt podinfo.default advancement own 0.50 < 1"),
        (
            &both,
            TEMPLATE,
            2_000_001.0,
            "Halt podinfo.default advancement own 2000001.00 > 2e+06",
        ),
        (&both, TEMPLATE, 2_000_000.0, ""),
        (
            &threshold(None),
            TEMPLATE,
            0.001,
            "Halt podinfo.default advancement own 0.00 > 0",
        ),
        (&threshold(Some(5.0)), INLINE, -7.0, ""),
    ];
    for (metric, query, value, expected) in cases {
        let judged = judged(metric, query, &Reading::Value(value));
        assert_eq!(judged.text, expected, "{query:?} {value}");
        let passed = expected.is_empty();
        assert_eq!(judged.verdict == Verdict::Pass, passed, "{query:?} {value}");
        assert_eq!(judged.record.passed, passed, "{query:?} {value}");
    }
}

#[test]
fn what_is_no_number_is_told_apart() {
    let (nan, infinite) = (Reading::NotFinite(f64::NAN), Reading::NotFinite(f64::INFINITY));
    let refused = Reading::Failed("bad_data: parse error".to_owned());
    let gone = Reading::Unreachable("cannot connect".to_owned());
    let cases = [
        (
            SUCCESS,
            &Reading::NoData,
            Verdict::Fail,
            "Halt advancement no values found for contour metric own probably podinfo-app.default is not receiving traffic: running query failed: no values found",
        ),
        (
            SUCCESS,
            &nan,
            Verdict::Fail,
            "Halt advancement no values found for contour metric own probably podinfo-app.default is not receiving traffic: running query failed: no values found: the answer is NaN",
        ),
        (
            MILLIS,
            &Reading::NoData,
            Verdict::Fail,
            "Halt advancement no values found for contour metric own probably podinfo-app.default is not receiving traffic",
        ),
        (
            INLINE,
            &Reading::NoData,
            Verdict::Fail,
            "Halt advancement no values found for metric: own",
        ),
        (
            TEMPLATE,
            &Reading::NoData,
            Verdict::Fail,
            "Halt advancement no values found for custom metric: own: no values found",
        ),
        (
            MILLIS,
            &infinite,
            Verdict::Fail,
            "Prometheus query failed: running query failed: the answer is +Inf, not a finite number",
        ),
        (
            INLINE,
            &Reading::Several(3),
            Verdict::Fail,
            "Prometheus query failed for own: query returned multiple values: 3 series",
        ),
        (
            TEMPLATE,
            &refused,
            Verdict::Fail,
            "Metric query failed for own: bad_data: parse error",
        ),
        (
            TEMPLATE,
            &gone,
            Verdict::Unreachable,
            "Metric query failed for own: cannot connect",
        ),
        (
            SUCCESS,
            &gone,
            Verdict::Unreachable,
            "Prometheus query failed: running query failed: cannot connect",
        ),
    ];
    for (query, reading, verdict, text) in cases {
        let judged = judged(&range(None, None), query, reading);
        assert_eq!(
            (judged.verdict, judged.text.as_str()),
            (verdict, text),
            "{query:?} {reading:?}"
        );
        assert_eq!(
            (judged.record.passed, judged.value),
            (false, None),
            "{query:?} {reading:?}"
        );
    }
}

#[test]
fn a_missing_number_and_a_missing_server_are_the_users_to_excuse_each_apart() {
    let gone = Reading::Unreachable("cannot connect".to_owned());
    let cases = [
        (OnMissing::Fail, Verdict::Fail, Verdict::Fail),
        (OnMissing::Hold, Verdict::Hold, Verdict::Unreachable),
        (OnMissing::Pass, Verdict::Pass, Verdict::Pass),
    ];
    for (asked, no_data, error) in cases {
        let missing = Metric {
            on_no_data: Some(asked),
            ..range(Some(1.0), None)
        };
        let unreachable = Metric {
            on_error: Some(asked),
            ..range(Some(1.0), None)
        };
        assert_eq!(judged(&missing, INLINE, &Reading::NoData).verdict, no_data);
        assert_eq!(judged(&missing, INLINE, &Reading::NotFinite(f64::NAN)).verdict, no_data);
        assert_eq!(judged(&missing, INLINE, &gone).verdict, Verdict::Unreachable);
        assert_eq!(judged(&unreachable, INLINE, &gone).verdict, error);
        assert_eq!(judged(&unreachable, INLINE, &Reading::NoData).verdict, Verdict::Fail);
        assert_eq!(
            judged(&unreachable, INLINE, &Reading::Failed(String::new())).verdict,
            Verdict::Fail
        );
        assert!(judged(&missing, INLINE, &Reading::NoData).text.is_empty() == (no_data == Verdict::Pass));
    }
}

#[test]
fn the_record_shows_number_and_limit_and_the_gauge_counts_in_seconds() {
    let cases = [
        (range(Some(99.0), None), SUCCESS, 98.694, "98.69%", ">= 99%", 98.694),
        (range(None, Some(500.0)), SECONDS, 0.501_9, "501ms", "<= 500ms", 0.501),
        (range(Some(1.0), Some(2.5)), TEMPLATE, 2.0, "2.00", ">= 1, <= 2.5", 2.0),
        (range(None, None), INLINE, 2.0, "2.00", "none", 2.0),
    ];
    for (metric, query, value, shown, limit, gauge) in cases {
        let judged = judged(&metric, query, &Reading::Value(value));
        assert_eq!(
            (judged.record.value.as_str(), judged.record.limit.as_str()),
            (shown, limit)
        );
        assert_eq!(judged.value, Some(gauge));
    }
}

#[test]
fn a_long_error_is_cut_within_the_room_of_the_status() {
    let reading = Reading::Failed("\u{e9}".repeat(TEXT_LIMIT));
    let judged = judged(&range(None, None), INLINE, &reading);
    assert_eq!(judged.record.value.len(), TEXT_LIMIT);
}

#[test]
fn the_worst_verdict_of_a_metric_counts_and_the_first_that_has_it() {
    let of = |verdict, text: &str| Judged {
        verdict,
        text: text.to_owned(),
        ..unplanned(&Metric::default(), &PlanError::Nothing)
    };
    let judged = vec![
        of(Verdict::Pass, "a"),
        of(Verdict::Unreachable, "b"),
        of(Verdict::Fail, "c"),
        of(Verdict::Fail, "d"),
        of(Verdict::Hold, "e"),
    ];
    assert_eq!(worst(judged).map(|judged| judged.text), Some("c".to_owned()));
    assert_eq!(worst(vec![]), None);
}

#[test]
fn an_api_server_that_does_not_answer_is_no_fault_of_the_release() {
    let cause = || ("latency.test".to_owned(), "timed out".to_owned());
    let ((template, cause_1), (absent, cause_2)) = (cause(), cause());
    let unknown = PlanError::Unknown {
        template,
        cause: cause_1,
    };
    let absent = PlanError::Template {
        template: absent,
        cause: cause_2,
    };
    assert_eq!(unplanned(&Metric::default(), &unknown).verdict, Verdict::Unreachable);
    assert_eq!(unplanned(&Metric::default(), &absent).verdict, Verdict::Fail);
}
