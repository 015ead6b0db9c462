//! Tests.
mod apiserver;
mod world;
