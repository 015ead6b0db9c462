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
fn weights_are_refused_and_iterations_are_not() {
    let refused = |analysis| {
        let refusals = provider().check(&bench(&analysis).cx());
        refusals.into_iter().map(|it| it.field).collect::<Vec<_>>()
    };
    assert_eq!(refused(json!({"stepWeight": 10})), ["spec.analysis.iterations"]);
    assert_eq!(refused(json!({"iterations": 10})), [""; 0]);
    let mut without_port = bench(&json!({"iterations": 10}));
    without_port.canary.spec.service.as_mut().unwrap().port = None;
    assert_eq!(provider().check(&without_port.cx()).len(), 1);
}

#[test]
fn what_needs_a_route_comes_to_nothing_and_is_said() {
    let test = json!({"iterations": 5, "mirror": true, "match": [{"headers": {"x": {"exact": "y"}}}],
        "sessionAffinity": {"cookieName": "c"}});
    let asked = bench(&test);
    assert_eq!(provider().check(&asked.cx()), []);
    assert_eq!(
        provider().warnings(&asked.cx()),
        ["match", "mirror", "sessionAffinity"]
            .map(|field| format!("spec.analysis.{field} is ignored by provider kubernetes"))
    );
}
