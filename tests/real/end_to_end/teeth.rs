//! Whether the count of lost requests can see anything: the same controller, told to wait for nothing.
//!
//! `trafficSettleSeconds: 0` takes away the time in which the data plane hears of new destinations before it gets traffic for
//! them, and of old ones' end after it. Two applications are taken over and given back in that way, and some requests must be
//! lost; two others with the default, at the same time, and none may be. Envoy hears from Contour somewhat late, as in a cluster:
//! on one idle machine it hears at once, and needs no settle time.

use std::time::Duration;

use chrono::Utc;
use tokio::time::sleep;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::load::Load;
use crate::harness::record::Record;
use crate::harness::shop::{NAME, Road, Shop};
use crate::harness::slow_line::SlowLine;
use crate::harness::verdict::Expectation;

/// Requests a second for each shop.
const RATE: u32 = 60;

/// How late Envoy hears of a change. To load a new destination it hears twice, which is less than the default settle time.
const LATE: Duration = Duration::from_millis(700);

/// Between a change and the next.
const PAUSE: Duration = Duration::from_secs(3);

/// Three pods are up long before this.
const PATIENCE: Duration = Duration::from_mins(2);

/// Requests of a shop that were lost, and all of them.
type Count = (usize, usize);

/// Takes four shops over and gives them back, two of them in haste.
pub async fn bite(cluster: &Cluster, to_envoy: &SlowLine) -> Outcome<Vec<Expectation>> {
    to_envoy.delay(LATE);
    let [proxy, route, patient_proxy, patient_route] = [
        ("hasty-proxy", Road::HttpProxy),
        ("hasty-route", Road::HttpRoute),
        ("patient-proxy", Road::HttpProxy),
        ("patient-route", Road::HttpRoute),
    ]
    .map(|(namespace, road)| Shop::new(cluster, namespace, road));
    let (proxy, route) = (proxy.settling(0), route.settling(0));
    let come_and_go = |shop| come_and_go(cluster, shop);
    let (proxy, route, patient_proxy, patient_route) = tokio::join!(
        come_and_go(&proxy),
        come_and_go(&route),
        come_and_go(&patient_proxy),
        come_and_go(&patient_route),
    );
    to_envoy.delay(Duration::ZERO);
    let late = format!("Where Envoy hears {} ms late", LATE.as_millis());
    let [hasty, patient] = [sum(proxy?, route?), sum(patient_proxy?, patient_route?)];
    Ok(vec![
        Expectation::new(
            format!("{late}, no request is lost ({} of {})", patient.0, patient.1),
            patient.0 == 0 && patient.1 > 0,
        ),
        Expectation::new(
            format!(
                "{late}, settle times of zero lose requests ({} of {})",
                hasty.0, hasty.1
            ),
            hasty.0 > 0,
        ),
    ])
}

const fn sum(one: Count, other: Count) -> Count {
    (one.0 + other.0, one.1 + other.1)
}

/// A Canary comes and goes.
async fn come_and_go(cluster: &Cluster, shop: &Shop) -> Outcome<Count> {
    shop.open().await?;
    let load = Load::start(cluster, &shop.namespace, &shop.host(), RATE)?;
    let record = Record::start(&cluster.client, &shop.namespace, NAME, &shop.road.kind());
    sleep(PAUSE).await;
    let start = Utc::now();
    shop.add_canary().await?;
    record.phase_after(start, "Initialized", "Failed", PATIENCE).await?;
    sleep(PAUSE).await;
    shop.remove_canary().await?;
    sleep(PAUSE).await;
    let tally = load.stop().await?.all();
    Ok((tally.lost, tally.lost + tally.answered))
}
