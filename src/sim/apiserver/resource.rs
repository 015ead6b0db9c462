//! What the server serves: one [`Resource`] for each kind and version, and the table of the built-in ones.
//!
//! The columns are the rules in which Kubernetes kinds differ: what bumps `metadata.generation`, who may create by PUT,
//! whether a PUT needs a resourceVersion, and what a delete answers.

use std::sync::{Arc, LazyLock};

use k8s_openapi::{
    api::{
        apps::v1 as apps, authorization::v1 as authorization, autoscaling::v2 as autoscaling,
        coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
};

use serde_json::Value;

use super::schema::{Schema, builtin};

/// Which changes of the main resource move `metadata.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    /// The kind has none.
    Never,
    /// A change of `spec`.
    Spec,
    /// A change of `spec` or of an annotation (Deployments).
    SpecOrAnnotations,
    /// A change of anything but metadata, and but `status` where that is a subresource (custom resources).
    Content,
    /// A change of anything but metadata, or of a label (`EndpointSlice`).
    ContentOrLabels,
}

/// Where a `scale` subresource finds its numbers, as dotted paths from the object's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScalePaths {
    pub(super) spec_replicas: String,
    pub(super) status_replicas: String,
    /// Path of the selector; a text for custom resources, a `LabelSelector` for built-in ones.
    pub(super) selector: Option<String>,
}

/// One kind in one version.
#[allow(
    clippy::struct_excessive_bools,
    reason = "a row of a table of independent yes-or-no rules"
)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) singular: String,
    pub(super) short_names: Vec<String>,
    pub(super) namespaced: bool,
    /// Defined by a custom resource definition.
    pub(super) custom: bool,
    /// Whether `status` is a subresource.
    pub(super) status: bool,
    pub(super) scale: Option<ScalePaths>,
    pub(super) generation: Generation,
    /// Whether a PUT of an absent object creates it.
    pub(super) create_on_update: bool,
    /// Whether a PUT may leave the resourceVersion out.
    pub(super) unconditional_update: bool,
    /// Whether a delete answers with the object instead of a Status.
    pub(super) returns_deleted: bool,
    /// The `apiVersion` that objects are stored with.
    pub(super) storage_version: String,
    /// The key of the table that holds the objects of all versions.
    pub(super) storage: Arc<str>,
    /// The `OpenAPI` schema of a custom resource, for validation; null for built-in kinds.
    pub(super) openapi: Value,
    schema: LazyLock<Arc<Schema>, Box<dyn FnOnce() -> Arc<Schema> + Send>>,
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.api_version(), self.plural)
    }
}

impl Resource {
    /// `deployments.apps`, or the plural alone for the core group.
    pub(super) fn qualified(&self) -> &str {
        &self.storage
    }

    pub(super) fn api_version(&self) -> String {
        join_group(&self.group, &self.version)
    }

    pub(super) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    pub(super) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// A custom resource with the schema of its version.
    #[allow(clippy::too_many_arguments, reason = "the names of a CRD's version, given once")]
    pub(super) fn from_crd(
        names: CrdNames,
        version: &str,
        storage_version: &str,
        status: bool,
        scale: Option<ScalePaths>,
        openapi: Value,
        schema: Arc<Schema>,
    ) -> Self {
        Self {
            storage: format!("{}.{}", names.plural, names.group).into(),
            storage_version: join_group(&names.group, storage_version),
            group: names.group,
            version: version.to_owned(),
            kind: names.kind,
            plural: names.plural,
            singular: names.singular,
            short_names: names.short_names,
            namespaced: names.namespaced,
            custom: true,
            status,
            scale,
            generation: Generation::Content,
            create_on_update: false,
            unconditional_update: false,
            returns_deleted: false,
            openapi,
            schema: LazyLock::new(Box::new(move || schema)),
        }
    }
}

/// The names that a custom resource definition gives its kind.
#[derive(Clone, Debug)]
pub(super) struct CrdNames {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) singular: String,
    pub(super) short_names: Vec<String>,
    pub(super) namespaced: bool,
}

