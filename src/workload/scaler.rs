//! `<scaler>-primary`: the primary's own copy of the target's `HorizontalPodAutoscaler`.
//!
//! The spec of the copy is Serin's: the team's, for another target, with the bounds of the moment. What was taken over last stands in
//! an annotation of the copy, so that a floor can be given back and a foreign edit undone while the team's scaler has moved on. All
//! other metadata of the copy is left as it is.

use json_patch::Patch;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Map, Value, json};

use super::template::TOOLKIT;
use crate::{
    api::ScalerReplicas,
    object::{annotation, as_map, metadata, ownership, patch, text},
    rollout::{Bounds, Follow, Known, ScalerCopy, ScalerFacts},
};

/// Annotation on the copy: the spec of the team's scaler that was taken over last, without its target.
pub const RECORDED: &str = "serin.dev/scaler";
/// Where a scaler names its workload.
const TARGET: &str = "scaleTargetRef";

/// Whose copy it is.
#[derive(Debug, Clone, Copy)]
pub struct ScalerContext<'a> {
    /// Controller reference to the Canary.
    pub owner: &'a OwnerReference,
    /// Name of the copy.
    pub name: &'a str,
    /// Name of the primary workload.
    pub primary: &'a str,
    /// `spec.autoscalerRef.primaryScalerReplicas`.
    pub overrides: Option<ScalerReplicas>,
}

/// What scaler and copy say, reduced.
pub fn facts(name: &str, team: &Known<&Value>, copy: &Known<&Value>, cx: &ScalerContext<'_>) -> ScalerFacts {
    ScalerFacts {
        name: name.to_owned(),
        team: team.clone().map(|team| bounds(&team["spec"], None)),
        copy: copy.clone().map(|copy| {
            let recorded = recorded(copy);
            let stands = |follow| {
                let wanted = taken_over(&recorded, team.present().copied(), follow);
                let nothing_new = wanted == recorded && team.present().is_some_and(|team| labelled(copy, team));
                team.is_absent() || nothing_new
            };
            let now = bounds(&copy["spec"], None);
            ScalerCopy {
                owned: ownership::controls(&cx.owner.uid, copy),
                bounds: now,
                base: bounds(&recorded, cx.overrides),
                sound: drawn(copy, &recorded, now, team.present().copied(), cx)["spec"] == copy["spec"],
                follows: stands(Follow::Now),
                follows_upwards: stands(Follow::Upwards),
            }
        }),
    }
}

/// A new copy of the team's scaler.
pub fn create(team: &Value, floor: u32, cx: &ScalerContext<'_>) -> Value {
    let recorded = untargeted(&team["spec"]);
    let bounds = bounds(&recorded, cx.overrides).at_least(floor);
    let bare = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": cx.name,
            "namespace": text(team, "/metadata/namespace"),
            "labels": labels(team),
            "annotations": { RECORDED: recorded.to_string() },
            "ownerReferences": [ownership::reference(cx.owner)],
        },
        "spec": {},
    });
    drawn(&bare, &recorded, bounds, Some(team), cx)
}

/// The patch that makes the copy what it is to be. Empty when it is that already.
pub fn edit(live: &Value, team: Option<&Value>, floor: u32, follow: Follow, cx: &ScalerContext<'_>) -> Patch {
    let base = taken_over(&recorded(live), team, follow);
    let bounds = bounds(&base, cx.overrides).at_least(floor);
    let mut next = drawn(live, &base, bounds, team, cx);
    if next["spec"] != live["spec"] || annotation(live, RECORDED).is_some() {
        metadata(&mut next, "annotations").insert(RECORDED.to_owned(), base.to_string().into());
    }
    if let Some(team) = team.filter(|_| follow != Follow::Recorded) {
        metadata(&mut next, "labels").extend(labels(team));
    }
    patch::at_version(live, &next)
}

/// Whether a scaler is about this workload.
pub fn scales(scaler: &Value, kind: &str, name: &str) -> bool {
    let target = |field: &str| text(scaler, &format!("/spec/{TARGET}/{field}")).to_owned();
    (target("kind").as_str(), target("name").as_str()) == (kind, name)
}

