//! Defaults of built-in kinds, which their schema does not carry.
//!
//! They are filled in when an object is decoded, before anything else looks at it, as the real server does; so they
//! belong to whoever wrote the object. What the server allots (a Service's address) is not here but in
//! [`super::strategy`].

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use super::resource::Resource;

/// Fills in what a built-in kind gets when it is decoded.
pub(super) fn fill(resource: &Resource, object: &mut Value) {
    match resource.qualified() {
        "deployments.apps" => deployment(child(object, "spec")),
        "replicasets.apps" => {
            let spec = child(object, "spec");
            absent(spec, "replicas", 1);
            template(spec);
        }
        "daemonsets.apps" => {
            let annotations = child(child(object, "metadata"), "annotations");
            absent(annotations, super::strategy::TEMPLATE_GENERATION, "0");
            daemon_set(child(object, "spec"));
        }
        "pods" => pod(child(object, "spec")),
        "services" => service(object),
        "secrets" => secret(object),
        "namespaces" => {
            child(object, "spec");
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if !name.is_empty() {
                child(child(object, "metadata"), "labels")["kubernetes.io/metadata.name"] = name.into();
            }
        }
        "nodes" => node(object),
        "leases.coordination.k8s.io" => {
            child(object, "spec");
        }
        "horizontalpodautoscalers.autoscaling" => autoscaler(child(object, "spec")),
        "endpointslices.discovery.k8s.io" => endpoint_slice(object),
        "events" => event(object),
        super::crd::CRDS => super::crd::fill(object),
        _ => {}
    }
    condition_times(resource, object);
}

fn deployment(spec: &mut Value) {
    absent(spec, "replicas", 1);
    absent(spec, "revisionHistoryLimit", 10);
    absent(spec, "progressDeadlineSeconds", 600);
    let strategy = child(spec, "strategy");
    empty(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        absent(rolling, "maxUnavailable", "25%");
        absent(rolling, "maxSurge", "25%");
    }
    template(spec);
}

fn daemon_set(spec: &mut Value) {
    absent(spec, "revisionHistoryLimit", 10);
    let strategy = child(spec, "updateStrategy");
    empty(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = child(strategy, "rollingUpdate");
        absent(rolling, "maxUnavailable", 1);
        absent(rolling, "maxSurge", 0);
    }
    template(spec);
}

fn template(spec: &mut Value) {
    let template = child(spec, "template");
    child(template, "metadata");
    pod_spec(child(template, "spec"));
}

fn pod(spec: &mut Value) {
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

fn service(object: &mut Value) {
    let spec = child(object, "spec");
    empty(spec, "type", "ClusterIP");
    empty(spec, "sessionAffinity", "None");
    if spec["sessionAffinity"] == "ClientIP" {
        absent(
            child(child(spec, "sessionAffinityConfig"), "clientIP"),
            "timeoutSeconds",
            10_800,
        );
    }
    for port in items(spec, "ports") {
        empty(port, "protocol", "TCP");
        if port
            .get("targetPort")
            .is_none_or(|target| *target == json!(0) || *target == json!(""))
        {
            port["targetPort"] = port["port"].clone();
        }
    }
    if spec["type"] != "ExternalName" {
        absent(spec, "internalTrafficPolicy", "Cluster");
    }
    if spec["type"] == "NodePort" || spec["type"] == "LoadBalancer" {
        empty(spec, "externalTrafficPolicy", "Cluster");
    }
    if spec["type"] == "LoadBalancer" {
        absent(spec, "allocateLoadBalancerNodePorts", true);
    }
    child(child(object, "status"), "loadBalancer");
}

/// `stringData` is written, never read: it becomes `data`.
fn secret(object: &mut Value) {
    empty(object, "type", "Opaque");
    let plain = object.as_object_mut().and_then(|fields| fields.remove("stringData"));
    for (key, value) in plain.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let bytes = ByteString(value.as_str().unwrap_or_default().as_bytes().to_vec());
        child(object, "data")[key] = serde_json::to_value(bytes).unwrap_or_default();
    }
}

fn node(object: &mut Value) {
    child(object, "spec");
    let status = child(object, "status");
    if let Some(capacity) = status.get("capacity").cloned() {
        absent(status, "allocatable", capacity);
    }
    absent(child(child(status, "daemonEndpoints"), "kubeletEndpoint"), "Port", 0);
    let info = child(status, "nodeInfo");
    for field in NODE_INFO {
        absent(info, field, "");
    }
}

