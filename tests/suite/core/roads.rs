//! Whole roads through the state machine.

use chrono::TimeDelta;
use serde_json::json;
use serin::api::Phase;
use serin::rollout::{Selects, Stage, Weight};

use super::world::{World, fingerprint};

/// Lets time pass second by second until the condition holds; fails with the story when it never does.
pub fn until(world: &mut World, what: &str, condition: impl Fn(&World) -> bool) {
    for _ in 0..4_000 {
        if condition(world) {
            return;
        }
        world.refresh();
        world.pass_when_due();
        world.pass_time(TimeDelta::seconds(1));
    }
    unreachable!(
        "never: {what}; {:#?} {:#?} {:#?}",
        world.log,
        world.block(),
        world.observe()
    );
}

/// Steps of 20 up to 60.
pub fn linear() -> serde_json::Value {
    json!({"interval": "10s", "threshold": 2, "stepWeight": 20, "maxWeight": 50, "metrics": [{"name": "request-success-rate"}]})
}

/// A canary at rest after it was taken over.
pub fn initialized(analysis: &serde_json::Value) -> World {
    let mut world = World::new(3, analysis);
    until(&mut world, "initialized", |w| w.phase() == Phase::Initialized);
    world
}

#[test]
fn a_live_application_is_adopted_and_then_at_rest() {
    let mut world = initialized(&linear());
    assert_eq!(world.actual.apex, Some(Selects::Primary));
    assert_eq!(world.actual.primary.as_ref().map(|p| p.ready), Some(3));
    let (writes, log) = (world.status_writes, world.log.len());
    for _ in 0..600 {
        world.refresh();
        world.pass(None);
        world.pass_time(TimeDelta::seconds(1));
    }
    assert_eq!(
        (world.status_writes, world.log.len()),
        (writes, log),
        "silent at rest: {:#?}",
        &world.log[log..]
    );
}

/// The writes of the route, in words.
fn route_writes(world: &World) -> Vec<&str> {
    let routes = world.log.iter().filter(|line| line.starts_with("Route"));
    routes.map(String::as_str).collect()
}

#[test]
fn a_route_of_the_teams_own_hears_of_its_destinations_before_they_get_traffic() {
    let mut world = World::with_route(3, &linear());
    until(&mut world, "announced", |w| w.actual.announced.is_some());
    assert!(world.actual.handed_back, "and the apex has the traffic");
    // Two seconds of settling, of which the first pass after the write sees the first moment.
    for _ in 0..2 {
        world.refresh();
        world.pass_when_due();
        assert!(world.actual.handed_back, "{:#?}", world.log);
        let why = world.block().expect("a block").why;
        assert_eq!(why.reason, "AnnouncingRoute");
        world.pass_time(TimeDelta::seconds(1));
    }
    until(&mut world, "initialized", |w| w.phase() == Phase::Initialized);
    assert_eq!(
        route_writes(&world),
        ["RouteAnnounced(Sides)", "RouteLeads(Sides)", "Route(Weight(0))"]
    );
    world.deleting = true;
    until(&mut world, "released", |w| w.gone);
    assert_eq!(
        route_writes(&world)[3..],
        [
            "RouteAnnounced(Apex)",
            "RouteLeads(Apex)",
            "RouteHandedBack { original: false }"
        ]
    );
}

#[test]
fn a_route_that_serin_makes_needs_no_announcement() {
    let world = initialized(&linear());
    assert_eq!(route_writes(&world), ["Route(Weight(0))"]);
}

#[test]
fn an_announcement_that_somebody_takes_back_is_made_again_and_settles_anew() {
    let mut world = World::with_route(3, &linear());
    until(&mut world, "announced", |w| w.actual.announced.is_some());
    world.refresh();
    world.pass(None);
    world.pass_time(TimeDelta::seconds(1));
    world.actual.announced = None;
    until(&mut world, "initialized", |w| w.phase() == Phase::Initialized);
    assert_eq!(
        route_writes(&world),
        [
            "RouteAnnounced(Sides)",
            "RouteAnnounced(Sides)",
            "RouteLeads(Sides)",
            "Route(Weight(0))"
        ]
    );
}

