//! A person's word: followed once, for the revision that it names, and never past the pods; told when it makes no sense.

use chrono::TimeDelta;
use serde_json::json;
use serin::api::Phase;
use serin::rollout::{Block, Heard, Stage, Verb, Weight};

use super::roads::{initialized, linear, until};
use super::world::{World, fingerprint};

fn weight(percent: i64) -> Weight {
    Weight::clamped(percent)
}

fn seconds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
}

fn block(world: &World) -> Block {
    world.block().expect("a block")
}

/// The last word that was heard.
fn last(world: &World) -> Heard {
    block(world).words.history.last().cloned().expect("a word was heard")
}

/// Revision 2 with its first share of the traffic.
fn stepping(analysis: &serde_json::Value) -> World {
    let mut world = initialized(analysis);
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(weight(20)));
    world
}

fn with_hooks(hooks: &serde_json::Value) -> serde_json::Value {
    let mut analysis = linear();
    analysis["webhooks"] = hooks.clone();
    analysis
}

fn gate(type_: &str) -> serde_json::Value {
    with_hooks(&json!([{"name": "gate", "type": type_, "url": "http://gate"}]))
}

/// A word that must be refused, with these words, and leave stage and weight alone.
fn refused(world: &mut World, verb: Verb, template: u32, rest: &str, why: &str) {
    let (stage, weight) = (block(world).stage, block(world).weight);
    world.say(verb, template, rest);
    world.pass_when_due();
    let heard = last(world);
    assert_eq!(heard.verb, verb);
    let told = heard.refused.unwrap_or_default();
    assert!(told.contains(why), "{told}");
    assert_eq!((block(world).stage, block(world).weight), (stage, weight));
    let annotation = verb.annotation();
    let said = |text: &&String| text.starts_with(&annotation) && text.contains(why);
    assert_eq!(world.told.iter().filter(said).count(), 1, "{:?}", world.told);
    let writes = world.status_writes;
    world.pass(None);
    world.pass(None);
    assert_eq!(world.status_writes, writes, "told once");
}

#[test]
fn promote_goes_on_to_the_next_step_at_once_and_from_the_last_one_to_the_promotion() {
    let mut world = stepping(&linear());
    for (nonce, expected) in [("a", 40), ("b", 60)] {
        world.say(Verb::Promote, 2, nonce);
        until(&mut world, "next", |w| w.actual.route == Some(weight(expected)));
        assert_eq!(block(&world).stage, Stage::Stepping);
    }
    world.say(Verb::Promote, 2, "c,enough");
    world.pass_when_due();
    assert_eq!(block(&world).stage, Stage::Promoting);
    assert_eq!(last(&world).reason.as_deref(), Some("enough"));
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert!(
        world
            .told
            .iter()
            .any(|text| text == "A person said promote to podinfo.test (kubectl-annotate): enough")
    );
}

#[test]
fn a_word_counts_once_also_over_a_lost_write_a_conflict_and_a_crash() {
    for crash in [false, true] {
        let mut world = stepping(&linear());
        world.say(Verb::Promote, 2, "once");
        world.pass_in_conflict();
        assert_eq!(block(&world).weight, weight(20), "nothing is done without the write");
        world.pass(Some(if crash { 1 } else { usize::MAX }));
        assert_eq!(block(&world).weight, weight(40));
        for _ in 0..3 {
            world.crash();
            world.pass(None);
        }
        assert_eq!(
            (block(&world).weight, block(&world).words.history.len()),
            (weight(40), 1)
        );
    }
}

#[test]
fn a_word_that_comes_back_after_another_one_is_not_heard_again() {
    let mut world = stepping(&linear());
    world.say(Verb::Promote, 2, "git");
    until(&mut world, "next", |w| w.actual.route == Some(weight(40)));
    world.say(Verb::Pause, 2, "person");
    world.pass_when_due();
    world.say(Verb::Resume, 2, "person");
    world.pass_when_due();
    world.say(Verb::Promote, 2, "person");
    until(&mut world, "next", |w| w.actual.route == Some(weight(60)));
    let heard = block(&world).words.history.len();
    for (verb, nonce) in [
        (Verb::Promote, "git"),
        (Verb::Promote, "person"),
        (Verb::Promote, "git"),
    ] {
        world.say(verb, 2, nonce);
        world.crash();
        world.pass(None);
    }
    assert_eq!(
        (block(&world).words.history.len(), block(&world).weight),
        (heard, weight(60))
    );
    assert_eq!(block(&world).stage, Stage::Stepping);
    world.say(Verb::Promote, 2, "new");
    world.pass_when_due();
    assert_eq!(block(&world).stage, Stage::Promoting);
}

