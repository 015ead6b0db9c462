//! What Serin must be allowed to do: one table. The start-up guard asks the API server about each line of it, and
//! `serin rbac` prints it as a `ClusterRole`.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Client;
use kube::api::{Api, PostParams};

use super::leader::LEASE_NAME;
use super::settings::{Election, Settings};
use crate::routing::ROUTERS;
use crate::workload::companions::{COMPANIONS, Companion};

/// Access reviews under way at the same time.
const REVIEWS_AT_ONCE: usize = 8;

/// Some verbs on one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural, with the subresource where it is one, such as `canaries/status`.
    pub resource: &'static str,
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// Where it is needed.
    pub place: Place,
    /// What cannot be done without it; `None`: nothing at all can.
    pub only_for: Option<&'static str>,
    /// The flag that makes it necessary, and that can be turned off.
    pub flag: Option<Flag>,
}

/// A flag that takes rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Its name.
    pub name: &'static str,
    /// The value of the chart that sets it.
    pub value: &'static str,
}

/// Where a right is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In each namespace that is watched.
    Watched,
    /// For objects that have no namespace.
    Cluster,
    /// In the namespace of the Lease.
    Lease,
}

const READ: &[&str] = &["get", "list", "watch"];
const DRAW: &[&str] = &["get", "list", "watch", "create", "patch"];
const KEEP: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// What a Canary leaves that names another target, Service or provider than before.
const MOVED: &str = "taking away what a Canary that changed its names needs no more";

/// What is needed whatever the traffic provider.
const FIXED: &[Right] = &[
    Right::new("flagger.app", "canaries", &["get", "list", "watch", "patch"]),
    Right::new("flagger.app", "canaries/status", &["update"]),
    // Where OwnerReferencesPermissionEnforcement is on, owning objects takes this.
    Right::new("flagger.app", "canaries/finalizers", &["update"]),
    Right::new("flagger.app", "metrictemplates", READ),
    Right::new("flagger.app", "alertproviders", READ),
    Right::new("apps", "deployments", DRAW),
    Right::new("apps", "controllerrevisions", KEEP),
    Right::new("", "services", DRAW),
    Right::new("apps", "deployments", &["delete"]).only_for(MOVED),
    Right::new("", "services", &["delete"]).only_for(MOVED),
    Right::new("autoscaling", "horizontalpodautoscalers", KEEP).only_for("Canaries with spec.autoscalerRef"),
    Right::new("discovery.k8s.io", "endpointslices", READ),
    Right::new("", "events", &["get", "create"]),
    Right::new("", "pods", &["list"]).only_for("saying why pods do not come up"),
    Right::new("", "secrets", &["get"]).only_for("metric templates and alert providers with a secretRef"),
    Right::new("", "namespaces", &["get"])
        .at(Place::Cluster)
        .only_for("namespaces that are being deleted"),
    Right::new("apiextensions.k8s.io", "customresourcedefinitions", &["get"]).at(Place::Cluster),
    Right::new("coordination.k8s.io", "leases", &["get", "create", "update"]).at(Place::Lease),
];

/// What names objects that pick the target's pods and will not pick the primary's.
const PREFLIGHT: &str = "naming what does not follow to a primary before a takeover";

/// What follows configurations.
const TRACKING: Flag = Flag {
    name: "-enable-config-tracking",
    value: "configTracking.enabled",
};

/// What is needed where configurations are followed.
const CONFIGS: &[Right] = &[
    Right::new("", "configmaps", KEEP).taken_by(TRACKING),
    Right::new("", "secrets", KEEP).taken_by(TRACKING),
];

