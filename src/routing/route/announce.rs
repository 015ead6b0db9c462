//! Announcing and parting: a route names the Services that are to get its traffic before they get any, and those that had it until
//! they get none any more.
//!
//! A proxy hears of a new weight and of the pods behind it on separate ways. Where the weight comes first, requests go to
//! a destination without pods and fail. A destination that is named with weight 0 is loaded, and gets none. The same holds for
//! a destination that goes: where the proxy forgets it before it has the new weights, requests go to nowhere.

use json_patch::Patch;
use serde_json::Value;

use super::Route;
use crate::{
    object::{as_map, patch},
    rollout::{Destination, Side, Traffic},
    routing::RouteError,
};

/// What each of several backends gets that share equally by stating no weight; a single one gets the whole.
const EQUAL_SHARE: u8 = 100;

/// The weight of the one that gets everything.
const WHOLE: u8 = 100;

impl Route<'_> {
    /// The patch that names the destination in every rule of ours, beside what stands there.
    pub fn announce(&self, live: &Value, destination: Destination) -> Result<Patch, RouteError> {
        let mut next = match (destination, &self.refused) {
            (Destination::Sides, Some(refusal)) => return Err(refusal.clone().into()),
            (Destination::Sides, None) => self.marked(live),
            (Destination::Apex, _) => live.clone(),
        };
        for rule in self.rules_of_ours(&mut next) {
            let missing = self.missing(rule, destination);
            if missing.is_empty() {
                continue;
            }
            let mut backends = self.backends_of(rule).to_vec();
            let is_shared = |it: &&Value| !self.is_copy(it);
            let has_none = |it: &Value| it["weight"].as_u64().unwrap_or(0) == 0;
            if self.layout.absent_weight == 0 && backends.iter().filter(is_shared).all(has_none) {
                for backend in backends.iter_mut().filter(|it| !self.is_copy(it)) {
                    as_map(backend).insert("weight".to_owned(), EQUAL_SHARE.into());
                }
            }
            backends.extend(missing);
            as_map(rule).insert(self.layout.backends.to_owned(), backends.into());
        }
        Ok(patch::at_version(live, &next))
    }

    /// The patch that gives the destination all traffic in every rule of ours, and leaves what else they name without any. Where no
    /// rule leads to the application, there is nothing to part from.
    pub fn lead(&self, live: &Value, destination: Destination) -> Result<Patch, RouteError> {
        let mut next = match (destination, &self.refused) {
            (Destination::Sides, Some(refusal)) => return Err(refusal.clone().into()),
            (Destination::Sides, None) => self.marked(live),
            (Destination::Apex, _) => live.clone(),
        };
        let mut led = false;
        for rule in self.rules_of_ours(&mut next) {
            led = true;
            let missing = self.missing(rule, destination);
            let mut backends = self.backends_of(rule).to_vec();
            backends.extend(missing);
            as_map(rule).insert(self.layout.backends.to_owned(), backends.into());
            let taker = self.place(rule, self.taker(destination));
            let backends = rule.get_mut(self.layout.backends).and_then(Value::as_array_mut);
            let places = backends.into_iter().flatten().enumerate();
            for (place, backend) in places.filter(|(_, it)| !self.is_copy(it)) {
                let weight = if Some(place) == taker { WHOLE } else { 0 };
                as_map(backend).insert("weight".to_owned(), weight.into());
            }
        }
        match destination {
            Destination::Sides if !led => self.edit(live, &Traffic::default()),
            _ => Ok(patch::at_version(live, &next)),
        }
    }

    /// What gets all traffic of every rule of ours, where some of them name others too.
    pub(super) fn parting(&self, live: &Value) -> Option<Destination> {
        let rules = self.rules(&live["spec"]);
        [Destination::Sides, Destination::Apex].into_iter().find(|destination| {
            let mut ours = rules.iter().filter(|rule| self.is_about_us(rule));
            ours.all(|rule| self.is_led(rule, *destination)) && self.names_others(live, *destination)
        })
    }

    /// Whether some rule of ours names more than the destination's Services.
    pub(super) fn names_others(&self, live: &Value, destination: Destination) -> bool {
        let own = self.services(destination);
        let is_copy = |rule: &Value, place: usize| self.backends_of(rule).get(place).is_some_and(|it| self.is_copy(it));
        let is_other = |rule: &Value, place: usize| {
            !is_copy(rule, place) && own.iter().all(|it| self.place(rule, it) != Some(place))
        };
        let rules = self.rules(&live["spec"]).iter().filter(|rule| self.is_about_us(rule));
        let mut backends = rules.flat_map(|rule| (0..self.backends_of(rule).len()).map(move |place| (rule, place)));
        backends.any(|(rule, place)| is_other(rule, place))
    }

    /// Whether the rule names the destination's Services and gives them everything.
    fn is_led(&self, rule: &Value, destination: Destination) -> bool {
        let taker = self.place(rule, self.taker(destination));
        let weight = |backend: &Value| backend.get("weight").and_then(Value::as_u64);
        let gets = |backend: &Value| weight(backend).unwrap_or(self.layout.absent_weight) != 0;
        let backends = self
            .backends_of(rule)
            .iter()
            .enumerate()
            .filter(|(_, it)| !self.is_copy(it));
        taker.is_some()
            && self.missing(rule, destination).is_empty()
            && backends
                .into_iter()
                .all(|(place, it)| gets(it) == (Some(place) == taker))
    }

    /// Whether every rule of ours names the destination. Where there is none, there is nothing to announce it beside.
    pub(super) fn is_announced(&self, live: &Value, destination: Destination) -> bool {
        self.rules(&live["spec"])
            .iter()
            .filter(|rule| self.is_about_us(rule))
            .all(|rule| self.missing(rule, destination).is_empty())
    }

    /// The backends that the rule lacks.
    fn missing(&self, rule: &Value, destination: Destination) -> Vec<Value> {
        let wanted = self.services(destination).into_iter();
        let lacking = wanted.filter(|it| self.backend_named(rule, it).is_none());
        lacking.map(|it| self.backend(rule, it, 0)).collect()
    }

    /// The backends of a destination, the one that takes its traffic first.
    fn services(&self, destination: Destination) -> Vec<&Value> {
        match destination {
            Destination::Sides => vec![self.side(Side::Primary), self.side(Side::Canary)],
            Destination::Apex => vec![&self.backends.apex],
        }
    }

    const fn taker(&self, destination: Destination) -> &Value {
        match destination {
            Destination::Sides => &self.backends.primary,
            Destination::Apex => &self.backends.apex,
        }
    }

    /// Where the first backend of that name stands in the rule.
    fn place(&self, rule: &Value, wanted: &Value) -> Option<usize> {
        let wanted = self.service(wanted)?;
        self.backends_of(rule)
            .iter()
            .position(|it| self.service(it) == Some(wanted))
    }
}
