//! Tests.

mod api;
mod metrics;
