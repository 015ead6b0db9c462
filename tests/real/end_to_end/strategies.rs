//! The strategies that move no weight: an A/B test in which testers alone see the new version, and a mirrored one that sees copies of
//! requests and answers nobody. A good version and a bad one each, through both kinds of routes; who answered is read from each answer, and
//! copies are counted at the pods.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use kube::api::{Api, DynamicObject};
use serde_json::Value;
use tokio::time::sleep;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::copies::Copies;
use crate::harness::load::{Answers, Load};
use crate::harness::record::Record;
use crate::harness::shop::{NAME, Road, Shop, TESTER, Trial};
use crate::harness::verdict::Expectation;
use crate::release::story::{BAD, FIRST, GOOD};

/// Requests a second of each load.
const RATE: u32 = 40;

/// Between a change and the next.
const PAUSE: Duration = Duration::from_secs(3);

/// A release takes about a minute; this is when something is wrong for certain.
const END: Duration = Duration::from_mins(5);

/// Between two looks at a route.
const LOOK: Duration = Duration::from_millis(200);

/// The gateway has a route this long after the object says it.
const SETTLE: TimeDelta = TimeDelta::seconds(2);

/// A share of copies is judged from this many answers on.
const ENOUGH: usize = 150;

/// How far the share of copies may be from what it should be, in points; see `release::expectations`.
const TOLERANCE: f64 = 12.0;

/// All four at once.
pub async fn all(cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let shops = [
        ("testers-proxy", Road::HttpProxy, Trial::Testers),
        ("testers-route", Road::HttpRoute, Trial::Testers),
        ("copies-proxy", Road::HttpProxy, Trial::Copies),
        ("copies-route", Road::HttpRoute, Trial::Copies),
    ]
    .map(|(namespace, road, trial)| (Shop::new(cluster, namespace, road).trying(trial), trial));
    let told = try_join_all(shops.iter().map(|(shop, trial)| tell(cluster, shop, *trial))).await?;
    Ok(told.iter().flat_map(Told::judged).collect())
}

/// From when until when.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

/// What was seen of a shop.
struct Told {
    title: String,
    trial: Trial,
    /// How many of 100 requests are copied, in a mirrored trial.
    copied: f64,
    /// While the good version was tried, and while the bad one was.
    tried: [Span; 2],
    /// From the first release until the end of the good version's trial.
    before_promotion: Span,
    /// From the bad version's release until the Canary is deleted, which hands back to the bad version.
    after_bad: Span,
    /// To requests without a mark.
    ordinary: Answers,
    /// To requests of testers.
    testers: Answers,
    copies: Copies,
}

async fn tell(cluster: &Cluster, shop: &Shop, trial: Trial) -> Outcome<Told> {
    let title = match trial {
        Trial::Testers => format!("{}, A/B", shop.road.title()),
        Trial::Copies => format!("{}, mirrored", shop.road.title()),
        Trial::Steps => shop.title(),
    };
    told(cluster, shop, trial, &title)
        .await
        .map_err(|error| format!("{title}: {error}").into())
}

async fn told(cluster: &Cluster, shop: &Shop, trial: Trial, title: &str) -> Outcome<Told> {
    let say = |what: &str| println!("{}  {title} {what}", Utc::now().format("%H:%M:%S"));
    shop.open().await?;
    let (namespace, host) = (&shop.namespace, &shop.host());
    let ordinary = Load::start(cluster, namespace, host, RATE)?;
    let testers = Load::start_with(cluster, &format!("{namespace}-testers"), host, RATE, &[TESTER])?;
    let copies = Copies::start(shop)?;
    let record = Record::start(&cluster.client, namespace, NAME, &shop.road.kind());

    let created = Utc::now();
    shop.add_canary().await?;
    record.phase_after(created, "Initialized", "Failed", END).await?;
    sleep(PAUSE).await;

    let good = Utc::now();
    shop.release(GOOD, 0).await?;
    // From then on the primary has the new version too.
    let promoted = record.phase_after(good, "Promoting", "Failed", END);
    let first = while_tried(&shop.routes(), trial, promoted).await?;
    record.phase_after(good, "Succeeded", "Failed", END).await?;
    say("is promoted; the bad version comes");
    sleep(PAUSE).await;

    let bad = Utc::now();
    shop.release(BAD, 50).await?;
    let rolled_back = record.phase_after(bad, "Failed", "Succeeded", END);
    let second = while_tried(&shop.routes(), trial, rolled_back).await?;
    say("is rolled back; the Canary is deleted");
    sleep(PAUSE).await;
    let deleted = Utc::now();
    shop.remove_canary().await?;
    sleep(PAUSE).await;

    Ok(Told {
        title: title.to_owned(),
        trial,
        copied: copied(shop.road),
        tried: [first, second],
        before_promotion: Span {
            from: good,
            to: first.to,
        },
        after_bad: Span { from: bad, to: deleted },
        ordinary: ordinary.stop().await?,
        testers: testers.stop().await?,
        copies,
    })
}

