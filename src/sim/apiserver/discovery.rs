//! The documents that tell a client what is served: `/version`, `/api`, `/apis` and the resource lists.

use serde_json::{Value, json};

use super::{errors::Refusal, path::Target, resource::join_group, state::Catalogue};

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The version that the server says first.
pub(super) const VERSION: &str = "v1.36.3";

/// Answers a discovery path.
pub(super) fn answer(catalogue: &Catalogue, version: &str, target: &Target) -> Result<Value, Refusal> {
    match target {
        Target::Version => Ok(json!({
            "major": "1", "minor": "36", "gitVersion": version, "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "embedded/serin",
        })),
        Target::Health | Target::CoreVersions => Ok(json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "embedded"}],
        })),
        Target::Groups => {
            let groups: Vec<Value> = group_names(catalogue)
                .iter()
                .map(|name| group(catalogue, name))
                .collect();
            Ok(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        Target::Group(name) if group_names(catalogue).contains(name) => {
            let mut document = group(catalogue, name);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            Ok(document)
        }
        Target::Resources { group, version } => resources(catalogue, group, version),
        Target::Group(_) | Target::Resource(_) => Err(Refusal::no_such_path()),
    }
}

/// All groups but the core one, with the review APIs.
fn group_names(catalogue: &Catalogue) -> Vec<String> {
    let mut names: Vec<String> = catalogue
        .all()
        .map(|resource| resource.group.clone())
        .filter(|group| !group.is_empty())
        .chain(["authorization.k8s.io".to_owned()])
        .collect();
    names.sort();
    names.dedup();
    names
}

fn group(catalogue: &Catalogue, name: &str) -> Value {
    let mut versions: Vec<&str> = catalogue
        .all()
        .filter(|resource| resource.group == name)
        .map(|resource| resource.version.as_str())
        .collect();
    versions.dedup();
    if name == "authorization.k8s.io" {
        versions.push("v1");
    }
    let entry = |version: &str| json!({"groupVersion": join_group(name, version), "version": version});
    let entries: Vec<Value> = versions.iter().map(|version| entry(version)).collect();
    json!({"name": name, "versions": entries, "preferredVersion": entries.first()})
}

fn resources(catalogue: &Catalogue, group: &str, version: &str) -> Result<Value, Refusal> {
    let mut list = Vec::new();
    for resource in catalogue
        .all()
        .filter(|resource| resource.group == group && resource.version == version)
    {
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": VERBS,
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = resource.short_names.clone().into();
        }
        list.push(entry);
        if resource.scale.is_some() {
            list.push(json!({
                "name": format!("{}/scale", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"],
            }));
        }
        if resource.status {
            list.push(json!({
                "name": format!("{}/status", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "kind": resource.kind, "verbs": ["get", "patch", "update"],
            }));
        }
    }
    if (group, version) == ("authorization.k8s.io", "v1") {
        for kind in ["SelfSubjectAccessReview", "SelfSubjectRulesReview"] {
            let plural = format!("{}s", kind.to_lowercase());
            list.push(json!({
                "name": plural, "singularName": kind.to_lowercase(), "namespaced": false, "kind": kind,
                "verbs": ["create"],
            }));
        }
    }
    if list.is_empty() {
        return Err(Refusal::no_such_path());
    }
    let group_version = join_group(group, version);
    Ok(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list}))
}
