//! The start-up guard: Serin acts on nothing before it has seen that the cluster lets it work.
//!
//! Flagger's own CRD accepts our status and silently prunes our block out of it, which would make every pass the first one
//! (`design.md`, "The CRD"). A missing right shows itself only in the middle of a release. So both are looked at before the
//! first pass, and what is wrong is said in health, log and an Event, with what to do about it, until it is put right.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::rights::{self, Flag, Missing};
use super::settings::Settings;
use crate::api::{VERSION, crd};
use crate::clock::Clock;
use crate::retry::Retry;
use crate::telemetry::health::Health;

/// The most that one round of checks may take.
const CHECK_LIMIT: Duration = Duration::from_secs(30);

/// Fields that are named one by one when a CRD lacks some.
const FIELDS_NAMED: usize = 3;

/// The condition in `/readyz`.
const CONDITION: &str = "cluster";

/// Something that keeps Serin from working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, and where.
    pub what: String,
    /// What to do about it.
    pub fix: String,
    /// Whether only some canaries are affected, so that Serin works all the same.
    pub bearable: bool,
}

/// The pod that this process runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Looks whether the cluster lets Serin work.
#[derive(Clone)]
pub struct Guard {
    client: Client,
    settings: Settings,
    health: Health,
    clock: Clock,
    pod: Option<Pod>,
}

impl Guard {
    /// A guard for a process with these settings, which runs in `pod` where it runs in one.
    pub fn new(client: Client, settings: Settings, health: Health, clock: Clock, pod: Option<Pod>) -> Self {
        Self {
            client,
            settings,
            health,
            clock,
            pod,
        }
    }

    /// Waits until nothing is wrong that keeps Serin from working. With `--observe-only` problems are only said: nothing is
    /// written, so nothing can be lost.
    pub async fn passed(&self) {
        let mut retry = Retry::between(Duration::from_secs(2), Duration::from_mins(1), CONDITION);
        let mut said = Vec::new();
        self.health
            .condition(CONDITION, Err("CRDs and rights have not been checked yet".into()));
        loop {
            match self.clock.timeout(CHECK_LIMIT, self.check()).await {
                Ok(Ok(problems)) => {
                    if problems != said {
                        self.say(&problems).await;
                        said.clone_from(&problems);
                    }
                    if self.settings.observe_only || problems.iter().all(|problem| problem.bearable) {
                        self.health.condition(CONDITION, Ok(words(&problems)));
                        return;
                    }
                    self.health.condition(CONDITION, Err(words(&problems)));
                }
                Ok(Err(error)) => self.unanswered(&error.to_string(), retry.attempts() == 0),
                Err(_) => self.unanswered("no answer in time", retry.attempts() == 0),
            }
            self.clock.sleep(retry.wait()).await;
        }
    }

    /// Everything that is wrong now.
    ///
    /// # Errors
    /// The API server does not say.
    pub async fn check(&self) -> kube::Result<Vec<Problem>> {
        let mut problems = Vec::new();
        for wanted in crd::crds() {
            problems.extend(self.check_crd(&wanted).await?);
        }
        let missing = rights::missing(&self.client, &self.settings).await?;
        problems.extend(missing.iter().map(|missing| self.right_problem(missing)));
        Ok(problems)
    }

