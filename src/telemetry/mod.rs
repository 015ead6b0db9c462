//! How the process is seen from outside: metrics, health, logs, and the HTTP server that shows them.

pub mod health;
pub mod http;
pub mod log;
pub mod metrics;
mod process;
