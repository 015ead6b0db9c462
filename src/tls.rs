//! The one TLS provider of the process.
//!
//! `rustls` is compiled with `ring` and nothing else, and `reqwest` with no provider at all: without a default one its
//! client panics when it is built, even for plain HTTP.

use std::sync::Once;

static INSTALLED: Once = Once::new();

/// Installs `ring` as the process's TLS provider. Call it before a client is built; calls after the first do nothing.
pub fn init() {
    INSTALLED.call_once(|| {
        // An error means that a provider is there already, which is what is wanted.
        let _already_there = rustls::crypto::ring::default_provider().install_default();
    });
}
