//! Kubernetes' times and ours: `chrono` in the program, `jiff` in the types of k8s-openapi.

use chrono::{DateTime, Utc};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

/// A moment as Kubernetes writes it. What no Kubernetes time can hold becomes the epoch.
pub(super) fn stamp(at: DateTime<Utc>) -> Time {
    Time(Timestamp::new(at.timestamp(), 0).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// A Kubernetes time as a moment.
pub(super) fn moment(time: &Time) -> DateTime<Utc> {
    DateTime::from_timestamp(time.0.as_second(), time.0.subsec_nanosecond().unsigned_abs())
        .unwrap_or(DateTime::UNIX_EPOCH)
}