#[test]
fn promote_full_leaves_out_the_rest_of_the_plan() {
    let mut world = stepping(&linear());
    world.say(Verb::PromoteFull, 2, "1");
    world.pass_when_due();
    assert_eq!(
        (block(&world).stage, block(&world).weight),
        (Stage::Promoting, weight(20))
    );
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(block(&world).promoted, Some(fingerprint(2)));
    assert!(!block(&world).words.full, "it was about that run");
}

#[test]
fn promote_full_still_waits_for_the_pods_and_still_shields() {
    let mut world = initialized(&linear());
    world.recreate = true;
    world.push(2);
    world.broken.insert(2);
    until(&mut world, "raising", |w| block(w).stage == Stage::Raising);
    world.say(Verb::PromoteFull, 2, "1");
    seconds(&mut world, 10);
    assert_eq!(
        (block(&world).stage, block(&world).weight),
        (Stage::Raising, Weight::ZERO)
    );
    world.broken.clear();
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert!(world.stages.contains(&Stage::Shielding), "{:?}", world.stages);
    assert!(!world.stages.contains(&Stage::Stepping), "{:?}", world.stages);
}

#[test]
fn abort_rolls_back_and_the_same_revision_is_not_tried_again() {
    let mut world = stepping(&linear());
    world.say(Verb::Abort, 2, "1,customers call");
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    let outcome = block(&world).outcome.expect("an outcome");
    assert_eq!(
        (outcome.reason.as_str(), outcome.message.as_str()),
        (
            "Aborted",
            "a person aborted the release (kubectl-annotate): customers call"
        )
    );
    assert_eq!(
        world.alerts.last().map(String::as_str),
        Some("Rolled back: a person aborted the release (kubectl-annotate): customers call")
    );
    let run = block(&world).run;
    seconds(&mut world, 300);
    assert_eq!((block(&world).run, world.phase()), (run, Phase::Failed));
}

#[test]
fn a_paused_run_stands_at_its_weight_and_is_still_rolled_back_when_it_fails() {
    for fails in [false, true] {
        let mut world = stepping(&linear());
        world.say(Verb::Pause, 2, "1,lunch");
        seconds(&mut world, 120);
        let now = block(&world);
        assert_eq!(
            (now.stage, now.weight, now.why.reason.as_str()),
            (Stage::Stepping, weight(20), "Paused")
        );
        assert!(
            now.why.message.ends_with("(kubectl-annotate): lunch") && now.why.awaiting.is_some(),
            "{:?}",
            now.why
        );
        let alerts = world.alerts.iter().filter(|text| text.contains("paused")).count();
        assert_eq!(alerts, 1, "{:?}", world.alerts);
        if fails {
            world.bad.insert(2);
            until(&mut world, "failed", |w| w.phase() == Phase::Failed);
            assert_eq!(
                block(&world).outcome.map(|outcome| outcome.reason).as_deref(),
                Some("FailedChecks")
            );
        } else {
            let writes = world.status_writes;
            seconds(&mut world, 120);
            assert_eq!(world.status_writes, writes, "a pause is silent");
            world.say(Verb::Resume, 2, "2");
            until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
        }
    }
}

#[test]
fn a_pause_survives_a_crash_and_ends_with_a_new_revision() {
    let mut world = stepping(&linear());
    world.say(Verb::Pause, 2, "1");
    seconds(&mut world, 5);
    world.crash();
    seconds(&mut world, 60);
    assert_eq!(block(&world).weight, weight(20));
    world.push(3);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(block(&world).promoted, Some(fingerprint(3)));
}

#[test]
fn a_run_paused_before_its_first_weight_gets_none() {
    let hooks = json!([
        {"name": "before", "type": "pre-rollout", "url": "http://hook"},
        {"name": "rollback", "type": "rollback", "url": "http://hook"},
    ]);
    let mut world = initialized(&with_hooks(&hooks));
    world.push(2);
    until(&mut world, "raising", |w| block(w).stage == Stage::Raising);
    world.say(Verb::Pause, 2, "1");
    seconds(&mut world, 60);
    assert_eq!(
        (block(&world).stage, block(&world).weight),
        (Stage::Raising, Weight::ZERO)
    );
    assert!(!world.called.contains(&"before".into()), "{:?}", world.called);
    assert!(
        world.called.iter().any(|name| name == "rollback"),
        "a rollback hook counts while it waits"
    );
    world.say(Verb::Promote, 2, "2");
    until(&mut world, "weight 20", |w| w.actual.route == Some(weight(20)));
    assert_eq!(block(&world).words.paused, None);
}

