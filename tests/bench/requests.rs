//! The controller's requests, as the API server's audit log has them.

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

/// One line of the log. Source: Kubernetes documentation, `audit.k8s.io/v1`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    #[serde(default)]
    object_ref: Subject,
    #[serde(default)]
    response_status: Answer,
    /// When it came in.
    #[serde(rename = "requestReceivedTimestamp")]
    pub received: DateTime<Utc>,
    /// When it had its answer.
    #[serde(rename = "stageTimestamp")]
    pub answered: DateTime<Utc>,
    /// What was sent, where `tests/cluster/config/audit.yaml` has it written down.
    #[serde(default, rename = "requestObject")]
    pub body: Value,
    /// What came back, likewise.
    #[serde(default, rename = "responseObject")]
    pub object: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subject {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
struct Answer {
    #[serde(default)]
    code: u16,
}

impl Request {
    /// What it is for, whatever became of it.
    pub fn class(&self) -> Class {
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

    /// Whether the API server did what was asked.
    pub const fn is_accepted(&self) -> bool {
        self.response_status.code >= 200 && self.response_status.code < 300
    }

    /// Of what: the plural name of its resource.
    pub fn resource(&self) -> &str {
        &self.object_ref.resource
    }

    /// Where, and of what name.
    pub fn subject(&self) -> (&str, &str) {
        let Subject { namespace, name, .. } = &self.object_ref;
        (namespace, name)
    }

    /// Verb and resource, and the answer if that is a refusal, for people.
    pub fn words(&self) -> String {
        let Subject {
            resource, subresource, ..
        } = &self.object_ref;
        let words = match (resource.as_str(), subresource.as_str()) {
            ("", _) => format!("{} {}", self.verb, self.uri),
            (resource, "") => format!("{} {resource}", self.verb),
            (resource, subresource) => format!("{} {resource}/{subresource}", self.verb),
        };
        if self.is_accepted() {
            words
        } else {
            format!("{words}: {}", self.response_status.code)
        }
    }
}

/// What the controller of the chart's service account asked between two moments.
pub fn requests(cluster: &Cluster, from: DateTime<Utc>, until: DateTime<Utc>) -> Outcome<Vec<Request>> {
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
