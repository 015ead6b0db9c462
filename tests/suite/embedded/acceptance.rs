//! Acceptance cases of `spec/core.md` 8 that have no other home here, by their numbers.

use serde_json::{Value, json};
use serin::sim::{
    apiserver::Denial,
    world::{manifests, traffic::Behaviour},
};

use super::{setting::Setting, stage::Stage};

const CANARY: &str = "flagger.app/v1beta1";

/// Name and port of each port of `app-canary`.
fn ports(stage: &Stage) -> Vec<(String, u64)> {
    let service = stage.object("v1", "Service", "app-canary");
    let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    ports
        .iter()
        .map(|port| {
            let name = port["name"].as_str().unwrap_or_default().to_owned();
            (name, port["port"].as_u64().unwrap_or_default())
        })
        .collect()
}

/// The ports of the Services with discovery, where the Canary asks for this.
async fn discovered(service: &Value) -> Vec<(String, u64)> {
    let container = json!({ "name": "podinfo", "image": "app:1", "ports": [
        { "name": "http", "containerPort": 9898 },
        { "name": "http-metrics", "containerPort": 8080 },
        { "containerPort": 8888 },
    ] });
    let stage = Setting::new()
        .deployment(&json!({ "template": { "spec": { "containers": [container] } } }))
        .spec(&json!({ "service": { "portDiscovery": true } }))
        .spec(&json!({ "service": service }))
        .raise()
        .await;
    stage.until_phase("Initialized").await;
    ports(&stage)
}

fn named(ports: &[(&str, u64)]) -> Vec<(String, u64)> {
    ports.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect()
}

#[tokio::test(start_paused = true)]
async fn core_014_ports_of_the_pods_are_discovered() {
    let ports = discovered(&json!({ "port": 9898, "targetPort": null })).await;
    assert_eq!(
        ports,
        named(&[("http", 9898), ("http-metrics", 8080), ("tcp-podinfo-2", 8888)])
    );
}

#[tokio::test(start_paused = true)]
async fn core_015_the_port_that_a_number_leads_to_is_not_discovered_again() {
    let ports = discovered(&json!({ "port": 80, "targetPort": 9898 })).await;
    assert_eq!(
        ports,
        named(&[("http", 80), ("http-metrics", 8080), ("tcp-podinfo-2", 8888)])
    );
}

/// Flagger adds `http-metrics` with the same number, which a real API server refuses.
#[tokio::test(start_paused = true)]
async fn core_016_the_port_that_a_name_leads_to_is_not_discovered_again_nor_a_number_that_is_taken() {
    let ports = discovered(&json!({ "port": 8080, "targetPort": "http" })).await;
    assert_eq!(ports, named(&[("http", 8080), ("tcp-podinfo-2", 8888)]));
}

#[tokio::test(start_paused = true)]
async fn core_017_two_alerts_with_providers_of_two_namespaces() {
    let provider = |namespace: &str| {
        json!({
            "apiVersion": CANARY, "kind": "AlertProvider", "metadata": { "name": "chat", "namespace": namespace },
            "spec": { "type": "slack", "channel": namespace, "address": format!("https://chat.example/{namespace}") },
        })
    };
    let stage = Setting::new()
        .object(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "ops" } }))
        .object(provider("ops"))
        .object(provider("test"))
        .analysis(&json!({ "alerts": [
            { "name": "theirs", "severity": "info", "providerRef": { "name": "chat", "namespace": "ops" } },
            { "name": "ours", "severity": "info", "providerRef": { "name": "chat" } },
        ] }))
        .initialized()
        .await;
    let sent = stage.chat.sent();
    let channels: Vec<&str> = sent.iter().map(|sent| sent.destination.channel.as_str()).collect();
    assert_eq!(channels, ["ops", "test"]);
    let slack = serin::notify::service("slack").expect("Slack is built");
    for sent in &sent {
        let attachment = slack.request(&sent.destination, &sent.message).body["attachments"][0].take();
        assert_eq!(
            (&attachment["author_name"], &attachment["text"]),
            (
                &json!("app.test"),
                &json!("New Deployment detected, initialization completed.")
            )
        );
    }
}

