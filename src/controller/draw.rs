//! What has to be written so that an assertion holds: requests, made from the objects as they were read. Pure.

use std::sync::Arc;

use json_patch::Patch;
use serde_json::Value;

use super::resource::ObjectKey;
use super::scalers;
use super::site::{Rules, Site};
use crate::api::FINALIZER;
use crate::object::{annotation, list, ownership, patch};
use crate::rollout::{Assertion, Fingerprint, Known, Leftover, Selects, Side, Traffic};
use crate::routing::{RouteContext, RouteError, Router, service};
use crate::workload::{self, primary, scale, store};

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Create this object.
    Create(ObjectKey, Value),
    /// Send this patch.
    Patch(ObjectKey, Patch),
    /// Delete this object.
    Delete(ObjectKey, Arc<Value>),
}

/// Why an assertion cannot be drawn now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undrawable {
    /// Something that it needs was not read; another pass may have it.
    #[error("{0} is not known")]
    Unknown(String),
    /// The spec does not allow it; its words.
    #[error("{0}")]
    Spec(String),
}

impl Act {
    /// The object.
    pub const fn key(&self) -> &ObjectKey {
        match self {
            Self::Create(key, _) | Self::Patch(key, _) | Self::Delete(key, _) => key,
        }
    }

    /// Verb and object, such as `patch HTTPRoute podinfo`.
    pub fn what(&self) -> String {
        let verb = match self {
            Self::Create(..) => "create",
            Self::Patch(..) => "patch",
            Self::Delete(..) => "delete",
        };
        format!("{verb} {}", self.key())
    }
}

/// The stored revision that an assertion copies from, if it does.
pub const fn revision_of(assertion: &Assertion) -> Option<&Fingerprint> {
    match assertion {
        Assertion::PrimaryExists { revision, .. }
        | Assertion::PrimaryTemplate { revision, .. }
        | Assertion::Rehearsed { revision, .. } => Some(revision),
        _ => None,
    }
}

/// What a write of the primary gives it.
#[derive(Debug, Clone, Copy)]
pub struct Copied<'a> {
    /// The stored revision.
    revision: &'a Fingerprint,
    /// The run that writes it.
    run: u64,
    /// How often that run has written it anew.
    attempt: u32,
    /// The least number of replicas.
    replicas: u32,
}

impl<'a> Copied<'a> {
    /// The first write of a run.
    pub const fn new(revision: &'a Fingerprint, run: u64, replicas: u32) -> Self {
        Self {
            revision,
            run,
            attempt: 0,
            replicas,
        }
    }
}

/// Draws for one canary.
pub struct Draw<'a> {
    /// Its objects.
    pub site: &'a Site,
    /// What the operator decided.
    pub rules: &'a Rules,
    /// The number of the present run.
    pub run: u64,
}

type Acts = Result<Vec<Act>, Undrawable>;
/// What a provider makes of its route.
type Changed = Result<Patch, RouteError>;

