//! What the API server holds, and what each write does to it. Versions are small numbers that only tell "the same" from "changed".

use serin::rollout::{
    Assertion, Confirmation, Destination, Fingerprint, Known, RouteFacts, Selects, ServiceFacts, Side, Traffic, Weight,
    Workload,
};

use crate::laws::number;

/// One side's Deployment, its controller and its kubelets, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Workers {
    /// The Deployment exists.
    pub stands: bool,
    /// The template.
    pub template: u8,
    /// `spec.replicas`.
    pub replicas: u8,
    /// Ready pods of the present template.
    pub ready: u8,
    /// Ready pods of an earlier one.
    pub old: u8,
    /// `status.observedGeneration` has caught up.
    pub observed: bool,
    /// `metadata.generation`.
    pub generation: u8,
    /// By which run and which attempt of it its pods were made anew.
    pub attempt: Option<(u64, u32)>,
}

impl Workers {
    fn change(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        self.observed = false;
        self.generation += 1;
    }

    /// Gives it another template.
    pub fn roll(&mut self, template: u8, attempt: Option<(u64, u32)>) {
        self.change(|it| {
            if (it.template, it.attempt) != (template, attempt) {
                it.old += it.ready;
                it.ready = 0;
                (it.template, it.attempt) = (template, attempt);
            }
        });
    }

    /// One step of the Deployment controller or a kubelet; false when there is nothing to do.
    pub const fn step(&mut self, recreate: bool) -> bool {
        if !self.stands {
            return false;
        } else if !self.observed {
            self.observed = true;
        } else if self.replicas == 0 && self.serving() > 0 {
            (self.ready, self.old) = (0, 0);
        } else if recreate && self.old > 0 {
            self.old = 0;
        } else if self.ready < self.replicas {
            self.ready += 1;
            if self.serving() > self.replicas && self.old > 0 {
                self.old -= 1;
            }
        } else if self.old > 0 {
            self.old -= 1;
        } else if self.ready > self.replicas {
            self.ready -= 1;
        } else {
            return false;
        }
        true
    }

    /// Pods that answer requests.
    pub const fn serving(self) -> u8 {
        self.ready + self.old
    }

    /// Whether it will answer when its controller has done what was asked of it.
    const fn lasts(self) -> bool {
        self.stands && self.replicas > 0 && self.serving() > 0
    }

    /// What the controller of Serin reads of it.
    pub fn workload(self, recreate: bool, owned: bool) -> Known<Workload> {
        if !self.stands {
            return Known::Absent;
        }
        let complete = self.observed && self.replicas > 0 && self.ready >= self.replicas && self.old == 0;
        let mut workload = Workload {
            fingerprint: Some(fingerprint(self.template)),
            replicas: self.replicas.into(),
            worst_ready: if recreate { 0 } else { self.replicas.into() },
            owned,
            attempt: self.attempt,
            ..Workload::default()
        };
        workload.rollout.observed = self.observed;
        workload.rollout.complete = complete;
        workload.rollout.updated = self.ready.into();
        workload.rollout.available = self.ready.into();
        Known::Present(workload)
    }
}

/// The route: what it leads to, and what else it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Road {
    /// It exists.
    pub stands: bool,
    /// It leads to the apex Service, as the team's own did and as it is handed back; else to the sides.
    pub to_apex: bool,
    /// It names both, whichever it leads to.
    pub both: bool,
    /// What the canary's side gets where it leads to the sides.
    pub weight: Weight,
}

impl Road {
    /// No route.
    pub const NONE: Self = Self {
        stands: false,
        to_apex: false,
        both: false,
        weight: Weight::ZERO,
    };
    /// The team's own.
    pub const TEAMS: Self = Self {
        stands: true,
        to_apex: true,
        ..Self::NONE
    };
    /// All to the primary.
    pub const HOME: Self = Self {
        stands: true,
        ..Self::NONE
    };

    /// Where requests go: not what it names besides.
    pub const fn leads(self) -> (bool, bool, Weight) {
        (self.stands, self.to_apex, self.weight)
    }

    /// What a write of ours makes of it.
    fn draw(&mut self, deed: &Assertion) {
        match deed {
            Assertion::Route(traffic) => {
                *self = Self {
                    weight: traffic.weight,
                    ..Self::HOME
                }
            }
            Assertion::RouteAnnounced(_) => self.both = true,
            Assertion::RouteLeads(to) => {
                self.both = true;
                self.to_apex = *to == Destination::Apex;
                self.weight = Weight::ZERO;
            }
            Assertion::RouteHandedBack { .. } => *self = Self::TEAMS,
            _ => {}
        }
    }

