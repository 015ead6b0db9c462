//! What hooks are sent in whole releases (`spec/core.md` 8, 26 and 28 to 31). How it goes over the wire, and which answers are asked for
//! again, is in `tests/suite/hooks.rs`, on sockets.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use serin::sim::world::hooks::HookSays;

use super::{
    setting::{NAMESPACE, Setting, hook},
    stage::Stage,
};

/// The checksums that a hook was sent, without repetitions, in order.
fn checksums(stage: &Stage, name: &str) -> Vec<String> {
    let calls = stage.hooks.calls_to(name).into_iter();
    let mut sums: Vec<_> = calls.map(|called| called.call.body.checksum).collect();
    sums.dedup();
    sums
}

/// Also what of 30 and 31 the Canary says: how often to ask again, and that the certificate is not looked at.
#[tokio::test(start_paused = true)]
async fn core_026_a_hook_is_sent_name_namespace_phase_checksum_and_metadata() {
    let mut load = hook("rollout", "load");
    json_patch::merge(
        &mut load,
        &json!({ "metadata": { "key1": "val1" }, "retries": 1, "disableTLS": true }),
    );
    let stage = Setting::new()
        .analysis(&json!({ "webhooks": [load, hook("rollout", "plain")] }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    let calls = stage.hooks.calls_to("load");
    assert_eq!(calls.len(), 3, "one at each weight");
    for called in calls {
        let call = called.call;
        let body: Value = serde_json::to_value(&call.body).expect("a body is JSON");
        let checksum = call.body.checksum.clone();
        assert!(!checksum.is_empty());
        assert_eq!(
            body,
            json!({ "name": "app", "namespace": NAMESPACE, "phase": "Progressing", "checksum": checksum,
                "metadata": { "key1": "val1" } })
        );
        assert_eq!((call.retries, call.insecure_skip_verify), (1, true));
    }
    let plain = stage.hooks.calls_to("plain").remove(0).call;
    assert_eq!((plain.retries, plain.insecure_skip_verify), (0, false));
    assert!(plain.body.metadata.is_empty(), "{:?}", plain.body);
}

/// A listener that answers 500 is told nothing twice, and holds up neither the release nor what people see of it.
#[tokio::test(start_paused = true)]
async fn core_028_an_event_hook_has_the_checksum_of_the_run_and_its_errors_stop_nothing() {
    let stage = Setting::new()
        .hooks(&[("event", "listener"), ("rollout", "load")])
        .initialized()
        .await;
    stage.hooks.answer("listener", [HookSays::No("500: no room".into())]);
    let before = stage.hooks.calls_to("listener").len();
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    stage.pass(120).await;
    let heard = stage.hooks.calls_to("listener").split_off(before);
    let texts: Vec<&str> = heard
        .iter()
        .map(|called| called.call.body.metadata["eventMessage"].as_str())
        .collect();
    let events = stage.events();
    assert_eq!(
        texts,
        events[events.len() - texts.len()..],
        "each Event is told all the same"
    );
    assert!(
        texts.contains(&"Promotion completed! Scaling down app.test"),
        "{texts:?}"
    );
    let checksum = checksums(&stage, "load");
    assert_eq!(checksum.len(), 1, "one run has one checksum");
    let advance = heard
        .iter()
        .find(|called| called.call.body.metadata["eventMessage"].starts_with("Advance"))
        .expect("an advance must be told");
    assert_eq!(advance.call.body.checksum, checksum[0]);
    let text = stage
        .serin
        .last(|process| process.metrics.text().expect("metrics must be readable"));
    let untold = text
        .lines()
        .find(|line| line.starts_with("serin_untold_total") && line.contains("event hook"));
    assert!(
        untold.is_some_and(|line| line.ends_with(&format!(" {}", texts.len()))),
        "the errors are counted: {untold:?} of {}",
        texts.len()
    );
}

/// The template and what the pods read make the checksum: one run has one, the same of both has the same again.
#[tokio::test(start_paused = true)]
async fn core_029_the_checksum_follows_template_and_configurations() {
    let container = |image: &str| {
        json!([{ "name": "app", "image": image, "ports": [{ "name": "http", "containerPort": 9898 }],
            "envFrom": [{ "configMapRef": { "name": "app-env" } }] }])
    };
    let config = |color: &str| {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "app-env", "namespace": NAMESPACE },
            "data": { "color": color } })
    };
    let template = |image: &str| json!({ "template": { "spec": { "containers": container(image) } } });
    let mut stage = Setting::new()
        .hooks(&[("rollout", "load")])
        .object(config("red"))
        .deployment(&template("app:1"))
        .settings(|settings| settings.config_tracking = true)
        .initialized()
        .await;
    stage.edit_deployment("app", template("app:2")).await;
    after_another_run(&stage).await;
    for color in ["blue", "red"] {
        stage.change(&config(color)).await;
        after_another_run(&stage).await;
    }
    stage.serin.stop().await;
    stage.serin.settings(|settings| settings.config_tracking = false);
    stage.serin.start();
    after_another_run(&stage).await;
    assert_eq!(stage.status()["trackedConfigs"], Value::Null);
    let sums = checksums(&stage, "load");
    assert_eq!(sums.len(), 4, "one for each run: {sums:?}");
    assert_eq!(sums[0], sums[2], "the same template with the same configurations");
    let different: BTreeSet<_> = sums.iter().collect();
    assert_eq!(different.len(), 3, "another configuration, and none at all: {sums:?}");
}

/// Lets time pass until a release begins and is promoted.
async fn after_another_run(stage: &Stage) {
    stage.until_phase("Progressing").await;
    stage.until_phase("Succeeded").await;
}
