//! An application as its team runs it: a Deployment, a Service, a route, and later a Canary. The objects stand in
//! `tests/cluster/objects` with blanks such as `{{namespace}}`.

use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::cluster::Cluster;
use crate::harness::{Outcome, checkout, gateway, guest, objects};

/// The name of everything in a shop's namespace: Deployment, Service, route and Canary.
pub const NAME: &str = "shop";

/// Three pods on a busy machine are up within this.
const START: Duration = Duration::from_mins(1);

/// A hand-back of three pods is over long before this.
const END: Duration = Duration::from_mins(3);

/// The kind of the object that leads traffic to a shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub enum Road {
    /// Contour's own.
    HttpProxy,
    /// The Gateway API's.
    HttpRoute,
}

impl Road {
    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::HttpProxy => "HTTPProxy",
            Self::HttpRoute => "HTTPRoute",
        }
    }

    /// For the API server.
    pub fn kind(self) -> GroupVersionKind {
        match self {
            Self::HttpProxy => GroupVersionKind::gvk("projectcontour.io", "v1", "HTTPProxy"),
            Self::HttpRoute => GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"),
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::HttpProxy => "httpproxy",
            Self::HttpRoute => "httproute",
        }
    }
}

/// How the Deployment replaces its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacing {
    /// One more, one less.
    Rolling,
    /// All gone, then all new.
    Recreate,
}

/// How the Canary tries a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// With 25, then 50 percent of the requests.
    Steps,
    /// With the requests that carry [`TESTER`], three times.
    Testers,
    /// With a copy of every second request, three times; its answers are thrown away.
    Copies,
}

/// The header that marks a request of a tester, and what it says.
pub const TESTER: (&str, &str) = ("x-tester", "yes");

impl Trial {
    /// The lines of a Canary's analysis that say so.
    fn lines(self) -> Vec<String> {
        let lines = match self {
            Self::Steps => vec!["stepWeight: 25", "maxWeight: 50"],
            Self::Testers => {
                let (header, value) = TESTER;
                return vec![
                    "iterations: 3".to_owned(),
                    format!("match: [{{headers: {{{header}: {{exact: \"{value}\"}}}}}}]"),
                ];
            }
            Self::Copies => vec!["iterations: 3", "mirror: true", "mirrorWeight: 50"],
        };
        lines.into_iter().map(str::to_owned).collect()
    }
}

/// Whose counting a Canary judges a new version by, as Prometheus scraped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// That of the provider's built-in checks: Envoy's for an `HTTPProxy`, the pods' own for an `HTTPRoute`.
    BuiltIn,
    /// Envoy's, by a `MetricTemplate`.
    Gateway,
}

impl Judge {
    /// What the events of a Canary call its success rate.
    pub const fn success_rate(self) -> &'static str {
        match self {
            Self::BuiltIn => "success rate",
            Self::Gateway => "success-rate-at-the-gateway",
        }
    }

    /// The head of a metric in a Canary's list, which is six deep.
    fn metric(self, what: &str) -> String {
        match self {
            Self::BuiltIn => format!("name: request-{what}"),
            Self::Gateway => {
                let template = format!("{what}-at-the-gateway");
                format!("name: {template}\n        templateRef: {{name: {template}}}")
            }
        }
    }
}

/// What may differ from shop to shop.
#[derive(Clone)]
pub struct Shop {
    /// Its namespace, which it has for itself.
    pub namespace: String,
    /// How traffic gets to it.
    pub road: Road,
    /// How its Deployment replaces pods.
    replacing: Replacing,
    trial: Trial,
    /// By whose counting its Canary decides.
    pub judge: Judge,
    /// The Canary's `trafficSettleSeconds`; the default if it says nothing.
    settle_seconds: Option<u32>,
    client: Client,
    gateway: SocketAddr,
    prometheus: String,
    image: String,
    gateway_object: (String, String),
    guest: Option<String>,
}

impl Shop {
    /// A shop that replaces its pods one by one, tries by steps and leaves settle times alone. It has no object yet.
    pub fn new(cluster: &Cluster, namespace: &str, road: Road) -> Self {
        Self {
            namespace: namespace.to_owned(),
            road,
            replacing: Replacing::Rolling,
            trial: Trial::Steps,
            judge: Judge::BuiltIn,
            settle_seconds: None,
            client: cluster.client.clone(),
            gateway: cluster.gateway,
            prometheus: cluster.prometheus.clone(),
            image: cluster.image.clone(),
            gateway_object: cluster.gateway_object.clone(),
            guest: cluster.guest.clone(),
        }
    }

    /// The same, with a Deployment that replaces its pods in that way.
    pub fn replacing(self, replacing: Replacing) -> Self {
        Self { replacing, ..self }
    }

    /// The same, with a Canary that tries new versions in that way.
    pub fn trying(self, trial: Trial) -> Self {
        Self { trial, ..self }
    }

    /// The same, with a Canary that says how long the data plane is given to follow.
    pub fn settling(self, seconds: u32) -> Self {
        let settle_seconds = Some(seconds);
        Self { settle_seconds, ..self }
    }

