//! Roads of the strategies beside plain weights: A/B, Blue/Green, mirrors, cookies, and a provider without a route.

use chrono::TimeDelta;
use serde_json::{Value, json};
use serin::api::Phase;
use serin::rollout::{Stage, Weight};

use super::roads::{initialized, until};
use super::world::World;

/// An analysis with one metric, of two failed checks at most, and this beside it.
fn with(part: &Value) -> Value {
    let mut analysis = json!({"interval": "10s", "threshold": 2, "metrics": [{"name": "request-success-rate"}]});
    json_patch::merge(&mut analysis, part);
    analysis
}

fn blue_green(iterations: u32) -> Value {
    with(&json!({"iterations": iterations}))
}

fn ab_test(iterations: u32) -> Value {
    with(&json!({"iterations": iterations, "match": [{"headers": {"x-user": {"exact": "tester"}}}]}))
}

/// A canary at rest whose provider has no route.
fn without_route(analysis: &Value) -> World {
    let mut world = World::without_route(3, analysis);
    until(&mut world, "initialized", |w| w.phase() == Phase::Initialized);
    world
}

/// The writes of the route from here on.
fn routes(world: &World, from: usize) -> Vec<&str> {
    let lines = world.log[from..].iter().filter(|line| line.starts_with("Route"));
    lines.map(String::as_str).collect()
}

/// What was told of traffic and iterations, in order.
fn moves(world: &World) -> Vec<&str> {
    let words = ["Advance", "Routing all", "Stop traffic", "Copying"];
    let told = world.told.iter().map(String::as_str);
    told.filter(|text| words.iter().any(|word| text.starts_with(word)))
        .collect()
}

fn iterations(world: &World) -> Option<i64> {
    world.canary.status.as_ref().map(|status| status.iterations)
}

fn seconds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
}

