//! Strategic merge patch for built-in kinds.

use serde_json::Value;

use super::{errors::Refusal, schema::Schema};

/// Merges a patch into an object.
pub(super) fn merge(_schema: &Schema, _before: &Value, _patch: &Value) -> Result<Value, Refusal> {
    Err(Refusal::unsupported_media("strategic merge patch"))
}
