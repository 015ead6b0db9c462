//! A revision that waits for a slot, at rest: what a person may say of it.

use std::num::NonZeroU32;

use chrono::TimeDelta;
use serin::api::Phase;
use serin::rollout::{Block, Full, Stage, Verb};

use super::roads::{initialized, linear, until};
use super::world::{World, fingerprint};

fn block(world: &World) -> Block {
    world.block().expect("a block")
}

fn seconds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
}

/// Revision 2 in line.
fn queued() -> World {
    let mut world = initialized(&linear());
    world.distort = |observation| {
        observation.full = Some(Full {
            working: 1,
            limit: NonZeroU32::MIN,
            in_namespace: false,
        });
    };
    world.push(2);
    until(&mut world, "queued", |w| block(w).queued.is_some());
    assert_eq!(block(&world).stage, Stage::Resting);
    world
}

/// What came of the last word.
fn answer(world: &World) -> String {
    let last = block(world).words.history.last().cloned().expect("a word was heard");
    last.refused.unwrap_or_default()
}

#[test]
fn abort_gives_it_up_until_another_revision_or_a_retry() {
    for retried in [true, false] {
        let mut world = queued();
        let applied = |world: &World| world.canary.status.clone().and_then(|status| status.last_applied_spec);
        assert_eq!(applied(&world), Some(fingerprint(2).0), "what a word is about");
        let run = block(&world).run;
        world.say(Verb::Abort, 2, "1,not today");
        world.pass_when_due();
        let now = block(&world);
        assert_eq!(answer(&world), "");
        assert_eq!(
            (now.stage, &now.queued, &now.last_failed),
            (Stage::Resting, &None, &Some(fingerprint(2)))
        );
        assert_eq!((world.phase(), now.why.reason.as_str()), (Phase::Failed, "Aborted"));
        // A free slot is none for it.
        world.distort = |_| {};
        seconds(&mut world, 120);
        assert_eq!((block(&world).run, world.phase()), (run, Phase::Failed));
        let next = if retried {
            world.say(Verb::Retry, 2, "1");
            2
        } else {
            world.push(3);
            3
        };
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
        assert_eq!(
            (block(&world).run, block(&world).promoted),
            (run + 1, Some(fingerprint(next)))
        );
    }
}

#[test]
fn every_other_word_about_it_is_told_what_it_waits_for() {
    let mut world = queued();
    for verb in [
        Verb::Promote,
        Verb::PromoteFull,
        Verb::Pause,
        Verb::Approve,
        Verb::Retry,
    ] {
        world.say(verb, 2, "1");
        world.pass_when_due();
        assert!(
            answer(&world).contains("it begins by itself when there is a slot"),
            "{verb:?}"
        );
    }
    world.say(Verb::Abort, 1, "1");
    world.pass_when_due();
    assert!(answer(&world).contains("waits for a slot"), "{}", answer(&world));
    world.push(3);
    world.refresh();
    world.say(Verb::Abort, 2, "2");
    world.pass_when_due();
    assert_eq!(answer(&world), "the target has another revision by now");
    world.distort = |_| {};
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(block(&world).promoted, Some(fingerprint(3)));
}
