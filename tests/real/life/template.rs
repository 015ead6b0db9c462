//! Case 79: a release of testers alone, and one whose pods get no client's requests, both through an `HTTPRoute` and judged by the
//! `threshold` of a `MetricTemplate` that reads what the pods say of themselves.

use serde_json::json;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::load::Load;
use crate::harness::shop::{NAME, Road, TESTER};
use crate::harness::verdict::Expectation;
use crate::life::tale::Tale;
use crate::release::story::{BAD, FIRST, GOOD};

/// Requests a second that reach the version under test.
const RATE: u32 = 20;

/// Who tries the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Requests with a header.
    Testers,
    /// A load that the team sends past the route, as Flagger's load tester does.
    Nobody,
}

impl By {
    const fn title(self) -> &'static str {
        match self {
            Self::Testers => "A template, A/B",
            Self::Nobody => "A template, blue/green",
        }
    }
}

/// Errors of a hundred requests to the pods of the target.
const QUERY: &str = r#"100 * (sum(rate(http_request_duration_seconds_count{
  kubernetes_namespace="{{ namespace }}",kubernetes_pod_name=~"{{ target }}-[0-9a-z]+-[0-9a-z]+",status=~"5.."}[{{ interval }}])) or vector(0))
/ sum(rate(http_request_duration_seconds_count{
  kubernetes_namespace="{{ namespace }}",kubernetes_pod_name=~"{{ target }}-[0-9a-z]+-[0-9a-z]+"}[{{ interval }}]))"#;

/// A good version and a bad one.
pub async fn run(cluster: &Cluster, namespace: &str, by: By) -> Outcome<Vec<Expectation>> {
    let mut tale = Tale::begin(cluster, by.title(), namespace, Road::HttpRoute).await?;
    let provider = json!({ "type": "prometheus", "address": cluster.prometheus });
    let template = json!({ "spec": { "provider": provider, "query": QUERY } });
    tale.apply(["flagger.app", "v1beta1", "MetricTemplate"], "errors", &template)
        .await?;
    let trying = trying(&tale, by).await?;
    let metric = json!({ "name": "errors", "templateRef": { "name": "errors" }, "threshold": 5, "interval": "10s" });
    let mut analysis = json!({ "iterations": 3, "metrics": [metric] });
    if by == By::Testers {
        let (header, value) = TESTER;
        analysis["match"] = json!([{ "headers": { header: { "exact": value } } }]);
    }
    tale.canary(&json!({ "analysis": analysis })).await?;

    let good = tale.release(GOOD, &[]).await?;
    let promoting = tale.phase_after(good, "Promoting", "Failed").await?;
    // Where nobody tries it, its promotion begins with all traffic on the canary.
    let tried = match by {
        By::Testers => promoting,
        By::Nobody => tale
            .led_to_the_canary_after(good)
            .ok_or("all traffic was to go to the canary first")?,
    };
    let promoted = tale.phase_after(good, "Succeeded", "Failed").await?;
    let bad = tale.release(BAD, &[("FAIL_PERCENT", "50")]).await?;
    let failed = tale.phase_after(bad, "Failed", "Succeeded").await?;
    let decided = tale.was_told(bad, "Halt").await?;
    tale.expect("The template's number decides against the bad version", decided);

    let trials = trying.stop().await?;
    let (seen, wrong) = (
        trials.between(good, promoting).of_version(GOOD),
        trials.between(bad, failed).of_version(BAD),
    );
    let (answers, mut found) = tale.end().await?;
    let [first, second] = [
        // The gateway may hear of a route sooner than we do.
        answers.between(good, tried - super::SETTLE),
        answers.between(promoted + super::SETTLE, failed),
    ];
    found.extend([
        Expectation::new(
            format!(
                "{}: who tries it sees {GOOD} and {BAD} ({seen} and {wrong} answers)",
                by.title()
            ),
            seen > 0 && wrong > 0,
        ),
        Expectation::new(
            format!(
                "{}: all others see {FIRST}, then {GOOD} ({} and {} answers)",
                by.title(),
                first.answered,
                second.answered
            ),
            first.of_version(FIRST) == first.answered
                && second.of_version(GOOD) == second.answered
                && first.answered > 0
                && second.answered > 0,
        ),
    ]);
    Ok(found)
}

/// Requests that reach the new version while it is tried, and in between whatever answers there.
async fn trying(tale: &Tale<'_>, by: By) -> Outcome<Load> {
    let (cluster, namespace) = (tale.cluster, &tale.shop.namespace);
    let name = format!("{namespace}-tries");
    match by {
        By::Testers => Load::start_with(cluster, &name, &tale.shop.host(), RATE, &[TESTER]),
        By::Nobody => {
            let host = format!("tries.{}", tale.shop.host());
            let service = json!({ "name": format!("{NAME}-canary"), "port": 80 });
            let spec = json!({ "spec": {
                "virtualhost": { "fqdn": host },
                "routes": [{ "conditions": [{ "prefix": "/" }], "services": [service] }],
            } });
            tale.apply(["projectcontour.io", "v1", "HTTPProxy"], "tries", &spec)
                .await?;
            Load::start(cluster, &name, &host, RATE)
        }
    }
}
