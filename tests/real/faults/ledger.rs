//! The API server's audit log: every write, whoever made it, with its answer; and what a controller asked for.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::faults::accounts;
use crate::faults::witness::Seen;
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::control_plane::AUDIT_LOG;

/// One request, in the words of the audit log. Source: Kubernetes documentation, `audit.k8s.io/v1`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The verb.
    pub verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    #[serde(default)]
    object_ref: Subject,
    #[serde(default)]
    response_status: Answer,
    /// When it was received.
    #[serde(rename = "requestReceivedTimestamp")]
    pub received: DateTime<Utc>,
    /// When it was answered.
    #[serde(rename = "stageTimestamp")]
    pub answered: DateTime<Utc>,
    #[serde(default)]
    response_object: Value,
    /// Its place in the order of all writes; that of the write before it if it has none itself.
    #[serde(skip)]
    version: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Subject {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    code: u16,
}

impl Request {
    /// Who asked. A controller under test by the short name of its account.
    pub fn user(&self) -> &str {
        let name = &self.user.username;
        name.strip_prefix(accounts::PREFIX).unwrap_or(name)
    }

    /// Whether a controller under test asked.
    pub fn is_by_controller(&self) -> bool {
        self.user.username.starts_with(accounts::PREFIX)
    }

    /// Of what: the resource's plural name.
    pub fn resource(&self) -> &str {
        &self.object_ref.resource
    }

    /// Namespace and name of the object.
    pub fn subject(&self) -> String {
        format!("{}/{}", self.object_ref.namespace, self.object_ref.name)
    }

    /// Whether nothing was to come of it.
    pub fn is_dry_run(&self) -> bool {
        self.uri.contains("dryRun=")
    }

    /// Whether it was accepted.
    pub const fn is_accepted(&self) -> bool {
        self.response_status.code >= 200 && self.response_status.code < 300
    }

    /// Whether it was a write that was accepted, and not only tried.
    pub fn is_write(&self) -> bool {
        const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
        WRITES.contains(&self.verb.as_str()) && self.is_accepted() && !self.is_dry_run()
    }

    /// The object as the answer has it. A subresource of another shape is none.
    pub fn object(&self) -> Option<&Value> {
        let kind = &self.response_object["kind"];
        (kind.is_string() && kind != "Status" && kind != "Scale").then_some(&self.response_object)
    }

    /// Whether the object is gone by it.
    pub fn removes(&self) -> bool {
        let metadata = &self.response_object["metadata"];
        let held = metadata["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        let grace = metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
        self.verb == "delete" && self.is_accepted() && !held && grace == 0
    }

    /// For people: verb, resource, object, answer.
    pub fn words(&self) -> String {
        let subresource = &self.object_ref.subresource;
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!(
            "{} {} {} {}{slash}{subresource} {} ({})",
            self.answered.format("%H:%M:%S%.3f"),
            self.user(),
            self.verb,
            self.object_ref.resource,
            self.subject(),
            self.response_status.code
        )
    }
}

/// Everything so far, in the order in which it took effect.
pub struct Ledger(Vec<Request>);

impl Ledger {
    /// Reads the log. With a namespace, only what happened in it.
    pub fn read(cluster: &Cluster, namespace: Option<&str>) -> Outcome<Self> {
        let log = std::fs::read_to_string(cluster.state.join(AUDIT_LOG))?;
        let mark = namespace.map(|namespace| format!(r#""namespace":"{namespace}""#));
        let of_interest = |line: &&str| mark.as_deref().is_none_or(|mark| line.contains(mark));
        let mut all: Vec<Request> = log
            .lines()
            .filter(of_interest)
            // The API server may have been killed in the middle of a line.
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let mut last = 0;
        for request in &mut all {
            let own = request.response_object["metadata"]["resourceVersion"].as_str();
            let own: u64 = own.and_then(|version| version.parse().ok()).unwrap_or(0);
            // A deletion's answer may be the object as it was before.
            let its = if request.removes() || own == 0 {
                own.max(last)
            } else {
                own
            };
            request.version = its;
            last = last.max(its);
        }
        all.sort_by_key(|request| request.version);
        Ok(Self(all))
    }

    /// Adds what was seen and the log does not have, as writes of nobody.
    pub fn supplement(&mut self, testimony: Vec<Seen>) {
        fn version(object: &Value) -> Option<(String, String)> {
            let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
            Some((text("uid")?, text("resourceVersion")?))
        }
        let logged = self.0.iter().filter(|request| request.is_write());
        let mut known: BTreeSet<_> = logged
            .filter_map(|request| request.object().and_then(version))
            .collect();
        for Seen { resource, object, at } in testimony {
            let Some(its) = version(&object) else { continue };
            let Ok(place) = its.1.parse() else { continue };
            if !known.insert(its) {
                continue;
            }
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let subject = Subject {
                resource,
                namespace: text("namespace"),
                name: text("name"),
                ..Subject::default()
            };
            self.0.push(Request {
                verb: "update".to_owned(),
                uri: String::new(),
                user: User {
                    username: String::new(),
                },
                object_ref: subject,
                response_status: Answer { code: 200 },
                received: at,
                answered: at,
                response_object: object,
                version: place,
            });
        }
        self.0.sort_by_key(|request| request.version);
    }

    /// All of it.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.0.iter()
    }

    /// What a controller wrote of a resource, from a moment on.
    pub fn writes_by_controllers<'a>(
        &'a self,
        resource: &'a str,
        from: DateTime<Utc>,
    ) -> impl Iterator<Item = &'a Request> {
        self.0.iter().filter(move |request| {
            let its = request.is_by_controller() && request.resource() == resource && request.is_write();
            its && request.answered >= from
        })
    }

    /// The weights that the status of a Canary took from a moment on, each different from the one before.
    pub fn weights(&self, canary: &str, from: DateTime<Utc>) -> Vec<u64> {
        let mut weights: Vec<u64> = self
            .writes_by_controllers("canaries", from)
            .filter(|request| request.subject() == canary)
            .filter_map(|request| request.object()?["status"]["canaryWeight"].as_u64())
            .collect();
        weights.dedup();
        weights
    }
}
