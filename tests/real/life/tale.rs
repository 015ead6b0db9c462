//! One application: its team's objects, requests all the time, its Canary, and what is seen of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::load::{Answers, Load};
use crate::harness::objects::TEAM;
use crate::harness::record::{self, Record};
use crate::harness::shop::{NAME, Road, Shop};
use crate::harness::verdict::Expectation;

/// Requests a second.
const RATE: u32 = 20;

/// Whatever is waited for has come long before, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_mins(6);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);

/// It is watched, and requests are sent to it, as long as this lives.
pub struct Tale<'a> {
    /// Where it is told.
    pub cluster: &'a Cluster,
    /// Its application.
    pub shop: Shop,
    title: String,
    record: Record,
    load: Load,
    found: Vec<Expectation>,
}

impl<'a> Tale<'a> {
    /// Creates application and route, and sends requests from now on. There is no Canary yet.
    pub async fn begin(cluster: &'a Cluster, title: &str, namespace: &str, road: Road) -> Outcome<Self> {
        let shop = Shop::new(cluster, namespace, road);
        shop.open().await?;
        Ok(Self {
            load: Load::start(cluster, namespace, &shop.host(), RATE)?,
            record: Record::start(&cluster.client, namespace, NAME, &road.kind()),
            cluster,
            shop,
            title: title.to_owned(),
            found: Vec::new(),
        })
    }

    /// Creates a Canary whose spec has this beside what all have, and waits until it is initialised.
    pub async fn canary(&self, spec: &Value) -> Outcome<()> {
        let mut canary = json!({
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": { "name": NAME, "namespace": self.shop.namespace },
            "spec": self.usual_spec(),
        });
        json_patch::merge(&mut canary["spec"], spec);
        let created = Utc::now();
        let canary = serde_json::from_value(canary)?;
        self.shop.canaries().create(&PostParams::default(), &canary).await?;
        self.phase_after(created, "Initialized", "Failed").await?;
        self.say("is initialised");
        Ok(())
    }

    fn usual_spec(&self) -> Value {
        let mut service = json!({ "port": 80, "targetPort": 9898 });
        let provider = match self.shop.road {
            Road::HttpProxy => "contour",
            Road::HttpRoute => {
                let (namespace, name) = &self.cluster.gateway_object;
                service["gatewayRefs"] = json!([{ "name": name, "namespace": namespace }]);
                service["hosts"] = json!([self.shop.host()]);
                "gatewayapi:v1"
            }
        };
        json!({
            "provider": provider,
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": NAME },
            "progressDeadlineSeconds": 60,
            "service": service,
            "analysis": { "interval": "10s", "threshold": 2 },
        })
    }

    /// Says to a person how far it is.
    pub fn say(&self, what: &str) {
        println!("{}  {} {what}", Utc::now().format("%H:%M:%S"), self.title);
    }

    /// Gives the Deployment another version, and its container these variables. The moment before.
    pub async fn release(&self, version: &str, variables: &[(&str, &str)]) -> Outcome<DateTime<Utc>> {
        self.say(&format!("gets {version}"));
        let all = [("APP_VERSION", version)];
        let variables: Vec<Value> = all
            .iter()
            .chain(variables)
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        let container = json!({ "name": NAME, "env": variables });
        let change = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
        let at = Utc::now();
        let deployments = self.shop.deployments();
        deployments
            .patch(NAME, &PatchParams::default(), &Patch::Strategic(&change))
            .await?;
        Ok(at)
    }

    /// Waits for a phase that began after `start`; `wrong` must not come instead.
    pub async fn phase_after(&self, start: DateTime<Utc>, wanted: &str, wrong: &str) -> Outcome<DateTime<Utc>> {
        let phase = self.record.phase_after(start, wanted, wrong, PATIENCE).await;
        phase.map_err(|error| format!("{}: {error}", self.title).into())
    }

