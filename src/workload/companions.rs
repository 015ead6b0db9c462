//! What else picks the target's pods by their labels, and will not pick the primary's (rank 39 of `spec/users.md`).
//!
//! The primary's pods differ from the target's in one label. A budget, a policy or a Service that names the old value goes on
//! selecting the target, which has no pods between releases, so production is without it as soon as the primary serves.

use serde_json::{Map, Value};

use crate::object::{list, text};

/// A kind of object that picks pods or a Deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Companion {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// The name in a path.
    pub plural: &'static str,
    by: By,
    reach: Reach,
    /// What is the matter when it picks the target alone.
    consequence: &'static str,
}

/// How it picks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// A `LabelSelector` at this pointer; none there picks nothing.
    Selector(&'static str),
    /// A plain map of labels at this pointer; none there, or an empty one, picks nothing.
    Labels(&'static str),
    /// The name of a Deployment at this pointer, whose kind stands beside it.
    Name(&'static str),
    /// A `LabelSelector` at this pointer, of Services.
    Services(&'static str),
}

/// Whose pods it may pick, beside those of its own namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Nobody's.
    Own,
    /// It picks its own, but its rules may name pods of other namespaces.
    Peers,
    /// Those of the namespaces that `/spec/namespaceSelector` names, instead of its own (API reference of the Prometheus Operator).
    Named,
}

/// The kinds that are looked at.
pub const COMPANIONS: &[Companion] = &[
    Companion {
        group: "",
        version: "v1",
        kind: "Service",
        plural: "services",
        by: By::Labels("/spec/selector"),
        reach: Reach::Own,
        consequence: "sends its requests to no pod while no release is under way",
    },
    Companion {
        group: "policy",
        version: "v1",
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        by: By::Selector("/spec/selector"),
        reach: Reach::Own,
        consequence: "does not protect the primary's pods",
    },
    Companion {
        group: "networking.k8s.io",
        version: "v1",
        kind: "NetworkPolicy",
        plural: "networkpolicies",
        by: By::Selector("/spec/podSelector"),
        reach: Reach::Peers,
        consequence: "does not govern the primary's pods",
    },
    Companion {
        group: "monitoring.coreos.com",
        version: "v1",
        kind: "PodMonitor",
        plural: "podmonitors",
        by: By::Selector("/spec/selector"),
        reach: Reach::Named,
        consequence: "does not scrape the primary's pods",
    },
    Companion {
        group: "monitoring.coreos.com",
        version: "v1",
        kind: "ServiceMonitor",
        plural: "servicemonitors",
        by: By::Services("/spec/selector"),
        reach: Reach::Named,
        consequence: "does not scrape the primary's pods",
    },
    Companion {
        group: "security.istio.io",
        version: "v1",
        kind: "AuthorizationPolicy",
        plural: "authorizationpolicies",
        by: By::Selector("/spec/selector"),
        reach: Reach::Own,
        consequence: "does not govern the primary's pods",
    },
    Companion {
        group: "security.istio.io",
        version: "v1",
        kind: "PeerAuthentication",
        plural: "peerauthentications",
        by: By::Selector("/spec/selector"),
        reach: Reach::Own,
        consequence: "does not govern the primary's pods",
    },
    Companion {
        group: "security.istio.io",
        version: "v1",
        kind: "RequestAuthentication",
        plural: "requestauthentications",
        by: By::Selector("/spec/selector"),
        reach: Reach::Own,
        consequence: "does not govern the primary's pods",
    },
    Companion {
        group: "networking.istio.io",
        version: "v1",
        kind: "Sidecar",
        plural: "sidecars",
        by: By::Labels("/spec/workloadSelector/labels"),
        reach: Reach::Own,
        consequence: "does not configure the primary's pods",
    },
    Companion {
        group: "cilium.io",
        version: "v2",
        kind: "CiliumNetworkPolicy",
        plural: "ciliumnetworkpolicies",
        by: By::Selector("/spec/endpointSelector"),
        reach: Reach::Own,
        consequence: "does not govern the primary's pods",
    },
    Companion {
        group: "autoscaling",
        version: "v2",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
        by: By::Name("/spec/scaleTargetRef"),
        reach: Reach::Own,
        consequence: "does not scale the primary; name it in spec.autoscalerRef",
    },
    Companion {
        group: "keda.sh",
        version: "v1alpha1",
        kind: "ScaledObject",
        plural: "scaledobjects",
        by: By::Name("/spec/scaleTargetRef"),
        reach: Reach::Own,
        consequence: "does not scale the primary, and may keep the target from going to zero",
    },
    Companion {
        group: "autoscaling.k8s.io",
        version: "v1",
        kind: "VerticalPodAutoscaler",
        plural: "verticalpodautoscalers",
        by: By::Name("/spec/targetRef"),
        reach: Reach::Own,
        consequence: "does not size the primary's pods",
    },
];

impl Companion {
    /// Whether such an object of another namespace may be about these pods.
    pub fn is_far_reaching(&self) -> bool {
        self.reach != Reach::Own
    }
}

/// The pods and names that are told apart.
#[derive(Debug, Clone)]
pub struct Sides<'a> {
    /// The namespace of all pods.
    pub namespace: &'a str,
    /// Its labels.
    pub namespace_labels: Map<String, Value>,
    /// Name of the target.
    pub target: &'a str,
    /// Labels of the target's pods.
    pub target_pods: Map<String, Value>,
    /// Labels of the primary's.
    pub primary_pods: Map<String, Value>,
    /// Labels of the Services that pick the target's pods and not the primary's.
    pub services: Vec<Map<String, Value>>,
    /// Objects that Serin sees to: kind and name.
    pub known: Vec<(&'static str, String)>,
}

/// The members of a workload's pod labels once its selector label has another value.
pub fn with_label(labels: &Map<String, Value>, key: &str, value: &str) -> Map<String, Value> {
    let mut labels = labels.clone();
    labels.insert(key.to_owned(), value.into());
    labels
}

/// The objects of a kind that pick the target and not the primary.
pub fn left_behind<'a>(
    companion: &'a Companion,
    objects: &'a [Value],
    sides: &'a Sides<'_>,
) -> impl Iterator<Item = &'a Value> {
    let known = |name: &str| {
        sides
            .known
            .iter()
            .any(|(kind, it)| *kind == companion.kind && it == name)
    };
    objects
        .iter()
        .filter(|object| picks_here(companion.reach, object, sides) && stays_behind(companion.by, object, sides))
        .filter(move |object| !known(text(object, "/metadata/name")))
}

