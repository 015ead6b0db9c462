//! Adoption: the world writes the status once, when a primary stands and Serin has no block of it.

use chrono::TimeDelta;
use serin::api::{CanaryStatus, Phase};
use serin::rollout::{Known, Observation, Refusal, Selects, Stage, Weight};

use super::roads::{initialized, linear, until};
use super::world::{Pods, World, fingerprint};

/// A canary as Flagger left it: phase, weight, the templates of target and primary.
fn left(phase: Phase, weight: i64, target: u32, primary: u32) -> World {
    let mut world = World::new(3, &linear());
    let ready = |template| Pods {
        ready: 3,
        ..Pods::new(template, 3, world.now)
    };
    let (target, primary) = (ready(target), ready(primary));
    (world.actual.target, world.actual.primary) = (Some(target), Some(primary));
    world.actual.route = Some(Weight::clamped(weight));
    world.actual.apex = Some(Selects::Primary);
    world.actual.sides = (true, true);
    world.actual.destinations = (true, true);
    world.canary.status = Some(CanaryStatus {
        phase,
        canary_weight: weight,
        ..CanaryStatus::default()
    });
    world.refresh();
    world
}

fn seconds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
}

#[test]
fn whatever_flagger_left_comes_to_rest_with_the_revision_released_or_remembered_as_failed() {
    let all = [
        (Phase::Initialized, 0),
        (Phase::Waiting, 0),
        (Phase::Progressing, 0),
        (Phase::Progressing, 25),
        (Phase::WaitingPromotion, 50),
        (Phase::Promoting, 50),
        (Phase::Finalising, 0),
        (Phase::Succeeded, 0),
        (Phase::Succeeded, 30),
        (Phase::Failed, 0),
        (Phase::Failed, 30),
        (Phase::Failed, 100),
    ];
    for (phase, weight) in all {
        // After a failed promotion Flagger leaves the primary with the new template; anything else waits for a person.
        let held = (phase, weight) == (Phase::Failed, 100);
        for (target, primary) in [(2, 1), (2, 2)]
            .into_iter()
            .filter(|(_, primary)| !held || *primary == 2)
        {
            let mut world = left(phase, weight, target, primary);
            world.unjudged = matches!(phase, Phase::Promoting | Phase::Finalising | Phase::Failed);
            until(&mut world, &format!("{phase:?} {weight}"), |w| {
                w.block().is_some_and(|b| b.stage == Stage::Resting)
            });
            seconds(&mut world, 200);
            let block = world.block().expect("a block");
            let wanted = Some(fingerprint(target));
            let settled = block.promoted == wanted || block.last_failed == wanted;
            assert!(
                settled && block.stage == Stage::Resting,
                "{phase:?} {weight}: {block:#?} {:#?}",
                world.log
            );
        }
    }
}

#[test]
fn a_failure_with_traffic_left_on_the_canary_is_not_tried_again() {
    let mut world = left(Phase::Failed, 30, 2, 1);
    until(&mut world, "at rest", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Resting)
    });
    seconds(&mut world, 100);
    assert_eq!(
        (world.phase(), world.block().map(|b| b.run)),
        (Phase::Failed, Some(0)),
        "{:#?}",
        world.log
    );
}

#[test]
fn a_run_whose_spec_serin_refuses_is_not_promoted_unjudged() {
    for weight in [0, 25] {
        let mut world = left(Phase::Progressing, weight, 2, 1);
        let analysis = world.canary.spec.analysis.as_mut().expect("an analysis");
        (analysis.step_weight, analysis.iterations) = (None, Some(5));
        world.distort = |observation| {
            observation.refusals = vec![Refusal {
                field: "spec.analysis.iterations".into(),
                message: "is not built yet".into(),
            }];
        };
        seconds(&mut world, 200);
        assert_eq!(
            world.actual.primary.as_ref().map(|p| p.template),
            Some(1),
            "{:#?}",
            world.log
        );
        let block = world.block().expect("a block");
        assert_eq!(block.why.reason, "InvalidSpec", "{:#?}", world.log);
        assert_eq!(world.actual.route, Some(Weight::ZERO));
    }
}

#[test]
fn a_promotion_that_failed_under_flagger_makes_way_for_the_fix() {
    let mut world = left(Phase::Failed, 100, 2, 2);
    world.broken.insert(2);
    world.actual.primary.as_mut().expect("a primary").ready = 0;
    seconds(&mut world, 30);
    assert_eq!(world.block().map(|b| b.stage), Some(Stage::HoldOnCanary));
    world.unjudged = true;
    world.push(3);
    until(&mut world, "the fix on the primary", |w| {
        w.phase() == Phase::Succeeded && w.actual.primary.as_ref().is_some_and(|p| p.template == 3)
    });
}

