//! The two moments in which a route changes hands, and nothing between them: a Canary comes, and goes again.

use std::time::Duration;

use chrono::Utc;
use tokio::time::sleep;

use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::load::Load;
use crate::harness::record::Record;
use crate::harness::shop::{NAME, Road, Shop};
use crate::harness::verdict::Expectation;

/// Requests a second for each shop.
const RATE: u32 = 60;

/// Between a change and the next.
const PAUSE: Duration = Duration::from_secs(3);

/// Three pods are up long before this.
const PATIENCE: Duration = Duration::from_mins(2);

/// Requests of a shop that were lost, and all of them.
pub type Count = (usize, usize);

/// Both together.
pub const fn sum(one: Count, other: Count) -> Count {
    (one.0 + other.0, one.1 + other.1)
}

/// A Canary comes and goes, for an application that is open.
pub async fn come_and_go(cluster: &Cluster, shop: &Shop) -> Outcome<Count> {
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

/// Two shops, over and over: what is lost once in a while is lost here.
pub async fn again_and_again(cluster: &Cluster, times: usize) -> Outcome<Expectation> {
    let [by_proxy, by_route] = [("again-proxy", Road::HttpProxy), ("again-route", Road::HttpRoute)]
        .map(|(namespace, road)| Shop::new(cluster, namespace, road));
    by_proxy.open().await?;
    by_route.open().await?;
    let mut count = (0, 0);
    for time in 1..=times {
        let (of_proxy, of_route) = tokio::join!(come_and_go(cluster, &by_proxy), come_and_go(cluster, &by_route));
        count = sum(count, sum(of_proxy?, of_route?));
        println!("{} of {} lost after {time} comings and goings", count.0, count.1);
    }
    Ok(Expectation::new(
        format!(
            "No request is lost in {times} comings and goings of two Canaries ({} of {})",
            count.0, count.1
        ),
        count.0 == 0 && count.1 > 0,
    ))
}
