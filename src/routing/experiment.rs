//! What an A/B test asks of a request: `spec.analysis.match`, read once for all providers (spec/routers.md 8).
//!
//! A condition that a provider leaves out, or that every value meets, would give the canary all traffic; Flagger does so with some
//! (spec/routers.md 14). Here such a test is refused.

use std::collections::BTreeMap;

use super::cookie;
use crate::{
    api::{Analysis, HeaderMatch, StringMatch, TrafficMatch},
    rollout::Refusal,
};

/// One entry of `spec.analysis.match`: requests that meet all of it are in the test.
#[derive(Debug)]
pub(super) struct Experiment<'a> {
    /// Path of the entry.
    pub field: String,
    /// What its headers must say.
    pub headers: Vec<Condition<'a>>,
    /// What its query parameters must say.
    pub query_params: Vec<Condition<'a>>,
    /// Labels of the calling workload.
    pub source_labels: &'a BTreeMap<String, String>,
}

/// What one header or query parameter must say.
#[derive(Debug)]
pub(super) struct Condition<'a> {
    /// Path of the condition.
    pub field: String,
    /// The header or parameter.
    pub name: &'a str,
    /// What it must say.
    pub says: Says<'a>,
}

/// How a text is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says<'a> {
    Exactly(&'a str),
    Beginning(&'a str),
    Ending(&'a str),
    Like(&'a str),
}

impl<'a> Says<'a> {
    /// The text itself.
    pub const fn text(self) -> &'a str {
        match self {
            Self::Exactly(text) | Self::Beginning(text) | Self::Ending(text) | Self::Like(text) => text,
        }
    }

    /// The same as an expression for the whole text.
    pub fn expression(self) -> String {
        match self {
            Self::Exactly(text) => cookie::escaped(text),
            Self::Beginning(text) => format!("{}.*", cookie::escaped(text)),
            Self::Ending(text) => format!(".*{}", cookie::escaped(text)),
            Self::Like(text) => text.to_owned(),
        }
    }
}

/// The entries of the test. One that asks for nothing is refused, and so is a condition without a text.
pub(super) fn read<'a>(analysis: Option<&'a Analysis>, refusals: &mut Vec<Refusal>) -> Vec<Experiment<'a>> {
    let entries = analysis.map_or(&[][..], |analysis| &analysis.matches);
    let fields = (0..entries.len()).map(|index| format!("spec.analysis.match[{index}]"));
    fields
        .zip(entries)
        .map(|(field, entry)| one(field, entry, refusals))
        .collect()
}

fn one<'a>(field: String, entry: &'a TrafficMatch, refusals: &mut Vec<Refusal>) -> Experiment<'a> {
    let header = |it: &'a HeaderMatch| {
        let HeaderMatch {
            exact,
            prefix,
            suffix,
            regex,
        } = it;
        said([exact, prefix, suffix, regex])
    };
    let parameter = |it: &'a StringMatch| said([&it.exact, &it.prefix, &None, &it.regex]);
    let headers = conditions(&entry.headers, header, &format!("{field}.headers"), refusals);
    let query_params = conditions(
        &entry.query_params,
        parameter,
        &format!("{field}.queryParams"),
        refusals,
    );
    if entry.headers.is_empty() && entry.query_params.is_empty() && entry.source_labels.is_empty() {
        refuse(refusals, &field, "asks for nothing: every request would be in the test");
    }
    let names: Vec<String> = headers.iter().map(|it| it.name.to_lowercase()).collect();
    for (place, condition) in headers.iter().enumerate() {
        if names[..place].contains(&names[place]) {
            refuse(
                refusals,
                &condition.field,
                "names a header twice: case makes no difference",
            );
        }
    }
    Experiment {
        field,
        headers,
        query_params,
        source_labels: &entry.source_labels,
    }
}

fn conditions<'a, T>(
    wanted: &'a BTreeMap<String, T>,
    says: impl Fn(&'a T) -> Option<Says<'a>>,
    field: &str,
    refusals: &mut Vec<Refusal>,
) -> Vec<Condition<'a>> {
    let mut read = Vec::new();
    for (name, value) in wanted {
        let field = format!("{field}.{name}");
        match says(value).filter(|says| !says.text().is_empty()) {
            Some(_) if !cookie::is_token(name) => {
                refuse(refusals, &field, "is no name of a header or parameter");
            }
            Some(says) => read.push(Condition { field, name, says }),
            None => refuse(
                refusals,
                &field,
                "needs a text to compare with, by exact, prefix, suffix (of a header) or regex",
            ),
        }
    }
    read
}

/// Of the ways to compare, the one that is given: exactly, by the beginning, the end, an expression.
fn said([exact, prefix, suffix, regex]: [&Option<String>; 4]) -> Option<Says<'_>> {
    let exact = exact.as_deref().map(Says::Exactly);
    let rest = [
        prefix.as_deref().map(Says::Beginning),
        suffix.as_deref().map(Says::Ending),
        regex.as_deref().map(Says::Like),
    ];
    exact.or_else(|| rest.into_iter().flatten().next())
}

fn refuse(refusals: &mut Vec<Refusal>, field: &str, message: &str) {
    refusals.push(Refusal {
        field: field.to_owned(),
        message: message.to_owned(),
    });
}
