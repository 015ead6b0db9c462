//! Numbers, and above all whole ones in fields that Flagger's schema declares as `number`.
//!
//! The API server admits `stepWeight: 12.5` there. Flagger reads such a field into an integer and fails for every
//! Canary of the cluster (spec/core.md 7.3 W17); here `12.0` is 12 and `12.5` is an error of that one field.

use std::fmt;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// Reads an optional whole number.
pub(super) fn option<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    Option::<Whole>::deserialize(deserializer)?.map(narrow).transpose()
}

/// Reads a whole number; a missing or null field is 0.
pub(super) fn or_zero<'de, D>(deserializer: D) -> Result<i64, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(option(deserializer)?.unwrap_or_default())
}

/// Reads a list of whole numbers.
pub(super) fn list<'de, D>(deserializer: D) -> Result<Vec<i64>, D::Error>
where
    D: Deserializer<'de>,
{
    let numbers = Vec::<Whole>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|Whole(n)| n).collect())
}

/// Writes `99`, not `99.0`: to the API server the two differ, and a written spec must stay as it was read.
#[allow(clippy::ref_option)] // the signature that serde asks for
pub(super) fn shortest<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(n) if n.fract() == 0.0 && n.abs() <= EXACT => {
            #[allow(clippy::cast_possible_truncation)] // whole and within 2^53: exact
            serializer.serialize_i64(*n as i64)
        }
        _ => number.serialize(serializer),
    }
}

/// The schema of one such field.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number" })
}

/// The schema of a list of such numbers.
pub(super) fn list_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "number" } })
}

/// 2^53: beyond it an f64 no longer tells neighbouring whole numbers apart.
const EXACT: f64 = 9_007_199_254_740_992.0;

struct Whole(i64);

fn narrow<T: TryFrom<i64>, E: de::Error>(Whole(n): Whole) -> Result<T, E> {
    T::try_from(n).map_err(|_| E::custom(format_args!("{n} is out of range")))
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor).map(Self)
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<i64, E> {
        Ok(n)
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<i64, E> {
        i64::try_from(n).map_err(|_| E::custom(format_args!("{n} is out of range")))
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<i64, E> {
        if n.fract() != 0.0 {
            return Err(E::custom(format_args!("{n:?} is not a whole number")));
        }
        if n.abs() > EXACT {
            return Err(E::custom(format_args!("{n:?} is out of range")));
        }
        #[allow(clippy::cast_possible_truncation)] // whole and within 2^53: exact
        Ok(n as i64)
    }
}
