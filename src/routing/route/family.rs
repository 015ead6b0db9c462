//! The rules that one drawn rule becomes: itself, and before it those for some of its requests only.
//!
//! - *A test*: requests that meet it are shared, all others go to the primary.
//! - *Cookies*: a caller that shows the canary's goes to the canary, one that shows the primary's to the primary; the rule itself
//!   sets them. A cookie that is taken back leads to the primary, which tells the caller to forget it.
//!
//! The narrower rules are the drawn one but for what they match and where they lead, so whatever a user gave the rule holds for all of
//! its requests. They are drawn anew each time and known again by what they match, never by their place.

use serde_json::Value;

use super::Route;
use crate::{
    object::as_map,
    rollout::{Affinity, Cookie, Side, Traffic, Weight},
    routing::{RouteError, cookie},
};

impl Route<'_> {
    /// The rules for all requests of this one, which has its matches already, in order.
    pub(super) fn family(&self, rule: &Value, traffic: &Traffic) -> Result<Vec<Value>, RouteError> {
        if traffic.matched {
            return self.tested(rule, traffic);
        }
        let mut copied = rule.clone();
        self.mirror(&mut copied, traffic)?;
        let mut itself = self.shared(&copied, traffic.weight);
        let analysis = self.cx.canary.spec.analysis.as_ref();
        let mut rules = Vec::new();
        match &traffic.affinity {
            Some(Affinity::Kept { canary, primary }) => {
                // What the canary answers anyway is not copied to it as well.
                rules.extend(self.for_callers(rule, canary, Weight::FULL));
                self.set_cookie(&mut itself, Side::Canary, &cookie::of_canary(canary, analysis));
                // A primary that is to get nothing, because it rolls or is broken, gets nothing from its callers either.
                if let Some(primary) = primary.as_ref().filter(|_| traffic.weight < Weight::FULL) {
                    rules.extend(self.for_callers(&copied, primary, Weight::ZERO));
                    self.set_cookie(&mut itself, Side::Primary, &cookie::of_primary(primary, analysis));
                }
            }
            Some(Affinity::TakenBack(old)) => {
                let mut callers = self.for_callers(&copied, old, Weight::ZERO);
                for rule in &mut callers {
                    self.set_cookie(rule, Side::Primary, &cookie::taken_back(old, analysis));
                }
                rules.extend(callers);
            }
            None => {}
        }
        rules.push(itself);
        Ok(rules)
    }

    /// Those of a test: the requests in it are shared, and the rest is the primary's.
    fn tested(&self, rule: &Value, traffic: &Traffic) -> Result<Vec<Value>, RouteError> {
        let tests = &self.drawing.tests;
        let (Some(conditions), false) = (&self.layout.conditions, tests.is_empty()) else {
            return match &self.refused {
                // Nobody is in a test without a share, and the way home is always open.
                _ if traffic.weight == Weight::ZERO => Ok(vec![self.shared(rule, Weight::ZERO)]),
                Some(refusal) => Err(refusal.clone().into()),
                None => Err(RouteError::Spec {
                    field: "spec.analysis.match".to_owned(),
                    message: "the test cannot be drawn; without it all requests would be shared".to_owned(),
                }),
            };
        };
        let mut rest = rule.clone();
        self.mirror(&mut rest, traffic)?;
        let mut rules = self.narrowed(&self.shared(rule, traffic.weight), conditions.narrowed, tests);
        rules.push(self.leading_to(&rest, vec![self.backend(&rest, &self.backends.primary, 100)]));
        Ok(rules)
    }

    /// The rules for callers that show the cookie.
    fn for_callers(&self, rule: &Value, shown: &Cookie, weight: Weight) -> Vec<Value> {
        let (Some(conditions), Some(cookies)) = (&self.layout.conditions, &self.layout.cookies) else {
            return Vec::new();
        };
        let test = (cookies.shown)(&cookie::shown(shown));
        self.narrowed(&self.shared(rule, weight), conditions.narrowed, &[test])
    }

    fn narrowed(&self, rule: &Value, narrowed: fn(&Value, &[Value]) -> Vec<Value>, tests: &[Value]) -> Vec<Value> {
        let key = self.layout.matches;
        let of = |matches: Value| {
            let mut narrow = rule.clone();
            as_map(&mut narrow).insert(key.to_owned(), matches);
            narrow
        };
        narrowed(self.matches_of(rule), tests).into_iter().map(of).collect()
    }

    /// The rule, shared between the sides.
    fn shared(&self, rule: &Value, weight: Weight) -> Value {
        self.leading_to(rule, self.pair(rule, weight))
    }

    /// The rule with these backends, and copies as they stand.
    pub(super) fn leading_to(&self, rule: &Value, mut backends: Vec<Value>) -> Value {
        backends.extend(self.backends_of(rule).iter().filter(|it| self.is_copy(it)).cloned());
        let mut next = rule.clone();
        as_map(&mut next).insert(self.layout.backends.to_owned(), backends.into());
        next
    }

    fn mirror(&self, rule: &mut Value, traffic: &Traffic) -> Result<(), RouteError> {
        let (Some(share), Some(mirror)) = (
            traffic.mirror.filter(|share| *share > Weight::ZERO),
            &self.layout.mirror,
        ) else {
            return Ok(());
        };
        if (mirror.draw)(rule, &self.backends.canary, share) {
            Ok(())
        } else {
            Err(RouteError::Spec {
                field: "spec.analysis.mirror".to_owned(),
                message: "the route copies requests elsewhere already, and can copy them to one Service only"
                    .to_owned(),
            })
        }
    }

    /// The rule without copies to the canary.
    pub(super) fn unmirrored(&self, rule: &Value) -> Value {
        let mut next = rule.clone();
        if let Some(mirror) = &self.layout.mirror {
            (mirror.undraw)(&mut next, &self.backends.canary, self.cx.namespace());
        }
        next
    }

    pub(super) fn is_copy(&self, backend: &Value) -> bool {
        self.layout.mirror.is_some_and(|mirror| (mirror.is_copy)(backend))
    }

    fn set_cookie(&self, rule: &mut Value, side: Side, text: &str) {
        let place = self
            .backends_of(rule)
            .iter()
            .position(|it| self.service(it) == self.service(self.side(side)));
        let backend = place.and_then(|place| rule.get_mut(self.layout.backends)?.get_mut(place));
        if let (Some(backend), Some(cookies)) = (backend, &self.layout.cookies) {
            (cookies.set)(backend, text);
        }
    }

    // === Known again ===

    /// Whether the rule is one that stands before another of the route for some of its requests.
    pub(super) fn is_narrow(&self, rule: &Value, rules: &[Value]) -> bool {
        self.is_about_us(rule) && (self.is_for_callers(rule) || self.is_of_a_test(rule, rules))
    }

    /// Whether it is for callers that show a cookie of ours.
    pub(super) fn is_for_callers(&self, rule: &Value) -> bool {
        let Some(cookies) = &self.layout.cookies else {
            return false;
        };
        let asked = (cookies.expressions)(self.matches_of(rule));
        !asked.is_empty() && asked.iter().all(|it| it.is_some_and(cookie::is_ours))
    }

    /// Whether it gives the canary a share of requests whose rest another rule gives to the primary alone.
    pub(super) fn is_of_a_test(&self, rule: &Value, rules: &[Value]) -> bool {
        let Some(conditions) = &self.layout.conditions else {
            return false;
        };
        let names = |rule: &Value, side: Side| self.backend_named(rule, self.side(side)).is_some();
        let is_rest = |other: &Value| {
            names(other, Side::Primary)
                && !names(other, Side::Canary)
                && (conditions.is_narrower)(self.matches_of(rule), self.matches_of(other))
        };
        names(rule, Side::Canary) && rules.iter().any(is_rest)
    }

    fn matches_of<'v>(&self, rule: &'v Value) -> &'v Value {
        &rule[self.layout.matches]
    }
}
