//! The line of those who wait for a slot, as a reader finds it: from the statuses alone, without asking a controller.
//!
//! The controller's limits are its flags and stand in no status. So a place is one in the fair order of all who wait; a namespace that
//! has as many at work as may be is passed over until one of them is done.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::view::View;
use super::{Desk, ReleaseError};
use crate::rollout::{Contender, Limits, Line, Stands, stands};

/// Namespace and name.
type Key = (String, String);

/// Where those stand who wait.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: BTreeMap<Key, Place>,
    /// Why only one namespace is counted, where the others may not be read.
    blind: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    at: usize,
    of: usize,
}

/// The places of those among these Canaries that wait. Nobody is asked where none does.
pub(super) async fn places(desk: &Desk<'_>, views: &[View], whole: bool) -> Result<Places, ReleaseError> {
    let Some(one) = views.iter().find(|view| is_queued(view)) else {
        return Ok(Places::default());
    };
    if whole {
        return Ok(Places::of(views, None));
    }
    match desk.all(None).await {
        Ok(all) => Ok(Places::of(&all, None)),
        Err(ReleaseError::Refused(words)) => {
            let near = desk.all(Some(&one.namespace)).await?;
            Ok(Places::of(&near, Some(words)))
        }
        Err(error) => Err(error),
    }
}

fn is_queued(view: &View) -> bool {
    matches!(stand(view), Stands::Queued(_))
}

fn stand(view: &View) -> Stands {
    view.block.as_ref().map_or(Stands::Idle, stands)
}

impl Places {
    fn of(views: &[View], blind: Option<String>) -> Self {
        let unlimited = Limits {
            fleet: None,
            namespace: None,
        };
        let ids: Vec<String> = views
            .iter()
            .map(|view| format!("{}/{}", view.namespace, view.name))
            .collect();
        let contenders = views.iter().zip(&ids).map(|(view, id)| Contender {
            id,
            namespace: &view.namespace,
            stands: stand(view),
        });
        let line = Line::new(unlimited, contenders);
        let of = line.order.len();
        let places = views.iter().zip(&ids).filter_map(|(view, id)| {
            let at = line.position(id)?;
            Some(((view.namespace.clone(), view.name.clone()), Place { at, of }))
        });
        Self {
            places: places.collect(),
            blind,
        }
    }

    fn place(&self, view: &View) -> Option<Place> {
        self.places.get(&(view.namespace.clone(), view.name.clone())).copied()
    }

    /// Such as `place 2 of 5`; `None` for one that does not wait.
    pub(super) fn short(&self, view: &View) -> Option<String> {
        let Place { at, of } = self.place(view)?;
        let scope = if self.blind.is_some() { " in this namespace" } else { "" };
        Some(format!("place {at} of {of}{scope}"))
    }

    /// The same with what it does not tell.
    pub(super) fn long(&self, view: &View) -> Option<String> {
        let short = self.short(view)?;
        let blind = self
            .blind
            .as_ref()
            .map(|words| format!("; other namespaces are not counted: {words}"));
        let blind = blind.unwrap_or_default();
        Some(format!(
            "{short}; the controller's limits are not known here: a full namespace is passed over{blind}"
        ))
    }

    /// For machines.
    pub(super) fn json(&self, view: &View) -> Value {
        self.place(view).map_or(
            Value::Null,
            |Place { at, of }| json!({"place": at, "of": of, "allNamespaces": self.blind.is_none()}),
        )
    }
}
