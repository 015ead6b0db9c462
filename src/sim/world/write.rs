//! What a controller of the embedded cluster wants written, as plain data: deciding is pure, sending is the engine's.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

/// The kinds that the embedded controllers read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Deployment,
    ReplicaSet,
    Pod,
    Service,
    EndpointSlice,
    Autoscaler,
    HttpProxy,
    HttpRoute,
    VirtualService,
}

impl Kind {
    /// Group, version, kind and plural, as a client needs them.
    pub(super) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::ReplicaSet => ("apps", "v1", "ReplicaSet", "replicasets"),
            Self::Pod => ("", "v1", "Pod", "pods"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::EndpointSlice => ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            Self::Autoscaler => (
                "autoscaling",
                "v2",
                "HorizontalPodAutoscaler",
                "horizontalpodautoscalers",
            ),
            Self::HttpProxy => ("projectcontour.io", "v1", "HTTPProxy", "httpproxies"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
            Self::VirtualService => ("networking.istio.io", "v1", "VirtualService", "virtualservices"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }
}

/// Where one object lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Place {
    pub(super) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Write {
    pub(super) on: Place,
    pub(super) what: What,
}

/// What a write does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// Create the object.
    Create(Value),
    /// A JSON merge patch of the object.
    Merge(Value),
    /// Put this whole object's status, on the resourceVersion that it carries.
    Status(Value),
    /// Delete the object with this uid; pods with a grace period of their own unless it is given.
    Delete { uid: String, grace: Option<u32> },
}
