//! Where traffic goes when revisions, pods and primaries change at the wrong moment.

use chrono::TimeDelta;
use serde_json::json;
use serin::api::Phase;
use serin::rollout::{Refusal, Stage, Weight};

use super::roads::{initialized, linear, until};
use super::world::{Pods, World, fingerprint};

fn seconds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
}

fn stage(world: &World) -> Option<Stage> {
    world.block().map(|block| block.stage)
}

fn promoting(recreate: bool) -> World {
    let mut world = initialized(&linear());
    world.recreate = recreate;
    world.push(2);
    until(&mut world, "promoting", |w| stage(w) == Some(Stage::Promoting));
    world
}

#[test]
fn a_canary_that_lacks_some_of_its_pods_is_judged_by_those_that_are_left() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 60", |w| w.actual.route == Some(Weight::clamped(60)));
    world.broken.insert(2);
    world.bad.insert(2);
    world.actual.target.as_mut().expect("a target").ready = 1;
    let short = world.now;
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    let reason = world
        .block()
        .and_then(|block| block.outcome)
        .map(|outcome| outcome.reason);
    assert_eq!(reason.as_deref(), Some("FailedChecks"), "{:#?}", world.log);
    assert!(
        world.now - short < TimeDelta::seconds(60),
        "before the progress deadline"
    );
}

#[test]
fn a_step_does_not_pass_while_pods_are_missing_and_the_deadline_ends_it() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 40", |w| w.actual.route == Some(Weight::clamped(40)));
    world.broken.insert(2);
    world.actual.target.as_mut().expect("a target").ready = 1;
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    let reason = world
        .block()
        .and_then(|block| block.outcome)
        .map(|outcome| outcome.reason);
    assert_eq!(reason.as_deref(), Some("ProgressDeadlineExceeded"));
    assert!(
        !world.log.iter().any(|line| line == "Route(Weight(60))"),
        "{:#?}",
        world.log
    );
}

#[test]
fn a_recreate_roll_gets_no_traffic_when_the_target_changes_under_it() {
    // The law about writes to the primary and weights during its roll does the judging.
    for delay in 0..6 {
        let mut world = promoting(true);
        seconds(&mut world, delay);
        world.push(3);
        until(&mut world, "the newer one promoted", |w| {
            w.phase() == Phase::Succeeded && w.actual.primary.as_ref().is_some_and(|p| p.template == 3)
        });
    }
}

#[test]
fn a_recreate_roll_does_not_begin_when_the_canary_dies_before_it() {
    let mut world = initialized(&linear());
    world.recreate = true;
    world.push(2);
    until(&mut world, "shielding", |w| stage(w) == Some(Stage::Shielding));
    // The decision to promote is written, and the process dies before the primary is.
    for _ in 0..40 {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass(Some(1));
        if stage(&world) == Some(Stage::Promoting) {
            break;
        }
    }
    assert_eq!(
        world.actual.primary.as_ref().map(|p| p.template),
        Some(1),
        "{:#?}",
        world.log
    );
    world.actual.target.as_mut().expect("a target").ready = 0;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn a_revision_that_nobody_judged_is_not_given_all_traffic_when_the_primary_fails() {
    let mut world = promoting(false);
    world.broken.insert(2);
    if let Some(primary) = &mut world.actual.primary {
        primary.ready = 0;
    }
    seconds(&mut world, 30);
    world.push(3);
    until(&mut world, "the newer one promoted", |w| {
        w.phase() == Phase::Succeeded && w.actual.primary.as_ref().is_some_and(|p| p.template == 3)
    });
}

#[test]
fn traffic_leaves_a_dead_canary_on_the_way_home_though_the_primary_lacks_a_pod() {
    let mut analysis = linear();
    analysis["stepWeightPromotion"] = json!(20);
    let mut world = initialized(&analysis);
    world.push(2);
    until(&mut world, "returning", |w| stage(w) == Some(Stage::Returning));
    world.broken.insert(2);
    world.actual.primary.as_mut().expect("a primary").ready = 2;
    world.actual.target.as_mut().expect("a target").ready = 0;
    seconds(&mut world, 3);
    assert_eq!(world.actual.route, Some(Weight::ZERO), "{:#?}", world.log);
}

#[test]
fn traffic_is_not_moved_to_a_primary_without_pods_at_any_deadline() {
    let mut world = initialized(&linear());
    world.bad.insert(2);
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.broken.insert(1);
    world.actual.primary.as_mut().expect("a primary").ready = 0;
    seconds(&mut world, 200);
    assert_eq!(world.actual.route, Some(Weight::clamped(20)), "{:#?}", world.log);
    assert!(
        world.alerts.iter().any(|text| text.contains("no ready pod")),
        "{:?}",
        world.alerts
    );
    world.broken.clear();
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
}

#[test]
fn a_spec_that_must_not_be_acted_on_starts_nothing_when_the_revision_changes_in_a_run() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.distort = |observation| {
        observation.refusals = vec![Refusal {
            field: "spec.analysis.stepWeight".into(),
            message: "must be above 0".into(),
        }];
    };
    // What validation refuses here: nothing that says how to step.
    let analysis = world.canary.spec.analysis.as_mut().expect("an analysis");
    analysis.step_weight = None;
    world.push(3);
    seconds(&mut world, 100);
    assert_eq!(world.actual.route, Some(Weight::ZERO));
    assert_eq!(
        world.actual.primary.as_ref().map(|p| p.template),
        Some(1),
        "{:#?}",
        world.log
    );
    assert_eq!(world.block().map(|b| b.why.reason), Some("InvalidSpec".into()));
}

