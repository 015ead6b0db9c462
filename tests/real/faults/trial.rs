//! One application with a Canary that a fault is tried on, and what can be seen of it from outside.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::cluster::Cluster;
use crate::harness::listener::Listener;
use crate::harness::load::Load;
use crate::harness::record::{self, Record};
use crate::harness::shop::Road;
use crate::harness::{Outcome, checkout, gateway, objects};

/// The weights of a run, in order.
pub const STEPS: [u64; 2] = [30, 60];

/// The least time at each of them: an interval of ten seconds is the shortest there is.
pub const INTERVAL: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

/// Whatever is waited for has come long before, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_mins(8);

/// How long after its status a release may be told of.
const TELLING: Duration = Duration::from_mins(1);

/// Requests a second where there is traffic.
const RATE: u32 = 30;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(50);

/// An application by a name of its own. It is watched as long as this lives.
pub struct Trial<'a> {
    cluster: &'a Cluster,
    /// Its namespace.
    pub namespace: String,
    /// The name of everything of it.
    pub name: String,
    record: Record,
    /// What its Canary is when there is one.
    canary: Value,
}

/// Where a release came to its end: what must be the same whether it was disturbed or not.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// Phase, stage, weights, verdict, promoted revision, sizes, the primary's version, by name.
    pub facts: Vec<(&'static str, String)>,
    /// Events about the release, each as often as it was told.
    pub events: Vec<String>,
}

impl<'a> Trial<'a> {
    /// Creates application, route and Canary, whose spec is changed by a merge patch, and waits until it is initialised.
    pub async fn open(cluster: &'a Cluster, listener: &Listener, id: [&str; 2], spec: &Value) -> Outcome<Self> {
        let trial = Self::found(cluster, listener, id, spec).await?;
        trial.add_canary().await?;
        trial.until("it is initialised", is_initialised).await?;
        Ok(trial)
    }

    /// Creates application and route. There is no Canary yet.
    pub async fn found(
        cluster: &'a Cluster,
        listener: &Listener,
        [namespace, name]: [&str; 2],
        spec: &Value,
    ) -> Outcome<Self> {
        let kind = Road::HttpProxy.kind();
        let mut trial = Self {
            cluster,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            record: Record::start(&cluster.client, namespace, name, &kind),
            canary: Value::Null,
        };
        trial.canary = trial.usual_canary(listener);
        json_patch::merge(&mut trial.canary["spec"], spec);
        for file in ["shop", "httpproxy"] {
            objects::apply_text(&cluster.client, &trial.filled_in(file)?).await?;
        }
        Ok(trial)
    }

    /// Creates the Canary.
    pub async fn add_canary(&self) -> Outcome<()> {
        let canary = serde_json::from_value(self.canary.clone())?;
        self.canaries().create(&PostParams::default(), &canary).await?;
        Ok(())
    }

