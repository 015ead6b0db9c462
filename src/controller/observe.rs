//! Reduces the objects of one canary to what decisions need. Pure: what was not read stays unknown.

use std::sync::Arc;

use serde_json::Value;

use super::configs::Configs;
use super::meta;
use super::ownership;
use super::projection;
use super::scalers;
use super::site::{Rules, Site};
use crate::api::{ConfigMode, FINALIZER, support, validate};
use crate::object::{annotation, list};
use crate::rollout::{
    DestinationFacts, Fingerprint, Known, Observation, Obstacle, Refusal, RouteFacts, Selects, ServiceFacts, Side,
    Traffic, Workload,
};
use crate::routing::Provider;
use crate::routing::service::{self, ServiceContext};
use crate::workload::{self, REVISION, endpoints};

/// What else a pass knows about the canary.
pub struct Surroundings<'a> {
    /// The other Canaries that name an object that this one names.
    pub neighbours: &'a [Arc<Value>],
    /// Finds the primary of another target, where it is cached.
    pub primary_of: &'a dyn Fn(&str) -> Option<Arc<Value>>,
    /// What the route is to do.
    pub traffic: Traffic,
    /// What stands in the way.
    pub obstacle: Option<Obstacle>,
    /// The namespace is being deleted.
    pub namespace_terminating: bool,
    /// `serin/kubernetes`.
    pub versions: String,
}

/// What the pass sees.
pub fn observe(site: &Site, rules: &Rules, around: Surroundings<'_>) -> Observation {
    let threshold = &site.canary.spec;
    let endpoints = |slices: &Known<Vec<Arc<Value>>>, side: Side| {
        let workload = site.keys().workload(side).name;
        slices
            .present()
            .map(|slices| endpoints::ready(&plain(slices), &workload))
    };
    let stored: Known<Vec<Fingerprint>> = site
        .store
        .clone()
        .map(|store| store.iter().filter_map(|it| projection::intact(it)).collect());
    Observation {
        subject: site.wanted.clone(),
        target: known(&site.target, |it| {
            let target = workload::target_facts(it, threshold.canary_ready_threshold()).ok()?;
            Some(with_configs(target, &site.configs))
        }),
        primary: known(&site.primary, |it| {
            primary(site, rules, it, threshold.primary_ready_threshold(), &stored)
        }),
        former_primary: site.former.as_ref().map_or(Known::Absent, |former| {
            known(&former.primary, |it| {
                Some(crate::object::ownership::controls(site.uid(), it))
            })
        }),
        primary_endpoints: endpoints(&site.primary_slices, Side::Primary),
        canary_endpoints: endpoints(&site.canary_slices, Side::Canary),
        primary_service: service(site, &site.primary_service, |cx, it| {
            service::side_facts(cx, Side::Primary, it)
        }),
        canary_service: service(site, &site.canary_service, |cx, it| {
            service::side_facts(cx, Side::Canary, it)
        }),
        apex_service: service(site, &site.apex_service, service::apex_facts),
        apex_endpoints: site.apex_slices.as_ref().map(|apex| behind_apex(apex, site)),
        route: route(site, rules, &around.traffic),
        destinations: destinations(site, rules),
        scaler: scalers::facts(site),
        live_configs: site.configs.rolled_for.clone(),
        follows_configs: site.configs.follows(),
        untracked: site.configs.untracked(),
        stored,
        finalizer: list(&site.raw, "/metadata/finalizers").iter().any(|it| it == FINALIZER),
        deleting: meta::deleting(&site.raw),
        namespace_terminating: around.namespace_terminating,
        taken_by: ownership::taken(&site.raw, around.neighbours, around.primary_of),
        refusals: refusals(site, rules, &around),
        lacking: site.referred.lacking.clone(),
        obstacle: around.obstacle,
        full: None,
        unreadable: false,
        words: projection::words(&site.raw),
        versions: around.versions,
    }
}

