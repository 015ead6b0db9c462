//! Whether the count of lost requests can see anything: the same controller, told to wait for nothing.
//!
//! `trafficSettleSeconds: 0` takes away the time in which the data plane hears of new destinations before it gets traffic for
//! them. An application is taken over and given back under load in that way, and some requests must be lost.

use tokio::time::sleep;

use std::time::Duration;

use chrono::Utc;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::load::Load;
use crate::harness::record::Record;
use crate::harness::shop::{NAME, Road, Shop};
use crate::harness::verdict::Expectation;

/// Requests a second for each shop. The moments in which something can be lost last some milliseconds.
const RATE: u32 = 150;

/// Comings and goings of each shop before we give up.
const ROUNDS: usize = 4;

/// Between a change and the next.
const PAUSE: Duration = Duration::from_secs(2);

/// Nothing waits for the data plane, so everything is quick.
const PATIENCE: Duration = Duration::from_mins(2);

/// Takes shops over and gives them back until something is lost.
pub async fn bite(cluster: &Cluster) -> Outcome<Expectation> {
    let [by_proxy, by_route] = [("hasty-proxy", Road::HttpProxy), ("hasty-route", Road::HttpRoute)]
        .map(|(namespace, road)| Shop::new(cluster, namespace, road).settling(0));
    let (opened_proxy, opened_route) = tokio::join!(by_proxy.open(), by_route.open());
    opened_proxy.and(opened_route)?;
    let (mut lost, mut all, mut rounds) = (0, 0, 0);
    while lost == 0 && rounds < ROUNDS {
        rounds += 1;
        let (of_proxy, of_route) = tokio::join!(come_and_go(cluster, &by_proxy), come_and_go(cluster, &by_route));
        for (lost_now, all_now) in [of_proxy?, of_route?] {
            lost += lost_now;
            all += all_now;
        }
    }
    Ok(Expectation::new(
        format!("With settle times at zero requests are lost ({lost} of {all}, in {rounds} comings and goings)"),
        lost > 0,
    ))
}

/// One Canary comes and goes; how many requests were lost, and how many there were.
async fn come_and_go(cluster: &Cluster, shop: &Shop) -> Outcome<(usize, usize)> {
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
