//! Time: what runs out, from when it is counted, and what a long wait must not do.

use chrono::TimeDelta;
use serde_json::json;
use serin::api::Phase;
use serin::rollout::{Known, Obstacle, RunResult, Stage, Weight};

use super::roads::{initialized, linear, until};
use super::world::World;

fn seconds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
}

/// A run that has waited for its promotion for much longer than the deadline.
fn long_gated() -> World {
    let mut analysis = linear();
    analysis["webhooks"] = json!([{"name": "gate", "type": "confirm-promotion", "url": "http://gate"}]);
    let mut world = initialized(&analysis);
    world.gates_closed = true;
    world.push(2);
    until(&mut world, "gated", |w| w.phase() == Phase::WaitingPromotion);
    seconds(&mut world, 600);
    world
}

#[test]
fn a_pod_lost_after_a_long_wait_has_the_whole_deadline_to_come_back() {
    let mut world = long_gated();
    world.broken.insert(2);
    world.actual.target.as_mut().expect("a target").ready = 1;
    seconds(&mut world, 20);
    world.broken.clear();
    world.gates_closed = false;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(world.block().map(|b| b.failed_checks), Some(0));
}

#[test]
fn a_pod_that_stays_lost_after_a_long_wait_ends_the_run_at_the_deadline() {
    let mut world = long_gated();
    world.broken.insert(2);
    world.actual.target.as_mut().expect("a target").ready = 1;
    let lost = world.now;
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    let took = (world.now - lost).num_seconds();
    assert!((60..75).contains(&took), "{took}");
}

#[test]
fn a_route_changed_by_hand_after_a_long_wait_is_repaired_and_not_the_end() {
    let mut world = long_gated();
    world.actual.route = Some(Weight::clamped(10));
    seconds(&mut world, 5);
    assert_eq!(world.actual.route, Some(Weight::clamped(60)));
    world.gates_closed = false;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn a_route_that_cannot_be_read_for_a_moment_after_a_long_wait_is_not_the_end() {
    let mut world = long_gated();
    world.distort = |observation| observation.route = Known::Unknown;
    seconds(&mut world, 5);
    world.distort = |_| {};
    world.gates_closed = false;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn a_successor_that_comes_during_a_long_wait_and_finds_a_pod_missing_waits_for_it() {
    let mut world = long_gated();
    world.broken.insert(2);
    world.actual.target.as_mut().expect("a target").ready = 1;
    world.crash();
    seconds(&mut world, 20);
    world.broken.clear();
    world.gates_closed = false;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn a_long_suspension_does_not_use_up_the_deadline() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "raising", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Raising)
    });
    world.canary.spec.suspend = true;
    // The team's own tools took the pods away meanwhile.
    world.actual.target.as_mut().expect("a target").replicas = 0;
    seconds(&mut world, 600);
    world.canary.spec.suspend = false;
    until(&mut world, "promoted", |w| {
        matches!(w.phase(), Phase::Succeeded | Phase::Failed)
    });
    assert_eq!(world.phase(), Phase::Succeeded, "{:#?}", world.log);
}

/// A person is alerted of each: a controller of Deployments that does nothing, before a takeover and between two runs, and a target that
/// somebody raises again when it was taken over.
#[test]
fn what_no_time_mends_is_told_when_the_patience_is_over() {
    fn unobserved(observation: &mut serin::rollout::Observation) {
        if let Known::Present(target) = &mut observation.target {
            target.rollout.observed = false;
        }
    }
    fn told(world: &World, part: &str) -> usize {
        world.alerts.iter().filter(|text| text.contains(part)).count()
    }
    let mut world = World::new(3, &linear());
    world.distort = unobserved;
    seconds(&mut world, 50);
    let why = world.block().expect("a block").why;
    assert_eq!(why.reason, "TargetNotObserved");
    assert_eq!(told(&world, "has not seen the last edit"), 0);
    seconds(&mut world, 200);
    assert_eq!(told(&world, "has not seen the last edit"), 1);

    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.push(3);
    world.distort = unobserved;
    seconds(&mut world, 300);
    let block = world.block().expect("a block");
    assert_eq!(
        (block.stage, block.why.reason.as_str()),
        (Stage::Restarting, "TargetNotObserved")
    );
    assert_eq!(told(&world, "has not seen the last edit"), 1, "{:?}", world.alerts);
    world.distort = |_| {};
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);

    let mut world = World::new(3, &linear());
    for _ in 0..400 {
        seconds(&mut world, 1);
        // A scaler that knows of nothing.
        world.actual.target.as_mut().expect("a target").replicas = 3;
    }
    assert_eq!(
        world.block().map(|block| block.why.reason).as_deref(),
        Some("ScalingTargetDown")
    );
    assert_eq!(told(&world, "does not stay at zero"), 1, "{:?}", world.alerts);
}

