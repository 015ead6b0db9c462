//! Istio from end to end: a `VirtualService` and two `DestinationRules`, taken over, held, handed back.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use serin::sim::world::traffic::Behaviour;

use super::{
    setting::{APP, NAMESPACE, Setting},
    stage::{Stage, named},
};

const VERSION: &str = "networking.istio.io/v1beta1";
const CANARY: &str = "flagger.app/v1beta1";

fn istio() -> Setting {
    Setting::with_provider("istio")
}

fn route(stage: &Stage) -> Value {
    stage.object(VERSION, "VirtualService", APP)
}

fn rule(stage: &Stage, side: &str) -> Value {
    stage.object(VERSION, "DestinationRule", &format!("{APP}-{side}"))
}

fn no_request_lost(stage: &Stage) {
    let lost = stage.answers().lost;
    assert!(lost < 1.0, "{lost} requests were lost");
}

/// A route that the team made, with hosts, a gateway and retries of its own.
fn of_the_team() -> Value {
    json!({
        "apiVersion": VERSION,
        "kind": "VirtualService",
        "metadata": { "name": APP, "namespace": NAMESPACE, "annotations": { "note": "mine" } },
        "spec": {
            "hosts": ["app.example"],
            "gateways": ["istio-system/public"],
            "exportTo": ["*"],
            "http": [
                { "match": [{ "uri": { "prefix": "/old" } }], "redirect": { "uri": "/" } },
                { "retries": { "attempts": 2, "retryRemoteLocalities": true }, "route": [{ "destination": { "host": APP } }] },
            ],
        },
    })
}

/// Kinds of Istio in the order in which Serin first wrote them, and the objects that went, in their order.
fn written(stage: &Stage) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let inside = lines.clone();
    stage.api.on_write(move |write| {
        if matches!(write.kind, "VirtualService" | "DestinationRule") {
            let line = format!("{} {} {}", write.verb, write.kind, write.name);
            inside.lock().expect("must not be poisoned").push(line);
        }
    });
    lines
}

#[tokio::test(start_paused = true)]
async fn a_bad_version_is_rolled_back_and_no_request_is_lost() {
    let bad = Behaviour {
        success: 80.0,
        latency: 90.0,
    };
    let stage = istio()
        .script(|script| script.answers("app:2", bad))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    assert_eq!(stage.story.weights(), [0, 20, 0]);
    assert_eq!((stage.image("app-primary"), stage.replicas(APP)), ("app:1".into(), 0));
    assert!(
        stage.events_with("advancement success rate 80.00% < 99%") > 0,
        "{:?}",
        stage.events()
    );
    no_request_lost(&stage);
}

#[tokio::test(start_paused = true)]
async fn destinations_stand_before_the_route_and_go_after_it_has_left_them() {
    let stage = istio().without_canary().raise().await;
    let lines = written(&stage);
    stage
        .create(&istio().canary.expect("the setting must have a Canary"))
        .await;
    stage.until_phase("Initialized").await;
    let first = [
        "create DestinationRule app-primary",
        "create DestinationRule app-canary",
        "create VirtualService app",
    ];
    assert_eq!(*lines.lock().expect("must not be poisoned"), first);
    for side in ["primary", "canary"] {
        let made = rule(&stage, side);
        assert_eq!(made["spec"], json!({ "host": format!("{APP}-{side}") }));
        assert_eq!(made["metadata"]["ownerReferences"][0]["kind"], "Canary");
    }
    stage.delete(CANARY, "Canary", APP).await;
    stage
        .until("gone", |stage| {
            stage.canary().is_null() && rule(stage, "canary").is_null()
        })
        .await;
    stage.pass(30).await;
    let lines = lines.lock().expect("must not be poisoned").clone();
    let last = |line: &str| lines.iter().rposition(|it| it == line);
    let gone = lines.iter().position(|it| it.starts_with("delete DestinationRule"));
    assert!(last("patch VirtualService app") < gone, "{lines:?}");
    let spec = route(&stage)["spec"].take();
    assert_eq!(
        spec["http"][0]["route"],
        json!([{ "destination": { "host": APP }, "weight": 100 }])
    );
    no_request_lost(&stage);
}

