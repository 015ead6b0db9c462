//! Tests.

mod hooks;
mod metrics;
mod notify;
