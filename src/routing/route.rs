//! What route objects of all providers have in common: rules in `spec`, each with a list of weighted backends.
//!
//! A provider hands in what it draws ([`Drawing`], [`Backends`]) and where ([`Layout`]). From that and the live object comes the next
//! object, and from the two the patch. What is ours in it:
//!
//! - *In a route that this Canary made*: every key that the provider draws, absent ones included, and the list of rules.
//!   Keys that it never draws survive.
//! - *In a route that somebody else made*: the backends of the rules that lead to the application; of the rest only what
//!   the Canary asks for. Rules to other backends survive. Where no rule leads to the application, the drawn rule
//!   replaces all of them, as in Flagger. The whole `spec` is kept in an annotation first.

mod abilities;
mod announce;
mod family;
mod lay;
mod rules;

use json_patch::Patch;
use serde_json::{Map, Value, json};

pub(super) use abilities::{Conditions, Cookies, Mirror};
pub(super) use lay::{Drawing, Layout, named};
use lay::{lay, overlay};

use super::{RouteContext, RouteError, RouterMeta};
use crate::{
    object::{FLUX, ORIGINAL, annotation, as_map, child, metadata, original_spec, ownership, patch},
    rollout::{Confirmation, Destination, Refusal, RouteFacts, Side, Traffic, Weight},
};

/// One backend for each of the three Services, without a weight.
#[derive(Debug)]
pub(super) struct Backends {
    pub apex: Value,
    pub primary: Value,
    pub canary: Value,
    /// The Canary's port, as it stands in a backend; null where there is none.
    pub port: Value,
}

/// A route of one provider for one Canary.
#[derive(Debug)]
pub(super) struct Route<'a> {
    cx: RouteContext<'a>,
    layout: &'static Layout,
    drawing: Drawing,
    backends: Backends,
    /// The spec asks for what cannot be drawn: all but the weights stays as it is, so that traffic can still go home.
    refused: Option<Refusal>,
}

impl<'a> Route<'a> {
    /// The route as the provider draws it, or, where it refuses to, with weights alone.
    pub fn new(
        cx: &RouteContext<'a>,
        layout: &'static Layout,
        backends: Backends,
        drawing: Result<Drawing, Vec<Refusal>>,
    ) -> Self {
        let (drawing, refused) = match drawing {
            Ok(drawing) => (drawing, None),
            Err(refusals) => (Drawing::default(), refusals.into_iter().next()),
        };
        Self {
            cx: *cx,
            layout,
            drawing,
            backends,
            refused,
        }
    }

    /// The object for when there is none.
    pub fn created(&self, meta: &RouterMeta, traffic: &Traffic) -> Result<Value, RouteError> {
        if let Some(refusal) = &self.refused {
            return Err(refusal.clone().into());
        }
        let skeleton = json!({
            "apiVersion": meta.api_version,
            "kind": meta.kind,
            "metadata": {
                "name": self.cx.subject.apex,
                "namespace": self.cx.namespace(),
                "ownerReferences": [ownership::reference(self.cx.owner)],
            },
            "spec": {},
        });
        self.drawn(&skeleton, traffic)
    }

    /// The patch to the object at that traffic.
    pub fn edit(&self, live: &Value, traffic: &Traffic) -> Result<Patch, RouteError> {
        match &self.refused {
            Some(refusal) if self.weight(live).is_none() => Err(refusal.clone().into()),
            _ => Ok(patch::at_version(live, &self.drawn(live, traffic)?)),
        }
    }

    /// The patch back to the apex Service, or to what stood there before.
    pub fn hand_back(&self, live: &Value, original: bool) -> Patch {
        let next = match original_spec(live) {
            Some(spec) if original && !self.is_ours(live) && !self.leads_to_a_side(&spec) => restored(live, spec),
            _ => self.home(live),
        };
        patch::at_version(live, &next)
    }

    /// What the object says.
    pub fn facts(&self, live: &Value, intended: &Traffic, confirmed: Confirmation) -> RouteFacts {
        let weight = self.weight(live);
        let stands = weight.is_some() && self.drawn(live, intended).is_ok_and(|next| next == *live);
        RouteFacts {
            weight,
            drawn: stands.then(|| intended.clone()),
            owned: ownership::controls(&self.cx.owner.uid, live),
            confirmed,
            announced: self.is_announced(live, Destination::Sides),
            apex_announced: self.is_announced(live, Destination::Apex),
            names_others: self.names_others(live, Destination::Sides),
            parting: self.parting(live),
            handed_back: !self.leads_to_a_side(&live["spec"]) && !self.rules(&live["spec"]).is_empty(),
        }
    }

