//! Laying what a provider draws over what stands: whose each key is, and where.

use serde_json::{Map, Value};

use super::{Conditions, Cookies, Mirror};
use crate::object::is_empty;

/// Where a provider keeps what it draws.
#[derive(Debug)]
pub struct Layout {
    /// Key of the list of rules in `spec`.
    pub rules: &'static str,
    /// Key of what a rule matches.
    pub matches: &'static str,
    /// Key of the list of backends in a rule.
    pub backends: &'static str,
    /// Keys of `spec` that the provider draws, besides the rules.
    pub spec_keys: &'static [&'static str],
    /// Keys of a rule that the provider draws, besides the backends.
    pub rule_keys: &'static [&'static str],
    /// Keys that the provider draws anywhere below these: where it does not draw one of them, it must not stand.
    pub inner_keys: &'static [&'static str],
    /// The same in a backend.
    pub backend_keys: &'static [&'static str],
    /// Keys whose value is a map by names of the user's: where the provider draws one, nothing else stands in it.
    pub maps: &'static [&'static str],
    /// The weight of a backend that states none. Where it is 0, backends that all have 0 share equally.
    pub absent_weight: u64,
    /// Pointer in a backend to the name of its Service.
    pub name: &'static str,
    /// Pointer in a backend to its port.
    pub port: &'static str,
    /// The name of the backend's Service, if it is one of the route's own namespace, which is the second argument.
    pub service: for<'v> fn(&'v Value, &str) -> Option<&'v str>,
    /// How a rule is for some requests only, where it can be.
    pub conditions: Option<Conditions>,
    /// How a rule copies requests, where it can.
    pub mirror: Option<Mirror>,
    /// How callers are kept by cookies, where they can be.
    pub cookies: Option<Cookies>,
}

/// The Service of a backend that names it at `name`, always in the route's own namespace.
pub fn named<'v>(backend: &'v Value, _: &str) -> Option<&'v str> {
    backend.get("name")?.as_str()
}

/// What a provider draws for one Canary, besides the backends.
#[derive(Debug, Default)]
pub struct Drawing {
    /// Keys of `spec` that the Canary asks for, besides the rules. An empty value says that the key must say nothing.
    pub spec: Map<String, Value>,
    /// Keys of a new `spec` that the Canary leaves open.
    pub spec_defaults: Map<String, Value>,
    /// Keys of a rule that the Canary asks for.
    pub rule: Map<String, Value>,
    /// Keys of a new rule that the Canary leaves open.
    pub defaults: Map<String, Value>,
    /// What requests of an A/B test meet, one of them each.
    pub tests: Vec<Value>,
}

/// Puts the wanted keys into `members`. With `whole`, those of `keys` that are not wanted must not stand there.
pub(super) fn lay(
    members: &mut Map<String, Value>,
    wanted: &Map<String, Value>,
    keys: &[&str],
    layout: &Layout,
    whole: bool,
) {
    for key in keys {
        let says = members.get(*key).is_some_and(|value| !is_empty(value));
        match wanted.get(*key) {
            Some(value) if !is_empty(value) => {
                let standing = members.get(*key).filter(|_| !layout.maps.contains(key));
                let value = overlay(standing, value, layout.inner_keys, layout.maps);
                members.insert((*key).to_owned(), value);
            }
            Some(_) if says => drop(members.remove(*key)),
            None if whole && says => drop(members.remove(*key)),
            _ => {}
        }
    }
}

/// What is wanted, with what else stands in the same place: keys that are not `known` to the provider, and empty ones.
/// Those that are `maps` are the provider's as a whole.
pub(super) fn overlay(live: Option<&Value>, wanted: &Value, known: &[&str], maps: &[&str]) -> Value {
    match (live, wanted) {
        (Some(Value::Object(standing)), Value::Object(members)) => {
            let mut next = standing.clone();
            next.retain(|key, value| members.contains_key(key) || !known.contains(&key.as_str()) || is_empty(value));
            for (key, value) in members {
                let standing = standing.get(key).filter(|_| !maps.contains(&key.as_str()));
                next.insert(key.clone(), overlay(standing, value, known, maps));
            }
            next.into()
        }
        (Some(Value::Array(standing)), Value::Array(items)) if standing.len() == items.len() => {
            let laid = standing
                .iter()
                .zip(items)
                .map(|(before, item)| overlay(Some(before), item, known, maps));
            laid.collect()
        }
        _ => wanted.clone(),
    }
}
