//! Which requests a rule of a `VirtualService` is for: entries of `match`, one of which a request must meet (spec/routers.md 8.1).

use serde_json::{Map, Value, json};

use crate::{
    object::as_map,
    routing::{
        alternatives, cookie,
        experiment::{Condition, Experiment, Says},
        route::{Conditions, Cookies},
    },
};

/// Keys of an entry whose members all have to be met. Those of two entries add up: a request of the test still meets what the rule
/// asks for, and Flagger drops that.
const SETS: &[&str] = &["headers", "queryParams", "sourceLabels"];

pub(super) const CONDITIONS: Conditions = Conditions {
    narrowed: |matches, tests| vec![alternatives::crossed(matches, tests, merged)],
    is_narrower: |one, other| {
        alternatives::is_narrower(one, other, SETS, |set| {
            set.as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.to_lowercase())
                .collect()
        })
    },
};

pub(super) const COOKIES: Cookies = Cookies {
    shown: |expression| json!({"headers": {cookie::REQUEST: {"regex": expression}}}),
    expressions: cookies_in,
    set: |backend, text| {
        let added = ["headers", "response", "add"].into_iter().fold(backend, |parent, key| {
            as_map(parent).entry(key).or_insert_with(|| json!({}))
        });
        let added = as_map(added);
        if !added.keys().any(|name| name.eq_ignore_ascii_case(cookie::RESPONSE)) {
            added.insert(cookie::RESPONSE.to_owned(), text.into());
        }
    },
    unset: |backend| {
        let ours = |name: &String, value: &Value| {
            name.eq_ignore_ascii_case(cookie::RESPONSE) && value.as_str().is_some_and(cookie::is_set_by_us)
        };
        let mut taken = false;
        if let Some(added) = backend
            .pointer_mut("/headers/response/add")
            .and_then(Value::as_object_mut)
        {
            let before = added.len();
            added.retain(|name, value| !ours(name, value));
            taken = added.len() < before;
        }
        if taken {
            drop_empty(backend, &["headers", "response", "add"]);
        }
    },
};

/// What each entry asks of the `Cookie` header, by an expression.
fn cookies_in(matches: &Value) -> Vec<Option<&str>> {
    fn of(entry: &Value) -> Option<&str> {
        entry["headers"][cookie::REQUEST]["regex"].as_str()
    }
    matches.as_array().into_iter().flatten().map(of).collect()
}

/// Takes off what says nothing on the way down.
fn drop_empty(parent: &mut Value, path: &[&str]) {
    let [key, rest @ ..] = path else { return };
    let members = as_map(parent);
    if let Some(below) = members.get_mut(*key) {
        drop_empty(below, rest);
        if below.as_object().is_some_and(Map::is_empty) {
            members.remove(*key);
        }
    }
}

fn merged(entry: &Value, test: &Value) -> Value {
    let mut both = entry.clone();
    for (key, set) in test.as_object().into_iter().flatten() {
        let into = as_map(&mut both).entry(key.clone()).or_insert_with(|| json!({}));
        let into = as_map(into);
        for (name, value) in set.as_object().into_iter().flatten() {
            into.retain(|standing, _| !standing.eq_ignore_ascii_case(name) || key != "headers");
            into.insert(name.clone(), value.clone());
        }
    }
    both
}

/// An entry of the test.
pub(super) fn of(experiment: &Experiment<'_>) -> Value {
    let set = |conditions: &[Condition<'_>]| -> Value {
        conditions
            .iter()
            .map(|it| (it.name.to_owned(), said(it.says)))
            .collect()
    };
    let sets = [
        ("headers", set(&experiment.headers)),
        ("queryParams", set(&experiment.query_params)),
        ("sourceLabels", json!(experiment.source_labels)),
    ];
    let given = sets.into_iter().filter(|(_, set)| !crate::object::is_empty(set));
    given.map(|(key, set)| (key.to_owned(), set)).collect()
}

/// Istio knows no end of a text; Flagger sends one, and the API server drops it, so that every value matches (spec/routers.md 6.2).
fn said(says: Says<'_>) -> Value {
    match says {
        Says::Exactly(text) => json!({"exact": text}),
        Says::Beginning(text) => json!({"prefix": text}),
        Says::Like(text) => json!({"regex": text}),
        Says::Ending(_) => json!({"regex": says.expression()}),
    }
}
