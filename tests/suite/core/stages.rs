//! Everything that can happen, in every stage: each time the world comes to rest with nothing lost and nobody alerted twice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::TimeDelta;
use serde_json::json;
use serin::rollout::{Known, RunResult, Selects, Stage, Weight};

use super::roads::linear;
use super::world::{Pods, World, fingerprint};

fn seconds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
}

/// A world in that stage, the moment it was entered.
fn reached(stage: Stage, recreate: bool) -> Option<World> {
    let mut analysis = linear();
    analysis["stepWeightPromotion"] = json!(25);
    analysis["webhooks"] = json!([
        {"name": "gate-start", "type": "confirm-rollout", "url": "http://gate"},
        {"name": "before", "type": "pre-rollout", "url": "http://gate"},
        {"name": "gate-promotion", "type": "confirm-promotion", "url": "http://gate"},
        {"name": "after", "type": "post-rollout", "url": "http://gate"},
    ]);
    let mut world = World::new(3, &analysis);
    world.recreate = recreate;
    let is = |world: &World, wanted| world.block().is_some_and(|block| block.stage == wanted);
    for second in 0..600 {
        if is(&world, stage) {
            return Some(world);
        }
        world.answers_take = TimeDelta::seconds(1);
        world.gates_closed = match stage {
            Stage::Waiting => true,
            Stage::WaitingPromotion => world.actual.route > Some(Weight::ZERO),
            _ => false,
        };
        if is(&world, Stage::Resting) && stage == Stage::Moving {
            world.distort = |observation| observation.subject.apex = "other".into();
        } else if is(&world, Stage::Resting) && second < 100 {
            world.push(2);
        }
        let traffic = world.actual.route == Some(Weight::clamped(40));
        match stage {
            Stage::RollingBack => {
                world.bad.insert(2);
            }
            Stage::Reverting if traffic => world.push(1),
            Stage::Restarting if traffic => world.push(3),
            Stage::HoldOnCanary | Stage::Restoring if is(&world, Stage::Promoting) => {
                world.broken.insert(2);
                if let Some(primary) = &mut world.actual.primary {
                    primary.ready = 0;
                }
            }
            Stage::Restoring if is(&world, Stage::HoldOnCanary) => world.push(3),
            _ => {}
        }
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
    None
}

/// Something that happens, by name.
type Happening = (&'static str, fn(&mut World));

const HAPPENINGS: [Happening; 18] = [
    ("nothing", |_| {}),
    ("a crash", World::crash),
    ("a crash after the status", |world| world.pass(Some(1))),
    ("a crash after two writes", |world| world.pass(Some(2))),
    ("a conflict", World::pass_in_conflict),
    ("a newer revision", |world| world.push(4)),
    ("a newer revision and a third at once", |world| {
        world.push(4);
        seconds(world, 2);
        world.push(5);
    }),
    ("a return to the promoted revision", |world| world.push(1)),
    ("a return and back again", |world| {
        let template = world.actual.target.as_ref().map_or(2, |target| target.template);
        world.push(1);
        seconds(world, 2);
        world.push(template);
    }),
    ("suspension", |world| {
        world.canary.spec.suspend = true;
        seconds(world, 300);
        world.canary.spec.suspend = false;
    }),
    ("the primary is lost", |world| world.actual.primary = None),
    ("the canary's pods are lost", |world| {
        if let Some(target) = &mut world.actual.target {
            (target.ready, target.old) = (0, 0);
        }
    }),
    ("the target is deleted and created anew", |world| {
        world.actual.target = None;
        seconds(world, 5);
        world.actual.target = Some(Pods::new(2, 3, world.now));
    }),
    ("an upgrade that reads templates differently", |world| {
        world.versions = "2/1".into();
        if let Some(target) = &mut world.actual.target {
            target.template += 100;
        }
    }),
    ("the names change and change back", |world| {
        world.distort = |observation| observation.subject.apex = "other".into();
        seconds(world, 100);
        world.distort = |_| {};
    }),
    ("the names change for good", |world| {
        world.distort = |observation| observation.subject.provider = "another".into();
    }),
    ("the route and the apex are changed by hand", |world| {
        world.actual.route = Some(Weight::clamped(77));
        world.actual.apex = Some(Selects::Other);
    }),
    ("nothing can be read for a while", |world| {
        world.distort = |observation| {
            (observation.target, observation.primary, observation.route) =
                (Known::Unknown, Known::Unknown, Known::Unknown);
            (observation.primary_endpoints, observation.canary_endpoints) = (None, None);
        };
        seconds(world, 100);
        world.distort = |_| {};
    }),
];

const STAGES: [Stage; 15] = [
    Stage::Resting,
    Stage::Waiting,
    Stage::Raising,
    Stage::Stepping,
    Stage::WaitingPromotion,
    Stage::Shielding,
    Stage::Promoting,
    Stage::Returning,
    Stage::Finalising,
    Stage::RollingBack,
    Stage::Reverting,
    Stage::Restarting,
    Stage::HoldOnCanary,
    Stage::Restoring,
    Stage::Moving,
];

fn comes_to_rest(world: &mut World) -> Result<(), String> {
    world.broken.clear();
    world.gates_closed = false;
    for _ in 0..1_500 {
        seconds(world, 1);
        if world.block().is_some_and(|block| block.stage == Stage::Resting) {
            let writes = world.log.len();
            seconds(world, 90);
            if world.log.len() == writes {
                break;
            }
        }
    }
    let block = world.block().ok_or("no block")?;
    let wanted = world.actual.target.as_ref().map(|target| fingerprint(target.template));
    let known = block.promoted == wanted || block.last_failed == wanted;
    let failed = block
        .outcome
        .as_ref()
        .is_some_and(|outcome| outcome.result == RunResult::Failed);
    for (holds, what) in [
        (block.stage == Stage::Resting, "at rest"),
        (world.actual.route == Some(Weight::ZERO), "traffic home"),
        (world.actual.apex == Some(Selects::Primary), "apex on the primary"),
        (known, "the revision promoted, or remembered as failed"),
        (!failed || block.promoted != wanted, "no failure of what is promoted"),
        (
            world.actual.primary.as_ref().is_some_and(|primary| primary.ready >= 3),
            "the primary up",
        ),
    ] {
        if !holds {
            return Err(format!("not {what}: {:?} {}", block.stage, block.why.message));
        }
    }
    Ok(())
}

#[test]
fn every_stage_survives_everything_and_comes_to_rest() {
    // All of them take half a minute; by default each run of the tests takes every seventh.
    let every = if std::env::var_os("SERIN_CASES").is_some() {
        1
    } else {
        5
    };
    let mut lost = Vec::new();
    for (row, stage) in STAGES.into_iter().enumerate() {
        for recreate in [false, true] {
            let chosen = HAPPENINGS
                .into_iter()
                .enumerate()
                .filter(|(column, _)| (row + column) % every == 0);
            for (_, (what, happen)) in chosen {
                let Some(mut world) = reached(stage, recreate) else {
                    assert!(stage == Stage::Shielding && !recreate, "{stage:?} cannot be reached");
                    continue;
                };
                let run = AssertUnwindSafe(|| {
                    happen(&mut world);
                    comes_to_rest(&mut world)
                });
                let outcome = catch_unwind(run).unwrap_or_else(|cause| {
                    let cause = cause
                        .downcast::<String>()
                        .map_or_else(|_| "a panic".into(), |text| *text);
                    Err(cause.lines().next().unwrap_or_default().to_owned())
                });
                if let Err(cause) = outcome {
                    lost.push(format!("{what} in {stage:?} (recreate: {recreate}): {cause}"));
                }
            }
        }
    }
    assert!(lost.is_empty(), "{} of them: {lost:#?}", lost.len());
}

#[test]
fn every_stage_can_be_left_by_deletion() {
    for stage in STAGES {
        for recreate in [false, true] {
            let Some(mut world) = reached(stage, recreate) else {
                continue;
            };
            world.deleting = true;
            seconds(&mut world, 400);
            assert!(world.gone, "{stage:?}: {:#?}", world.log);
            assert_eq!(world.actual.apex, Some(Selects::Target), "{stage:?}");
        }
    }
}
