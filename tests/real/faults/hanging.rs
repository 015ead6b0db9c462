//! A hook's server takes the call and never answers. The canary that called waits, and nobody else does: its neighbour goes on to
//! the end meanwhile, and a new revision of its own is taken up. Where the hook has little time, each silence is a failed check.

use serde_json::json;

use crate::faults::scene::{Findings, Scene};
use crate::harness::Outcome;
use crate::harness::listener::Answers;

const NAMESPACE: &str = "hanging";

/// Three canaries under one controller: one hangs, one does not, one has short patience.
pub async fn run(scene: &Scene<'_>, number: u16) -> Outcome<Findings> {
    let mut findings = Findings::default();
    let listener = &scene.listener;
    let controller = scene.controller(number, NAMESPACE).await?;
    let hook = |name: &str, timeout: &str| {
        let url = listener.url(&format!("{NAMESPACE}/{name}"));
        let hook = json!({ "name": "check", "type": "rollout", "url": url, "timeout": timeout });
        json!({ "analysis": { "webhooks": [hook] } })
    };
    // Longer than any part of this.
    let (patient, neighbour, hasty) = (hook("shop", "30m"), json!({}), hook("kiosk", "2s"));
    let (patient, neighbour, hasty) = tokio::join!(
        scene.trial_with([NAMESPACE, "shop"], &patient),
        scene.trial_with([NAMESPACE, "cafe"], &neighbour),
        scene.trial_with([NAMESPACE, "kiosk"], &hasty),
    );
    let (patient, neighbour, hasty) = (patient?, neighbour?, hasty?);

    listener.answer(&patient.id(), Answers::Never);
    listener.answer(&hasty.id(), Answers::Never);
    patient.release("2.0.0").await?;
    patient.until_weight(30).await?;
    while listener.calls(&patient.id()).is_empty() {
        patient.until_weight(30).await?;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    patient.say("hangs in a hook");
    neighbour.release("2.0.0").await?;
    hasty.release("2.0.0").await?;
    let phase = neighbour.until_rest(1).await?;
    let still = listener.calls(&patient.id());
    findings.expect(
        format!(
            "A neighbour is promoted while a hook hangs ({phase}, {} calls)",
            still.len()
        ),
        phase == "Succeeded" && still.len() == 1 && still[0].ended.is_none(),
    );
    let phase = hasty.until_rest(1).await?;
    let outcome = hasty.status()["serin"]["outcome"].clone();
    findings.expect(
        format!("Where the hook has two seconds, silence fails the check and the run is rolled back ({outcome})"),
        phase == "Failed" && outcome["reason"] == "FailedChecks",
    );
    let calls = listener.calls(&hasty.id()).len();
    findings.expect(format!("Two failed checks are two calls ({calls})"), calls == 2);

    // Whoever calls from now on is answered; the call that is under way never is.
    listener.answer(&patient.id(), Answers::Well);
    let start = patient.release("3.0.0").await?;
    let status = patient
        .until("the new revision is taken up", |status| status["serin"]["run"] == 2)
        .await?;
    let calls = listener.calls(&patient.id()).len();
    findings.expect(
        format!(
            "A new revision is taken up while the hook hangs ({calls} calls, {})",
            status["serin"]["why"]
        ),
        calls == 1 && status["canaryWeight"] == 0,
    );
    let phase = patient.until_rest(2).await?;
    findings.expect(format!("The new revision is promoted ({phase})"), phase == "Succeeded");
    let weights = scene.ledger(NAMESPACE)?.weights(&patient.id(), start);
    findings.expect(
        format!("The weight goes home before the new revision gets any ({weights:?})"),
        weights == [0, 30, 60, 0],
    );
    findings.expectations.push(controller.ends_cleanly().await?);
    Ok(findings)
}
