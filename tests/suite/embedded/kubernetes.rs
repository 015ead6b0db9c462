//! No mesh and no ingress: the apex Service alone, from the takeover to the way out.

use serde_json::json;

use super::{
    setting::{APP, NAMESPACE, Setting},
    stage::Stage,
};

fn plain() -> Setting {
    Setting::with_provider("kubernetes").spec(&json!({"skipAnalysis": true}))
}

/// Whom the apex Service leads to.
fn apex(stage: &Stage) -> serde_json::Value {
    stage.object("v1", "Service", APP)["spec"]["selector"]["app"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_release_is_promoted_behind_the_apex_service_and_nothing_else_is_drawn() {
    let stage = plain().initialized().await;
    assert_eq!((apex(&stage), stage.replicas(APP)), (json!("app-primary"), 0));
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!((stage.image("app-primary"), stage.replicas(APP)), ("app:2".into(), 0));
    assert_eq!((apex(&stage), stage.weight()), (json!("app-primary"), None));
    for (version, kind) in [
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("projectcontour.io/v1", "HTTPProxy"),
        ("networking.istio.io/v1beta1", "VirtualService"),
    ] {
        assert!(stage.object(version, kind, APP).is_null(), "{kind} in {NAMESPACE}");
    }
    stage.delete("flagger.app/v1beta1", "Canary", APP).await;
    stage.until("gone", |stage| stage.canary().is_null()).await;
    assert_eq!((apex(&stage), stage.image(APP)), (json!("app"), "app:2".into()));
    let lost = stage.answers().lost;
    assert!(lost < 1.0, "{lost} requests were lost");
}

#[tokio::test(start_paused = true)]
async fn steps_of_weights_are_refused_because_no_traffic_moves() {
    let stage = Setting::with_provider("kubernetes").raise().await;
    stage
        .until("refused", |stage| {
            stage.why("message").contains("spec.analysis.iterations")
                || stage.condition("Stalled").0 == "True"
                || stage.events_with("moves no traffic") > 0
        })
        .await;
    assert_eq!(apex(&stage), json!("app"));
}