/// Releases template 2 and waits for its end; the route's writes.
fn promoted(world: &mut World) -> Vec<String> {
    let from = world.log.len();
    world.push(2);
    until(world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(world.actual.primary.as_ref().map(|p| p.template), Some(2));
    assert_eq!(iterations(world), Some(0));
    routes(world, from).into_iter().map(str::to_owned).collect()
}

#[test]
fn blue_green_is_tried_without_traffic_then_gets_all_of_it_then_is_promoted() {
    let mut world = initialized(&blue_green(3));
    let began = world.now;
    let written = promoted(&mut world);
    assert_eq!(written, ["Route(Weight(100))", "Route(Weight(0))"]);
    assert_eq!(
        moves(&world),
        [
            "Advance podinfo.test canary iteration 1/3",
            "Advance podinfo.test canary iteration 2/3",
            "Advance podinfo.test canary iteration 3/3",
            "Routing all traffic to canary",
            "Copying podinfo.test template spec to podinfo-primary.test",
            "Routing all traffic to primary",
        ]
    );
    assert!(
        world.now - began >= TimeDelta::seconds(40),
        "four checks, each after an interval"
    );
}

#[test]
fn blue_green_with_a_mirror_copies_until_it_gets_everything() {
    let mut world = initialized(&with(&json!({"iterations": 2, "mirror": true, "mirrorWeight": 30})));
    let written = promoted(&mut world);
    assert_eq!(
        written,
        ["Route(Weight(0), 30 copied)", "Route(Weight(100))", "Route(Weight(0))"]
    );
    assert!(moves(&world).contains(&"Stop traffic mirroring and route all traffic to canary"));
}

#[test]
fn an_ab_test_gives_the_canary_what_matches_and_the_primary_rolls_under_the_rest() {
    let mut world = initialized(&ab_test(2));
    let written = promoted(&mut world);
    assert_eq!(written, ["Route(Weight(100), of those that match)", "Route(Weight(0))"]);
    assert!(!world.stages.contains(&Stage::Shielding), "{:?}", world.stages);
    assert_eq!(
        moves(&world),
        [
            "Advance podinfo.test canary iteration 1/2",
            "Advance podinfo.test canary iteration 2/2",
            "Copying podinfo.test template spec to podinfo-primary.test",
            "Routing all traffic to primary",
        ]
    );
}

/// Invariant 3: the rest may be everything.
#[test]
fn a_primary_that_is_recreated_behind_an_ab_test_leaves_all_traffic_to_the_canary_first() {
    let mut world = initialized(&ab_test(2));
    world.recreate = true;
    let written = promoted(&mut world);
    assert_eq!(
        written,
        [
            "Route(Weight(100), of those that match)",
            "Route(Weight(100))",
            "Route(Weight(0))"
        ]
    );
}

#[test]
fn weights_with_a_match_are_shares_of_what_matches() {
    let mut world = initialized(&with(
        &json!({"stepWeights": [50, 100], "match": [{"headers": {"x-user": {"exact": "tester"}}}]}),
    ));
    let written = promoted(&mut world);
    assert_eq!(
        written,
        [
            "Route(Weight(50), of those that match)",
            "Route(Weight(100), of those that match)",
            "Route(Weight(0))"
        ]
    );
}

#[test]
fn a_mirrored_step_comes_before_the_first_weight_and_lasts_an_interval() {
    let mut world = initialized(&with(&json!({"stepWeights": [20, 60], "mirror": true})));
    world.push(2);
    until(&mut world, "mirrored", |w| w.actual.traffic.mirror.is_some());
    let since = world.now;
    assert_eq!(world.actual.route, Some(Weight::ZERO));
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    assert!(world.now - since >= TimeDelta::seconds(10));
    assert_eq!(world.actual.traffic.mirror, None);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(moves(&world)[0], "Advance podinfo.test canary weight 0");
}

#[test]
fn a_bad_revision_that_only_sees_copies_goes_back_and_the_copies_end() {
    for part in [
        json!({"stepWeights": [20, 60], "mirror": true}),
        json!({"iterations": 3, "mirror": true}),
    ] {
        let mut world = initialized(&with(&part));
        world.bad.insert(2);
        world.push(2);
        until(&mut world, "failed", |w| w.phase() == Phase::Failed);
        assert_eq!(
            (world.actual.traffic.mirror, world.actual.route),
            (None, Some(Weight::ZERO))
        );
    }
}

/// `spec/routers.md` 6.1: Services alone; the selector is never switched to the canary.
#[test]
fn without_a_route_a_revision_is_tried_by_iterations_and_promoted_under_the_traffic() {
    let mut world = without_route(&blue_green(2));
    assert_eq!(promoted(&mut world), Vec::<String>::new());
    assert_eq!(
        moves(&world),
        [
            "Advance podinfo.test canary iteration 1/2",
            "Advance podinfo.test canary iteration 2/2",
            "Copying podinfo.test template spec to podinfo-primary.test",
        ]
    );
    let switched = world.log.iter().filter(|line| line.starts_with("Apex")).count();
    assert_eq!(switched, 1, "{:#?}", world.log);
    assert!(!world.stages.contains(&Stage::Shielding));
}

#[test]
fn without_a_route_a_primary_that_is_recreated_is_told_before() {
    let mut world = without_route(&blue_green(1));
    world.recreate = true;
    promoted(&mut world);
    let told = |text: &&String| text.contains("rolls under all traffic and keeps 0 of 3 pods");
    assert_eq!(world.told.iter().filter(told).count(), 1, "{:#?}", world.told);
}

#[test]
fn without_a_route_a_primary_that_does_not_come_up_is_held_and_a_later_fix_is_released() {
    let mut world = without_route(&blue_green(1));
    world.push(2);
    until(&mut world, "promoting", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Promoting)
    });
    world.broken.insert(2);
    until(&mut world, "held", |w| {
        w.block().is_some_and(|b| b.stage == Stage::HoldOnCanary)
    });
    let status = world.canary.status.clone().expect("a status");
    assert_eq!(
        (status.phase, status.canary_weight),
        (Phase::Failed, 0),
        "nothing can lead there"
    );
    world.push(3);
    until(&mut world, "the fix promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(world.actual.primary.as_ref().map(|p| p.template), Some(3));
}