impl Right {
    const fn new(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Self {
        Self {
            group,
            resource,
            verbs,
            place: Place::Watched,
            only_for: None,
            flag: None,
        }
    }

    const fn taken_by(mut self, flag: Flag) -> Self {
        self.flag = Some(flag);
        self
    }

    const fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    const fn only_for(mut self, what: &'static str) -> Self {
        self.only_for = Some(what);
        self
    }

    /// `deployments.apps`, as people name it.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

/// Every right that a process with these settings needs.
pub fn needed(settings: &Settings) -> Vec<Right> {
    let wanted = |right: &&Right| match right.place {
        Place::Watched | Place::Cluster => true,
        Place::Lease => matches!(settings.election, Election::Lease { .. }),
    };
    // Who may work in one namespace is often given nothing outside it, and can do without.
    let only_for = |right: Right| match (right.place, &settings.namespace) {
        (Place::Cluster, Some(_)) => Right {
            only_for: right.only_for.or(Some("checking the CRDs before the first release")),
            ..right
        },
        _ => right,
    };
    let mut rights: Vec<Right> = FIXED.iter().filter(wanted).copied().map(only_for).collect();
    if settings.config_tracking {
        rights.extend(CONFIGS);
    }
    // What is watched anyway is among the others.
    let read = |companion: &&Companion| {
        let is_it = |right: &Right| (right.group, right.resource) == (companion.group, companion.plural);
        rights.iter().any(|right| is_it(right) && right.verbs.contains(&"list"))
    };
    let missing: Vec<&Companion> = COMPANIONS.iter().filter(|companion| !read(companion)).collect();
    rights.extend(
        missing
            .into_iter()
            .map(|companion| Right::new(companion.group, companion.plural, &["list"]).only_for(PREFLIGHT)),
    );
    for router in ROUTERS {
        let meta = router.meta();
        let only_for = meta.ids.first().map(|id| id.text());
        let is_default = meta.ids.iter().any(|id| id.names(&settings.mesh_provider));
        for rule in meta.rbac {
            rights.extend(rule.resources.iter().map(|resource| Right {
                only_for: only_for.filter(|_| !is_default),
                ..Right::new(rule.group, resource, rule.verbs)
            }));
        }
    }
    rights
}

/// Every right as the rules of a `ClusterRole`: with leader election, whatever the default provider.
pub fn rules() -> Vec<PolicyRule> {
    let settings = Settings {
        election: Election::Lease {
            namespace: String::new(),
        },
        ..Settings::default()
    };
    let mut rules: BTreeMap<(&str, &[&str]), Vec<String>> = BTreeMap::new();
    for right in needed(&settings) {
        rules
            .entry((right.group, right.verbs))
            .or_default()
            .push(right.resource.to_owned());
    }
    let rule = |((group, verbs), resources): ((&str, &[&str]), _)| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(resources),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    rules.into_iter().map(rule).collect()
}

/// A right that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The right, with those of its verbs that are not granted.
    pub right: Right,
    /// The verbs that are not granted.
    pub verbs: Vec<&'static str>,
}

/// Asks the API server which of the rights are missing.
///
/// # Errors
/// The API server does not say.
pub async fn missing(client: &Client, settings: &Settings) -> kube::Result<Vec<Missing>> {
    let mut reviews = Vec::new();
    for right in needed(settings) {
        for verb in right.verbs {
            reviews.push(granted(client.clone(), settings, right, verb));
        }
    }
    let answers: Vec<kube::Result<(Right, &'static str, bool)>> =
        futures::stream::iter(reviews).buffered(REVIEWS_AT_ONCE).collect().await;
    let mut missing: Vec<Missing> = Vec::new();
    for answer in answers {
        let (right, verb, granted) = answer?;
        if granted {
            continue;
        }
        match missing.iter_mut().find(|missing| missing.right == right) {
            Some(known) => known.verbs.push(verb),
            None => missing.push(Missing {
                right,
                verbs: vec![verb],
            }),
        }
    }
    Ok(missing)
}

async fn granted(
    client: Client,
    settings: &Settings,
    right: Right,
    verb: &'static str,
) -> kube::Result<(Right, &'static str, bool)> {
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
    let namespace = match (right.place, &settings.election) {
        (Place::Watched, _) => settings.namespace.clone(),
        (Place::Lease, Election::Lease { namespace }) => Some(namespace.clone()),
        (Place::Cluster | Place::Lease, _) => None,
    };
    // A role may be limited to the one Lease, except for its creation, which has no name yet.
    let named = right.place == Place::Lease && verb != "create";
    let attributes = ResourceAttributes {
        group: Some(right.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()).filter(|it| !it.is_empty()),
        verb: Some(verb.to_owned()),
        name: named.then(|| LEASE_NAME.to_owned()),
        namespace,
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..Default::default()
        },
        ..Default::default()
    };
    let answer = Api::<SelfSubjectAccessReview>::all(client)
        .create(&PostParams::default(), &review)
        .await?;
    Ok((right, verb, answer.status.is_some_and(|status| status.allowed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_watched_may_be_read() {
        let rights = needed(&Settings::default());
        for (group, _, plural, _) in crate::controller::watched() {
            let right = rights
                .iter()
                .find(|right| right.group == group && right.resource == plural);
            let verbs = right.map(|right| right.verbs).unwrap_or_default();
            assert!(
                READ.iter().all(|verb| verbs.contains(verb)),
                "{plural}.{group}: {verbs:?}"
            );
        }
    }

    #[test]
    fn no_secret_is_listed_or_written_where_configurations_are_not_followed() {
        let verbs = |config_tracking| {
            let settings = Settings {
                config_tracking,
                ..Settings::default()
            };
            let rights = needed(&settings).into_iter();
            let mut verbs: Vec<_> = rights
                .filter(|it| it.resource == "secrets")
                .flat_map(|it| it.verbs)
                .collect();
            verbs.dedup();
            verbs
        };
        assert_eq!(verbs(false), [&"get"]);
        assert_eq!(
            verbs(true),
            ["get", "list", "watch", "create", "patch", "delete"]
                .iter()
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn no_lease_is_needed_without_an_election() {
        let leases = |election| {
            let settings = Settings {
                election,
                ..Settings::default()
            };
            needed(&settings).iter().any(|right| right.resource == "leases")
        };
        assert!(!leases(Election::Off));
        assert!(leases(Election::Lease { namespace: "x".into() }));
    }
}
