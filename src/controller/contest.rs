//! Finds rivals: who changed what we hold, and when that counts as a deed of theirs.

use serde_json::Value;

use super::apply::{object_at, version_at};
use super::held::Held;
use super::look::Look;
use super::obstacle::Place;
use super::projection::MANAGER;
use super::site::Site;
use crate::object::{list, text};
use crate::rollout::{Assertion, Block, Known, Observation, met};

/// Compares what was last seen drawn with what stands now, and notes each new deed of a rival.
pub async fn detect(look: &Look, site: &Site, block: &Block, observation: &Observation, held: &mut Held) {
    let generation = site.canary.metadata.generation;
    let undone: Vec<(Place, String)> = held
        .obstacles
        .drawn()
        .filter(|(_, drawn)| drawn.generation == generation && still_wanted(&drawn.assertion, block))
        .filter(|(_, drawn)| !met(&drawn.assertion, block, observation, &held.memory))
        .map(|(place, drawn)| (place, drawn, version_at(site, place)))
        .filter(|(place, drawn, version)| drawn.version != *version && !held.obstacles.knows(*place, version))
        .map(|(place, _, version)| (place, version))
        .collect();
    for (place, version) in undone {
        if let Some(manager) = culprit(look, site, place).await {
            let what = object_at(site, place);
            tracing::warn!(canary = %site.key(), %manager, "{what} was changed by somebody else");
            held.obstacles
                .undone(place, what, manager, version, site.uid(), look.clock.now());
        }
    }
}

/// Whether the present status still asks for it.
fn still_wanted(assertion: &Assertion, block: &Block) -> bool {
    match assertion {
        Assertion::Route(traffic) => *traffic == block.traffic(),
        _ => true,
    }
}

/// The field manager that last changed the object; `None` when that was us, or nobody can tell now.
async fn culprit(look: &Look, site: &Site, place: Place) -> Option<String> {
    let keys = site.keys();
    let key = match place {
        Place::Route => keys.route(site.router?),
        Place::Apex => keys.apex(),
        Place::Service(side) => keys.side(side),
        Place::Destination(side) => keys.destination(site.router?.destinations()?, side),
        _ => return None,
    };
    match look.whole(&key).await {
        Known::Present(whole) => last_manager(&whole).filter(|manager| manager != MANAGER),
        Known::Absent => Some("somebody who deleted it".to_owned()),
        _ => None,
    }
}

/// The manager of the latest write that was not one of the status. Times have whole seconds: of equal ones another's counts.
fn last_manager(whole: &Value) -> Option<String> {
    list(whole, "/metadata/managedFields")
        .iter()
        .filter(|entry| text(entry, "/subresource").is_empty())
        .max_by_key(|entry| (text(entry, "/time"), text(entry, "/manager") != MANAGER))
        .map(|entry| text(entry, "/manager").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_writer_of_anything_but_the_status_is_named() {
        let whole = json!({"metadata": {"managedFields": [
            {"manager": "serin", "time": "2026-01-01T00:00:02Z"},
            {"manager": "kubectl-edit", "time": "2026-01-01T00:00:02Z"},
            {"manager": "contour", "time": "2026-01-01T00:00:09Z", "subresource": "status"},
            {"manager": "helm", "time": "2026-01-01T00:00:01Z"},
        ]}});
        assert_eq!(last_manager(&whole).as_deref(), Some("kubectl-edit"));
    }
}
