//! What people get wrong: each says what, where and what to do, and nothing is lost.

use serde_json::{Value, json};
use serin::{
    metrics::Reading,
    sim::{
        apiserver::Denial,
        world::{manifests, traffic::Behaviour},
    },
};

use super::{
    setting::Setting,
    stage::{Stage, named},
};

const CANARY: &str = "flagger.app/v1beta1";

fn status_of(stage: &Stage, canary: &str) -> serde_json::Value {
    stage.object(CANARY, "Canary", canary)["status"].take()
}

fn stalled(stage: &Stage, canary: &str) -> (String, String) {
    let status = status_of(stage, canary);
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions
        .iter()
        .find(|it| it["type"] == "Stalled" && it["status"] == "True")
        .cloned()
        .unwrap_or_default();
    let text = |part: &str| found[part].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

#[tokio::test(start_paused = true)]
async fn a_canary_for_a_deployment_that_does_not_exist_says_so_and_begins_when_it_comes() {
    let wrong = manifests::canary("test", "ghost", "gatewayapi:v1", &manifests::analysis("10s", 2, 60, 20));
    let stage = Setting::new().object(wrong).initialized().await;
    let (reason, message) = stalled(&stage, "ghost");
    assert_eq!(reason, "TargetNotFound");
    assert!(message.contains("deployments.apps \"ghost\" not found"), "{message}");
    stage
        .create(&manifests::deployment("test", "ghost", "ghost:1", 1))
        .await;
    stage
        .until("taken over", |stage| {
            status_of(stage, "ghost")["phase"] == "Initialized"
        })
        .await;
}

/// E10 of `spec/core.md` 7.1.
#[tokio::test(start_paused = true)]
async fn of_two_canaries_for_one_target_the_older_one_has_it_and_the_other_touches_nothing() {
    let stage = Setting::new().initialized().await;
    let mut second = manifests::canary("test", "second", "contour", &manifests::analysis("10s", 2, 60, 20));
    second["spec"]["targetRef"]["name"] = json!("app");
    second["spec"]["service"]["name"] = json!("other");
    stage.create(&second).await;
    stage
        .until("refused", |stage| stalled(stage, "second").0 == "TargetTaken")
        .await;
    assert!(
        stalled(&stage, "second")
            .1
            .contains("Deployment app belongs to Canary app"),
        "{:?}",
        stalled(&stage, "second")
    );
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert!(stage.object("v1", "Service", "other").is_null());
    assert!(stage.object("projectcontour.io/v1", "HTTPProxy", "other").is_null());
    stage.delete(CANARY, "Canary", "second").await;
    stage
        .until("gone", |stage| stage.object(CANARY, "Canary", "second").is_null())
        .await;
    assert_eq!(
        (stage.selects("app"), stage.ready("app-primary")),
        ("app-primary".into(), 3),
        "and it takes nothing with it"
    );
}

/// Core 90, W17.
#[tokio::test(start_paused = true)]
async fn core_090_a_malformed_canary_hurts_no_other_and_is_told_its_field() {
    let mut odd = manifests::canary("test", "odd", "contour", &manifests::analysis("10s", 2, 60, 20));
    odd["spec"]["analysis"]["stepWeight"] = json!(12.5);
    let stage = Setting::new()
        .object(odd)
        .object(manifests::deployment("test", "odd", "odd:1", 1))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    let (reason, message) = stalled(&stage, "odd");
    assert_eq!(reason, "MalformedSpec");
    assert!(
        message.contains("spec.analysis.stepWeight") && message.contains("12.5"),
        "{message}"
    );
    assert_eq!(stage.replicas("odd"), 1);
    let status = status_of(&stage, "odd");
    assert_eq!(
        (&status["phase"], &status["canaryWeight"], &status["observedGeneration"]),
        (&json!("Initializing"), &json!(0), &json!(1)),
        "what health scripts read"
    );
    let mend = json!({ "apiVersion": CANARY, "kind": "Canary", "metadata": { "name": "odd", "namespace": "test" },
        "spec": { "analysis": { "stepWeight": 12 } } });
    stage.change(&mend).await;
    stage
        .until("taken over", |stage| status_of(stage, "odd")["phase"] == "Initialized")
        .await;
}

/// W45: what verification finds is in the status, and a mended spec goes on at once.
#[tokio::test(start_paused = true)]
async fn a_spec_that_must_not_be_acted_on_names_the_field_and_waits_for_its_correction() {
    for (patch, field) in [
        (json!({ "service": null }), "spec.service"),
        (
            json!({ "analysis": { "stepWeight": null, "maxWeight": null, "stepWeights": [10, 10, 20] } }),
            "spec.analysis.stepWeights",
        ),
        (json!({ "provider": "linkerd" }), "spec.provider"),
        (
            json!({ "autoscalerRef": { "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "app" } }),
            "spec.autoscalerRef.kind",
        ),
    ] {
        let stage = Setting::new().spec(&patch).raise().await;
        stage
            .until("refused", |stage| stalled(stage, "app").0 == "InvalidSpec")
            .await;
        assert!(
            stalled(&stage, "app").1.contains(field),
            "{patch}: {:?}",
            stalled(&stage, "app")
        );
        stage.pass(60).await;
        assert_eq!(
            (stage.replicas("app"), stage.selects("app")),
            (3, "app".into()),
            "{patch}"
        );
        assert!(stage.deployment("app-primary").is_null(), "{patch}");
        let errors = stage
            .alerts()
            .iter()
            .filter(|(severity, _)| severity == "Error")
            .count();
        assert_eq!(errors, 1, "{patch}: {:?}", stage.alerts());
    }
}

/// A run that is on goes on while its new spec is refused.
#[tokio::test(start_paused = true)]
async fn a_spec_that_turns_bad_in_the_middle_of_a_run_starts_no_other() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.edit_canary(json!({ "analysis": { "initialDelay": "5s" } })).await;
    stage
        .until("over", |stage| stage.status()["serin"]["stage"] == "Resting")
        .await;
    assert_eq!(stage.image("app-primary"), "app:2");
    stage.push("app:3").await;
    stage
        .until("refused", |stage| stalled(stage, "app").0 == "InvalidSpec")
        .await;
    stage.pass(60).await;
    assert_eq!((stage.replicas("app"), stage.weight()), (0, Some(0)));
}

fn template(provider: &str, query: &str) -> Value {
    json!({
        "apiVersion": CANARY, "kind": "MetricTemplate", "metadata": { "name": "errors", "namespace": "test" },
        "spec": { "provider": { "type": provider, "address": "http://prometheus" }, "query": query },
    })
}

fn judged_by_the_template() -> Value {
    let metric = json!({ "name": "errors", "interval": "1m", "thresholdRange": { "max": 1 }, "templateRef": { "name": "errors" } });
    json!({ "metrics": [metric] })
}

/// What can never be asked about, or told, is refused by name while nothing has moved, and taken when it is put right.
#[tokio::test(start_paused = true)]
async fn what_a_canary_refers_to_is_refused_before_anything_moves() {
    let alert = json!({ "name": "chat", "providerRef": { "name": "chat" } });
    let provider = |type_: &str| {
        json!({
            "apiVersion": CANARY, "kind": "AlertProvider", "metadata": { "name": "chat", "namespace": "test" },
            "spec": { "type": type_, "channel": "c", "address": "http://chat" },
        })
    };
    let good = template("prometheus", "vector(0)");
    let cases = [
        (
            template("prometheus", "rate(errors{job=\"{{ target }[1m])"),
            provider("slack"),
            "spec.analysis.metrics[0]: Metric template errors.test query render error: ",
        ),
        (
            template("datadog", "errors"),
            provider("slack"),
            "spec.analysis.metrics[0].templateRef: MetricTemplate errors.test: spec.provider.type: datadog is not built yet",
        ),
        (
            good.clone(),
            provider("discord"),
            "spec.analysis.alerts[0].providerRef: AlertProvider chat.test: spec.type: discord is not built yet",
        ),
    ];
    for (template, chat, words) in cases {
        let stage = Setting::new()
            .object(template)
            .object(chat)
            .analysis(&judged_by_the_template())
            .analysis(&json!({ "alerts": [alert] }))
            .raise()
            .await;
        stage
            .until("refused", |stage| stalled(stage, "app").0 == "InvalidSpec")
            .await;
        let said = stage.why("message");
        assert!(said.contains(words), "{said}");
        stage.pass(60).await;
        assert_eq!(
            (stage.phase(), stage.replicas("app"), stage.deployment("app-primary")),
            ("Initializing".into(), 3, Value::Null)
        );
        let right = |kind: &str, object: &Value| {
            named(
                CANARY,
                kind,
                object["metadata"]["name"].as_str().unwrap_or_default(),
                &json!({ "spec": object["spec"] }),
            )
        };
        stage.change(&right("MetricTemplate", &good)).await;
        stage.change(&right("AlertProvider", &provider("slack"))).await;
        stage.until_phase("Initialized").await;
    }
}

/// A template may come behind its Canary: the application is taken over, and a release waits for it.
#[tokio::test(start_paused = true)]
async fn a_template_that_is_missing_is_waited_for_by_the_release() {
    let stage = Setting::new().analysis(&judged_by_the_template()).initialized().await;
    stage.numbers.answer("vector(0)", [Reading::Value(0.0)]);
    stage.push("app:2").await;
    stage.until_reason("ReferenceNotFound").await;
    let said = stage.why("message");
    assert!(said.contains("there is no MetricTemplate errors.test"), "{said}");
    stage.pass(300).await;
    assert_eq!((stage.replicas("app"), stage.weight()), (0, Some(0)));
    let alerts = stage
        .alerts()
        .into_iter()
        .filter(|(_, text)| text.contains("errors.test"));
    assert_eq!(alerts.count(), 1, "{:?}", stage.alerts());
    stage.create(&template("prometheus", "vector(0)")).await;
    stage.until_phase("Succeeded").await;
}

/// Case 57 of `spec/routers.md` 15.
#[tokio::test(start_paused = true)]
async fn a_provider_whose_kind_is_not_served_is_named_and_the_application_keeps_serving() {
    let stage = Setting::new().without_kind("HTTPRoute").raise().await;
    stage.pass(300).await;
    let message = stage.why("message");
    assert!(message.contains("HTTPRoute"), "{} {message}", stage.why("reason"));
    assert_eq!(
        (stage.phase(), stage.replicas("app"), stage.selects("app")),
        ("Initializing".into(), 3, "app".into())
    );
    assert!(stage.answers().lost < 1.0);
    for crd in serin::sim::world::route_crds() {
        stage.api.apply_crd(&crd);
    }
    stage.until_phase("Initialized").await;
}

/// `design.md` 5, `onError: hold`.
#[tokio::test(start_paused = true)]
async fn a_prometheus_that_is_down_costs_no_failed_check_and_is_not_waited_for_for_ever() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.numbers.unreachable(Some("connection refused"));
    stage.until_reason("MetricsUnavailable").await;
    assert_eq!(stage.status()["failedChecks"], 0);
    stage.numbers.unreachable(None);
    stage.until_weight(40).await;
    assert_eq!(stage.status()["failedChecks"], 0);
    stage.numbers.unreachable(Some("connection refused"));
    stage.until_phase("Failed").await;
    assert_eq!(stage.status()["serin"]["outcome"]["reason"], "MetricsUnavailable");
    let alerts = stage
        .alerts()
        .into_iter()
        .filter(|(_, text)| text.starts_with("Metrics unavailable for 3 checks"))
        .count();
    assert_eq!(alerts, 1, "{:?}", stage.alerts());
}

/// W43: a right that is missing is named; the run does not go on blindly and does not fall over.
#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_is_named_with_verb_and_resource() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.api.deny(Denial {
        user: "serin-1".into(),
        verb: "patch".into(),
        group: "gateway.networking.k8s.io".into(),
        resource: "httproutes".into(),
    });
    stage.until_reason("WriteRefused").await;
    let message = stage.why("message");
    assert!(
        message.contains("HTTPRoute app") && message.contains("cannot patch resource"),
        "{message}"
    );
    stage.pass(20).await;
    stage.api.allow_all();
    stage
        .until("goes on", |stage| {
            ["Succeeded", "Failed"].contains(&stage.phase().as_str())
        })
        .await;
    assert_eq!(stage.weight(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_may_not_be_patched_is_named_and_no_traffic_moves() {
    let stage = Setting::new().initialized().await;
    stage.api.deny(Denial {
        user: "serin-1".into(),
        verb: "patch".into(),
        group: "apps".into(),
        resource: "deployments".into(),
    });
    stage.push("app:2").await;
    stage.until_reason("WriteRefused").await;
    assert!(
        stage.why("message").contains("patch Deployment app"),
        "{}",
        stage.why("message")
    );
    stage.until_phase("Failed").await;
    assert_eq!(stage.story.weights(), [0]);
}

/// The same while the application is taken over.
#[tokio::test(start_paused = true)]
async fn a_primary_that_may_not_be_created_is_named_and_the_target_serves_on() {
    let stage = Setting::new().without_canary().raise().await;
    stage.api.deny(Denial {
        user: "serin-1".into(),
        verb: "create".into(),
        group: "apps".into(),
        resource: "deployments".into(),
    });
    stage
        .create(&manifests::canary(
            "test",
            "app",
            "contour",
            &manifests::analysis("10s", 2, 60, 20),
        ))
        .await;
    stage.until_reason("WriteRefused").await;
    assert!(
        stage.why("message").contains("cannot create resource"),
        "{}",
        stage.why("message")
    );
    stage.pass(120).await;
    assert_eq!((stage.replicas("app"), stage.selects("app")), (3, "app".into()));
    stage.api.allow_all();
    stage.until_phase("Initialized").await;
}

/// Invariant 10: a bad hook of a chat service prints no address.
#[tokio::test(start_paused = true)]
async fn no_secret_stands_in_any_object_or_event() {
    let stage = Setting::new()
        .script(|script| {
            script.answers(
                "app:2",
                Behaviour {
                    success: 10.0,
                    latency: 900.0,
                },
            )
        })
        .initialized()
        .await;
    stage
        .chat
        .fail(Some(serin::notify::NotifyError::Unsent("no connection".into())));
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    assert!(!stage.story.tell().contains("hook-of-the-team"));
}