#[test]
fn a_failed_revision_is_tried_again_when_a_person_says_so() {
    let mut world = initialized(&linear());
    world.bad.insert(2);
    world.push(2);
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    refused(
        &mut world,
        Verb::Retry,
        3,
        "0",
        "it is about revision 0000000000, and 0000000000 failed last",
    );
    let run = block(&world).run;
    world.bad.clear();
    world.say(Verb::Retry, 2, "1");
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(
        (block(&world).run, block(&world).promoted),
        (run + 1, Some(fingerprint(2)))
    );
    refused(&mut world, Verb::Retry, 2, "2", "none has failed");
}

#[test]
fn approve_opens_the_gate_that_is_awaited_and_no_other() {
    for type_ in ["confirm-rollout", "confirm-traffic-increase", "confirm-promotion"] {
        let mut world = initialized(&gate(type_));
        world.gates_closed = true;
        world.push(2);
        until(&mut world, "closed", |w| block(w).gate.is_some());
        let (at, stage) = (block(&world).weight, block(&world).stage);
        world.say(Verb::Approve, 2, "1");
        until(&mut world, "open", |w| block(w).stage != stage || block(w).weight > at);
        if type_ == "confirm-traffic-increase" {
            until(&mut world, "closed again", |w| block(w).gate.is_some());
            assert_eq!(block(&world).weight, weight(20), "the next step asks anew");
            world.gates_closed = false;
        }
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    }
}

#[test]
fn approve_of_one_gate_leaves_the_next_one_closed() {
    let hooks = json!([
        {"name": "gate-1", "type": "confirm-rollout", "url": "http://gate"},
        {"name": "gate-2", "type": "confirm-rollout", "url": "http://gate"},
    ]);
    let mut world = initialized(&with_hooks(&hooks));
    world.gates_closed = true;
    world.push(2);
    until(&mut world, "closed", |w| block(w).gate.is_some());
    world.say(Verb::Approve, 2, "1");
    until(&mut world, "the second", |w| {
        block(w).gate.is_some_and(|gate| gate.mark == "confirm-rollout/gate-2")
    });
    assert_eq!(world.phase(), Phase::Waiting);
}

#[test]
fn reject_ends_the_wait_or_the_run() {
    for (type_, phase) in [
        ("confirm-rollout", Phase::Waiting),
        ("confirm-promotion", Phase::WaitingPromotion),
    ] {
        let mut world = initialized(&gate(type_));
        world.gates_closed = true;
        world.push(2);
        until(&mut world, "waiting", |w| w.phase() == phase);
        world.say(Verb::Reject, 2, "1");
        until(&mut world, "failed", |w| w.phase() == Phase::Failed);
        let now = block(&world);
        assert_eq!(now.outcome.map(|outcome| outcome.reason).as_deref(), Some("Rejected"));
        assert_eq!((now.last_failed, now.gate), (Some(fingerprint(2)), None));
        let asked = world.called.len();
        seconds(&mut world, 100);
        assert_eq!(
            (world.called.len(), world.phase()),
            (asked, Phase::Failed),
            "it is not asked again"
        );
        world.gates_closed = false;
        world.push(3);
        until(&mut world, "the next one", |w| w.phase() == Phase::Succeeded);
    }
}

#[test]
fn promote_starts_a_revision_that_waits_without_its_gate() {
    for (verb, stages) in [(Verb::Promote, true), (Verb::PromoteFull, false)] {
        let mut world = initialized(&gate("confirm-rollout"));
        world.gates_closed = true;
        world.push(2);
        until(&mut world, "waiting", |w| w.phase() == Phase::Waiting);
        world.say(verb, 2, "1");
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
        assert_eq!(world.stages.contains(&Stage::Stepping), stages, "{:?}", world.stages);
    }
}

