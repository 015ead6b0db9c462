//! The objects of one canary, as one pass finds them.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Value;

use super::before::{Before, Standing};
use super::configs::Configs;
use super::interest::revisions_of;
use super::look::Look;
use super::meta;
use super::referred::Referred;
use super::resource::{CanaryKey, ObjectKey, Resource};
use super::scalers::Scalers;
use crate::api::{Canary, GROUP, VERSION};
use crate::rollout::{Block, Known, Side, Stage, Subject};
use crate::routing::service::{ServiceContext, side_name};
use crate::routing::{self, DestinationMeta, Destinations, Provider, RouteContext, Router, RouterMeta};
use crate::workload::{self, Selector, primary::Identity};

/// What the operator decided, in the words of the parts that need it.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The provider of a Canary that names none.
    pub provider: String,
    /// How workloads are told apart and copied.
    pub workload: workload::Settings,
    /// How routes are drawn.
    pub routing: routing::Settings,
    /// Whether references to other namespaces are out of bounds.
    pub no_cross_namespace_refs: bool,
    /// Whether configurations are followed.
    pub config_tracking: bool,
}

/// One canary and everything that it names.
pub struct Site {
    /// The Canary as read, projected.
    pub raw: Arc<Value>,
    /// The same, understood.
    pub canary: Arc<Canary>,
    /// The controller reference to it.
    pub owner: OwnerReference,
    /// The names that the spec asks for.
    pub wanted: Subject,
    /// The names whose objects were read: those that the status has fixed, where it has.
    pub subject: Subject,
    /// What stands by the names that the spec asks for, where they are others than those of [`Site::subject`].
    pub elsewhere: Option<Elsewhere>,
    /// What served before the present names were taken over, while it may still stand.
    pub former: Option<Former>,
    /// The provider of the subject; `None`: no such provider is built.
    pub provider: Option<Provider>,
    /// Who draws its route; `None` also for a provider that has none.
    pub router: Option<&'static dyn Router>,
    /// The Deployment that the team edits. Where configurations are followed, its template names their copies.
    pub target: Known<Arc<Value>>,
    /// What its pods read besides.
    pub configs: Configs,
    /// `<target>-primary`.
    pub primary: Known<Arc<Value>>,
    /// `<apex>-primary`.
    pub primary_service: Known<Arc<Value>>,
    /// `<apex>-canary`.
    pub canary_service: Known<Arc<Value>>,
    /// The Service that clients call.
    pub apex_service: Known<Arc<Value>>,
    /// The provider's route object.
    pub route: Known<Arc<Value>>,
    /// What the provider draws beside `<apex>-primary`; not known where it draws nothing.
    pub primary_destination: Known<Arc<Value>>,
    /// The same beside `<apex>-canary`.
    pub canary_destination: Known<Arc<Value>>,
    /// What it refers to.
    pub referred: Referred,
    /// The scaler of the target, and the primary's copy.
    pub scalers: Scalers,
    /// The stored revisions, projected.
    pub store: Known<Vec<Arc<Value>>>,
    /// The slices of `<apex>-primary`.
    pub primary_slices: Known<Vec<Arc<Value>>>,
    /// The slices of `<apex>-canary`.
    pub canary_slices: Known<Vec<Arc<Value>>>,
    /// The slices of the apex Service.
    pub apex_slices: Known<Vec<Arc<Value>>>,
    /// The label that tells the pods, or why there is none.
    pub selector: Result<Selector, String>,
}

/// What is looked at before a canary moves to other names.
pub struct Elsewhere {
    /// The Deployment.
    pub target: Known<Arc<Value>>,
    /// The route; not known where the provider is not built.
    pub route: Known<Arc<Value>>,
}

/// A target that is not the canary's any more, and its primary, which served until another did.
pub struct Former {
    /// Their names.
    pub subject: Subject,
    /// The Deployment that the team edits, or edited.
    pub target: Known<Arc<Value>>,
    /// `<target>-primary`.
    pub primary: Known<Arc<Value>>,
}

/// The kind that a provider draws.
pub const fn route_resource(meta: &RouterMeta) -> Resource {
    let (group, version) = split(meta.api_version);
    Resource::new(group, version, meta.kind, meta.plural)
}

/// The kind of a provider's destinations.
pub const fn destination_resource(meta: &DestinationMeta) -> Resource {
    let (group, version) = split(meta.api_version);
    Resource::new(group, version, meta.kind, meta.plural)
}

/// `group/version` in its two parts.
const fn split(api_version: &'static str) -> (&'static str, &'static str) {
    let bytes = api_version.as_bytes();
    let mut at = 0;
    while at < bytes.len() && bytes[at] != b'/' {
        at += 1;
    }
    if at == bytes.len() {
        return ("", api_version);
    }
    let (group, rest) = api_version.split_at(at);
    (group, rest.split_at(1).1)
}

