//! What users write: the objects of group `flagger.app`, version `v1beta1`, their defaults, and how they are read.
//!
//! The types carry every field of Flagger 1.44 and every field that Serin adds, so that an object round-trips
//! through them. Reading is forgiving where Flagger is (unknown fields are ignored, durations stay text) and exact
//! where a mistake would cost traffic: see [`mod@decode`] for one object's errors, [`mod@validate`] for specs that are well
//! formed but dangerous, and [`support`] for fields that Serin knows but does not act on yet.
//!
//! Nothing here does I/O, knows the time, or imports another module of Serin.

mod alert_provider;
mod analysis;
mod canary;
pub mod crd;
pub mod decode;
mod defaults;
pub mod duration;
mod extension;
mod metric_template;
mod number;
mod service;
mod status;
pub mod support;
mod traffic_policy;
pub mod validate;
mod webhook;

pub use alert_provider::{ALERT_SERVICES, AlertProvider, AlertProviderSpec};
pub use analysis::{Alert, Analysis, HeaderMatch, Metric, Range, SessionAffinity, Severity, TemplateRef, TrafficMatch};
pub use canary::{
    AutoscalerRef, Canary, CanarySpec, CrossNamespaceRef, ObjectRef, PROVIDERS, ScalerReplicas, UpstreamRef,
};
pub use decode::{DecodeError, decode};
pub use defaults::Strategy;
pub use duration::{DurationText, GoDuration};
pub use extension::{
    AnalysisStep, Bake, Baseline, Compare, ConfigMode, ConfigTracking, Inconclusive, InconclusiveAction, Judge,
    MetricWindow, MinSamples, OnFailure, OnInit, OnMissing, OnTimeout, PauseStep, Preview, Promotion, PromotionFailure,
    Reduce, ReleaseWindow, Rollback, RouteRef, ScalerSync, ServicePort, SetScale, Step, Weight, WorkStrategy,
};
pub use metric_template::{METRIC_PROVIDERS, MetricTemplate, MetricTemplateProvider, MetricTemplateSpec, SecretRef};
pub use service::{
    CorsPolicy, GatewayRef, HeaderChange, HeaderChanges, Metadata, MirrorBackend, MirrorTarget, Retries, Rewrite,
    RouteMatch, ServiceSpec, StringMatch, UnmanagedMetadata,
};
pub use status::{CanaryStatus, Condition, ConditionStatus, Phase, condition};
pub use traffic_policy::{
    ConnectionPool, ConsistentHash, HttpCookie, HttpPool, LoadBalancer, LocalityDistribute, LocalityFailover,
    LocalitySetting, OutlierDetection, TlsSettings, TrafficPolicy,
};
pub use validate::{SpecError, Warning, validate};
pub use webhook::{HookType, Webhook};

/// The API group of the three kinds.
pub const GROUP: &str = "flagger.app";
/// The one version of the group.
pub const VERSION: &str = "v1beta1";
/// The finalizer on every initialised Canary.
///
/// See spec/core.md 3.1.
pub const FINALIZER: &str = "finalizer.flagger.app";
