//! A request's URL, read as the API server reads it: which resource, which object, which subresource.

use std::collections::BTreeMap;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `/version`
    Version,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/{group}`
    Group(String),
    /// `/api/v1` (with an empty group) or `/apis/{group}/{version}`
    Resources { group: String, version: String },
    /// A collection or an object.
    Resource(ResourcePath),
    /// `/healthz`, `/livez`, `/readyz`
    Health,
}

/// A path under a group and version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ResourcePath {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    /// Empty when the path has none.
    pub(super) namespace: String,
    /// Empty for a collection.
    pub(super) name: String,
    /// Empty for the object itself.
    pub(super) subresource: String,
}

/// The query parameters of a request; a parameter given twice keeps its first value, as in Go's `Get`.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(BTreeMap<String, String>);

impl Target {
    /// Reads a path; `None` when no API has it.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let decoded: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(percent_decode)
            .collect();
        let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
        Some(match parts.as_slice() {
            ["version"] => Self::Version,
            ["healthz" | "livez" | "readyz"] => Self::Health,
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["apis", group] => Self::Group((*group).to_owned()),
            ["api", version] => Self::Resources {
                group: String::new(),
                version: (*version).to_owned(),
            },
            ["apis", group, version] => Self::Resources {
                group: (*group).to_owned(),
                version: (*version).to_owned(),
            },
            ["api", version, rest @ ..] => Self::Resource(ResourcePath::parse("", version, rest)?),
            ["apis", group, version, rest @ ..] => Self::Resource(ResourcePath::parse(group, version, rest)?),
            _ => return None,
        })
    }
}

impl ResourcePath {
    fn parse(group: &str, version: &str, rest: &[&str]) -> Option<Self> {
        let base = Self {
            group: group.to_owned(),
            version: version.to_owned(),
            ..Self::default()
        };
        let named = |plural: &str, namespace: &str, name: &str, subresource: &str| Self {
            plural: plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            ..base.clone()
        };
        Some(match rest {
            ["namespaces", name] => named("namespaces", "", name, ""),
            ["namespaces", name, sub @ ("status" | "finalize")] => named("namespaces", "", name, sub),
            ["namespaces", namespace, plural] => named(plural, namespace, "", ""),
            ["namespaces", namespace, plural, name] => named(plural, namespace, name, ""),
            ["namespaces", namespace, plural, name, sub] => named(plural, namespace, name, sub),
            [plural] => named(plural, "", "", ""),
            [plural, name] => named(plural, "", name, ""),
            [plural, name, sub] => named(plural, "", name, sub),
            _ => return None,
        })
    }
}

impl Query {
    /// Reads the part of a URL after the question mark.
    pub(super) fn parse(query: &str) -> Self {
        let mut values = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            values.entry(form_decode(key)).or_insert_with(|| form_decode(value));
        }
        Self(values)
    }

    /// A parameter's value; empty values count as absent.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1" | "True" | "TRUE" | "t" | "T"))
    }
}

fn form_decode(text: &str) -> String {
    percent_decode(&text.replace('+', " "))
}

fn percent_decode(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[at], escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> (String, String, String, String, String) {
        match Target::parse(path) {
            Some(Target::Resource(p)) => (p.group, p.plural, p.namespace, p.name, p.subresource),
            other => panic!("{path} must name a resource, not {other:?}"),
        }
    }

    #[test]
    fn paths_name_objects_as_in_kubernetes() {
        let cases = [
            ("/api/v1/pods", ["", "pods", "", "", ""]),
            ("/api/v1/namespaces/test", ["", "namespaces", "", "test", ""]),
            (
                "/api/v1/namespaces/test/finalize",
                ["", "namespaces", "", "test", "finalize"],
            ),
            ("/api/v1/namespaces/test/pods?", ["", "pods?", "test", "", ""]),
            (
                "/apis/apps/v1/namespaces/a/deployments/web/scale",
                ["apps", "deployments", "a", "web", "scale"],
            ),
            (
                "/apis/flagger.app/v1beta1/canaries",
                ["flagger.app", "canaries", "", "", ""],
            ),
        ];
        for (path, want) in cases {
            let want: Vec<String> = want.iter().map(ToString::to_string).collect();
            let (group, plural, namespace, name, subresource) = resource(path);
            assert_eq!(vec![group, plural, namespace, name, subresource], want, "{path}");
        }
    }

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse("labelSelector=app%3Dweb%2Ctier+in+%28a%29&watch=true&limit=");
        assert_eq!(query.get("labelSelector"), Some("app=web,tier in (a)"));
        assert!(query.flag("watch"));
        assert_eq!(query.get("limit"), None);
    }
}
