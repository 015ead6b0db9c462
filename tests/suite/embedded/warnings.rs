//! What is odd and harmless is told once, to those who can mend it.

use serde_json::json;

use super::setting::Setting;

const RECREATED: &str = "has strategy Recreate, and provider kubernetes leads every request to the primary";

const IGNORED: &str = "spec.service.retries is ignored by provider gatewayapi:v1";
const UNUSED: &str = "spec.analysis.threshold: is not above 0: 1 is used";

/// Each generation once, as a warning of reason `Synced`; a restart and a rest write nothing more.
#[tokio::test(start_paused = true)]
async fn an_ignored_field_is_a_warning_once_for_each_generation_and_not_after_a_restart() {
    let stage = Setting::new()
        .spec(&json!({ "service": { "retries": { "attempts": 3 } }, "analysis": { "threshold": 0 } }))
        .initialized()
        .await;
    stage.pass(120).await;
    for text in [IGNORED, UNUSED] {
        assert_eq!(stage.events_with(text), 1, "{text}: {:?}", stage.events());
    }
    let events = stage.api.objects("v1", "Event", "test");
    let told = events.iter().find(|event| event["message"] == IGNORED);
    let told = told.map(|event| (&event["type"], &event["reason"], &event["action"]));
    assert_eq!(told, Some((&json!("Warning"), &json!("Synced"), &json!("Warn"))));

    stage.serin.kill();
    stage.serin.start();
    stage.pass(120).await;
    assert_eq!(stage.events_with(IGNORED), 1, "after a restart");

    stage.edit_canary(json!({ "service": { "timeout": "7s" } })).await;
    stage.pass(120).await;
    assert_eq!(stage.events_with(IGNORED), 2, "of the new generation");
}

/// Where a route can stand in for the primary nothing is lost, and nothing is said.
#[tokio::test(start_paused = true)]
async fn a_primary_that_is_recreated_with_nobody_to_stand_in_for_it_is_a_warning() {
    for (provider, told) in [("kubernetes", 1), ("gatewayapi:v1", 0)] {
        let stage = Setting::with_provider(provider)
            .analysis(&json!({ "iterations": 2, "stepWeight": null, "maxWeight": null }))
            .deployment(&json!({ "strategy": { "type": "Recreate" } }))
            .initialized()
            .await;
        assert_eq!(stage.events_with(RECREATED), told, "{provider}: {:?}", stage.events());
    }
}