    /// For people.
    pub fn title(&self) -> String {
        let road = self.road.title();
        match self.replacing {
            Replacing::Rolling => road.to_owned(),
            Replacing::Recreate => format!("{road}, Recreate"),
        }
    }

    /// Whether it is Envoy that counts for its Canary, and not the pods.
    pub fn is_judged_by_envoy(&self) -> bool {
        self.road == Road::HttpProxy || self.judge == Judge::Gateway
    }

    /// The name under which the gateway knows it.
    pub fn host(&self) -> String {
        format!("{}.example.com", self.namespace)
    }

    /// Creates the application with its route, and waits until the gateway answers for it ten times in a row. In a cluster of
    /// somebody's own a namespace that is there already is theirs.
    pub async fn open(&self) -> Outcome<()> {
        if let Some(run) = &self.guest {
            guest::claim(&self.client, &self.namespace, run).await?;
        }
        self.apply("shop").await?;
        self.apply(self.road.file()).await?;
        gateway::answers_for(&self.host(), self.gateway, START).await
    }

    /// Creates the Canary.
    pub async fn add_canary(&self) -> Outcome<()> {
        if self.judge == Judge::Gateway {
            self.apply("gateway-metrics").await?;
        }
        self.apply(&format!("{}-canary", self.road.file())).await
    }

    /// Deletes the Canary and waits until it is gone.
    pub async fn remove_canary(&self) -> Outcome<()> {
        let canaries = self.canaries();
        canaries.delete(NAME, &DeleteParams::default()).await?;
        let deadline = Instant::now() + END;
        while let Some(canary) = canaries.get_opt(NAME).await? {
            if Instant::now() > deadline {
                return Err(self.what_keeps(&canary).boxed().await.into());
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// What a team does: another version in its Deployment, of which so many answers of a hundred are errors.
    pub async fn release(&self, version: &str, fail_percent: u32) -> Outcome<()> {
        let change = json!({ "spec": { "template": { "spec": { "containers": [{
            "name": NAME,
            "env": [
                { "name": "APP_VERSION", "value": version },
                { "name": "FAIL_PERCENT", "value": fail_percent.to_string() },
            ],
        }]}}}});
        self.deployments()
            .patch(NAME, &PatchParams::default(), &Patch::Strategic(&change))
            .await?;
        Ok(())
    }

    /// The version that the promoted side runs.
    pub async fn primary_version(&self) -> Outcome<String> {
        let primary = self.deployments().get(&format!("{NAME}-primary")).await?;
        let pod = primary.spec.and_then(|spec| spec.template.spec);
        let variables = pod.and_then(|pod| pod.containers.into_iter().next()?.env);
        let version = variables
            .into_iter()
            .flatten()
            .find(|variable| variable.name == "APP_VERSION");
        version
            .and_then(|variable| variable.value)
            .ok_or_else(|| "the primary has no version".into())
    }

    /// The shop's Deployments.
    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The shop's Canaries, of which it has one at most.
    pub fn canaries(&self) -> Api<DynamicObject> {
        let canary = ApiResource::from_gvk(&GroupVersionKind::gvk("flagger.app", "v1beta1", "Canary"));
        Api::namespaced_with(self.client.clone(), &self.namespace, &canary)
    }

    /// The shop's routes, of which it has one.
    pub fn routes(&self) -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk(&self.road.kind());
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    /// The shop's pods, those of both sides.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// What there is to know about a Canary that does not go.
    async fn what_keeps(&self, canary: &DynamicObject) -> String {
        // With its generation, which is what the gateway's word is about.
        let route = self.routes().get_opt(NAME).await;
        let route = route.map(|route| route.map(|route| (route.metadata.generation, route.data)));
        let (place, block) = (&self.namespace, &canary.data["status"]["serin"]);
        format!(
            "the Canary of {place} was still there {END:?} after its deletion; it stands at {block}, its route at {route:?}"
        )
    }

    async fn apply(&self, name: &str) -> Outcome<()> {
        let file = checkout()
            .join("tests/cluster/objects")
            .join(name)
            .with_extension("yaml");
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let replacing = match self.replacing {
            Replacing::Rolling => "{rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}",
            Replacing::Recreate => "{type: Recreate}",
        };
        let settle = self
            .settle_seconds
            .map(|seconds| format!("trafficSettleSeconds: {seconds}"));
        let text = text
            .replace("{{namespace}}", &self.namespace)
            .replace("{{host}}", &self.host())
            .replace("{{image}}", &self.image)
            .replace("{{gateway-namespace}}", &self.gateway_object.0)
            .replace("{{gateway}}", &self.gateway_object.1)
            .replace("{{prometheus}}", &self.prometheus)
            .replace("{{success-rate}}", &self.judge.metric("success-rate"))
            .replace("{{duration}}", &self.judge.metric("duration"))
            .replace("{{replacing}}", replacing)
            .replace("{{settle}}", &settle.unwrap_or_default())
            // In the Canary's analysis, which is four deep.
            .replace("{{trial}}", &self.trial.lines().join("\n    "));
        objects::apply_text(&self.client, &text)
            .await
            .map_err(|error| format!("{}: {error}", file.display()).into())
    }
}
