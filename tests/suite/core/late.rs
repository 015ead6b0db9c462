//! A write that a frozen process had under way arrives after its successor called off what it belonged to. Found by `tests/model`.

use chrono::TimeDelta;
use serin::rollout::{Block, Stage};

use super::roads::{initialized, linear, until};
use super::world::{World, fingerprint};

fn seconds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
}

fn stage(world: &World) -> Stage {
    world.block().map_or(Stage::Initializing, |block: Block| block.stage)
}

/// A run that was about to write the primary's template, and whose process froze before it did.
fn frozen_before_the_copy() -> World {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "the last step", |w| {
        w.block().is_some_and(|block| block.weight.percent() >= 50)
    });
    for _ in 0..200 {
        let copies = |w: &World| {
            w.log
                .iter()
                .any(|line| line.contains("PrimaryTemplate") && line.contains(&fingerprint(2).0))
        };
        assert!(!copies(&world), "the template must not be written: {:#?}", world.log);
        if stage(&world) == Stage::Promoting {
            return world;
        }
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        // One write a pass: the status alone.
        world.pass(Some(1));
        if stage(&world) != Stage::Promoting {
            world.refresh();
            world.pass(None);
        }
    }
    unreachable!("the run never came to its promotion: {:#?}", world.log)
}

#[test]
fn a_promotion_that_was_called_off_and_arrives_late_is_undone() {
    for asleep in [1, 3, 30] {
        let mut world = frozen_before_the_copy();
        world.crash();
        world.push(1);
        // The successor calls the promotion off; then, or when it rests already, the late write is served.
        seconds(&mut world, asleep);
        let now = world.now;
        if let Some(primary) = &mut world.actual.primary {
            primary.roll(2, now);
        }
        until(&mut world, "undone", |w| {
            stage(w) == Stage::Resting
                && w.actual
                    .primary
                    .as_ref()
                    .is_some_and(|it| it.template == 1 && it.old == 0)
        });
        seconds(&mut world, 10);
        let block = world.block().expect("a block at rest");
        assert_eq!(block.promoted, Some(fingerprint(1)));
        assert_eq!(block.why.reason, "Reverted", "{:?}", block.why);
    }
}
