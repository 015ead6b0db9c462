//! Label and field selectors of lists and watches.

use serde_json::Value;

use super::{errors::Refusal, metadata, path::Query, resource::Resource};

/// Both selectors of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<LabelTerm>,
    fields: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LabelTerm {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldTerm {
    path: String,
    value: String,
    equal: bool,
}

impl Selector {
    /// Reads `labelSelector` and `fieldSelector`.
    pub(super) fn of(query: &Query, resource: &Resource) -> Result<Self, Refusal> {
        let labels = split(query.get("labelSelector").unwrap_or_default())
            .into_iter()
            .map(label_term)
            .collect::<Option<_>>()
            .ok_or_else(|| Refusal::bad_request("unable to parse requirement of the label selector"))?;
        let fields = split(query.get("fieldSelector").unwrap_or_default())
            .into_iter()
            .map(|term| field_term(term, resource))
            .collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether everything matches.
    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|term| term.matches(object)) && self.fields.iter().all(|term| term.matches(object))
    }
}

impl LabelTerm {
    fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str);
        match self {
            Self::In(key, values) => label(key).is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            Self::NotIn(key, values) => !label(key).is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            Self::Exists(key) => label(key).is_some(),
            Self::Absent(key) => label(key).is_none(),
        }
    }
}

impl FieldTerm {
    fn matches(&self, object: &Value) -> bool {
        let found = match metadata::at(object, &self.path) {
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
            _ => String::new(),
        };
        (found == self.value) == self.equal
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

fn label_term(term: &str) -> Option<LabelTerm> {
    let values = |list: &str| -> Option<Vec<String>> {
        let inner = list.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let one = |value: &str| vec![value.trim().to_owned()];
    let key = |key: &str| Some(key.trim().to_owned()).filter(|key| !key.is_empty() && !key.contains([' ', '(']));
    if let Some((left, right)) = term.split_once(" notin ") {
        return Some(LabelTerm::NotIn(key(left)?, values(right)?));
    }
    if let Some((left, right)) = term.split_once(" in ") {
        return Some(LabelTerm::In(key(left)?, values(right)?));
    }
    if let Some((left, right)) = term.split_once("!=") {
        return Some(LabelTerm::NotIn(key(left)?, one(right)));
    }
    if let Some((left, right)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Some(LabelTerm::In(key(left)?, one(right)));
    }
    match term.strip_prefix('!') {
        Some(absent) => Some(LabelTerm::Absent(key(absent)?)),
        None => Some(LabelTerm::Exists(key(term)?)),
    }
}

fn field_term(term: &str, resource: &Resource) -> Result<FieldTerm, Refusal> {
    let (path, value, equal) = if let Some((path, value)) = term.split_once("!=") {
        (path, value, false)
    } else if let Some((path, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (path, value, true)
    } else {
        return Err(Refusal::bad_request(format!(
            "invalid selector: '{term}'; can't understand '{term}'"
        )));
    };
    if !supported(path, resource) {
        let plain = !resource.custom && !has_own_fields(resource);
        return Err(Refusal::bad_request(if plain {
            format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        } else {
            format!("field label not supported: {path}")
        }));
    }
    Ok(FieldTerm {
        path: path.to_owned(),
        value: value.to_owned(),
        equal,
    })
}

/// Whether a built-in kind can be selected by more than its name.
fn has_own_fields(resource: &Resource) -> bool {
    [
        "status.phase",
        "reason",
        "spec.unschedulable",
        "type",
        "spec.type",
        "status.replicas",
    ]
    .into_iter()
    .any(|path| supported(path, resource))
}

/// The fields that a kind can be selected by.
fn supported(path: &str, resource: &Resource) -> bool {
    if path == "metadata.name" || (path == "metadata.namespace" && resource.namespaced) {
        return true;
    }
    match resource.qualified() {
        "pods" => matches!(
            path,
            "spec.nodeName"
                | "spec.restartPolicy"
                | "spec.schedulerName"
                | "spec.serviceAccountName"
                | "spec.hostNetwork"
                | "status.phase"
                | "status.podIP"
                | "status.nominatedNodeName"
        ),
        "events" => path.starts_with("involvedObject.") || matches!(path, "reason" | "type" | "source"),
        "namespaces" => path == "status.phase",
        "nodes" => path == "spec.unschedulable",
        "secrets" => path == "type",
        "services" => matches!(path, "spec.clusterIP" | "spec.type"),
        "replicasets.apps" => path == "status.replicas",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::resource::BUILT_IN, *};

    fn selector(labels: &str, fields: &str) -> Result<Selector, Refusal> {
        let pods = BUILT_IN
            .iter()
            .find(|resource| resource.is("", "pods"))
            .expect("pods must be served");
        Selector::of(
            &Query::parse(&format!("labelSelector={labels}&fieldSelector={fields}")),
            pods,
        )
    }

    #[test]
    fn labels_are_selected_as_kubectl_writes_them() {
        let pod = json!({"metadata": {"labels": {"app": "web", "tier": "front"}}});
        let cases = [
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (web,api)", true),
            ("app notin (web)", false),
            ("other notin (web)", true),
            ("app", true),
            ("!app", false),
            ("!other,app in ( web )", true),
            ("app=", false),
        ];
        for (text, want) in cases {
            assert_eq!(selector(text, "").unwrap().matches(&pod), want, "{text}");
        }
    }

    #[test]
    fn fields_are_selected_and_unknown_ones_refused() {
        let pod = json!({"metadata": {"name": "web-1"}, "status": {"phase": "Running"}});
        assert!(
            selector("", "metadata.name=web-1,status.phase!=Failed")
                .unwrap()
                .matches(&pod)
        );
        assert!(!selector("", "metadata.name=web-2").unwrap().matches(&pod));
        assert_eq!(
            selector("", "spec.image=a").unwrap_err().message,
            "field label not supported: spec.image"
        );
    }
}
