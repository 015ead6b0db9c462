//! The story of one route: a live application is taken over, gets a good version, then a bad one, and is given back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use prometheus_http_query::Client as Prometheus;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::load::{Answers, Load};
use crate::record::{Record, Seen, Since, Weights, events};
use crate::{Outcome, objects};

/// The name of everything in a story's namespace: Deployment, Service, route and Canary.
const NAME: &str = "shop";

/// The version that is live before the controller comes, the good one, and the bad one.
pub const FIRST: &str = "1.0.0";
/// Answers well.
pub const GOOD: &str = "2.0.0";
/// Fails every second request.
pub const BAD: &str = "3.0.0";

/// Three pods on a busy machine are up within this.
const START: Duration = Duration::from_mins(1);

/// A release needs about 80 seconds by its intervals; this is when something is wrong for certain.
const END: Duration = Duration::from_mins(5);

/// How long requests go on after a release is over, to see where traffic came to rest.
const REST: Duration = Duration::from_secs(8);

/// One route and what it takes to follow it.
pub struct Release {
    /// For people.
    pub title: &'static str,
    namespace: &'static str,
    host: &'static str,
    route: GroupVersionKind,
    queries: Queries,
    client: Client,
    gateway: SocketAddr,
    prometheus: String,
    objects: PathBuf,
    rate: u32,
}

/// The built-in checks of a provider as `PromQL`, written here a second time: the page shows what Prometheus knew,
/// independently of what the controller made of it.
struct Queries {
    success_rate: &'static str,
    duration: &'static str,
}

/// The moments of a story.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// The first request.
    pub began: DateTime<Utc>,
    /// The Canary was created.
    pub adopted: DateTime<Utc>,
    /// The good version was given to the Deployment.
    pub good: DateTime<Utc>,
    /// It was promoted.
    pub promoted: DateTime<Utc>,
    /// The bad version was given to the Deployment.
    pub bad: DateTime<Utc>,
    /// It was rolled back.
    pub rolled_back: DateTime<Utc>,
    /// The last request.
    pub ended: DateTime<Utc>,
}

/// What Prometheus said about the canary at a moment; nothing while it took no requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// Percent of requests without a 5xx.
    pub success_rate: Option<f64>,
    /// 99th percentile, in milliseconds.
    pub duration: Option<f64>,
}

/// A span of time with constant weights.
pub struct Span {
    /// Its begin.
    pub from: DateTime<Utc>,
    /// Its end.
    pub to: DateTime<Utc>,
    /// The weights on the route, if the controller had it already.
    pub weights: Option<Weights>,
    /// What Prometheus said at its end about the ten seconds before.
    pub measured: Measured,
}

/// A story that came to its end.
pub struct Story {
    /// For people.
    pub title: &'static str,
    /// When what happened.
    pub moments: Moments,
    /// Weights and phases.
    pub seen: Seen,
    /// The time cut at every change of weight.
    pub spans: Vec<Span>,
    /// Every answer.
    pub answers: Answers,
    /// Every answer while the Canary was deleted, and a while after.
    pub leaving: Answers,
    /// What the controller told.
    pub events: Vec<Since<String>>,
    /// The image of the promoted side, after the good release and at the end.
    pub primary_images: [String; 2],
}

impl Release {
    /// Through Contour's own `HTTPProxy`.
    pub fn by_httpproxy(cluster: &Cluster, checkout: &std::path::Path, rate: u32) -> Self {
        Self {
            title: "HTTPProxy",
            namespace: "by-httpproxy",
            host: "httpproxy.example.com",
            route: GroupVersionKind::gvk("projectcontour.io", "v1", "HTTPProxy"),
            queries: Queries {
                success_rate: r#"100 * (1 - (sum(rate(envoy_cluster_upstream_rq{envoy_cluster_name=~"by-httpproxy_shop-canary_.*",envoy_response_code=~"5.."}[10s])) or vector(0)) / sum(rate(envoy_cluster_upstream_rq{envoy_cluster_name=~"by-httpproxy_shop-canary_.*"}[10s])))"#,
                duration: r#"histogram_quantile(0.99, sum(rate(envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=~"by-httpproxy_shop-canary_.*"}[10s])) by (le))"#,
            },
            client: cluster.client.clone(),
            gateway: cluster.gateway,
            prometheus: cluster.prometheus.clone(),
            objects: checkout.join("tests/cluster/objects"),
            rate,
        }
    }