#[test]
fn a_successor_lets_the_announcement_settle_again() {
    let mut world = World::with_route(3, &linear());
    until(&mut world, "announced", |w| w.actual.announced.is_some());
    let announced = world.actual.announced;
    world.refresh();
    world.pass(None);
    world.pass_time(TimeDelta::seconds(1));
    world.crash();
    let from = world.now;
    until(&mut world, "switched", |w| !w.actual.handed_back);
    assert!(world.now - from >= TimeDelta::seconds(2), "{:#?}", world.log);
    assert_eq!(route_writes(&world).len(), 2, "{announced:?} was not announced again");
}

#[test]
fn an_announcement_that_is_never_confirmed_ends_with_the_patience() {
    let mut world = World::with_route(3, &linear());
    world.unconfirmed = true;
    until(&mut world, "announced", |w| w.actual.announced.is_some());
    for _ in 0..50 {
        world.refresh();
        world.pass_when_due();
        world.pass_time(TimeDelta::seconds(1));
    }
    assert!(world.actual.handed_back, "{:#?}", world.log);
    until(&mut world, "switched", |w| !w.actual.handed_back);
    assert_eq!(world.actual.apex, Some(Selects::Target), "the target keeps serving");
}

#[test]
fn a_good_revision_goes_up_the_plan_and_is_promoted_with_few_writes() {
    let mut world = initialized(&linear());
    let before = world.status_writes;
    world.push(2);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(world.actual.primary.as_ref().map(|p| p.template), Some(2));
    assert_eq!(world.block().and_then(|b| b.promoted), Some(fingerprint(2)));
    let weights: Vec<&String> = world.log.iter().filter(|line| line.starts_with("Route")).collect();
    assert_eq!(
        weights,
        [
            "Route(Weight(0))",
            "Route(Weight(20))",
            "Route(Weight(40))",
            "Route(Weight(60))",
            "Route(Weight(0))"
        ]
    );
    assert!(
        world.status_writes - before <= 8,
        "{} status writes: {:#?}",
        world.status_writes - before,
        world.log
    );
}

#[test]
fn a_bad_revision_is_rolled_back_after_threshold_checks_and_not_tried_again() {
    let mut world = initialized(&linear());
    world.bad.insert(2);
    world.push(2);
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    assert_eq!(world.actual.primary.as_ref().map(|p| p.template), Some(1));
    assert!(
        world
            .told
            .iter()
            .any(|text| text.contains("failed checks threshold reached 2")),
        "{:#?}",
        world.told
    );
    let run = world.block().map(|b| b.run);
    for _ in 0..300 {
        world.refresh();
        world.pass(None);
        world.pass_time(TimeDelta::seconds(1));
    }
    assert_eq!(world.block().map(|b| b.run), run);
    world.push(3);
    until(&mut world, "the next revision promoted out of Failed", |w| {
        w.phase() == Phase::Succeeded
    });
}

#[test]
fn a_return_to_the_promoted_revision_clears_a_failure() {
    let mut world = initialized(&linear());
    world.bad.insert(2);
    world.push(2);
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    world.push(1);
    until(&mut world, "cleared", |w| w.phase() == Phase::Succeeded);
    assert_eq!(world.block().map(|b| (b.run, b.last_failed)), Some((1, None)));
}

#[test]
fn a_newer_revision_under_traffic_restarts_from_zero() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 40", |w| w.actual.route == Some(Weight::clamped(40)));
    world.push(3);
    world.refresh();
    world.pass(None);
    assert_eq!(world.actual.route, Some(Weight::ZERO), "answered before anything else");
    until(&mut world, "the newer one promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(world.actual.primary.as_ref().map(|p| p.template), Some(3));
}

