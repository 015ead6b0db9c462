//! Which requests a rule of an `HTTPRoute` is for: entries of `matches`, one of which a request must meet (spec/routers.md 8.2).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{every_request, ignored_conditions, refuse};
use crate::{
    api::{RouteMatch, StringMatch},
    object::{as_map, list, text},
    rollout::Refusal,
    routing::{
        alternatives, cookie,
        experiment::{Experiment, Says},
        route::Conditions,
    },
};

/// Matches that one rule may have (the CRD's bound, as all below).
pub(super) const MOST_MATCHES: usize = 64;
/// Bytes of a path.
const LONGEST_PATH: usize = 1024;
/// Bytes of a header's value.
const LONGEST_HEADER: usize = 4096;
/// Bytes of a query parameter's value.
const LONGEST_PARAMETER: usize = 1024;
/// Bytes of a name.
const LONGEST_NAME: usize = 256;
/// The methods that the CRD takes.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];
/// Keys of a match whose members all have to be met.
const SETS: &[&str] = &["headers", "queryParams"];

pub(super) fn of_service(entries: &[RouteMatch], refusals: &mut Vec<Refusal>) -> Vec<Value> {
    let mut drawn = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let field = format!("spec.service.match[{index}]");
        let conditions = conditions(entry, &field, refusals);
        if !conditions.is_empty() {
            let mut conditions = conditions;
            // The API server's default for a match without a path.
            conditions
                .entry("path")
                .or_insert_with(|| every_request()["path"].clone());
            drawn.push(conditions.into());
        } else if ignored_conditions(entry).iter().any(|(_, set)| *set) {
            refuse(
                refusals,
                field,
                "none of its conditions can be said in an HTTPRoute: it would match every request",
            );
        }
    }
    if drawn.len() > MOST_MATCHES {
        refuse(
            refusals,
            "spec.service.match",
            format!("a rule of an HTTPRoute has at most {MOST_MATCHES} matches"),
        );
    }
    drawn
}

fn conditions(entry: &RouteMatch, field: &str, refusals: &mut Vec<Refusal>) -> Map<String, Value> {
    let mut conditions = Map::new();
    if let Some(uri) = &entry.uri {
        match path(uri) {
            Some(path) => {
                conditions.insert("path".to_owned(), path);
            }
            None => refuse(
                refusals,
                format!("{field}.uri"),
                "must be exact or prefix, an absolute path as the Gateway API takes it, or regex",
            ),
        }
    }
    if let Some(method) = &entry.method {
        match method.exact.as_deref().filter(|method| METHODS.contains(method)) {
            Some(method) => {
                conditions.insert("method".to_owned(), method.into());
            }
            None => refuse(
                refusals,
                format!("{field}.method"),
                format!(
                    "an HTTPRoute matches methods by exact only, one of {}",
                    METHODS.join(", ")
                ),
            ),
        }
    }
    for (key, wanted) in [("headers", &entry.headers), ("queryParams", &entry.query_params)] {
        let values = values(key, wanted, &format!("{field}.{key}"), refusals);
        if !values.is_empty() {
            conditions.insert(key.to_owned(), values.into());
        }
    }
    conditions
}

fn path(uri: &StringMatch) -> Option<Value> {
    let is_short = |text: &&String| text.len() <= LONGEST_PATH;
    if let Some(regex) = &uri.regex {
        let given = Some(regex).filter(is_short).filter(|regex| !regex.is_empty());
        return given.map(|regex| json!({"type": "RegularExpression", "value": regex}));
    }
    let (type_, path) = match (&uri.exact, &uri.prefix) {
        (Some(exact), _) => ("Exact", exact),
        (None, prefix) => ("PathPrefix", prefix.as_ref()?),
    };
    let good = Some(path).filter(is_short).filter(|path| is_path(path));
    good.map(|path| json!({"type": type_, "value": path}))
}

/// What the CRD takes for a path that is compared as text.
fn is_path(text: &str) -> bool {
    let refused = ["//", "/./", "/../", "%2f", "%2F", "#"];
    let mut letters = text.chars();
    let is_hex = |letters: &mut std::str::Chars<'_>| letters.next().is_some_and(|c| c.is_ascii_hexdigit());
    let mut known = true;
    while let Some(letter) = letters.next() {
        known &= match letter {
            '%' => is_hex(&mut letters) && is_hex(&mut letters),
            letter => letter.is_ascii_alphanumeric() || "-/._~!$&'()*+,;=:@".contains(letter),
        };
    }
    known
        && text.starts_with('/')
        && !refused.iter().any(|part| text.contains(part))
        && !text.ends_with("/..")
        && !text.ends_with("/.")
}

