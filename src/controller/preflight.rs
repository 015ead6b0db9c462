//! Before an application is taken over: what else picks its pods by their labels and will lose them is named, once, in Events.
//!
//! Nothing of it is watched, and what Serin may not list, or what the cluster does not serve, is left out.

use futures::future::{join, join_all};
use serde_json::{Map, Value};

use super::held::Held;
use super::meta;
use super::pass::Engine;
use super::resource::Resource;
use super::say;
use super::site::Site;
use super::warn;
use crate::rollout::{Block, Side, Stage};
use crate::workload::companions::{COMPANIONS, Companion, Sides, findings, left_behind, with_label};

impl Engine {
    /// Looks and tells, where a takeover begins and this process has not done so for these names.
    pub(super) async fn preflight(&self, site: &Site, block: &Block, held: &mut Held) {
        let begins = block.stage == Stage::Initializing && !meta::deleting(&site.raw);
        if !begins || held.preflighted.as_ref() == Some(&site.subject) {
            return;
        }
        let Some(mut sides) = sides(site) else { return };
        held.preflighted = Some(site.subject.clone());
        let namespace = meta::namespace(&site.raw);
        let (lists, own) = join(
            join_all(COMPANIONS.iter().map(|companion| self.companions(companion, namespace))),
            self.look.namespace(namespace),
        )
        .await;
        sides.namespace_labels = own.present().map_or_else(
            || Map::from_iter([("kubernetes.io/metadata.name".to_owned(), namespace.into())]),
            |own| labels(own, "/metadata/labels"),
        );
        let all = || COMPANIONS.iter().zip(&lists);
        let services = all().filter(|(companion, _)| companion.kind == "Service");
        let left: Vec<Map<String, Value>> = services
            .flat_map(|(companion, objects)| left_behind(companion, objects, &sides))
            .map(|service| labels(service, "/metadata/labels"))
            .collect();
        sides.services = left;
        let texts: Vec<String> = all()
            .flat_map(|(companion, objects)| findings(companion, objects, &sides))
            .collect();
        let key = site.key();
        for text in &texts {
            tracing::warn!(canary = %key, "{text}");
            if self.writer.observe_only {
                say::notes(&key, text, &mut held.said);
            }
        }
        let notices = warn::told_once(site, "preflight", texts);
        self.teller.retell(site.canary.clone(), notices, self.look.clock.now());
    }

    /// The objects of a kind that may be about pods of this namespace. Its own are listed for themselves: who may list nothing else still sees
    /// those, and where there are more of them in the cluster than one answer holds they are not left out.
    async fn companions(&self, companion: &Companion, namespace: &str) -> Vec<Value> {
        let resource = Resource::new(companion.group, companion.version, companion.kind, companion.plural);
        let mut objects = self.look.listed(resource, namespace).await;
        if companion.is_far_reaching() {
            let all = self.look.listed(resource, "").await;
            objects.extend(all.into_iter().filter(|object| meta::namespace(object) != namespace));
        }
        objects
    }
}

fn sides(site: &Site) -> Option<Sides<'_>> {
    let selector = site.selector.as_ref().ok()?;
    let target_pods = labels(site.target.present()?, "/spec/template/metadata/labels");
    let keys = site.keys();
    let mut known = vec![("Service", site.subject.apex.clone())];
    known.extend([Side::Primary, Side::Canary].map(|side| ("Service", keys.side(side).name)));
    let scaler = site.canary.spec.autoscaler_ref.as_ref();
    known.extend(scaler.map(|scaler| ("HorizontalPodAutoscaler", scaler.name.clone())));
    Some(Sides {
        namespace: meta::namespace(&site.raw),
        namespace_labels: Map::new(),
        target: &site.subject.target,
        primary_pods: with_label(&target_pods, &selector.key, &selector.primary_value()),
        target_pods,
        services: Vec::new(),
        known,
    })
}

fn labels(object: &Value, pointer: &str) -> Map<String, Value> {
    object
        .pointer(pointer)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}
