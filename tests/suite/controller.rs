//! The controller on the embedded cluster: what it writes, and what the cluster looks like afterwards.

mod house;

use serde_json::{Value, json};
use serin::sim::world::{manifests, traffic::Behaviour};

use house::House;

#[tokio::test(start_paused = true)]
async fn a_live_deployment_is_taken_over() {
    let house = House::new().await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    assert_eq!(house.replicas("podinfo"), 0);
    assert_eq!(house.replicas("podinfo-primary"), 2);
    assert_eq!(
        house.service("podinfo")["spec"]["selector"],
        json!({"app": "podinfo-primary"})
    );
    assert_eq!(house.weights(), (100, 0));
    assert_eq!(
        house.canary()["metadata"]["finalizers"],
        json!(["finalizer.flagger.app"])
    );
}

#[tokio::test(start_paused = true)]
async fn a_good_release_is_promoted_step_by_step() {
    for provider in ["gatewayapi:v1", "contour"] {
        let house = House::new().await;
        house.app(provider).await;
        house.until("Initialized", 120).await;
        house.release("podinfo:2").await;
        house.until("Progressing", 30).await;
        house.until("Succeeded", 600).await;
        assert_eq!(house.image("podinfo-primary"), "podinfo:2", "{provider}");
        assert_eq!(
            (house.replicas("podinfo"), house.weights()),
            (0, (100, 0)),
            "{provider}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_rolled_back() {
    let house = House::new().await;
    house.world.change(|script| {
        script.answers(
            "podinfo:2",
            Behaviour {
                success: 50.0,
                ..Behaviour::default()
            },
        )
    });
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    house.release("podinfo:2").await;
    house.until("Failed", 600).await;
    assert_eq!(house.image("podinfo-primary"), "podinfo:1");
    assert_eq!((house.replicas("podinfo"), house.weights()), (0, (100, 0)));
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_asked_and_nothing_is_written() {
    let house = House::new().await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    house.pass(30).await;
    let before = house.requests();
    house.pass(240).await;
    let since: Vec<String> = house.requests().split_off(before.len());
    assert_eq!(since, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_malformed_canary_is_told_and_hurts_no_other() {
    let house = House::new().await;
    let mut malformed = manifests::canary("test", "bad", "gatewayapi:v1", &json!({"stepWeight": 12.5}));
    malformed["spec"]["analysis"]["interval"] = "10s".into();
    house.create(&malformed).await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    let stalled = condition(&house.object("flagger.app/v1beta1", "Canary", "bad"), "Stalled");
    assert_eq!(
        (&stalled["status"], &stalled["reason"]),
        (&json!("True"), &json!("InvalidSpec"))
    );
    let message = stalled["message"].as_str().unwrap_or_default();
    assert!(message.contains("spec.analysis.stepWeight"), "{message}");
}

fn condition(object: &Value, type_: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions
        .into_iter()
        .find(|it| it["type"] == type_)
        .unwrap_or_default()
}
