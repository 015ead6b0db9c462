//! A cluster of somebody's own, and what has to be known about it.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::harness::shop::Road;

/// What a person says about their cluster. Without a kubeconfig the harness makes one of its own.
#[derive(clap::Args, Clone)]
pub struct Abroad {
    /// Use the cluster that this file leads to. Nothing in it is touched but namespaces that the run makes and deletes again; Serin's
    /// definitions must be installed there.
    #[arg(
        long,
        value_name = "FILE",
        requires = "gateway",
        requires = "prometheus",
        requires = "image"
    )]
    pub kubeconfig: Option<PathBuf>,

    /// Where its gateway takes requests over plain HTTP, seen from here.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "kubeconfig")]
    pub gateway: Option<SocketAddr>,

    /// Its Prometheus, seen from here and from the controller.
    #[arg(long, value_name = "URL", requires = "kubeconfig")]
    pub prometheus: Option<String>,

    /// An image of the application (docs/proof.md says what it must do).
    #[arg(long, value_name = "IMAGE", requires = "kubeconfig")]
    pub image: Option<String>,

    /// The Gateway that each `HTTPRoute` attaches to.
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "edge/edge")]
    pub gateway_object: String,

    /// Only routes of this kind.
    #[arg(long, value_name = "KIND")]
    pub road: Option<Road>,

    /// Serin runs in that cluster already: start none.
    #[arg(long, requires = "kubeconfig")]
    pub installed: bool,
}