/// What a node tells of itself; always there, if only as empty texts.
const NODE_INFO: [&str; 10] = [
    "architecture",
    "bootID",
    "containerRuntimeVersion",
    "kernelVersion",
    "kubeProxyVersion",
    "kubeletVersion",
    "machineID",
    "operatingSystem",
    "osImage",
    "systemUUID",
];

/// Times of conditions are there, if only as null, where the Go type is no pointer.
fn condition_times(resource: &Resource, object: &mut Value) {
    let times: &[&str] = match resource.qualified() {
        "deployments.apps" => &["lastTransitionTime", "lastUpdateTime"],
        "pods" => &["lastProbeTime", "lastTransitionTime"],
        "nodes" => &["lastHeartbeatTime", "lastTransitionTime"],
        _ if resource.custom => &[],
        _ => &["lastTransitionTime"],
    };
    let Some(status) = object.get_mut("status") else { return };
    for condition in items(status, "conditions") {
        for time in times {
            absent(condition, time, Value::Null);
        }
    }
}

fn autoscaler(spec: &mut Value) {
    absent(spec, "minReplicas", 1);
    if spec["metrics"].as_array().is_none_or(Vec::is_empty) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    }
    if spec["behavior"].is_object() {
        let percent = || json!({"type": "Percent", "value": 100, "periodSeconds": 15});
        let up = child(&mut spec["behavior"], "scaleUp");
        absent(up, "stabilizationWindowSeconds", 0);
        absent(up, "selectPolicy", "Max");
        absent(
            up,
            "policies",
            json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, percent()]),
        );
        let down = child(&mut spec["behavior"], "scaleDown");
        absent(down, "selectPolicy", "Max");
        absent(down, "policies", json!([percent()]));
    }
}

fn endpoint_slice(object: &mut Value) {
    for port in items(object, "ports") {
        absent(port, "name", "");
        absent(port, "protocol", "TCP");
    }
    for endpoint in items(object, "endpoints") {
        child(endpoint, "conditions");
    }
    for list in ["endpoints", "ports"] {
        absent(object, list, Value::Null);
    }
}

fn event(object: &mut Value) {
    child(object, "involvedObject");
    child(object, "source");
    for time in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        absent(object, time, Value::Null);
    }
    for text in ["reportingComponent", "reportingInstance"] {
        absent(object, text, "");
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

/// Sets a field that is not there.
fn absent(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry(field).or_insert_with(|| value.into());
    }
}

/// Sets a text that is not there or empty.
fn empty(object: &mut Value, field: &str, value: &str) {
    if object[field].as_str().is_none_or(str::is_empty) {
        object[field] = value.into();
    }
}

/// A field that is a map; made when it is not there.
fn child<'a>(object: &'a mut Value, field: &str) -> &'a mut Value {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    if !object[field].is_object() {
        object[field] = Value::Object(Map::new());
    }
    &mut object[field]
}

fn items<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::{super::resource::BUILT_IN, *};

    fn filled(plural: &str, mut object: Value) -> Value {
        let resource = BUILT_IN
            .iter()
            .find(|resource| resource.plural == plural)
            .expect("must be served");
        fill(resource, &mut object);
        object
    }

    #[test]
    fn a_small_deployment_becomes_a_whole_one() {
        let spec = json!({"template": {"spec": {"containers": [{"name": "a", "image": "web:1"}]}}});
        let deployment = filled("deployments", json!({"spec": spec}));
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}});
        assert_eq!(deployment["spec"]["strategy"], rolling);
        assert_eq!(deployment["spec"]["replicas"], 1);
        assert_eq!(deployment["spec"]["template"]["spec"]["securityContext"], json!({}));
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["imagePullPolicy"], "IfNotPresent");
        assert_eq!(container["resources"], json!({}));
    }

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

    #[test]
    fn a_service_port_targets_itself() {
        let service = filled(
            "services",
            json!({"spec": {"ports": [{"port": 80}, {"port": 9, "targetPort": "web"}]}}),
        );
        assert_eq!(
            service["spec"]["ports"][0],
            json!({"port": 80, "protocol": "TCP", "targetPort": 80})
        );
        assert_eq!(service["spec"]["ports"][1]["targetPort"], "web");
        assert_eq!(service["spec"]["internalTrafficPolicy"], "Cluster");
    }
}
