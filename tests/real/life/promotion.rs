//! A primary that does not come up with a version that the canary runs well: traffic is held on the canary, or the primary gets the last
//! good version back (`spec.promotion.onFailure`). A broken primary does not block its own fix.

use chrono::Utc;
use serde_json::json;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::shop::Road;
use crate::harness::verdict::Expectation;
use crate::life::tale::Tale;
use crate::release::story::{FIRST, GOOD};

/// The version that fixes it.
const FIX: &str = "2.0.1";

/// The variable that keeps pods of the primary from being ready, and what takes that away again.
const BROKEN: (&str, &str) = ("UNREADY_AS", "-primary-");
const MENDED: (&str, &str) = ("UNREADY_AS", "");

const SPEC: fn(&str) -> serde_json::Value = |on_failure| {
    json!({
        "progressDeadlineSeconds": 20,
        "promotion": { "onFailure": on_failure },
        "analysis": { "stepWeights": [50] },
    })
};

/// Held on the canary, until the fix comes.
pub async fn held(cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let mut tale = Tale::begin(cluster, "Held on the canary", "held", Road::HttpProxy).await?;
    tale.canary(&SPEC("hold")).await?;
    let start = tale.release(GOOD, &[BROKEN]).await?;
    let status = tale.until_stage("HoldOnCanary").await?;
    tale.expect(
        format!(
            "All traffic is on the canary, and the reason is said ({} percent, {})",
            status["canaryWeight"], status["serin"]["why"]["reason"]
        ),
        status["canaryWeight"] == 100 && status["serin"]["why"]["reason"] == "PromotionFailed",
    );
    let held = Utc::now();
    tokio::time::sleep(super::AFTERMATH).await;
    let fixed = tale.release(FIX, &[MENDED]).await?;
    let promoted = tale.phase_after(fixed, "Succeeded", "Initializing").await?;
    let restored = tale.was_told(start, "Restoring the last good revision").await?;
    tale.expect("The fix finds the last good version on the primary", restored);
    tokio::time::sleep(super::AFTERMATH).await;
    let over = Utc::now();
    let (answers, mut found) = tale.end().await?;
    let meanwhile = answers.between(held + super::SETTLE, fixed);
    let last = answers.between(promoted + super::SETTLE, over);
    found.extend([
        Expectation::new(
            format!(
                "Held on the canary: {GOOD} alone answers ({} answers)",
                meanwhile.answered
            ),
            meanwhile.answered > 0 && meanwhile.of_version(GOOD) == meanwhile.answered,
        ),
        Expectation::new(
            format!(
                "Held on the canary: then the fix alone answers ({} answers)",
                last.answered
            ),
            last.answered > 0 && last.of_version(FIX) == last.answered,
        ),
    ]);
    Ok(found)
}

/// The primary gets the last good version back by itself.
pub async fn restored(cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let mut tale = Tale::begin(cluster, "The primary restored", "restored", Road::HttpRoute).await?;
    tale.canary(&SPEC("restorePrimary")).await?;
    let start = tale.release(GOOD, &[BROKEN]).await?;
    tale.until_stage("Restoring").await?;
    let status = tale.until_stage("Resting").await?;
    let rested = Utc::now();
    let version = tale.shop.primary_version().await?;
    tale.expect(
        format!(
            "It rests at {} with {} percent on the canary and {version} on the primary",
            status["phase"], status["canaryWeight"]
        ),
        status["phase"] == "Failed" && status["canaryWeight"] == 0 && version == FIRST,
    );
    let told = tale.was_told(start, "Restoring the last good revision").await?;
    tale.expect("It is told", told);
    tokio::time::sleep(super::AFTERMATH).await;
    let over = Utc::now();
    let (answers, mut found) = tale.end().await?;
    let last = answers.between(rested + super::SETTLE, over);
    found.push(Expectation::new(
        format!(
            "The primary restored: {FIRST} alone answers ({} answers)",
            last.answered
        ),
        last.answered > 0 && last.of_version(FIRST) == last.answered,
    ));
    Ok(found)
}
