//! The three Services of type `ClusterIP`: `<apex>`, `<apex>-primary`, `<apex>-canary` (spec/routers.md 5, spec/core.md 2.14).
//!
//! Services that this Canary made are drawn whole: ports, selector, labels and annotations, except keys that
//! `service.unmanagedMetadata` names. Of a Service that stood before, the selector is moved and ports are added that the
//! Canary needs; every port, label and annotation of its own stays, and its `spec` is kept in an annotation for the way
//! back. `headless` counts at creation only, because the API server does not let a cluster IP come or go.

use json_patch::Patch;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Map, Value, json};

use super::{RouteError, ports};
use crate::{
    api::{Canary, Metadata, ServiceSpec},
    object::{FLUX, ORIGINAL, annotation, child, is_empty, list, metadata, original_spec, ownership, patch},
    rollout::{Selects, ServiceFacts, Side, Subject},
};

/// For whom the Services are drawn.
#[derive(Debug, Clone, Copy)]
pub struct ServiceContext<'a> {
    /// The Canary.
    pub canary: &'a Canary,
    /// The names it works on.
    pub subject: &'a Subject,
    /// Controller reference to the Canary.
    pub owner: &'a OwnerReference,
    /// Key of the label that tells the target's pods (`workload::Selector`).
    pub label: &'a str,
    /// Its value on the target's pods; the primary's end in `-primary`.
    pub value: &'a str,
    /// Pod template of the target, for `portDiscovery`; without it, ports that were discovered before stay.
    pub pods: Option<&'a Value>,
}

/// One of the three Services, as it shall be.
struct Draft<'a> {
    cx: &'a ServiceContext<'a>,
    name: String,
    extra: Option<&'a Metadata>,
    pods: Side,
}

/// Name of one side's Service.
pub fn side_name(subject: &Subject, side: Side) -> String {
    match side {
        Side::Primary => format!("{}-primary", subject.apex),
        Side::Canary => format!("{}-canary", subject.apex),
    }
}

/// The Service of one side, for when there is none.
pub fn side(cx: &ServiceContext<'_>, side: Side) -> Result<Value, RouteError> {
    Draft::side(cx, side).created()
}

/// The apex Service, selecting the pods of that side (the canary's are the target's), for when there is none.
pub fn apex(cx: &ServiceContext<'_>, selects: Side) -> Result<Value, RouteError> {
    Draft::apex(cx, selects).created()
}

/// What the Service of one side says. It is drawn only with its own selector.
pub fn side_facts(cx: &ServiceContext<'_>, side: Side, live: &Value) -> ServiceFacts {
    facts(&Draft::side(cx, side), live)
}

/// What the apex Service says. Whether it is drawn does not depend on whom it selects.
pub fn apex_facts(cx: &ServiceContext<'_>, live: &Value) -> ServiceFacts {
    let draft = Draft::apex(cx, Side::Canary);
    let mut drawn = draft.drawn(live);
    let selector = live.pointer("/spec/selector").cloned().unwrap_or_default();
    child(&mut drawn, "spec").insert("selector".to_owned(), selector);
    ServiceFacts {
        drawn: says_all_of(live, drawn),
        ..facts(&draft, live)
    }
}

/// The patch that makes the Service of one side what it shall be; empty when it is.
pub fn edit_side(cx: &ServiceContext<'_>, side: Side, live: &Value) -> Patch {
    patch::at_version(live, &Draft::side(cx, side).drawn(live))
}

/// The patch that makes the apex Service what it shall be, selecting the pods of that side; empty when it is.
pub fn edit_apex(cx: &ServiceContext<'_>, selects: Side, live: &Value) -> Patch {
    patch::at_version(live, &Draft::apex(cx, selects).drawn(live))
}

