//! What the controller wrote about one application, in the order of time, and what that says about a release of it. What the API server
//! refused is no part of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::bench::requests::{Class, requests};
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;

/// An accepted write, as the API server saw it.
#[derive(Clone, Copy)]
pub struct Written {
    /// When it came in.
    pub received: DateTime<Utc>,
    /// When it had its answer.
    pub answered: DateTime<Utc>,
}

/// A write of a route, and the percentage that the canary has by the answer.
#[derive(Clone, Copy)]
pub struct Weighted {
    /// The write.
    pub write: Written,
    /// Percent of the requests.
    pub canary: u64,
}

/// What was written about one application, the earliest first.
#[derive(Default)]
pub struct Trail {
    /// The Canary's status.
    pub statuses: Vec<Written>,
    /// The route.
    pub routes: Vec<Weighted>,
    /// The primary's pod template: a promotion.
    pub promotions: Vec<Written>,
}

/// A promoted release, by what was written.
pub struct Course {
    /// The first write of each weight of the canary above zero, the way out.
    pub out: Vec<Written>,
    /// The primary's new template.
    pub promotion: Written,
    /// The route at 100/0 again.
    pub home: Written,
}

impl Trail {
    /// When the status came in that a write follows: this is when the controller had decided.
    pub fn decided(&self, write: &Written) -> DateTime<Utc> {
        let before = self.statuses.iter().rfind(|status| status.received <= write.received);
        before.unwrap_or(write).received
    }

    /// The first write after a moment that leaves the canary nothing, if the canary had something before.
    pub fn home_after(&self, moment: DateTime<Utc>) -> Option<Written> {
        let out = self.routes.iter().position(|route| route.canary > 0)?;
        let home = self.routes[out..]
            .iter()
            .find(|route| route.canary == 0 && route.write.received > moment);
        home.map(|route| route.write)
    }

    /// The release, if it went out, was promoted and came home, each once.
    pub fn course(&self) -> Option<Course> {
        let (home, out) = self.routes.split_last()?;
        let [promotion] = self.promotions[..] else {
            return None;
        };
        let mut out = out.to_vec();
        out.dedup_by_key(|route| route.canary);
        let goes_out = !out.is_empty() && out.iter().all(|route| route.canary > 0);
        (goes_out && home.canary == 0).then(|| Course {
            out: out.iter().map(|route| route.write).collect(),
            promotion,
            home: home.write,
        })
    }
}

/// What was written about each application of a namespace from a moment on, by its name: its Canary, its target and its route have one.
pub fn trails(cluster: &Cluster, namespace: &str, from: DateTime<Utc>) -> Outcome<BTreeMap<String, Trail>> {
    let mut trails: BTreeMap<String, Trail> = BTreeMap::new();
    for request in requests(cluster, from, Utc::now())? {
        let (place, name) = request.subject();
        if place != namespace || !request.is_accepted() {
            continue;
        }
        let application = name.strip_suffix("-primary").unwrap_or(name);
        let trail = trails.entry(application.to_owned()).or_default();
        let write = Written {
            received: request.received,
            answered: request.answered,
        };
        match (request.class(), request.resource()) {
            (Class::Status, _) => trail.statuses.push(write),
            (Class::Route, "virtualservices") => trail.routes.push(Weighted {
                write,
                canary: canary_weight(&request.object, name)
                    .ok_or_else(|| format!("a route without a weight for {name}-canary: {}", request.object))?,
            }),
            (Class::Template, _) if name.ends_with("-primary") => trail.promotions.push(write),
            _ => {}
        }
    }
    for trail in trails.values_mut() {
        trail.statuses.sort_by_key(|write| write.received);
        trail.routes.sort_by_key(|route| route.write.received);
        trail.promotions.sort_by_key(|write| write.received);
    }
    Ok(trails)
}

/// The canary's share by the first rule of a `VirtualService`.
pub fn canary_weight(route: &Value, application: &str) -> Option<u64> {
    let spec = &route["spec"];
    let rule = [&spec["http"][0], &spec["tcp"][0]]
        .into_iter()
        .find(|rule| rule.is_object())?;
    let canary = format!("{application}-canary");
    let of_canary = |destination: &&Value| destination["destination"]["host"] == canary.as_str();
    let destination = rule["route"].as_array()?.iter().find(of_canary)?;
    // A weight of zero may be left out.
    Some(destination["weight"].as_u64().unwrap_or(0))
}
