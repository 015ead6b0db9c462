//! The first run: one good release and one bad one, through an `HTTPProxy` and an `HTTPRoute` at once, and a page about what was
//! seen, `docs/first-run.md`.

mod page;

use std::path::Path;

use crate::harness::cluster::Cluster;
use crate::harness::controller::Controller;
use crate::harness::programs::Product;
use crate::harness::shop::{Road, Shop};
use crate::harness::verdict::Expectation;
use crate::harness::{Outcome, checkout};
use crate::release::{expectations, story};

/// What can be told to the scenario.
#[derive(clap::Args)]
pub struct Arguments {
    /// Run Flagger instead of Serin, as a control experiment; docs/first-run.md is left alone.
    #[arg(long, conflicts_with = "controller")]
    pub flagger: bool,

    /// Requests per second on each of the two routes.
    #[arg(long, value_name = "N", default_value_t = 60)]
    rate: u32,
}

/// Both routes at once, then the judgement and the page. That nothing is lost is asked of Serin only.
pub async fn run(arguments: &Arguments, cluster: &Cluster) -> Outcome<Vec<Expectation>> {
    let controller = Controller::start(cluster, "controller", 18080).await?;
    let [by_proxy, by_route] = [("by-httpproxy", Road::HttpProxy), ("by-httproute", Road::HttpRoute)]
        .map(|(namespace, road)| Shop::new(cluster, namespace, road));
    let (by_proxy, by_route) = tokio::join!(
        story::tell(cluster, &by_proxy, arguments.rate),
        story::tell(cluster, &by_route, arguments.rate),
    );
    let stories = [by_proxy?, by_route?];
    let mut all: Vec<_> = stories.iter().flat_map(expectations::course).collect();
    if matches!(cluster.programs.product, Product::Serin(_)) {
        all.extend(stories.iter().flat_map(expectations::nothing_lost));
    }
    all.push(controller.ends_cleanly().await?);

    let page = page::page(&cluster.programs, &stories, &all);
    let target = if arguments.flagger {
        cluster.state.join("with-flagger.md")
    } else {
        checkout().join("docs/first-run.md")
    };
    write(&target, &page)?;
    println!("\n{page}\nWritten to {}", target.display());
    Ok(all)
}

fn write(target: &Path, page: &str) -> Outcome<()> {
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(target, page)?)
}
