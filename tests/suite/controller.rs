//! The controller on the embedded cluster: what it writes, and what the cluster looks like afterwards.

mod changes;
mod house;

use serde_json::{Value, json};
use serin::{
    controller::settings::Settings,
    sim::{
        apiserver::Denial,
        world::{manifests, traffic::Behaviour},
    },
};

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
    let mut malformed = manifests::canary("test", "bad", "gatewayapi:v1", &manifests::analysis("10s", 2, 50, 25));
    malformed["spec"]["analysis"]["stepWeight"] = json!(12.5);
    house.create(&malformed).await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    let stalled = condition(&house.object("flagger.app/v1beta1", "Canary", "bad"), "Stalled");
    assert_eq!(
        (&stalled["status"], &stalled["reason"]),
        (&json!("True"), &json!("MalformedSpec"))
    );
    let message = stalled["message"].as_str().unwrap_or_default();
    assert!(message.contains("spec.analysis.stepWeight"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_controller_killed_at_any_second_of_a_run_changes_nothing_about_its_end() {
    for second in [3, 20, 41] {
        let house = House::new().await;
        house.app("gatewayapi:v1").await;
        house.pass(second / 2).await;
        house.restart();
        house.until("Initialized", 120).await;
        house.release("podinfo:2").await;
        house.pass(second).await;
        house.restart();
        house.until("Succeeded", 600).await;
        assert_eq!(house.image("podinfo-primary"), "podinfo:2", "killed after {second} s");
        assert_eq!(
            (house.replicas("podinfo"), house.weights()),
            (0, (100, 0)),
            "killed after {second} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_edit_of_the_route_is_repaired_and_a_rival_is_named() {
    let house = House::new().await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    house.release("podinfo:2").await;
    house.until("Progressing", 30).await;
    house.pass(8).await;
    let (intended, stolen) = (house.weights(), (10, 90));
    for _ in 0..3 {
        house.steer(stolen).await;
        // The news may come two seconds late, and each repair waits longer than the one before.
        house.pass(8).await;
        assert_eq!(house.weights(), intended);
    }
    let told = house.events().iter().any(|text| text.contains("rival-team"));
    assert!(told, "{:?}", house.events());
    house.until("Succeeded", 600).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_told_in_the_servers_words_and_tried_again() {
    let house = House::new().await;
    let denial = Denial {
        user: "serin".into(),
        verb: "create".into(),
        group: "gateway.networking.k8s.io".into(),
        resource: "httproutes".into(),
    };
    house.api.deny(denial);
    house.app("gatewayapi:v1").await;
    house.pass(45).await;
    let stands = condition(&house.canary(), "Ready");
    let message = stands["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("forbidden") && message.contains("httproutes"),
        "{stands}"
    );
    let tries = house
        .requests()
        .iter()
        .filter(|it| it.contains("create httproutes"))
        .count();
    assert!((2..10).contains(&tries), "{tries}");
    house.api.allow_all();
    house.until("Initialized", 300).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_canary_hands_everything_back() {
    let house = House::new().await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    house.delete_canary().await;
    house.pass(120).await;
    assert_eq!(house.canary(), Value::Null, "{}", house.requests().join("\n"));
    assert_eq!(house.replicas("podinfo"), 2);
    assert_eq!(house.service("podinfo")["spec"]["selector"], json!({"app": "podinfo"}));
    assert_eq!(
        house.replicas("podinfo-primary"),
        -1,
        "the garbage collector takes the primary"
    );
    let route = house.object("gateway.networking.k8s.io/v1", "HTTPRoute", "podinfo");
    assert_eq!(route["spec"]["rules"][0]["backendRefs"][0]["name"], "podinfo");
}

#[tokio::test(start_paused = true)]
async fn of_two_canaries_on_one_target_the_second_touches_nothing() {
    let house = House::new().await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    let mut second = house.canary_manifest();
    second["metadata"]["name"] = "second".into();
    house.create(&second).await;
    house.pass(30).await;
    let stalled = condition(&house.object("flagger.app/v1beta1", "Canary", "second"), "Stalled");
    assert_eq!(
        (&stalled["status"], &stalled["reason"]),
        (&json!("True"), &json!("TargetTaken"))
    );
    house.release("podinfo:2").await;
    house.until("Progressing", 30).await;
    house.until("Succeeded", 600).await;
}

#[tokio::test(start_paused = true)]
async fn observing_writes_nothing() {
    let house = House::with(Settings {
        observe_only: true,
        ..Settings::default()
    })
    .await;
    house.app("gatewayapi:v1").await;
    house.pass(120).await;
    let writes: Vec<String> = house
        .requests()
        .into_iter()
        .filter(|it| !it.contains(" get ") && !it.contains(" list "))
        .collect();
    assert_eq!(writes, Vec::<String>::new());
    assert_eq!(house.canary()["status"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_canary_made_anew_inherits_what_the_old_one_left() {
    let house = House::new().await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    house.remake_canary().await;
    house.until("Initialized", 120).await;
    let canary = house.canary();
    let owner = &house.object("apps/v1", "Deployment", "podinfo-primary")["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], canary["metadata"]["uid"]);
    house.pass(60).await;
    assert_eq!(house.replicas("podinfo-primary"), 2);
}

#[tokio::test(start_paused = true)]
async fn while_another_controller_writes_the_status_serin_only_watches() {
    let house = House::new().await;
    house.pass(5).await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    house.pass(2).await;
    house.write_status_as("flagger", &json!({"phase": "Progressing"})).await;
    house.pass(10).await;
    let stalled = condition(&house.canary(), "Stalled");
    assert_eq!(
        (&stalled["status"], &stalled["reason"]),
        (&json!("True"), &json!("RivalController"))
    );
    assert!(
        stalled["message"].as_str().unwrap_or_default().contains("flagger"),
        "{stalled}"
    );
    house.release("podinfo:2").await;
    house.pass(60).await;
    assert_eq!(house.replicas("podinfo"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_field_that_is_put_right_is_forgotten() {
    let house = House::new().await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    let step = |weight: Value| {
        json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "podinfo", "namespace": "test"},
            "spec": {"analysis": {"stepWeight": weight}},
        })
    };
    house.change(&step(json!(12.5))).await;
    house.pass(5).await;
    assert_eq!(condition(&house.canary(), "Stalled")["status"], "True");
    house.change(&step(json!(25))).await;
    house.pass(5).await;
    assert_eq!(condition(&house.canary(), "Stalled")["status"], "False");
    assert_eq!(condition(&house.canary(), "Ready")["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn in_one_namespace_the_others_are_not_even_listed() {
    let settings = Settings {
        namespace: Some("elsewhere".into()),
        ..Settings::default()
    };
    let house = House::with(settings).await;
    house.app("gatewayapi:v1").await;
    house.pass(60).await;
    assert_eq!(house.canary()["status"], Value::Null);
    let audit = house.api.audit();
    let mut mine = audit
        .iter()
        .filter(|entry| entry.user == "serin" && !entry.resource.is_empty());
    assert!(mine.all(|entry| entry.namespace == "elsewhere"));
}

#[tokio::test(start_paused = true)]
async fn a_told_stop_ends_the_controller_at_once() {
    let house = House::new().await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    let began = house.clock.now();
    house.stop().await;
    assert_eq!(house.clock.now(), began);
    house.release("podinfo:2").await;
    house.pass(60).await;
    assert_eq!(house.replicas("podinfo"), 0, "nobody acts any more");
}

fn condition(object: &Value, type_: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions
        .into_iter()
        .find(|it| it["type"] == type_)
        .unwrap_or_default()
}
