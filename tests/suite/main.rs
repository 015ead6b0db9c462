//! Tests.
mod apiserver;
