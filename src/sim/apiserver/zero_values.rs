//! Which fields of built-in kinds vanish when they hold their zero value.
//!
//! The real server reads an object into a Go struct and writes it back, and a field marked `omitempty` that is not a
//! pointer is not written when it is empty, zero or false. Lists and maps always follow that rule, texts nearly always.

use super::schema::{Scalar, Shape};

/// Optional texts that are pointers, so that an empty one stays.
const POINTER_TEXTS: &[&str] = &[
    "autoscaling.v2.HPAScalingRules.selectPolicy",
    "coordination.v1.LeaseSpec.holderIdentity",
    "coordination.v1.LeaseSpec.preferredHolder",
    "coordination.v1.LeaseSpec.strategy",
    "core.v1.CSIVolumeSource.fsType",
    "core.v1.Container.restartPolicy",
    "core.v1.HostPathVolumeSource.type",
    "core.v1.PodDNSConfigOption.value",
    "core.v1.PodSpec.hostnameOverride",
    "core.v1.PodSpec.preemptionPolicy",
    "core.v1.PodSpec.runtimeClassName",
    "core.v1.PersistentVolumeClaimSpec.storageClassName",
    "core.v1.ServicePort.appProtocol",
    "core.v1.ServiceSpec.internalTrafficPolicy",
    "core.v1.ServiceSpec.ipFamilyPolicy",
    "core.v1.ServiceSpec.loadBalancerClass",
    "core.v1.ServiceSpec.trafficDistribution",
    "core.v1.VolumeMount.mountPropagation",
    "core.v1.VolumeMount.recursiveReadOnly",
    "discovery.v1.Endpoint.hostname",
    "discovery.v1.Endpoint.nodeName",
    "discovery.v1.Endpoint.zone",
    "discovery.v1.EndpointPort.appProtocol",
    "discovery.v1.EndpointPort.name",
    "discovery.v1.EndpointPort.protocol",
];

/// Numbers and flags that are no pointers, so that zero and false go.
const PLAIN_SCALARS: &[&str] = &[
    "apps.v1.DaemonSetSpec.minReadySeconds",
    "apps.v1.DaemonSetStatus.numberAvailable",
    "apps.v1.DaemonSetStatus.numberUnavailable",
    "apps.v1.DaemonSetStatus.observedGeneration",
    "apps.v1.DaemonSetStatus.updatedNumberScheduled",
    "apps.v1.DeploymentSpec.minReadySeconds",
    "apps.v1.DeploymentSpec.paused",
    "apps.v1.DeploymentStatus.availableReplicas",
    "apps.v1.DeploymentStatus.observedGeneration",
    "apps.v1.DeploymentStatus.readyReplicas",
    "apps.v1.DeploymentStatus.replicas",
    "apps.v1.DeploymentStatus.unavailableReplicas",
    "apps.v1.DeploymentStatus.updatedReplicas",
    "apps.v1.ReplicaSetSpec.minReadySeconds",
    "apps.v1.ReplicaSetStatus.availableReplicas",
    "apps.v1.ReplicaSetStatus.fullyLabeledReplicas",
    "apps.v1.ReplicaSetStatus.observedGeneration",
    "apps.v1.ReplicaSetStatus.readyReplicas",
    "autoscaling.v2.HorizontalPodAutoscalerStatus.currentReplicas",
    "core.v1.Container.stdin",
    "core.v1.Container.stdinOnce",
    "core.v1.Container.tty",
    "core.v1.ContainerPort.hostPort",
    "core.v1.ContainerStateTerminated.signal",
    "core.v1.Event.count",
    "core.v1.NodeSpec.unschedulable",
    "core.v1.PersistentVolumeClaimVolumeSource.readOnly",
    "core.v1.PodCondition.observedGeneration",
    "core.v1.PodSpec.hostIPC",
    "core.v1.PodSpec.hostNetwork",
    "core.v1.PodSpec.hostPID",
    "core.v1.PodStatus.observedGeneration",
    "core.v1.Probe.failureThreshold",
    "core.v1.Probe.initialDelaySeconds",
    "core.v1.Probe.periodSeconds",
    "core.v1.Probe.successThreshold",
    "core.v1.Probe.timeoutSeconds",
    "core.v1.ServicePort.nodePort",
    "core.v1.ServiceSpec.healthCheckNodePort",
    "core.v1.ServiceSpec.publishNotReadyAddresses",
    "core.v1.VolumeMount.readOnly",
];

/// Whether an optional field is left out when it is zero; `owner` is the definition's name, as `core.v1.PodSpec`.
pub(super) fn vanishes(owner: &str, field: &str, shape: &Shape) -> bool {
    let named = |table: &[&str]| {
        table.iter().any(|entry| {
            entry
                .strip_prefix(owner)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|name| name == field)
        })
    };
    match shape {
        Shape::List(_) => true,
        Shape::Object(object) => object.fields.is_empty() && object.values.is_some(),
        Shape::Scalar(Scalar::Text) => !named(POINTER_TEXTS),
        Shape::Scalar(Scalar::Integer | Scalar::Boolean) => named(PLAIN_SCALARS),
        Shape::Scalar(_) | Shape::Any => false,
    }
}