#[test]
fn without_a_route_weights_become_ten_iterations() {
    let mut world = without_route(&with(&json!({"stepWeight": 20})));
    promoted(&mut world);
    assert!(moves(&world).contains(&"Advance podinfo.test canary iteration 10/10"));
}

#[test]
fn without_a_route_a_deletion_hands_the_apex_back() {
    let mut world = without_route(&blue_green(3));
    world.push(2);
    until(&mut world, "iteration 2", |w| iterations(w) == Some(2));
    world.deleting = true;
    until(&mut world, "released", |w| w.gone);
    assert_eq!(world.actual.target.as_ref().map(|t| t.ready), Some(3));
}

/// E21, E26: the plan of a run stands; the next run has the edited one.
#[test]
fn an_edit_of_the_iterations_neither_stalls_a_run_nor_makes_it_jump() {
    for (analysis, edited) in [(ab_test(4), 1), (blue_green(4), 1), (ab_test(2), 9), (blue_green(2), 9)] {
        let planned = analysis["iterations"].as_u64().unwrap_or_default();
        let mut world = initialized(&analysis);
        world.push(2);
        until(&mut world, "iteration 2", |w| iterations(w) == Some(2));
        let spec = world.canary.spec.analysis.as_mut().expect("an analysis");
        spec.iterations = Some(edited);
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
        let count = moves(&world).iter().filter(|text| text.contains("iteration")).count();
        assert_eq!(u64::try_from(count), Ok(planned), "{:#?}", world.told);
    }
}

#[test]
fn a_successor_goes_on_with_the_iteration_and_gives_it_a_whole_interval() {
    for analysis in [blue_green(3), ab_test(3)] {
        let mut world = initialized(&analysis);
        world.push(2);
        until(&mut world, "iteration 2", |w| iterations(w) == Some(2));
        seconds(&mut world, 6);
        world.crash();
        let from = world.now;
        until(&mut world, "iteration 3", |w| iterations(w) == Some(3));
        assert!(world.now - from >= TimeDelta::seconds(10), "{:#?}", world.log);
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    }
}

