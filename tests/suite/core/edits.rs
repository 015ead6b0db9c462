//! Edits of the Canary and of the target's size, at rest and in the middle of a run.

use chrono::TimeDelta;
use serin::api::Phase;
use serin::rollout::{Known, Observation, Refusal, Stage, Weight};

use super::roads::{initialized, linear, until};
use super::world::Pods;

/// kstatus calls an object unfinished whose `observedGeneration` lags behind.
#[test]
fn an_edit_of_the_spec_at_rest_is_taken_note_of_once() {
    let mut world = initialized(&linear());
    world.canary.metadata.generation = Some(2);
    let writes = world.status_writes;
    for _ in 0..100 {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
    let observed = world
        .canary
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    assert_eq!((observed, world.status_writes), (Some(2), writes + 1));
}

#[test]
fn an_invalid_spec_is_told_at_rest_and_in_a_run() {
    let refused = |observation: &mut Observation| {
        observation.refusals.push(Refusal {
            field: "spec.analysis.mirror".into(),
            message: "is not built yet".into(),
        });
    };
    let mut world = initialized(&linear());
    world.distort = refused;
    world.pass(None);
    let why = world.block().map(|block| block.why.reason);
    assert_eq!(why.as_deref(), Some("InvalidSpec"));
    world.distort = |_| {};
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.distort = refused;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    let told = world
        .told
        .iter()
        .filter(|text| text.contains("nothing new starts"))
        .count();
    assert_eq!(told, 1, "{:?}", world.told);
}

/// T19 of `spec/core.md` 2.3: the emergency lane.
#[test]
fn analysis_that_is_called_off_in_the_middle_of_a_run_promotes_at_once() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.canary.spec.skip_analysis = true;
    world.unjudged = true;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert!(
        !world.log.iter().any(|line| line == "Route(Weight(40))"),
        "{:#?}",
        world.log
    );
    let outcome = world
        .block()
        .and_then(|block| block.outcome)
        .map(|outcome| outcome.reason);
    assert_eq!(outcome.as_deref(), Some("PromotedUnjudged"));
}

#[test]
fn a_run_whose_analysis_nobody_can_read_is_rolled_back() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.distort = |observation| {
        observation.unreadable = true;
        observation.refusals.push(Refusal {
            field: "spec".into(),
            message: "analysis.stepWeight: invalid type".into(),
        });
    };
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    let outcome = world
        .block()
        .and_then(|block| block.outcome)
        .map(|outcome| outcome.reason);
    assert_eq!(outcome.as_deref(), Some("MalformedSpec"));
}

/// W40: a low number on the target looks like an accident. Whoever means it scales the primary itself, which nobody puts back.
#[test]
fn a_smaller_target_does_not_shrink_the_primary_and_a_person_does() {
    let mut world = initialized(&linear());
    world.actual.target.as_mut().expect("a target").replicas = 1;
    world.push(2);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    let size = |world: &super::world::World| world.actual.primary.as_ref().map(|primary| primary.replicas);
    assert_eq!(size(&world), Some(3));
    world.actual.primary.as_mut().expect("a primary").replicas = 2;
    for _ in 0..30 {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
    assert_eq!(size(&world), Some(2), "at rest a size is the team's own");
    world.push(3);
    until(&mut world, "promoted again", |w| {
        w.phase() == Phase::Succeeded && w.actual.primary.as_ref().is_some_and(|primary| primary.template == 3)
    });
    assert_eq!((size(&world), world.block().map(|b| b.capacity)), (Some(2), Some(2)));
}

/// The number of replicas in Git comes with the release.
#[test]
fn a_promotion_raises_the_primary_to_what_the_team_wants() {
    let mut world = initialized(&linear());
    world.actual.target.as_mut().expect("a target").replicas = 7;
    world.push(2);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(world.actual.primary.as_ref().map(|primary| primary.replicas), Some(7));
}

/// The primary bears its revision as an earlier version spelled it: no reason to roll pods that serve.
#[test]
fn a_move_after_an_upgrade_rolls_nothing() {
    let mut world = initialized(&linear());
    world.versions = "2/1".into();
    if let Some(target) = &mut world.actual.target {
        target.template += 100;
    }
    world.distort = |observation| observation.subject.apex = "other".into();
    until(&mut world, "moved", |w| {
        w.block()
            .is_some_and(|b| b.subject.apex == "other" && b.stage == Stage::Resting)
    });
    let primary = world.actual.primary.as_ref().expect("a primary");
    assert_eq!((primary.template, primary.ready), (1, 3), "{:#?}", world.log);
}

/// An upgrade spells the promoted revision in another way. A process that dies before it is stored under its new name, and then a loss of
/// target and primary, must not lose the content that stands in the store under the old one.
#[test]
fn a_revision_that_an_upgrade_renames_is_found_at_every_moment() {
    for (passes, writes) in (1..=3).flat_map(|passes| (0..6).map(move |writes| (passes, writes))) {
        let mut world = initialized(&linear());
        world.versions = "2/1".into();
        if let Some(target) = &mut world.actual.target {
            target.template += 100;
        }
        world.refresh();
        for _ in 0..passes {
            world.pass(Some(writes));
            world.crash();
        }
        world.actual.primary = None;
        // A bad revision: only the good one can serve.
        world.bad.insert(2);
        world.push(2);
        world.refresh();
        until(&mut world, "failed, and the good one serves", |w| {
            let serves = |pods: &Pods| pods.template % 100 == 1 && pods.ready == pods.replicas;
            w.phase() == Phase::Failed && w.actual.primary.as_ref().is_some_and(serves)
        });
    }
}

/// Invariant 2: pods beyond the wanted size are on their way out, though their endpoints do not say so yet.
#[test]
fn pods_that_a_scaler_takes_away_carry_no_further_weight() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.distort = |observation| {
        if let Known::Present(target) = &mut observation.target {
            target.replicas = 1;
        }
    };
    until(&mut world, "rolled back", |w| {
        w.block().is_some_and(|block| block.stage == Stage::RollingBack)
    });
    assert!(
        !world.log.iter().any(|line| line == "Route(Weight(40))"),
        "{:#?}",
        world.log
    );
}