    /// Through the Gateway API's `HTTPRoute`.
    pub fn by_httproute(cluster: &Cluster, checkout: &std::path::Path, rate: u32) -> Self {
        Self {
            title: "HTTPRoute",
            namespace: "by-httproute",
            host: "httproute.example.com",
            route: GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"),
            queries: Queries {
                success_rate: r#"100 * (1 - (sum(rate(http_request_duration_seconds_count{kubernetes_namespace="by-httproute",kubernetes_pod_name=~"shop-[0-9a-z]+-[0-9a-z]+",status=~"5.."}[10s])) or vector(0)) / sum(rate(http_request_duration_seconds_count{kubernetes_namespace="by-httproute",kubernetes_pod_name=~"shop-[0-9a-z]+-[0-9a-z]+"}[10s])))"#,
                duration: r#"1000 * histogram_quantile(0.99, sum(rate(http_request_duration_seconds_bucket{kubernetes_namespace="by-httproute",kubernetes_pod_name=~"shop-[0-9a-z]+-[0-9a-z]+"}[10s])) by (le))"#,
            },
            ..Self::by_httpproxy(cluster, checkout, rate)
        }
    }

    /// Lives through the whole story.
    pub async fn run(self) -> Outcome<Story> {
        self.told()
            .await
            .map_err(|error| format!("{}: {error}", self.title).into())
    }

    async fn told(&self) -> Outcome<Story> {
        self.apply("").await?;
        self.until_answers_come().await?;

        let load = Load::start(self.gateway, self.host, self.rate)?;
        let record = Record::start(&self.client, self.namespace, NAME, &self.route);
        let began = Utc::now();
        self.say("takes requests; the Canary is created");
        sleep(REST / 2).await;

        let adopted = Utc::now();
        self.apply("-canary").await?;
        record.phase_after(adopted, "Initialized", "Failed", END).await?;
        self.say("is initialised; the good version comes");
        sleep(REST).await;

        let good = Utc::now();
        self.release(GOOD, 0).await?;
        let promoted = record.phase_after(good, "Succeeded", "Failed", END).await?;
        self.say("is promoted; the bad version comes");
        sleep(REST).await;
        let after_good = self.primary_image().await?;

        let bad = Utc::now();
        self.release(BAD, 50).await?;
        let rolled_back = record.phase_after(bad, "Failed", "Succeeded", END).await?;
        self.say("is rolled back");
        sleep(REST).await;

        let answers = load.stop().await?;
        let moments = Moments {
            began,
            adopted,
            good,
            promoted,
            bad,
            rolled_back,
            ended: Utc::now(),
        };
        let seen = record.seen();
        Ok(Story {
            title: self.title,
            spans: self.spans(&moments, &seen).await?,
            moments,
            seen,
            answers,
            events: events(&self.client, self.namespace).await?,
            primary_images: [after_good, self.primary_image().await?],
            leaving: self.given_back().await?,
        })
    }