#[test]
fn a_failed_check_costs_no_iteration_and_the_next_one_decides() {
    let mut world = initialized(&blue_green(2));
    world.bad.insert(2);
    world.push(2);
    until(&mut world, "one failed check", |w| {
        w.block().is_some_and(|b| b.failed_checks == 1)
    });
    assert_eq!(iterations(&world), Some(1));
    world.bad.clear();
    until(&mut world, "iteration 2", |w| iterations(w) == Some(2));
    assert_eq!(
        world.block().map(|b| b.why.reason),
        Some("Analysing".into()),
        "the failure is history"
    );
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn canary_pods_that_die_during_the_iterations_begin_them_anew() {
    let mut world = initialized(&blue_green(3));
    world.push(2);
    until(&mut world, "iteration 3", |w| iterations(w) == Some(3));
    if let Some(target) = &mut world.actual.target {
        (target.ready, target.old) = (0, 0);
    }
    world.refresh();
    world.pass(None);
    assert_eq!(world.block().map(|b| (b.failed_checks, b.iterations)), Some((1, 0)));
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn a_newer_revision_ends_the_iterations_of_the_older_one() {
    for analysis in [blue_green(3), ab_test(3)] {
        let mut world = initialized(&analysis);
        world.push(2);
        until(&mut world, "iteration 2", |w| iterations(w) == Some(2));
        world.push(3);
        world.refresh();
        world.pass(None);
        assert_eq!(world.actual.route, Some(Weight::ZERO));
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
        assert_eq!(world.actual.primary.as_ref().map(|p| p.template), Some(3));
    }
}

/// Flagger asks at each second tick only, since a refusal takes an iteration back (`spec/core.md` 4.3).
#[test]
fn the_gate_before_promotion_is_asked_once_an_interval_and_keeps_the_iterations() {
    for (analysis, passes) in [(blue_green(2), 2), (ab_test(2), 1)] {
        let mut analysis = analysis;
        analysis["webhooks"] = json!([
            {"name": "traffic", "type": "confirm-traffic-increase", "url": "http://gate"},
            {"name": "gate", "type": "confirm-promotion", "url": "http://gate"},
        ]);
        let mut world = initialized(&analysis);
        world.gates_closed = true;
        world.push(2);
        until(&mut world, "waiting", |w| w.phase() == Phase::WaitingPromotion);
        let (asked, writes) = (world.called.len(), world.status_writes);
        seconds(&mut world, 50);
        assert!(world.called.len() - asked >= 4, "{:?}", world.called);
        assert_eq!((world.status_writes, iterations(&world)), (writes, Some(2)));
        world.gates_closed = false;
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
        let passed = |text: &&String| text.contains("Confirm-promotion check gate passed");
        assert_eq!(world.told.iter().filter(passed).count(), passes, "{:#?}", world.told);
        assert!(
            !world.called.contains(&"traffic".to_owned()),
            "no weight is raised by steps"
        );
        assert_eq!(
            world
                .alerts
                .iter()
                .filter(|text| text.contains("waiting for approval"))
                .count(),
            1
        );
    }
}

#[test]
fn cookies_stand_before_the_route_names_them_and_are_taken_back_behind_the_run() {
    let affinity =
        json!({"stepWeights": [20, 60], "sessionAffinity": {"cookieName": "side", "primaryCookieName": "home"}});
    let mut world = initialized(&with(&affinity));
    let written = promoted(&mut world);
    assert_eq!(
        written,
        [
            "Route(Weight(20), both cookies)",
            "Route(Weight(60), both cookies)",
            "Route(Weight(0), a cookie taken back)"
        ]
    );
    let status = world.canary.status.clone().expect("a status");
    let previous = status.previous_session_affinity_cookie.expect("the run's cookie");
    assert!(previous.starts_with("side=") && status.session_affinity_cookie.is_none());
    assert!(
        status
            .primary_session_affinity_cookie
            .is_some_and(|cookie| cookie.starts_with("home="))
    );
    world.push(3);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    let status = world.canary.status.clone().expect("a status");
    assert_ne!(status.session_affinity_cookie, Some(previous), "each run has its own");
}

/// W15.
#[test]
fn a_crash_between_status_and_route_keeps_the_cookies() {
    let affinity = json!({"stepWeights": [20, 60], "sessionAffinity": {"cookieName": "side"}});
    let mut world = initialized(&with(&affinity));
    world.push(2);
    until(&mut world, "weight 20 in the status", |w| {
        w.block().is_some_and(|b| b.weight == Weight::clamped(20))
    });
    let cookies = world.block().map(|b| b.cookies);
    world.crash();
    until(&mut world, "weight 60", |w| w.actual.route == Some(Weight::clamped(60)));
    assert_eq!(world.block().map(|b| b.cookies), cookies);
    let status = world.canary.status.clone().expect("a status");
    assert_eq!(status.primary_session_affinity_cookie, None, "none is asked for");
}

/// Sticky callers add up: the canary must be able to answer all of them, and the primary too while it has a cookie of its own.
#[test]
fn a_cookie_needs_as_many_pods_as_all_traffic_would() {
    let affinity = json!({"stepWeights": [20, 60], "sessionAffinity": {"cookieName": "side"}});
    let mut world = initialized(&with(&affinity));
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    if let Some(target) = &mut world.actual.target {
        target.ready = 2;
    }
    world.refresh();
    world.pass(None);
    assert_eq!(world.block().map(|b| b.why.reason), Some("WaitingForCanary".into()));
}

#[test]
fn an_analysis_that_is_called_off_in_the_iterations_promotes() {
    for analysis in [blue_green(5), ab_test(5)] {
        let mut world = initialized(&analysis);
        world.push(2);
        until(&mut world, "iteration 2", |w| iterations(w) == Some(2));
        world.canary.spec.skip_analysis = true;
        world.unjudged = true;
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
        assert!(
            world
                .told
                .iter()
                .any(|text| text.contains("Canary analysis was skipped"))
        );
    }
}
