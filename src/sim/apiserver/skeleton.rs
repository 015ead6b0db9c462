//! What an empty object of a built-in kind looks like on the wire.
//!
//! The real server compares a new object with the zero value of its Go type, whose structs are there even when they are
//! empty. So nobody owns `spec` itself, and the fields below are what a create adds.

use serde_json::{Value, json};

use super::resource::Resource;

/// The empty object of a kind.
pub(super) fn of(resource: &Resource) -> Value {
    let template = || json!({"metadata": {}, "spec": {"containers": null}});
    let mut body = match resource.qualified() {
        "deployments.apps" => json!({
            "spec": {"selector": null, "strategy": {}, "template": template()},
            "status": {},
        }),
        "replicasets.apps" => json!({"spec": {"selector": null, "template": template()}, "status": {"replicas": 0}}),
        "daemonsets.apps" => json!({
            "spec": {"selector": null, "template": template(), "updateStrategy": {}},
            "status": {
                "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
            },
        }),
        "controllerrevisions.apps" => json!({"data": null, "revision": 0}),
        "services" => json!({"spec": {}, "status": {"loadBalancer": {}}}),
        "pods" => json!({"spec": {"containers": null}, "status": {}}),
        "namespaces" => json!({"spec": {}, "status": {}}),
        "selfsubjectaccessreviews.authorization.k8s.io" | "selfsubjectrulesreviews.authorization.k8s.io" => {
            json!({"spec": {}, "status": {"allowed": false}})
        }
        "leases.coordination.k8s.io" => json!({"spec": {}}),
        "nodes" => json!({"spec": {}, "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": {}}}),
        "events" => json!({
            "involvedObject": {}, "source": {}, "firstTimestamp": null, "lastTimestamp": null, "eventTime": null,
            "reportingComponent": "", "reportingInstance": "",
        }),
        "endpointslices.discovery.k8s.io" => json!({"addressType": "", "endpoints": null, "ports": null}),
        "horizontalpodautoscalers.autoscaling" => json!({
            "spec": {"scaleTargetRef": {"kind": "", "name": ""}, "maxReplicas": 0},
            "status": {"desiredReplicas": 0, "currentMetrics": null},
        }),
        "customresourcedefinitions.apiextensions.k8s.io" => json!({
            "spec": {"group": "", "names": {"plural": "", "kind": ""}, "scope": "", "versions": null},
            "status": {"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": null},
        }),
        _ => json!({}),
    };
    if !resource.custom {
        body["metadata"] = json!({});
    }
    body
}
