//! Specs that contradict themselves, or leave their namespace where that is forbidden (`spec/core.md` 8, 32 to 35): nothing moves, the
//! application serves on, and the field is named.

use serde_json::{Value, json};

use super::{
    setting::{NAMESPACE, Setting},
    stage::Stage,
};

const GROUP: &str = "flagger.app/v1beta1";

/// A controller that forbids references to other namespaces.
fn guarded() -> Setting {
    Setting::new().settings(|settings| settings.no_cross_namespace_refs = true)
}

/// Raises a setting whose spec must be refused. All that is wrong with the spec is told at once, the first of it in words.
async fn refused(setting: Setting, words: &str) -> Stage {
    let stage = setting.raise().await;
    stage.until_reason("InvalidSpec").await;
    assert!(stage.why("message").contains(words), "{}", stage.why("message"));
    stage.pass(60).await;
    assert_eq!(stage.condition("Stalled"), ("True".into(), "InvalidSpec".into()));
    assert!(stage.deployment("app-primary").is_null(), "{words}");
    assert_eq!((stage.ready("app"), stage.selects("app")), (3, "app".into()), "{words}");
    assert!(stage.answers().lost < 1.0, "{:?}", stage.answers());
    stage
}

fn not_built(stage: &Stage) -> bool {
    stage.why("message").contains("is not built yet")
}

/// The provider that reads an Upstream is not built, so what passes the guard is refused for that.
#[tokio::test(start_paused = true)]
async fn core_032_an_upstream_of_another_namespace_is_refused_where_the_guard_is_on() {
    let upstream = |namespace: &str| {
        json!({ "upstreamRef": {
            "apiVersion": "gloo.solo.io/v1", "kind": "Upstream", "name": "u", "namespace": namespace } })
    };
    let blocked =
        "spec.upstreamRef.namespace: can't access gloo upstream u.gloo, cross-namespace references are blocked";
    refused(guarded().spec(&upstream("gloo")), blocked).await;
    for setting in [
        guarded().spec(&upstream(NAMESPACE)),
        Setting::new().spec(&upstream("gloo")),
    ] {
        let stage = refused(setting, "spec.upstreamRef: ").await;
        assert!(not_built(&stage), "{}", stage.why("message"));
    }
}

fn template(namespace: &str) -> Value {
    json!({
        "apiVersion": GROUP, "kind": "MetricTemplate", "metadata": { "name": "errors", "namespace": namespace },
        "spec": { "provider": { "type": "prometheus", "address": "http://prometheus" }, "query": "error_share" },
    })
}

fn chat(namespace: &str) -> Value {
    json!({
        "apiVersion": GROUP, "kind": "AlertProvider", "metadata": { "name": "chat", "namespace": namespace },
        "spec": { "type": "slack", "channel": namespace, "address": "https://chat.example/hook" },
    })
}

/// An analysis that refers to a template and a chat of these namespaces.
fn referring(templates: &Value, chats: &Value) -> Value {
    json!({
        "metrics": [{ "name": "errors", "templateRef": { "name": "errors", "namespace": templates }, "threshold": 5 }],
        "alerts": [{ "name": "chat", "providerRef": { "name": "chat", "namespace": chats } }],
    })
}

#[tokio::test(start_paused = true)]
async fn core_033_templates_and_alerts_of_another_namespace_are_refused_and_those_of_the_own_are_used() {
    let elsewhere = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "ops" } });
    let world = || {
        let setting = guarded().object(elsewhere.clone());
        let objects = [template("ops"), template(NAMESPACE), chat("ops"), chat(NAMESPACE)];
        objects.into_iter().fold(setting, Setting::object)
    };
    for (analysis, words) in [
        (
            referring(&json!("ops"), &Value::Null),
            "spec.analysis.metrics[0].templateRef.namespace: can't access metric template errors.ops, cross-namespace references are blocked",
        ),
        (
            referring(&Value::Null, &json!("ops")),
            "spec.analysis.alerts[0].providerRef.namespace: can't access alert provider chat.ops, cross-namespace references are blocked",
        ),
    ] {
        refused(world().analysis(&analysis), words).await;
    }
    for own in [Value::Null, json!(""), json!(NAMESPACE)] {
        let stage = world().analysis(&referring(&own, &own)).initialized().await;
        stage
            .numbers
            .answer("error_share", [serin::metrics::Reading::Value(1.0)]);
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
        let told = stage.chat.sent();
        assert!(
            !told.is_empty() && told.iter().all(|sent| sent.destination.channel == NAMESPACE),
            "{told:?}"
        );
    }
}

/// Neither is built, so that the two go together is only said by what else is refused.
#[tokio::test(start_paused = true)]
async fn core_034_knative_goes_with_knative_and_with_nothing_else() {
    let knative = json!({ "targetRef": { "apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "app" } });
    let scaler = json!({ "autoscalerRef": {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "app" } });
    let with = |provider: &str| Setting::new().spec(&json!({ "provider": provider }));
    for (setting, words) in [
        (
            with("knative"),
            "can't use apps/v1/Deployment as target if provider is set to knative",
        ),
        (
            with("istio").spec(&knative),
            "can't use istio provider with Knative Service as target",
        ),
        (
            with("knative").spec(&knative).spec(&scaler),
            "can't use autoscaler with Knative Service",
        ),
    ] {
        refused(setting, words).await;
    }
    let stage = refused(with("knative").spec(&knative), "").await;
    assert!(not_built(&stage), "{}", stage.why("message"));
    assert_eq!(stage.events_with("can't use"), 0, "{:?}", stage.events());
}

#[tokio::test(start_paused = true)]
async fn core_035_the_two_cookies_have_different_names() {
    let cookies = |primary: &str| json!({ "sessionAffinity": { "cookieName": "side", "primaryCookieName": primary } });
    let words = "spec.analysis.sessionAffinity.primaryCookieName: can't use the same cookie name for both primary and cookie name; \
        please update them to be different";
    let stage = refused(Setting::new().analysis(&cookies("side")), words).await;
    stage.edit_canary(json!({ "analysis": cookies("home") })).await;
    stage.until_phase("Initialized").await;
}
