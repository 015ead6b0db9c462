//! The kinds of objects that the controller reads and writes, and how one object is named.

use std::fmt;

use kube::api::ApiResource;

use crate::api::Canary;

/// A kind, as the API server serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version, such as `v1`.
    pub version: &'static str,
    /// Kind, such as `Deployment`.
    pub kind: &'static str,
    /// The name in a path, such as `deployments`.
    pub plural: &'static str,
}

impl Resource {
    /// `spec/core.md` 1.
    pub const CANARY: Self = Self::new("flagger.app", "v1beta1", "Canary", "canaries");
    /// `spec/core.md` 1.5.
    pub const METRIC_TEMPLATE: Self = Self::new("flagger.app", "v1beta1", "MetricTemplate", "metrictemplates");
    /// `spec/core.md` 1.6.
    pub const ALERT_PROVIDER: Self = Self::new("flagger.app", "v1beta1", "AlertProvider", "alertproviders");
    /// Targets and primaries.
    pub const DEPLOYMENT: Self = Self::new("apps", "v1", "Deployment", "deployments");
    /// The store of revisions.
    pub const REVISION: Self = Self::new("apps", "v1", "ControllerRevision", "controllerrevisions");
    /// Apex, primary and canary Services.
    pub const SERVICE: Self = Self::new("", "v1", "Service", "services");
    /// Ready pods of a Service.
    pub const ENDPOINT_SLICE: Self = Self::new("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
    /// The scaler of a target, and the primary's copy of it. Watched from when some Canary names one.
    pub const SCALER: Self = Self::new(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    );

    /// Configurations; watched as metadata, and only where they are followed.
    pub const CONFIG_MAP: Self = Self::new("", "v1", "ConfigMap", "configmaps");
    /// The same with secret values.
    pub const SECRET: Self = Self::new("", "v1", "Secret", "secrets");

    /// What a Deployment is made of; listed when they do not come up, never watched.
    pub const POD: Self = Self::new("", "v1", "Pod", "pods");

    /// The kinds whose content no cache keeps.
    pub const CONFIGS: [Self; 2] = [Self::CONFIG_MAP, Self::SECRET];

    /// Every kind that is watched whatever the provider, the Canary first.
    pub const ALWAYS: [Self; 7] = [
        Self::CANARY,
        Self::METRIC_TEMPLATE,
        Self::ALERT_PROVIDER,
        Self::DEPLOYMENT,
        Self::SERVICE,
        Self::ENDPOINT_SLICE,
        Self::REVISION,
    ];

    /// A kind from its four names.
    pub const fn new(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
        }
    }

    /// `apps/v1`, or `v1` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// For `kube`'s dynamic types.
    pub fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version: self.api_version(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }

    /// The path of its objects in a namespace, or of all where the namespace is empty.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let version = self.api_version();
        if namespace.is_empty() {
            format!("{root}/{version}/{}", self.plural)
        } else {
            format!("{root}/{version}/namespaces/{namespace}/{}", self.plural)
        }
    }

    /// `HTTPProxy.projectcontour.io/v1`: for people who have to install it.
    pub fn full_kind(&self) -> String {
        format!("{}.{}", self.kind, self.api_version())
    }
}

impl fmt::Display for Resource {
    /// `deployments.apps`: as a role names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural)?;
        if self.group.is_empty() {
            Ok(())
        } else {
            write!(f, ".{}", self.group)
        }
    }
}

/// One Canary, by place and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanaryKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl CanaryKey {
    /// A key of these two names.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of a Canary.
    pub fn of(canary: &Canary) -> Self {
        let meta = &canary.metadata;
        Self::new(
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        )
    }

    /// The Canary itself as an object.
    pub fn object(&self) -> ObjectKey {
        ObjectKey::new(Resource::CANARY, &self.namespace, &self.name)
    }
}

impl fmt::Display for CanaryKey {
    /// As Flagger writes names, in the log as in Events: `<name>.<namespace>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

/// One object, by kind, place and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// A key of these names.
    pub fn new(resource: Resource, namespace: &str, name: &str) -> Self {
        Self {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectKey {
    /// `HTTPRoute podinfo`: as messages name it, next to the Canary's namespace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_group() {
        assert_eq!(Resource::SERVICE.path("test"), "/api/v1/namespaces/test/services");
        assert_eq!(Resource::DEPLOYMENT.path(""), "/apis/apps/v1/deployments");
        assert_eq!(Resource::CANARY.to_string(), "canaries.flagger.app");
        assert_eq!(Resource::SERVICE.to_string(), "services");
    }
}