    /// Waits until the status is so, and gives it.
    pub async fn until_status(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Outcome<Value> {
        self.until(what, async || {
            let status = self.record.seen().status;
            Ok(is_so(&status).then_some(status))
        })
        .await
    }

    /// Waits until a stage of the status.
    pub async fn until_stage(&self, stage: &str) -> Outcome<Value> {
        self.until_status(&format!("its stage is {stage}"), |status| {
            status["serin"]["stage"] == stage
        })
        .await
    }

    /// Asks until there is an answer.
    pub async fn until<T>(&self, what: &str, ask: impl AsyncFn() -> Outcome<Option<T>>) -> Outcome<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            if Instant::now() > deadline {
                let status = self.record.seen().status;
                return Err(format!("{}: waited {PATIENCE:?} in vain until {what}: {status}", self.title).into());
            }
            sleep(LOOK).await;
        }
    }

    /// When the route led requests to the canary for the first time since a moment.
    pub fn led_to_the_canary_after(&self, start: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let weights = self.record.seen().weights;
        let first = weights.into_iter().find(|it| it.at > start && it.what.canary > 0);
        first.map(|it| it.at)
    }

    /// What was told about the Canary since a moment.
    pub async fn told_after(&self, start: DateTime<Utc>) -> Outcome<Vec<String>> {
        let events = record::events(&self.cluster.client, &self.shop.namespace, NAME).await?;
        // An event bears whole seconds.
        let since = events
            .into_iter()
            .filter(|event| event.at.timestamp() >= start.timestamp());
        Ok(since.map(|event| event.what).collect())
    }

    /// Whether something like this was told since a moment. Events are written after the status, so it is waited for a little.
    pub async fn was_told(&self, start: DateTime<Utc>, words: &str) -> Outcome<bool> {
        for _ in 0..50 {
            if self.told_after(start).await?.iter().any(|text| text.contains(words)) {
                return Ok(true);
            }
            sleep(LOOK).await;
        }
        Ok(false)
    }

    /// An object of the namespace.
    pub async fn object(&self, [group, version, kind]: [&str; 3], name: &str) -> Outcome<Value> {
        Ok(serde_json::to_value(self.api([group, version, kind]).get(name).await?)?)
    }

    /// Makes an object of the namespace be like this, as its team.
    pub async fn apply(&self, kind: [&str; 3], name: &str, object: &Value) -> Outcome<()> {
        let mut whole = json!({ "metadata": { "name": name, "namespace": self.shop.namespace } });
        let [group, version, word] = kind;
        whole["apiVersion"] = if group.is_empty() {
            json!(version)
        } else {
            json!(format!("{group}/{version}"))
        };
        whole["kind"] = json!(word);
        json_patch::merge(&mut whole, object);
        let parameters = PatchParams::apply(TEAM).force();
        self.api(kind).patch(name, &parameters, &Patch::Apply(&whole)).await?;
        Ok(())
    }

    /// Changes these parts of an object of the namespace.
    pub async fn merge(&self, kind: [&str; 3], name: &str, change: &Value) -> Outcome<()> {
        let api = self.api(kind);
        api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await?;
        Ok(())
    }

    /// The namespace's objects of a kind.
    pub fn api(&self, [group, version, kind]: [&str; 3]) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.cluster.client.clone(), &self.shop.namespace, &resource)
    }

    /// How many pods a Deployment of the namespace is to have.
    pub async fn size(&self, deployment: &str) -> Outcome<i32> {
        let deployment = self.shop.deployments().get(deployment).await?;
        Ok(deployment.spec.and_then(|spec| spec.replicas).unwrap_or_default())
    }

    /// One more sentence about it.
    pub fn expect(&mut self, text: impl Into<String>, held: bool) {
        let expectation = Expectation::new(text, held).about(&self.title);
        if !expectation.held {
            println!("did not hold: {}", expectation.text);
        }
        self.found.push(expectation);
    }

    /// Ends the requests; each must have been answered by the application.
    pub async fn end(self) -> Outcome<(Answers, Vec<Expectation>)> {
        let Self {
            load, title, mut found, ..
        } = self;
        let answers = load.stop().await?;
        found.push(answers.nothing_lost(&title));
        Ok((answers, found))
    }
}
