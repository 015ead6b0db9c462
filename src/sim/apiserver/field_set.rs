//! Sets of fields, as `metadata.managedFields` writes them down (`fieldsV1`).
//!
//! A set is a tree: `members` are the fields that belong to it, `children` are the ways to deeper ones. The four kinds of
//! steps and their prefixes (`f:`, `k:`, `v:`, `i:`) are those of Kubernetes' server-side apply.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A field of a struct or a key of a map.
    Field(String),
    /// An item of a keyed list; its key fields and their values as JSON.
    Key(BTreeMap<String, String>),
    /// An item of a set, as JSON.
    Item(String),
    /// An item by its place.
    Index(usize),
}

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    members: BTreeSet<Step>,
    children: BTreeMap<Step, Self>,
}

impl Step {
    pub(super) fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    fn text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let pairs: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
                    .collect();
                format!("k:{{{}}}", pairs.join(","))
            }
            Self::Item(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        Some(match kind {
            "f" => Self::Field(rest.to_owned()),
            "k" => {
                let fields: Map<String, Value> = serde_json::from_str(rest).ok()?;
                Self::Key(
                    fields
                        .into_iter()
                        .map(|(name, value)| (name, value.to_string()))
                        .collect(),
                )
            }
            "v" => Self::Item(serde_json::from_str::<Value>(rest).ok()?.to_string()),
            "i" => Self::Index(rest.parse().ok()?),
            _ => return None,
        })
    }
}

impl FieldSet {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    /// Adds a path; the empty path is the whole object, which nobody owns.
    pub(super) fn insert(&mut self, path: &[Step]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Whether the field one step down is a member.
    pub(super) fn has(&self, step: &Step) -> bool {
        self.members.contains(step)
    }

    /// The part of the set below a step.
    pub(super) fn below(&self, step: &Step) -> Option<&Self> {
        self.children.get(step).filter(|set| !set.is_empty())
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.members.extend(other.members.iter().cloned());
        for (step, set) in &other.children {
            let slot = all.children.entry(step.clone()).or_default();
            *slot = slot.union(set);
        }
        all
    }

    /// Whether some field is in both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.members.iter().any(|step| other.members.contains(step))
            || self
                .children
                .iter()
                .any(|(step, set)| other.children.get(step).is_some_and(|other| set.overlaps(other)))
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let members = self.members.intersection(&other.members).cloned().collect();
        self.with(members, |step, set| {
            other.children.get(step).map(|other| set.intersection(other))
        })
    }

    /// What is in `self` and not in `other`; a field of `other` does not take the fields below it away.
    pub(super) fn difference(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        let members = self.members.difference(&other.members).cloned().collect();
        self.with(members, |step, set| {
            Some(
                other
                    .children
                    .get(step)
                    .map_or_else(|| set.clone(), |other| set.difference(other)),
            )
        })
    }

    /// Like [`Self::difference`], but a field of `other` takes everything below it away.
    pub(super) fn without(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        self.with(members, |step, set| match other.children.get(step) {
            _ if other.members.contains(step) => None,
            Some(other) => Some(set.without(other)),
            None => Some(set.clone()),
        })
    }

    fn with(&self, members: BTreeSet<Step>, child: impl Fn(&Step, &Self) -> Option<Self>) -> Self {
        let children = self
            .children
            .iter()
            .filter_map(|(step, set)| child(step, set).map(|set| (step.clone(), set)))
            .filter(|(_, set)| !set.is_empty())
            .collect();
        Self { members, children }
    }

    /// The set with each field of a struct on the way as a member. `is_field` tells structs' fields from map keys.
    pub(super) fn with_ways(&self, is_field: &dyn Fn(&[Step]) -> bool) -> Self {
        self.with_ways_below(&mut Vec::new(), is_field)
    }

