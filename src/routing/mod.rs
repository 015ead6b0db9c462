//! Traffic: the Services and the route objects that split it, one file a provider behind one trait.
//!
//! Pure: objects come in and go out as JSON. A provider says what its object looks like at a weight and reads back what it
//! says; whoever calls sends the patches. To add one, write its file and its line in [`ROUTERS`]
//! (`docs/add-a-provider.md`).

mod alternatives;
mod capability;
mod contour;
mod cookie;
mod destination;
mod experiment;
mod gatewayapi;
mod httproute;
mod istio;
mod kubernetes;
mod ports;
mod route;
pub mod service;

pub use destination::{DestinationMeta, Destinations};

use json_patch::Patch;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Value;

use crate::{
    api::Canary,
    rollout::{Destination, Refusal, RouteFacts, Subject, Traffic},
};

/// Every provider. Ids are asked for from the first to the last, so a narrower prefix stands before a wider one.
pub const ROUTERS: &[&dyn Router] = &[&contour::Contour, &gatewayapi::GatewayApi, &istio::Istio];

/// The provider of that name (`spec.provider`, or the controller's `-mesh-provider`).
pub fn router(provider: &str) -> Option<&'static dyn Router> {
    let named = |router: &&&dyn Router| router.meta().ids.iter().any(|id| id.names(provider));
    ROUTERS.iter().find(named).copied()
}

/// Who moves the traffic of a Canary.
#[derive(Clone, Copy)]
pub enum Provider {
    /// A route that it draws.
    Route(&'static dyn Router),
    /// Nobody: the apex Service leads to the primary, and no object is drawn (`kubernetes`).
    Services,
}

impl Provider {
    /// The provider of that name (`spec.provider`, or the controller's `-mesh-provider`).
    pub fn named(provider: &str) -> Option<Self> {
        if provider == kubernetes::ID {
            Some(Self::Services)
        } else {
            router(provider).map(Self::Route)
        }
    }

    /// Every provider.
    pub fn all() -> impl Iterator<Item = Self> {
        let routes = ROUTERS.iter().copied().map(Self::Route);
        routes.chain([Self::Services])
    }

    /// Who draws its route, if it has one.
    pub const fn router(self) -> Option<&'static dyn Router> {
        match self {
            Self::Route(router) => Some(router),
            Self::Services => None,
        }
    }

    /// The name for people and schemas.
    pub fn id(self) -> &'static str {
        match self {
            Self::Route(router) => router.meta().ids[0].text(),
            Self::Services => kubernetes::ID,
        }
    }

    /// What it can do.
    pub fn capabilities(self) -> Capabilities {
        match self {
            Self::Route(router) => router.meta().capabilities,
            Self::Services => kubernetes::CAPABILITIES,
        }
    }

    /// See [`Router::check`].
    pub fn check(self, cx: &RouteContext<'_>) -> Vec<Refusal> {
        match self {
            Self::Route(router) => router.check(cx),
            Self::Services => kubernetes::check(cx),
        }
    }

    /// See [`Router::warnings`].
    pub fn warnings(self, cx: &RouteContext<'_>) -> Vec<String> {
        match self {
            Self::Route(router) => router.warnings(cx),
            Self::Services => kubernetes::warnings(cx),
        }
    }
}

/// A provider of traffic routing: one kind of object that splits traffic between `<apex>-primary` and `<apex>-canary`.
pub trait Router: Sync {
    /// What it is called, which object it draws and what it can do.
    fn meta(&self) -> &'static RouterMeta;

