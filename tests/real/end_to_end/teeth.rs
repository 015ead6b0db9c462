//! Whether the count of lost requests can see anything: the same controller, told to wait for nothing.
//!
//! `trafficSettleSeconds: 0` takes away the time in which the data plane hears of new destinations before it gets traffic for
//! them, and of old ones' end after it. Two applications live through the whole story in that way, from the takeover to the hand-back,
//! and between them they must lose some; the others, with the default, lived through the same right before, and none may be. Envoy hears from
//! Contour somewhat late, as in a cluster: on one idle machine it hears at once, and needs no settle time.

use std::time::Duration;

use futures::future::join_all;

use crate::harness::cluster::Cluster;
use crate::harness::shop::{Road, Shop};
use crate::harness::verdict::Expectation;
use crate::release::expectations;
use crate::release::story::{self, Story};

/// How late Envoy hears of a change. To load a new destination it hears twice, which leaves most of the default settle time to a machine
/// that does something else too.
pub const LATE: Duration = Duration::from_millis(300);

/// Two shops in haste, at so many requests a second each, where Envoy hears [`LATE`].
pub async fn bite(cluster: &Cluster, rate: u32) -> Vec<Expectation> {
    let shops = [("hasty-proxy", Road::HttpProxy), ("hasty-route", Road::HttpRoute)]
        .map(|(namespace, road)| Shop::new(cluster, namespace, road).settling(0));
    let stories = join_all(shops.iter().map(|shop| story::tell(cluster, shop, rate))).await;
    // What was found before is told, even where haste ends one of these stories early.
    let mut all = Vec::new();
    let (mut lost, mut parts) = (0, Vec::new());
    for story in stories {
        match story {
            Ok(story) => {
                lost += lost_in(&story);
                parts.push(told(&story));
            }
            Err(error) => all.push(Expectation::new(
                format!("A story in haste comes to its end: {error}"),
                false,
            )),
        }
    }
    // Which of the roads loses some is a matter of moments.
    let text = format!("Settle times of zero lose requests ({})", parts.join("; "));
    all.push(Expectation::new(text, lost > 0));
    all
}

fn lost_in(story: &Story) -> usize {
    expectations::losses(story).iter().map(|part| part.lost).sum()
}

fn told(story: &Story) -> String {
    let parts = expectations::losses(story);
    let words: Vec<_> = parts
        .iter()
        .map(|part| format!("{} of {} while {}", part.lost, part.all, part.time))
        .collect();
    format!("{}: {}", story.title, words.join(", "))
}
