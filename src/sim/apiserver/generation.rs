//! `metadata.generation`: which changes move it, kind by kind.

use serde_json::Value;

use super::{
    metadata,
    resource::{Generation, Resource},
};

/// Whether the kind counts generations.
pub(super) fn counts(resource: &Resource) -> bool {
    resource.generation != Generation::Never
}

/// Whether a write of the main resource moves the generation.
pub(super) fn moves(resource: &Resource, before: &Value, after: &Value) -> bool {
    let differs = |path: &str| metadata::at(before, path) != metadata::at(after, path);
    match resource.generation {
        Generation::Never => false,
        Generation::Spec => differs("spec"),
        Generation::SpecOrAnnotations => differs("spec") || differs("metadata.annotations"),
        Generation::Content => content_differs(before, after, resource.status),
        Generation::ContentOrLabels => content_differs(before, after, false) || differs("metadata.labels"),
    }
}

fn content_differs(before: &Value, after: &Value, without_status: bool) -> bool {
    let content = |object: &Value| {
        let mut content = object.as_object().cloned().unwrap_or_default();
        content.remove("metadata");
        content.remove("apiVersion");
        if without_status {
            content.remove("status");
        }
        content
    };
    content(before) != content(after)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::resource::BUILT_IN, *};

    #[test]
    fn each_kind_has_its_own_rule() {
        let before = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 1}, "data": {"k": "1"}});
        let cases = [
            ("deployments", "spec", true),
            ("deployments", "metadata.annotations", true),
            ("deployments", "metadata.labels", false),
            ("deployments", "status", false),
            ("replicasets", "metadata.annotations", false),
            ("replicasets", "spec", true),
            ("services", "spec", false),
            ("configmaps", "data", false),
            ("endpointslices", "metadata.labels", true),
            ("endpointslices", "endpoints", true),
            ("leases", "spec", false),
        ];
        for (plural, path, want) in cases {
            let resource = BUILT_IN
                .iter()
                .find(|resource| resource.plural == plural)
                .expect("must be served");
            let mut after = before.clone();
            metadata::set(&mut after, path, json!({"new": "value"}));
            assert_eq!(moves(resource, &before, &after), want, "{plural} {path}");
        }
    }
}
