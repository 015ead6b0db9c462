//! The `EndpointSlice` controller: which pods stand behind a Service, and which of them may get traffic.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod, Service, ServicePort},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    deployment::{owner, value},
    pod::{is_finished, is_ready},
    write::{Kind, Place, What, Write},
};

/// The label by which a slice names its Service.
pub(super) const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Whether a Service selects the pod with this metadata.
pub(super) fn selects(service: &Service, pod: &ObjectMeta) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let labels = pod.labels.as_ref();
    service.metadata.namespace == pod.namespace
        && selector.is_some_and(|selector| {
            !selector.is_empty()
                && selector
                    .iter()
                    .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        })
}

/// The writes that make the slices of a Service show these pods, all of its namespace.
pub(super) fn plan(service: &Service, pods: &[Arc<Pod>], has: &[Arc<EndpointSlice>], size: usize) -> Vec<Write> {
    if service.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let selected: Vec<_> = pods.iter().filter(|pod| selects(service, &pod.metadata)).collect();
    let mut endpoints: Vec<_> = selected.iter().filter_map(|pod| endpoint(pod)).collect();
    endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
    let ports = ports(service, selected.first().map(std::convert::AsRef::as_ref));
    let has_selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref())
        .is_some_and(|it| !it.is_empty());
    let mut chunks: Vec<&[Endpoint]> = endpoints.chunks(size.max(1)).collect();
    if chunks.is_empty() && has_selector {
        chunks.push(&[]);
    }
    let mut left: BTreeMap<&str, &Arc<EndpointSlice>> = has
        .iter()
        .filter_map(|slice| Some((slice.metadata.name.as_deref()?, slice)))
        .collect();
    let mut writes = Vec::new();
    for (index, chunk) in chunks.into_iter().enumerate() {
        let wanted = slice(service, index, chunk, &ports);
        let name = wanted.metadata.name.clone().unwrap_or_default();
        let on = Place::new(
            Kind::EndpointSlice,
            wanted.metadata.namespace.as_deref().unwrap_or_default(),
            &name,
        );
        match left.remove(name.as_str()) {
            None => writes.push(Write {
                on,
                what: What::Create(value(&wanted)),
            }),
            Some(has) if has.endpoints.as_deref().unwrap_or_default() == chunk && has.ports == wanted.ports => {}
            Some(_) => {
                let body = serde_json::json!({ "endpoints": chunk, "ports": wanted.ports });
                writes.push(Write {
                    on,
                    what: What::Merge(body),
                });
            }
        }
    }
    writes.extend(left.into_values().map(|slice| {
        let meta = &slice.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        let on = Place::new(Kind::EndpointSlice, meta.namespace.as_deref().unwrap_or_default(), name);
        Write {
            on,
            what: What::Delete {
                uid: meta.uid.clone().unwrap_or_default(),
                grace: None,
            },
        }
    }));
    writes
}

/// A pod as an endpoint, as soon as it has an address. A pod that is being deleted still serves, but gets nothing new.
fn endpoint(pod: &Pod) -> Option<Endpoint> {
    let address = pod.status.as_ref()?.pod_ip.clone()?;
    if is_finished(pod) {
        return None;
    }
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = is_ready(pod);
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        ..Endpoint::default()
    })
}

fn slice(service: &Service, index: usize, endpoints: &[Endpoint], ports: &[EndpointPort]) -> EndpointSlice {
    let name = service.metadata.name.clone().unwrap_or_default();
    EndpointSlice {
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints.to_vec()),
        ports: Some(ports.to_vec()),
        metadata: ObjectMeta {
            name: Some(format!("{name}-slice{index}")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(BTreeMap::from([
                (SERVICE_LABEL.to_owned(), name),
                (MANAGED_BY.to_owned(), MANAGER.to_owned()),
            ])),
            owner_references: Some(vec![owner("v1", "Service", &service.metadata)]),
            ..ObjectMeta::default()
        },
    }
}

fn ports(service: &Service, pod: Option<&Pod>) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    ports
        .into_iter()
        .flatten()
        .map(|port| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: target(port, pod),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
        .collect()
}

/// The number that a Service port leads to: its `targetPort`, by name in the pod's containers, else the port itself.
fn target(port: &ServicePort, pod: Option<&Pod>) -> Option<i32> {
    match port.target_port.as_ref() {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => pod?
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .flat_map(|container| container.ports.iter().flatten())
            .find(|port| port.name.as_ref() == Some(name))
            .map(|port| port.container_port),
    }
}