/// The target, with what its pods read besides its template.
pub fn with_configs(mut target: Workload, configs: &Configs) -> Workload {
    if configs.unknown {
        target.fingerprint = None;
    }
    if !configs.followed.is_empty() {
        target.unpinned = configs.plain().map(workload::fingerprint);
        // The Deployment's own anchor stands while a configuration changes.
        target.anchor = target.anchor.map(|anchor| format!("{anchor}/{}", configs.anchor()));
    }
    target
}

/// Whether something was not known that another look may tell.
pub fn is_incomplete(observation: &Observation) -> bool {
    let missing = [
        unknown(&observation.target),
        observation.target.is_present_and(|target| target.fingerprint.is_none()),
        unknown(&observation.live_configs),
        unknown(&observation.primary),
        unknown(&observation.primary_service),
        unknown(&observation.canary_service),
        unknown(&observation.apex_service),
        unknown(&observation.apex_endpoints),
        unknown(&observation.route),
        observation
            .destinations
            .as_ref()
            .is_some_and(|both| unknown(&both.primary) || unknown(&both.canary)),
        unknown(&observation.stored),
        observation
            .scaler
            .as_ref()
            .is_some_and(|scaler| unknown(&scaler.team) || unknown(&scaler.copy)),
        observation.primary_endpoints.is_none(),
        observation.canary_endpoints.is_none(),
    ];
    missing.contains(&true)
}

/// Whose pods alone are in the slices of the apex Service.
fn behind_apex(apex: &[Arc<Value>], site: &Site) -> Selects {
    let [primary, target] = [Side::Primary, Side::Canary].map(|side| site.keys().workload(side).name);
    let of_primary = site
        .primary_slices
        .present()
        .map(|slices| plain(slices))
        .unwrap_or_default();
    match endpoints::sides(&plain(apex), &of_primary, &primary, &target) {
        [true, false] => Selects::Primary,
        [false, true] => Selects::Target,
        _ => Selects::Other,
    }
}

fn plain(slices: &[Arc<Value>]) -> Vec<&Value> {
    slices.iter().map(AsRef::as_ref).collect()
}

const fn unknown<T>(known: &Known<T>) -> bool {
    !matches!(known, Known::Present(_) | Known::Absent)
}

/// A part of what was read. An object that makes no sense is not known.
fn known<T>(object: &Known<Arc<Value>>, part: impl FnOnce(&Value) -> Option<T>) -> Known<T> {
    match object.clone().map(|object| part(&object)) {
        Known::Present(Some(part)) => Known::Present(part),
        Known::Present(None) | Known::Unknown => Known::Unknown,
        Known::Absent => Known::Absent,
        Known::Forbidden { verb, resource } => Known::Forbidden { verb, resource },
        Known::NoKind { kind } => Known::NoKind { kind },
    }
}

fn primary(
    site: &Site,
    rules: &Rules,
    object: &Value,
    threshold: u32,
    stored: &Known<Vec<Fingerprint>>,
) -> Option<Workload> {
    let (like, identity) = (site.plain(), site.identity(rules)?);
    let mut primary = workload::primary_facts(object, like, identity, threshold).ok()?;
    primary.owned = crate::object::ownership::controls(site.uid(), object);
    let before = site.configs.before.present();
    if let Some(before) = before.filter(|before| primary.fingerprint.as_ref() == Some(&before.plain)) {
        primary.unpinned = primary.fingerprint.replace(before.fingerprint.clone());
    } else if matches!(site.configs.before, Known::Unknown) && annotation(object, REVISION).is_none() {
        return None;
    }
    let recorded = primary.fingerprint.as_ref()?;
    if stored.present().is_some_and(|stored| !stored.contains(recorded)) {
        let runs = before.map(|before| before.fingerprint.clone());
        primary.recovered = runs.or_else(|| workload::recovered(object, like, identity).ok());
    }
    Some(primary)
}

/// What the route says, and whether it says what is intended.
pub fn route(site: &Site, rules: &Rules, intended: &Traffic) -> Known<RouteFacts> {
    known(&site.route, |it| {
        Some(site.router?.facts(&site.route_context(rules), it, intended))
    })
}