/// Cases 26 of `spec/routers.md` and 72 of `spec/core.md`.
#[tokio::test(start_paused = true)]
async fn core_072_with_revert_on_deletion_a_route_that_stood_before_is_put_back() {
    for policy in [
        json!({}),
        json!({ "trafficPolicy": { "loadBalancer": { "simple": "RANDOM" } } }),
    ] {
        let stage = istio()
            .spec(&json!({ "revertOnDeletion": true, "service": policy }))
            .spec(&json!({ "service": { "timeout": "9s" } }))
            .object(of_the_team())
            .initialized()
            .await;
        let live = route(&stage);
        let drawn = &live["spec"]["http"][1];
        assert_eq!(
            drawn["retries"],
            json!({ "attempts": 2, "retryRemoteLocalities": true })
        );
        assert_eq!(
            (&drawn["timeout"], &live["spec"]["exportTo"]),
            (&json!("9s"), &json!(["*"]))
        );
        assert_eq!(live["spec"]["hosts"], json!(["app.example"]));
        assert_eq!(live["spec"]["http"][0], of_the_team()["spec"]["http"][0]);
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
        stage.delete(CANARY, "Canary", APP).await;
        stage.until("gone", |stage| stage.canary().is_null()).await;
        let back = route(&stage);
        assert_eq!(back["spec"], of_the_team()["spec"]);
        assert_eq!(back["metadata"]["annotations"], json!({ "note": "mine" }));
        assert_eq!(stage.selects(APP), APP);
        no_request_lost(&stage);
    }
}

#[tokio::test(start_paused = true)]
async fn core_073_a_delegate_without_hosts_and_gateways_is_promoted() {
    let stage = istio()
        .spec(&json!({ "service": { "delegation": true, "portDiscovery": true } }))
        .initialized()
        .await;
    let live = route(&stage);
    assert_eq!(
        (&live["spec"]["hosts"], &live["spec"]["gateways"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(live["spec"]["http"][0]["route"][0]["destination"]["port"]["number"], 80);
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:2");
}

#[tokio::test(start_paused = true)]
async fn core_075_an_unjudged_release_is_promoted() {
    let stage = istio().spec(&json!({ "skipAnalysis": true })).initialized().await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:2");
    assert!(
        stage
            .numbers
            .asked()
            .iter()
            .all(|asked| !asked.query.contains("istio_requests_total"))
    );
}

#[tokio::test(start_paused = true)]
async fn connections_are_released_by_weight() {
    let stage = istio()
        .spec(&json!({ "service": { "appProtocol": "TCP", "match": [{ "port": 80 }] } }))
        .analysis(&json!({ "metrics": [] }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
    let spec = route(&stage)["spec"].take();
    assert_eq!(
        (spec.get("http"), &spec["tcp"][0]["match"]),
        (None, &json!([{ "port": 80 }]))
    );
}

#[tokio::test(start_paused = true)]
async fn a_destination_rule_that_is_edited_or_deleted_is_put_right_and_the_weight_stays() {
    let policy = json!({ "loadBalancer": { "simple": "LEAST_REQUEST" } });
    let stage = istio()
        .spec(&json!({ "service": { "trafficPolicy": policy } }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.pass(1).await;
    let spoilt = json!({ "spec": { "host": "elsewhere", "subsets": [{ "name": "mine" }], "trafficPolicy": null } });
    stage
        .change(&named(VERSION, "DestinationRule", "app-canary", &spoilt))
        .await;
    let whole = json!({ "host": "app-canary", "subsets": [{ "name": "mine" }], "trafficPolicy": policy });
    stage
        .until("repaired", |stage| rule(stage, "canary")["spec"] == whole)
        .await;
    assert_eq!(stage.weight(), Some(20));
    stage.delete(VERSION, "DestinationRule", "app-primary").await;
    stage
        .until("made anew", |stage| {
            rule(stage, "primary")["spec"]["trafficPolicy"] == policy
        })
        .await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_policy_reaches_both_rules_at_rest() {
    let stage = istio().initialized().await;
    let policy = json!({ "connectionPool": { "http": { "maxRetries": 2 } } });
    stage
        .edit_canary(json!({ "service": { "trafficPolicy": policy } }))
        .await;
    stage
        .until("both follow", |stage| {
            ["primary", "canary"].map(|side| rule(stage, side)["spec"]["trafficPolicy"].take())
                == [policy.clone(), policy.clone()]
        })
        .await;
    stage.edit_canary(json!({ "service": { "trafficPolicy": null } })).await;
    stage
        .until("both let go", |stage| {
            rule(stage, "primary")["spec"] == json!({ "host": "app-primary" })
        })
        .await;
}

/// Case 57 of `spec/routers.md`.
#[tokio::test(start_paused = true)]
async fn a_kind_of_istio_that_is_not_served_is_named_and_the_application_serves_on() {
    for kind in ["VirtualService", "DestinationRule"] {
        let stage = istio().without_kind(kind).raise().await;
        stage.until("named", |stage| stage.why("message").contains(kind)).await;
        assert_eq!(stage.why("reason"), "KindNotServed", "{}", stage.why("message"));
        assert_eq!((stage.selects(APP), stage.ready(APP)), (APP.to_owned(), 3));
        no_request_lost(&stage);
    }
}
