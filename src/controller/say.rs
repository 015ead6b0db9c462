//! What `--observe-only` shows in the log: each thing that would be written, once a step.

use std::collections::BTreeSet;

use super::resource::CanaryKey;

/// The canary's next write, which is not sent.
pub fn would(canary: &CanaryKey, what: &str, said: &mut BTreeSet<String>) {
    if said.insert(what.to_owned()) {
        tracing::info!(%canary, "would {what}");
    }
}

/// Something that people should know about the canary, although nothing is written about it.
pub fn notes(canary: &CanaryKey, what: &str, said: &mut BTreeSet<String>) {
    if said.insert(what.to_owned()) {
        tracing::warn!(%canary, "{what}");
    }
}
