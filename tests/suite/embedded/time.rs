//! How long things take: deadlines, intervals, suspensions, reads that fail (ranks 17, 20 and 24 of `spec/users.md`).

use std::time::Duration;

use serde_json::json;
use serin::sim::world::script::{Life, Pods, RouterSays};

use super::{
    process::{How, Mishap},
    setting::Setting,
    stage::Stage,
    traffic::no_request_lost,
};

/// Rank 17: the API server answers no read for a while in the middle of a run.
#[tokio::test(start_paused = true)]
async fn reads_that_fail_for_a_while_change_nothing_but_the_time() {
    let calls = Mishap::new(0, How::Counted);
    let stage = Setting::new().mishap(calls.clone()).initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.note("reads fail");
    calls.reads_fail(true);
    stage.pass(30).await;
    stage.note("and a new process cannot read either");
    stage.serin.kill();
    stage.serin.start();
    stage.pass(30).await;
    stage.note("reads succeed");
    calls.reads_fail(false);
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
    let images: Vec<_> = stage
        .story
        .primary_templates()
        .into_iter()
        .map(|(_, image)| image)
        .collect();
    assert_eq!(images, ["app:1", "app:2"]);
    no_request_lost(&stage);
}

/// Rank 20: a route that nobody accepts, a pod that never comes, a gate: each has an end or a name.
#[tokio::test(start_paused = true)]
async fn a_run_whose_route_is_never_accepted_is_rolled_back_with_the_routers_words() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage
        .world
        .change(|script| script.router("app", RouterSays::Rejects("no such listener".into())));
    stage
        .until("told why", |stage| stage.why("message").contains("no such listener"))
        .await;
    stage.until_stage("RollingBack").await;
    stage.world.change(|script| script.router("app", RouterSays::Accepts));
    stage.until_phase("Failed").await;
    assert_eq!(stage.image("app-primary"), "app:1");
}

/// Rank 24: pods that come one after another, each within the deadline.
#[tokio::test(start_paused = true)]
async fn the_deadline_measures_the_lack_of_progress() {
    let stage = Setting::new().initialized().await;
    let of_the_target = Pods::image("app:2").and(Pods::Labelled("app".into(), "app".into()));
    stage
        .world
        .change(|script| script.life(of_the_target, Life::NeverReady));
    stage.push("app:2").await;
    for ready in 1..=3 {
        stage.pass(45).await;
        let mut pods: Vec<String> = stage
            .api
            .objects("v1", "Pod", "test")
            .iter()
            .filter(|pod| pod["spec"]["containers"][0]["image"] == "app:2")
            .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        pods.sort();
        let name = pods.get(ready - 1).cloned().expect("three pods must be there");
        stage
            .world
            .change(|script| script.life(Pods::Named(name), Life::ReadyAfter(Duration::from_secs(1))));
    }
    stage.until_phase("Succeeded").await;
}

pub fn steps_last_their_interval(stage: &Stage) {
    let writes = stage.story.timed_weights();
    for pair in writes.windows(2).filter(|pair| pair[0].1 > 0 && pair[1].1 > pair[0].1) {
        let span = (pair[1].0 - pair[0].0).num_milliseconds();
        assert!(span >= 10_000, "a step of {span} ms: {writes:?}");
    }
}

/// W13: neither a restart nor an edit of the interval makes a step shorter.
#[tokio::test(start_paused = true)]
async fn restarts_and_edits_of_the_interval_do_not_shorten_a_step() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.pass(8).await;
    stage.serin.kill();
    stage.serin.start();
    stage.until_weight(40).await;
    stage.pass(5).await;
    stage.edit_canary(json!({ "analysis": { "interval": "20s" } })).await;
    stage.until_phase("Succeeded").await;
    steps_last_their_interval(&stage);
    let writes = stage.story.timed_weights();
    let of = |weight: u64| writes.iter().find(|(_, it)| *it == weight).expect("written").0;
    assert!((of(60) - of(40)).num_seconds() >= 20, "{writes:?}");
}

/// E27.
#[tokio::test(start_paused = true)]
async fn a_suspended_canary_stands_still_and_goes_on_with_a_whole_interval() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(40).await;
    stage.edit_canary(json!({ "suspend": true })).await;
    stage.pass(300).await;
    assert_eq!(stage.weight(), Some(40));
    assert_eq!(
        stage.events_with("skipping canary run as object is suspended"),
        1,
        "said once"
    );
    stage.edit_canary(json!({ "suspend": false })).await;
    let before = stage.clock.now();
    stage.until_weight(60).await;
    assert!((stage.clock.now() - before).num_seconds() >= 10);
    stage.until_phase("Succeeded").await;
}
