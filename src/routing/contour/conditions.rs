//! Conditions of an `HTTPProxy`'s route: a list, all of which a request must meet (spec/routers.md 6.8).

use serde_json::{Value, json};

use crate::{
    api::StringMatch,
    rollout::Refusal,
    routing::{
        experiment::{Condition, Experiment, Says},
        route::Conditions,
    },
};

/// For requests that meet one of several lists there is one route for each.
pub(super) const CONDITIONS: Conditions = Conditions {
    narrowed: |matches, tests| {
        let standing = matches.as_array().map_or(&[][..], Vec::as_slice);
        let of = |test: &Value| -> Value {
            let asked = test.as_array().map_or(&[][..], Vec::as_slice);
            standing.iter().chain(asked).cloned().collect()
        };
        tests.iter().map(of).collect()
    },
    is_narrower: |one, other| {
        let (one, other) = (one.as_array(), other.as_array());
        let (Some(one), other) = (one, other.map_or(&[][..], Vec::as_slice)) else {
            return false;
        };
        one.len() > other.len() && other.iter().all(|condition| one.contains(condition))
    },
};

/// The condition on the path. Contour knows three kinds, each from `/` on.
pub(super) fn path(uri: &StringMatch, refusals: &mut Vec<Refusal>) -> Option<Value> {
    let ways = [("exact", &uri.exact), ("prefix", &uri.prefix), ("regex", &uri.regex)];
    let given = ways.into_iter().find_map(|(way, text)| Some((way, text.as_deref()?)));
    let Some((way, text)) = given.filter(|(_, text)| text.starts_with('/')) else {
        refusals.push(Refusal {
            field: "spec.service.match[0].uri".to_owned(),
            message: "must be exact, prefix or regex, from / on".to_owned(),
        });
        return None;
    };
    Some(json!({ way: text }))
}

/// The conditions of an entry of the test.
pub(super) fn of(experiment: &Experiment<'_>, refusals: &mut Vec<Refusal>) -> Value {
    if !experiment.source_labels.is_empty() {
        refusals.push(Refusal {
            field: format!("{}.sourceLabels", experiment.field),
            message: "an HTTPProxy does not know who calls: the test would be wider than asked for".to_owned(),
        });
    }
    let headers = experiment.headers.iter().map(header);
    let parameters = experiment.query_params.iter().map(parameter);
    headers.chain(parameters).collect()
}

/// Contour compares headers whole or by an expression; Flagger sends a beginning or an end as a part, and no expression.
fn header(condition: &Condition<'_>) -> Value {
    let (way, text) = match condition.says {
        Says::Exactly(text) => ("exact", text.to_owned()),
        other => ("regex", other.expression()),
    };
    json!({"header": {"name": condition.name, way: text}})
}

fn parameter(condition: &Condition<'_>) -> Value {
    let (way, text) = match condition.says {
        Says::Exactly(text) => ("exact", text),
        Says::Beginning(text) => ("prefix", text),
        Says::Ending(text) => ("suffix", text),
        Says::Like(text) => ("regex", text),
    };
    json!({"queryParameter": {"name": condition.name, way: text}})
}
