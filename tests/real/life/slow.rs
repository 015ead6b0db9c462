//! Case 78: a version that answers too slowly is rolled back, through both kinds of routes. One that answers with errors is part of the end
//! to end scenario.

use chrono::Utc;
use serde_json::json;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::shop::Road;
use crate::harness::verdict::Expectation;
use crate::life::tale::Tale;
use crate::release::story::{BAD, FIRST};

/// One release.
pub async fn run(cluster: &Cluster, namespace: &str, road: Road) -> Outcome<Vec<Expectation>> {
    let mut tale = Tale::begin(cluster, &format!("Too slow, {}", road.title()), namespace, road).await?;
    let range = |name: &str, range| json!({ "name": name, "interval": "10s", "thresholdRange": range });
    let metrics = [
        range("request-success-rate", json!({ "min": 99 })),
        range("request-duration", json!({ "max": 500 })),
    ];
    tale.canary(&json!({ "analysis": { "stepWeights": [30, 60], "metrics": metrics } }))
        .await?;
    let start = tale.release(BAD, &[("LATENCY_MS", "900")]).await?;
    let failed = tale.phase_after(start, "Failed", "Succeeded").await?;
    tokio::time::sleep(super::AFTERMATH).await;
    let over = Utc::now();
    let slow = tale.was_told(start, "request duration").await?;
    let wrong = tale.was_told(start, "success rate").await?;
    tale.expect("The duration decides against it, and nothing else", slow && !wrong);

    let (answers, mut found) = tale.end().await?;
    let last = answers.between(failed + super::SETTLE, over);
    found.push(
        Expectation::new(
            format!("Then {FIRST} alone answers ({} answers)", last.answered),
            last.answered > 0 && last.of_version(FIRST) == last.answered,
        )
        .about(road.title()),
    );
    Ok(found)
}