    /// What the controller of Serin reads of it.
    pub fn facts(self, owned: bool) -> Known<RouteFacts> {
        if !self.stands {
            return Known::Absent;
        }
        let (home, both) = (self.to_apex, self.both);
        Known::Present(RouteFacts {
            weight: (!home).then_some(self.weight),
            drawn: (!home && !both).then(|| Traffic::shared(self.weight)),
            owned,
            confirmed: Confirmation::Confirmed,
            announced: !home || both,
            apex_announced: home || both,
            names_others: home || both,
            parting: match (both, home) {
                (true, true) => Some(Destination::Apex),
                (true, false) if self.weight == Weight::ZERO => Some(Destination::Sides),
                _ => None,
            },
            handed_back: home && !both,
        })
    }
}

/// What the garbage collector takes with the Canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owned {
    /// The apex Service.
    pub apex: bool,
    /// The route.
    pub route: bool,
    /// The primary and the Services of both sides.
    pub sides: bool,
}

/// The objects around one Canary.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// The team's Deployment.
    pub target: Workers,
    /// `<target>-primary`.
    pub primary: Workers,
    /// The Services of both sides exist.
    pub sides: [bool; 2],
    /// The route.
    pub route: Road,
    /// The route's resourceVersion.
    pub route_version: u8,
    /// Whose pods the apex selects.
    pub apex: Selected,
    /// The apex's resourceVersion.
    pub apex_version: u8,
    /// Revisions in the store: a bit each.
    pub stored: u8,
    /// What belongs to the Canary.
    pub owned: Owned,
}

/// [`Selects`], hashable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Selected {
    /// The target's pods, as before and after Serin.
    Target,
    /// The primary's pods.
    Primary,
    /// Somebody else's.
    Other,
}

impl From<Selected> for Selects {
    fn from(selected: Selected) -> Self {
        match selected {
            Selected::Target => Self::Target,
            Selected::Primary => Self::Primary,
            Selected::Other => Self::Other,
        }
    }
}

/// The version of each object that a write may be computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Versions {
    /// Generation of the target.
    pub target: u8,
    /// Generation of the primary.
    pub primary: u8,
    /// Version of the route.
    pub route: u8,
    /// Version of the apex.
    pub apex: u8,
}

/// The object of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The target.
    Target,
    /// The primary.
    Primary,
    /// The route.
    Route,
    /// The apex.
    Apex,
}

impl Cluster {
    /// The versions as they are.
    pub const fn versions(&self) -> Versions {
        Versions {
            target: self.target.generation,
            primary: self.primary.generation,
            route: self.route_version,
            apex: self.apex_version,
        }
    }

    /// Whether the store has it.
    pub fn has(&self, revision: &Fingerprint) -> bool {
        self.stored & bit(revision) != 0
    }

    /// A write arrives that was computed from these versions. What creates or deletes by name has no version to compare.
    pub fn receive(&mut self, deed: &Assertion, from: Versions) -> Result<(), Conflict> {
        let now = self.versions();
        let same = |same: bool, conflict| if same { Ok(()) } else { Err(conflict) };
        match deed {
            Assertion::Stored(revision) => self.stored |= bit(revision),
            Assertion::Pruned(keep) => self.stored &= keep.iter().map(bit).fold(0, |all, one| all | one),
            Assertion::PrimaryExists { revision, replicas } if !self.primary.stands && self.has(revision) => {
                self.primary = Workers {
                    stands: true,
                    template: template(revision),
                    replicas: u8::try_from(*replicas).unwrap_or(u8::MAX),
                    ready: 0,
                    old: 0,
                    observed: false,
                    generation: self.primary.generation + 1,
                    attempt: None,
                };
                self.owned.sides = true;
            }
            Assertion::SideService(side) => {
                self.sides[usize::from(*side == Side::Canary)] = true;
                self.owned.sides = true;
            }
            Assertion::PrimaryTemplate {
                revision,
                replicas,
                run,
                attempt,
                ..
            } => {
                same(from.primary == now.primary && self.has(revision), Conflict::Primary)?;
                let least = u8::try_from(*replicas).unwrap_or(u8::MAX);
                self.primary
                    .roll(template(revision), (*attempt > 0).then_some((*run, *attempt)));
                self.primary.replicas = self.primary.replicas.max(least);
            }
            Assertion::Floor { side, replicas } => {
                let least = u8::try_from(*replicas).unwrap_or(u8::MAX);
                let (workers, stands, conflict) = match side {
                    Side::Primary => (&mut self.primary, from.primary == now.primary, Conflict::Primary),
                    Side::Canary => (&mut self.target, from.target == now.target, Conflict::Target),
                };
                same(stands, conflict)?;
                workers.change(|it| it.replicas = it.replicas.max(least));
            }
            Assertion::TargetDown => {
                same(from.target == now.target, Conflict::Target)?;
                self.target.change(|it| it.replicas = 0);
            }
            Assertion::Route(_)
            | Assertion::RouteAnnounced(_)
            | Assertion::RouteLeads(_)
            | Assertion::RouteHandedBack { .. } => {
                same(from.route == now.route, Conflict::Route)?;
                self.route.draw(deed);
                self.owned.route = true;
                self.route_version += 1;
            }
            Assertion::Apex(selects) => {
                same(from.apex == now.apex, Conflict::Apex)?;
                self.apex = if *selects == Selects::Primary {
                    Selected::Primary
                } else {
                    Selected::Target
                };
                self.owned.apex = true;
                self.apex_version += 1;
            }
            Assertion::Released { everything } => {
                (self.owned.apex, self.owned.route) = (false, false);
                self.owned.sides &= !everything;
            }
            // These change nothing in the cluster.
            _ => {}
        }
        Ok(())
    }