impl Draw<'_> {
    /// The requests for an assertion, in order. `template` is the content of its stored revision, where it has one.
    pub fn acts(&self, assertion: &Assertion, template: Option<&Value>) -> Acts {
        match assertion {
            Assertion::Finalizer => Ok(self.finalizer(true)),
            Assertion::Unfinalized { hand_back } => {
                let mut acts = if *hand_back { self.apex_as_found() } else { Vec::new() };
                acts.extend(self.finalizer(false));
                Ok(acts)
            }
            Assertion::Stored(fingerprint) => self.stored(fingerprint),
            Assertion::Pruned(keep) => self.pruned(keep),
            Assertion::PrimaryExists { revision, replicas } => {
                self.primary_created(template, &Copied::new(revision, self.run, *replicas))
            }
            Assertion::PrimaryTemplate {
                revision,
                run,
                attempt,
                replicas,
            } => {
                let attempt = *attempt;
                let copied = Copied::new(revision, *run, *replicas);
                self.primary_written(template, &Copied { attempt, ..copied })
                    .map(Vec::from_iter)
            }
            Assertion::PrimaryNamed(revision) => {
                let live = present(&self.site.primary, "the primary")?;
                let operations = primary::named(live, revision);
                Ok(Vec::from_iter(patched(self.site.keys().primary(), operations)))
            }
            Assertion::PrimaryRestarted { mark } => {
                let live = present(&self.site.primary, "the primary")?;
                let operations = primary::restarted(live, mark);
                Ok(Vec::from_iter(patched(self.site.keys().primary(), operations)))
            }
            Assertion::Floor { side, replicas } => self.scaled(*side, |live| scale::at_least(live, *replicas)),
            Assertion::PrimaryScaler { floor, follow } => scalers::drawn(self.site, *floor, *follow),
            Assertion::TargetDown => self.scaled(Side::Canary, scale::to_zero),
            Assertion::SideService(side) => self.side_service(*side),
            Assertion::SideDestination(side) => self.side_destination(*side),
            Assertion::Apex(selects) => self.apex(*selects),
            Assertion::Route(traffic) => self.route(traffic),
            Assertion::RouteAnnounced(to) => self.route_changed(|router, cx, live| router.announce(cx, live, *to)),
            Assertion::RouteLeads(to) => self.route_changed(|router, cx, live| router.lead(cx, live, *to)),
            Assertion::RouteHandedBack { original } => self.route_handed_back(*original),
            Assertion::Released { everything } => Ok(self.released(*everything)),
            Assertion::Discarded(leftovers) => Ok(leftovers.iter().flat_map(|it| self.discarded(*it)).collect()),
            // Its requests build on each other's answers: see `rehearse`.
            Assertion::Rehearsed { .. } => Ok(Vec::new()),
        }
    }

    /// The patch of the route from the given state of it to that traffic.
    pub fn route_edit(&self, live: &Value, traffic: &Traffic) -> Result<Option<Act>, Undrawable> {
        let router = self.site.router.ok_or_else(|| self.no_provider())?;
        let edit = router.edit(&self.site.route_context(self.rules), live, traffic);
        let edit = edit.map_err(|error| Undrawable::Spec(error.to_string()))?;
        Ok(patched(self.site.keys().route(router), edit))
    }

    /// The patch that gives the primary the stored revision.
    pub fn primary_written(&self, template: Option<&Value>, copied: &Copied<'_>) -> Result<Option<Act>, Undrawable> {
        let site = self.site;
        let live = present(&site.primary, "the primary")?;
        let target = present(&site.target, "the target")?;
        let template =
            template.ok_or_else(|| Undrawable::Unknown(format!("the stored revision {}", copied.revision)))?;
        let operations = primary::promote(live, target, template, &self.primary_context(copied)?);
        Ok(patched(site.keys().primary(), operations))
    }

    fn finalizer(&self, there: bool) -> Vec<Act> {
        let live = &self.site.raw;
        let mut finalizers: Vec<Value> = list(live, "/metadata/finalizers").to_vec();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if there {
            finalizers.push(FINALIZER.into());
        }
        let mut next = Value::clone(live);
        next["metadata"]["finalizers"] = finalizers.into();
        patched(self.site.key().object(), patch::at_version(live, &next))
            .into_iter()
            .collect()
    }

    /// The template with this fingerprint is the target's, or can be read back from the primary.
    fn stored(&self, fingerprint: &Fingerprint) -> Acts {
        let site = self.site;
        let target = site
            .target
            .present()
            .and_then(|target| target.pointer("/spec/template"));
        let template = match target.filter(|template| workload::fingerprint(template) == *fingerprint) {
            Some(template) => template.clone(),
            None => self.template_of_primary(fingerprint)?,
        };
        let namespace = &site.keys().target().namespace;
        let object = store::revision(
            &site.owner,
            namespace,
            &site.subject.target,
            fingerprint,
            &template,
            self.run,
        );
        let key = site.keys().revision(&store::name(&site.subject.target, fingerprint));
        let store = present(&site.store, "the store of revisions")?;
        // A damaged revision of that name cannot be mended, since its content is immutable.
        let damaged = store.iter().find(|it| super::meta::name(it) == key.name);
        let delete = damaged.map(|damaged| Act::Delete(key.clone(), damaged.clone()));
        Ok(delete.into_iter().chain([Act::Create(key, object)]).collect())
    }

    fn template_of_primary(&self, fingerprint: &Fingerprint) -> Result<Value, Undrawable> {
        if let Some(before) = self.site.configs.before_as(fingerprint) {
            return Ok(before.template.clone());
        }
        let missing = || Undrawable::Unknown(format!("the content of revision {fingerprint}"));
        let live = self
            .site
            .primary
            .present()
            .and_then(|primary| primary.pointer("/spec/template"));
        let identity = self.site.identity(self.rules).ok_or_else(missing)?;
        let recovered = primary::recover(live.ok_or_else(missing)?, self.site.plain(), identity);
        if workload::fingerprint(&recovered) == *fingerprint {
            Ok(recovered)
        } else {
            Err(missing())
        }
    }

    fn pruned(&self, keep: &[Fingerprint]) -> Acts {
        let store = present(&self.site.store, "the store of revisions")?;
        let surplus = store.iter().filter(|it| !super::projection::is_kept(it, keep));
        let delete = |it: &Arc<Value>| Act::Delete(self.site.keys().revision(super::meta::name(it)), it.clone());
        Ok(surplus.map(delete).collect())
    }

    fn primary_created(&self, template: Option<&Value>, copied: &Copied<'_>) -> Acts {
        let target = present(&self.site.target, "the target")?;
        let template =
            template.ok_or_else(|| Undrawable::Unknown(format!("the stored revision {}", copied.revision)))?;
        let body = primary::create(target, template, &self.primary_context(copied)?);
        Ok(vec![Act::Create(self.site.keys().primary(), body)])
    }

    fn primary_context<'a>(&'a self, copied: &Copied<'a>) -> Result<primary::PrimaryContext<'a>, Undrawable> {
        let identity = self.site.identity(self.rules).ok_or_else(|| self.no_selector())?;
        let owner = &self.site.owner;
        Ok(primary::PrimaryContext {
            owner,
            identity,
            revision: copied.revision,
            run: copied.run,
            attempt: copied.attempt,
            replicas: copied.replicas,
        })
    }

    fn scaled(&self, side: Side, operations: impl FnOnce(&Value) -> Patch) -> Acts {
        let workload = match side {
            Side::Primary => present(&self.site.primary, "the primary")?,
            Side::Canary => present(&self.site.target, "the target")?,
        };
        Ok(patched(self.site.keys().workload(side), operations(workload))
            .into_iter()
            .collect())
    }

    fn side_service(&self, side: Side) -> Acts {
        let cx = self.site.service_context().ok_or_else(|| self.no_selector())?;
        let live = match side {
            Side::Primary => &self.site.primary_service,
            Side::Canary => &self.site.canary_service,
        };
        let key = self.site.keys().side(side);
        match live {
            Known::Present(live) => Ok(patched(key, service::edit_side(&cx, side, live)).into_iter().collect()),
            Known::Absent => created(key, service::side(&cx, side)),
            _ => Err(Undrawable::Unknown(key.to_string())),
        }
    }

    fn side_destination(&self, side: Side) -> Acts {
        let Some(destinations) = self.site.router.and_then(Router::destinations) else {
            return Ok(Vec::new());
        };
        let (cx, key) = (
            self.site.route_context(self.rules),
            self.site.keys().destination(destinations, side),
        );
        match self.site.destination(side) {
            Known::Present(live) => Ok(patched(key, destinations.edit(&cx, side, live)).into_iter().collect()),
            Known::Absent => created(key, destinations.create(&cx, side)),
            _ => Err(Undrawable::Unknown(key.to_string())),
        }
    }

    fn apex(&self, selects: Selects) -> Acts {
        let cx = self.site.service_context().ok_or_else(|| self.no_selector())?;
        let pods = if selects == Selects::Primary {
            Side::Primary
        } else {
            Side::Canary
        };
        let key = self.site.keys().apex();
        match &self.site.apex_service {
            Known::Present(live) => Ok(patched(key, service::edit_apex(&cx, pods, live)).into_iter().collect()),
            Known::Absent => created(key, service::apex(&cx, pods)),
            _ => Err(Undrawable::Unknown(key.to_string())),
        }
    }

    /// The last thing before the Canary goes: an apex Service that stood before it gets its own ports back.
    fn apex_as_found(&self) -> Vec<Act> {
        let site = self.site;
        let (Some(live), Some(cx)) = (site.apex_service.present(), site.service_context()) else {
            return Vec::new();
        };
        if !site.canary.spec.revert_on_deletion || ownership::is_a_canarys(live) {
            return Vec::new();
        }
        patched(site.keys().apex(), service::hand_back(&cx, live, true))
            .into_iter()
            .collect()
    }

    fn route(&self, traffic: &Traffic) -> Acts {
        let router = self.site.router.ok_or_else(|| self.no_provider())?;
        let key = self.site.keys().route(router);
        match &self.site.route {
            Known::Present(live) => Ok(self.route_edit(live, traffic)?.into_iter().collect()),
            Known::Absent => created(key, router.create(&self.site.route_context(self.rules), traffic)),
            _ => Err(Undrawable::Unknown(key.to_string())),
        }
    }

    /// Another state of a route that stands.
    fn route_changed(&self, change: impl FnOnce(&dyn Router, &RouteContext<'_>, &Value) -> Changed) -> Acts {
        let router = self.site.router.ok_or_else(|| self.no_provider())?;
        let live = present(&self.site.route, "the route")?;
        let operations = change(router, &self.site.route_context(self.rules), live);
        let operations = operations.map_err(|error| Undrawable::Spec(error.to_string()))?;
        Ok(patched(self.site.keys().route(router), operations)
            .into_iter()
            .collect())
    }

    fn route_handed_back(&self, original: bool) -> Acts {
        if self.site.router.is_none() || self.site.route.present().is_none() {
            return Ok(Vec::new());
        }
        self.route_changed(|router, cx, live| router.hand_back(cx, live, original))
    }

    fn released(&self, everything: bool) -> Vec<Act> {
        let (site, keys) = (self.site, self.site.keys());
        let mut released = vec![(keys.apex(), &site.apex_service)];
        released.extend(site.router.map(|router| (keys.route(router), &site.route)));
        if everything {
            released.push((keys.primary(), &site.primary));
            released.push((keys.side(Side::Primary), &site.primary_service));
            released.push((keys.side(Side::Canary), &site.canary_service));
            released.extend(scalers::released(site));
        }
        let release = |(key, object): (ObjectKey, &Known<Arc<Value>>)| {
            patched(key, ownership::release(site.uid(), object.present()?))
        };
        released.into_iter().filter_map(release).collect()
    }

    /// Of what others made nothing is taken away.
    fn discarded(&self, leftover: Leftover) -> Vec<Act> {
        let (site, keys) = (self.site, self.site.keys());
        let (key, object) = match leftover {
            Leftover::Service(Side::Primary) => (keys.side(Side::Primary), &site.primary_service),
            Leftover::Service(Side::Canary) => (keys.side(Side::Canary), &site.canary_service),
            Leftover::Primary => (keys.primary(), &site.primary),
            Leftover::Scaler => return scalers::discarded(site).into_iter().collect(),
            Leftover::FormerPrimary => return self.former_discarded(),
        };
        self.deleted(key, object).into_iter().collect()
    }

    /// The former target was at zero for the primary's sake: it gets its size before that goes.
    fn former_discarded(&self) -> Vec<Act> {
        let (Some(former), Some(keys)) = (&self.site.former, self.site.former_keys()) else {
            return Vec::new();
        };
        let sized = former.target.present().zip(former.primary.present());
        let sized = sized.and_then(|(target, primary)| {
            let replicas = primary.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
            let replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
            patched(keys.target(), scale::at_least(target, replicas))
        });
        sized
            .into_iter()
            .chain(self.deleted(keys.primary(), &former.primary))
            .collect()
    }

    fn deleted(&self, key: ObjectKey, object: &Known<Arc<Value>>) -> Option<Act> {
        let object = object
            .present()
            .filter(|object| ownership::controls(self.site.uid(), object))?;
        Some(Act::Delete(key, object.clone()))
    }

    fn no_selector(&self) -> Undrawable {
        Undrawable::Spec(self.site.selector.as_ref().err().cloned().unwrap_or_default())
    }

    fn no_provider(&self) -> Undrawable {
        let provider = &self.site.subject.provider;
        Undrawable::Spec(match self.site.provider {
            Some(_) => format!("spec.provider: {provider} moves no traffic"),
            None => format!("spec.provider: {provider} is not built"),
        })
    }
}

