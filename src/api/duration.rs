//! Go's durations: `1h15m30.5s`.
//!
//! Every duration of the spec is one. The rules are those of Go's `time.ParseDuration` and `Duration.String`, because
//! a text that Flagger reads must mean the same here, and a text that it refuses must not pass.

use std::{fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The pattern that Flagger's schema sets on some durations. Its end is open: `1m30s` and `1ms` pass, `1h` does not.
pub(super) const FLAGGER_DURATION: &str = "^[0-9]+(m|s)";

/// The pattern of the durations that only Serin knows: Go's, not negative.
pub(super) const GO_DURATION: &str = r"^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)$";

/// A duration as the user wrote it. It is parsed where it matters, since Flagger's schema accepts any text here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(String);

impl DurationText {
    /// The text, unchanged.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty, which Flagger treats as absent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the text means.
    pub fn parse(&self) -> Result<GoDuration, ParseDurationError> {
        self.0.parse()
    }
}

impl<T: Into<String>> From<T> for DurationText {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A span of time in whole nanoseconds; may be negative, as in Go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// A text is no Go duration; the wording is Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// Not of the form number, unit, number, unit; or out of range.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that Go does not know.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

impl GoDuration {
    /// A duration of whole nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Whole nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The same as a [`Duration`], or `None` if it is negative.
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

impl From<Duration> for GoDuration {
    /// Durations beyond Go's greatest (292 years) become that.
    fn from(d: Duration) -> Self {
        Self(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl FromStr for GoDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || ParseDurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (whole, after) = digits(rest);
            let (fraction, after) = match after.strip_prefix('.') {
                Some(after) => digits(after),
                None => ("", after),
            };
            if whole.is_empty() && fraction.is_empty() {
                return Err(invalid());
            }
            let (unit, after) = after.split_at(
                after
                    .find(|c: char| c == '.' || c.is_ascii_digit())
                    .unwrap_or(after.len()),
            );
            if unit.is_empty() {
                return Err(ParseDurationError::MissingUnit(text.to_owned()));
            }
            let scale = nanos_of(unit).ok_or_else(|| ParseDurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            })?;
            let part = magnitude(whole, fraction, scale).ok_or_else(invalid)?;
            total = total.checked_add(part).filter(|t| *t <= LIMIT).ok_or_else(invalid)?;
            rest = after;
        }
        let signed = if negative {
            -i128::from(total)
        } else {
            i128::from(total)
        };
        i64::try_from(signed).map(Self).map_err(|_| invalid())
    }
}

/// Go sums the magnitude unsigned, so that the least i64 can be written.
const LIMIT: u64 = 1 << 63;

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn nanos_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter, as in Go.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `whole.fraction` units in nanoseconds, what is below one nanosecond dropped; `None` when out of range.
fn magnitude(whole: &str, fraction: &str, scale: u64) -> Option<u64> {
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?
    };
    whole.checked_mul(scale)?.checked_add(part_of(fraction, scale))
}

/// `0.fraction` units in nanoseconds. Go computes this in floating point, and so a third of an hour is 20 minutes.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)] // as Go; below `scale`
fn part_of(fraction: &str, scale: u64) -> u64 {
    let (mut digits, mut ten_power) = (0_u64, 1.0_f64);
    for digit in fraction.bytes().map(|b| u64::from(b - b'0')) {
        // What no longer fits is too small to matter.
        let Some(longer) = digits
            .checked_mul(10)
            .and_then(|d| d.checked_add(digit))
            .filter(|d| *d <= LIMIT)
        else {
            break;
        };
        digits = longer;
        ten_power *= 10.0;
    }
    (digits as f64 * (scale as f64 / ten_power)) as u64
}

impl fmt::Display for GoDuration {
    /// As Go prints it: `1h15m30.5s`, `1.5ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u64 = 1_000_000_000;
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write_decimal(f, nanos, 1_000, "\u{b5}s"),
            1_000_000..SECOND => write_decimal(f, nanos, 1_000_000, "ms"),
            _ => {
                let seconds = nanos / SECOND;
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                write_decimal(f, nanos % (60 * SECOND), SECOND, "s")
            }
        }
    }
}

