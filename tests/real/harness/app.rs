//! The application inside the pods: a small web server that answers, fails or is slow, as its environment tells it.
//!
//! It measures itself as the built-in queries of the Gateway API providers want it: a histogram
//! `http_request_duration_seconds` with the label `status`. It also tells how many of its requests were copies of others' requests:
//! [`COPIES`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::Parser;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::harness::Outcome;

/// The first argument of a process that is a pod's container.
pub const ROLE: &str = "app";

/// Where it listens if it is not told.
pub const PORT: u16 = 9898;

/// The header of an answer that says which version gave it. What comes without it did not come from the application.
pub const VERSION_HEADER: &str = "x-app-version";

/// The header of an answer that says which pod gave it.
pub const POD_HEADER: &str = "x-app-pod";

/// How many requests were copies whose answers nobody reads. Envoy marks the host of a copy with [`COPY_MARK`].
pub const COPIES: &str = "shop_copies_total";

/// Source: Envoy's documentation, `RouteAction.RequestMirrorPolicy`.
const COPY_MARK: &str = "-shadow";

/// After it was asked to end it still serves that long: the news that it leaves needs a moment to reach the gateway.
const DRAIN: Duration = Duration::from_secs(5);

/// Upper bounds of the histogram's buckets, in seconds.
const BUCKETS: [f64; 8] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// What the pod's environment says; the process kubelet adds the address.
#[derive(Parser)]
struct Settings {
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], PORT)))]
    listen: SocketAddr,
    /// What it calls itself in its answers.
    #[arg(long, env = "APP_VERSION")]
    version: String,
    /// The name of its pod.
    #[arg(long, env = "APP_POD")]
    pod: String,
    /// How many of 100 answers are an error 500, spread evenly.
    #[arg(long, env = "FAIL_PERCENT", default_value_t = 0)]
    fail_percent: u64,
    /// It never gets ready as a pod with this in its name.
    #[arg(long, env = "UNREADY_AS", default_value = "")]
    unready_as: String,
    /// How long each answer takes.
    #[arg(long, env = "LATENCY_MS", default_value_t = 0)]
    latency_ms: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    status: u16,
}

type Durations = Family<Labels, Histogram, fn() -> Histogram>;

struct App {
    settings: Settings,
    asked: AtomicU64,
    durations: Durations,
    copies: Counter,
    registry: Registry,
}

/// Serves until asked to end, and a little longer.
pub fn run() -> Outcome<()> {
    let settings = Settings::parse_from(std::env::args_os().skip(1));
    let durations = Durations::new_with_constructor(|| Histogram::new(BUCKETS));
    let mut registry = Registry::default();
    registry.register("http_request_duration_seconds", "Time to answer", durations.clone());
    let copies = Counter::default();
    let name = COPIES.strip_suffix("_total").unwrap_or(COPIES);
    registry.register(name, "Requests that are copies", copies.clone());
    let app = Arc::new(App {
        settings,
        asked: AtomicU64::new(0),
        durations,
        copies,
        registry,
    });
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(app))
}

async fn serve(app: Arc<App>) -> Outcome<()> {
    let mut asked_to_end = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(app.settings.listen).await?;
    let router = Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .fallback(answer)
        .with_state(app);
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            asked_to_end.recv().await;
            tokio::time::sleep(DRAIN).await;
        })
        .await?;
    Ok(())
}

async fn health(State(app): State<Arc<App>>) -> StatusCode {
    let Settings { unready_as, pod, .. } = &app.settings;
    if !unready_as.is_empty() && pod.contains(unready_as.as_str()) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}

async fn answer(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let start = Instant::now();
    if is_copy(&headers) {
        app.copies.inc();
    }
    tokio::time::sleep(Duration::from_millis(app.settings.latency_ms)).await;
    let status = if fails(app.asked.fetch_add(1, Ordering::Relaxed), app.settings.fail_percent) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    };
    app.durations
        .get_or_create(&Labels {
            status: status.as_u16(),
        })
        .observe(start.elapsed().as_secs_f64());
    let headers = [
        (VERSION_HEADER, app.settings.version.clone()),
        (POD_HEADER, app.settings.pod.clone()),
    ];
    (status, headers, "shop\n").into_response()
}

/// Whether nobody waits for the answer. The mark comes before the port, where the host has one.
fn is_copy(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.and_then(|host| host.split(':').next())
        .is_some_and(|name| name.ends_with(COPY_MARK))
}

/// Whether the `n`-th answer is a failure, so that `percent` of every hundred are.
const fn fails(n: u64, percent: u64) -> bool {
    (n + 1) * percent / 100 != n * percent / 100
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &app.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
