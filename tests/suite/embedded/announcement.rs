//! A route that the team made changes hands: its new destinations are named in it, and loaded, before they get traffic, and its old ones
//! for a while after.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use serin::sim::world::route_shape::route_shape;

use super::{
    setting::{APP, NAMESPACE, Setting},
    stage::Stage,
};

/// The settle time that the Canary asks for.
const SETTLE: TimeDelta = TimeDelta::seconds(7);

/// The backends that Serin gave the route, as `name weight`, and when.
type Drawn = Arc<Mutex<Vec<(DateTime<Utc>, String)>>>;

fn proxy() -> Value {
    json!({
        "apiVersion": "projectcontour.io/v1",
        "kind": "HTTPProxy",
        "metadata": { "name": APP, "namespace": NAMESPACE },
        "spec": {
            "virtualhost": { "fqdn": "app.example" },
            "routes": [{ "conditions": [{ "prefix": "/" }], "services": [{ "name": APP, "port": 80 }] }],
        },
    })
}

fn gateway_route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": APP, "namespace": NAMESPACE },
        "spec": {
            "parentRefs": [{ "name": "gateway", "namespace": "ingress" }],
            "rules": [{ "backendRefs": [{ "name": APP, "port": 80 }] }],
        },
    })
}

fn virtual_service() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": { "name": APP, "namespace": NAMESPACE },
        "spec": {
            "hosts": ["app.example"], "gateways": ["istio-system/public"],
            "http": [{ "timeout": "3s", "route": [{ "destination": { "host": "app.test.svc.cluster.local" } }] }],
        },
    })
}

/// A live application behind that route, and everything that Serin makes of the route.
async fn behind(provider: &str, route: Value) -> (Stage, Drawn) {
    let setting = Setting::with_provider(provider).without_canary().object(route);
    let stage = setting.raise().await;
    let drawn = Drawn::default();
    let inside = drawn.clone();
    stage.api.on_write(move |write| {
        let shape = route_shape(write.kind).filter(|_| write.user.starts_with("serin"));
        if let (Some(shape), Some(route)) = (shape, write.after) {
            let rule = shape.leading(route).unwrap_or(&Value::Null);
            let backends = shape.backends_of(rule).iter();
            let shares = backends.map(|it| format!("{} {}", shape.service_of(it), it["weight"]));
            let shares: Vec<String> = shares.collect();
            inside
                .lock()
                .expect("must not be poisoned")
                .push((write.time, shares.join(", ")));
        }
    });
    let mut canary = serin::sim::world::manifests::canary(
        NAMESPACE,
        APP,
        provider,
        &serin::sim::world::manifests::analysis("10s", 2, 60, 20),
    );
    canary["spec"]["trafficSettleSeconds"] = SETTLE.num_seconds().into();
    canary["spec"]["revertOnDeletion"] = true.into();
    stage.create(&canary).await;
    (stage, drawn)
}

#[tokio::test(start_paused = true)]
async fn a_live_route_is_announced_settles_and_is_switched_and_back_again() {
    for (provider, route, as_found) in [
        ("contour", proxy(), "app 100"),
        ("gatewayapi:v1", gateway_route(), "app 1"),
        ("istio", virtual_service(), "app 100"),
    ] {
        let kind = route["kind"].as_str().unwrap_or_default().to_owned();
        let version = route["apiVersion"].as_str().unwrap_or_default().to_owned();
        let (stage, drawn) = behind(provider, route).await;
        let before = stage.object(&version, &kind, APP)["spec"].take();
        stage.until_reason("AnnouncingRoute").await;
        stage.until_phase("Initialized").await;
        let canary = ("flagger.app/v1beta1", "Canary");
        stage.delete(canary.0, canary.1, APP).await;
        stage.until("released", |stage| stage.canary().is_null()).await;
        let drawn = drawn.lock().expect("must not be poisoned").clone();
        let shares: Vec<&str> = drawn.iter().map(|(_, shares)| shares.as_str()).collect();
        let announced = format!("{as_found}, app-primary 0, app-canary 0");
        let found = if kind == "HTTPRoute" { as_found } else { "app null" };
        assert_eq!(
            shares,
            [
                announced.as_str(),
                "app 0, app-primary 100, app-canary 0",
                "app-primary 100, app-canary 0",
                "app-primary 100, app-canary 0, app 0",
                "app-primary 0, app-canary 0, app 100",
                found,
            ],
            "{provider}"
        );
        for announced_or_led in [0, 1, 3, 4] {
            let waited = drawn[announced_or_led + 1].0 - drawn[announced_or_led].0;
            assert!(waited >= SETTLE, "{provider}: switched after {waited}");
        }
        assert_eq!(stage.object(&version, &kind, APP)["spec"], before, "{provider}");
        let lost = stage.answers().lost;
        assert!(lost < 1.0, "{provider}: {lost} requests were lost");
    }
}
