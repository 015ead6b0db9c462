//! Metrics: templates against Go's own, readings against limits, and a Prometheus on a real socket.

mod check;
mod judge;
mod prometheus;
mod templates;
