//! The bounds a number is held against, and how numbers are written in event texts.

use super::plan::Kind;
use crate::api::{GoDuration, Metric, Range};

/// Least and greatest value that pass; a value on a bound passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

/// A bound that a value is beyond, and the sign that event texts put between the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Breach {
    /// Less than the least.
    Below(f64),
    /// More than the greatest.
    Above(f64),
}

impl Limits {
    /// `thresholdRange`, even an empty one, switches the older `threshold` off. That one, 0 where absent, is the least
    /// success rate and the greatest value of everything else (`spec/analysis.md` 1.7).
    pub(super) fn of(metric: &Metric, kind: Kind) -> Self {
        let older = metric.threshold.unwrap_or_default();
        match (metric.threshold_range, kind) {
            (Some(Range { min, max }), _) => Self { min, max },
            (None, Kind::SuccessRate) => Self {
                min: Some(older),
                max: None,
            },
            (None, Kind::Duration(_) | Kind::Custom) => Self {
                min: None,
                max: Some(older),
            },
        }
    }

    /// The same bounds cut to whole numbers, as Flagger cuts milliseconds.
    pub(super) fn truncated(self) -> Self {
        Self {
            min: self.min.map(f64::trunc),
            max: self.max.map(f64::trunc),
        }
    }

    /// The bound that the value is beyond. The least is looked at first.
    pub(super) fn breach(self, value: f64) -> Option<Breach> {
        let below = self.min.filter(|min| value < *min).map(Breach::Below);
        below.or_else(|| self.max.filter(|max| value > *max).map(Breach::Above))
    }

    /// Both bounds for people, such as `>= 99%` or `<= 500ms`.
    pub(super) fn shown(self, kind: Kind) -> String {
        let least = self.min.map(|min| format!(">= {}", bound(kind, min)));
        let greatest = self.max.map(|max| format!("<= {}", bound(kind, max)));
        let parts: Vec<String> = least.into_iter().chain(greatest).collect();
        if parts.is_empty() {
            "none".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

/// A bound in the words of event texts: a percentage, a Go duration, or a Go number.
pub(super) fn bound(kind: Kind, value: f64) -> String {
    match kind {
        Kind::SuccessRate => format!("{}%", go_number(value)),
        Kind::Duration(_) => milliseconds(value).to_string(),
        Kind::Custom => go_number(value),
    }
}

/// A value in the words of event texts.
pub(super) fn reading(kind: Kind, value: f64) -> String {
    match kind {
        Kind::SuccessRate => format!("{value:.2}%"),
        Kind::Duration(_) => milliseconds(value).to_string(),
        Kind::Custom => format!("{value:.2}"),
    }
}

/// Whole milliseconds as a Go duration; numbers beyond its range become the ends of the range.
fn milliseconds(value: f64) -> GoDuration {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and the fraction is to go")]
    GoDuration::from_nanos((value as i64).saturating_mul(1_000_000))
}

/// A number as Go's `%v` prints it: as few digits as tell it apart, and an exponent below 1e-04 and from 1e+06 on.
fn go_number(value: f64) -> String {
    let scientific = format!("{value:e}");
    let parts = scientific
        .split_once('e')
        .and_then(|(digits, power)| Some((digits, power.parse::<i32>().ok()?)));
    match parts {
        Some((digits, power)) if !(-4..6).contains(&power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", power.unsigned_abs())
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        // Made with Go 1.26: fmt.Sprint(value).
        let cases = [
            (99.0, "99"),
            (99.5, "99.5"),
            (0.0, "0"),
            (-2.5, "-2.5"),
            (123_456.0, "123456"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1_000_000.5, "1.0000005e+06"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (2.5e-7, "2.5e-07"),
            (1e21, "1e+21"),
            (1e100, "1e+100"),
        ];
        for (value, expected) in cases {
            assert_eq!(go_number(value), expected);
        }
    }

    #[test]
    fn two_decimals_are_rounded_as_go_rounds_them() {
        for (value, expected) in [
            (0.125, "0.12"),
            (2.675, "2.67"),
            (0.375, "0.38"),
            (98.695, "98.69"),
            (0.005, "0.01"),
        ] {
            assert_eq!(reading(Kind::Custom, value), expected);
        }
    }
}