impl Site {
    /// Reads everything that the canary names, from the caches where they can tell.
    pub async fn survey(
        look: &Look,
        raw: Arc<Value>,
        canary: Arc<Canary>,
        block: Option<&Block>,
        rules: &Rules,
    ) -> Self {
        let wanted = Subject {
            target: canary.spec.target_ref.name.clone(),
            apex: canary.spec.apex_name().to_owned(),
            provider: canary.spec.provider_or(&rules.provider).to_owned(),
        };
        // Until the target was taken over nothing carries traffic by the old names.
        let fixed = block
            .filter(|block| block.stage != Stage::Initializing)
            .map(|block| block.subject.clone());
        let subject = fixed.unwrap_or_else(|| wanted.clone());
        let provider = Provider::named(&subject.provider);
        let router = provider.and_then(Provider::router);
        let (namespace, name) = (meta::namespace(&raw).to_owned(), meta::name(&raw).to_owned());
        let keys = Keys {
            namespace: &namespace,
            subject: &subject,
        };
        let mut elsewhere = None;
        if wanted != subject {
            elsewhere = Some(Elsewhere::survey(look, &namespace, &wanted).await);
        }
        let former = match block.and_then(|block| block.former.clone()) {
            Some(former) if former.target != subject.target => Some(Former::survey(look, &namespace, former).await),
            _ => None,
        };
        let mut target = look.object(&keys.target()).await;
        let primary = look.object(&keys.primary()).await;
        let settings = &rules.workload;
        let selector = match (target.present(), primary.present()) {
            (Some(target), _) => Selector::of_target(target, settings).map_err(|error| error.to_string()),
            (None, Some(primary)) => Selector::of_primary(primary, settings).map_err(|error| error.to_string()),
            (None, None) => Err(format!("deployment {}.{namespace} cannot be read", subject.target)),
        };
        let store = look.group(&revisions_of(&namespace, &name)).await;
        let mut configs = Configs::off();
        if rules.config_tracking {
            let key = CanaryKey::new(&*namespace, &*name);
            configs = Configs::survey(look, &canary, &key, &mut target).await;
            if let Ok(selector) = &selector {
                let standing = Standing {
                    namespace: &namespace,
                    canary: &canary,
                    block,
                    primary: &primary,
                    identity: Identity {
                        target: &subject.target,
                        selector,
                        settings,
                    },
                    store: &store,
                };
                configs.before = Before::survey(look, &standing, &configs).await;
            }
        }
        let route = match router {
            Some(router) => look.object(&keys.route(router)).await,
            None if provider.is_some() => Known::Absent,
            None => Known::NoKind {
                kind: format!("the object of provider {}", subject.provider),
            },
        };
        let (mut primary_destination, mut canary_destination) = (Known::Unknown, Known::Unknown);
        if let Some(destinations) = router.and_then(Router::destinations) {
            primary_destination = look.object(&keys.destination(destinations, Side::Primary)).await;
            canary_destination = look.object(&keys.destination(destinations, Side::Canary)).await;
        }
        Self {
            owner: owner_of(&raw),
            primary_service: look.object(&keys.side(Side::Primary)).await,
            canary_service: look.object(&keys.side(Side::Canary)).await,
            apex_service: look.object(&keys.apex()).await,
            referred: Referred::survey(&*look.caches, &canary, &wanted.provider, rules),
            scalers: Scalers::survey(look, &namespace, &canary.spec, block).await,
            store,
            primary_slices: look.group(&keys.slices(&side_name(&subject, Side::Primary))).await,
            canary_slices: look.group(&keys.slices(&side_name(&subject, Side::Canary))).await,
            apex_slices: look.group(&keys.slices(&subject.apex)).await,
            raw,
            canary,
            wanted,
            provider,
            elsewhere,
            former,
            router,
            target,
            configs,
            primary,
            route,
            primary_destination,
            canary_destination,
            selector,
            subject,
        }
    }

    /// The Canary's place and name.
    pub fn key(&self) -> CanaryKey {
        CanaryKey::new(meta::namespace(&self.raw), meta::name(&self.raw))
    }

    /// `metadata.uid` of the Canary.
    pub fn uid(&self) -> &str {
        &self.owner.uid
    }

    /// What the provider draws beside a side's Service; not known where it draws nothing.
    pub const fn destination(&self, side: Side) -> &Known<Arc<Value>> {
        match side {
            Side::Primary => &self.primary_destination,
            Side::Canary => &self.canary_destination,
        }
    }