    /// The Canary is gone, and the garbage collector with it takes what it owns.
    pub const fn collect(&mut self) {
        if self.owned.sides {
            self.sides = [false; 2];
            (self.primary.stands, self.primary.ready, self.primary.old) = (false, 0, 0);
        }
        if self.owned.route {
            self.route = Road::NONE;
        }
        if self.owned.apex {
            self.apex = Selected::Other;
        }
    }

    /// Whether every request finds a pod, now and when the Deployments have done what was asked of them: those that come by the
    /// route, and those that call the apex Service.
    pub fn answers(&self) -> bool {
        let called = match self.apex {
            Selected::Target => self.target.lasts(),
            Selected::Primary => self.primary.lasts(),
            Selected::Other => false,
        };
        let Road {
            stands,
            to_apex,
            weight,
            ..
        } = self.route;
        let shared = |has: bool, side: Workers, there: bool| !has || (there && side.lasts());
        let led = !stands
            || to_apex
            || (shared(weight < Weight::FULL, self.primary, self.sides[0])
                && shared(weight > Weight::ZERO, self.target, self.sides[1]));
        called && led
    }

    /// The Services as the controller of Serin reads them: the primary's, the canary's, the apex.
    pub fn services(&self) -> [Known<ServiceFacts>; 3] {
        let service = |there: bool, selects, owned| {
            let facts = ServiceFacts {
                drawn: true,
                selects,
                owned,
            };
            if there { Known::Present(facts) } else { Known::Absent }
        };
        [
            service(self.sides[0], Selects::Primary, self.owned.sides),
            service(self.sides[1], Selects::Target, self.owned.sides),
            service(true, self.apex.into(), self.owned.apex),
        ]
    }

    /// The cache takes over the object of a write or a live read, and nothing else.
    pub const fn lay(&mut self, deed: &Assertion, truth: &Self) {
        match deed {
            Assertion::Stored(_) | Assertion::Pruned(_) => self.stored = truth.stored,
            Assertion::PrimaryExists { .. }
            | Assertion::PrimaryTemplate { .. }
            | Assertion::Floor {
                side: Side::Primary, ..
            } => {
                self.primary = truth.primary;
            }
            Assertion::SideService(_) => self.sides = truth.sides,
            Assertion::Released { .. } => self.owned = truth.owned,
            Assertion::Floor { side: Side::Canary, .. } | Assertion::TargetDown => self.target = truth.target,
            Assertion::Route(_)
            | Assertion::RouteAnnounced(_)
            | Assertion::RouteLeads(_)
            | Assertion::RouteHandedBack { .. } => {
                (self.route, self.route_version) = (truth.route, truth.route_version);
                self.owned.route = truth.owned.route;
            }
            Assertion::Apex(_) => (self.apex, self.apex_version) = (truth.apex, truth.apex_version),
            _ => {}
        }
    }
}

/// The fingerprint of a template.
pub fn fingerprint(template: u8) -> Fingerprint {
    Fingerprint(format!("v1:{template:x}"))
}

/// The template of a fingerprint.
pub fn template(revision: &Fingerprint) -> u8 {
    u8::try_from(number(revision)).unwrap_or(0)
}

fn bit(revision: &Fingerprint) -> u8 {
    1_u8.checked_shl(template(revision).into()).unwrap_or(0)
}
