//! What is rolled out: how a Deployment stands, the copy of it that serves production, its revisions, its ready pods.
//!
//! Pure: objects come in and go out as JSON, patches carry their own precondition, and whoever calls sends them.

pub mod companions;
pub mod configs;
mod deployment;
pub mod endpoints;
mod fingerprint;
pub mod pods;
pub mod primary;
pub mod scale;
pub mod scaler;
mod selector;
pub mod store;
mod template;

pub use deployment::{WorkloadError, primary_facts, recovered, target_facts};
pub use fingerprint::fingerprint;
pub use selector::{Selector, SelectorError};

/// Annotation on the primary Deployment: the fingerprint of the stored revision that it was rendered from.
pub const REVISION: &str = "serin.dev/revision";

/// Annotation on a primary Deployment that was written anew because it did not come up: `run/attempt`.
pub const ATTEMPT: &str = "serin.dev/attempt";

/// Pod annotation of a primary that was rolled because something that it reads live has changed.
pub const RESTARTED: &str = "serin.dev/restarted";

/// What the operator of Serin decided about workloads (Flagger's flags of these names).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `-selector-labels`: labels that may tell the pods of a workload, in the order in which they are looked for.
    pub selector_labels: Vec<String>,
    /// `-include-label-prefix`: prefixes of labels and annotations that the primary gets from the target; `*` is all.
    pub include_label_prefixes: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            selector_labels: ["app", "name", "app.kubernetes.io/name"].map(str::to_owned).to_vec(),
            include_label_prefixes: Vec::new(),
        }
    }
}