/// What is the matter with the objects of a kind, in a sentence each.
pub fn findings(companion: &Companion, objects: &[Value], sides: &Sides<'_>) -> Vec<String> {
    let (kind, target) = (companion.kind, sides.target);
    let mut all: Vec<String> = left_behind(companion, objects, sides)
        .map(|object| {
            let name = name(object, sides);
            format!("{kind} {name} selects {target} only: it {}", companion.consequence)
        })
        .collect();
    if companion.reach == Reach::Peers {
        let policies = objects.iter().filter(|policy| lets_through(policy, sides));
        all.extend(policies.map(|policy| {
            let name = name(policy, sides);
            format!("{kind} {name} lets the pods of {target} through and not the primary's")
        }));
    }
    all
}

/// Its name, with its namespace where that is another one.
fn name(object: &Value, sides: &Sides<'_>) -> String {
    let (name, namespace) = (text(object, "/metadata/name"), text(object, "/metadata/namespace"));
    if namespace == sides.namespace {
        name.to_owned()
    } else {
        format!("{name}.{namespace}")
    }
}

/// Whether it picks pods of this namespace at all.
fn picks_here(reach: Reach, object: &Value, sides: &Sides<'_>) -> bool {
    let names = list(object, "/spec/namespaceSelector/matchNames");
    match reach {
        Reach::Named if object.pointer("/spec/namespaceSelector/any") == Some(&Value::Bool(true)) => true,
        Reach::Named if !names.is_empty() => names.iter().any(|name| name == sides.namespace),
        _ => text(object, "/metadata/namespace") == sides.namespace,
    }
}

fn stays_behind(by: By, object: &Value, sides: &Sides<'_>) -> bool {
    match by {
        By::Selector(pointer) => object.pointer(pointer).is_some_and(|it| picks_one(it, sides)),
        By::Labels(pointer) => object
            .pointer(pointer)
            .and_then(Value::as_object)
            .is_some_and(|it| !it.is_empty() && has(&sides.target_pods, it) && !has(&sides.primary_pods, it)),
        By::Name(pointer) => object.pointer(pointer).is_some_and(|it| {
            let kind = text(it, "/kind");
            text(it, "/name") == sides.target && (kind.is_empty() || kind == "Deployment")
        }),
        By::Services(pointer) => object
            .pointer(pointer)
            .is_some_and(|it| sides.services.iter().any(|labels| picks(it, labels))),
    }
}

