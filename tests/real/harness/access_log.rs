//! What Envoy wrote down about requests that it did not simply pass on.

use std::fmt;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::harness::gateway::ENVOY;

/// A line of Envoy's access log; `tests/cluster/config/contour.yaml` names the fields.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    /// When the request came.
    pub time: DateTime<Utc>,
    /// For which host.
    pub host: Option<String>,
    code: Option<u16>,
    /// What was special about it, in Envoy's short words; `-` is nothing.
    flags: Option<String>,
    details: Option<String>,
    failure: Option<String>,
    cluster: Option<String>,
    pod: Option<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        write!(
            f,
            "{} {} {} {} {} cluster {} pod {} {}",
            self.time.format("%H:%M:%S%.3f"),
            or_none(&self.host),
            self.code.unwrap_or_default(),
            or_none(&self.flags),
            or_none(&self.details),
            or_none(&self.cluster),
            or_none(&self.pod),
            or_none(&self.failure),
        )
    }
}

/// The requests for `host` about which there was something special, in the order of their end.
pub fn special(state: &Path, host: &str) -> Vec<Line> {
    // A cluster of somebody's own keeps its logs for itself.
    let log = std::fs::read_to_string(state.join(format!("{ENVOY}.log"))).unwrap_or_default();
    // Envoy's own messages stand between the lines of JSON.
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines
        .filter(|line| line.host.as_deref() == Some(host) && line.flags.as_deref().is_some_and(|flags| flags != "-"))
        .collect()
}
