//! Rules that an object must keep before it is stored.

use serde_json::Value;

use super::{errors::FieldError, resource::Resource};

/// Everything that is wrong with an object.
pub(super) fn object(_resource: &Resource, _object: &Value) -> Vec<FieldError> {
    Vec::new()
}