/// Whether a rule of a policy names the target's pods as a peer, and not the primary's.
fn lets_through(policy: &Value, sides: &Sides<'_>) -> bool {
    [("/spec/ingress", "/from"), ("/spec/egress", "/to")]
        .into_iter()
        .flat_map(|(rules, peers)| list(policy, rules).iter().flat_map(move |rule| list(rule, peers)))
        .filter(|peer| match peer.get("namespaceSelector") {
            Some(selector) => picks(selector, &sides.namespace_labels),
            None => text(policy, "/metadata/namespace") == sides.namespace,
        })
        .filter_map(|peer| peer.get("podSelector"))
        .any(|selector| picks_one(selector, sides))
}

fn picks_one(selector: &Value, sides: &Sides<'_>) -> bool {
    picks(selector, &sides.target_pods) && !picks(selector, &sides.primary_pods)
}

/// Whether a `LabelSelector` picks these labels (its API reference). An expression that Kubernetes would refuse picks nothing.
fn picks(selector: &Value, labels: &Map<String, Value>) -> bool {
    let plain = selector.get("matchLabels").and_then(Value::as_object);
    plain.is_none_or(|wanted| has(labels, wanted))
        && list(selector, "/matchExpressions").iter().all(|expression| {
            let value = labels.get(bare(text(expression, "/key")));
            let values = list(expression, "/values");
            let is_named = value.is_some_and(|value| values.contains(value));
            match text(expression, "/operator") {
                "In" => is_named,
                "NotIn" => !is_named,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

fn has(labels: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(bare(key)) == Some(value))
}

/// A key without the source that Cilium may put before it.
fn bare(key: &str) -> &str {
    ["k8s:", "any:"]
        .into_iter()
        .find_map(|source| key.strip_prefix(source))
        .unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn sides() -> Sides<'static> {
        let target_pods = labels(&json!({"app": "shop", "tier": "web"}));
        Sides {
            namespace: "web",
            namespace_labels: labels(&json!({"kubernetes.io/metadata.name": "web"})),
            target: "shop",
            primary_pods: with_label(&target_pods, "app", "shop-primary"),
            target_pods,
            services: vec![labels(&json!({"team": "a"}))],
            known: vec![("Service", "shop".to_owned())],
        }
    }

    fn found(kind: &str, spec: &Value) -> Vec<String> {
        found_in("web", kind, spec)
    }

    fn found_in(namespace: &str, kind: &str, spec: &Value) -> Vec<String> {
        let companion = COMPANIONS.iter().find(|it| it.kind == kind).unwrap();
        findings(
            companion,
            &[json!({"metadata": {"name": "it", "namespace": namespace}, "spec": spec})],
            &sides(),
        )
    }

    #[test]
    fn what_picks_the_target_alone_is_named_with_what_follows() {
        let budget = json!({"selector": {"matchLabels": {"app": "shop"}}});
        assert_eq!(
            found("PodDisruptionBudget", &budget),
            ["PodDisruptionBudget it selects shop only: it does not protect the primary's pods"]
        );
        assert_eq!(
            found("Service", &json!({"selector": {"app": "shop", "tier": "web"}})).len(),
            1
        );
        assert_eq!(
            found(
                "CiliumNetworkPolicy",
                &json!({"endpointSelector": {"matchLabels": {"k8s:app": "shop"}}})
            )
            .len(),
            1
        );
        assert_eq!(
            found("ServiceMonitor", &json!({"selector": {"matchLabels": {"team": "a"}}})).len(),
            1
        );
        let scaler = json!({"scaleTargetRef": {"kind": "Deployment", "name": "shop"}});
        assert_eq!(found("HorizontalPodAutoscaler", &scaler).len(), 1);
    }

    #[test]
    fn what_picks_both_or_neither_is_no_finding() {
        for (kind, spec) in [
            (
                "PodDisruptionBudget",
                json!({"selector": {"matchLabels": {"tier": "web"}}}),
            ),
            ("PodDisruptionBudget", json!({"selector": {}})),
            (
                "PodDisruptionBudget",
                json!({"selector": {"matchLabels": {"app": "other"}}}),
            ),
            ("PodDisruptionBudget", json!({})),
            ("Service", json!({"selector": {}})),
            ("Service", json!({"type": "ExternalName"})),
            ("Service", json!({"selector": {"app": "shop-primary"}})),
            (
                "NetworkPolicy",
                json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}, {}]}),
            ),
            (
                "HorizontalPodAutoscaler",
                json!({"scaleTargetRef": {"kind": "StatefulSet", "name": "shop"}}),
            ),
            (
                "HorizontalPodAutoscaler",
                json!({"scaleTargetRef": {"kind": "Deployment", "name": "shop-primary"}}),
            ),
            (
                "PodMonitor",
                json!({"selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop", "shop-primary"]}]}}),
            ),
            (
                "PodMonitor",
                json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Near", "values": ["shop"]}]}}),
            ),
        ] {
            assert_eq!(found(kind, &spec), Vec::<String>::new(), "{kind} {spec}");
        }
    }

    #[test]
    fn expressions_are_read_as_kubernetes_reads_them() {
        for (operator, values, alone) in [
            ("In", json!(["shop"]), true),
            ("NotIn", json!(["shop-primary"]), true),
            ("NotIn", json!(["x"]), false),
            ("Exists", json!([]), false),
            ("DoesNotExist", json!([]), false),
        ] {
            let spec =
                json!({"selector": {"matchExpressions": [{"key": "app", "operator": operator, "values": values}]}});
            assert_eq!(!found("PodMonitor", &spec).is_empty(), alone, "{operator} {values}");
        }
    }

    #[test]
    fn a_policy_that_lets_the_target_s_pods_through_is_named_too() {
        let policy =
            |peer: Value| json!({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [peer]}]});
        let of_shop = json!({"podSelector": {"matchLabels": {"app": "shop"}}});
        assert_eq!(
            found("NetworkPolicy", &policy(of_shop)),
            ["NetworkPolicy it lets the pods of shop through and not the primary's"]
        );
        let elsewhere =
            json!({"podSelector": {"matchLabels": {"app": "shop"}}, "namespaceSelector": {"matchLabels": {"a": "b"}}});
        assert_eq!(found("NetworkPolicy", &policy(elsewhere)), Vec::<String>::new());
        // In front of a database, for instance, in a namespace of its own.
        let named = json!({"podSelector": {"matchLabels": {"app": "shop"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}});
        assert_eq!(
            found_in("data", "NetworkPolicy", &policy(named)),
            ["NetworkPolicy it.data lets the pods of shop through and not the primary's"]
        );
        let nameless = json!({"podSelector": {"matchLabels": {"app": "shop"}}});
        assert_eq!(
            found_in("data", "NetworkPolicy", &policy(nameless)),
            Vec::<String>::new(),
            "pods of its own"
        );
        let own = json!({"podSelector": {"matchLabels": {"app": "shop"}}});
        assert_eq!(found_in("data", "NetworkPolicy", &own), Vec::<String>::new());
    }

    #[test]
    fn a_monitor_picks_in_the_namespaces_that_it_names() {
        let monitor =
            |namespaces: Value| json!({"selector": {"matchLabels": {"app": "shop"}}, "namespaceSelector": namespaces});
        for (namespace, namespaces, count) in [
            ("web", json!({}), 1),
            ("web", json!({"any": false}), 1),
            ("web", json!({"matchNames": ["other"]}), 0),
            ("monitoring", json!({}), 0),
            ("monitoring", json!({"any": true}), 1),
            ("monitoring", json!({"matchNames": ["other", "web"]}), 1),
        ] {
            let found = found_in(namespace, "PodMonitor", &monitor(namespaces.clone()));
            assert_eq!(found.len(), count, "in {namespace}: {namespaces}");
        }
    }

    #[test]
    fn what_serin_sees_to_is_known() {
        let companion = &COMPANIONS[0];
        let service = json!({"metadata": {"name": "shop", "namespace": "web"}, "spec": {"selector": {"app": "shop"}}});
        assert_eq!(findings(companion, &[service], &sides()), Vec::<String>::new());
    }
}
