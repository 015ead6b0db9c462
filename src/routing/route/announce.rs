//! Announcing: a route names the Services that are to get its traffic before they get any.
//!
//! A proxy hears of a new weight and of the pods behind it on separate ways. Where the weight comes first, requests go to
//! a destination without pods and fail. A destination that is named with weight 0 is loaded, and gets none.

use json_patch::Patch;
use serde_json::Value;

use super::Route;
use crate::{
    object::{as_map, patch},
    rollout::{Destination, Side},
    routing::RouteError,
};

/// What each of several backends gets that share equally by stating no weight; a single one gets the whole.
const EQUAL_SHARE: u8 = 100;

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
            if self.layout.absent_weight == 0 && backends.iter().all(|it| it["weight"].as_u64().unwrap_or(0) == 0) {
                for backend in &mut backends {
                    as_map(backend).insert("weight".to_owned(), EQUAL_SHARE.into());
                }
            }
            backends.extend(missing);
            as_map(rule).insert(self.layout.backends.to_owned(), backends.into());
        }
        Ok(patch::at_version(live, &next))
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
        let wanted = match destination {
            Destination::Sides => vec![self.side(Side::Primary), self.side(Side::Canary)],
            Destination::Apex => vec![&self.backends.apex],
        };
        let lacking = wanted.into_iter().filter(|it| self.backend_named(rule, it).is_none());
        lacking.map(|it| self.backend(rule, it, 0)).collect()
    }
}