/// The patch that gives the apex Service back to the target's pods; with `original`, selector and ports become what
/// they were before the Canary, where that is known. Empty when it is so.
pub fn hand_back(cx: &ServiceContext<'_>, live: &Value, original: bool) -> Patch {
    let draft = Draft::apex(cx, Side::Canary);
    let mut next = live.clone();
    child(&mut next, "spec").insert("selector".to_owned(), draft.selector(live));
    let kept = original_spec(live).filter(|_| original && !draft.is_ours(live));
    if let Some(kept) = kept {
        // The rest of a Service is the API server's (cluster IPs) or was never touched.
        for key in ["selector", "ports"] {
            if let Some(value) = kept.get(key) {
                next["spec"][key] = ports::with_node_ports(key, value, &live["spec"][key]);
            }
        }
        let annotations = metadata(&mut next, "annotations");
        annotations.remove(ORIGINAL);
        for (key, _) in FLUX {
            annotations.remove(key);
        }
    }
    patch::at_version(live, &next)
}

fn facts(draft: &Draft<'_>, live: &Value) -> ServiceFacts {
    ServiceFacts {
        drawn: says_all_of(live, draft.drawn(live)),
        selects: selects(draft.cx, live),
        owned: ownership::controls(&draft.cx.owner.uid, live),
    }
}

/// Whether the Service is as drawn, but for labels and annotations that others added: controllers of load balancers keep theirs on any
/// Service, and would put them back for ever. The next edit of our own takes away what nobody owns.
fn says_all_of(live: &Value, mut drawn: Value) -> bool {
    for key in ["labels", "annotations"] {
        let standing = live.pointer(&format!("/metadata/{key}")).and_then(Value::as_object);
        let members = metadata(&mut drawn, key);
        for (name, value) in standing.into_iter().flatten() {
            members.entry(name).or_insert_with(|| value.clone());
        }
        if members.is_empty() && standing.is_none() {
            child(&mut drawn, "metadata").remove(key);
        }
    }
    drawn == *live
}

/// Whose pods the Service selects: the primary's by the one label alone; the target's by any labels that they carry.
fn selects(cx: &ServiceContext<'_>, live: &Value) -> Selects {
    let Some(selector) = live
        .pointer("/spec/selector")
        .and_then(Value::as_object)
        .filter(|it| !it.is_empty())
    else {
        return Selects::Other;
    };
    if *selector == one_label(cx, Side::Primary) {
        return Selects::Primary;
    }
    let labels = cx.pods.and_then(|pods| pods.pointer("/metadata/labels"));
    let carried = match labels {
        Some(labels) => selector.iter().all(|(key, value)| labels.get(key) == Some(value)),
        None => selector.get(cx.label).is_some_and(|value| value == cx.value),
    };
    if carried { Selects::Target } else { Selects::Other }
}

fn one_label(cx: &ServiceContext<'_>, side: Side) -> Map<String, Value> {
    let value = match side {
        Side::Primary => format!("{}-primary", cx.value),
        Side::Canary => cx.value.to_owned(),
    };
    Map::from_iter([(cx.label.to_owned(), value.into())])
}

impl<'a> Draft<'a> {
    fn side(cx: &'a ServiceContext<'a>, side: Side) -> Self {
        let service = cx.canary.spec.service.as_ref();
        let extra = match side {
            Side::Primary => service.and_then(|it| it.primary.as_ref()),
            Side::Canary => service.and_then(|it| it.canary.as_ref()),
        };
        let name = side_name(cx.subject, side);
        Self {
            cx,
            name,
            extra,
            pods: side,
        }
    }

    fn apex(cx: &'a ServiceContext<'a>, pods: Side) -> Self {
        let extra = cx.canary.spec.service.as_ref().and_then(|it| it.apex.as_ref());
        let name = cx.subject.apex.clone();
        Self { cx, name, extra, pods }
    }