    /// The weight in the first rule that splits between the two Services, whatever cookie the caller shows; where the two do not
    /// add up to 100, the share that the canary really has.
    fn weight(&self, live: &Value) -> Option<Weight> {
        let rules = self.rules(&live["spec"]).iter();
        rules.filter(|rule| !self.is_for_callers(rule)).find_map(|rule| {
            let of = |side: Side| {
                let stated = self.backend_named(rule, self.side(side))?.get("weight");
                // Wide enough for any two weights that an API server stores.
                Some(u128::from(
                    stated.and_then(Value::as_u64).unwrap_or(self.layout.absent_weight),
                ))
            };
            let (primary, canary) = (of(Side::Primary)?, of(Side::Canary)?);
            let whole = primary + canary;
            let percent = (canary * 200 + whole).checked_div(2 * whole)?;
            Some(Weight::clamped(i64::try_from(percent).unwrap_or(i64::MAX)))
        })
    }

    /// The object as it shall be at that traffic.
    fn drawn(&self, live: &Value, traffic: &Traffic) -> Result<Value, RouteError> {
        let mut next = self.marked(live);
        let whole = self.is_ours(live) && self.refused.is_none();
        let spec = child(&mut next, "spec");
        let mut wanted = if whole {
            self.drawing.spec_defaults.clone()
        } else {
            Map::new()
        };
        wanted.extend(self.drawing.spec.clone());
        lay(spec, &wanted, self.layout.spec_keys, self.layout, whole);
        let rules = self.next_rules(self.rules(&live["spec"]), traffic, whole)?;
        spec.insert(self.layout.rules.to_owned(), rules.into());
        Ok(next)
    }

    /// The object with our metadata, and, where somebody else made it, with what its `spec` was before Serin.
    fn marked(&self, live: &Value) -> Value {
        let mut next = ownership::claimed(live, self.cx.owner);
        if !self.is_ours(live) && annotation(live, ORIGINAL).is_none() && !self.leads_to_a_side(&live["spec"]) {
            metadata(&mut next, "annotations").insert(ORIGINAL.to_owned(), live["spec"].to_string().into());
        }
        self.label(&mut next);
        next
    }

    /// The object with all traffic on the apex Service.
    fn home(&self, live: &Value) -> Value {
        let mut next = live.clone();
        let rules = self.rules(&live["spec"]);
        if rules.is_empty() {
            return next;
        }
        let at_home = |rule: &Value| {
            if !self.is_about_us(rule) {
                return rule.clone();
            }
            let rule = self.unmirrored(rule);
            self.leading_to(&rule, vec![self.backend(&rule, &self.backends.apex, 100)])
        };
        let wide = rules.iter().filter(|rule| !self.is_narrow(rule, rules));
        child(&mut next, "spec").insert(self.layout.rules.to_owned(), wide.map(at_home).collect());
        next
    }

    /// Labels and annotations of `service.apex`, and those that keep Flux away. Foreign ones survive.
    fn label(&self, next: &mut Value) {
        let apex = self
            .cx
            .canary
            .spec
            .service
            .as_ref()
            .and_then(|service| service.apex.as_ref());
        let annotations = metadata(next, "annotations");
        let wanted = apex.into_iter().flat_map(|apex| &apex.annotations);
        annotations.extend(wanted.map(|(key, value)| (key.clone(), value.clone().into())));
        annotations.extend(FLUX.map(|(key, value)| (key.to_owned(), value.into())));
        if let Some(apex) = apex.filter(|apex| !apex.labels.is_empty()) {
            let labels = apex
                .labels
                .iter()
                .map(|(key, value)| (key.clone(), value.clone().into()));
            metadata(next, "labels").extend(labels);
        }
    }

    /// The two weighted backends, in the order in which they stand.
    fn pair(&self, rule: &Value, weight: Weight) -> Vec<Value> {
        let place = |side| {
            self.backends_of(rule)
                .iter()
                .position(|it| self.service(it) == self.service(self.side(side)))
        };
        let swapped = place(Side::Canary)
            .zip(place(Side::Primary))
            .is_some_and(|(canary, primary)| canary < primary);
        let sides = if swapped {
            [Side::Canary, Side::Primary]
        } else {
            [Side::Primary, Side::Canary]
        };
        sides
            .map(|side| self.backend(rule, self.side(side), weight.of(side)))
            .to_vec()
    }

