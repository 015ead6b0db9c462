//! Hooks, gates, events and alerts of whole releases (`spec/core.md` 8, 24 to 31; `spec/users.md` 33).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use k8s_openapi::ByteString;
use serde_json::json;
use serin::sim::{
    fault::{Action, Failure, Fault, RequestInfo},
    world::{hooks::HookSays, traffic::Behaviour},
};

use super::setting::{NAMESPACE, Setting, hook};

/// One hook of each kind that is asked, and one that is told.
const ALL: [(&str, &str); 8] = [
    ("confirm-rollout", "start-gate"),
    ("pre-rollout", "smoke"),
    ("rollout", "load"),
    ("confirm-traffic-increase", "traffic-gate"),
    ("confirm-promotion", "promotion-gate"),
    ("post-rollout", "report"),
    ("rollback", "panic-button"),
    ("event", "listener"),
];

/// The panic button is not pressed.
fn unpressed(stage: &super::stage::Stage) {
    stage.hooks.answer("panic-button", [HookSays::No("not now".into())]);
}

fn asked(stage: &super::stage::Stage) -> Vec<(String, String)> {
    stage
        .hook_calls()
        .into_iter()
        .filter(|(name, _)| name != "listener")
        .collect()
}

fn calls(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(name, phase)| ((*name).to_owned(), (*phase).to_owned()))
        .collect()
}

/// The phase and the text of each event that the listener heard.
fn heard(stage: &super::stage::Stage) -> Vec<(String, String)> {
    let told = stage.hooks.calls_to("listener").into_iter();
    told.map(|called| {
        (
            called.call.body.phase,
            called.call.body.metadata["eventMessage"].clone(),
        )
    })
    .collect()
}

