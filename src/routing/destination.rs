//! What some providers draw beside the route: one object for each side, that says how to reach its Service.
//!
//! Istio has a `DestinationRule`, others an upstream or a virtual node. They stand before the route leads to the sides, and
//! they go after it has left them: with the Canary that owns them.

use json_patch::Patch;
use serde_json::Value;

use super::{RouteContext, RouteError};
use crate::rollout::Side;

/// A kind of object that a provider draws once for each side, named after the side's Service.
pub trait Destinations: Sync {
    /// Which kind it is.
    fn meta(&self) -> &'static DestinationMeta;

    /// The whole object, for when there is none.
    fn create(&self, cx: &RouteContext<'_>, side: Side) -> Result<Value, RouteError>;

    /// The patch from the object as it is to the object as it shall be; empty when it is so, or cannot be drawn. What the
    /// provider does not draw survives, and the patch holds only for the `resourceVersion` that was seen.
    fn edit(&self, cx: &RouteContext<'_>, side: Side, live: &Value) -> Patch;
}

/// The kind of a provider's destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationMeta {
    /// Group and version.
    pub api_version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural, as in URLs.
    pub plural: &'static str,
}
