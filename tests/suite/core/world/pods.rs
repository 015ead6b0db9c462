//! One side's Deployment, its controller and its kubelets, as numbers.

use chrono::{DateTime, TimeDelta, Utc};
use serin::rollout::{Fingerprint, Rollout, Workload};

/// One side's Deployment and its pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Pods {
    /// When the Deployment was made; its uid is made of it.
    pub made: DateTime<Utc>,
    /// The template.
    pub template: u32,
    /// `spec.replicas`.
    pub replicas: u32,
    /// Ready pods of the present template.
    pub ready: u32,
    /// Ready pods of an earlier one.
    pub old: u32,
    /// `deployment.kubernetes.io/revision`.
    pub anchor: u32,
    /// `metadata.generation`, where a test speaks of it.
    pub generation: Option<u64>,
    /// When the last pod got ready, or the template changed.
    pub moved: DateTime<Utc>,
}

impl Pods {
    /// A Deployment of which no pod is ready yet.
    pub const fn new(template: u32, replicas: u32, now: DateTime<Utc>) -> Self {
        Self {
            made: now,
            template,
            replicas,
            ready: 0,
            old: 0,
            anchor: 1,
            generation: None,
            moved: now,
        }
    }

    /// Gives it another template.
    pub const fn roll(&mut self, template: u32, now: DateTime<Utc>) {
        self.old += self.ready;
        self.ready = 0;
        self.template = template;
        self.anchor += 1;
        self.moved = now;
    }

    /// One round of the Deployment controller and the kubelets.
    pub fn settle(&mut self, recreate: bool, broken: bool, now: DateTime<Utc>) {
        if recreate && self.old > 0 {
            self.old = 0;
        } else if !broken && self.ready < self.replicas {
            self.ready += 1;
            self.moved = now;
            if self.ready + self.old > self.replicas {
                self.old = self.old.saturating_sub(1);
            }
        } else if self.ready + self.old > self.replicas {
            let surplus = self.ready + self.old - self.replicas;
            let from_old = surplus.min(self.old);
            self.old -= from_old;
            self.ready -= surplus - from_old;
        }
        if self.replicas == 0 {
            (self.ready, self.old) = (0, 0);
        }
    }

    /// What the controller of Serin reads of it.
    pub fn workload(&self, recreate: bool, now: DateTime<Utc>, fingerprint: Fingerprint) -> Workload {
        let complete = self.replicas > 0 && self.ready >= self.replicas && self.old == 0;
        Workload {
            uid: self.made.to_string(),
            fingerprint: Some(fingerprint),
            anchor: Some(self.anchor.to_string()),
            generation: self.generation,
            replicas: self.replicas,
            rollout: Rollout {
                observed: true,
                complete,
                updated: self.ready,
                available: self.ready,
                deadline_exceeded: !complete && self.replicas > 0 && now - self.moved > TimeDelta::seconds(600),
                message: format!("{} of {} ready", self.ready, self.replicas),
            },
            worst_ready: if recreate { 0 } else { self.replicas },
            ..Workload::default()
        }
    }
}
