//! The scaler of one canary and the primary's copy of it: where they stand, what they say, what is written.

use std::sync::Arc;

use serde_json::Value;

use super::draw::{Act, Undrawable};
use super::look::Look;
use super::meta;
use super::resource::{ObjectKey, Resource};
use super::site::Site;
use crate::api::CanarySpec;
use crate::object::ownership;
use crate::rollout::{self, Block, Follow, Known, Refusal, ScalerFacts};
use crate::workload::scaler::{self, ScalerContext};

/// One scaler and its copy, as a pass finds them.
pub struct Scaler {
    /// The team's.
    pub team: Known<Arc<Value>>,
    /// `<scaler>-primary`.
    pub copy: Known<Arc<Value>>,
    key: ObjectKey,
    copy_key: ObjectKey,
}

/// The scalers that matter to a canary.
#[derive(Default)]
pub struct Scalers {
    /// The one whose copy the primary has, or is to have.
    pub standing: Option<Scaler>,
    /// The one that the spec names, where that is another.
    pub wanted: Option<Scaler>,
}

impl Scalers {
    /// Reads them.
    pub async fn survey(look: &Look, namespace: &str, spec: &CanarySpec, block: Option<&Block>) -> Self {
        let wanted = rollout::wanted_scaler(spec);
        let standing = block.and_then(|block| block.scaler.as_deref()).or(wanted);
        let mut all = Self::default();
        if let Some(name) = standing {
            all.standing = Some(Scaler::survey(look, namespace, name).await);
        }
        if let Some(name) = wanted.filter(|name| Some(*name) != standing) {
            all.wanted = Some(Scaler::survey(look, namespace, name).await);
        }
        all
    }

    /// The one that the spec names.
    fn named(&self, spec: &CanarySpec) -> Option<&Scaler> {
        rollout::wanted_scaler(spec)?;
        self.wanted.as_ref().or(self.standing.as_ref())
    }
}

impl Scaler {
    async fn survey(look: &Look, namespace: &str, name: &str) -> Self {
        let key = ObjectKey::new(Resource::SCALER, namespace, name);
        let copy_key = ObjectKey::new(Resource::SCALER, namespace, &copy_name(name));
        Self {
            team: look.object(&key).await,
            copy: look.object(&copy_key).await,
            key,
            copy_key,
        }
    }
}

/// The name of a scaler's copy.
pub fn copy_name(scaler: &str) -> String {
    format!("{scaler}-primary")
}

/// What scaler and copy say.
pub fn facts(site: &Site) -> Option<ScalerFacts> {
    let scaler = site.scalers.standing.as_ref()?;
    let primary = site.keys().primary().name;
    let cx = context(site, scaler, &primary);
    let (team, copy) = (scaler.team.as_ref(), scaler.copy.as_ref());
    let (team, copy) = (team.map(AsRef::as_ref), copy.map(AsRef::as_ref));
    Some(scaler::facts(&scaler.key.name, &team, &copy, &cx))
}

/// Why the scaler that the spec names cannot be followed.
pub fn refusals(site: &Site) -> Vec<Refusal> {
    let spec = &site.canary.spec;
    let Some(named) = site.scalers.named(spec) else {
        return Vec::new();
    };
    let namespace = meta::namespace(&site.raw);
    let refusal = |message: String| Refusal {
        field: "spec.autoscalerRef.name".to_owned(),
        message,
    };
    let name = &named.key.name;
    let mut all = Vec::new();
    match &named.team {
        Known::Absent => all.push(refusal(format!(
            "HorizontalPodAutoscaler {name}.{namespace} get query error: horizontalpodautoscalers.autoscaling \"{name}\" not found"
        ))),
        Known::Forbidden { verb, resource } => all.push(refusal(format!("Serin may not {verb} {resource}"))),
        Known::NoKind { kind } => all.push(refusal(format!("the API server does not serve {kind}"))),
        Known::Present(team) => all.extend(unfit(site, team).map(refusal)),
        Known::Unknown => {}
    }
    if named
        .copy
        .is_present_and(|copy| !ownership::is_ours(copy, &site.owner) && !is_orphan(copy))
    {
        let message = format!("{} stands already, and is not this Canary's", named.copy_key);
        all.push(refusal(message));
    }
    all
}