    async fn check_crd(&self, wanted: &CustomResourceDefinition) -> kube::Result<Option<Problem>> {
        let name = wanted.metadata.name.as_deref().unwrap_or_default();
        let found = Api::<CustomResourceDefinition>::all(self.client.clone())
            .get_opt(name)
            .await;
        match found {
            Ok(Some(served)) => Ok(crd_problem(name, wanted, &served)),
            Ok(None) => Ok(Some(Problem::of_crd(format!("the CRD {name} is not installed")))),
            // The review of rights names this one.
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn right_problem(&self, Missing { right, verbs }: &Missing) -> Problem {
        let (verbs, resource) = (verbs.join(", "), right.full_name());
        let place = self
            .settings
            .namespace
            .as_ref()
            .map(|namespace| format!(" in namespace {namespace}"));
        let lacking = right.only_for.map(|what| format!(", which is needed for {what}"));
        let taken = right.flag.map(|flag| format!(", which {} takes", flag.name));
        let without = right.flag.map(|flag| {
            let Flag { name, value } = flag;
            format!("; or do without, by {name}=false ({value}=false in the chart)")
        });
        let (place, lacking) = (place.unwrap_or_default(), lacking.or(taken).unwrap_or_default());
        let without = without.unwrap_or_default();
        Problem {
            what: format!("Serin may not {verbs} {resource}{place}{lacking}"),
            fix: format!("grant it: `serin rbac` prints the ClusterRole that is needed{without}"),
            bearable: right.only_for.is_some(),
        }
    }

    fn unanswered(&self, cause: &str, first: bool) {
        if first {
            tracing::error!(%cause, "cannot ask the API server about CRDs and rights; trying again");
        }
        self.health.condition(
            CONDITION,
            Err(format!("cannot ask the API server about CRDs and rights: {cause}")),
        );
    }

    async fn say(&self, problems: &[Problem]) {
        if problems.is_empty() {
            tracing::info!("CRDs and rights are as they should be");
        }
        for Problem { what, fix, bearable } in problems {
            if *bearable || self.settings.observe_only {
                tracing::warn!(%fix, "{what}");
            } else {
                tracing::error!(%fix, "{what}; nothing is done until this is put right");
            }
        }
        let (Some(pod), false) = (&self.pod, problems.is_empty() || self.settings.observe_only) else {
            return;
        };
        let event = event(pod, &words(problems), self.now());
        let events = Api::<Event>::namespaced(self.client.clone(), &pod.namespace);
        if let Err(error) = events.create(&PostParams::default(), &event).await {
            tracing::debug!(%error, "the event about it could not be written");
        }
    }

    fn now(&self) -> Option<Time> {
        Timestamp::from_second(self.clock.now().timestamp()).ok().map(Time)
    }
}

impl Problem {
    fn of_crd(what: String) -> Self {
        let fix = "install it: `serin crds | kubectl apply --server-side --force-conflicts -f -`".into();
        Self {
            what,
            fix,
            bearable: false,
        }
    }
}

/// All problems in one line.
fn words(problems: &[Problem]) -> String {
    let each: Vec<String> = problems
        .iter()
        .map(|Problem { what, fix, .. }| format!("{what}; {fix}"))
        .collect();
    each.join(". ")
}

/// What is wrong with the CRD as it is served.
fn crd_problem(name: &str, wanted: &CustomResourceDefinition, served: &CustomResourceDefinition) -> Option<Problem> {
    let Some(there) = schema(served) else {
        return Some(Problem::of_crd(format!(
            "the CRD {name} does not serve version {VERSION}"
        )));
    };
    let mut missing = Vec::new();
    lacks(&schema(wanted)?, &there, "", &mut missing);
    if missing.is_empty() {
        return None;
    }
    if missing.iter().any(|field| field == "status.serin") {
        let what = format!(
            "the CRD {name} is Flagger's, not Serin's: the API server would drop what Serin notes in status.serin"
        );
        return Some(Problem::of_crd(what));
    }
    let shown = missing
        .iter()
        .take(FIELDS_NAMED)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let more = missing.len().saturating_sub(FIELDS_NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Some(Problem::of_crd(format!(
        "the CRD {name} is of another version of Serin: it lacks {shown}{more}"
    )))
}

/// The schema of the served version that Serin uses.
fn schema(crd: &CustomResourceDefinition) -> Option<Value> {
    let version = crd
        .spec
        .versions
        .iter()
        .find(|version| version.name == VERSION && version.served)?;
    serde_json::to_value(version.schema.as_ref()?.open_api_v3_schema.as_ref()?).ok()
}

/// Collects the paths of properties that `wanted` has and `served` would prune.
fn lacks(wanted: &Value, served: &Value, path: &str, missing: &mut Vec<String>) {
    if served["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    for (name, inner) in wanted["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match served["properties"].get(name) {
            Some(there) => lacks(inner, there, &path, missing),
            None => missing.push(path),
        }
    }
    if wanted["items"].is_object() {
        lacks(&wanted["items"], &served["items"], &format!("{path}[]"), missing);
    }
}

/// An Event on the pod. Its name is made from the text, so that the same problem is told once an hour at most.
fn event(pod: &Pod, text: &str, now: Option<Time>) -> Event {
    let digest = Sha256::digest(text);
    let hash = digest
        .iter()
        .take(8)
        .fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte));
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{hash:016x}", pod.name)),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            ..ObjectReference::default()
        },
        reason: Some("NotActing".into()),
        message: Some(text[..text.floor_char_boundary(1024)].to_owned()),
        type_: Some("Warning".into()),
        source: Some(EventSource {
            component: Some("serin".into()),
            host: None,
        }),
        first_timestamp: now.clone(),
        last_timestamp: now,
        count: Some(1),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_lacks_what_it_would_prune() {
        let leaf = json!({"type": "string"});
        let wanted =
            json!({"properties": {"a": {"properties": {"b": leaf}}, "l": {"items": {"properties": {"c": leaf}}}}});
        let lacking = |served| {
            let mut missing = Vec::new();
            lacks(&wanted, &served, "", &mut missing);
            missing
        };
        assert!(lacking(wanted.clone()).is_empty());
        assert_eq!(lacking(json!({"properties": {"a": {}, "l": {}}})), ["a.b", "l[].c"]);
        assert!(lacking(json!({"x-kubernetes-preserve-unknown-fields": true})).is_empty());
    }
}