/// Flagger had written the primary already: what it ran before is known to nobody, and what it has does not come up.
#[test]
fn a_promotion_that_flagger_had_begun_and_that_fails_makes_way_for_the_fix() {
    for (phase, weight) in [
        (Phase::Promoting, 50),
        (Phase::Finalising, 0),
        // It died between the primary and the phase.
        (Phase::Progressing, 50),
    ] {
        let mut world = left(phase, weight, 2, 2);
        world.unjudged = true;
        world.broken.insert(2);
        let primary = world.actual.primary.as_mut().expect("a primary");
        (primary.ready, primary.old) = (0, 3);
        until(&mut world, "held", |w| {
            w.block().is_some_and(|b| b.stage == Stage::HoldOnCanary)
        });
        // Neither does the first fix: there is no way back to what never came up.
        world.broken.insert(3);
        let target = world.actual.target.as_mut().expect("a target");
        target.ready = 3;
        world.push(3);
        seconds(&mut world, 200);
        let block = world.block().expect("a block");
        let held = (block.stage, block.promoted);
        assert_eq!(held, (Stage::HoldOnCanary, None), "{phase:?}: {:#?}", world.log);
        world.push(4);
        until(&mut world, &format!("{phase:?}: the fix on the primary"), |w| {
            w.phase() == Phase::Succeeded && w.actual.primary.as_ref().is_some_and(|p| p.template == 4)
        });
        assert!(
            !world.stages.contains(&Stage::Restoring),
            "{phase:?}: {:?}",
            world.stages
        );
    }
}

#[test]
fn a_primary_smaller_than_the_target_is_raised_before_it_takes_over() {
    let mut world = left(Phase::Unset, 0, 1, 1);
    world.actual.apex = Some(Selects::Target);
    world.actual.primary.as_mut().expect("a primary").replicas = 1;
    until(&mut world, "initialized", |w| w.phase() == Phase::Initialized);
    assert_eq!(world.actual.primary.as_ref().map(|p| p.replicas), Some(3));
}

/// The selector of the apex Service says where requests shall go, its `EndpointSlices` say where they do.
fn behind(observation: &mut Observation) {
    observation.apex_endpoints = Known::Present(Selects::Target);
}

/// Invariant 2: the target's pods are not taken while requests still find them, however long the slices take.
#[test]
fn a_takeover_waits_for_the_endpoints_of_the_apex_and_goes_on_when_they_have_followed() {
    let mut world = World::new(3, &linear());
    world.distort = behind;
    until(&mut world, "switched", |w| w.actual.apex == Some(Selects::Primary));
    let alerts = |world: &World| {
        let about = |text: &&String| text.contains("EndpointSlices");
        world.alerts.iter().filter(about).count()
    };
    seconds(&mut world, 30);
    let why = world.block().expect("a block").why;
    assert_eq!(why.reason, "SwitchingApex", "{why:?}");
    assert_eq!(why.then.as_deref(), Some("the alert says so; both sides keep serving"));
    assert!(why.until.is_some_and(|until| until > world.now), "{why:?}");
    assert_eq!(alerts(&world), 0, "{:?}", world.alerts);
    seconds(&mut world, 900);
    assert_eq!(world.actual.target.as_ref().map(|pods| pods.replicas), Some(3));
    assert_eq!(alerts(&world), 1, "{:?}", world.alerts);
    world.distort = |_| {};
    until(&mut world, "initialized", |w| w.phase() == Phase::Initialized);
    assert_eq!(world.actual.target.as_ref().map(|pods| pods.replicas), Some(0));
}

/// A deletion waits for them too, and not for ever: slices that never follow keep no Canary.
#[test]
fn a_hand_back_whose_endpoints_never_follow_ends_at_its_deadline() {
    let mut world = initialized(&linear());
    world.distort = |observation| observation.apex_endpoints = Known::Present(Selects::Primary);
    world.deleting = true;
    until(&mut world, "switched back", |w| w.actual.apex == Some(Selects::Target));
    // Half of the deadline.
    seconds(&mut world, 30);
    assert!(!world.gone, "it waits");
    until(&mut world, "released", |w| w.gone);
    assert_eq!(world.actual.target.as_ref().map(|pods| pods.ready), Some(3));
}