    /// The keys of what served before.
    pub fn former_keys(&self) -> Option<Keys<'_>> {
        let former = self.former.as_ref()?;
        Some(Keys {
            namespace: meta::namespace(&self.raw),
            subject: &former.subject,
        })
    }

    /// The keys of its objects.
    pub fn keys(&self) -> Keys<'_> {
        Keys {
            namespace: meta::namespace(&self.raw),
            subject: &self.subject,
        }
    }

    /// What the provider of the subject needs to know.
    pub fn route_context<'a>(&'a self, rules: &'a Rules) -> RouteContext<'a> {
        self.route_context_of(&self.subject, rules)
    }

    /// What a provider needs to know to draw by these names.
    pub fn route_context_of<'a>(&'a self, subject: &'a Subject, rules: &'a Rules) -> RouteContext<'a> {
        RouteContext {
            canary: &self.canary,
            subject,
            owner: &self.owner,
            settings: &rules.routing,
        }
    }

    /// What the Services need to know; `None` where the pods cannot be told apart.
    pub fn service_context(&self) -> Option<ServiceContext<'_>> {
        let selector = self.selector.as_ref().ok()?;
        Some(ServiceContext {
            canary: &self.canary,
            subject: &self.subject,
            owner: &self.owner,
            label: &selector.key,
            value: &selector.value,
            pods: self
                .target
                .present()
                .and_then(|target| target.pointer("/spec/template")),
        })
    }

    /// The target's pod template as the team wrote it.
    pub fn plain(&self) -> Option<&Value> {
        let target = self.target.present().and_then(|it| it.pointer("/spec/template"));
        self.configs.plain().or(target)
    }

    /// What tells the target's pods from the primary's.
    pub fn identity<'a>(&'a self, rules: &'a Rules) -> Option<Identity<'a>> {
        let selector = self.selector.as_ref().ok()?;
        Some(Identity {
            target: &self.subject.target,
            selector,
            settings: &rules.workload,
        })
    }
}

impl Elsewhere {
    async fn survey(look: &Look, namespace: &str, subject: &Subject) -> Self {
        let keys = Keys { namespace, subject };
        let route = match routing::router(&subject.provider) {
            Some(router) => look.object(&keys.route(router)).await,
            None => Known::Unknown,
        };
        Self {
            target: look.object(&keys.target()).await,
            route,
        }
    }
}

impl Former {
    async fn survey(look: &Look, namespace: &str, subject: Subject) -> Self {
        let keys = Keys {
            namespace,
            subject: &subject,
        };
        let (target, primary) = (look.object(&keys.target()).await, look.object(&keys.primary()).await);
        Self {
            subject,
            target,
            primary,
        }
    }
}

/// Where one canary's objects stand.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    namespace: &'a str,
    subject: &'a Subject,
}

impl Keys<'_> {
    /// The target.
    pub fn target(&self) -> ObjectKey {
        ObjectKey::new(Resource::DEPLOYMENT, self.namespace, &self.subject.target)
    }

    /// The primary.
    pub fn primary(&self) -> ObjectKey {
        ObjectKey::new(
            Resource::DEPLOYMENT,
            self.namespace,
            &format!("{}-primary", self.subject.target),
        )
    }

    /// The workload of a side.
    pub fn workload(&self, side: Side) -> ObjectKey {
        match side {
            Side::Primary => self.primary(),
            Side::Canary => self.target(),
        }
    }

    /// The apex Service.
    pub fn apex(&self) -> ObjectKey {
        ObjectKey::new(Resource::SERVICE, self.namespace, &self.subject.apex)
    }

    /// The Service of a side.
    pub fn side(&self, side: Side) -> ObjectKey {
        ObjectKey::new(Resource::SERVICE, self.namespace, &side_name(self.subject, side))
    }

    /// The slices of a Service.
    pub fn slices(&self, service: &str) -> ObjectKey {
        ObjectKey::new(Resource::ENDPOINT_SLICE, self.namespace, service)
    }

    /// The route.
    pub fn route(&self, router: &dyn Router) -> ObjectKey {
        ObjectKey::new(route_resource(router.meta()), self.namespace, &self.subject.apex)
    }

    /// What the provider draws beside a side's Service.
    pub fn destination(&self, destinations: &dyn Destinations, side: Side) -> ObjectKey {
        ObjectKey::new(
            destination_resource(destinations.meta()),
            self.namespace,
            &side_name(self.subject, side),
        )
    }

    /// A stored revision.
    pub fn revision(&self, name: &str) -> ObjectKey {
        ObjectKey::new(Resource::REVISION, self.namespace, name)
    }
}

fn owner_of(canary: &Value) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: "Canary".to_owned(),
        name: meta::name(canary).to_owned(),
        uid: meta::uid(canary).to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_version_splits_into_group_and_version() {
        assert_eq!(split("projectcontour.io/v1"), ("projectcontour.io", "v1"));
        assert_eq!(split("v1"), ("", "v1"));
    }
}
