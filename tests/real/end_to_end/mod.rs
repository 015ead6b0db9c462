//! End to end: releases through an `HTTPProxy` and through an `HTTPRoute`, of Deployments that replace their pods one by one and
//! of such that replace all at once. Every answer is counted, from before the Canary comes until after it is gone, and none may
//! be lost. [`strategies`] are the ways to try a version that move no weight. [`going`] is the part of it in which a route changes hands. Then [`teeth`]: whether a controller that waits for nothing would be seen.

mod going;
mod strategies;
mod teeth;

use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;

use crate::harness::Outcome;
use crate::harness::abroad::Abroad;
use crate::harness::cluster::Cluster;
use crate::harness::controller::Controller;
use crate::harness::shop::{Judge, Replacing, Road, Shop};
use crate::harness::verdict::{Expectation, listed};
use crate::release::expectations;
use crate::release::story::{self, Story};

/// What can be told to the scenario.
#[derive(clap::Args)]
pub struct Arguments {
    /// Requests per second for each of the four shops.
    #[arg(long, value_name = "N", default_value_t = 60)]
    rate: u32,

    /// Nothing but that many comings and goings of two Canaries, for what is lost once in a while.
    #[arg(long, value_name = "N")]
    goings: Option<usize>,

    /// Nothing but the strategies that move no weight.
    #[arg(long)]
    strategies: bool,

    #[command(flatten)]
    pub abroad: Abroad,
}

/// So many answers are the least that a claim of no loss is made from.
const LEAST_ANSWERS: usize = 20_000;

/// All four at once, then the mutant, then the strategies.
pub async fn run(arguments: &Arguments, cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let controller = if arguments.abroad.installed {
        None
    } else {
        Some(Controller::start(cluster, "controller", 18080).await?)
    };
    if let Some(times) = arguments.goings {
        return Ok(vec![going::again_and_again(cluster, times).await?]);
    }
    if arguments.strategies {
        return strategies::all(cluster).await;
    }
    let mut shops = Vec::from(
        [
            ("proxy-rolling", Road::HttpProxy, Replacing::Rolling),
            ("proxy-recreate", Road::HttpProxy, Replacing::Recreate),
            ("route-rolling", Road::HttpRoute, Replacing::Rolling),
            ("route-recreate", Road::HttpRoute, Replacing::Recreate),
        ]
        .map(|(namespace, road, replacing)| Shop::new(cluster, namespace, road).replacing(replacing)),
    );
    shops.retain(|shop| arguments.abroad.road.is_none_or(|road| road == shop.road));
    if let Some(own) = &cluster.own {
        own.to_envoy.delay(teeth::LATE);
        // Elsewhere the gateway may be another one, whose statistics have other names.
        let routes = shops.iter_mut().filter(|shop| shop.road == Road::HttpRoute);
        routes.for_each(|shop| shop.judge = Judge::Gateway);
    }
    let stories = join_all(shops.iter().map(|shop| story::tell(cluster, shop, arguments.rate))).await;
    let stories = stories.into_iter().collect::<Outcome<Vec<_>>>()?;

    let mut all: Vec<_> = stories.iter().flat_map(expectations::course).collect();
    all.extend(stories.iter().flat_map(expectations::nothing_lost));
    let answers: usize = stories.iter().map(|story| story.answers.all().answered).sum();
    println!("{answers} answers");
    if arguments.abroad.road.is_none() {
        all.push(Expectation::new(
            format!("At least {LEAST_ANSWERS} requests were answered ({answers})"),
            answers >= LEAST_ANSWERS,
        ));
    }
    stories.iter().for_each(print_losses);
    if let Some(own) = &cluster.own {
        all.extend(teeth::bite(cluster, arguments.rate).boxed_local().await);
        own.to_envoy.delay(Duration::ZERO);
        all.extend(strategies::all(cluster).boxed_local().await?);
    }
    if let Some(controller) = controller {
        all.push(controller.ends_cleanly().await?);
    }
    println!("\n{}", listed(&all));
    Ok(all)
}

/// What is known about requests that nobody answered, for a person who looks for the cause.
fn print_losses(story: &Story) {
    let losses = story.answers.losses();
    if losses.is_empty() {
        return;
    }
    println!("\n{}: {} requests lost", story.title, losses.len());
    for (at, why) in losses.iter().take(20) {
        println!("  {} {why}", at.format("%H:%M:%S%.3f"));
    }
    println!("Envoy:");
    let since = story.moments.began;
    for line in story.gateway_says.iter().filter(|line| line.time >= since).take(20) {
        println!("  {line}");
    }
    println!("The story: {:#?}", story.moments);
    for weights in &story.seen.weights {
        println!("  {} {:?}", weights.at.format("%H:%M:%S%.3f"), weights.what);
    }
}
