//! Whole releases of the real controller, under the monitor of the invariants.

use super::{router::http_route, *};

/// Images that are released one after the other, and the phase that each ends in: taken over, promoted, rolled back.
const STORY: [(&str, &str); 3] = [("app:1", "Initialized"), ("app:2", "Succeeded"), ("app:3", "Failed")];

/// Plays releases with the real controller under the monitor.
async fn played(provider: &str, strategy: &Value, story: &[(&str, &str)]) -> (Stage, Monitor) {
    let script = Script::default().answers_under_load(
        ":3",
        0.2,
        Behaviour {
            success: 90.0,
            latency: 200.0,
        },
    );
    let stage = Stage::with(script, Duration::from_secs(2)).await;
    for crd in serin::api::crd::crds() {
        stage.api.apply_crd(&crd);
    }
    let monitor = Monitor::attach(&stage.api, "serin");
    let clock = stage.clock.clone();
    let outside = Outside {
        metrics: Arc::new(SimReader::new(stage.world.traffic().clone(), clock.clone())),
        hooks: Arc::new(SimCaller::new(clock.clone())),
        alerts: Arc::new(SimSender::new(clock.clone())),
    };
    let settings = Settings::default();
    let vitals = Vitals {
        metrics: Metrics::new("test", &settings.mesh_provider, clock.clone()),
        health: Health::default(),
    };
    let client = stage.api.client("serin");
    tokio::spawn(async move {
        let for_ever = std::future::pending();
        controller::run(client, settings, outside, vitals, clock, Claim::permanent(), for_ever).await
    });
    let mut deployment = manifests::deployment("test", "app", "app:1", 4);
    deployment["spec"]["strategy"] = strategy.clone();
    stage.create(&manifests::service("test", "app")).await;
    stage.create(&deployment).await;
    stage.pass(20).await;
    stage
        .create(&manifests::canary(
            "test",
            "app",
            provider,
            &manifests::analysis("30s", 3, 50, 10),
        ))
        .await;
    for (image, phase) in story {
        stage.change(&manifests::image("test", "app", image)).await;
        for _ in 0..900 {
            stage.pass(1).await;
            if phase_of(&stage) == *phase {
                break;
            }
        }
        assert_eq!(phase_of(&stage), *phase, "{image} with {provider}");
        stage.pass(30).await;
    }
    (stage, monitor)
}

fn phase_of(stage: &Stage) -> String {
    let canary = stage
        .api
        .object("flagger.app/v1beta1", "Canary", "test", "app")
        .unwrap_or_default();
    canary["status"]["phase"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn no_write_of_a_promotion_or_a_rollback_breaks_an_invariant_or_loses_a_request() {
    let rolling = json!({ "type": "RollingUpdate" });
    let tight = json!({ "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 2 } });
    for (provider, strategy) in [("contour", &rolling), ("gatewayapi:v1", &tight)] {
        let (stage, monitor) = played(provider, strategy, &STORY).await;
        assert_eq!(monitor.violations(), [], "{provider}");
        assert!(monitor.judged() > 30, "{} writes", monitor.judged());
        let primary = stage
            .api
            .object("apps/v1", "Deployment", "test", "app-primary")
            .expect("must be there");
        assert_eq!(primary["spec"]["template"]["spec"]["containers"][0]["image"], "app:2");
        let totals = stage
            .world
            .traffic()
            .totals(&("test".to_owned(), "app".to_owned()), stage.clock.now());
        assert!(totals.lost < 0.5, "{provider}: {} requests lost", totals.lost);
        assert!(totals.answered["app:3"].requests > 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recreated_primary_has_no_weight_while_it_is_away() {
    let (stage, monitor) = played("gatewayapi:v1", &json!({ "type": "Recreate" }), &STORY).await;
    assert_eq!(monitor.violations(), []);
    let totals = stage
        .world
        .traffic()
        .totals(&("test".to_owned(), "app".to_owned()), stage.clock.now());
    assert!(totals.lost < 0.5, "{} requests lost", totals.lost);
}

#[tokio::test(start_paused = true)]
async fn the_monitor_finds_a_write_that_sends_clients_to_nobody() {
    let (stage, monitor) = played("gatewayapi:v1", &json!({ "type": "RollingUpdate" }), &STORY[..1]).await;
    let mistaken = stage.api.client("serin-mistaken");
    manifests::change(&mistaken, &http_route(30))
        .await
        .expect("the route must be changed");
    let found: Vec<String> = monitor.violations().iter().map(ToString::to_string).collect();
    assert!(
        found
            .iter()
            .any(|it| it.contains("2: Canary is raised to 30 with 0 ready pods")),
        "{found:?}"
    );
    assert!(found.iter().any(|it| it.contains("status first")), "{found:?}");
}