#[test]
fn an_upgrade_in_the_middle_of_a_run_neither_restarts_it_nor_starts_another() {
    for weight in [20, 40, 60] {
        let mut world = initialized(&linear());
        world.push(2);
        until(&mut world, "on its way", |w| {
            w.actual.route == Some(Weight::clamped(weight))
        });
        world.versions = "2/1".into();
        // The same template reads differently; its anchor stands.
        world.actual.target.as_mut().expect("a target").template = 77;
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
        seconds(&mut world, 60);
        assert_eq!(
            (stage(&world), world.block().map(|b| b.run)),
            (Some(Stage::Resting), Some(1)),
            "{:#?}",
            world.log
        );
        assert!(!world.stages.contains(&Stage::Restarting));
    }
}

#[test]
fn an_upgrade_while_traffic_is_held_on_the_canary_does_not_keep_it_there() {
    let mut world = promoting(false);
    world.broken.insert(2);
    world.actual.primary.as_mut().expect("a primary").ready = 0;
    until(&mut world, "held", |w| stage(w) == Some(Stage::HoldOnCanary));
    world.versions = "2/1".into();
    world.actual.target.as_mut().expect("a target").template = 77;
    seconds(&mut world, 5);
    world.broken.clear();
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(world.block().map(|b| b.run), Some(1));
}

#[test]
fn a_target_made_anew_after_an_upgrade_is_a_new_revision_and_not_another_reading() {
    let mut world = initialized(&linear());
    world.actual.target = None;
    seconds(&mut world, 5);
    world.versions = "2/1".into();
    world.actual.target = Some(Pods::new(2, 3, world.now));
    until(&mut world, "a run", |w| w.block().is_some_and(|b| b.run == 1));
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn a_primary_that_is_gone_when_a_run_starts_is_rebuilt_at_its_old_size() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    world.actual.primary = None;
    world.push(3);
    until(&mut world, "promoted again", |w| {
        w.block().is_some_and(|b| b.promoted == Some(fingerprint(3)))
    });
    assert_eq!(
        world.actual.primary.as_ref().map(|p| p.replicas),
        Some(3),
        "{:#?}",
        world.log
    );
}

#[test]
fn a_push_in_the_last_moment_of_a_takeover_is_released_and_not_copied() {
    let mut world = World::new(3, &linear());
    until(&mut world, "switched", |w| {
        w.log.iter().any(|line| line == "Apex(Primary)")
    });
    world.push(2);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    let first = world.log.iter().position(|line| line == "Route(Weight(20))");
    let copied = world
        .log
        .iter()
        .position(|line| line.starts_with("PrimaryTemplate") && line.contains("run: 1"));
    assert!(first.is_some() && first < copied, "{:#?}", world.log);
}
