//! The controller's requests, counted in the API server's audit log.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, BufReader};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::control_plane::AUDIT_LOG;
use crate::harness::installation::NAMESPACE;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A Canary's status.
    Status,
    /// A route or a destination.
    Route,
    /// The number of a workload's pods.
    Scale,
    /// A workload's pod template, or anything else of it.
    Template,
    /// A stored revision.
    Revision,
    /// A Kubernetes Event.
    Event,
    /// Another write.
    OtherWrite,
    /// A write that was not meant to be one.
    DryRun,
    /// An object or a list.
    Read,
    /// The leader's claim.
    Lease,
    /// A watch that begins or goes on.
    Watch,
}

/// Each class that has a mark, its name and the mark for one release of three steps.
const MARKS: [(Class, &str, &str); 9] = [
    (Class::Status, "status", "8"),
    (Class::Route, "routes", "4"),
    (Class::Scale, "scale", "2"),
    (Class::Template, "template", "1"),
    (Class::Revision, "revisions", "2"),
    (Class::Event, "events", "11"),
    (Class::OtherWrite, "other writes", "0"),
    (Class::Read, "reads", "0"),
    (Class::DryRun, "dry runs, counted apart", "4"),
];

/// One line of the log. Source: Kubernetes documentation, `audit.k8s.io/v1`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    #[serde(default)]
    object_ref: Subject,
    #[serde(rename = "requestReceivedTimestamp")]
    received: DateTime<Utc>,
    #[serde(rename = "stageTimestamp")]
    answered: DateTime<Utc>,
    #[serde(default, rename = "requestObject")]
    body: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subject {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

impl Request {
    fn class(&self) -> Class {
        let Subject {
            resource, subresource, ..
        } = &self.object_ref;
        match (self.verb.as_str(), resource.as_str(), subresource.as_str()) {
            (_, "leases", _) => Class::Lease,
            ("watch", ..) => Class::Watch,
            ("get" | "list", ..) => Class::Read,
            _ if self.uri.contains("dryRun=") => Class::DryRun,
            (_, "canaries", "status") => Class::Status,
            (_, "virtualservices" | "destinationrules" | "httproutes" | "httpproxies", _) => Class::Route,
            (_, "deployments", _) if self.touches("/spec/replicas") => Class::Scale,
            (_, "deployments", _) => Class::Template,
            (_, "controllerrevisions", _) => Class::Revision,
            (_, "events", _) => Class::Event,
            _ => Class::OtherWrite,
        }
    }

    /// Whether it is a JSON patch that changes that path.
    fn touches(&self, path: &str) -> bool {
        let operations = self.body.as_array().into_iter().flatten();
        operations
            .into_iter()
            .any(|operation| operation["op"] != "test" && operation["path"] == path)
    }

    /// Verb and resource, for people.
    fn words(&self) -> String {
        let Subject {
            resource, subresource, ..
        } = &self.object_ref;
        match (resource.as_str(), subresource.as_str()) {
            ("", _) => format!("{} {}", self.verb, self.uri),
            (resource, "") => format!("{} {resource}", self.verb),
            (resource, subresource) => format!("{} {resource}/{subresource}", self.verb),
        }
    }
}

/// What the controller of the chart's service account asked between two moments.
fn requests(cluster: &Cluster, from: DateTime<Utc>, until: DateTime<Utc>) -> Outcome<Vec<Request>> {
    let log = BufReader::new(File::open(cluster.state.join(AUDIT_LOG))?);
    let account = format!(r#""username":"system:serviceaccount:{NAMESPACE}:"#);
    let mut all = Vec::new();
    for line in log.lines() {
        let line = line?;
        if line.contains(&account) {
            let request: Request = serde_json::from_str(&line)?;
            if (from..until).contains(&request.received) {
                all.push(request);
            }
        }
    }
    Ok(all)
}

/// A write, as the API server saw it.
#[derive(Clone, Copy)]
pub struct Written {
    /// When it came in.
    pub received: DateTime<Utc>,
    /// When it had its answer.
    pub answered: DateTime<Utc>,
}

/// What was written about one application, the earliest first.
#[derive(Default)]
pub struct Trail {
    /// The Canary's status.
    pub statuses: Vec<Written>,
    /// The route.
    pub routes: Vec<Written>,
}

impl Trail {
    /// When the status came in that a write of the route follows: this is when the controller had decided.
    pub fn decided(&self, route: &Written) -> DateTime<Utc> {
        let before = self.statuses.iter().rfind(|status| status.received <= route.received);
        before.unwrap_or(route).received
    }

    /// Seconds from a moment to the last write of the route: the way home, if there was a way out.
    pub fn home_after(&self, moment: DateTime<Utc>) -> Outcome<f64> {
        let home = self.routes.last().ok_or("the release wrote no route")?;
        Ok((home.answered - moment).as_seconds_f64())
    }
}

/// What was written about each application of a namespace from a moment on, by its name: its Canary and its route have one.
pub fn trails(cluster: &Cluster, namespace: &str, from: DateTime<Utc>) -> Outcome<BTreeMap<String, Trail>> {
    let mut trails: BTreeMap<String, Trail> = BTreeMap::new();
    for request in requests(cluster, from, Utc::now())? {
        let subject = &request.object_ref;
        if subject.namespace != namespace {
            continue;
        }
        let trail = trails.entry(subject.name.clone()).or_default();
        let written = Written {
            received: request.received,
            answered: request.answered,
        };
        match (request.class(), subject.resource.as_str()) {
            (Class::Status, _) => trail.statuses.push(written),
            (Class::Route, "virtualservices") => trail.routes.push(written),
            _ => {}
        }
    }
    for trail in trails.values_mut() {
        trail.statuses.sort_by_key(|write| write.received);
        trail.routes.sort_by_key(|write| write.received);
    }
    Ok(trails)
}

/// How often what was asked.
pub struct Count(BTreeMap<(Class, String), usize>);

impl Count {
    /// What the controller of the chart's service account asked between two moments.
    pub fn read(cluster: &Cluster, from: DateTime<Utc>, until: DateTime<Utc>) -> Outcome<Self> {
        let mut counted = BTreeMap::new();
        for request in requests(cluster, from, until)? {
            *counted.entry((request.class(), request.words())).or_insert(0) += 1;
        }
        Ok(Self(counted))
    }

    /// How many are of the classes that are asked for.
    pub fn of(&self, wanted: impl Fn(Class) -> bool) -> usize {
        let some = self.0.iter().filter(|((class, _), _)| wanted(*class));
        some.map(|(_, count)| count).sum()
    }

    /// A table for one release, with the marks.
    pub fn beside_marks(&self) -> String {
        let mut table = "| | seen | mark: at most |\n| --- | --: | --: |\n".to_owned();
        for (class, name, mark) in MARKS {
            let seen = self.of(|each| each == class);
            // Writing to a string cannot fail.
            let _ = writeln!(table, "| {name} | {seen} | {mark} |");
        }
        let all = self.of(|class| !matches!(class, Class::Lease | Class::Watch | Class::DryRun));
        let _ = writeln!(table, "| **all but lease, watches, dry runs** | **{all}** | **28** |");
        let _ = writeln!(
            table,
            "\nFlagger 1.44: 134, of which 22 are writes.\n\n{}",
            self.listed()
        );
        table
    }

    /// Verbs and resources.
    pub fn listed(&self) -> String {
        let mut table = "| request | for | times |\n| --- | --- | --: |\n".to_owned();
        for ((class, words), count) in &self.0 {
            let _ = writeln!(table, "| {words} | {class:?} | {count} |");
        }
        table
    }
}
