//! Defaults of built-in kinds that the schema does not carry.

use serde_json::Value;

use super::resource::Resource;

/// Fills in what a built-in kind gets when it is decoded.
pub(super) fn fill(_resource: &Resource, _object: &mut Value) {}
