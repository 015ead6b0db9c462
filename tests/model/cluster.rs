//! What the API server holds, and what each write does to it. Versions are small numbers that only tell "the same" from "changed".

use serin::rollout::{Assertion, Fingerprint, Selects, Side, Weight, Workload};

use crate::laws::number;

/// One side's Deployment, its controller and its kubelets, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Workers {
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
}

impl Workers {
    fn change(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        self.observed = false;
        self.generation += 1;
    }

    /// Gives it another template.
    pub fn roll(&mut self, template: u8) {
        self.change(|it| {
            if it.template != template {
                it.old += it.ready;
                it.ready = 0;
                it.template = template;
            }
        });
    }

    /// One step of the Deployment controller or a kubelet; false when there is nothing to do.
    pub const fn step(&mut self, recreate: bool) -> bool {
        if !self.observed {
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

    /// What the controller of Serin reads of it.
    pub fn workload(self, recreate: bool) -> Workload {
        let complete = self.observed && self.replicas > 0 && self.ready >= self.replicas && self.old == 0;
        let mut workload = Workload {
            fingerprint: Some(fingerprint(self.template)),
            replicas: self.replicas.into(),
            worst_ready: if recreate { 0 } else { self.replicas.into() },
            ..Workload::default()
        };
        workload.rollout.observed = self.observed;
        workload.rollout.complete = complete;
        workload.rollout.updated = self.ready.into();
        workload.rollout.available = self.ready.into();
        workload
    }
}

/// The objects around one Canary.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// The team's Deployment.
    pub target: Workers,
    /// `<target>-primary`.
    pub primary: Workers,
    /// The route's weight.
    pub route: Weight,
    /// The route's resourceVersion.
    pub route_version: u8,
    /// Whose pods the apex selects.
    pub apex: Selected,
    /// The apex's resourceVersion.
    pub apex_version: u8,
    /// Revisions in the store: a bit each.
    pub stored: u8,
}

/// [`Selects`], as far as a foreign edit may change it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Selected {
    /// The primary's pods, as it should be.
    Primary,
    /// Somebody else's.
    Other,
}

impl From<Selected> for Selects {
    fn from(selected: Selected) -> Self {
        match selected {
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
            Assertion::PrimaryTemplate { revision, replicas, .. } => {
                same(from.primary == now.primary && self.has(revision), Conflict::Primary)?;
                let least = u8::try_from(*replicas).unwrap_or(u8::MAX);
                self.primary.roll(template(revision));
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
            Assertion::Route(traffic) => {
                same(from.route == now.route, Conflict::Route)?;
                self.route = traffic.weight;
                self.route_version += 1;
            }
            Assertion::Apex(_) => {
                same(from.apex == now.apex, Conflict::Apex)?;
                self.apex = Selected::Primary;
                self.apex_version += 1;
            }
            // These stand from the beginning, or change nothing in the cluster.
            _ => {}
        }
        Ok(())
    }

    /// The cache takes over the object of a write or a live read, and nothing else.
    pub const fn lay(&mut self, deed: &Assertion, truth: &Self) {
        match deed {
            Assertion::Stored(_) | Assertion::Pruned(_) => self.stored = truth.stored,
            Assertion::PrimaryTemplate { .. }
            | Assertion::Floor {
                side: Side::Primary, ..
            } => {
                self.primary = truth.primary;
            }
            Assertion::Floor { side: Side::Canary, .. } | Assertion::TargetDown => self.target = truth.target,
            Assertion::Route(_) => (self.route, self.route_version) = (truth.route, truth.route_version),
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