/// The bounds that a spec asks for, the overrides before it. No workload is left without a replica.
pub fn bounds(spec: &Value, overrides: Option<ScalerReplicas>) -> Bounds {
    let given = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let stated = |field: &str| {
        let number = spec.get(field).and_then(Value::as_u64)?;
        u32::try_from(number).ok()
    };
    let overrides = overrides.unwrap_or_default();
    let min = given(overrides.min_replicas).or_else(|| stated("minReplicas"));
    let max = given(overrides.max_replicas).or_else(|| stated("maxReplicas"));
    let min = min.unwrap_or(1).max(1);
    Bounds {
        min,
        max: max.unwrap_or(min),
    }
}

/// The copy with this spec and these bounds.
fn drawn(live: &Value, base: &Value, bounds: Bounds, team: Option<&Value>, cx: &ScalerContext<'_>) -> Value {
    let before = live.pointer("/spec/scaleTargetRef");
    let template = team.and_then(|team| team.pointer("/spec/scaleTargetRef"));
    let mut target = before.or(template).cloned().unwrap_or_else(|| json!({}));
    as_map(&mut target).insert("name".to_owned(), cx.primary.into());
    let mut spec = base.clone();
    let fields = as_map(&mut spec);
    fields.insert(TARGET.to_owned(), target);
    fields.insert("minReplicas".to_owned(), bounds.min.into());
    fields.insert("maxReplicas".to_owned(), bounds.max.into());
    let mut next = live.clone();
    next["spec"] = spec;
    next
}

/// What the copy took over last. One that Flagger made says it itself.
fn recorded(copy: &Value) -> Value {
    let written = annotation(copy, RECORDED).and_then(|text| serde_json::from_str::<Value>(text).ok());
    written
        .filter(Value::is_object)
        .unwrap_or_else(|| untargeted(&copy["spec"]))
}

/// What it takes over now.
fn taken_over(recorded: &Value, team: Option<&Value>, follow: Follow) -> Value {
    let Some(team) = team.filter(|_| follow != Follow::Recorded) else {
        return recorded.clone();
    };
    let mut next = untargeted(&team["spec"]);
    if follow == Follow::Upwards {
        let (old, new) = (bounds(recorded, None), bounds(&next, None));
        let fields = as_map(&mut next);
        fields.insert("minReplicas".to_owned(), old.min.max(new.min).into());
        fields.insert("maxReplicas".to_owned(), old.max.max(new.max).into());
    }
    next
}

fn untargeted(spec: &Value) -> Value {
    let mut spec = spec.clone();
    as_map(&mut spec).remove(TARGET);
    spec
}

/// The labels that the copy gets (`spec/core.md` 2.15).
fn labels(team: &Value) -> Map<String, Value> {
    let mut labels = team
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    labels.retain(|key, _| !key.contains(TOOLKIT));
    labels
}

