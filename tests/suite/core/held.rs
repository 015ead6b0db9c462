//! The primary did not come up after a promotion: who answers while traffic is held on the canary and the team pushes something else.

use chrono::TimeDelta;
use serin::api::Phase;
use serin::rollout::{Rollout, Stage, Weight};

use super::roads::{initialized, linear, until};
use super::world::{World, fingerprint};

fn stage(world: &World) -> Option<Stage> {
    world.block().map(|block| block.stage)
}

/// Held on the canary with the second revision. That many pods of the first one still serve on the primary.
fn held(survivors: u32, recreate: bool) -> World {
    let mut world = initialized(&linear());
    world.recreate = recreate;
    world.push(2);
    until(&mut world, "promoting", |w| stage(w) == Some(Stage::Promoting));
    world.broken.insert(2);
    until(&mut world, "held", |w| stage(w) == Some(Stage::HoldOnCanary));
    assert_eq!(world.actual.route, Some(Weight::FULL));
    let primary = world.actual.primary.as_mut().expect("a primary");
    (primary.ready, primary.old) = (0, survivors);
    world.refresh();
    world.pass(None);
    world
}

/// The team pushes a template, and the controller sees it at once.
fn pushed(world: &mut World, template: u32) {
    world.push(template);
    world.refresh();
    world.pass(None);
}

#[test]
fn a_new_revision_gets_nothing_while_good_pods_of_the_primary_stand_by() {
    let mut world = held(3, false);
    pushed(&mut world, 3);
    assert_eq!(
        world.actual.route,
        Some(Weight::ZERO),
        "answered before anything else: {:#?}",
        world.log
    );
    until(&mut world, "raising", |w| stage(w) == Some(Stage::Raising));
    let routes = world.log.iter().rev().find(|line| line.starts_with("Route"));
    assert_eq!(
        routes.map(String::as_str),
        Some("Route(Weight(0))"),
        "through its restore"
    );
    assert_eq!(world.actual.primary.as_ref().map(|primary| primary.template), Some(1));
    until(&mut world, "the fix promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn a_new_revision_keeps_what_the_primary_does_not_carry_until_that_is_restored() {
    for (survivors, left) in [(0, 100), (1, 67), (2, 34)] {
        let mut world = held(survivors, false);
        pushed(&mut world, 3);
        let left = Some(Weight::clamped(left));
        assert_eq!(world.actual.route, left, "{survivors} good pods: {:#?}", world.log);
        until(&mut world, "the fix promoted", |w| {
            w.block().is_some_and(|block| block.promoted == Some(fingerprint(3)))
        });
    }
}

/// Invariant 3: the primary is rolled back, and the roll must not take what it was just given.
#[test]
fn pods_that_the_restore_would_take_are_given_nothing() {
    let mut world = held(0, true);
    // All that serve are of the revision that did not come up as a whole.
    world.actual.primary.as_mut().expect("a primary").ready = 2;
    pushed(&mut world, 3);
    assert_eq!(world.actual.route, Some(Weight::FULL), "{:#?}", world.log);
    until(&mut world, "restored", |w| w.actual.route == Some(Weight::ZERO));
    assert_eq!(
        world.actual.primary.as_ref().map(|it| (it.template, it.ready)),
        Some((1, 3))
    );
}

/// The template that comes back within the quiet second is the one that was judged, but pods of the other one may still answer.
#[test]
fn the_judged_revision_gets_everything_back_when_no_pod_of_another_one_is_left() {
    let mut world = held(3, false);
    pushed(&mut world, 3);
    world.push(2);
    world.distort = |observation| {
        if let serin::rollout::Known::Present(target) = &mut observation.target {
            target.rollout = Rollout {
                observed: true,
                ..Rollout::default()
            };
        }
    };
    for _ in 0..5 {
        world.refresh();
        world.pass(None);
        world.pass_time(TimeDelta::seconds(1));
    }
    let held = (stage(&world), world.actual.route);
    assert_eq!(
        held,
        (Some(Stage::HoldOnCanary), Some(Weight::ZERO)),
        "{:#?}",
        world.log
    );
    world.broken.clear();
    world.distort = |_| {};
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(world.block().and_then(|block| block.promoted), Some(fingerprint(2)));
}

/// What is awaited stands in the status again after a suspension.
#[test]
fn a_suspension_does_not_hide_why_traffic_is_held() {
    let mut world = held(3, false);
    let reason = |world: &World| world.block().map(|block| block.why.reason);
    for suspended in [true, false] {
        world.canary.spec.suspend = suspended;
        world.refresh();
        world.pass(None);
    }
    assert_eq!(reason(&world).as_deref(), Some("PromotionFailed"));
}