    /// Asks for the Canary's end, which comes when everything is given back.
    pub async fn remove_canary(&self) -> Outcome<()> {
        self.canaries().delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Sends requests to it from now on, when it answers.
    pub async fn traffic(&self) -> Outcome<Load> {
        let host = self.host();
        gateway::answers_for(&host, self.cluster.gateway, PATIENCE).await?;
        Load::start(self.cluster, &self.namespace, &host, RATE)
    }

    fn host(&self) -> String {
        format!("{}.{}.example.com", self.name, self.namespace)
    }

    /// The team's objects of a file, by this application's name.
    fn filled_in(&self, file: &str) -> Outcome<String> {
        let file = checkout()
            .join("tests/cluster/objects")
            .join(file)
            .with_extension("yaml");
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(text
            .replace("name: root", &format!("name: root-of-{}", self.name))
            .replace("shop", &self.name)
            .replace("{{namespace}}", &self.namespace)
            .replace("{{host}}", &self.host())
            .replace("{{image}}", &self.cluster.image)
            .replace("{{replacing}}", "{rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"))
    }

    /// Steps of [`STEPS`], each checked by one hook.
    fn usual_canary(&self, listener: &Listener) -> Value {
        let hook = json!({ "name": "check", "type": "rollout", "url": listener.url(&self.id()), "timeout": "5s" });
        json!({
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": {
                "provider": "contour",
                "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": self.name },
                // Nothing here fails for lack of time.
                "progressDeadlineSeconds": 600,
                "service": { "port": 80, "targetPort": 9898 },
                "analysis": { "interval": "10s", "threshold": 2, "stepWeights": STEPS, "webhooks": [hook] },
            },
        })
    }

    /// Namespace and name.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Says to a person how far it is.
    pub fn say(&self, what: &str) {
        println!("{}  {} {what}", Utc::now().format("%H:%M:%S"), self.id());
    }

    /// A new version in the Deployment. Gives the moment before.
    pub async fn release(&self, version: &str) -> Outcome<DateTime<Utc>> {
        self.say(&format!("gets {version}"));
        let at = Utc::now();
        let version = json!({ "name": "APP_VERSION", "value": version });
        let container = json!({ "name": self.name, "env": [version] });
        let change = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
        self.deployments()
            .patch(&self.name, &PatchParams::default(), &Patch::Strategic(&change))
            .await?;
        Ok(at)
    }

    /// The last status that was seen.
    pub fn status(&self) -> Value {
        self.record.seen().status
    }

    /// Waits until the status is so, and gives it.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Outcome<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if is_so(&status) {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(format!("{}: waited {PATIENCE:?} in vain until {what}: {status}", self.id()).into());
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until the status has this weight.
    pub async fn until_weight(&self, weight: u64) -> Outcome<Value> {
        self.until(&format!("the weight is {weight}"), |status| {
            status["canaryWeight"] == weight
        })
        .await
    }

    /// Waits until the run of this number has come to rest, and tells in which phase. `run` counts from one.
    pub async fn until_rest(&self, run: u64) -> Outcome<String> {
        let status = self
            .until(&format!("run {run} is over"), |status| {
                status["serin"]["run"] == run && status["serin"]["stage"] == "Resting"
            })
            .await?;
        let phase = status["phase"].as_str().unwrap_or_default().to_owned();
        self.say(&format!("rests: {phase}"));
        Ok(phase)
    }

    /// Where it stands now that there is no Canary: the route, the apex Service, the sizes, by name.
    pub async fn given_back(&self) -> Outcome<Vec<(&'static str, String)>> {
        let proxies: Api<DynamicObject> = self.api("projectcontour.io", "v1", "HTTPProxy");
        let services: Api<DynamicObject> = self.api("", "v1", "Service");
        let route = proxies.get(&self.name).await?;
        let apex = services.get(&self.name).await?;
        let target = self.deployments().get(&self.name).await?;
        let ready = target.status.and_then(|status| status.ready_replicas);
        Ok(vec![
            ("route", route.data["spec"]["routes"].to_string()),
            ("apex Service's pods", apex.data["spec"]["selector"].to_string()),
            ("target's ready pods", ready.unwrap_or_default().to_string()),
        ])
    }

    /// Where it stands now, and what was told since `start`.
    pub async fn end(&self, start: DateTime<Utc>) -> Outcome<End> {
        let status = self.status();
        let block = &status["serin"];
        let proxies: Api<DynamicObject> = self.api("projectcontour.io", "v1", "HTTPProxy");
        let route = proxies.get(&self.name).await?;
        let of = |name: &str| {
            let name = name.to_owned();
            async move { self.deployments().get(&name).await }
        };
        let (primary, target) = (of(&format!("{}-primary", self.name)).await?, of(&self.name).await?);
        let size = |deployment: &Deployment| {
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            wanted.unwrap_or_default().to_string()
        };
        let pod = primary.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let variables = pod.and_then(|pod| pod.containers.first()?.env.as_ref());
        let version = variables
            .into_iter()
            .flatten()
            .find(|variable| variable.name == "APP_VERSION")
            .and_then(|variable| variable.value.clone());
        let promoted = &status["conditions"][0];
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let facts = vec![
            ("phase", text(&status["phase"])),
            ("stage", text(&block["stage"])),
            (
                "condition",
                format!("{} {}", text(&promoted["type"]), text(&promoted["status"])),
            ),
            ("outcome", text(&block["outcome"]["reason"])),
            ("failed checks", text(&block["failedChecks"])),
            ("weight in the status", text(&status["canaryWeight"])),
            ("route", shares(&route.data)),
            ("promoted revision", text(&block["promoted"])),
            ("primary's version", version.unwrap_or_default()),
            ("primary's size", size(&primary)),
            ("target's size", size(&target)),
        ];
        let mut events = self.events(start).await?;
        let deadline = Instant::now() + TELLING;
        // Told after the status is written, maybe by a successor.
        while !announced(&self.status()).all(|text| events.contains(&text)) && Instant::now() < deadline {
            sleep(LOOK).await;
            events = self.events(start).await?;
        }
        for event in &mut events {
            *event = event.replace(&format!(".{}", self.namespace), "");
        }
        events.sort();
        Ok(End { facts, events })
    }

    /// What was told about the Canary since `start`.
    async fn events(&self, start: DateTime<Utc>) -> Outcome<Vec<String>> {
        let events = record::events(&self.cluster.client, &self.namespace, &self.name).await?;
        let since = events.into_iter().filter(|event| event.at >= start);
        Ok(since.map(|event| event.what).collect())
    }

    /// Who holds the Lease in its namespace.
    pub async fn lease_holder(&self) -> Outcome<String> {
        let leases: Api<DynamicObject> = self.api("coordination.k8s.io", "v1", "Lease");
        let lease = leases.get("flagger-leader-election").await?;
        let holder = lease.data["spec"]["holderIdentity"].as_str();
        Ok(holder.unwrap_or_default().to_owned())
    }

    /// The cluster's objects of a kind in this namespace.
    pub fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.cluster.client.clone(), &self.namespace, &resource)
    }

    fn canaries(&self) -> Api<DynamicObject> {
        self.api("flagger.app", "v1beta1", "Canary")
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }
}

/// Whether a Canary with this status has been taken over.
pub fn is_initialised(status: &Value) -> bool {
    status["phase"] == "Initialized"
}

/// What the last write of the status announced.
fn announced(status: &Value) -> impl Iterator<Item = String> {
    let notices = status["serin"]["notices"].as_array();
    let texts = notices.into_iter().flatten().map(|notice| &notice["text"]);
    texts.filter_map(|text| text.as_str().map(str::to_owned))
}

/// The weights of a route's backends as text.
fn shares(route: &Value) -> String {
    let services = route["spec"]["routes"][0]["services"].as_array();
    let all: Vec<_> = services
        .into_iter()
        .flatten()
        .map(|service| service["weight"].as_u64().unwrap_or(0).to_string())
        .collect();
    all.join("/")
}
