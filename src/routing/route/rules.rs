//! The rules of the next object: ours drawn anew, those of others as they stand.

use serde_json::{Map, Value};

use super::{Route, lay::lay};
use crate::{
    object::as_map,
    rollout::{Traffic, Weight},
    routing::RouteError,
};

impl Route<'_> {
    /// All rules of the next object. With `whole`, the list is ours.
    pub(super) fn next_rules(&self, live: &[Value], traffic: &Traffic, whole: bool) -> Result<Vec<Value>, RouteError> {
        let is_wide = |rule: &&Value| self.is_about_us(rule) && !self.is_narrow(rule, live);
        let standing = live.iter().find(is_wide);
        if whole || standing.is_none() {
            let standing = standing.or_else(|| live.first()).filter(|_| whole);
            return self.family(&self.rule(standing, true), traffic);
        }
        if self.refused.is_some() && traffic.matched && live.iter().any(|rule| self.is_of_a_test(rule, live)) {
            return Ok(self.reweighted(live, traffic.weight));
        }
        // Matches that the Canary gives stand in one rule; where it gives none, each rule keeps its own.
        let one = self.drawing.rule.contains_key(self.layout.matches);
        let (mut next, mut drawn) = (Vec::new(), false);
        for rule in live {
            if !self.is_about_us(rule) {
                next.push(rule.clone());
            } else if is_wide(&rule) {
                let first = !std::mem::replace(&mut drawn, true);
                if first || !one {
                    next.extend(self.family(&self.rule(Some(rule), false), traffic)?);
                }
            }
        }
        Ok(next)
    }

    /// The rules as they stand, for a test that can no longer be drawn: only its weights follow.
    fn reweighted(&self, live: &[Value], weight: Weight) -> Vec<Value> {
        let next = live.iter().map(|rule| {
            if self.is_of_a_test(rule, live) {
                self.leading_to(rule, self.pair(rule, weight))
            } else {
                rule.clone()
            }
        });
        next.collect()
    }

    /// One rule, laid over the standing one, with the backends of that. A `whole` one has the defaults, and nothing of ours that is
    /// not drawn.
    fn rule(&self, standing: Option<&Value>, whole: bool) -> Value {
        let mut wanted = if whole {
            self.drawing.defaults.clone()
        } else {
            Map::new()
        };
        wanted.extend(self.drawing.rule.clone());
        let nothing = Value::Object(Map::new());
        let mut rule = self.unmirrored(standing.unwrap_or(&nothing));
        if whole && let Some(backends) = rule.get_mut(self.layout.backends).and_then(Value::as_array_mut) {
            backends.retain(|backend| !self.is_copy(backend));
        }
        lay(as_map(&mut rule), &wanted, self.layout.rule_keys, self.layout, whole);
        rule
    }
}
