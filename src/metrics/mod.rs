//! What the metrics say about a release.
//!
//! ```text
//! plan      (canary, metric, template) -> the queries to send, as text          pure
//! read      one query at one server -> a number, or which kind of none          I/O
//! judge     (metric, query, reading) -> verdict, event text, record             pure
//! ```
//!
//! [`check`] does all three for one entry of `analysis.metrics`. A new kind of metrics server is one file with a
//! [`MetricsServer`] in it and one line in [`SERVERS`].
//!
//! The verdict is the core's vocabulary ([`crate::rollout::Judged`]); nothing else of the core is used here.

mod builtin;
mod judge;
mod limits;
mod plan;
mod prometheus;
mod source;
mod template;

use async_trait::async_trait;

use crate::api::{Canary, Metric};
use crate::rollout::Judged;

pub use judge::{judge, unplanned, worst};
pub use plan::{Kind, Origin, PlanError, Query, Unit, plan};
pub use source::{Credentials, HttpReader, MetricsServer, SERVERS, Source, SourceError};
pub use template::{RenderError, render};

/// What came back for one query, with the ways of having no number told apart.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// One finite number.
    Value(f64),
    /// The server has no number for this: an empty answer.
    NoData,
    /// One number that is none: NaN (no traffic: 0/0) or an infinite one.
    NotFinite(f64),
    /// The query gives that many series, and which one is meant is not known.
    Several(usize),
    /// The server understood the query and refused it, or answered in a type that is no number. Asking again will not help.
    Failed(String),
    /// The server could not be asked: no connection, no answer in time, an answer of 5xx or not of the server's kind.
    Unreachable(String),
}

/// Asks metrics servers. The controller has the one over HTTP, tests and the embedded cluster have their own.
#[async_trait]
pub trait Reader: Send + Sync {
    /// Sends one query, rendered.
    async fn read(&self, source: &Source, query: &str) -> Reading;
    /// Whether the server answers at all (`spec/analysis.md` 1.2). The error is for people and names no secret.
    async fn online(&self, source: &Source) -> Result<(), String>;
}

/// A metric template as resolved: its query and the server it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// `spec.query`.
    pub query: String,
    /// The server, with its credentials.
    pub source: Source,
}

/// Everything one entry of `analysis.metrics` needs to be judged.
#[derive(Debug)]
pub struct Check<'a> {
    /// The canary it belongs to.
    pub canary: &'a Canary,
    /// The entry.
    pub metric: &'a Metric,
    /// The traffic provider, with the controller's default applied.
    pub provider: &'a str,
    /// The Prometheus of built-in and inline queries: `spec.metricsServer`, else the controller's.
    pub server: &'a Source,
    /// What `templateRef` leads to; `Ok(None)` where there is none.
    pub template: Result<Option<&'a Template>, PlanError>,
}

/// Plans, reads and judges one metric. Where it makes several queries they are sent side by side and the worst verdict
/// counts, the first one where two are equal.
pub async fn check(reader: &dyn Reader, check: &Check<'_>) -> Judged {
    let Check {
        canary,
        metric,
        provider,
        server,
        template,
    } = check;
    let planned = match template {
        Ok(template) => plan(canary, metric, provider, template.map(|t| t.query.as_str())),
        Err(error) => Err(error.clone()),
    };
    let queries = match planned {
        Ok(queries) => queries,
        Err(error) => return unplanned(metric, &error),
    };
    let judged = queries.iter().map(async |query| {
        let source = match (&query.origin, template) {
            (Origin::Template, Ok(Some(template))) => &template.source,
            _ => *server,
        };
        judge(canary, metric, query, &reader.read(source, &query.text).await)
    });
    worst(futures::future::join_all(judged).await)
}