    /// The Canary is deleted under load, and goes when the application has its traffic back.
    async fn given_back(&self) -> Outcome<Answers> {
        let load = Load::start(self.gateway, self.host, self.rate)?;
        sleep(REST / 2).await;
        let canary = ApiResource::from_gvk(&GroupVersionKind::gvk("flagger.app", "v1beta1", "Canary"));
        let canaries: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), self.namespace, &canary);
        canaries.delete(NAME, &DeleteParams::default()).await?;
        let deadline = Instant::now() + END;
        while canaries.get_opt(NAME).await?.is_some() {
            if Instant::now() > deadline {
                return Err(format!("the Canary was still there {END:?} after its deletion").into());
            }
            sleep(Duration::from_millis(500)).await;
        }
        self.say("is given back; the Canary is gone");
        sleep(REST).await;
        load.stop().await
    }

    async fn apply(&self, which: &str) -> Outcome<()> {
        objects::apply_file(
            &self.client,
            &self.objects.join(format!("{}{which}.yaml", self.namespace)),
        )
        .await
    }

    /// The application is live when the gateway answers for it ten times in a row.
    async fn until_answers_come(&self) -> Outcome<()> {
        let web = reqwest::Client::builder().no_proxy().build()?;
        let deadline = Instant::now() + START;
        let mut in_a_row = 0;
        while in_a_row < 10 {
            if Instant::now() > deadline {
                return Err(format!("the application did not answer within {START:?}").into());
            }
            let answer = web
                .get(format!("http://{}/", self.gateway))
                .header("host", self.host)
                .send()
                .await;
            in_a_row = if answer.is_ok_and(|answer| answer.status().is_success()) {
                in_a_row + 1
            } else {
                0
            };
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// What a team does: another image in its Deployment.
    async fn release(&self, version: &str, fail_percent: u32) -> Outcome<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), self.namespace);
        let change = json!({ "spec": { "template": { "spec": { "containers": [{
            "name": NAME,
            "image": format!("{NAME}:{version}"),
            "env": [{ "name": "FAIL_PERCENT", "value": fail_percent.to_string() }],
        }]}}}});
        deployments
            .patch(NAME, &PatchParams::default(), &Patch::Strategic(&change))
            .await?;
        Ok(())
    }

    async fn primary_image(&self) -> Outcome<String> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), self.namespace);
        let primary = deployments.get(&format!("{NAME}-primary")).await?;
        let containers = primary
            .spec
            .and_then(|spec| spec.template.spec)
            .map(|spec| spec.containers);
        let image = containers.and_then(|containers| containers.into_iter().next()?.image);
        image.ok_or_else(|| "the primary has no image".into())
    }

    /// Cuts the story at every change of weight and at the moments of the releases.
    async fn spans(&self, moments: &Moments, seen: &Seen) -> Outcome<Vec<Span>> {
        let mut cuts: Vec<_> = seen.weights.iter().map(|weights| weights.at).collect();
        cuts.extend([moments.began, moments.good, moments.bad, moments.ended]);
        cuts.sort();
        let prometheus = Prometheus::from(reqwest::Client::builder().no_proxy().build()?, &self.prometheus)?;
        let mut spans = Vec::new();
        for pair in cuts.windows(2) {
            let [from, to] = [pair[0], pair[1]];
            let weights = seen
                .weights
                .iter()
                .rev()
                .find(|weights| weights.at <= from)
                .map(|weights| weights.what);
            let measured = if weights.is_some_and(|weights| weights.canary > 0) {
                Measured {
                    success_rate: value(&prometheus, self.queries.success_rate, to).await?,
                    duration: value(&prometheus, self.queries.duration, to).await?,
                }
            } else {
                Measured::default()
            };
            spans.push(Span {
                from,
                to,
                weights,
                measured,
            });
        }
        Ok(spans)
    }

    fn say(&self, what: &str) {
        println!("{}  {} {what}", Utc::now().format("%H:%M:%S"), self.title);
    }
}

/// The one number that a query gave at a moment.
async fn value(prometheus: &Prometheus, query: &str, at: DateTime<Utc>) -> Outcome<Option<f64>> {
    let answer = prometheus.query(query).at(at.timestamp()).get().await?;
    let samples = answer.data().as_vector().map_or(&[][..], Vec::as_slice);
    Ok(samples
        .first()
        .map(|sample| sample.sample().value())
        .filter(|value| value.is_finite()))
}
