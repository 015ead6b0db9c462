//! The provider without a route: what it refuses, and what it only says.

use serde_json::json;
use serin::routing::Provider;

use super::Bench;

/// A bench needs a router; what it says about the Canary is asked of another provider here.
fn bench(analysis: &serde_json::Value) -> Bench {
    let mut bench = Bench::new("istio", &json!({"gatewayRefs": null})).with_analysis(analysis);
    bench.subject.provider = "kubernetes".into();
    bench
}

fn provider() -> Provider {
    Provider::named("kubernetes").unwrap()
}

#[test]
fn weights_and_iterations_are_both_taken_and_a_missing_port_is_not() {
    let refused = |analysis| {
        let refusals = provider().check(&bench(&analysis).cx());
        refusals.into_iter().map(|it| it.field).collect::<Vec<_>>()
    };
    assert_eq!(refused(json!({"stepWeight": 10})), [""; 0]);
    assert_eq!(refused(json!({"iterations": 10})), [""; 0]);
    let mut without_port = bench(&json!({"iterations": 10}));
    without_port.canary.spec.service.as_mut().unwrap().port = None;
    assert_eq!(provider().check(&without_port.cx()).len(), 1);
}

/// What becomes of the strategy is told by `api::validate`, for all providers.
#[test]
fn what_needs_a_route_is_refused_by_nobody() {
    let test = json!({"iterations": 5, "mirror": true, "match": [{"headers": {"x": {"exact": "y"}}}],
        "sessionAffinity": {"cookieName": "c"}});
    let asked = bench(&test);
    assert_eq!(provider().check(&asked.cx()), []);
    assert_eq!(provider().warnings(&asked.cx()), [""; 0]);
}
