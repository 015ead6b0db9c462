//! A route that the team made changes hands: its new destinations are named in it, and loaded, before they get traffic, and its old ones
//! for a while after.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

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

/// A live application behind that route, and everything that Serin makes of the route.
async fn behind(provider: &str, route: Value) -> (Stage, Drawn) {
    let setting = Setting::with_provider(provider).without_canary().object(route);
    let stage = setting.raise().await;
    let drawn = Drawn::default();
    let inside = drawn.clone();
    stage.api.on_write(move |write| {
        let spec = write.after.map_or(&Value::Null, |after| &after["spec"]);
        let backends = spec["routes"][0]["services"].as_array();
        let backends = backends.or_else(|| spec["rules"][0]["backendRefs"].as_array());
        if let (true, Some(backends)) = (write.user.starts_with("serin"), backends) {
            let name = |it: &Value| it["name"].as_str().unwrap_or_default().to_owned();
            let shares = backends.iter().map(|it| format!("{} {}", name(it), it["weight"]));
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
        let found = if kind == "HTTPProxy" { "app null" } else { as_found };
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
