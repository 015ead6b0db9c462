//! The ports of the Services: the one of the Canary, and with `portDiscovery` those of the target's containers.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use crate::{
    api::ServiceSpec,
    object::{as_map, list, text},
};

/// Containers of a mesh, whose ports are not the application's.
const SIDECARS: [&str; 2] = ["istio-proxy", "envoy"];

/// The ports that the spec asks for; the first is the Canary's own. `pods` is the pod template of the target.
pub(super) fn wanted(spec: &ServiceSpec, pods: Option<&Value>) -> Vec<Value> {
    let port = spec.port.unwrap_or_default();
    let target = match &spec.target_port {
        Some(IntOrString::Int(0)) | None => json!(port),
        Some(IntOrString::String(name)) if name.is_empty() || name == "0" => json!(port),
        Some(given) => json!(given),
    };
    let name = spec
        .port_name
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or("http");
    let mut own = json!({"name": name, "protocol": "TCP", "port": port, "targetPort": target});
    if let Some(protocol) = spec.app_protocol.as_deref().filter(|it| !it.is_empty()) {
        own["appProtocol"] = protocol.into();
    }
    let mut ports = vec![own];
    if spec.port_discovery {
        discover(pods, &target, &mut ports);
    }
    ports
}

/// Adds the ports of the containers, with their own protocol (Flagger publishes UDP as TCP, spec/core.md 7.3 W32), each
/// number once and under a name of its own.
fn discover(pods: Option<&Value>, target: &Value, ports: &mut Vec<Value>) {
    let containers = pods.map_or(&[][..], |pods| list(pods, "/spec/containers"));
    for container in containers.iter().filter(|it| !SIDECARS.contains(&text(it, "/name"))) {
        for (index, port) in list(container, "/ports").iter().enumerate() {
            let number = &port["containerPort"];
            let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            let is_own = number == target || port.get("name").is_some_and(|name| name == target);
            let published = ports
                .iter()
                .any(|it| it["port"] == *number && it["protocol"] == protocol);
            if is_own || published {
                continue;
            }
            let given = text(port, "/name");
            let free = |name: &str| !name.is_empty() && !ports.iter().any(|it| it["name"] == name);
            let name = if free(given) {
                given.to_owned()
            } else {
                format!("{}-{}-{index}", protocol.to_lowercase(), text(container, "/name"))
            };
            ports.push(json!({"name": name, "protocol": protocol, "port": number, "targetPort": number}));
        }
    }
}

/// The ports of a Service that we made: those wanted, in the order in which they stand, with the node ports that were
/// given to their names. With `keep`, ports that are not wanted stay behind them.
pub(super) fn replaced(standing: &[Value], wanted: &[Value], keep: bool) -> Vec<Value> {
    let place = |port: &Value| standing.iter().position(|it| it["name"] == port["name"]);
    let mut next: Vec<Value> = wanted
        .iter()
        .map(|port| with_node_port(port, place(port).map(|it| &standing[it])))
        .collect();
    next.sort_by_key(|port| place(port).unwrap_or(usize::MAX));
    if keep {
        let named = |port: &Value| {
            next.iter()
                .any(|it| it["name"] == port["name"] || it["port"] == port["port"])
        };
        let rest: Vec<Value> = standing.iter().filter(|port| !named(port)).cloned().collect();
        next.extend(rest);
    }
    next
}

/// The ports of a Service that stood before: all of its own, and those wanted that it lacks. Of the Canary's own port
/// only what the spec states is changed where it stands.
pub(super) fn added(standing: &[Value], wanted: &[Value], spec: &ServiceSpec) -> Vec<Value> {
    let stated = [
        ("name", spec.port_name.is_some()),
        ("targetPort", spec.target_port.is_some()),
        ("appProtocol", spec.app_protocol.is_some()),
    ];
    let mut next = standing.to_vec();
    for (index, port) in wanted.iter().enumerate() {
        let same = |it: &&mut Value| it["port"] == port["port"] && protocol(it) == protocol(port);
        match next.iter_mut().find(same) {
            Some(own) if index == 0 => {
                for (key, _) in stated.iter().filter(|(_, stated)| *stated) {
                    if let Some(value) = port.get(key) {
                        own[*key] = value.clone();
                    }
                }
            }
            Some(_) => {}
            None => next.push(port.clone()),
        }
    }
    // Of several ports each needs a name.
    if next.len() > 1 {
        for port in next.iter_mut().filter(|port| text(port, "/name").is_empty()) {
            let name = format!("{}-{}", protocol(port).to_lowercase(), port["port"]);
            as_map(port).insert("name".to_owned(), name.into());
        }
    }
    next
}

/// Ports as they were kept, with the node ports that they have now; other values as they are.
pub(super) fn with_node_ports(key: &str, kept: &Value, live: &Value) -> Value {
    let (Some(kept), "ports") = (kept.as_array(), key) else {
        return kept.clone();
    };
    let standing = live.as_array().map_or(&[][..], Vec::as_slice);
    kept.iter()
        .map(|port| with_node_port(port, standing.iter().find(|it| it["port"] == port["port"])))
        .collect()
}

fn with_node_port(port: &Value, standing: Option<&Value>) -> Value {
    let mut port = port.clone();
    if let (None, Some(node_port)) = (port.get("nodePort"), standing.and_then(|it| it.get("nodePort"))) {
        as_map(&mut port).insert("nodePort".to_owned(), node_port.clone());
    }
    port
}

fn protocol(port: &Value) -> &str {
    port.get("protocol").and_then(Value::as_str).unwrap_or("TCP")
}