    fn with_ways_below(&self, path: &mut Vec<Step>, is_field: &dyn Fn(&[Step]) -> bool) -> Self {
        let mut set = Self {
            members: self.members.clone(),
            children: BTreeMap::new(),
        };
        for (step, child) in &self.children {
            path.push(step.clone());
            if is_field(path) {
                set.members.insert(step.clone());
            }
            set.children.insert(step.clone(), child.with_ways_below(path, is_field));
            path.pop();
        }
        set
    }

    /// All paths, parents before what is below them.
    pub(super) fn paths(&self) -> Vec<Vec<Step>> {
        let mut paths: Vec<Vec<Step>> = self.members.iter().map(|step| vec![step.clone()]).collect();
        for (step, set) in &self.children {
            paths.extend(
                set.paths()
                    .into_iter()
                    .map(|rest| std::iter::once(step.clone()).chain(rest).collect()),
            );
        }
        paths
    }

    /// The set as `fieldsV1`.
    pub(super) fn encode(&self) -> Value {
        let mut fields = Map::new();
        for step in &self.members {
            fields.insert(step.text(), Value::Object(Map::new()));
        }
        for (step, set) in &self.children {
            let mut below = set.encode();
            if self.members.contains(step)
                && let Some(below) = below.as_object_mut()
                && !below.is_empty()
            {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            fields.insert(step.text(), below);
        }
        Value::Object(fields)
    }

    /// Reads `fieldsV1`; what is not understood is left out.
    pub(super) fn decode(fields: &Value) -> Self {
        let mut set = Self::default();
        for (text, below) in fields.as_object().into_iter().flatten() {
            let Some(step) = Step::parse(text) else { continue };
            let inner = Self::decode(below);
            let empty = below.as_object().is_none_or(Map::is_empty);
            if empty || below.get(".").is_some() {
                set.members.insert(step.clone());
            }
            if !inner.is_empty() {
                set.children.insert(step, inner);
            }
        }
        set
    }
}

/// A path as conflicts name it, for example `.spec.ports[port=80,protocol="TCP"].name`.
pub(super) fn display(path: &[Step]) -> String {
    path.iter().fold(String::new(), |mut text, step| {
        let written = match step {
            Step::Field(name) => write!(text, ".{name}"),
            Step::Key(fields) => {
                let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(text, "[{}]", pairs.join(","))
            }
            Step::Item(value) => write!(text, "[={value}]"),
            Step::Index(index) => write!(text, "[{index}]"),
        };
        written.expect("writing into a String must work");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ports() -> Value {
        json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {"v:\"a\"": {}}},
            "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}}}})
    }

    #[test]
    fn fields_survive_a_round_trip() {
        assert_eq!(FieldSet::decode(&ports()).encode(), ports());
    }

    #[test]
    fn paths_read_as_kubernetes_prints_them() {
        let mut shown: Vec<String> = FieldSet::decode(&ports())
            .paths()
            .iter()
            .map(|path| display(path))
            .collect();
        shown.sort();
        let want = [
            ".metadata.finalizers[=\"a\"]",
            ".metadata.labels",
            ".metadata.labels.app",
            ".spec.ports[port=80,protocol=\"TCP\"]",
            ".spec.ports[port=80,protocol=\"TCP\"].name",
        ];
        assert_eq!(shown, want);
    }

    #[test]
    fn a_difference_is_by_field_or_by_tree() {
        let set = FieldSet::decode(&ports());
        let labels = FieldSet::decode(&json!({"f:metadata": {"f:labels": {}}}));
        assert_eq!(
            set.difference(&labels).encode()["f:metadata"]["f:labels"],
            json!({"f:app": {}})
        );
        assert_eq!(set.without(&labels).encode()["f:metadata"].get("f:labels"), None);
        assert_eq!(set.intersection(&labels), labels);
        assert!(set.overlaps(&labels) && !set.without(&labels).overlaps(&labels));
        assert_eq!(set.difference(&labels).union(&labels), set);
    }
}