/// `apps/v1`, or `v1` for the core group.
pub(super) fn join_group(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The built-in resources; parsed once for all servers of a process.
pub(super) static BUILT_IN: LazyLock<Vec<Arc<Resource>>> = LazyLock::new(|| {
    let workload = Rules {
        status: true,
        scale: true,
        generation: Generation::Spec,
        ..Rules::default()
    };
    let returned = Rules {
        returns_deleted: true,
        ..Rules::default()
    };
    let status = Rules {
        status: true,
        ..Rules::default()
    };
    vec![
        resource::<core::Namespace>(
            &["ns"],
            Rules {
                status: true,
                ..returned
            },
        ),
        resource::<core::Pod>(
            &["po"],
            Rules {
                status: true,
                generation: Generation::Spec,
                ..returned
            },
        ),
        resource::<core::Service>(
            &["svc"],
            Rules {
                status: true,
                create_on_update: true,
                ..returned
            },
        ),
        resource::<core::ConfigMap>(&["cm"], Rules::default()),
        resource::<core::Secret>(&[], Rules::default()),
        resource::<core::Event>(
            &["ev"],
            Rules {
                create_on_update: true,
                ..Rules::default()
            },
        ),
        resource::<core::Node>(&["no"], status),
        resource::<core::ServiceAccount>(&["sa"], returned),
        resource::<apps::Deployment>(
            &["deploy"],
            Rules {
                generation: Generation::SpecOrAnnotations,
                ..workload
            },
        ),
        resource::<apps::ReplicaSet>(&["rs"], workload),
        resource::<apps::DaemonSet>(
            &["ds"],
            Rules {
                scale: false,
                ..workload
            },
        ),
        resource::<apps::ControllerRevision>(&[], Rules::default()),
        resource::<autoscaling::HorizontalPodAutoscaler>(&["hpa"], status),
        resource::<coordination::Lease>(
            &[],
            Rules {
                create_on_update: true,
                unconditional_update: false,
                ..Rules::default()
            },
        ),
        resource::<discovery::EndpointSlice>(
            &[],
            Rules {
                generation: Generation::ContentOrLabels,
                ..Rules::default()
            },
        ),
        resource::<apiextensions::CustomResourceDefinition>(
            &["crd", "crds"],
            Rules {
                status: true,
                generation: Generation::Spec,
                unconditional_update: false,
                ..Rules::default()
            },
        ),
    ]
    .into_iter()
    .map(Arc::new)
    .collect()
});

/// The reviews of one's own rights: answered, never stored.
pub(super) static REVIEWS: LazyLock<Vec<Arc<Resource>>> = LazyLock::new(|| {
    vec![
        Arc::new(resource::<authorization::SelfSubjectAccessReview>(
            &[],
            Rules::default(),
        )),
        Arc::new(resource::<authorization::SelfSubjectRulesReview>(&[], Rules::default())),
    ]
});

#[derive(Clone, Copy)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a row of a table of independent yes-or-no rules"
)]
struct Rules {
    status: bool,
    scale: bool,
    generation: Generation,
    create_on_update: bool,
    unconditional_update: bool,
    returns_deleted: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            status: false,
            scale: false,
            generation: Generation::Never,
            create_on_update: false,
            unconditional_update: true,
            returns_deleted: false,
        }
    }
}

fn resource<K>(short_names: &[&str], rules: Rules) -> Resource
where
    K: k8s_openapi::Resource + schemars::JsonSchema,
    K::Scope: ScopeName,
{
    let plural = K::URL_PATH_SEGMENT.to_owned();
    let scale = rules.scale.then(|| ScalePaths {
        spec_replicas: "spec.replicas".into(),
        status_replicas: "status.replicas".into(),
        selector: Some("spec.selector".into()),
    });
    Resource {
        storage: if K::GROUP.is_empty() {
            plural.clone()
        } else {
            format!("{plural}.{}", K::GROUP)
        }
        .into(),
        storage_version: K::API_VERSION.to_owned(),
        group: K::GROUP.to_owned(),
        version: K::VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        singular: K::KIND.to_lowercase(),
        plural,
        short_names: short_names.iter().map(ToString::to_string).collect(),
        namespaced: K::Scope::NAMESPACED,
        custom: false,
        status: rules.status,
        scale,
        generation: rules.generation,
        create_on_update: rules.create_on_update,
        unconditional_update: rules.unconditional_update,
        returns_deleted: rules.returns_deleted,
        openapi: Value::Null,
        schema: LazyLock::new(Box::new(|| builtin::<K>())),
    }
}

/// Whether a scope of k8s-openapi has namespaces.
trait ScopeName {
    const NAMESPACED: bool;
}

impl ScopeName for k8s_openapi::NamespaceResourceScope {
    const NAMESPACED: bool = true;
}

impl ScopeName for k8s_openapi::ClusterResourceScope {
    const NAMESPACED: bool = false;
}
