//! What is refused, and what is odd and allowed.

use serde_json::{Value, json};
use serin::api::{
    Canary, SpecError, Warning, decode,
    validate::{cross_namespace, validate},
};

use super::{GATEWAY_API, canary, with};
use serin::api::support::KUBERNETES;

fn errors(canary: &Canary, provider: &str) -> Vec<String> {
    validate(canary, provider)
        .err()
        .unwrap_or_default()
        .iter()
        .map(SpecError::to_string)
        .collect()
}

fn warnings(canary: &Canary, provider: &str) -> Vec<String> {
    validate(canary, provider)
        .expect("allowed")
        .iter()
        .map(Warning::to_string)
        .collect()
}

fn assert_refused(cases: &[(&str, Value, &str)]) {
    for (pointer, value, expected) in cases {
        assert_eq!(
            errors(&with(pointer, value), GATEWAY_API),
            [*expected],
            "{pointer} = {value}"
        );
    }
}

#[test]
fn a_spec_of_what_is_built_passes_without_a_word() {
    let canary: Canary = decode(&canary()).expect("well formed");
    assert_eq!(validate(&canary, GATEWAY_API), Ok(Vec::new()));
}

#[test]
fn a_service_that_cannot_be_made_is_refused_by_name() {
    let cases = [
        (
            "/spec/service",
            Value::Null,
            "spec.service: is missing: the Services need at least a port",
        ),
        (
            "/spec/service/port",
            Value::Null,
            "spec.service.port: is missing: it must be from 1 to 65535",
        ),
        (
            "/spec/service/port",
            json!(0),
            "spec.service.port: 0 is no port: it must be from 1 to 65535",
        ),
        (
            "/spec/service/port",
            json!(70_000),
            "spec.service.port: 70000 is no port: it must be from 1 to 65535",
        ),
        (
            "/spec/service/targetPort",
            json!(70_000),
            "spec.service.targetPort: 70000 is no port: it must be from 1 to 65535",
        ),
        (
            "/spec/service/name",
            json!("a-name-that-leaves-no-room-for-the-suffix-of-a-primary-one"),
            "spec.service.name: a-name-that-leaves-no-room-for-the-suffix-of-a-primary-one-primary is longer than the \
             63 letters of a Service name",
        ),
        (
            "/spec/service/gatewayRefs",
            json!([]),
            "spec.service.gatewayRefs: is empty: with the provider gatewayapi:v1 it must name the parents of the route",
        ),
        (
            "/spec/service/timeout",
            json!("1d"),
            r#"spec.service.timeout: time: unknown unit "d" in duration "1d""#,
        ),
        (
            "/spec/service/backendTimeout",
            json!("20s"),
            "spec.service.backendTimeout: is longer than spec.service.timeout",
        ),
        (
            "/spec/service/retries",
            json!({"perTryTimeout": "5"}),
            r#"spec.service.retries.perTryTimeout: time: missing unit in duration "5""#,
        ),
    ];
    assert_refused(&cases);
}

