//! The HTTP server of the process: `/metrics`, `/healthz`, `/readyz` and `/loglevel`.

use std::future::{Future, IntoFuture as _};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use tokio::net::TcpListener;

use super::health::{Health, Report};
use super::log::{Level, LevelHandle};
use super::metrics::Metrics;

/// How long answers that are under way may take when the process stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// The media type of [`Metrics::text`].
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the server shows.
#[derive(Clone)]
pub struct Pages {
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/healthz` and `/readyz`.
    pub health: Health,
    /// For `/loglevel`.
    pub level: LevelHandle,
}

/// The server could not begin.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Another process has the port.
    #[error("port {0} is in use by another process; stop that one, or choose another port with -port")]
    InUse(u16),
    /// The port cannot be listened on for another reason.
    #[error("cannot listen on port {port}: {source}")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
}

/// Takes the port on all addresses; port 0 takes any free one.
pub async fn listen(port: u16) -> Result<TcpListener, HttpError> {
    // Where there is no IPv6 at all, IPv4 alone does.
    let bound = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    };
    bound.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => HttpError::InUse(port),
        _ => HttpError::Listen { port, source },
    })
}

/// Serves until `stop` is ready.
///
/// # Errors
/// The listener broke.
pub async fn serve(listener: TcpListener, pages: Pages, stop: impl Future<Output = ()> + Send) -> io::Result<()> {
    let (farewell, told) = tokio::sync::oneshot::channel::<()>();
    let service = router(pages).into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
        // Dropping the sender is the message.
        let _dropped = told.await;
    });
    let mut serving = std::pin::pin!(serving.into_future());
    tokio::select! {
        outcome = &mut serving => return outcome,
        () = stop => drop(farewell),
    }
    // A connection that is kept open must not keep the process.
    tokio::time::timeout(FAREWELL, serving).await.unwrap_or(Ok(()))
}

/// The pages.
pub fn router(pages: Pages) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/loglevel", put(log_level))
        .with_state(pages)
}

async fn metrics(State(pages): State<Pages>) -> Response {
    match pages.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The body is Flagger's `OK` when all is well.
async fn healthz(State(pages): State<Pages>) -> Response {
    let report = pages.health.alive();
    if report.good {
        "OK".into_response()
    } else {
        unavailable(&report)
    }
}

async fn readyz(State(pages): State<Pages>) -> Response {
    let report = pages.health.ready();
    if report.good {
        text(&report).into_response()
    } else {
        unavailable(&report)
    }
}

fn unavailable(report: &Report) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, text(report)).into_response()
}

fn text(report: &Report) -> String {
    report.lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// Only from the pod itself, which `kubectl port-forward` counts as.
async fn log_level(
    State(pages): State<Pages>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: String,
) -> (StatusCode, String) {
    if !peer.ip().to_canonical().is_loopback() {
        return (
            StatusCode::FORBIDDEN,
            "the log level is changed from the pod itself only\n".into(),
        );
    }
    match body.parse::<Level>() {
        Ok(level) => {
            pages.level.set(level);
            tracing::warn!(level = body.trim(), "the log level was changed");
            (StatusCode::OK, String::new())
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}
