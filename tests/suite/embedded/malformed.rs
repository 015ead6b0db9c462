//! A spec that cannot be read any more while a release is on: traffic on an unproven revision is not left to itself.

use serde_json::json;
use serin::sim::world::traffic::Behaviour;

use super::setting::Setting;

fn bad() -> Behaviour {
    Behaviour {
        success: 50.0,
        ..Behaviour::default()
    }
}

/// The last spec that could be read goes on to judge.
#[tokio::test(start_paused = true)]
async fn a_bad_release_is_rolled_back_though_its_spec_was_broken_meanwhile() {
    let stage = Setting::new()
        .script(|script| script.answers("app:2", bad()))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.edit_canary(json!({ "analysis": { "stepWeight": 12.5 } })).await;
    stage.until_weight(0).await;
    assert_eq!(stage.status()["serin"]["outcome"]["reason"], "FailedChecks");
    assert_eq!(stage.events_with("nothing new starts"), 1);
    stage
        .until("held", |stage| {
            stage.condition("Stalled") == ("True".into(), "MalformedSpec".into())
        })
        .await;
    assert_eq!((stage.replicas("app"), stage.image("app-primary")), (0, "app:1".into()));
}

/// A successor that has never seen a spec it could read cannot judge, so it does not try.
#[tokio::test(start_paused = true)]
async fn a_successor_rolls_back_what_it_cannot_judge() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.edit_canary(json!({ "analysis": { "stepWeight": 12.5 } })).await;
    stage.serin.kill();
    stage.serin.start();
    stage.until_weight(0).await;
    stage
        .until("held", |stage| {
            stage.condition("Stalled") == ("True".into(), "MalformedSpec".into())
        })
        .await;
    assert_eq!(stage.status()["serin"]["outcome"]["reason"], "MalformedSpec");
    assert_eq!((stage.replicas("app"), stage.image("app-primary")), (0, "app:1".into()));
    assert!(stage.answers().lost < 1.0);
}