/// Matches of headers or query parameters, in the order of their names.
fn values(key: &str, wanted: &BTreeMap<String, StringMatch>, field: &str, refusals: &mut Vec<Refusal>) -> Vec<Value> {
    let mut drawn: Vec<Value> = Vec::new();
    for (name, value) in wanted {
        let says = match (&value.exact, &value.regex) {
            (Some(exact), _) => Some(Says::Exactly(exact)),
            (None, Some(regex)) => Some(Says::Like(regex)),
            (None, None) => None,
        };
        let said = says.and_then(|says| said(key, name, says));
        // Case makes no difference to headers, and only the first of two counts.
        let twice = |it: &Value| key == "headers" && text(it, "/name").eq_ignore_ascii_case(name);
        match said.filter(|_| !drawn.iter().any(twice)) {
            Some(said) => drawn.push(said),
            None => refuse(
                refusals,
                format!("{field}.{name}"),
                "an HTTPRoute matches a name once, by an exact or regex that is not empty, not by prefix",
            ),
        }
    }
    drawn
}

/// One match of a header or query parameter, where there is a word for it that the CRD takes.
fn said(key: &str, name: &str, says: Says<'_>) -> Option<Value> {
    let longest = if key == "headers" {
        LONGEST_HEADER
    } else {
        LONGEST_PARAMETER
    };
    let type_ = match says {
        Says::Exactly(_) => "Exact",
        Says::Like(_) => "RegularExpression",
        Says::Beginning(_) | Says::Ending(_) => return None,
    };
    let fits = (1..=longest).contains(&says.text().len()) && name.len() <= LONGEST_NAME && cookie::is_token(name);
    fits.then(|| json!({"type": type_, "name": name, "value": says.text()}))
}

// === Tests and cookies ===

/// An entry of the test. What it asks for and an `HTTPRoute` cannot say would make the test wider.
pub(in crate::routing) fn of_experiment(experiment: &Experiment<'_>, refusals: &mut Vec<Refusal>) -> Value {
    if !experiment.source_labels.is_empty() {
        let message = "an HTTPRoute does not know who calls: the test would be wider than asked for";
        refuse(refusals, format!("{}.sourceLabels", experiment.field), message);
    }
    let mut drawn = json!({});
    for (key, conditions) in [
        ("headers", &experiment.headers),
        ("queryParams", &experiment.query_params),
    ] {
        for condition in conditions {
            match said(key, condition.name, condition.says) {
                Some(said) => match drawn[key].as_array_mut() {
                    Some(list) => list.push(said),
                    None => drawn[key] = vec![said].into(),
                },
                None => refuse(
                    refusals,
                    condition.field.as_str(),
                    "an HTTPRoute matches by exact or regex, not by prefix or suffix: write it as a regex",
                ),
            }
        }
    }
    drawn
}

pub(in crate::routing) const CONDITIONS: Conditions = Conditions {
    narrowed: |matches, tests| vec![alternatives::crossed(matches, tests, merged)],
    is_narrower: |one, other| {
        alternatives::is_narrower(one, other, SETS, |set| {
            let named = set.as_array().into_iter().flatten();
            named.map(|it| text(it, "/name").to_lowercase()).collect()
        })
    },
};

/// Both together: Flagger drops what the rule itself asks of headers and parameters.
fn merged(entry: &Value, test: &Value) -> Value {
    let mut both = every_request();
    as_map(&mut both).extend(entry.as_object().cloned().unwrap_or_default());
    for key in SETS {
        let asked = list(test, &format!("/{key}"));
        let renamed = |it: &&Value| {
            !asked
                .iter()
                .any(|new| text(new, "/name").eq_ignore_ascii_case(text(it, "/name")))
        };
        let standing = list(entry, &format!("/{key}")).iter().filter(renamed);
        let together: Vec<Value> = standing.chain(asked).cloned().collect();
        if !together.is_empty() {
            both[*key] = together.into();
        }
    }
    both
}

/// The condition that the `Cookie` header meets the expression.
pub(super) fn shown(expression: &str) -> Value {
    json!({"headers": [{"type": "RegularExpression", "name": cookie::REQUEST, "value": expression}]})
}

/// What each match asks of the `Cookie` header, by an expression.
pub(super) fn cookies_in(matches: &Value) -> Vec<Option<&str>> {
    fn of(entry: &Value) -> Option<&str> {
        let is_cookie = |it: &&Value| text(it, "/name").eq_ignore_ascii_case(cookie::REQUEST);
        list(entry, "/headers").iter().find(is_cookie)?.get("value")?.as_str()
    }
    matches.as_array().into_iter().flatten().map(of).collect()
}
