//! `metadata.managedFields`.

use serde_json::Value;

use super::call::Call;

/// Notes which fields a write other than an apply has changed.
pub(super) fn track_update(_call: &Call, _before: &Value, _after: &mut Value) {}

/// A write that would change nothing but the times of managers changes nothing.
pub(super) fn ignore_times(_before: &Value, _after: &mut Value) {}