    /// A backend laid over the one of that name, or over one that it takes the place of: what a user set for the
    /// application's backend, such as a protocol, holds for both sides.
    fn backend(&self, rule: &Value, wanted: &Value, weight: u8) -> Value {
        let namesake = self.backend_named(rule, wanted);
        let predecessors = [&self.backends.apex, &self.backends.primary];
        let standing = namesake.or_else(|| predecessors.into_iter().find_map(|it| self.backend_named(rule, it)));
        let mut wanted = wanted.clone();
        self.keep_words(&mut wanted, namesake, standing);
        let mut backend = overlay(standing, &wanted, self.layout.backend_keys, self.layout.maps);
        as_map(&mut backend).insert("weight".to_owned(), weight.into());
        if let Some(cookies) = &self.layout.cookies {
            (cookies.unset)(&mut backend);
        }
        backend
    }

    /// Another way to say the same Service stays as it is, and so does a port that is ours where none is drawn.
    fn keep_words(&self, wanted: &mut Value, namesake: Option<&Value>, standing: Option<&Value>) {
        let name = self.layout.name;
        if let (Some(name), Some(standing)) = (wanted.pointer_mut(name), namesake.and_then(|it| it.pointer(name))) {
            *name = standing.clone();
        }
        let port = standing.and_then(|it| it.pointer(self.layout.port));
        if wanted.pointer(self.layout.port).is_none()
            && port == Some(&self.backends.port)
            && let Some((parent, key)) = self.layout.port.rsplit_once('/')
            && let Some(parent) = wanted.pointer_mut(parent)
        {
            as_map(parent).insert(key.to_owned(), self.backends.port.clone());
        }
    }

    fn side(&self, side: Side) -> &Value {
        match side {
            Side::Primary => &self.backends.primary,
            Side::Canary => &self.backends.canary,
        }
    }

    fn is_ours(&self, live: &Value) -> bool {
        ownership::is_ours(live, self.cx.owner)
    }

    /// Whether a rule leads to one of the three Services: to the apex only at the Canary's port. What goes to another port
    /// of it keeps going there, since the sides' Services may not have that port.
    fn is_about_us(&self, rule: &Value) -> bool {
        let Backends {
            apex,
            primary,
            canary,
            port,
        } = &self.backends;
        let standing = self.backend_named(rule, apex);
        let at_our_port = |it: &Value| {
            let its = it.pointer(self.layout.port);
            port.is_null() || its.is_none_or(|its| its == port)
        };
        standing.is_some_and(at_our_port)
            || [primary, canary]
                .into_iter()
                .any(|side| self.backend_named(rule, side).is_some())
    }

    fn rules_of_ours<'v>(&self, object: &'v mut Value) -> impl Iterator<Item = &'v mut Value> {
        let rules = object
            .pointer_mut(&format!("/spec/{}", self.layout.rules))
            .and_then(Value::as_array_mut);
        rules.into_iter().flatten().filter(|rule| self.is_about_us(rule))
    }

    fn leads_to_a_side(&self, spec: &Value) -> bool {
        let sides = [Side::Primary, Side::Canary];
        let leads = |rule: &Value| {
            sides
                .iter()
                .any(|side| self.backend_named(rule, self.side(*side)).is_some())
        };
        self.rules(spec).iter().any(leads)
    }

    fn backend_named<'v>(&self, rule: &'v Value, wanted: &Value) -> Option<&'v Value> {
        let wanted = self.service(wanted)?;
        self.backends_of(rule)
            .iter()
            .find(|backend| self.service(backend) == Some(wanted))
    }

    fn service<'v>(&self, backend: &'v Value) -> Option<&'v str> {
        (self.layout.service)(backend, self.cx.namespace())
    }

    fn backends_of<'v>(&self, rule: &'v Value) -> &'v [Value] {
        rule.get(self.layout.backends)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    fn rules<'v>(&self, spec: &'v Value) -> &'v [Value] {
        spec.get(self.layout.rules)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }
}

/// The object as it stood before Serin, as far as its `spec` and our annotations go.
fn restored(live: &Value, spec: Value) -> Value {
    let mut next = live.clone();
    next["spec"] = spec;
    let annotations = metadata(&mut next, "annotations");
    annotations.remove(ORIGINAL);
    for (key, _) in FLUX {
        annotations.remove(key);
    }
    next
}