    fn created(&self) -> Result<Value, RouteError> {
        if self.cx.canary.spec.service_port().is_none() {
            return Err(RouteError::Spec {
                field: "spec.service.port".to_owned(),
                message: "the port of the Services must be given, from 1 to 65535".to_owned(),
            });
        }
        let mut skeleton = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": self.name,
                "namespace": self.cx.canary.metadata.namespace,
                "ownerReferences": [ownership::reference(self.cx.owner)],
            },
            "spec": {"type": "ClusterIP"},
        });
        if self.spec().is_some_and(|spec| spec.headless) {
            skeleton["spec"]["clusterIP"] = "None".into();
        }
        Ok(self.drawn(&skeleton))
    }

    /// The Service as it shall be.
    fn drawn(&self, live: &Value) -> Value {
        let mut next = ownership::claimed(live, self.cx.owner);
        let ours = self.is_ours(live);
        if ours {
            self.replace_metadata(&mut next, live);
        } else {
            self.keep_original(&mut next, live);
            metadata(&mut next, "annotations").extend(FLUX.map(|(key, value)| (key.to_owned(), value.into())));
        }
        let ports = self.ports(list(live, "/spec/ports"), ours);
        let spec = child(&mut next, "spec");
        spec.insert("ports".to_owned(), ports.into());
        spec.insert("selector".to_owned(), self.selector(live));
        let distribution = self
            .spec()
            .and_then(|it| it.traffic_distribution.as_ref())
            .filter(|it| !it.is_empty());
        match distribution {
            Some(distribution) => {
                spec.insert("trafficDistribution".to_owned(), distribution.clone().into());
            }
            None if ours => {
                spec.remove("trafficDistribution");
            }
            None => {}
        }
        next
    }

    fn ports(&self, standing: &[Value], ours: bool) -> Vec<Value> {
        let Some(spec) = self.spec().filter(|_| self.cx.canary.spec.service_port().is_some()) else {
            return standing.to_vec();
        };
        let wanted = ports::wanted(spec, self.cx.pods);
        if ours {
            ports::replaced(standing, &wanted, spec.port_discovery && self.cx.pods.is_none())
        } else {
            ports::added(standing, &wanted, spec)
        }
    }

    /// The one label; but a Service that stood before and selects the target by labels of its own is left at that.
    fn selector(&self, live: &Value) -> Value {
        let standing = live.get("spec").and_then(|spec| spec.get("selector"));
        let kept = self.pods == Side::Canary && !self.is_ours(live) && selects(self.cx, live) == Selects::Target;
        standing
            .filter(|_| kept)
            .cloned()
            .unwrap_or_else(|| one_label(self.cx, self.pods).into())
    }

    /// Labels and annotations exactly as drawn, besides those that others own.
    fn replace_metadata(&self, next: &mut Value, live: &Value) {
        let unmanaged = self.spec().and_then(|spec| spec.unmanaged_metadata.as_ref());
        let foreign = |key: &str, names: Option<&Vec<String>>| -> Map<String, Value> {
            let standing = live.pointer(&format!("/metadata/{key}")).and_then(Value::as_object);
            let mut kept = standing.cloned().unwrap_or_default();
            kept.retain(|key, _| names.is_some_and(|names| names.contains(key)));
            kept
        };
        let mut labels = foreign("labels", unmanaged.map(|it| &it.labels));
        let mut annotations = foreign("annotations", unmanaged.map(|it| &it.annotations));
        if let Some(extra) = self.extra {
            labels.extend(
                extra
                    .labels
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone().into())),
            );
            annotations.extend(
                extra
                    .annotations
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone().into())),
            );
        }
        labels.insert(self.cx.label.to_owned(), self.name.clone().into());
        annotations.extend(FLUX.map(|(key, value)| (key.to_owned(), value.into())));
        *metadata(next, "labels") = labels;
        *metadata(next, "annotations") = annotations;
    }

    /// Keeps the `spec` of a Service that somebody else made, once, before it is changed. One that was changed already is no original: Flagger
    /// keeps none, and on the way out it has our selector.
    fn keep_original(&self, next: &mut Value, live: &Value) {
        let marked = FLUX.iter().all(|(key, value)| annotation(live, key) == Some(value));
        let given_back =
            self.pods == Side::Canary && live["spec"]["selector"] == Value::from(one_label(self.cx, self.pods));
        let touched = selects(self.cx, live) == Selects::Primary || (given_back && marked);
        if annotation(live, ORIGINAL).is_none() && !touched && live.get("spec").is_some_and(|spec| !is_empty(spec)) {
            metadata(next, "annotations").insert(ORIGINAL.to_owned(), live["spec"].to_string().into());
        }
    }

    fn is_ours(&self, live: &Value) -> bool {
        ownership::is_ours(live, self.cx.owner)
    }

    fn spec(&self) -> Option<&'a ServiceSpec> {
        self.cx.canary.spec.service.as_ref()
    }
}