#[test]
fn a_revert_during_the_run_ends_it_without_a_failure() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 40", |w| w.actual.route == Some(Weight::clamped(40)));
    world.push(1);
    until(&mut world, "at rest", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Resting)
    });
    assert_ne!(world.phase(), Phase::Failed);
    assert_eq!(world.actual.primary.as_ref().map(|p| p.template), Some(1));
}

#[test]
fn pods_that_never_get_ready_are_rolled_back_at_the_deadline_with_an_alert() {
    let mut world = initialized(&linear());
    world.broken.insert(2);
    world.push(2);
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    assert!(
        world
            .told
            .iter()
            .any(|text| text.contains("progress deadline exceeded")),
        "{:#?}",
        world.told
    );
}

#[test]
fn traffic_comes_home_by_step_weight_promotion_and_a_crash_at_zero_is_no_deadlock() {
    let mut analysis = linear();
    analysis["stepWeightPromotion"] = json!(25);
    let mut world = initialized(&analysis);
    world.push(2);
    until(&mut world, "returning", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Returning)
    });
    let mut seen = Vec::new();
    for _ in 0..200 {
        world.refresh();
        world.pass(None);
        world.crash();
        world.pass_time(TimeDelta::seconds(1));
        if seen.last() != Some(&world.actual.route) {
            seen.push(world.actual.route);
        }
        // A process that dies every second never sees an interval through; it does so now and then.
        for _ in 0..11 {
            world.refresh();
            world.pass(None);
            world.pass_time(TimeDelta::seconds(1));
        }
    }
    assert_eq!(world.phase(), Phase::Succeeded, "{:#?}", world.log);
}

#[test]
fn a_recreate_roll_happens_behind_the_canary() {
    let mut world = initialized(&linear());
    world.recreate = true;
    world.push(2);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert!(world.stages.contains(&Stage::Shielding), "{:?}", world.stages);
    let template = world
        .log
        .iter()
        .position(|line| line.starts_with("PrimaryTemplate") && line.contains("run: 1"))
        .expect("written");
    let full = world
        .log
        .iter()
        .position(|line| line == "Route(Weight(100))")
        .expect("all traffic on the canary first");
    assert!(full < template);
}

#[test]
fn a_primary_that_does_not_come_up_leaves_traffic_on_the_canary_and_a_later_fix_is_released() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "promoting", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Promoting)
    });
    // Only the primary's pods fail, as with a quota.
    world.broken.insert(2);
    if let Some(primary) = &mut world.actual.primary {
        primary.ready = 0;
    }
    until(&mut world, "held", |w| {
        w.block().is_some_and(|b| b.stage == Stage::HoldOnCanary)
    });
    assert_eq!((world.phase(), world.actual.route), (Phase::Failed, Some(Weight::FULL)));
    assert_eq!(world.canary.status.as_ref().map(|s| s.canary_weight), Some(100));
    world.push(3);
    until(&mut world, "the fix promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(world.actual.primary.as_ref().map(|p| p.template), Some(3));
}

#[test]
fn a_held_promotion_goes_on_by_itself_when_the_primary_comes_up() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "promoting", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Promoting)
    });
    world.broken.insert(2);
    until(&mut world, "held", |w| {
        w.block().is_some_and(|b| b.stage == Stage::HoldOnCanary)
    });
    world.broken.clear();
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn an_unreachable_metrics_server_costs_no_failed_check_but_not_for_ever() {
    let mut world = initialized(&linear());
    world.metrics_down = true;
    world.push(2);
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    let block = world.block().expect("a block");
    assert_eq!(block.failed_checks, 0);
    assert_eq!(
        block.outcome.map(|outcome| outcome.reason),
        Some("MetricsUnavailable".into())
    );
}

#[test]
fn skip_analysis_promotes_without_weights() {
    let mut world = initialized(&linear());
    world.canary.spec.skip_analysis = true;
    world.unjudged = true;
    world.push(2);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert!(
        !world
            .log
            .iter()
            .any(|line| line.starts_with("Route") && line != "Route(Weight(0))"),
        "{:#?}",
        world.log
    );
    assert!(
        world
            .told
            .iter()
            .any(|text| text == "Promotion completed! Canary analysis was skipped for podinfo.test")
    );
}

