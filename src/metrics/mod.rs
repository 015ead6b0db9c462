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

pub use judge::{judge, unplanned, unreachable, worst};
pub use plan::{Kind, Origin, PlanError, Query, Unit, plan, template_name};
pub use source::{Credentials, HttpReader, MetricsServer, SERVERS, Source, SourceError, server_of, unbuilt};
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
    /// The Prometheus of built-in and inline queries (see [`server_of`]).
    pub server: &'a Result<Source, PlanError>,
    /// What `templateRef` leads to; `Ok(None)` where there is none.
    pub template: Result<Option<Template>, PlanError>,
}

/// Plans, reads and judges one metric. Where it makes several queries they are sent side by side and the worst verdict
/// counts, the first one where two are equal.
pub async fn check(reader: &dyn Reader, check: &Check<'_>) -> Judged {
    match read_all(reader, check).await {
        Ok(judged) => worst(judged).unwrap_or_else(|| unplanned(check.metric, &PlanError::Nothing)),
        Err(error) => unplanned(check.metric, &error),
    }
}

async fn read_all(reader: &dyn Reader, check: &Check<'_>) -> Result<Vec<Judged>, PlanError> {
    let Check {
        canary,
        metric,
        provider,
        server,
        template,
    } = check;
    let template = template.as_ref().map_err(Clone::clone)?.as_ref();
    let queries = plan(
        canary,
        metric,
        provider,
        template.map(|template| template.query.as_str()),
    )?;
    let mut asked = Vec::with_capacity(queries.len());
    for query in &queries {
        let source = match (query.origin, template) {
            (Origin::Template, Some(template)) => &template.source,
            _ => server.as_ref().map_err(Clone::clone)?,
        };
        asked.push(async move { judge(canary, metric, query, &reader.read(source, &query.text).await) });
    }
    Ok(futures::future::join_all(asked).await)
}

/// Whether the servers that the analysis will ask are there (`spec/analysis.md` 1.2), in list order up to the first that
/// is not. The error is the cause in Flagger's words, its spelling included. Inline queries are not probed: their server
/// is the one of the built-in ones.
pub async fn probe(reader: &dyn Reader, checks: &[Check<'_>]) -> Result<(), String> {
    for check in checks {
        if plan::is_built_in(check.metric) {
            let server = check.server.as_ref().map_err(lower_case)?;
            reader
                .online(server)
                .await
                .map_err(|error| format!("prometheus not avaiable: {error}"))?;
        } else if let Some(template) = check.template.as_ref().map_err(lower_case)? {
            let name = plan::template_name(check.canary, check.metric);
            let kind = template.source.kind;
            let absent = |error| format!("{kind} in metric template {name} not avaiable: {error}");
            reader.online(&template.source).await.map_err(absent)?;
        }
    }
    Ok(())
}

/// An error in the middle of a sentence.
fn lower_case(error: &PlanError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}