#[test]
fn goto_takes_the_weight_up_and_down_and_goes_on_from_there() {
    let mut world = stepping(&linear());
    world.say(Verb::Goto, 2, "1,45");
    until(&mut world, "45", |w| w.actual.route == Some(weight(45)));
    world.say(Verb::Goto, 2, "2,5,too hot");
    until(&mut world, "5", |w| w.actual.route == Some(weight(5)));
    assert!(
        world
            .told
            .iter()
            .any(|text| text == "A person said goto 5 to podinfo.test (kubectl-annotate): too hot")
    );
    until(&mut world, "the plan goes on", |w| w.actual.route == Some(weight(20)));
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn goto_zero_keeps_the_pods_and_waits_for_a_person() {
    let mut world = stepping(&linear());
    world.say(Verb::Goto, 2, "1,0");
    seconds(&mut world, 120);
    assert_eq!(
        (world.actual.route, block(&world).why.reason.as_str()),
        (Some(Weight::ZERO), "Paused")
    );
    assert_eq!(world.actual.target.as_ref().map(|target| target.ready), Some(3));
    world.say(Verb::Resume, 2, "2");
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn no_word_goes_past_the_pods() {
    let mut world = stepping(&linear());
    world.actual.target.as_mut().expect("a target").ready = 1;
    world.broken.insert(2);
    refused(
        &mut world,
        Verb::Goto,
        2,
        "1,80",
        "weight 80 needs 3 ready pods of the canary, 1 are ready",
    );
    refused(
        &mut world,
        Verb::Promote,
        2,
        "1",
        "weight 40 needs 2 ready pods of the canary, 1 are ready",
    );
    world.actual.primary.as_mut().expect("a primary").ready = 2;
    refused(
        &mut world,
        Verb::Goto,
        2,
        "2,5",
        "weight 5 needs 3 ready pods of the primary, 2 are ready",
    );
}

#[test]
fn a_word_at_the_wrong_moment_is_told_and_not_kept_for_later() {
    let mut world = initialized(&linear());
    refused(
        &mut world,
        Verb::Abort,
        1,
        "1",
        "no revision is being released, and none has failed",
    );
    refused(&mut world, Verb::Pause, 1, "1", "no revision is being released");
    world.push(2);
    until(&mut world, "raising", |w| block(w).stage == Stage::Raising);
    refused(&mut world, Verb::Promote, 2, "1", "the canary is not ready for traffic");
    until(&mut world, "weight 20", |w| w.actual.route == Some(weight(20)));
    refused(&mut world, Verb::Resume, 2, "1", "nothing is paused");
    refused(&mut world, Verb::Approve, 2, "1", "no gate is awaited");
    refused(&mut world, Verb::Reject, 2, "1", "no gate is awaited");
    refused(&mut world, Verb::Retry, 2, "1", "the run has not come that far");
    refused(&mut world, Verb::Goto, 2, "1,20", "the weight is 20 already");
    refused(
        &mut world,
        Verb::Goto,
        2,
        "2,many",
        "\"many\" is no weight from 0 to 100",
    );
    until(&mut world, "promoting", |w| block(w).stage == Stage::Promoting);
    refused(
        &mut world,
        Verb::Abort,
        2,
        "2",
        "return the target to the last good one",
    );
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(block(&world).words.history.len(), 8, "the history is short");
}

#[test]
fn a_word_about_another_revision_is_told_once_and_ignored() {
    let mut world = stepping(&linear());
    refused(&mut world, Verb::Abort, 1, "1", "it is about revision 0000000000");
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn a_suspended_canary_follows_nobody() {
    let mut world = stepping(&linear());
    world.canary.spec.suspend = true;
    seconds(&mut world, 2);
    refused(&mut world, Verb::Abort, 2, "1", "spec.suspend is true");
}

#[test]
fn annotations_that_stood_before_serin_came_are_past() {
    let mut world = World::new(3, &linear());
    world.say(Verb::PromoteFull, 2, "old");
    until(&mut world, "initialized", |w| w.phase() == Phase::Initialized);
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(weight(20)));
    assert_eq!(block(&world).words.history, []);
}

#[test]
fn users_027_a_revert_ends_a_running_release_and_clears_a_failed_one() {
    let mut world = stepping(&linear());
    world.push(1);
    until(&mut world, "ended", |w| block(w).stage == Stage::Resting);
    assert!(world.stages.contains(&Stage::Reverting), "{:?}", world.stages);
    assert_eq!(
        (block(&world).last_failed, world.actual.route),
        (None, Some(Weight::ZERO))
    );
    world.bad.insert(2);
    world.push(2);
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    world.push(1);
    until(&mut world, "cleared", |w| w.phase() == Phase::Succeeded);
    assert_eq!(
        block(&world).outcome.map(|outcome| outcome.reason).as_deref(),
        Some("Reverted")
    );
}
