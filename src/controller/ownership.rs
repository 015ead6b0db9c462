//! One owner: of several Canaries that name the same target or Service, which one has it.
//!
//! It belongs to the Canary that controls `<target>-primary`, else to the oldest. The others touch nothing and say so.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::meta;
use crate::object::{ownership, text};
use crate::rollout::Taken;

/// What of this Canary another one has, if anything.
///
/// `others` are the Canaries that name the same objects, and may be more; `primary_of` gives the primary of a target as far as it is known.
pub fn taken(canary: &Value, others: &[Arc<Value>], primary_of: impl Fn(&str) -> Option<Arc<Value>>) -> Option<Taken> {
    taken_as(canary, claimed(canary), others, primary_of)
}

/// The same for a Canary that would work on this target and apex.
pub fn taken_as(
    canary: &Value,
    (target, apex): (&str, &str),
    others: &[Arc<Value>],
    primary_of: impl Fn(&str) -> Option<Arc<Value>>,
) -> Option<Taken> {
    let mut rivals: Vec<_> = others
        .iter()
        .filter(|other| meta::name(other) != meta::name(canary))
        .collect();
    rivals.sort_by_key(|other| age(other));
    rivals.into_iter().find_map(|other| {
        let (its_target, its_apex) = claimed(other);
        let primary = primary_of(target);
        let what = if its_target == target {
            match (
                controls(canary, primary.as_deref()),
                controls(other, primary.as_deref()),
            ) {
                (true, _) => None,
                (false, true) => Some(format!("Deployment {target}")),
                (false, false) => (age(other) < age(canary)).then(|| format!("Deployment {target}")),
            }
        } else if its_apex == apex {
            let its_primary = primary_of(its_target);
            let ours = controls(canary, primary.as_deref());
            let theirs = controls(other, its_primary.as_deref());
            let lost = if ours == theirs {
                age(other) < age(canary)
            } else {
                theirs
            };
            lost.then(|| format!("Service {apex}"))
        } else {
            None
        };
        what.map(|what| Taken {
            what,
            by: meta::name(other).to_owned(),
        })
    })
}

/// The names of target and apex that a Canary works on: those its status has fixed, else those of its spec.
pub fn claimed(canary: &Value) -> (&str, &str) {
    let fixed = (
        text(canary, "/status/serin/subject/target"),
        text(canary, "/status/serin/subject/apex"),
    );
    if !fixed.0.is_empty() {
        return fixed;
    }
    let target = text(canary, "/spec/targetRef/name");
    match text(canary, "/spec/service/name") {
        "" => (target, target),
        apex => (target, apex),
    }
}

/// Whether the Canary, or an earlier one of its name, controls the object.
fn controls(canary: &Value, object: Option<&Value>) -> bool {
    object.and_then(ownership::controller).is_some_and(|owner| {
        text(owner, "/uid") == meta::uid(canary)
            || (text(owner, "/kind") == "Canary" && text(owner, "/name") == meta::name(canary))
    })
}

fn age(canary: &Value) -> (Option<DateTime<Utc>>, &str) {
    (meta::created(canary), meta::uid(canary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn canary(name: &str, created: &str, target: &str, apex: &str) -> Arc<Value> {
        Arc::new(json!({
            "metadata": {"name": name, "uid": format!("uid-{name}"), "creationTimestamp": created},
            "spec": {"targetRef": {"name": target}, "service": {"name": apex}},
        }))
    }

    fn primary(owner: &str) -> Arc<Value> {
        Arc::new(json!({"metadata": {"ownerReferences": [
            {"kind": "Canary", "name": owner, "uid": format!("uid-{owner}"), "controller": true}]}}))
    }

    fn taken_from(canary: &Value, others: &[Arc<Value>], primary: Option<&Arc<Value>>) -> Option<String> {
        taken(canary, others, |_| primary.cloned()).map(|taken| format!("{} by {}", taken.what, taken.by))
    }

    #[test]
    fn the_controller_of_the_primary_owns_the_target_else_the_oldest() {
        let old = canary("old", "2026-01-01T00:00:00Z", "podinfo", "");
        let young = canary("young", "2026-01-02T00:00:00Z", "podinfo", "");
        let all = [old.clone(), young.clone()];
        assert_eq!(
            taken_from(&young, &all, None).as_deref(),
            Some("Deployment podinfo by old")
        );
        assert_eq!(taken_from(&old, &all, None), None);
        let of_young = primary("young");
        assert_eq!(taken_from(&young, &all, Some(&of_young)), None);
        assert_eq!(
            taken_from(&old, &all, Some(&of_young)).as_deref(),
            Some("Deployment podinfo by young")
        );
    }

    #[test]
    fn an_apex_has_one_owner_too() {
        let old = canary("old", "2026-01-01T00:00:00Z", "one", "shop");
        let young = canary("young", "2026-01-02T00:00:00Z", "two", "shop");
        let all = [old.clone(), young.clone()];
        assert_eq!(taken_from(&young, &all, None).as_deref(), Some("Service shop by old"));
        assert_eq!(taken_from(&old, &all, None), None);
    }

    #[test]
    fn canaries_with_names_of_their_own_are_no_rivals() {
        let one = canary("one", "2026-01-02T00:00:00Z", "one", "");
        let two = canary("two", "2026-01-01T00:00:00Z", "two", "");
        assert_eq!(taken_from(&one, &[two], None), None);
    }
}