    /// Name of its object, in the Canary's namespace.
    fn name<'a>(&self, cx: &RouteContext<'a>) -> &'a str {
        &cx.subject.apex
    }

    /// What it draws beside the route, one object for each side, before the route leads there. Most draw nothing.
    fn destinations(&self) -> Option<&'static dyn Destinations> {
        None
    }

    /// What the spec asks for that must not be acted on: nothing new starts while it stands.
    fn check(&self, cx: &RouteContext<'_>) -> Vec<Refusal>;

    /// What the spec asks for that this provider leaves out without harm, for people.
    fn warnings(&self, cx: &RouteContext<'_>) -> Vec<String>;

    /// What the object says, and whether all that we own in it says the intended traffic.
    fn facts(&self, cx: &RouteContext<'_>, live: &Value, intended: &Traffic) -> RouteFacts;

    /// The whole object, for when there is none.
    fn create(&self, cx: &RouteContext<'_>, traffic: &Traffic) -> Result<Value, RouteError>;

    /// The patch from the object as it is to the object as it shall be at this traffic; empty when it is so.
    ///
    /// It holds only for the `resourceVersion` that was seen. Whatever this provider does not draw survives. The first
    /// one of an object that somebody else made also keeps its `spec` in [`crate::object::ORIGINAL`].
    fn edit(&self, cx: &RouteContext<'_>, live: &Value, traffic: &Traffic) -> Result<Patch, RouteError>;

    /// The patch after which every rule of ours names these Services, those that it did not name with weight 0; empty when
    /// it is so. The traffic stays as it is, and so does what [`Router::hand_back`] restores.
    ///
    /// It gives the data plane the time to load the pods of a destination before requests go to it.
    fn announce(&self, cx: &RouteContext<'_>, live: &Value, destination: Destination) -> Result<Patch, RouteError>;

    /// The patch after which every rule of ours gives these Services all its traffic, the primary that of the sides, and still names
    /// what it named before with weight 0; empty when it is so.
    ///
    /// It gives the data plane the time to let go of the old destinations: one that it forgets before it has the new weights
    /// still gets requests, and nobody answers them.
    fn lead(&self, cx: &RouteContext<'_>, live: &Value, destination: Destination) -> Result<Patch, RouteError>;

    /// The patch that leads all traffic to the apex Service alone, or, with `original`, restores what stood there before
    /// Serin where that is known. Empty when it is so.
    fn hand_back(&self, cx: &RouteContext<'_>, live: &Value, original: bool) -> Result<Patch, RouteError>;
}

/// For whom a route is drawn.
#[derive(Debug, Clone, Copy)]
pub struct RouteContext<'a> {
    /// The Canary.
    pub canary: &'a Canary,
    /// The names it works on.
    pub subject: &'a Subject,
    /// Controller reference to the Canary.
    pub owner: &'a OwnerReference,
    /// What the operator decided.
    pub settings: &'a Settings,
}

impl<'a> RouteContext<'a> {
    /// The Canary's namespace, in which all its objects stand.
    pub fn namespace(&self) -> &'a str {
        self.canary.metadata.namespace.as_deref().unwrap_or_default()
    }
}

/// What the operator of Serin decided about routes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `-ingress-class`: the class that generated ingress objects carry; none where absent.
    pub ingress_class: Option<String>,
}

/// What a provider is.
#[derive(Debug)]
pub struct RouterMeta {
    /// What `spec.provider` may say for it (spec/routers.md 2).
    pub ids: &'static [ProviderId],
    /// Group and version of its object.
    pub api_version: &'static str,
    /// Kind of its object.
    pub kind: &'static str,
    /// Plural of its object, as in URLs.
    pub plural: &'static str,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How it tells that a weight has arrived.
    pub confirms: Confirms,
    /// What Serin must be allowed to do with its objects.
    pub rbac: &'static [RbacRule],
}

impl RouterMeta {
    /// The API group of its object.
    pub fn group(&self) -> &'static str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

/// One way to name a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderId {
    /// Exactly this text.
    Exactly(&'static str),
    /// Every text that begins so.
    StartsWith(&'static str),
}

impl ProviderId {
    /// Whether `provider` is one of these names.
    pub fn names(self, provider: &str) -> bool {
        match self {
            Self::Exactly(id) => provider == id,
            Self::StartsWith(id) => provider.starts_with(id),
        }
    }

    /// The text for people and schemas.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Exactly(id) | Self::StartsWith(id) => id,
        }
    }
}

/// What a provider can do (spec/routers.md 10). A Canary that asks for more is refused before traffic moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a table of capabilities: each is there or not"
)]
pub struct Capabilities {
    /// Share traffic by weight.
    pub weights: bool,
    /// Send requests that meet a test to the canary (A/B).
    pub matching: bool,
    /// Copy traffic to the canary.
    pub mirror: bool,
    /// Keep a caller on the side that answered it first.
    pub session_affinity: bool,
}

/// How a provider tells that its data plane has taken a generation of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirms {
    /// By conditions in the object's status.
    Conditions,
    /// It does not; `spec.trafficSettleSeconds` stands in for it.
    Nothing,
}

/// One rule of a `ClusterRole`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RbacRule {
    /// API group.
    pub group: &'static str,
    /// Resources, with subresources.
    pub resources: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
}

/// A route that cannot be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The spec lacks or misstates something that the object cannot do without.
    #[error("{field}: {message}")]
    Spec {
        /// Path of the field.
        field: String,
        /// What is wrong and what to do.
        message: String,
    },
}

impl RouteError {
    /// The first of several refusals.
    fn of_any(refusals: Vec<Refusal>) -> Self {
        let unsaid = || Refusal {
            field: "spec.service".to_owned(),
            message: "cannot be drawn".to_owned(),
        };
        refusals.into_iter().next().unwrap_or_else(unsaid).into()
    }
}

impl From<Refusal> for RouteError {
    fn from(refusal: Refusal) -> Self {
        Self::Spec {
            field: refusal.field,
            message: refusal.message,
        }
    }
}
