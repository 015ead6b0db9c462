//! The Canary: what is released, through which Service, judged how.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Analysis, CanaryStatus, ConfigTracking, Promotion, ReleaseWindow, Rollback, RouteRef, ScalerSync, ServiceSpec,
    WorkStrategy, number,
};

/// The traffic providers that Flagger's schema admits.
///
/// See spec/routers.md 2.
pub const PROVIDERS: [&str; 19] = [
    "apisix",
    "appmesh",
    "appmesh:v1beta2",
    "contour",
    "gatewayapi:v1",
    "gatewayapi:v1beta1",
    "gloo",
    "istio",
    "knative",
    "kubernetes",
    "kuma",
    "linkerd",
    "nginx",
    "osm",
    "skipper",
    "smi:v1alpha1",
    "smi:v1alpha2",
    "smi:v1alpha3",
    "traefik",
];

/// A progressive release of one workload.
#[allow(clippy::duplicated_attributes)] // the printer columns share types and priorities
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "flagger.app",
    version = "v1beta1",
    kind = "Canary",
    plural = "canaries",
    singular = "canary",
    doc = "Canary releases a workload step by step and promotes it or puts everything back.",
    category = "all",
    annotation("helm.sh/resource-policy", "keep"),
    namespaced,
    status = "CanaryStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Weight", type_ = "string", json_path = ".status.canaryWeight"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = 1),
    printcolumn(
        name = "FailedChecks",
        type_ = "string",
        json_path = ".status.failedChecks",
        priority = 1
    ),
    printcolumn(
        name = "Interval",
        type_ = "string",
        json_path = ".spec.analysis.interval",
        priority = 1
    ),
    printcolumn(
        name = "Mirror",
        type_ = "boolean",
        json_path = ".spec.analysis.mirror",
        priority = 1
    ),
    printcolumn(
        name = "StepWeight",
        type_ = "string",
        json_path = ".spec.analysis.stepWeight",
        priority = 1
    ),
    printcolumn(
        name = "StepWeights",
        type_ = "string",
        json_path = ".spec.analysis.stepWeights",
        priority = 1
    ),
    printcolumn(
        name = "MaxWeight",
        type_ = "string",
        json_path = ".spec.analysis.maxWeight",
        priority = 1
    ),
    printcolumn(
        name = "LastTransitionTime",
        type_ = "string",
        json_path = ".status.lastTransitionTime"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["targetRef", "analysis"]))]
pub struct CanarySpec {
    /// Traffic provider of this Canary; absent or empty means the controller's `--mesh-provider`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = PROVIDERS))]
    pub provider: Option<String>,
    /// Prometheus address for the built-in and inline queries of this Canary, instead of the controller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_server: Option<String>,
    /// The workload that is released, in the Canary's own namespace.
    pub target_ref: ObjectRef,
    /// The scaler of the target; the primary gets a copy of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler_ref: Option<AutoscalerRef>,
    /// The Ingress that NGINX and Skipper route by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_ref: Option<ObjectRef>,
    /// The `ApisixRoute` that APISIX routes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_ref: Option<ObjectRef>,
    /// The Gloo Upstream whose settings are copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_ref: Option<UpstreamRef>,
    /// The Services and the route that carry the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,
    /// How a new revision is judged. The schema demands it; absent here means that nothing is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// Seconds that a workload may take to become ready. Default 600.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number::option"
    )]
    #[schemars(schema_with = "number::schema")]
    pub progress_deadline_seconds: Option<i64>,
    /// Promote a new revision without judging it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skip_analysis: bool,
    /// On deletion, also give the target and the adopted objects back as they were found.
    #[serde(default, skip_serializing_if = "is_false")]
    pub revert_on_deletion: bool,
    /// Leave everything as it is until this is false again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,

    /// What happens when the primary does not come up with the promoted revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// How the way back is prepared and how fast it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// How workloads without routed traffic are released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<WorkStrategy>,
    /// Routes that the user owns: only their weights are touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub route_refs: Vec<RouteRef>,
    /// Parts that the weights of a route add up to. Default 100, at most 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub total_weight: Option<u32>,
    /// Seconds to wait after a weight was written to a router that confirms nothing. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub traffic_settle_seconds: Option<u32>,
    /// How the `ConfigMaps` and Secrets of the target are followed, one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_tracking: Vec<ConfigTracking>,
    /// Names of Canaries of this namespace that must have been released first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// Canaries of one group in a namespace are released together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// When a run may start and when it may not. They never block a rollback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<ReleaseWindow>,
}

/// A reference to an object in the Canary's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// API group and version, for example `apps/v1`.
    pub api_version: String,
    /// Kind, for example `Deployment`.
    pub kind: String,
    /// Name of the object.
    pub name: String,
}

/// A reference to a Gloo Upstream, which may live in another namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamRef {
    /// API group and version.
    pub api_version: String,
    /// Kind, always `Upstream`.
    #[schemars(extend("enum" = ["Upstream"]))]
    pub kind: String,
    /// Name of the Upstream.
    pub name: String,
    /// Its namespace; absent or empty means the Canary's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A name that may lie in another namespace: a metric template or an alert provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct CrossNamespaceRef {
    /// Name of the object.
    pub name: String,
    /// Its namespace; absent or empty means the Canary's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// The scaler of the target and how its copy for the primary differs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerRef {
    /// API group and version.
    pub api_version: String,
    /// `HorizontalPodAutoscaler` or `ScaledObject`.
    #[schemars(extend("enum" = ["HorizontalPodAutoscaler", "ScaledObject"]))]
    pub kind: String,
    /// Name of the scaler.
    pub name: String,
    /// KEDA only: trigger name to the query that the primary's copy uses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub primary_scaler_queries: BTreeMap<String, String>,
    /// Bounds of the primary's copy, where they differ from the scaler's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_scaler_replicas: Option<ScalerReplicas>,
    /// Bounds of the canary while it is judged, where they differ from the scaler's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_scaler_replicas: Option<ScalerReplicas>,
    /// When an edit of the scaler reaches the primary's copy. Default `onPromotion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<ScalerSync>,
}

/// Bounds of a scaler copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalerReplicas {
    /// Least number of replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub min_replicas: Option<i32>,
    /// Greatest number of replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1))]
    pub max_replicas: Option<i32>,
}

/// Whether a flag may be left out of the serialised object.
#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}