fn destinations(site: &Site, rules: &Rules) -> Option<DestinationFacts> {
    let destinations = site.router?.destinations()?;
    let cx = site.route_context(rules);
    let facts = |side| {
        known(site.destination(side), |it| {
            Some(destinations.edit(&cx, side, it).is_empty())
        })
    };
    Some(DestinationFacts {
        primary: facts(Side::Primary),
        canary: facts(Side::Canary),
    })
}

fn service(
    site: &Site,
    object: &Known<Arc<Value>>,
    facts: impl FnOnce(&ServiceContext<'_>, &Value) -> ServiceFacts,
) -> Known<ServiceFacts> {
    known(object, |it| Some(facts(&site.service_context()?, it)))
}

/// Everything in the spec that must not be acted on.
fn refusals(site: &Site, rules: &Rules, around: &Surroundings<'_>) -> Vec<Refusal> {
    let (canary, provider) = (&site.canary, site.wanted.provider.as_str());
    let refusal = |field: String, message: String| Refusal { field, message };
    let mut all: Vec<Refusal> = validate::validate(canary, provider)
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|error| refusal(error.field, error.message))
        .collect();
    if rules.no_cross_namespace_refs {
        let crossing = validate::cross_namespace(canary).into_iter();
        all.extend(crossing.map(|error| refusal(error.field, error.message)));
    }
    if Provider::named(provider).is_none() {
        let built: Vec<&str> = Provider::all().map(Provider::id).collect();
        let message = format!("{provider} is not built yet ({} are)", built.join(", "));
        all.push(refusal("spec.provider".to_owned(), message));
    }
    for unbuilt in support::unbuilt(canary, provider) {
        let note = if unbuilt.note.is_empty() {
            String::new()
        } else {
            format!("; {}", unbuilt.note)
        };
        all.push(refusal(unbuilt.path.to_owned(), format!("is not built yet{note}")));
    }
    if let Some(wanted) = Provider::named(provider) {
        all.extend(wanted.check(&site.route_context_of(&site.wanted, rules)));
    }
    all.extend(scalers::refusals(site));
    all.extend(site.configs.refusals.iter().cloned());
    all.extend(site.referred.refusals.iter().cloned());
    let copied = canary
        .spec
        .config_tracking
        .iter()
        .find(|it| it.mode != ConfigMode::Live);
    if copied.is_some() && !rules.config_tracking {
        let message = "configurations are followed only with -enable-config-tracking=true".to_owned();
        all.push(refusal("spec.configTracking".to_owned(), message));
    }
    all.extend(unreachable_names(site, around));
    if let (Some(_), Err(words)) = (site.target.present(), &site.selector) {
        all.push(refusal("spec.targetRef".to_owned(), words.clone()));
    }
    all
}

/// Other names than those that stand, where they cannot be taken over: nothing is given up for them.
fn unreachable_names(site: &Site, around: &Surroundings<'_>) -> Option<Refusal> {
    let elsewhere = site.elsewhere.as_ref()?;
    let (target, apex) = (site.wanted.target.as_str(), site.wanted.apex.as_str());
    let refusal = |field: &str, message: String| Refusal {
        field: field.to_owned(),
        message,
    };
    if elsewhere.target.is_absent() {
        let message = format!("there is no Deployment {target} to move to");
        return Some(refusal("spec.targetRef.name", message));
    }
    if let Known::NoKind { kind } = &elsewhere.route {
        return Some(refusal(
            "spec.provider",
            format!("the API server does not serve {kind}"),
        ));
    }
    if let Known::Forbidden { verb, resource } = &elsewhere.route {
        return Some(refusal("spec.provider", format!("Serin may not {verb} {resource}")));
    }
    let taken = ownership::taken_as(&site.raw, (target, apex), around.neighbours, around.primary_of)?;
    let message = format!("{} belongs to Canary {}", taken.what, taken.by);
    Some(refusal("spec.targetRef.name", message))
}
