//! The commands about releases where configurations are followed: what the target is now is more than its template.

use serde_json::json;
use serin::sim::{apiserver::Denial, world::traffic::Behaviour};

use super::command::spoken;
use super::configs::{change, reading, release};
use super::setting::Setting;
use super::stage::Stage;
use super::traffic::no_request_lost;

fn setting() -> Setting {
    let bad = Behaviour {
        success: 50.0,
        ..Behaviour::default()
    };
    reading(Setting::new())
        .settings(|settings| settings.config_tracking = true)
        .script(|script| script.answers("app:2", bad))
}

/// The exit code and what was printed, an error included.
async fn serin(stage: &Stage, line: &str) -> (u8, String) {
    let (said, ended) = spoken(stage, stage.api.client("serin-cli"), line).await;
    match ended {
        Ok(()) => (0, said),
        Err(error) => (error.exit_code(), format!("{said}{error}")),
    }
}

async fn code(stage: &Stage, line: &str) -> u8 {
    serin(stage, line).await.0
}

/// What the primary's pods read.
fn color(stage: &Stage) -> String {
    let primary = stage.deployment("app-primary");
    let name = primary["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"].clone();
    let copy = stage.object("v1", "ConfigMap", name.as_str().unwrap_or_default());
    copy["data"]["color"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn wait_ends_with_the_release_and_never_takes_the_last_one_for_it() {
    let stage = setting().initialized().await;
    assert_eq!(code(&stage, "wait app").await, 0);
    release(&stage, "app:2").await;
    assert_eq!(code(&stage, "wait app").await, 3, "asked right after the push");
    assert_eq!(stage.phase(), "Failed");
    stage.pass(90).await;
    release(&stage, "app:3").await;
    assert_eq!(code(&stage, "wait app --timeout 5s").await, 4);
    assert_eq!(code(&stage, "wait app").await, 0);
    assert_eq!(stage.image("app-primary"), "app:3");
}

#[tokio::test(start_paused = true)]
async fn wait_waits_for_a_configuration_that_changed_a_moment_ago() {
    let stage = setting().initialized().await;
    change(&stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
    assert_eq!(stage.phase(), "Initialized", "nobody has taken note of it");
    let (code_, said) = serin(&stage, "wait app").await;
    assert_eq!((code_, color(&stage).as_str()), (0, "blue"), "{said}");
    change(&stage, "Secret", "app-key", &json!({ "key": "psst" })).await;
    assert_eq!(code(&stage, "wait app --timeout 5s").await, 4);
    stage.until_weight(20).await;
    stage.say("abort", "1").await;
    assert_eq!(code(&stage, "wait app").await, 3);
    // An edit of its metadata says nothing to the pods.
    change(&stage, "Secret", "app-key", &json!({ "key": "hush" })).await;
    let labelled = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "color": "blue" },
        "metadata": { "name": "app-env", "namespace": "test", "labels": { "a": "b" } } });
    stage.change(&labelled).await;
    assert_eq!(code(&stage, "wait app").await, 0);
    assert_eq!(stage.status()["serin"]["outcome"]["reason"], "Reverted");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_read_a_secret_waits_for_the_template_alone_and_is_told() {
    let stage = setting().initialized().await;
    stage.api.deny(Denial {
        user: "serin-cli".into(),
        verb: "get".into(),
        group: String::new(),
        resource: "secrets".into(),
    });
    let (code_, said) = serin(&stage, "wait app").await;
    assert_eq!(code_, 0, "{said}");
    assert_eq!(said.matches("what the status says of it counts").count(), 1, "{said}");
    assert!(said.contains("secrets") && !said.contains("hush"), "{said}");
    release(&stage, "app:3").await;
    assert_eq!(code(&stage, "wait app --timeout 5s").await, 4);
    assert_eq!(code(&stage, "wait app").await, 0);
    assert_eq!(stage.image("app-primary"), "app:3");
}

#[tokio::test(start_paused = true)]
async fn leave_does_not_hand_back_to_a_configuration_that_was_not_promoted() {
    let stage = setting().initialized().await;
    stage.edit_canary(json!({ "suspend": true })).await;
    stage.until_reason("Suspended").await;
    change(&stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
    let (code_, said) = serin(&stage, "leave app").await;
    assert_eq!(code_, 7, "{said}");
    assert!(
        said.contains("a revision that was not promoted") && said.contains("Suspended"),
        "{said}"
    );
    change(&stage, "ConfigMap", "app-env", &json!({ "color": "red" })).await;
    let (code_, said) = serin(&stage, "leave app").await;
    assert_eq!(code_, 0, "{said}");
    assert!(stage.canary().is_null());
    no_request_lost(&stage);
}
