//! What a new process does about hooks that its predecessor may have called, and about what it cannot know.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::json;
use serin::api::Phase;
use serin::rollout::{Known, Weight};

use super::roads::{initialized, linear, until};
use super::world::{World, fingerprint};

fn with_hooks(hooks: &serde_json::Value) -> serde_json::Value {
    let mut analysis = linear();
    analysis["webhooks"] = hooks.clone();
    analysis
}

fn seconds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
}

#[test]
fn a_hook_that_a_predecessor_may_have_called_is_repeated_only_after_its_timeout() {
    for kind in [
        "confirm-rollout",
        "pre-rollout",
        "rollout",
        "confirm-promotion",
        "post-rollout",
    ] {
        let hooks = json!([{"name": "slow", "type": kind, "url": "http://gate", "timeout": "45s"}]);
        let mut world = initialized(&with_hooks(&hooks));
        world.answers_take = TimeDelta::seconds(3);
        world.push(2);
        until(&mut world, "called", |w| !w.called.is_empty());
        let restarted = world.now;
        world.crash();
        until(&mut world, "called again", |w| w.calls.len() > 1);
        let waited = world.calls[1].0 - restarted;
        assert!(waited >= TimeDelta::seconds(45), "{kind}: {waited}");
        assert_eq!(
            world.calls[0].1, world.calls[1].1,
            "{kind}: the same check goes by the same key"
        );
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    }
}

#[test]
fn a_process_that_began_the_stage_itself_waits_for_nobody() {
    let hooks = json!([{"name": "before", "type": "pre-rollout", "url": "http://gate", "timeout": "45s"}]);
    let called_after = |restart: bool| {
        let mut world = initialized(&with_hooks(&hooks));
        if restart {
            world.crash();
        }
        let pushed = world.now;
        world.push(2);
        until(&mut world, "called", |w| !w.called.is_empty());
        world.now - pushed
    };
    assert!(called_after(true) <= called_after(false) + TimeDelta::seconds(1));
}

#[test]
fn no_two_checks_go_by_one_key_however_often_the_process_dies() {
    for kind in ["confirm-rollout", "confirm-traffic-increase", "confirm-promotion"] {
        let hooks = json!([{"name": "gate", "type": kind, "url": "http://gate"}]);
        let mut world = initialized(&with_hooks(&hooks));
        world.gates_closed = true;
        world.push(2);
        for _ in 0..6 {
            seconds(&mut world, 47);
            world.crash();
        }
        let keys: BTreeSet<_> = world.calls.iter().map(|(_, round)| round.clone()).collect();
        assert!(keys.len() > 6, "{kind}: {:?}", world.called);
        assert_eq!(keys.len(), world.calls.len(), "{kind}: {:?}", world.calls);
    }
}

#[test]
fn failed_checks_before_a_restart_do_not_lend_their_keys_to_those_after() {
    let hooks = json!([{"name": "load", "type": "rollout", "url": "http://gate"}]);
    let mut analysis = with_hooks(&hooks);
    analysis["threshold"] = json!(20);
    let mut world = initialized(&analysis);
    world.bad.insert(2);
    world.push(2);
    for _ in 0..5 {
        seconds(&mut world, 50);
        until(&mut world, "no check is on", |w| {
            w.block()
                .is_some_and(|block| block.failed_checks as usize == w.calls.len())
        });
        world.crash();
    }
    let keys: BTreeSet<_> = world.calls.iter().map(|(_, round)| round.clone()).collect();
    assert!(keys.len() > 4 && keys.len() == world.calls.len(), "{:?}", world.calls);
}

#[test]
fn a_run_that_is_reverted_calls_its_last_hook() {
    let hooks = json!([
        {"name": "before", "type": "pre-rollout", "url": "http://gate"},
        {"name": "after", "type": "post-rollout", "url": "http://gate"},
    ]);
    let mut world = initialized(&with_hooks(&hooks));
    world.push(2);
    until(&mut world, "weight 40", |w| w.actual.route == Some(Weight::clamped(40)));
    world.push(1);
    until(&mut world, "reverted", |w| {
        w.block().is_some_and(|b| b.why.reason == "Reverted")
    });
    seconds(&mut world, 3);
    assert_eq!(world.called, ["before", "after"]);
}

#[test]
fn when_the_last_good_revision_is_lost_what_the_primary_runs_takes_its_place() {
    let mut world = initialized(&linear());
    world.push(2);
    world.distort = |observation| {
        observation.stored = Known::Present(Vec::new());
        if let Known::Present(primary) = &mut observation.primary {
            primary.recovered = Some(fingerprint(7));
        }
    };
    world.refresh();
    world.pass(None);
    let promoted = world.block().and_then(|block| block.promoted);
    assert_eq!(promoted, Some(fingerprint(7)));
    let text =
        "The last good revision of podinfo.test was deleted; what the primary serves with counts as that from now on";
    assert!(world.told.iter().any(|told| told == text), "{:?}", world.told);
    assert!(world.alerts.iter().any(|alert| alert == text), "{:?}", world.alerts);
}