#[test]
fn an_analysis_that_cannot_end_well_is_refused_by_name() {
    let cases = [
        (
            "/spec/analysis/stepWeight",
            json!(0),
            "spec.analysis.stepWeight: must be above 0: with nothing else the weight would never move",
        ),
        (
            "/spec/analysis/stepWeight",
            json!(-5),
            "spec.analysis.stepWeight: must be above 0: with nothing else the weight would never move",
        ),
        (
            "/spec/analysis/stepWeight",
            Value::Null,
            "spec.analysis.stepWeight: must be above 0: with nothing else the weight would never move",
        ),
        (
            "/spec/analysis/sessionAffinity",
            json!({"cookieName": "c", "primaryCookieName": "c"}),
            "spec.analysis.sessionAffinity.primaryCookieName: can't use the same cookie name for both primary and \
             cookie name; please update them to be different",
        ),
        (
            "/spec/analysis/metrics/-",
            json!({"name": "latency"}),
            r#"spec.analysis.metrics[3].name: "latency" is no built-in metric, and there is no query and no templateRef"#,
        ),
        (
            "/spec/analysis/metrics/-",
            json!({"name": "request-duration", "thresholdRange": {"min": 2, "max": 1}}),
            "spec.analysis.metrics[3].thresholdRange: no value is both at least 2 and at most 1",
        ),
        (
            "/spec/analysis/webhooks/-",
            json!({"name": "w", "url": "gate.test/?token=s3cr3t"}),
            "spec.analysis.webhooks[2].url: is no http or https address",
        ),
        (
            "/spec/analysis/webhooks/-",
            json!({"name": "w", "url": "http:///path"}),
            "spec.analysis.webhooks[2].url: is no http or https address",
        ),
        (
            "/spec/analysis/webhooks/-",
            json!({"name": "w", "url": "http://w", "timeout": "1min"}),
            r#"spec.analysis.webhooks[2].timeout: time: unknown unit "min" in duration "1min""#,
        ),
        (
            "/spec/analysis/webhooks/-",
            json!({"name": "w", "url": "http://w", "gateTimeout": "soon"}),
            r#"spec.analysis.webhooks[2].gateTimeout: time: invalid duration "soon""#,
        ),
        (
            "/spec/analysis/webhooks/-",
            json!({"name": "w", "url": "http://w", "type": "confirm-rollout", "gateTimeout": "0s"}),
            "spec.analysis.webhooks[2].gateTimeout: is not above 0: the gate could never be asked",
        ),
        (
            "/spec/analysis/initialDelay",
            json!("2"),
            r#"spec.analysis.initialDelay: time: missing unit in duration "2""#,
        ),
        ("/spec/targetRef/name", json!(""), "spec.targetRef.name: is empty"),
        (
            "/spec/targetRef",
            json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "k"}),
            "spec.provider: can't use gatewayapi:v1 provider with Knative Service as target",
        ),
        (
            "/spec/provider",
            json!("knative"),
            "spec.targetRef: can't use apps/v1/Deployment as target if provider is set to knative",
        ),
    ];
    assert_refused(&cases);
}

#[test]
fn listed_weights_must_move_on() {
    let analysis = |weights: Value| {
        with(
            "/spec/analysis",
            &json!({"interval": "1m", "threshold": 1, "stepWeights": weights}),
        )
    };
    let cases = [
        (
            json!([0, 10]),
            vec!["spec.analysis.stepWeights[0]: 0 is not from 1 to 100: the weight would never move"],
        ),
        (
            json!([10, 10, 20]),
            vec!["spec.analysis.stepWeights[1]: 10 is not above 10: the weights must ascend"],
        ),
        (
            json!([50, 20, 60, -1]),
            vec![
                "spec.analysis.stepWeights[1]: 20 is not above 50: the weights must ascend",
                "spec.analysis.stepWeights[3]: -1 is not from 1 to 100: the weight would never move",
            ],
        ),
    ];
    for (weights, expected) in cases {
        assert_eq!(errors(&analysis(weights.clone()), GATEWAY_API), expected, "{weights}");
    }
    // Flagger's own test has this list: it ends at all traffic.
    assert_eq!(
        warnings(&analysis(json!([1, 2, 10, 200])), GATEWAY_API),
        ["spec.analysis.stepWeights[3]: 200 is more than all traffic: 100 is used"],
    );
}

#[test]
fn weights_do_not_matter_where_no_weight_moves() {
    let skipped = with("/spec/skipAnalysis", &json!(true));
    assert_eq!(validate(&skipped, GATEWAY_API), Ok(Vec::new()));
    let iterations = with(
        "/spec/analysis",
        &json!({"interval": "1m", "threshold": 1, "iterations": 5}),
    );
    assert_eq!(validate(&iterations, GATEWAY_API), Ok(Vec::new()));
    assert_eq!(validate(&iterations, KUBERNETES), Ok(Vec::new()));
    let none = with(
        "/spec/analysis",
        &json!({"interval": "1m", "threshold": 1, "iterations": 0}),
    );
    assert_eq!(
        errors(&none, GATEWAY_API),
        ["spec.analysis.iterations: must be above 0: with nothing else the weight would never move"],
    );
}

