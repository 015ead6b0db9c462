//! What is not built yet and says so.

use serde_json::{Value, json};
use serin::api::{
    ALERT_SERVICES, AlertProvider, Canary, METRIC_PROVIDERS, MetricTemplate, decode,
    support::{self, NOT_BUILT},
};
use serin::{metrics, notify};

use super::{GATEWAY_API, canary, with};

fn unbuilt(canary: &Canary, provider: &str) -> Vec<&'static str> {
    support::unbuilt(canary, provider)
        .into_iter()
        .map(|field| field.path)
        .collect()
}

#[test]
fn a_spec_of_what_is_built_uses_nothing_else() {
    let canary: Canary = decode(&canary()).expect("well formed");
    assert_eq!(unbuilt(&canary, GATEWAY_API), Vec::<&str>::new());
}

/// A pointer, the value to set there, and the row that must refuse it.
type Unbuilt = (String, Value, String);

fn field(path: &str, value: Value) -> Unbuilt {
    (format!("/{}", path.replace('.', "/")), value, path.to_owned())
}

fn unbuilt_around_the_analysis() -> Vec<Unbuilt> {
    let reference = json!({"apiVersion": "v1", "kind": "K", "name": "n"});
    vec![
        field("spec.targetRef.kind", json!("DaemonSet")),
        (
            "/spec/autoscalerRef".to_owned(),
            json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "n"}),
            "spec.autoscalerRef.kind".to_owned(),
        ),
        field("spec.ingressRef", reference.clone()),
        field("spec.routeRef", reference.clone()),
        field("spec.upstreamRef", reference.clone()),
        (
            "/spec/promotion".to_owned(),
            json!({"bake": {"duration": "10m"}}),
            "spec.promotion.bake".to_owned(),
        ),
        (
            "/spec/rollback".to_owned(),
            json!({"window": 3}),
            "spec.rollback.window".to_owned(),
        ),
        field("spec.strategy", json!("replicas")),
        field("spec.routeRefs", json!([reference])),
        field("spec.totalWeight", json!(1000)),
        field("spec.dependsOn", json!(["other"])),
        field("spec.group", json!("g")),
        field("spec.windows", json!([{"cron": "0 22 * * 5", "deny": "60h"}])),
        field("spec.service.ports", json!([{"name": "grpc", "port": 9999}])),
    ]
}

fn unbuilt_in_the_analysis() -> Vec<Unbuilt> {
    let metric = |key: &str, value: Value| {
        let mut metric = json!({"name": "m", "query": "q", "threshold": 1});
        metric[key] = value;
        (
            "/spec/analysis/metrics/-".to_owned(),
            metric,
            format!("spec.analysis.metrics[].{key}"),
        )
    };
    vec![
        field(
            "spec.analysis.steps",
            json!([{"setWeight": 5}, {"pause": {}}, {"setScale": {"match": true}}]),
        ),
        field("spec.analysis.initialDelay", json!("1m")),
        field("spec.analysis.onFailure", json!("hold")),
        field("spec.analysis.stepWeightRollback", json!(10)),
        field("spec.analysis.preview", json!({"match": []})),
        field("spec.analysis.freezeTarget", json!(true)),
        field("spec.analysis.onInit", json!("full")),
        field("spec.analysis.inconclusive", json!({"limit": 3, "action": "promote"})),
        metric("onNoData", json!("inconclusive")),
        metric("onError", json!("inconclusive")),
        metric("minSamples", json!({"count": 100})),
        metric("dryRun", json!(true)),
        metric("failureLimit", json!(1)),
        metric("consecutiveErrorLimit", json!(1)),
        metric("consecutiveSuccessLimit", json!(1)),
        metric("reduce", json!("max")),
        metric("window", json!("strict")),
        metric("hard", json!({"max": 1})),
        metric("compare", json!({"maxIncrease": 10, "judge": "kayenta"})),
    ]
}

/// For each row of the list one spec that uses the field and no other unbuilt one.
#[test]
fn each_field_that_is_not_built_is_refused_by_its_name() {
    let cases = [unbuilt_around_the_analysis(), unbuilt_in_the_analysis()].concat();
    let seen: Vec<_> = cases.iter().map(|(.., path)| path.as_str()).collect();
    for (pointer, value, path) in &cases {
        let canary = with(pointer, value);
        assert_eq!(unbuilt(&canary, canary.spec.provider_or(GATEWAY_API)), [path.as_str()]);
    }

    let untested: Vec<_> = NOT_BUILT
        .iter()
        .filter(|field| !seen.contains(&field.path))
        .map(|field| field.path)
        .collect();
    assert_eq!(untested, Vec::<&str>::new());
}

#[test]
fn a_new_field_that_only_says_the_default_is_not_refused() {
    let defaults = [
        ("/spec/totalWeight", json!(100)),
        ("/spec/analysis/onFailure", json!("rollback")),
        ("/spec/analysis/onInit", json!("none")),
        ("/spec/trafficSettleSeconds", json!(5)),
        (
            "/spec/analysis/metrics/-",
            json!({"name": "m", "query": "q", "window": "sliding", "onNoData": "pass"}),
        ),
    ];
    for (pointer, value) in defaults {
        assert_eq!(
            unbuilt(&with(pointer, &value), GATEWAY_API),
            Vec::<&str>::new(),
            "{pointer}"
        );
    }
}

#[test]
fn a_refusal_says_what_is_built() {
    let canary = with("/spec/totalWeight", &json!(1000));
    let fields = support::unbuilt(&canary, GATEWAY_API);
    let told: Vec<String> = fields.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["spec.totalWeight: is not built yet (100 is)"]);
}

/// What the tables hold is taken, whatever else the schema admits is refused by name; nothing in a table is unknown to the schema.
#[test]
fn servers_and_chats_that_are_not_built_are_refused() {
    let template = |type_: &str| -> MetricTemplate {
        decode(&json!({"metadata": {}, "spec": {"provider": {"type": type_}, "query": "q"}})).expect("well formed")
    };
    let built: Vec<_> = metrics::SERVERS.iter().map(|server| server.name()).collect();
    for type_ in METRIC_PROVIDERS {
        let refused = (!built.contains(&type_)).then(|| format!("spec.provider.type: {type_} is not built yet"));
        assert_eq!(metrics::unbuilt(&template(type_).spec), refused, "{type_}");
    }
    assert!(built.iter().all(|name| METRIC_PROVIDERS.contains(name)), "{built:?}");
    let provider = |type_: &str| -> AlertProvider {
        decode(&json!({"metadata": {}, "spec": {"type": type_, "address": "https://chat"}})).expect("well formed")
    };
    let built: Vec<_> = notify::SERVICES.iter().map(|service| service.name()).collect();
    for type_ in ALERT_SERVICES {
        let refused = (!built.contains(&type_)).then(|| format!("spec.type: {type_} is not built yet"));
        assert_eq!(notify::unbuilt(&provider(type_).spec), refused, "{type_}");
    }
    assert!(built.iter().all(|name| ALERT_SERVICES.contains(name)), "{built:?}");
}