#[tokio::test(start_paused = true)]
async fn core_036_the_finalizer_comes_and_goes_and_a_refusal_is_tried_again() {
    let stage = Setting::new().initialized().await;
    assert_eq!(
        stage.canary()["metadata"]["finalizers"],
        json!(["finalizer.flagger.app"])
    );
    stage.api.deny(Denial {
        user: "serin-1".into(),
        verb: "patch".into(),
        group: "flagger.app".into(),
        resource: "canaries".into(),
    });
    stage.delete(CANARY, "Canary", "app").await;
    stage
        .until("Terminated", |stage| stage.events_with("Terminated canary") == 1)
        .await;
    stage.pass(10).await;
    assert!(!stage.canary().is_null());
    assert_eq!((stage.ready("app"), stage.selects("app")), (3, "app".into()));
    stage.api.allow_all();
    stage.until("gone", |stage| stage.canary().is_null()).await;
}

#[tokio::test(start_paused = true)]
async fn core_042_without_config_tracking_the_primary_reads_the_original() {
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "app-env", "namespace": "test" }, "data": { "a": "b" },
    });
    let reads = json!([{ "configMapRef": { "name": "app-env" } }]);
    let container = json!({ "name": "app", "image": "app:1", "envFrom": reads,
        "ports": [{ "name": "http", "containerPort": 9898 }] });
    let stage = Setting::new()
        .settings(|settings| settings.config_tracking = false)
        .object(config)
        .deployment(&json!({ "template": { "spec": { "containers": [container] } } }))
        .initialized()
        .await;
    let primary = stage.deployment("app-primary");
    assert_eq!(primary["spec"]["template"]["spec"]["containers"][0]["envFrom"], reads);
    assert!(stage.object("v1", "ConfigMap", "app-env-primary").is_null());
}

#[tokio::test(start_paused = true)]
async fn core_043_a_template_that_returned_is_no_change_and_a_third_one_is() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_phase("Progressing").await;
    stage.push("app:1").await;
    stage
        .until("at rest again", |stage| {
            stage.phase() != "Progressing" && stage.replicas("app") == 0
        })
        .await;
    let run = stage.status()["serin"]["run"].clone();
    stage.pass(120).await;
    assert_eq!(
        (&stage.status()["serin"]["run"], stage.weight()),
        (&run, Some(0)),
        "the promoted one is not released"
    );
    stage.push("app:3").await;
    stage.until_phase("Progressing").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:3");
}

#[tokio::test(start_paused = true)]
async fn core_044_a_hand_back_gives_the_target_the_primarys_size() {
    let stage = Setting::new().initialized().await;
    stage.edit_deployment("app-primary", json!({ "replicas": 5 })).await;
    stage.until("five pods", |stage| stage.ready("app-primary") == 5).await;
    stage.delete(CANARY, "Canary", "app").await;
    stage.until("gone", |stage| stage.canary().is_null()).await;
    assert_eq!(stage.replicas("app"), 5);
}

