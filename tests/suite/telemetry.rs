//! The pages of the process, asked without a socket.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::MockConnectInfo;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serin::clock::Clock;
use serin::telemetry::health::Health;
use serin::telemetry::http::{HttpError, Pages, listen, router};
use serin::telemetry::log::{Level, LevelHandle};
use serin::telemetry::metrics::Metrics;
use tower::ServiceExt as _;

struct World {
    health: Health,
    levels: Arc<Mutex<Vec<Level>>>,
    router: Router,
}

fn world() -> World {
    let levels: Arc<Mutex<Vec<Level>>> = Arc::default();
    let set = levels.clone();
    let level = LevelHandle::calling(move |level| set.lock().expect("no panic with it").push(level));
    let health = Health::default();
    let metrics = Metrics::new("0.1.0", "contour", Clock::system());
    let router = router(Pages {
        metrics,
        health: health.clone(),
        level,
    });
    World { health, levels, router }
}

impl World {
    async fn ask(&self, method: &str, path: &str, from: [u8; 4], body: &str) -> (StatusCode, String) {
        let service = self.router.clone().layer(MockConnectInfo(SocketAddr::from((from, 1))));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::from(body.to_owned()));
        let answer = service
            .oneshot(request.expect("it must be a request"))
            .await
            .expect("it cannot fail");
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("the body must come")
            .to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.ask("GET", path, [10, 0, 0, 1], "").await
    }
}

#[tokio::test]
async fn health_is_flaggers_ok_until_something_is_wrong() {
    let world = world();
    assert_eq!(world.get("/healthz").await, (StatusCode::OK, "OK".into()));
    drop(world.health.pulse("passes", Duration::from_secs(1)));
    let (status, body) = world.get("/healthz").await;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "not healthy: passes: it has ended\n")
    );
}

#[tokio::test]
async fn readiness_says_what_is_awaited() {
    let world = world();
    world
        .health
        .condition("caches", Err("the first lists have not ended".into()));
    let (status, body) = world.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, "not ready: caches: the first lists have not ended\n");
    world.health.condition("caches", Ok(String::new()));
    assert_eq!(world.get("/readyz").await, (StatusCode::OK, "ok: caches\n".into()));
}

#[tokio::test]
async fn metrics_are_served_in_the_open_format() {
    let (status, body) = world().get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("flagger_info") && body.ends_with("# EOF\n"), "{body}");
}

#[tokio::test]
async fn the_log_level_is_changed_from_the_pod_itself_only() {
    let world = world();
    let (status, _) = world.ask("PUT", "/loglevel", [10, 0, 0, 1], "debug").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, body) = world.ask("PUT", "/loglevel", [127, 0, 0, 1], "loud").await;
    assert!(status == StatusCode::BAD_REQUEST && body.contains("loud"), "{body}");
    let (status, _) = world.ask("PUT", "/loglevel", [127, 0, 0, 1], "debug\n").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(*world.levels.lock().expect("no panic with it"), [Level::Debug]);
}

#[tokio::test]
async fn a_port_in_use_is_said_with_what_to_do() {
    let first = listen(0).await.expect("some port must be free");
    let port = first.local_addr().expect("it has an address").port();
    let error = listen(port).await.expect_err("it is in use");
    assert!(matches!(error, HttpError::InUse(taken) if taken == port));
    assert!(error.to_string().contains("-port"), "{error}");
}
