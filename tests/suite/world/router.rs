//! The embedded router and the clients behind it.

use super::*;

pub fn http_route(weight: u32) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": "app", "namespace": "test" },
        "spec": {
            "parentRefs": [{ "name": "gateway" }],
            "rules": [{ "backendRefs": [
                { "name": "app-primary", "port": 80, "weight": 100 - weight },
                { "name": "app-canary", "port": 80, "weight": weight },
            ] }],
        },
    })
}

async fn two_sided(script: Script) -> Stage {
    let stage = Stage::new(script).await;
    for (name, image) in [("app-primary", "app:1"), ("app-canary", "app:2")] {
        stage.create(&manifests::service("test", name)).await;
        stage.create(&manifests::deployment("test", name, image, 2)).await;
    }
    stage.pass(10).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn the_router_confirms_each_generation_after_a_while() {
    let stage = two_sided(Script::default().pace(Pace {
        router: Duration::from_secs(4),
        ..Pace::default()
    }))
    .await;
    stage.create(&http_route(0)).await;
    let confirmed = || {
        let route = stage
            .api
            .object("gateway.networking.k8s.io/v1", "HTTPRoute", "test", "app")
            .expect("must be there");
        let conditions = route["status"]["parents"][0]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let of_now = |condition: &Value| {
            condition["observedGeneration"] == route["metadata"]["generation"] && condition["status"] == "True"
        };
        conditions.len() == 2 && conditions.iter().all(of_now)
    };
    stage.pass(3).await;
    assert!(!confirmed());
    stage.pass(2).await;
    assert!(confirmed());
    stage.change(&http_route(30)).await;
    stage.pass(3).await;
    assert!(!confirmed());
    let entry = ("test".to_owned(), "app".to_owned());
    let canary = |stage: &Stage| {
        stage
            .world
            .traffic()
            .split(&entry)
            .expect("there must be traffic")
            .part_of_image("app:2")
    };
    assert!(canary(&stage) < 0.01);
    stage.pass(2).await;
    assert!(confirmed());
    assert!((canary(&stage) - 0.3).abs() < 0.01);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_route_changes_nothing_for_the_clients() {
    let stage = two_sided(Script::default()).await;
    stage.create(&http_route(0)).await;
    stage.pass(5).await;
    stage
        .world
        .change(|script| script.router("app", RouterSays::Rejects("no such gateway".into())));
    stage.change(&http_route(50)).await;
    stage.pass(5).await;
    let route = stage
        .api
        .object("gateway.networking.k8s.io/v1", "HTTPRoute", "test", "app")
        .expect("must be there");
    assert_eq!(
        route["status"]["parents"][0]["conditions"][0]["message"],
        "no such gateway"
    );
    let split = stage
        .world
        .traffic()
        .split(&("test".to_owned(), "app".to_owned()))
        .expect("there must be traffic");
    assert!(split.part_of_image("app:2") < 0.01);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_to_a_missing_service_is_invalid() {
    let stage = Stage::new(Script::default()).await;
    stage
        .create(&json!({
            "apiVersion": "projectcontour.io/v1",
            "kind": "HTTPProxy",
            "metadata": { "name": "app", "namespace": "test" },
            "spec": { "routes": [{ "services": [{ "name": "app-primary", "port": 80, "weight": 100 }] }] },
        }))
        .await;
    let status = || {
        stage
            .api
            .object("projectcontour.io/v1", "HTTPProxy", "test", "app")
            .expect("must be there")["status"]
            .clone()
    };
    stage.pass(2).await;
    assert_eq!(status()["currentStatus"], "invalid");
    stage.create(&manifests::service("test", "app-primary")).await;
    stage.pass(2).await;
    assert_eq!(status()["currentStatus"], "valid");
    assert_eq!(status()["conditions"][0]["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn clients_lose_requests_while_a_side_with_weight_has_no_ready_pod() {
    let script = Script::default().answers(
        "app:2",
        Behaviour {
            success: 90.0,
            latency: 700.0,
        },
    );
    let stage = two_sided(script).await;
    stage.create(&http_route(20)).await;
    stage.pass(60).await;
    let entry = ("test".to_owned(), "app".to_owned());
    let totals = |stage: &Stage| stage.world.traffic().totals(&entry, stage.clock.now());
    assert!(totals(&stage).lost < 1.0);
    assert_eq!(
        totals(&stage).answered["app:2"].success_rate().map(f64::round),
        Some(90.0)
    );
    stage
        .world
        .change(|script| script.life(Pods::image("app:2"), Life::NeverReady));
    stage.pass(10).await;
    let lost = totals(&stage).lost;
    assert!(
        (lost - 200.0).abs() < 20.0,
        "20 % of 100 requests in a second for 10 s, not {lost}"
    );
}

#[tokio::test(start_paused = true)]
async fn crashing_pods_come_back_after_a_back_off() {
    let stage = Stage::new(Script::default().life(Pods::Any, Life::CrashesAfter(Duration::from_secs(4)))).await;
    stage.create(&manifests::deployment("test", "app", "app:1", 1)).await;
    let mut seen = Vec::new();
    for _ in 0..8 {
        stage.pass(4).await;
        let pod = stage.pods()[0]["status"]["containerStatuses"][0].clone();
        seen.push((pod["restartCount"].as_u64().unwrap_or(0), pod["ready"] == true));
    }
    assert_eq!(
        seen,
        [
            (0, true),
            (1, false),
            (1, false),
            (1, false),
            (1, true),
            (2, false),
            (2, false),
            (2, false)
        ]
    );
}