/// `nanos / unit` with as many decimals as it needs.
fn write_decimal(f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64, name: &str) -> fmt::Result {
    write!(f, "{}", nanos / unit)?;
    if !nanos.is_multiple_of(unit) {
        let width = unit.ilog10() as usize;
        let decimals = format!("{:0width$}", nanos % unit);
        write!(f, ".{}", decimals.trim_end_matches('0'))?;
    }
    f.write_str(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: i64 = 1;
    const US: i64 = 1_000;
    const MS: i64 = 1_000 * US;
    const S: i64 = 1_000 * MS;
    const M: i64 = 60 * S;
    const H: i64 = 60 * M;

    #[test]
    fn texts_mean_what_they_mean_in_go() {
        let cases = [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("5s", 5 * S),
            ("30s", 30 * S),
            ("1478s", 1478 * S),
            ("-5s", -5 * S),
            ("+5s", 5 * S),
            ("5.0s", 5 * S),
            ("5.6s", 5 * S + 600 * MS),
            ("5.s", 5 * S),
            (".5s", 500 * MS),
            ("-.5s", -500 * MS),
            ("1.004s", S + 4 * MS),
            ("100.00100s", 100 * S + MS),
            ("10ns", 10 * NS),
            ("11us", 11 * US),
            ("12\u{b5}s", 12 * US),
            ("12\u{3bc}s", 12 * US),
            ("13ms", 13 * MS),
            ("14s", 14 * S),
            ("15m", 15 * M),
            ("16h", 16 * H),
            ("3h30m", 3 * H + 30 * M),
            ("10.5s4m", 4 * M + 10 * S + 500 * MS),
            ("-2m3.4s", -(2 * M + 3 * S + 400 * MS)),
            ("1h2m3s4ms5us6ns", H + 2 * M + 3 * S + 4 * MS + 5 * US + 6 * NS),
            ("39h9m14.425s", 39 * H + 9 * M + 14 * S + 425 * MS),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 20 * M),
            ("0.100000000000000000000h", 6 * M),
            ("0.830103483285477580700h", 49 * M + 48 * S + 372_539_827),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9007199254.740993ms", 9_007_199_254_740_993),
            ("9223372036854775807ns", i64::MAX),
            ("9223372036854775.807us", i64::MAX),
            ("9223372036s854ms775us807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("-9223372036854775.808us", i64::MIN),
        ];
        for (text, nanos) in cases {
            assert_eq!(
                text.parse::<GoDuration>().map(GoDuration::as_nanos),
                Ok(nanos),
                "{text}"
            );
        }
    }

    #[test]
    fn texts_that_go_refuses_are_refused() {
        let cases = [
            ("", r#"time: invalid duration """#),
            ("3", r#"time: missing unit in duration "3""#),
            ("1h0", r#"time: missing unit in duration "1h0""#),
            ("-", r#"time: invalid duration "-""#),
            ("s", r#"time: invalid duration "s""#),
            (".", r#"time: invalid duration ".""#),
            ("-.", r#"time: invalid duration "-.""#),
            (".s", r#"time: invalid duration ".s""#),
            ("+.s", r#"time: invalid duration "+.s""#),
            ("1d", r#"time: unknown unit "d" in duration "1d""#),
            ("1min", r#"time: unknown unit "min" in duration "1min""#),
            (" 1s", r#"time: invalid duration " 1s""#),
            ("--5s", r#"time: invalid duration "--5s""#),
            ("1s ", r#"time: unknown unit "s " in duration "1s ""#),
            (
                "99999999999999999999h",
                r#"time: invalid duration "99999999999999999999h""#,
            ),
            ("3000000h", r#"time: invalid duration "3000000h""#),
            (
                "9223372036854775808ns",
                r#"time: invalid duration "9223372036854775808ns""#,
            ),
            (
                "9223372036854775.808us",
                r#"time: invalid duration "9223372036854775.808us""#,
            ),
            (
                "-9223372036854775809ns",
                r#"time: invalid duration "-9223372036854775809ns""#,
            ),
        ];
        for (text, expected) in cases {
            let refused = text.parse::<GoDuration>().map_err(|error| error.to_string());
            assert_eq!(refused, Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn spans_are_printed_as_go_prints_them() {
        let cases = [
            (0, "0s"),
            (NS, "1ns"),
            (1100 * NS, "1.1\u{b5}s"),
            (2200 * US, "2.2ms"),
            (3300 * MS, "3.3s"),
            (515 * MS, "515ms"),
            (S + 515 * MS, "1.515s"),
            (90 * S, "1m30s"),
            (H, "1h0m0s"),
            (4 * M + 5 * S, "4m5s"),
            (4 * M + 5 * S + MS, "4m5.001s"),
            (5 * H + 6 * M + 7 * S + MS, "5h6m7.001s"),
            (8 * M + NS, "8m0.000000001s"),
            (-(2 * M), "-2m0s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(GoDuration::from_nanos(nanos).to_string(), text);
            assert_eq!(
                text.parse::<GoDuration>().map(GoDuration::as_nanos),
                Ok(nanos),
                "{text} reads back"
            );
        }
    }

    #[test]
    fn a_text_is_kept_as_it_was_written() {
        let text: DurationText = serde_json::from_str(r#""0001m30.0s""#).expect("any text is admitted");
        assert_eq!(serde_json::to_string(&text).expect("plain"), r#""0001m30.0s""#);
        assert_eq!(
            text.parse().ok().and_then(GoDuration::to_std),
            Some(Duration::from_secs(90))
        );
    }

    #[test]
    fn a_negative_span_is_no_standard_duration() {
        assert_eq!(GoDuration::from_nanos(-1).to_std(), None);
        assert_eq!(GoDuration::from(Duration::MAX), GoDuration::from_nanos(i64::MAX));
    }
}