#[tokio::test(start_paused = true)]
async fn core_044_a_hand_back_without_a_primary_gives_the_target_pods() {
    let stage = Setting::new().deployment(&json!({ "replicas": 1 })).initialized().await;
    stage.serin.kill();
    stage.delete("apps/v1", "Deployment", "app-primary").await;
    stage.delete(CANARY, "Canary", "app").await;
    stage.pass(30).await;
    assert_eq!(stage.replicas("app"), 0);
    stage.serin.start();
    stage.until("gone", |stage| stage.canary().is_null()).await;
    assert_eq!((stage.replicas("app"), stage.ready("app")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn core_048_failed_checks_stand_in_the_status_with_the_phase() {
    let stage = Setting::new()
        .script(|script| script.answers("app:2", BAD))
        .analysis(&json!({ "threshold": 5 }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage
        .until("two failed checks", |stage| stage.status()["failedChecks"] == 2)
        .await;
    let status = stage.status();
    assert_eq!(
        (&status["phase"], &status["canaryWeight"], &status["iterations"]),
        (&json!("Progressing"), &json!(20), &json!(0))
    );
}

/// Core 72 is about a `VirtualService`; here it is the route of each provider that is built.
#[tokio::test(start_paused = true)]
async fn core_072_a_route_and_a_service_that_stood_before_stand_as_before_afterwards() {
    let httproute = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "app", "namespace": "test" },
        "spec": {
            "hostnames": ["app.example.com"],
            "parentRefs": [{ "name": "gateway", "namespace": "ingress" }],
            "rules": [{ "backendRefs": [{ "name": "app", "port": 80 }] }],
        },
    });
    let httpproxy = json!({
        "apiVersion": "projectcontour.io/v1", "kind": "HTTPProxy", "metadata": { "name": "app", "namespace": "test" },
        "spec": { "routes": [{ "conditions": [{ "prefix": "/" }], "services": [{ "name": "app", "port": 80 }] }] },
    });
    for (provider, route) in [("gatewayapi:v1", httproute), ("contour", httpproxy)] {
        let (api_version, kind) = (route["apiVersion"].clone(), route["kind"].clone());
        let (api_version, kind) = (
            api_version.as_str().unwrap_or_default(),
            kind.as_str().unwrap_or_default(),
        );
        let stage = Setting::with_provider(provider)
            .object(route)
            .without_canary()
            .raise()
            .await;
        stage.pass(10).await;
        let before = stage.object(api_version, kind, "app")["spec"].take();
        let mut canary = manifests::canary("test", "app", provider, &manifests::analysis("10s", 2, 60, 20));
        canary["spec"]["revertOnDeletion"] = json!(true);
        stage.create(&canary).await;
        stage.until_phase("Initialized").await;
        assert_ne!(
            stage.object(api_version, kind, "app")["spec"],
            before,
            "{kind} was not taken over"
        );
        stage.delete(CANARY, "Canary", "app").await;
        stage.until("gone", |stage| stage.canary().is_null()).await;
        stage.pass(60).await;
        assert_eq!(stage.object(api_version, kind, "app")["spec"], before, "{kind}");
        assert_eq!((stage.selects("app"), stage.ready("app")), ("app".into(), 3));
    }
}

const BAD: Behaviour = Behaviour {
    success: 90.0,
    latency: 120.0,
};

#[tokio::test(start_paused = true)]
async fn core_078_server_errors_and_delays_fail_the_release() {
    let slow = Behaviour {
        success: 99.9,
        latency: 900.0,
    };
    for provider in ["gatewayapi:v1", "contour"] {
        for (behaviour, words) in [(BAD, "success rate"), (slow, "request duration")] {
            let stage = Setting::with_provider(provider)
                .script(|script| script.answers("app:2", behaviour))
                .initialized()
                .await;
            stage.push("app:2").await;
            stage.until_phase("Failed").await;
            assert!(
                stage.events_with(words) > 0,
                "{provider}, {words}: {:#?}",
                stage.events()
            );
            assert_eq!((stage.weight(), stage.image("app-primary")), (Some(0), "app:1".into()));
        }
    }
}

/// W46.
#[tokio::test(start_paused = true)]
async fn core_095_a_mirror_on_a_provider_that_does_not_mirror_is_refused_with_a_condition() {
    let stage = Setting::with_provider("istio")
        .spec(&json!({ "service": { "appProtocol": "tcp" } }))
        .initialized()
        .await;
    stage.edit_canary(json!({ "analysis": { "mirror": true } })).await;
    stage.push("app:2").await;
    stage
        .until("refused", |stage| {
            stage.condition("Stalled") == ("True".into(), "InvalidSpec".into())
        })
        .await;
    assert!(
        stage.why("message").contains("spec.analysis.mirror"),
        "{}",
        stage.why("message")
    );
    stage.pass(60).await;
    assert_eq!((stage.weight(), stage.image("app-primary")), (Some(0), "app:1".into()));
}
