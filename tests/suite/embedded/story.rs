//! What was written, in order: the story that a failed test tells, and the history that a test asks.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use serin::sim::{
    apiserver::{ApiServer, Write},
    world::route_shape::route_shape,
};

/// One moment of a Canary's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    pub at: DateTime<Utc>,
    /// `status.phase`.
    pub phase: String,
    /// `status.canaryWeight`.
    pub weight: u64,
    /// `status.serin.stage`.
    pub stage: String,
    /// `status.serin.why.reason`.
    pub reason: String,
    /// The Canary's name.
    pub of: String,
}

/// One Event as it was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub at: DateTime<Utc>,
    pub text: String,
    pub warning: bool,
}

#[derive(Debug, Default)]
struct Inner {
    lines: Vec<String>,
    moments: Vec<Moment>,
    routes: Vec<(DateTime<Utc>, u64)>,
    told: Vec<Told>,
    writes_of_serin: usize,
    templates: Vec<(DateTime<Utc>, String)>,
    confirmations: Vec<DateTime<Utc>>,
}

/// The story of one embedded cluster; clones are handles to the same one.
#[derive(Debug, Clone, Default)]
pub struct Story {
    inner: Arc<Mutex<Inner>>,
}

impl Story {
    /// Listens to every write from now on.
    pub fn of(api: &ApiServer) -> Self {
        let story = Self::default();
        let inside = story.inner.clone();
        api.on_write(move |write| inside.lock().unwrap_or_else(PoisonError::into_inner).hear(write));
        story
    }

    /// Adds a line of the test's own.
    pub fn note(&self, at: DateTime<Utc>, text: &str) {
        self.with(|inner| inner.lines.push(format!("{} --- {text}", clock(at))));
    }

    /// The states that the status went through, repetitions left out.
    pub fn moments(&self) -> Vec<Moment> {
        self.with(|inner| inner.moments.clone())
    }

    /// The weights that the routes gave the canary, repetitions left out.
    pub fn weights(&self) -> Vec<u64> {
        let mut weights: Vec<_> = self.with(|inner| inner.routes.iter().map(|(_, weight)| *weight).collect());
        weights.dedup();
        weights
    }

    /// The same, with the time of each write.
    pub fn timed_weights(&self) -> Vec<(DateTime<Utc>, u64)> {
        self.with(|inner| inner.routes.clone())
    }

    /// The Events, in the order in which they were written.
    pub fn told(&self) -> Vec<Told> {
        self.with(|inner| inner.told.clone())
    }

    /// How many writes Serin made.
    pub fn writes_of_serin(&self) -> usize {
        self.with(|inner| inner.writes_of_serin)
    }

    /// When the router took over another generation of a route.
    pub fn confirmations(&self) -> Vec<DateTime<Utc>> {
        self.with(|inner| inner.confirmations.clone())
    }

    /// Every pod template that the primary was given: when, and its first image.
    pub fn primary_templates(&self) -> Vec<(DateTime<Utc>, String)> {
        self.with(|inner| inner.templates.clone())
    }

    /// All of it, for people.
    pub fn tell(&self) -> String {
        self.with(|inner| inner.lines.join("\n"))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn clock(at: DateTime<Utc>) -> String {
    at.format("%H:%M:%S%.3f").to_string()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl Inner {
    fn hear(&mut self, write: &Write<'_>) {
        let by_serin = write.user.starts_with("serin");
        if by_serin && write.kind != "Lease" {
            self.writes_of_serin += 1;
        }
        let told = match (write.kind, write.after) {
            ("Canary", Some(canary)) => Some(self.canary(write, canary)),
            (kind, Some(route)) if route_shape(kind).is_some() => self.route(write, route),
            ("Deployment", Some(deployment)) => self.deployment(write, deployment),
            ("Service", Some(service)) => Some(format!("selects {}", service["spec"]["selector"])),
            ("Event", Some(event)) => {
                let told = Told {
                    at: write.time,
                    text: text(event, "/message").to_owned(),
                    warning: text(event, "/type") == "Warning",
                };
                let line = format!("{}: {}", text(event, "/type"), told.text);
                self.told.push(told);
                Some(line)
            }
            ("Pod" | "ReplicaSet" | "EndpointSlice" | "Lease", _) => None,
            (_, after) => Some(if after.is_some() { "written" } else { "gone" }.to_owned()),
        };
        if let Some(told) = told {
            let (verb, kind, name, user) = (write.verb, write.kind, write.name, write.user);
            let mut line = clock(write.time);
            let _ = write!(line, " {user:<24} {verb:<6} {kind} {name}: {told}");
            self.lines.push(line);
        }
    }

    fn canary(&mut self, write: &Write<'_>, canary: &Value) -> String {
        if write.subresource != "status" {
            return format!("finalizers {}", canary["metadata"]["finalizers"]);
        }
        let status = &canary["status"];
        let moment = Moment {
            at: write.time,
            phase: text(status, "/phase").to_owned(),
            weight: status["canaryWeight"].as_u64().unwrap_or_default(),
            stage: text(status, "/serin/stage").to_owned(),
            reason: text(status, "/serin/why/reason").to_owned(),
            of: write.name.to_owned(),
        };
        let line = format!(
            "{} {} at {} ({}: {}), failed checks {}",
            moment.phase,
            moment.stage,
            moment.weight,
            moment.reason,
            text(status, "/serin/why/message"),
            status["failedChecks"],
        );
        self.moments.push(moment);
        line
    }

    fn route(&mut self, write: &Write<'_>, route: &Value) -> Option<String> {
        if write.subresource == "status" {
            self.confirmations.push(write.time);
            return None;
        }
        let shape = route_shape(write.kind)?;
        let rule = shape.leading(route).unwrap_or(&Value::Null);
        let backends = shape.backends_of(rule);
        let canary = backends.iter().find(|it| shape.service_of(it).ends_with("-canary"));
        if let Some(canary) = canary {
            self.routes.push((write.time, shape.weight_of(canary)));
        }
        let shares = backends
            .iter()
            .map(|it| format!("{} {}", shape.service_of(it), it["weight"]));
        Some(shares.collect::<Vec<_>>().join(", "))
    }

    fn deployment(&mut self, write: &Write<'_>, deployment: &Value) -> Option<String> {
        let image = text(deployment, "/spec/template/spec/containers/0/image").to_owned();
        let before = write.before.map_or(&Value::Null, |before| &before["spec"]["template"]);
        if write.name.ends_with("-primary") && *before != deployment["spec"]["template"] {
            self.templates.push((write.time, image.clone()));
        }
        let spec_stands = write.before.is_some_and(|before| before["spec"] == deployment["spec"]);
        let status = &deployment["status"];
        let line = format!(
            "{image}, {} replicas, {} updated, {} ready",
            deployment["spec"]["replicas"], status["updatedReplicas"], status["readyReplicas"]
        );
        (!spec_stands || write.subresource == "status").then_some(line)
    }
}
