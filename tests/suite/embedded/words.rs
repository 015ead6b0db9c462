//! A person's word on the embedded cluster: annotations and the commands that write and read them (issue of a release's whole life,
//! `docs/words.md`).

use serde_json::json;
use serin::cli::release::ReleaseError;
use serin::sim::world::{hooks::HookSays, traffic::Behaviour};

use super::command::spoken;
use super::setting::{APP, Setting};
use super::stage::{Stage, canary};

/// What a command prints, or how it ends.
async fn serin(stage: &Stage, line: &str) -> Result<String, ReleaseError> {
    let (said, ended) = spoken(stage, stage.api.client("serin-cli"), line).await;
    ended.map(|()| said)
}

async fn code(stage: &Stage, line: &str) -> u8 {
    serin(stage, line).await.map_or_else(|error| error.exit_code(), |_| 0)
}

/// The last word that was heard.
fn last(stage: &Stage) -> serde_json::Value {
    let words = stage.status()["serin"]["words"]["history"].take();
    words
        .as_array()
        .and_then(|words| words.last())
        .cloned()
        .unwrap_or_default()
}

/// Revision 2 with its first traffic.
async fn stepping() -> Stage {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn an_annotation_by_hand_is_followed_once_and_told_with_who_set_it() {
    let stage = stepping().await;
    let revision = stage.status()["lastAppliedSpec"]
        .as_str()
        .expect("a revision")
        .to_owned();
    let digits = revision.trim_start_matches("v1:")[..12].to_owned();
    let value = format!("{digits}#77,too slow");
    stage
        .change(&canary(
            &json!({"metadata": {"annotations": {"serin.dev/abort": value}}}),
        ))
        .await;
    stage.until_phase("Failed").await;
    let heard = last(&stage);
    assert_eq!(
        (&heard["verb"], &heard["reason"]),
        (&json!("abort"), &json!("too slow"))
    );
    assert!(heard["by"].is_string() && heard["at"].is_string(), "{heard}");
    assert_eq!(stage.status()["serin"]["outcome"]["reason"], "Aborted");
    stage.serin.kill();
    stage.serin.start();
    stage.push("app:3").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.events_with("A person said abort to app.test"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_commands_say_each_word_and_what_comes_of_it() {
    let stage = stepping().await;
    let said = serin(&stage, "pause app --reason lunch --wait")
        .await
        .expect("followed");
    assert!(
        said.contains("at weight 20: the release is held there") && said.contains("Paused"),
        "{said}"
    );
    assert_eq!(last(&stage)["by"], "serin-cli");
    stage.pass(120).await;
    assert_eq!(stage.weight(), Some(20));
    let said = serin(&stage, "promote app --wait").await.expect("followed");
    assert!(said.contains("the next step is weight 40"), "{said}");
    stage.until_weight(40).await;
    serin(&stage, "goto app 15 --wait").await.expect("followed");
    stage.until_weight(15).await;
    assert_eq!(code(&stage, "resume app --wait").await, 7, "nothing is paused");
    assert_eq!(code(&stage, "goto app 15 --wait").await, 7, "it is there already");
    serin(&stage, "promote-full app --wait").await.expect("followed");
    assert_eq!(code(&stage, "wait app").await, 0);
    assert_eq!(stage.image("app-primary"), "app:2");
    assert_eq!(code(&stage, "abort app").await, 7, "nothing is being released");
    assert!(stage.answers().lost < 0.5, "no request was lost");
}

#[tokio::test(start_paused = true)]
async fn a_gate_is_approved_or_rejected_by_a_person() {
    let stage = Setting::new().hooks(&[("confirm-rollout", "gate")]).initialized().await;
    stage.hooks.answer("gate", [HookSays::No("closed".into())]);
    stage.push("app:2").await;
    stage.until_phase("Waiting").await;
    serin(&stage, "reject app --reason no --wait").await.expect("followed");
    stage.until_phase("Failed").await;
    assert_eq!(stage.replicas("app"), 0, "nothing was scaled up");
    assert_eq!(code(&stage, "wait app").await, 3);
    serin(&stage, "retry app --wait").await.expect("followed");
    stage.until_phase("Waiting").await;
    serin(&stage, "approve app --wait").await.expect("followed");
    assert_eq!(code(&stage, "wait app").await, 0);
}

#[tokio::test(start_paused = true)]
async fn wait_tells_the_outcomes_apart_and_never_takes_the_last_release_for_this_one() {
    let stage = Setting::new()
        .script(|script| {
            let bad = Behaviour {
                success: 50.0,
                ..Behaviour::default()
            };
            script.answers("app:2", bad)
        })
        .initialized()
        .await;
    assert_eq!(code(&stage, "wait nobody").await, 5);
    stage.push("app:2").await;
    assert_eq!(code(&stage, "wait app").await, 3, "asked right after the push");
    // Until no metric reaches back to the bad one.
    stage.pass(90).await;
    stage.push("app:3").await;
    assert_eq!(code(&stage, "wait app --timeout 5s").await, 4);
    assert_eq!(code(&stage, "wait app").await, 0);
}

#[tokio::test(start_paused = true)]
async fn get_and_why_show_what_is_awaited() {
    let stage = stepping().await;
    stage.pass(6).await;
    let table = serin(&stage, "get").await.expect("a table");
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["NAME", "PHASE", "WEIGHT"], "{table}");
    assert_eq!(lines[1][..3], [APP, "Progressing", "20"], "{table}");
    assert!(table.contains("the next check"), "{table}");
    let json: serde_json::Value =
        serde_json::from_str(&serin(&stage, "get -A -o json").await.expect("JSON")).expect("JSON");
    assert_eq!((&json[0]["name"], &json[0]["weight"]), (&json!(APP), &json!(20)));
    serin(&stage, "pause app --reason lunch --wait")
        .await
        .expect("followed");
    let story = serin(&stage, "why app").await.expect("a story");
    for part in [
        "app.test: Progressing, weight 20 of the steps 20, 40, 60",
        "Paused: a person holds the run at weight 20 (serin-cli): lunch",
        "a person: resume, promote, goto or abort",
        "pause by serin-cli",
        "Promoted Unknown (Progressing)",
    ] {
        assert!(story.contains(part), "{part:?} is missing: {story}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&serin(&stage, "why app -o json").await.expect("JSON")).expect("JSON");
    assert_eq!(json["why"]["reason"], "Paused");
    serin(&stage, "resume app").await.expect("followed");
    stage.until_phase("Succeeded").await;
}

/// Git holds a word, a person says another one, and the tool that applies Git brings the first one back.
#[tokio::test(start_paused = true)]
async fn a_word_that_a_tool_applies_again_opens_no_later_gate() {
    let stage = Setting::new()
        .hooks(&[("confirm-traffic-increase", "gate")])
        .initialized()
        .await;
    stage.hooks.answer("gate", [HookSays::No("closed".into())]);
    let closed_at = async |weight: u64| {
        stage
            .until("closed", |stage| {
                stage.weight() == Some(weight) && !stage.status()["serin"]["gate"].is_null()
            })
            .await;
    };
    stage.push("app:2").await;
    closed_at(0).await;
    stage.say("approve", "git").await;
    closed_at(20).await;
    serin(&stage, "approve app --wait").await.expect("followed");
    closed_at(40).await;
    stage.say("approve", "git").await;
    stage.pass(60).await;
    stage.serin.kill();
    stage.serin.start();
    stage.pass(60).await;
    assert_eq!(stage.weight(), Some(40), "it was said of the first gate");
    assert_eq!(stage.events_with("A person said approve"), 2);
    stage.say("approve", "git-2").await;
    closed_at(60).await;
    stage.hooks.answer("gate", [HookSays::Yes]);
    stage.until_phase("Succeeded").await;
}

#[tokio::test(start_paused = true)]
async fn wait_does_not_take_the_failure_before_a_retry_for_its_end() {
    let stage = stepping().await;
    serin(&stage, "abort app").await.expect("said");
    assert_eq!(code(&stage, "wait app").await, 3);
    serin(&stage, "retry app").await.expect("said");
    assert_eq!(code(&stage, "wait app").await, 0);
    assert_eq!(stage.image("app-primary"), "app:2");
}