fn patched(key: ObjectKey, operations: Patch) -> Option<Act> {
    (!operations.0.is_empty()).then_some(Act::Patch(key, operations))
}

fn created<E: ToString>(key: ObjectKey, body: Result<Value, E>) -> Acts {
    body.map(|body| vec![Act::Create(key, body)])
        .map_err(|error| Undrawable::Spec(error.to_string()))
}

fn present<'a, T>(known: &'a Known<T>, what: &str) -> Result<&'a T, Undrawable> {
    known.present().ok_or_else(|| Undrawable::Unknown(what.to_owned()))
}

/// The writes that inherit objects from an earlier Canary of the same name, and a primary of ours that came out of a backup without
/// its owner. Nothing relies on such an object before.
pub fn inheritance(site: &Site) -> Vec<Act> {
    let keys = site.keys();
    let destinations = site.router.and_then(Router::destinations);
    let destination = |side| Some(keys.destination(destinations?, side));
    let single = [
        (Some(keys.primary()), &site.primary),
        (Some(keys.side(Side::Primary)), &site.primary_service),
        (Some(keys.side(Side::Canary)), &site.canary_service),
        (Some(keys.apex()), &site.apex_service),
        (site.router.map(|router| keys.route(router)), &site.route),
        (destination(Side::Primary), &site.primary_destination),
        (destination(Side::Canary), &site.canary_destination),
    ];
    let single = single
        .into_iter()
        .filter_map(|(key, object)| Some((key?, object.present()?)));
    let stored = site.store.present().into_iter().flatten();
    let stored = stored.map(|it| (keys.revision(super::meta::name(it)), it));
    let is_orphan = |key: &ObjectKey, object: &Value| {
        let made_by_us = *key == keys.primary() && annotation(object, workload::REVISION).is_some();
        made_by_us && ownership::controller(object).is_none()
    };
    single
        .chain(stored)
        .filter(|(key, object)| ownership::is_inherited(object, &site.owner) || is_orphan(key, object))
        .filter_map(|(key, object)| patched(key, ownership::adopt(object, &site.owner)))
        .chain(scalers::inherited(site))
        .collect()
}