/// Flagger's readiness thresholds count in a run too: with half of them ready a share needs half the pods.
#[test]
fn a_share_of_the_traffic_needs_the_part_of_its_pods_that_the_threshold_says() {
    for (threshold, phase) in [(50, Phase::Succeeded), (100, Phase::Failed)] {
        let mut analysis = linear();
        analysis["canaryReadyThreshold"] = json!(threshold);
        analysis["primaryReadyThreshold"] = json!(threshold);
        let mut world = World::new(4, &analysis);
        until(&mut world, "initialized", |w| w.phase() == Phase::Initialized);
        world.push(2);
        until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
        // Two pods of each side are away.
        world.distort = |observation| {
            for ready in [&mut observation.primary_endpoints, &mut observation.canary_endpoints] {
                *ready = ready.map(|ready| ready.min(2));
            }
        };
        until(&mut world, &format!("{threshold}"), |w| {
            matches!(w.phase(), Phase::Succeeded | Phase::Failed)
        });
        assert_eq!(world.phase(), phase, "{threshold}: {:#?}", world.log);
    }
}

/// W25: the schema asks for an analysis, and what was stored before it did has none.
#[test]
fn a_canary_without_an_analysis_is_released_unjudged() {
    let mut world = initialized(&serde_json::Value::Null);
    assert!(world.canary.spec.analysis.is_none());
    world.unjudged = true;
    world.push(2);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    let outcome = world.block().and_then(|block| block.outcome);
    assert_eq!(
        outcome.map(|outcome| outcome.reason).as_deref(),
        Some("PromotedUnjudged")
    );
    let routes = world.log.iter().filter(|line| line.starts_with("Route"));
    assert!(
        routes.clone().all(|line| line == "Route(Weight(0))"),
        "{:#?}",
        world.log
    );
}

#[test]
fn after_a_suspension_the_status_says_something_else_at_once() {
    let mut world = initialized(&linear());
    world.canary.spec.suspend = true;
    seconds(&mut world, 5);
    assert_eq!(world.block().map(|b| b.why.reason), Some("Suspended".into()));
    world.canary.spec.suspend = false;
    world.answers_take = TimeDelta::seconds(30);
    world.push(2);
    seconds(&mut world, 1);
    assert_ne!(world.block().map(|b| b.why.reason), Some("Suspended".into()));
}

#[test]
fn a_canary_whose_scaler_allows_too_few_pods_is_rolled_back_at_a_deadline() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    for _ in 0..200 {
        world.pass_time(TimeDelta::seconds(1));
        let steps = world.block().is_some_and(|block| block.stage == Stage::Stepping);
        if let Some(target) = world.actual.target.as_mut().filter(|_| steps) {
            (target.replicas, target.ready) = (1, 1);
        }
        world.refresh();
        world.pass_when_due();
        if world.phase() == Phase::Failed {
            break;
        }
    }
    assert_eq!(world.phase(), Phase::Failed, "{:#?}", world.log);
}

#[test]
fn a_target_that_something_else_keeps_up_is_told() {
    let mut world = initialized(&linear());
    world.bad.insert(2);
    world.push(2);
    until(&mut world, "rolling back", |w| {
        w.block().is_some_and(|b| b.stage == Stage::RollingBack)
    });
    for _ in 0..120 {
        world.actual.target.as_mut().expect("a target").replicas = 1;
        seconds(&mut world, 1);
    }
    let told = |w: &World| {
        w.alerts
            .iter()
            .filter(|text| text.contains("does not stay at zero"))
            .count()
    };
    assert_eq!(told(&world), 1, "{:?}", world.alerts);
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
}

#[test]
fn endpoints_that_cannot_be_counted_end_the_run_at_a_deadline() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.distort = |observation| observation.canary_endpoints = None;
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
}

#[test]
fn huge_durations_are_no_panic() {
    let mut world = initialized(&linear());
    world.canary.spec.progress_deadline_seconds = Some(i64::MAX);
    world.canary.spec.traffic_settle_seconds = Some(u32::MAX);
    let analysis = world.canary.spec.analysis.as_mut().expect("an analysis");
    analysis.interval = Some("2562047h47m16s".into());
    world.push(2);
    seconds(&mut world, 30);
    world.canary.spec.traffic_settle_seconds = None;
    world.deleting = true;
    seconds(&mut world, 30);
    assert!(world.gone, "{:#?}", world.log);
}

#[test]
fn a_wake_up_that_has_passed_does_not_hide_one_to_come() {
    let mut world = initialized(&linear());
    world.distort = |observation| observation.canary_endpoints = Some(0);
    world.deleting = true;
    world.actual.primary.as_mut().expect("a primary").ready = 1;
    until(&mut world, "released", |w| w.gone);
}

