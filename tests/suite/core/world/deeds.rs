//! What the API server does with each assertion that is not met.

use chrono::{DateTime, TimeDelta, Utc};
use serin::rollout::{Affinity, Assertion, Block, Destination, Leftover, Observation, Rehearsal, Side, Stage, Weight};

use super::{Actual, Pods, World, fingerprint, number};

/// What the data plane is given to follow.
const SETTLE: TimeDelta = TimeDelta::seconds(2);

/// An assertion in the log.
fn words(assertion: &Assertion) -> String {
    let Assertion::Route(traffic) = assertion else {
        return format!("{assertion:?}");
    };
    let matched = if traffic.matched { ", of those that match" } else { "" };
    let copies = traffic
        .mirror
        .map_or_else(String::new, |percent| format!(", {percent} copied"));
    let cookies = match &traffic.affinity {
        Some(Affinity::Kept { primary: Some(_), .. }) => ", both cookies",
        Some(Affinity::Kept { primary: None, .. }) => ", a cookie",
        Some(Affinity::TakenBack(_)) => ", a cookie taken back",
        None => "",
    };
    format!("Route({:?}{matched}{copies}{cookies})", traffic.weight)
}

impl World {
    /// Makes it true, with the cache showing our own write at once.
    pub(super) fn apply(&mut self, assertion: &Assertion, block: &Block, observation: &Observation) {
        let of_route = matches!(
            assertion,
            Assertion::Route(_)
                | Assertion::RouteAnnounced(_)
                | Assertion::RouteLeads(_)
                | Assertion::RouteHandedBack { .. }
        );
        let state = |it: &Actual| (it.route, it.traffic.clone(), it.handed_back, it.announced);
        if of_route && state(&self.actual) != state(&self.cached) {
            // A write of a route carries the version that was seen, and is refused where that is late.
            return self.refresh();
        }
        self.hold_deed(assertion, block, observation);
        self.log.push(words(assertion));
        let now = self.now;
        match assertion {
            Assertion::Finalizer => self.actual.finalizer = true,
            Assertion::Stored(wanted) => {
                // Copied from what was read, as the controller does.
                let sides = [self.cached.target.as_ref(), self.cached.primary.as_ref()];
                if sides
                    .into_iter()
                    .flatten()
                    .any(|side| fingerprint(side.template) == *wanted)
                {
                    self.actual.stored.insert(wanted.clone());
                    self.cached.stored.insert(wanted.clone());
                }
            }
            Assertion::PrimaryExists { revision, replicas } => {
                if self.actual.primary.is_none() && self.actual.stored.contains(revision) {
                    self.actual.primary = Some(Pods::new(number(revision), *replicas, now));
                }
                self.cached.primary.clone_from(&self.actual.primary);
            }
            Assertion::PrimaryTemplate { revision, replicas, .. } => {
                if !self.actual.stored.contains(revision) {
                    return;
                }
                if let Some(primary) = &mut self.actual.primary {
                    primary.roll(number(revision), now);
                    primary.replicas = primary.replicas.max(*replicas);
                }
                self.cached.primary.clone_from(&self.actual.primary);
            }
            Assertion::Floor { side, replicas } => {
                let pods = match side {
                    Side::Primary => &mut self.actual.primary,
                    Side::Canary => &mut self.actual.target,
                };
                if let Some(pods) = pods {
                    pods.replicas = pods.replicas.max(*replicas);
                }
                self.cached.target.clone_from(&self.actual.target);
                self.cached.primary.clone_from(&self.actual.primary);
            }
            Assertion::PrimaryRestarted { .. } | Assertion::PrimaryNamed(_) => {
                unreachable!("no Canary of this world reads configurations")
            }
            Assertion::PrimaryScaler { .. } => unreachable!("no Canary of this world names a scaler"),
            Assertion::TargetDown => {
                if let Some(target) = &mut self.actual.target {
                    target.replicas = 0;
                }
                self.cached.target.clone_from(&self.actual.target);
            }
            Assertion::SideService(side) => self.side_drawn(*side, |world| &mut world.sides),
            Assertion::SideDestination(side) => self.side_drawn(*side, |world| &mut world.destinations),
            Assertion::Route(_)
            | Assertion::RouteAnnounced(_)
            | Assertion::RouteLeads(_)
            | Assertion::RouteHandedBack { .. } => self.apply_to_route(assertion, block),
            Assertion::Apex(selects) => (self.actual.apex, self.cached.apex) = (Some(*selects), Some(*selects)),
            Assertion::Rehearsed { run, .. } => self.memory.rehearsal = Some((*run, Rehearsal::Accepted)),
            Assertion::Pruned(keep) => {
                self.actual.stored.retain(|one| keep.contains(one));
                self.cached.stored = self.actual.stored.clone();
            }
            Assertion::Discarded(leftovers) => {
                for leftover in leftovers {
                    assert!(matches!(leftover, Leftover::Service(_)), "{leftover:?} still serves");
                }
                // Without a route nothing leads there but the apex Service's own selector.
                let led_away = self.actual.handed_back || !block.subject.has_route();
                assert!(led_away, "the route still leads there: {:#?}", self.log);
                (self.actual.sides, self.cached.sides) = ((false, false), (false, false));
            }
            Assertion::Released { .. } => (self.actual.owned, self.cached.owned) = (false, false),
            Assertion::Unfinalized { .. } => {
                self.actual.finalizer = false;
                self.gone = true;
            }
        }
    }

