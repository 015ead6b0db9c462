//! What a provider can say in a rule beyond weights: for which requests it is, where else they are copied, which cookies answers set.
//!
//! A provider hands in those that it can; `family.rs` puts them together. What it draws it must know again, so that it can be taken out
//! of a route that somebody else made.

use serde_json::Value;

use crate::rollout::Weight;

/// For which requests a rule is.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// What rules match that are for the requests which `matches` is for and which meet one of the tests as well: one value a rule.
    pub narrowed: fn(matches: &Value, tests: &[Value]) -> Vec<Value>,
    /// Whether the first is the second, narrowed.
    pub is_narrower: fn(&Value, &Value) -> bool,
}

/// Copies of requests, whose answers are thrown away.
#[derive(Debug, Clone, Copy)]
pub struct Mirror {
    /// Makes the rule copy that share of its requests to the backend. Not so (`false`) where it copies them elsewhere and can
    /// do no more.
    pub draw: fn(rule: &mut Value, to: &Value, share: Weight) -> bool,
    /// Takes copies to the backend, in a route of that namespace, out of the rule.
    pub undraw: fn(rule: &mut Value, backend: &Value, namespace: &str),
    /// Whether a backend of a rule only gets copies.
    pub is_copy: fn(&Value) -> bool,
}

/// Cookies that answers set and requests show.
#[derive(Debug, Clone, Copy)]
pub struct Cookies {
    /// The test that the `Cookie` header of a request meets this expression.
    pub shown: fn(&str) -> Value,
    /// The expression that each of the matches has for the `Cookie` header.
    pub expressions: for<'v> fn(&'v Value) -> Vec<Option<&'v str>>,
    /// Makes answers of the backend set a cookie by this text.
    pub set: fn(backend: &mut Value, text: &str),
    /// Takes out of the backend what sets a cookie of ours.
    pub unset: fn(backend: &mut Value),
}