#[test]
fn a_rival_is_named_once_however_often_it_comes_back() {
    let mut world = initialized(&linear());
    let contested = |observation: &mut serin::rollout::Observation| {
        observation.obstacle = Some(Obstacle::Contested {
            what: "HTTPRoute podinfo".into(),
            manager: "argocd".into(),
        });
    };
    for _ in 0..5 {
        world.distort = contested;
        seconds(&mut world, 3);
        let why = world.block().expect("a block").why;
        assert!(why.message.contains("argocd"), "{why:?}");
        world.distort = |_| {};
        seconds(&mut world, 3);
    }
    assert_eq!(
        world.alerts.iter().filter(|text| text.contains("argocd")).count(),
        1,
        "{:?}",
        world.alerts
    );
}

/// Rank 37 of `spec/users.md`: the status tells what flows where that is not what is meant.
#[test]
fn the_weight_that_the_route_really_carries_is_shown_while_it_is_another() {
    let mut world = initialized(&linear());
    let observed = |world: &World| world.block().and_then(|block| block.observed_weight);
    assert_eq!(observed(&world), None);
    world.distort = |observation| {
        observation.obstacle = Some(Obstacle::Contested {
            what: "HTTPRoute podinfo".into(),
            manager: "argocd".into(),
        });
        if let Known::Present(route) = &mut observation.route {
            route.weight = Some(Weight::clamped(5));
        }
    };
    seconds(&mut world, 3);
    assert_eq!(observed(&world), Some(Weight::clamped(5)));
    world.distort = |_| {};
    seconds(&mut world, 3);
    assert_eq!(observed(&world), None);
}

#[test]
fn a_target_that_is_deleted_while_the_run_restarts_ends_the_run() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.push(3);
    world.refresh();
    world.pass(None);
    world.actual.target = None;
    until(&mut world, "ended", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Resting)
    });
    assert_eq!(
        world.block().and_then(|b| b.outcome).map(|o| o.result),
        Some(RunResult::Failed)
    );
}

#[test]
fn a_route_that_is_rejected_when_traffic_is_to_come_home_is_told() {
    let mut world = initialized(&linear());
    world.bad.insert(2);
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    until(&mut world, "rolling back", |w| {
        w.block().is_some_and(|b| b.stage == Stage::RollingBack)
    });
    world.distort = |observation| {
        if let Known::Present(route) = &mut observation.route {
            route.confirmed = serin::rollout::Confirmation::Rejected("no such parent".into());
        }
    };
    seconds(&mut world, 120);
    assert!(
        world.alerts.iter().any(|text| text.contains("no such parent")),
        "{:?}",
        world.alerts
    );
}

/// A rival that is slower than the deadline's clock but faster than the interval keeps any check from ever being due.
#[test]
fn a_rival_that_never_lets_an_interval_pass_ends_the_run() {
    let mut analysis = linear();
    analysis["interval"] = json!("5m");
    let mut world = initialized(&analysis);
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    for second in 0..1_500 {
        if second % 180 == 179 && world.block().is_some_and(|block| block.weight > Weight::ZERO) {
            world.actual.route = Some(Weight::ZERO);
        }
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
    let outcome = world
        .block()
        .and_then(|block| block.outcome)
        .map(|outcome| outcome.reason);
    assert_eq!(outcome.as_deref(), Some("RouteNotDrawn"), "{:#?}", world.log);
}

/// A router says its word on a route once, and the word may be lost with the API server that it was said to.
#[test]
fn a_route_that_is_never_confirmed_is_said_after_an_interval_and_ends_the_run() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.unconfirmed = true;
    let wrote = world.now;
    let mut said = None;
    for _ in 0..1_500 {
        world.refresh();
        world.pass_when_due();
        let pending = world.block().is_some_and(|block| block.why.reason == "RoutePending");
        if pending && said.is_none() {
            said = Some(world.now - wrote);
        }
        world.pass_time(TimeDelta::seconds(1));
    }
    let said = said.map(|after| after.num_seconds());
    assert!(
        said.is_some_and(|after| (5..=60).contains(&after)),
        "{said:?} {:#?}",
        world.log
    );
    let outcome = world
        .block()
        .and_then(|block| block.outcome)
        .map(|outcome| outcome.reason);
    assert_eq!(outcome.as_deref(), Some("RouteNotDrawn"), "{:#?}", world.log);
}

/// Rank 24 of `spec/users.md`: a cluster that is full is no bad revision, and whoever looks sees which it is.
#[test]
fn pods_that_no_node_has_room_for_are_a_reason_of_their_own() {
    let mut world = initialized(&linear());
    world.broken.insert(2);
    world.distort = |observation| {
        if let Known::Present(target) = &mut observation.target {
            target.trouble = Some("1 pod Unschedulable: 0/3 nodes are available".into());
        }
    };
    world.push(2);
    until(&mut world, "said", |w| {
        w.block().is_some_and(|block| block.why.reason == "Unschedulable")
    });
    let message = world.block().map(|block| block.why.message).unwrap_or_default();
    assert!(message.contains("0/3 nodes are available"), "{message}");
}