    fn apply_to_route(&mut self, assertion: &Assertion, block: &Block) {
        let now = self.now;
        match assertion {
            Assertion::Route(traffic) => {
                assert_eq!(self.actual.destinations, (true, true), "before routes");
                assert!(self.has_route(), "there is no route to write");
                if (self.actual.route, &self.actual.traffic) != (Some(traffic.weight), traffic) {
                    self.route_since = now;
                }
                self.actual.traffic = traffic.clone();
                let names_others = self.actual.handed_back || self.actual.announced.is_some();
                if names_others && block.stage == Stage::Initializing {
                    self.assert_parted(Destination::Sides, block);
                }
                (self.actual.route, self.actual.handed_back) = (Some(traffic.weight), false);
                self.route_written(None);
            }
            Assertion::RouteAnnounced(destination) => {
                let apex_gets = *destination == Destination::Apex;
                assert!(
                    !apex_gets || !self.actual.handed_back,
                    "what gets the traffic needs no announcement: {:#?}",
                    self.log
                );
                self.route_written(Some(now));
            }
            Assertion::RouteLeads(destination) => {
                let apex_gets = *destination == Destination::Apex;
                if self.actual.handed_back != apex_gets {
                    self.assert_announced(block);
                    (self.route_since, self.led_since) = (now, now);
                }
                if !apex_gets && self.actual.route != Some(Weight::ZERO) {
                    (self.route_since, self.led_since) = (now, now);
                    self.actual.route = Some(Weight::ZERO);
                }
                self.actual.handed_back = apex_gets;
                self.route_written(self.actual.announced.or(Some(now)));
            }
            Assertion::RouteHandedBack { .. } => {
                self.assert_parted(Destination::Apex, block);
                self.actual.handed_back = true;
                self.route_written(None);
            }
            _ => {}
        }
    }

    /// What stands beside a side is there, and the cache shows it at once.
    fn side_drawn(&mut self, side: Side, both: fn(&mut Actual) -> &mut (bool, bool)) {
        for world in [&mut self.actual, &mut self.cached] {
            let (primary, canary) = both(world);
            *(if side == Side::Primary { primary } else { canary }) = true;
        }
    }

    /// What a write of the route leaves, as the cache shows it at once.
    fn route_written(&mut self, announced: Option<DateTime<Utc>>) {
        self.actual.announced = announced;
        self.cached.route = self.actual.route;
        self.cached.traffic.clone_from(&self.actual.traffic);
        self.cached.handed_back = self.actual.handed_back;
        self.cached.announced = announced;
    }

    /// Traffic goes to other Services only when the data plane has had the time to load them, or the patience is over.
    fn assert_announced(&self, block: &Block) {
        let since = self.actual.announced;
        let settled = since.is_some_and(|since| self.now - since >= SETTLE);
        assert!(
            settled || self.is_late(block),
            "switched to Services that were not announced: {:#?}",
            self.log
        );
    }

    /// A Service is no longer named only when the data plane has had the time to send its traffic elsewhere.
    fn assert_parted(&self, destination: Destination, block: &Block) {
        let leads_there = self.actual.handed_back == (destination == Destination::Apex);
        let settled = self.now - self.led_since >= SETTLE;
        assert!(
            (leads_there && settled) || self.is_late(block),
            "took Services out of the route that had traffic until then: {:#?}",
            self.log
        );
    }

    fn is_late(&self, block: &Block) -> bool {
        self.now - block.since >= TimeDelta::seconds(60)
    }
}