/// What is wrong with a scaler that is there.
fn unfit(site: &Site, team: &Value) -> Option<String> {
    let (target, name) = (&site.wanted.target, meta::name(team));
    if !scaler::scales(team, "Deployment", target) {
        let scaled = &team["spec"]["scaleTargetRef"];
        let text = |field: &str| scaled[field].as_str().unwrap_or_default();
        return Some(format!(
            "HorizontalPodAutoscaler {name} scales {} {}, not Deployment {target}",
            text("kind"),
            text("name")
        ));
    }
    let overrides = site.canary.spec.autoscaler_ref.as_ref()?.primary_scaler_replicas;
    let bounds = scaler::bounds(&team["spec"], overrides);
    (bounds.min > bounds.max).then(|| {
        format!(
            "primaryScalerReplicas and HorizontalPodAutoscaler {name} leave the primary at least {} and at most {} replicas",
            bounds.min, bounds.max
        )
    })
}

/// A copy of ours that came out of a backup without its owner.
fn is_orphan(copy: &Value) -> bool {
    crate::object::annotation(copy, scaler::RECORDED).is_some() && ownership::controller(copy).is_none()
}

/// The copy, where it is to be owned anew: an earlier Canary of the same name made it, or it came out of a backup.
pub fn inherited(site: &Site) -> Option<Act> {
    let scaler = site.scalers.standing.as_ref()?;
    let copy = scaler.copy.present()?;
    let ours = ownership::is_inherited(copy, &site.owner) || is_orphan(copy);
    let operations = ownership::adopt(copy, &site.owner);
    (ours && !operations.0.is_empty()).then(|| Act::Patch(scaler.copy_key.clone(), operations))
}

/// The write that makes the copy what it is to be.
pub fn drawn(site: &Site, floor: u32, follow: Follow) -> Result<Vec<Act>, Undrawable> {
    let Some(scaler) = &site.scalers.standing else {
        return Ok(Vec::new());
    };
    let primary = site.keys().primary().name;
    let cx = context(site, scaler, &primary);
    let unknown = |key: &ObjectKey| Undrawable::Unknown(key.to_string());
    match &scaler.copy {
        Known::Present(copy) if !ownership::controls(site.uid(), copy) => {
            Err(Undrawable::Spec(format!("{} is not this Canary's", scaler.copy_key)))
        }
        Known::Present(copy) => {
            let team = scaler.team.present().map(AsRef::as_ref);
            if team.is_none() && !scaler.team.is_absent() && follow != Follow::Recorded {
                return Err(unknown(&scaler.key));
            }
            let operations = scaler::edit(copy, team, floor, follow, &cx);
            let write = (!operations.0.is_empty()).then(|| Act::Patch(scaler.copy_key.clone(), operations));
            Ok(write.into_iter().collect())
        }
        Known::Absent => {
            let team = scaler.team.present().ok_or_else(|| unknown(&scaler.key))?;
            Ok(vec![Act::Create(
                scaler.copy_key.clone(),
                scaler::create(team, floor, &cx),
            )])
        }
        _ => Err(unknown(&scaler.copy_key)),
    }
}

/// The deletion of the copy, where it is ours.
pub fn discarded(site: &Site) -> Option<Act> {
    let scaler = site.scalers.standing.as_ref()?;
    let copy = scaler.copy.present()?;
    ownership::controls(site.uid(), copy).then(|| Act::Delete(scaler.copy_key.clone(), copy.clone()))
}

/// The copy, to be left behind with the primary.
pub fn released(site: &Site) -> Option<(ObjectKey, &Known<Arc<Value>>)> {
    let scaler = site.scalers.standing.as_ref()?;
    Some((scaler.copy_key.clone(), &scaler.copy))
}

/// The copy, where its state tells who undid a write of ours.
pub fn copy(site: &Site) -> Option<&Arc<Value>> {
    site.scalers.standing.as_ref()?.copy.present()
}

fn context<'a>(site: &'a Site, scaler: &'a Scaler, primary: &'a str) -> ScalerContext<'a> {
    ScalerContext {
        owner: &site.owner,
        name: &scaler.copy_key.name,
        primary,
        overrides: site
            .canary
            .spec
            .autoscaler_ref
            .as_ref()
            .and_then(|scaler| scaler.primary_scaler_replicas),
    }
}
