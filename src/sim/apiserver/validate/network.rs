//! Rules of Services and `EndpointSlices`.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::super::errors::{FieldError, FieldErrorKind};

const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

/// Rules of a Service.
pub(super) fn service(before: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let (spec, mut errors) = (&object["spec"], Vec::new());
    let ports: Vec<&Value> = spec["ports"].as_array().into_iter().flatten().collect();
    let headless = spec["clusterIP"] == "None";
    if ports.is_empty() && !headless && spec["type"] != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        service_port(
            &ports[..index],
            port,
            ports.len() > 1,
            &format!("spec.ports[{index}]"),
            &mut errors,
        );
    }
    if let Some(before) = before {
        let (old, new) = (&before["spec"]["clusterIP"], &spec["clusterIP"]);
        if spec["type"] != "ExternalName" && old.is_string() && old != new {
            errors.push(FieldError::invalid(
                "spec.clusterIPs[0]",
                json!([new]),
                "may not change once set",
            ));
        }
    }
    errors
}

fn service_port(earlier: &[&Value], port: &Value, several: bool, path: &str, errors: &mut Vec<FieldError>) {
    if several && port["name"].as_str().is_none_or(str::is_empty) {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let number = port["port"].as_i64().unwrap_or(0);
    if !(1..=65_535).contains(&number) {
        errors.push(FieldError::invalid(format!("{path}.port"), number, PORT_RANGE));
    }
    if !matches!(port["protocol"].as_str(), Some("TCP" | "UDP" | "SCTP")) {
        let kind = FieldErrorKind::NotSupported(port["protocol"].clone());
        let detail = "supported values: \"SCTP\", \"TCP\", \"UDP\"";
        errors.push(FieldError::new(format!("{path}.protocol"), kind, detail));
    }
    if let Some(target) = port["targetPort"]
        .as_i64()
        .filter(|target| !(1..=65_535).contains(target))
    {
        errors.push(FieldError::invalid(format!("{path}.targetPort"), target, PORT_RANGE));
    }
    if earlier
        .iter()
        .any(|other| other["port"] == port["port"] && other["protocol"] == port["protocol"])
    {
        let shown = json!({"port": port["port"], "protocol": port["protocol"]});
        errors.push(FieldError::new(path, FieldErrorKind::Duplicate(shown), ""));
    }
}

/// Rules of an `EndpointSlice`.
pub(super) fn endpoint_slice(before: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if object["addressType"].as_str().is_none_or(str::is_empty) {
        errors.push(FieldError::required("addressType", ""));
    }
    if before.is_some_and(|before| before["addressType"] != object["addressType"]) {
        return vec![FieldError::invalid(
            "addressType",
            object["addressType"].clone(),
            "field is immutable",
        )];
    }
    for (index, endpoint) in object["endpoints"].as_array().into_iter().flatten().enumerate() {
        let addresses: Vec<&str> = endpoint["addresses"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if addresses.is_empty() {
            let path = format!("endpoints[{index}].addresses");
            errors.push(FieldError::required(path, "must contain at least 1 address"));
        }
        for (at, text) in addresses.into_iter().enumerate() {
            if let Some(detail) = unusable(text) {
                errors.push(FieldError::invalid(
                    format!("endpoints[{index}].addresses[{at}]"),
                    text,
                    detail,
                ));
            }
        }
    }
    errors
}

/// Why no traffic can go to an address.
fn unusable(text: &str) -> Option<&'static str> {
    match text.parse::<IpAddr>().ok()? {
        address if address.is_unspecified() => Some("may not be unspecified (0.0.0.0 or ::)"),
        address if address.is_loopback() => Some("may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        IpAddr::V4(address) if address.is_link_local() => {
            Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
        }
        _ => None,
    }
}