fn labelled(copy: &Value, team: &Value) -> bool {
    let has = copy.pointer("/metadata/labels");
    labels(team)
        .iter()
        .all(|(key, value)| has.and_then(|has| has.get(key)) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::child;

    fn owner() -> OwnerReference {
        OwnerReference {
            api_version: "flagger.app/v1beta1".to_owned(),
            kind: "Canary".to_owned(),
            name: "app".to_owned(),
            uid: "u".to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    fn context(owner: &OwnerReference, overrides: Option<ScalerReplicas>) -> ScalerContext<'_> {
        ScalerContext {
            owner,
            name: "app-primary",
            primary: "app-primary",
            overrides,
        }
    }

    fn team() -> Value {
        json!({
            "metadata": {"name": "app", "namespace": "test", "labels": {"team": "a", "kustomize.toolkit.fluxcd.io/name": "x"}},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
                "minReplicas": 2, "maxReplicas": 4, "metrics": [{"type": "Resource"}], "newField": {"a": 1},
            },
        })
    }

    fn applied(live: &Value, patch: &Patch) -> Value {
        let mut next = live.clone();
        json_patch::patch(&mut next, patch).unwrap();
        next
    }

    fn stands(copy: &Value, team: &Value, floor: u32, follow: Follow, cx: &ScalerContext<'_>) -> bool {
        facts("app", &Known::Present(team), &Known::Present(copy), cx).stands(floor, follow)
    }

    #[test]
    fn the_copy_has_the_team_s_spec_for_the_primary_and_no_labels_of_flux() {
        let owner = owner();
        let cx = context(&owner, None);
        let copy = create(&team(), 0, &cx);
        assert_eq!(copy["spec"]["scaleTargetRef"]["name"], "app-primary");
        assert_eq!(
            copy["spec"]["newField"],
            json!({"a": 1}),
            "fields that nobody here knows"
        );
        assert_eq!(copy["metadata"]["labels"], json!({"team": "a"}));
        assert!(stands(&copy, &team(), 0, Follow::Now, &cx));
    }

    #[test]
    fn a_floor_is_given_back_as_it_was_recorded_though_the_team_has_moved_on() {
        let owner = owner();
        let cx = context(&owner, None);
        let copy = create(&team(), 0, &cx);
        let raised = applied(&copy, &edit(&copy, Some(&team()), 3, Follow::Recorded, &cx));
        assert_eq!(raised["spec"]["minReplicas"], 3);
        let mut edited = team();
        edited["spec"]["minReplicas"] = json!(1);
        let back = applied(&raised, &edit(&raised, Some(&edited), 0, Follow::Recorded, &cx));
        assert_eq!(back["spec"], copy["spec"]);
        let synced = applied(&raised, &edit(&raised, Some(&edited), 3, Follow::Now, &cx));
        assert_eq!(synced["spec"]["minReplicas"], 3, "a floor holds while it stands");
        let given = applied(&synced, &edit(&synced, Some(&edited), 0, Follow::Recorded, &cx));
        assert_eq!(given["spec"]["minReplicas"], 1);
    }

    #[test]
    fn upwards_takes_over_everything_but_lower_bounds() {
        let owner = owner();
        let cx = context(&owner, None);
        let copy = create(&team(), 0, &cx);
        let mut edited = team();
        edited["spec"]["minReplicas"] = json!(1);
        edited["spec"]["maxReplicas"] = json!(9);
        edited["spec"]["metrics"] = json!([{"type": "Pods"}]);
        let next = applied(&copy, &edit(&copy, Some(&edited), 0, Follow::Upwards, &cx));
        assert_eq!(next["spec"]["minReplicas"], 2);
        assert_eq!(next["spec"]["maxReplicas"], 9);
        assert_eq!(next["spec"]["metrics"], json!([{"type": "Pods"}]));
        assert!(stands(&next, &edited, 0, Follow::Upwards, &cx));
        assert!(!stands(&next, &edited, 0, Follow::Now, &cx));
    }

    #[test]
    fn overrides_come_before_the_team_s_bounds_and_foreign_metadata_stays() {
        let owner = owner();
        let overrides = ScalerReplicas {
            min_replicas: Some(2),
            max_replicas: Some(15),
        };
        let cx = context(&owner, Some(overrides));
        let mut copy = create(&team(), 0, &cx);
        assert_eq!(copy["spec"]["maxReplicas"], 15);
        copy["metadata"]["annotations"]["their/own"] = "x".into();
        copy["metadata"]["labels"]["their"] = "y".into();
        copy["spec"]["metrics"] = json!([]);
        assert!(!stands(&copy, &team(), 0, Follow::Recorded, &cx));
        let mended = applied(&copy, &edit(&copy, Some(&team()), 0, Follow::Recorded, &cx));
        assert_eq!(mended["metadata"], copy["metadata"]);
        assert_eq!(mended["spec"]["metrics"], team()["spec"]["metrics"]);
    }

    #[test]
    fn a_copy_that_flagger_made_is_left_as_it_is_until_something_has_to_change() {
        let owner = owner();
        let cx = context(&owner, None);
        let mut copy = create(&team(), 0, &cx);
        child(&mut copy, "metadata").remove("annotations");
        let mut edited = team();
        edited["spec"]["maxReplicas"] = json!(9);
        assert!(stands(&copy, &edited, 0, Follow::Recorded, &cx));
        assert!(edit(&copy, Some(&edited), 0, Follow::Recorded, &cx).is_empty());
        let raised = applied(&copy, &edit(&copy, Some(&edited), 3, Follow::Recorded, &cx));
        assert_eq!(bounds(&recorded(&raised), None), Bounds { min: 2, max: 4 });
    }
}