#[test]
fn what_is_odd_and_harmless_is_a_warning() {
    let cases = [
        (
            "/spec/analysis/interval",
            json!("5s"),
            "spec.analysis.interval: is shorter than the least interval: 10s is used",
        ),
        (
            "/spec/analysis/interval",
            json!("1min"),
            r#"spec.analysis.interval: time: unknown unit "min" in duration "1min": 60s is used"#,
        ),
        (
            "/spec/analysis/threshold",
            json!(0),
            "spec.analysis.threshold: is not above 0: 1 is used",
        ),
        (
            "/spec/analysis/maxWeight",
            json!(150),
            "spec.analysis.maxWeight: 150 is not from 1 to 100: 100 is used",
        ),
        (
            "/spec/analysis/stepWeight",
            json!(150),
            "spec.analysis.stepWeight: 150 is more than all traffic: 100 is used",
        ),
        (
            "/spec/analysis/stepWeightPromotion",
            json!(-1),
            "spec.analysis.stepWeightPromotion: -1 is no percentage: all traffic returns at once",
        ),
        (
            "/spec/analysis/canaryReadyThreshold",
            json!(120),
            "spec.analysis.canaryReadyThreshold: 120 is no percentage: 100 is used",
        ),
        (
            "/spec/progressDeadlineSeconds",
            json!(0),
            "spec.progressDeadlineSeconds: is not above 0: 600 is used",
        ),
        (
            "/spec/service/corsPolicy/maxAge",
            json!("1d"),
            r#"spec.service.corsPolicy.maxAge: time: unknown unit "d" in duration "1d": it is left out"#,
        ),
        (
            "/spec/analysis/metrics/-",
            json!({"name": "request-duration"}),
            "spec.analysis.metrics[3].thresholdRange: is missing: each value above 0 fails",
        ),
        (
            "/spec/analysis/metrics/-",
            json!({"name": "request-success-rate", "interval": "1min"}),
            r#"spec.analysis.metrics[3].interval: time: unknown unit "min" in duration "1min": it goes into the query as it is"#,
        ),
    ];
    for (pointer, value, expected) in cases {
        assert_eq!(
            warnings(&with(pointer, &value), GATEWAY_API),
            [expected],
            "{pointer} = {value}"
        );
    }
}

#[test]
fn an_endless_timeout_is_contours_word_alone() {
    let endless = with("/spec/service/timeout", &json!("infinity"));
    assert_eq!(errors(&endless, "contour"), Vec::<String>::new());
    assert_eq!(
        errors(&endless, GATEWAY_API),
        [r#"spec.service.timeout: time: invalid duration "infinity""#]
    );
}

#[test]
fn references_that_leave_the_namespace_are_told_in_flaggers_words() {
    let at_home = with(
        "/spec/analysis/metrics/-",
        &json!({"name": "a", "templateRef": {"name": "t", "namespace": "test"}}),
    );
    assert_eq!(cross_namespace(&at_home), Vec::new());
    let mut canary = with(
        "/spec/analysis/metrics/-",
        &json!({"name": "a", "templateRef": {"name": "t", "namespace": "x"}}),
    );
    canary.spec.upstream_ref = Some(serin::api::UpstreamRef {
        name: "u".into(),
        namespace: Some("gloo".into()),
        ..Default::default()
    });
    let analysis = canary.spec.analysis.as_mut().expect("analysis");
    analysis.alerts[0].provider_ref.namespace = Some("chat".into());
    let told: Vec<_> = cross_namespace(&canary).iter().map(SpecError::to_string).collect();
    assert_eq!(
        told,
        [
            "spec.upstreamRef.namespace: can't access gloo upstream u.gloo, cross-namespace references are blocked",
            "spec.analysis.metrics[3].templateRef.namespace: can't access metric template t.x, cross-namespace references are blocked",
            "spec.analysis.alerts[0].providerRef.namespace: can't access alert provider chat.chat, cross-namespace references are blocked",
        ],
    );
}

/// The Upstream itself is read by no provider that is built; the guard counts all the same.
#[test]
fn an_upstream_of_another_namespace_is_told_and_one_of_its_own_is_not() {
    let of = |namespace: Option<&str>| {
        let mut canary = with("/spec/analysis/threshold", &json!(3));
        canary.spec.upstream_ref = Some(serin::api::UpstreamRef {
            name: "u".into(),
            namespace: namespace.map(str::to_owned),
            ..Default::default()
        });
        let told: Vec<String> = cross_namespace(&canary).iter().map(SpecError::to_string).collect();
        told
    };
    for own in [None, Some(""), Some("test")] {
        assert_eq!(of(own), Vec::<String>::new(), "{own:?}");
    }
    let refused =
        "spec.upstreamRef.namespace: can't access gloo upstream u.gloo, cross-namespace references are blocked";
    assert_eq!(of(Some("gloo")), [refused]);
}
