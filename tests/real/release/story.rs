//! The story of one shop: it is taken over, gets a good version, then a bad one, and is given back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_http_query::Client as Prometheus;
use tokio::time::sleep;

use crate::harness::Outcome;
use crate::harness::access_log::{self, Line};
use crate::harness::cluster::Cluster;
use crate::harness::load::{Answers, Load};
use crate::harness::record::{Record, Seen, Since, Weights, events};
use crate::harness::shop::{NAME, Shop};

/// The version that is live before the controller comes, the good one, and the bad one.
pub const FIRST: &str = "1.0.0";
/// Answers well.
pub const GOOD: &str = "2.0.0";
/// Fails every second request.
pub const BAD: &str = "3.0.0";

/// A release needs about 80 seconds by its intervals; this is when something is wrong for certain.
const END: Duration = Duration::from_mins(5);

/// How long requests go on after a release is over, to see where traffic came to rest.
const REST: Duration = Duration::from_secs(8);

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
    /// The Canary was deleted.
    pub deleted: DateTime<Utc>,
    /// It was gone.
    pub gone: DateTime<Utc>,
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
    pub title: String,
    /// What events call the success rate, which says whose counting it is.
    pub success_rate: &'static str,
    /// When what happened.
    pub moments: Moments,
    /// Weights and phases, up to the deletion.
    pub seen: Seen,
    /// The time up to the deletion, cut at every change of weight.
    pub spans: Vec<Span>,
    /// Every answer.
    pub answers: Answers,
    /// What the gateway wrote down about requests that it did not simply pass on.
    pub gateway_says: Vec<Line>,
    /// What the controller told.
    pub events: Vec<Since<String>>,
    /// The version of the promoted side, after the good release and at the end.
    pub primary_versions: [String; 2],
}

/// Lives through the whole story of a shop, at `rate` requests a second.
pub async fn tell(cluster: &Cluster, shop: &Shop, rate: u32) -> Outcome<Story> {
    let title = shop.title();
    told(cluster, shop, &title, rate)
        .await
        .map_err(|error| format!("{title}: {error}").into())
}

async fn told(cluster: &Cluster, shop: &Shop, title: &str, rate: u32) -> Outcome<Story> {
    let say = |what: &str| println!("{}  {title} {what}", Utc::now().format("%H:%M:%S"));
    shop.open().await?;

    let load = Load::start(cluster, &shop.namespace, &shop.host(), rate)?;
    let record = Record::start(&cluster.client, &shop.namespace, NAME, &shop.road.kind());
    let began = Utc::now();
    say("takes requests; the Canary is created");
    sleep(REST / 2).await;

    let adopted = Utc::now();
    shop.add_canary().await?;
    record.phase_after(adopted, "Initialized", "Failed", END).await?;
    say("is initialised; the good version comes");
    sleep(REST).await;

    let good = Utc::now();
    shop.release(GOOD, 0).await?;
    let promoted = record.phase_after(good, "Succeeded", "Failed", END).await?;
    say("is promoted; the bad version comes");
    sleep(REST).await;
    let after_good = shop.primary_version().await?;

    let bad = Utc::now();
    shop.release(BAD, 50).await?;
    let rolled_back = record.phase_after(bad, "Failed", "Succeeded", END).await?;
    say("is rolled back; the Canary is deleted");
    sleep(REST).await;
    let after_bad = shop.primary_version().await?;
    let seen = record.seen();

    let deleted = Utc::now();
    shop.remove_canary().await?;
    let gone = Utc::now();
    say("is given back; the Canary is gone");
    // The primary's pods go in the background and serve for a while yet.
    sleep(REST).await;

    let answers = load.stop().await?;
    let moments = Moments {
        began,
        adopted,
        good,
        promoted,
        bad,
        rolled_back,
        deleted,
        gone,
    };
    Ok(Story {
        title: title.to_owned(),
        success_rate: shop.judge.success_rate(),
        spans: spans(cluster, shop, &moments, &seen).await?,
        moments,
        seen,
        answers,
        gateway_says: access_log::special(&cluster.state, &shop.host()),
        events: events(&cluster.client, &shop.namespace, NAME).await?,
        primary_versions: [after_good, after_bad],
    })
}

/// Cuts the story at every change of weight and at the moments of the releases.
async fn spans(cluster: &Cluster, shop: &Shop, moments: &Moments, seen: &Seen) -> Outcome<Vec<Span>> {
    let mut cuts: Vec<_> = seen.weights.iter().map(|weights| weights.at).collect();
    cuts.extend([moments.began, moments.good, moments.bad, moments.deleted]);
    cuts.sort();
    let web = reqwest::Client::builder().no_proxy().build()?;
    let prometheus = Prometheus::from(web, &cluster.prometheus)?;
    let queries = queries(shop);
    let mut spans = Vec::new();
    for pair in cuts.windows(2) {
        let [from, to] = [pair[0], pair[1]];
        let before = seen.weights.iter().rev().find(|weights| weights.at <= from);
        let weights = before.map(|weights| weights.what);
        let measured = if weights.is_some_and(|weights| weights.canary > 0) {
            Measured {
                success_rate: value(&prometheus, &queries[0], to).await?,
                duration: value(&prometheus, &queries[1], to).await?,
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

/// The checks of a Canary, success rate and duration, as `PromQL`, written here a second time: the page shows what
/// Prometheus knew, independently of what the controller made of it.
fn queries(shop: &Shop) -> [String; 2] {
    let namespace = &shop.namespace;
    if shop.is_judged_by_envoy() {
        let of_canary = format!(r#"envoy_cluster_name=~"{namespace}_{NAME}-canary_.*""#);
        let requests = format!("envoy_cluster_upstream_rq{{{of_canary}");
        return [
            format!(
                r#"100 * (1 - (sum(rate({requests},envoy_response_code=~"5.."}}[10s])) or vector(0)) / sum(rate({requests}}}[10s])))"#
            ),
            format!(
                "histogram_quantile(0.99, sum(rate(envoy_cluster_upstream_rq_time_bucket{{{of_canary}}}[10s])) by (le))"
            ),
        ];
    }
    let pods = format!("{NAME}-[0-9a-z]+-[0-9a-z]+");
    let of_canary = format!(r#"kubernetes_namespace="{namespace}",kubernetes_pod_name=~"{pods}""#);
    let requests = format!("http_request_duration_seconds_count{{{of_canary}");
    [
        format!(
            r#"100 * (1 - (sum(rate({requests},status=~"5.."}}[10s])) or vector(0)) / sum(rate({requests}}}[10s])))"#
        ),
        format!(
            "1000 * histogram_quantile(0.99, sum(rate(http_request_duration_seconds_bucket{{{of_canary}}}[10s])) by (le))"
        ),
    ]
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