/// Whether these texts came in this order, each with its phase; others may stand between them.
fn in_order(heard: &[(String, String)], expected: &[(&str, &str)]) {
    let mut rest = heard.iter();
    for (phase, part) in expected {
        assert!(
            rest.any(|(was, text)| was == phase && text.contains(part)),
            "{part:?} in phase {phase} is not in its place: {heard:#?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn core_024_hooks_and_events_of_a_run_without_analysis() {
    let stage = Setting::new().hooks(&ALL).raise().await;
    unpressed(&stage);
    stage.until_phase("Initialized").await;
    // Where nothing is judged from the beginning no metrics server is tried, as with Flagger.
    stage.edit_canary(json!({ "skipAnalysis": true })).await;
    stage.pass(20).await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    stage.pass(120).await;
    assert_eq!(
        asked(&stage),
        calls(&[("start-gate", "Initialized"), ("report", "Succeeded")])
    );
    in_order(
        &heard(&stage),
        &[
            ("Initializing", "all the metrics providers are available!"),
            ("Initializing", "app-primary.test not ready: "),
            ("Initialized", "Initialization done! app.test"),
            ("Initialized", "Confirm-rollout check start-gate passed"),
            ("Progressing", "New revision detected! Scaling up app.test"),
            ("Progressing", "Copying app.test template spec to app-primary.test"),
            (
                "Succeeded",
                "Promotion completed! Canary analysis was skipped for app.test",
            ),
            ("Succeeded", "Post-rollout check report passed"),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn core_025_hooks_and_events_of_a_whole_run() {
    let stage = Setting::new()
        .hooks(&ALL)
        .analysis(&json!({ "stepWeight": 100, "maxWeight": 100, "stepWeightPromotion": 50 }))
        .raise()
        .await;
    unpressed(&stage);
    stage.until_phase("Initialized").await;
    stage.pass(90).await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    stage.pass(120).await;
    let expected = calls(&[
        ("start-gate", "Initialized"),
        ("panic-button", "Progressing"),
        ("smoke", "Progressing"),
        ("traffic-gate", "Progressing"),
        ("panic-button", "Progressing"),
        ("load", "Progressing"),
        ("traffic-gate", "Progressing"),
        ("promotion-gate", "Progressing"),
        ("report", "Succeeded"),
    ]);
    assert_eq!(asked(&stage), expected);
    in_order(
        &heard(&stage),
        &[
            ("Initializing", "all the metrics providers are available!"),
            ("Initialized", "Initialization done! app.test"),
            ("Progressing", "Starting canary analysis for app.test"),
            ("Progressing", "Pre-rollout check smoke passed"),
            ("Progressing", "Confirm-traffic-increase check traffic-gate passed"),
            ("Progressing", "Advance app.test canary weight 100"),
            ("Progressing", "Confirm-traffic-increase check traffic-gate passed"),
            ("Progressing", "Confirm-promotion check promotion-gate passed"),
            ("Progressing", "Copying app.test template spec"),
            ("Promoting", "Advance app.test primary weight 50"),
            ("Promoting", "Advance app.test primary weight 100"),
            ("Succeeded", "Promotion completed! Scaling down app.test"),
            ("Succeeded", "Post-rollout check report passed"),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn core_028_an_event_hook_is_sent_what_the_event_says_and_once_each() {
    let stage = Setting::new().hooks(&[("event", "listener")]).initialized().await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    stage.pass(600).await;
    let heard: Vec<String> = heard(&stage).into_iter().map(|(_, text)| text).collect();
    assert_eq!(heard, stage.events(), "one call for each Event, in order");
    let body = stage
        .hooks
        .calls_to("listener")
        .pop()
        .expect("there must be calls")
        .call
        .body;
    assert_eq!((body.name.as_str(), body.namespace.as_str()), ("app", "test"));
    assert_eq!(body.metadata["eventType"], "Normal");
    assert!(
        body.metadata["timestamp"]
            .parse::<i64>()
            .is_ok_and(|at| at > 1_700_000_000_000)
    );
}

#[tokio::test(start_paused = true)]
async fn core_029_all_hooks_of_one_run_carry_one_checksum_and_the_next_run_another() {
    let stage = Setting::new().hooks(&[("rollout", "load")]).initialized().await;
    for image in ["app:2", "app:3"] {
        stage.push(image).await;
        stage
            .until("promoted", |stage| {
                stage.image("app-primary") == image && stage.phase() == "Succeeded"
            })
            .await;
    }
    let mut checksums: Vec<_> = stage
        .hooks
        .calls()
        .into_iter()
        .map(|called| called.call.body.checksum)
        .collect();
    assert_eq!(checksums.len(), 6, "three weights in each run");
    checksums.dedup();
    assert_eq!(checksums.len(), 2, "{checksums:?}");
}

#[tokio::test(start_paused = true)]
async fn core_027_a_refused_pre_rollout_hook_counts_and_no_traffic_moves() {
    let stage = Setting::new().hooks(&[("pre-rollout", "smoke")]).initialized().await;
    stage.hooks.answer("smoke", [HookSays::No("500: broken".into())]);
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    assert_eq!(stage.story.weights(), [0]);
    assert_eq!(stage.hook_calls().len(), 2, "the threshold is two");
    assert_eq!(
        stage.events_with("Halt app.test advancement pre-rollout check smoke failed 500: broken"),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_closed_start_gate_is_told_once_and_asked_at_each_interval_until_it_opens() {
    let stage = Setting::new()
        .hooks(&[("confirm-rollout", "start-gate")])
        .initialized()
        .await;
    stage.hooks.answer("start-gate", [HookSays::No("closed".into())]);
    stage.push("app:2").await;
    stage.until_phase("Waiting").await;
    let before = stage.hook_calls().len();
    stage.pass(300).await;
    let asked = stage.hook_calls().len() - before;
    assert!(
        (28..=31).contains(&asked),
        "{asked} times in 300 s at an interval of 10 s"
    );
    assert_eq!(stage.replicas("app"), 0, "nothing is scaled up behind a closed gate");
    assert_eq!(stage.events_with("waiting for approval start-gate"), 1);
    let alerts = stage.alerts();
    assert_eq!(
        alerts
            .iter()
            .filter(|(_, text)| text == "Canary is waiting for approval.")
            .count(),
        1,
        "{alerts:?}"
    );
    stage.hooks.answer("start-gate", [HookSays::Yes]);
    stage.until_phase("Succeeded").await;
}

/// W28.
#[tokio::test(start_paused = true)]
async fn a_revision_held_by_a_gate_is_dropped_when_the_target_returns_to_the_promoted_one() {
    let stage = Setting::new()
        .hooks(&[("confirm-rollout", "start-gate")])
        .initialized()
        .await;
    stage.hooks.answer("start-gate", [HookSays::No("closed".into())]);
    stage.push("app:2").await;
    stage.until_phase("Waiting").await;
    stage.push("app:1").await;
    stage.until_phase("Initialized").await;
    let before = stage.hook_calls().len();
    stage.pass(120).await;
    assert_eq!(stage.hook_calls().len(), before, "nobody waits any more");
}

/// W27, rank 33.
#[tokio::test(start_paused = true)]
async fn a_closed_traffic_gate_alerts_once_and_does_not_repeat_pre_rollout_hooks() {
    let stage = Setting::new()
        .hooks(&[("pre-rollout", "smoke"), ("confirm-traffic-increase", "traffic-gate")])
        .initialized()
        .await;
    stage.hooks.answer("traffic-gate", [HookSays::No("closed".into())]);
    stage.push("app:2").await;
    stage.until_reason("WaitingForTrafficApproval").await;
    stage.pass(200).await;
    let calls = stage.hook_calls();
    assert_eq!(calls.iter().filter(|(name, _)| name == "smoke").count(), 1, "{calls:?}");
    assert!(
        calls.iter().filter(|(name, _)| name == "traffic-gate").count() > 15,
        "{calls:?}"
    );
    let waiting = stage
        .alerts()
        .into_iter()
        .filter(|(_, text)| text.contains("traffic increase is waiting"))
        .count();
    assert_eq!((waiting, stage.weight()), (1, Some(0)));
    stage.hooks.answer("traffic-gate", [HookSays::Yes]);
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.hook_calls().iter().filter(|(name, _)| name == "smoke").count(), 1);
}

/// Rank 33: a gate that waits does not stop the checks.
#[tokio::test(start_paused = true)]
async fn metrics_that_fail_behind_a_closed_promotion_gate_roll_back() {
    let stage = Setting::new()
        .hooks(&[("confirm-promotion", "promotion-gate")])
        .initialized()
        .await;
    stage.hooks.answer("promotion-gate", [HookSays::No("closed".into())]);
    stage.push("app:2").await;
    stage.until_phase("WaitingPromotion").await;
    assert_eq!(stage.weight(), Some(60));
    assert_eq!(
        stage.status()["canaryWeight"],
        60,
        "the status says what the route does"
    );
    stage.world.change(|script| {
        script.answers(
            "app:2",
            Behaviour {
                success: 50.0,
                latency: 120.0,
            },
        )
    });
    stage.until_phase("Failed").await;
    assert_eq!(stage.weight(), Some(0));
    let waiting = stage
        .alerts()
        .into_iter()
        .filter(|(_, text)| text.contains("promotion is waiting"))
        .count();
    assert_eq!(waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_hook_that_says_yes_rolls_back_with_a_warning() {
    let stage = Setting::new()
        .hooks(&[("rollback", "panic-button")])
        .initialized()
        .await;
    unpressed(&stage);
    stage.push("app:2").await;
    stage.until_weight(40).await;
    stage.hooks.answer("panic-button", [HookSays::Yes]);
    stage.until_phase("Failed").await;
    assert_eq!(stage.events_with("Rollback check panic-button passed"), 1);
    assert!(
        stage
            .alerts()
            .contains(&("Warn".into(), "Rolling back manual webhook invoked".into()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_muted_gate_says_so_in_an_event_and_raises_no_alert() {
    let mut gate = super::setting::hook("confirm-rollout", "start-gate");
    gate["muteAlert"] = json!(true);
    let stage = Setting::new()
        .analysis(&json!({ "webhooks": [gate] }))
        .initialized()
        .await;
    stage.hooks.answer("start-gate", [HookSays::No("closed".into())]);
    stage.push("app:2").await;
    stage.until_phase("Waiting").await;
    stage.pass(60).await;
    assert_eq!(stage.events_with("waiting for approval start-gate"), 1);
    assert!(
        !stage.alerts().iter().any(|(_, text)| text.contains("waiting")),
        "{:?}",
        stage.alerts()
    );
}

/// A slow hook delays nothing else (`design.md`, "Questions are jobs").
#[tokio::test(start_paused = true)]
async fn a_new_revision_is_answered_while_a_hook_hangs() {
    let mut load = super::setting::hook("rollout", "load");
    load["timeout"] = json!("300s");
    let stage = Setting::new()
        .analysis(&json!({ "webhooks": [load] }))
        .initialized()
        .await;
    stage.hooks.answer("load", [HookSays::Nothing]);
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage
        .until("the hook is called", |stage| !stage.hook_calls().is_empty())
        .await;
    let before = stage.clock.now();
    stage.push("app:3").await;
    stage.until_weight(0).await;
    assert!((stage.clock.now() - before).num_seconds() < 10);
}

/// Invariant 4: a revision that waits cuts off none of the hooks that come after the last run, however many there are.
#[tokio::test(start_paused = true)]
async fn all_hooks_after_a_run_are_called_though_a_revision_waits() {
    let names = ["after-1", "after-2", "after-3", "after-4", "after-5", "after-6"];
    let stage = Setting::new()
        .hooks(&names.map(|name| ("post-rollout", name)))
        .initialized()
        .await;
    stage
        .hooks
        .answer("after", [HookSays::YesAfter(std::time::Duration::from_secs(8))]);
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    stage.push("app:3").await;
    stage.until_phase("Progressing").await;
    for name in names {
        let calls = stage.hook_calls().iter().filter(|(called, _)| called == name).count();
        assert_eq!(calls, 1, "{name}: {:?}", stage.hook_calls());
    }
    stage.until_phase("Succeeded").await;
}

/// W26, core 92; the provider's Secret holds its address.
#[tokio::test(start_paused = true)]
async fn core_092_an_alert_without_severity_is_sent_everything() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "slack", "namespace": "test" },
        "data": { "address": ByteString(b"https://chat.example/services/secret-of-the-channel".to_vec()) },
    });
    let provider = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider", "metadata": { "name": "chat", "namespace": "test" },
        "spec": { "type": "slack", "channel": "team-a", "secretRef": { "name": "slack" } },
    });
    let stage = Setting::new()
        .object(secret)
        .object(provider)
        .analysis(&json!({ "alerts": [
            { "name": "all", "providerRef": { "name": "chat" } },
            { "name": "bad news", "providerRef": { "name": "chat" }, "severity": "error" },
        ] }))
        .initialized()
        .await;
    let sent = stage.chat.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(
        (sent[0].destination.channel.as_str(), sent[0].message.text.as_str()),
        ("team-a", "New Deployment detected, initialization completed.")
    );
    assert_eq!(
        sent[0].destination.address.reveal(),
        "https://chat.example/services/secret-of-the-channel"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_gets_what_its_secret_holds_at_the_moment_and_nothing_of_it_is_told() {
    let secret = |token: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "gate-token", "namespace": NAMESPACE },
            "data": { "Authorization": ByteString(token.as_bytes().to_vec()) },
        })
    };
    let mut gate = hook("confirm-rollout", "gate");
    gate["headersFrom"] = json!({ "name": "gate-token" });
    let mut listener = hook("event", "listener");
    listener["headersFrom"] = json!({ "name": "gate-token" });
    let stage = Setting::new()
        .object(secret("Bearer s3cret-1"))
        .analysis(&json!({ "webhooks": [gate, listener] }))
        .initialized()
        .await;
    stage.hooks.answer("gate", [HookSays::No("closed".into())]);
    stage.push("app:2").await;
    stage.until_phase("Waiting").await;
    stage.change(&secret("Bearer s3cret-2")).await;
    stage.pass(30).await;
    let shown = |name: &str| -> Vec<String> {
        let calls = stage.hooks.calls_to(name).into_iter();
        calls
            .map(|called| called.call.credentials.headers[0].1.reveal().to_owned())
            .collect()
    };
    assert_eq!(shown("gate").first().map(String::as_str), Some("Bearer s3cret-1"));
    assert_eq!(
        shown("gate").last().map(String::as_str),
        Some("Bearer s3cret-2"),
        "read at each call"
    );
    assert!(shown("listener").iter().all(|value| value.starts_with("Bearer ")));
    stage.delete("v1", "Secret", "gate-token").await;
    let asked = shown("gate").len();
    stage.pass(30).await;
    assert_eq!(shown("gate").len(), asked, "without it nobody is called");
    // The words of a gate are written with the revision that it keeps back.
    stage.push("app:3").await;
    stage
        .until("told", |stage| {
            stage.why("message").contains("secret gate-token.test: not found")
        })
        .await;
    assert!(!stage.status().to_string().contains("s3cret"), "{}", stage.status());
}

/// The first requests for a Secret find no server.
#[derive(Default)]
struct SecretsLate(AtomicUsize);

impl Fault for SecretsLate {
    fn on_request(&self, request: &RequestInfo) -> Action {
        if request.resource == "secrets" && request.verb == "get" && self.0.fetch_add(1, Ordering::SeqCst) < 3 {
            Action::FailBefore(Failure::ConnectionReset)
        } else {
            Action::Pass
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_read_for_a_moment_fails_no_check() {
    let mut check = hook("rollout", "check");
    check["headersFrom"] = json!({ "name": "token" });
    let late = Arc::new(SecretsLate::default());
    let stage = Setting::new()
        .object(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "token", "namespace": NAMESPACE },
            "data": { "X-Token": ByteString(b"s3cret".to_vec()) },
        }))
        .analysis(&json!({ "threshold": 1, "webhooks": [check] }))
        .fault(late.clone())
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert!(late.0.load(Ordering::SeqCst) > 3, "it was asked for, in vain at first");
    assert!(!stage.hooks.calls_to("check").is_empty());
}