#[test]
fn gates_hold_without_repeating_themselves_and_pass_when_opened() {
    let mut analysis = linear();
    analysis["webhooks"] = json!([
        {"name": "gate-start", "type": "confirm-rollout", "url": "http://gate"},
        {"name": "once", "type": "pre-rollout", "url": "http://gate"},
        {"name": "gate-traffic", "type": "confirm-traffic-increase", "url": "http://gate"},
        {"name": "gate-promotion", "type": "confirm-promotion", "url": "http://gate"},
    ]);
    let mut world = initialized(&analysis);
    world.gates_closed = true;
    world.push(2);
    until(&mut world, "waiting", |w| w.phase() == Phase::Waiting);
    let writes = world.status_writes;
    for _ in 0..120 {
        world.refresh();
        world.pass(None);
        world.pass_time(TimeDelta::seconds(1));
    }
    assert_eq!(
        world.status_writes, writes,
        "a closed gate writes once: {:#?}",
        world.log
    );
    assert_eq!(
        world.actual.target.as_ref().map(|t| t.replicas),
        Some(0),
        "nothing is scaled up while waiting"
    );
    world.gates_closed = false;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    let passed = world
        .told
        .iter()
        .filter(|text| text.contains("Confirm-traffic-increase check gate-traffic passed"))
        .count();
    assert_eq!(
        passed, 4,
        "before each of three weights and the promotion: {:#?}",
        world.told
    );
    assert_eq!(
        world
            .told
            .iter()
            .filter(|text| text.contains("Pre-rollout check once passed"))
            .count(),
        1
    );
}

#[test]
fn suspension_touches_nothing_and_says_so_once() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.canary.spec.suspend = true;
    let log = world.log.len();
    for _ in 0..100 {
        world.refresh();
        world.pass(None);
        world.pass_time(TimeDelta::seconds(1));
    }
    assert_eq!(world.log.len(), log + 1, "{:#?}", &world.log[log..]);
    world.canary.spec.suspend = false;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn deletion_hands_everything_back_before_the_finalizer_goes() {
    let mut world = initialized(&linear());
    world.deleting = true;
    until(&mut world, "released", |w| w.gone);
    assert_eq!(world.actual.apex, Some(Selects::Target));
    assert!(world.actual.handed_back && !world.actual.owned);
    assert_eq!(world.actual.target.as_ref().map(|t| t.ready), Some(3));
}

#[test]
fn deletion_in_the_middle_of_a_run_brings_traffic_home_first() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 40", |w| w.actual.route == Some(Weight::clamped(40)));
    world.deleting = true;
    until(&mut world, "released", |w| w.gone);
    assert!(world.log.iter().any(|line| line == "Route(Weight(0))"));
}

#[test]
fn a_lost_primary_is_rebuilt_from_the_store() {
    let mut world = initialized(&linear());
    world.bad.insert(2);
    world.push(2);
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    world.actual.primary = None;
    until(&mut world, "rebuilt", |w| {
        w.actual.primary.as_ref().is_some_and(|p| p.ready > 0)
    });
    assert_eq!(
        world.actual.primary.as_ref().map(|p| p.template),
        Some(1),
        "from the promoted revision, not the failed one"
    );
}

#[test]
fn an_upgrade_that_changes_the_encoding_starts_nothing() {
    let mut world = initialized(&linear());
    world.versions = "2/1".into();
    // The same template reads differently; its anchor stands.
    if let Some(target) = &mut world.actual.target {
        target.template = 77;
    }
    for _ in 0..60 {
        world.refresh();
        world.pass(None);
        world.pass_time(TimeDelta::seconds(1));
    }
    assert_eq!(
        world.block().map(|b| (b.run, b.promoted)),
        Some((0, Some(fingerprint(77))))
    );
    world.push(2);
    until(&mut world, "a real edit afterwards is released", |w| {
        w.phase() == Phase::Succeeded
    });
}