/// Looks at the route until the release is over. The span in which it was drawn as the trial wants, but for the moments in which
/// the gateway may not have heard of it.
async fn while_tried(
    routes: &Api<DynamicObject>,
    trial: Trial,
    over: impl Future<Output = Outcome<DateTime<Utc>>>,
) -> Outcome<Span> {
    let mut span: Option<Span> = None;
    let mut over = std::pin::pin!(over);
    loop {
        let asked = Utc::now();
        let route = routes.get(NAME).await?;
        if is_tried(&route.data["spec"], trial) {
            let from = span.map_or_else(Utc::now, |span| span.from);
            span = Some(Span { from, to: asked });
        }
        tokio::select! {
            ended = &mut over => {
                let ended = ended?;
                let span = span.ok_or("the route was never drawn for the trial")?;
                return Ok(Span { from: span.from + SETTLE, to: span.to.min(ended) });
            }
            () = sleep(LOOK) => {}
        }
    }
}

/// How many of 100 requests come as copies where a Canary asks for one half of them. Contour 1.33 reads `percent` of an `HTTPRoute`'s filter
/// as 100, whatever it says (`internal/dag/gatewayapi_processor.go` of its module).
const fn copied(road: Road) -> f64 {
    match road {
        Road::HttpProxy => 50.0,
        Road::HttpRoute => 100.0,
    }
}

/// Whether a route leads testers, or copies, to the canary.
fn is_tried(spec: &Value, trial: Trial) -> bool {
    let rules = spec["routes"].as_array().or_else(|| spec["rules"].as_array());
    let canary = format!("{NAME}-canary");
    rules.into_iter().flatten().any(|rule| match trial {
        Trial::Testers => {
            let text = rule.to_string();
            let backends = rule["services"].as_array().or_else(|| rule["backendRefs"].as_array());
            text.contains(TESTER.0)
                && backends.into_iter().flatten().any(|backend| {
                    backend["name"] == canary.as_str() && backend["weight"].as_u64().is_some_and(|weight| weight > 0)
                })
        }
        Trial::Copies => {
            let by_contour = rule["services"].as_array().into_iter().flatten();
            let by_filter = rule["filters"].as_array().into_iter().flatten();
            by_contour
                .map(|service| &service["mirror"])
                .any(|copied| copied == true)
                || by_filter
                    .map(|filter| &filter["type"])
                    .any(|type_| type_ == "RequestMirror")
        }
        Trial::Steps => false,
    })
}

impl Told {
    fn judged(&self) -> Vec<Expectation> {
        let mut all = match self.trial {
            Trial::Testers => self.testers_alone(),
            Trial::Copies => self.copies_alone(),
            Trial::Steps => Vec::new(),
        };
        let after = self.ordinary.between(self.after_bad.from, self.after_bad.to);
        all.push(Expectation::new(
            format!(
                "Nobody but testers gets an answer of the bad version ({} answers, {} errors)",
                after.answered, after.errors
            ),
            after.answered > 0 && after.errors == 0 && after.of_version(BAD) == 0,
        ));
        let [ordinary, testers] = [&self.ordinary, &self.testers].map(Answers::all);
        let lost = ordinary.lost + testers.lost;
        let sent = lost + ordinary.answered + testers.answered;
        all.push(Expectation::new(
            format!("No request is lost ({lost} of {sent})"),
            lost == 0 && sent > 0,
        ));
        all.into_iter().map(|each| each.about(&self.title)).collect()
    }

    /// While it was tried: testers got the new version and nothing else, others never.
    fn testers_alone(&self) -> Vec<Expectation> {
        let judge = |span: Span, new: &str, old: &str| {
            let testers = self.testers.between(span.from, span.to);
            let others = self.ordinary.between(span.from, span.to);
            let (saw, kept) = (testers.of_version(new), others.of_version(old));
            let text = format!(
                "{new} answers all testers ({saw} of {}), {old} all others ({kept} of {})",
                testers.answered, others.answered
            );
            let enough = testers.answered >= ENOUGH && others.answered >= ENOUGH;
            Expectation::new(text, enough && saw == testers.answered && kept == others.answered)
        };
        let [good, bad] = self.tried;
        vec![judge(good, GOOD, FIRST), judge(bad, BAD, GOOD)]
    }

    /// While it was tried: that share of the requests came to the canary's pods as copies, none to the primary's, and no answer from it.
    fn copies_alone(&self) -> Vec<Expectation> {
        let judge = |span: Span, new: &str| {
            let Some((first, last)) = self.copies.within(span.from, span.to) else {
                return Expectation::new(format!("Copies reach {new}"), false);
            };
            let copied = last.at_canary - first.at_canary;
            let sent = [&self.ordinary, &self.testers].map(|answers| answers.between(first.at, last.at).answered);
            let sent = sent.into_iter().sum();
            let share = percent(copied, sent);
            let wanted = self.copied;
            let text = format!(
                "{new} gets copies of {wanted} percent of the requests ({copied} of {sent}, {share:.0} percent)"
            );
            let held = sent >= ENOUGH && (share - wanted).abs() <= TOLERANCE && first.at_primary == last.at_primary;
            Expectation::new(text, held)
        };
        let [good, bad] = self.tried;
        let Span { from, to } = self.before_promotion;
        let before = self.ordinary.between(from, to);
        vec![
            judge(good, GOOD),
            judge(bad, BAD),
            Expectation::new(
                format!(
                    "While it gets copies, {FIRST} alone answers ({} answers)",
                    before.answered
                ),
                before.answered >= ENOUGH && before.of_version(FIRST) == before.answered,
            ),
        ]
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a run has far fewer answers than a float has digits"
)]
fn percent(part: u64, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}
