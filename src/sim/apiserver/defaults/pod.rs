//! Defaults of pods and of the templates that make them.

use serde_json::Value;

use super::{absent, child, empty, items};

/// A pod template of a workload.
pub(super) fn template(spec: &mut Value) {
    let template = child(spec, "template");
    child(template, "metadata");
    pod_spec(child(template, "spec"));
}

/// The spec of a pod itself, which gets a little more than a template.
pub(super) fn pod(spec: &mut Value) {
    absent(spec, "enableServiceLinks", true);
    for list in ["containers", "initContainers"] {
        for container in items(spec, list) {
            let limits = container["resources"]["limits"]
                .as_object()
                .cloned()
                .unwrap_or_default();
            for (name, amount) in limits {
                absent(child(child(container, "resources"), "requests"), &name, amount);
            }
        }
    }
    pod_spec(spec);
}

fn pod_spec(spec: &mut Value) {
    empty(spec, "dnsPolicy", "ClusterFirst");
    empty(spec, "restartPolicy", "Always");
    empty(spec, "schedulerName", "default-scheduler");
    absent(spec, "terminationGracePeriodSeconds", 30);
    child(spec, "securityContext");
    if let Some(account) = spec["serviceAccountName"].as_str().map(str::to_owned) {
        absent(spec, "serviceAccount", account);
    } else if let Some(account) = spec["serviceAccount"].as_str().map(str::to_owned) {
        absent(spec, "serviceAccountName", account);
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        items(spec, list).for_each(container);
    }
    items(spec, "volumes").for_each(volume);
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let policy = if tag(image) == "latest" {
        "Always"
    } else {
        "IfNotPresent"
    };
    empty(container, "imagePullPolicy", policy);
    empty(container, "terminationMessagePath", "/dev/termination-log");
    empty(container, "terminationMessagePolicy", "File");
    child(container, "resources");
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container.get(name).is_some_and(Value::is_object) {
            probe(&mut container[name]);
        }
    }
    for hook in ["postStart", "preStop"] {
        if container["lifecycle"][hook]["httpGet"].is_object() {
            http_get(&mut container["lifecycle"][hook]["httpGet"]);
        }
    }
    for variable in items(container, "env") {
        if variable["valueFrom"]["fieldRef"].is_object() {
            empty(&mut variable["valueFrom"]["fieldRef"], "apiVersion", "v1");
        }
    }
}

fn probe(probe: &mut Value) {
    for (field, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        absent(probe, field, value);
    }
    if probe["httpGet"].is_object() {
        http_get(&mut probe["httpGet"]);
    }
    if probe["grpc"].is_object() {
        absent(&mut probe["grpc"], "service", "");
    }
}

fn http_get(action: &mut Value) {
    empty(action, "path", "/");
    empty(action, "scheme", "HTTP");
}

/// File modes of mounted configuration: 0644.
const FILE_MODE: i32 = 0o644;

fn volume(volume: &mut Value) {
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if volume[source].is_object() {
            absent(&mut volume[source], "defaultMode", FILE_MODE);
        }
    }
    if volume["hostPath"].is_object() {
        absent(&mut volume["hostPath"], "type", "");
    }
    if volume
        .as_object()
        .is_some_and(|fields| fields.keys().all(|name| name == "name"))
    {
        child(volume, "emptyDir");
    }
}

/// The tag of an image; `latest` when it has neither tag nor digest.
fn tag(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or_default();
    match name.split_once('@') {
        Some(_) => "",
        None => name.split_once(':').map_or("latest", |(_, tag)| tag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_version_are_always_pulled() {
        let cases = [
            ("web", "latest"),
            ("web:latest", "latest"),
            ("host:5000/web", "latest"),
            ("host:5000/web:2", "2"),
            ("web@sha256:0", ""),
        ];
        for (image, want) in cases {
            assert_eq!(tag(image), want, "{image}");
        }
    }
}
