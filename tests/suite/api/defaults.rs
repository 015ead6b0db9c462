//! What a spec means where it says nothing, or something odd.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;
use serin::api::{Analysis, CanarySpec, HookType, Metric, OnMissing, ServiceSpec, Severity, Strategy, Webhook};

fn analysis(json: serde_json::Value) -> Analysis {
    serde_json::from_value(json).expect("well formed")
}

#[test]
fn odd_intervals_become_flaggers() {
    for (text, seconds) in [
        ("", 60),
        ("5s", 10),
        ("10s", 10),
        ("1m30s", 90),
        ("90", 60),
        ("1min", 60),
        ("1ms", 10),
        ("-1m", 10),
    ] {
        let given = Analysis {
            interval: Some(text.into()),
            ..Analysis::default()
        };
        assert_eq!(given.interval(), Duration::from_secs(seconds), "{text:?}");
    }
    assert_eq!(Analysis::default().interval(), Duration::from_mins(1));
    assert_eq!(CanarySpec::default().interval(), Duration::from_mins(1));
}

#[test]
fn a_threshold_is_at_least_one() {
    for (given, used) in [
        (None, 1),
        (Some(-3), 1),
        (Some(0), 1),
        (Some(7), 7),
        (Some(i64::MAX), u32::MAX),
    ] {
        assert_eq!(
            Analysis {
                threshold: given,
                ..Analysis::default()
            }
            .threshold(),
            used
        );
    }
}

#[test]
fn a_run_ends_at_most_at_all_traffic() {
    let cases = [
        (json!({}), 100),
        (json!({"maxWeight": 50}), 50),
        (json!({"maxWeight": 150}), 100),
        (json!({"maxWeight": 0}), 100),
        (json!({"maxWeight": 50, "stepWeights": [1, 80]}), 80),
        (json!({"stepWeights": [1, 2, 10, 200]}), 100),
    ];
    for (given, weight) in cases {
        assert_eq!(analysis(given.clone()).max_weight(), weight, "{given}");
    }
}

#[test]
fn listed_weights_are_cut_at_all_traffic() {
    let given = analysis(json!({"stepWeights": [1, 2, 10, 200]}));
    assert_eq!((given.step_weights(), given.step_weight()), (vec![1, 2, 10, 100], None));
}

#[test]
fn core_066_iterations_and_matches_choose_the_strategy() {
    assert_eq!(CanarySpec::default().strategy(), Strategy::Canary);
    let cases = [
        (json!({}), Strategy::Canary),
        (json!({"iterations": 0, "match": [{}]}), Strategy::Canary),
        (json!({"stepWeight": 10, "match": [{}]}), Strategy::Canary),
        (json!({"iterations": 5}), Strategy::BlueGreen),
        (json!({"iterations": 5, "match": [{}]}), Strategy::AbTesting),
    ];
    for (given, strategy) in cases {
        assert_eq!(analysis(given.clone()).strategy(), strategy, "{given}");
    }
}

#[test]
fn names_come_from_the_service_and_the_target() {
    let mut spec = CanarySpec::default();
    spec.target_ref.name = "podinfo".into();
    assert_eq!(
        (spec.apex_name(), spec.primary_service_name().as_str()),
        ("podinfo", "podinfo-primary")
    );
    spec.service = Some(ServiceSpec {
        name: Some("web".into()),
        ..Default::default()
    });
    assert_eq!(spec.canary_service_name(), "web-canary");
    assert_eq!(
        (spec.apex_name(), spec.primary_name().as_str()),
        ("web", "podinfo-primary")
    );
    spec.service = Some(ServiceSpec {
        name: Some(String::new()),
        ..Default::default()
    });
    assert_eq!(spec.apex_name(), "podinfo");
}

#[test]
fn the_own_provider_wins_over_the_global_one() {
    let mut spec = CanarySpec::default();
    assert_eq!(spec.provider_or("istio"), "istio");
    spec.provider = Some(String::new());
    assert_eq!(spec.provider_or("istio"), "istio");
    spec.provider = Some("contour".into());
    assert_eq!(spec.provider_or("istio"), "contour");
}

#[test]
fn a_deadline_that_is_no_time_is_the_default() {
    for (given, seconds) in [(None, 600), (Some(0), 600), (Some(-1), 600), (Some(60), 60)] {
        let spec = CanarySpec {
            progress_deadline_seconds: given,
            ..CanarySpec::default()
        };
        assert_eq!(spec.progress_deadline(), Duration::from_secs(seconds));
    }
}

#[test]
fn hooks_and_metrics_have_flaggers_defaults() {
    for (text, seconds) in [
        (None, 10),
        (Some(""), 10),
        (Some("5"), 10),
        (Some("2m"), 120),
        (Some("0s"), 10),
    ] {
        let hook = Webhook {
            timeout: text.map(Into::into),
            ..Webhook::default()
        };
        assert_eq!(
            (hook.timeout(), hook.type_(), hook.retries()),
            (Duration::from_secs(seconds), HookType::Rollout, 0)
        );
    }
    let metric = Metric {
        interval: Some("".into()),
        ..Metric::default()
    };
    assert_eq!(
        (metric.interval(), metric.on_no_data(), metric.on_error()),
        ("1m", OnMissing::Fail, OnMissing::Hold)
    );
}

#[test]
fn empty_choices_mean_the_default() {
    let given = analysis(json!({
        "webhooks": [{"name": "load", "url": "http://load/", "type": ""}],
        "alerts": [{"name": "team", "providerRef": {"name": "chat"}, "severity": ""}],
    }));
    assert_eq!(given.hooks(HookType::Rollout).count(), 1);
    assert_eq!(given.alerts[0].severity(), Severity::Info);
}

#[test]
fn readiness_is_a_percentage() {
    for (given, used) in [(None, 100), (Some(-5), 0), (Some(50), 50), (Some(200), 100)] {
        let analysis = Analysis {
            canary_ready_threshold: given,
            ..Analysis::default()
        };
        let spec = CanarySpec {
            analysis: Some(analysis),
            ..CanarySpec::default()
        };
        assert_eq!(
            (spec.canary_ready_threshold(), spec.primary_ready_threshold()),
            (used, 100)
        );
    }
}

#[test]
fn the_port_of_the_pods_is_the_services_own_unless_given() {
    let cases = [
        (json!({"port": 80}), Some(IntOrString::Int(80))),
        (json!({"port": 80, "targetPort": 0}), Some(IntOrString::Int(80))),
        (json!({"port": 80, "targetPort": "0"}), Some(IntOrString::Int(80))),
        (json!({"port": 80, "targetPort": 9898}), Some(IntOrString::Int(9898))),
        (
            json!({"port": 80, "targetPort": "http"}),
            Some(IntOrString::String("http".into())),
        ),
        (json!({}), None),
    ];
    for (given, port) in cases {
        let service: ServiceSpec = serde_json::from_value(given.clone()).expect("well formed");
        assert_eq!((service.target_port(), service.port_name()), (port, "http"), "{given}");
    }
}
