//! How the process is seen from outside: metrics, health, logs, and the HTTP server that shows them.

mod board;
pub mod health;
pub mod http;
pub mod log;
pub mod metrics;
mod process;
