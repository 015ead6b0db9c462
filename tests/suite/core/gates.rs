//! Hooks and gates: whom they are asked for, how often, and what a closed one costs.

use chrono::TimeDelta;
use serde_json::json;
use serin::api::Phase;
use serin::rollout::{Stage, Verb, Weight};

use super::roads::{initialized, linear, until};
use super::world::World;

fn with_hooks(hooks: &serde_json::Value) -> serde_json::Value {
    let mut analysis = linear();
    analysis["webhooks"] = hooks.clone();
    analysis
}

fn hook(name: &str, type_: &str) -> serde_json::Value {
    json!({"name": name, "type": type_, "url": "http://gate"})
}

fn seconds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.pass_time(TimeDelta::seconds(1));
        world.refresh();
        world.pass_when_due();
    }
}

#[test]
fn a_gate_closed_before_the_first_weight_costs_no_writes_while_it_is_asked_again() {
    let mut world = initialized(&with_hooks(&json!([hook("gate", "confirm-traffic-increase")])));
    world.answers_take = TimeDelta::seconds(3);
    world.gates_closed = true;
    world.push(2);
    until(&mut world, "closed", |w| {
        w.block().is_some_and(|b| b.why.reason == "WaitingForTrafficApproval")
    });
    let writes = world.status_writes;
    seconds(&mut world, 100);
    assert!(world.called.len() > 5, "{:?}", world.called);
    assert_eq!(world.status_writes, writes, "{:#?}", world.log);
}

#[test]
fn missing_data_and_a_closed_gate_are_said_once_not_at_each_check() {
    let mut analysis = linear();
    analysis["threshold"] = json!(20);
    let mut world = initialized(&analysis);
    world.no_data = true;
    world.answers_take = TimeDelta::seconds(2);
    world.push(2);
    until(&mut world, "no data", |w| {
        w.block().is_some_and(|b| b.why.reason == "NoData")
    });
    let (told, alerted) = (world.told.len(), world.alerts.len());
    seconds(&mut world, 100);
    assert_eq!(
        (world.told.len(), world.alerts.len()),
        (told, alerted),
        "{:?}",
        world.told
    );
    assert!(world.told.iter().any(|text| text == "Hold"), "{:?}", world.told);
}

/// Invariant 6: the wait for data has an end, as the one for the server has.
#[test]
fn data_that_never_comes_rolls_back_after_as_many_checks_as_may_fail() {
    let mut world = initialized(&linear());
    world.no_data = true;
    world.push(2);
    until(&mut world, "no data", |w| {
        w.block().is_some_and(|b| b.why.reason == "NoData")
    });
    let from = world.now;
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    let block = world.block().expect("a block");
    let outcome = block.outcome.expect("an outcome");
    assert_eq!((outcome.reason.as_str(), block.failed_checks), ("NoData", 0));
    let took = world.now - from;
    assert!(
        took >= TimeDelta::seconds(20) && took < TimeDelta::seconds(40),
        "two checks may have no data: {took}"
    );
    assert_eq!(
        world
            .alerts
            .iter()
            .filter(|text| text.contains("no data in 3 checks"))
            .count(),
        1
    );
}

/// One number in between, and the wait begins anew.
#[test]
fn data_that_comes_back_in_time_costs_nothing() {
    let mut world = initialized(&linear());
    world.no_data = true;
    world.push(2);
    until(&mut world, "no data twice", |w| {
        w.block().is_some_and(|b| b.dataless_checks == 2)
    });
    world.no_data = false;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    let block = world.block().expect("a block");
    assert_eq!((block.failed_checks, block.dataless_checks), (0, 0));
}

#[test]
fn an_approval_of_one_revision_does_not_release_a_later_one() {
    let hooks = json!([hook("first", "confirm-rollout"), hook("gate", "confirm-rollout")]);
    let mut world = initialized(&with_hooks(&hooks));
    world.gates_closed = true;
    world.push(2);
    until(&mut world, "waiting", |w| w.phase() == Phase::Waiting);
    world.refusing.insert("first".into());
    world.gates_closed = false;
    world.push(3);
    seconds(&mut world, 60);
    assert_eq!(
        world.phase(),
        Phase::Waiting,
        "the first gate was never asked about revision 3: {:?}",
        world.called
    );
}

#[test]
fn an_answer_that_was_asked_for_another_revision_is_not_used() {
    let mut world = initialized(&with_hooks(&json!([hook("first", "confirm-rollout")])));
    world.answers_take = TimeDelta::seconds(8);
    world.push(2);
    until(&mut world, "asked", |w| w.called.len() == 1);
    world.push(3);
    world.refusing.insert("first".into());
    seconds(&mut world, 60);
    assert_eq!(world.phase(), Phase::Waiting, "{:?}", world.called);
}

#[test]
fn of_two_gates_with_one_name_each_is_asked() {
    let hooks = json!([
        hook("same", "confirm-rollout"),
        hook("gate", "confirm-rollout"),
        hook("same", "confirm-rollout")
    ]);
    let mut world = initialized(&with_hooks(&hooks));
    world.gates_closed = true;
    world.push(2);
    until(&mut world, "waiting", |w| w.phase() == Phase::Waiting);
    world.gates_closed = false;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert_eq!(
        world.called.iter().filter(|name| *name == "same").count(),
        2,
        "{:?}",
        world.called
    );
}

#[test]
fn an_edit_of_the_list_while_it_is_asked_gives_no_answer_to_another_hook() {
    let mut world = initialized(&with_hooks(&json!([hook("load", "rollout"), hook("slow", "rollout")])));
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.answers_take = TimeDelta::seconds(5);
    until(&mut world, "the second is asked", |w| {
        w.called.iter().any(|name| name == "slow")
    });
    // At the place of the first stands a rollback hook now, which would answer no.
    let hooks = json!([hook("rollback", "rollback"), hook("slow", "rollout")]);
    let spec = json!({"webhooks": hooks});
    let analysis = world.canary.spec.analysis.as_mut().expect("an analysis");
    analysis.webhooks = serde_json::from_value(spec["webhooks"].clone()).expect("hooks");
    world.canary.metadata.generation = Some(2);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn skipped_analysis_calls_no_hook_between_the_gates() {
    let mut world = initialized(&with_hooks(&json!([
        hook("before", "pre-rollout"),
        hook("after", "post-rollout")
    ])));
    world.canary.spec.skip_analysis = true;
    world.unjudged = true;
    world.push(2);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    seconds(&mut world, 3);
    assert_eq!(world.called, ["after"]);
}

#[test]
fn a_pre_rollout_hook_runs_once_a_run_even_when_the_canarys_pods_die() {
    let mut world = initialized(&with_hooks(&json!([hook("before", "pre-rollout")])));
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.actual.target.as_mut().expect("a target").ready = 0;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    assert!(world.stages.contains(&Stage::Restarting), "{:?}", world.stages);
    assert_eq!(world.called, ["before"]);
}

#[test]
fn a_run_that_ends_because_names_changed_still_calls_its_last_hook() {
    let mut world = initialized(&with_hooks(&json!([hook("after", "post-rollout")])));
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.distort = |observation| observation.subject.apex = "other".into();
    until(&mut world, "ended", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Resting)
    });
    seconds(&mut world, 3);
    assert_eq!(world.called, ["after"]);
}

#[test]
fn thirty_failing_metrics_do_not_drown_the_alert_of_the_rollback() {
    let mut analysis = linear();
    analysis["threshold"] = json!(1);
    analysis["metrics"] = (0..40)
        .map(|n| json!({"name": format!("m{n}"), "query": "q"}))
        .collect();
    let mut world = initialized(&analysis);
    world.bad.insert(2);
    world.push(2);
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    let alert = "Failed checks threshold reached 1";
    assert!(world.alerts.iter().any(|text| text == alert), "{:?}", world.alerts);
}

#[test]
fn a_held_check_with_stale_answers_is_asked_again_when_the_pods_are_back() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 40", |w| w.actual.route == Some(Weight::clamped(40)));
    world.answers_take = TimeDelta::seconds(4);
    seconds(&mut world, 11);
    // The good answer is on its way; meanwhile a pod is lost and the numbers turn bad.
    world.broken.insert(2);
    world.actual.target.as_mut().expect("a target").ready = 1;
    seconds(&mut world, 20);
    world.bad.insert(2);
    world.broken.clear();
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    assert!(
        !world.log.iter().any(|line| line == "Route(Weight(60))"),
        "{:#?}",
        world.log
    );
}

#[test]
fn hooks_after_a_run_are_called_when_its_phase_stands() {
    for (bad, phase) in [(false, Phase::Succeeded), (true, Phase::Failed)] {
        let mut world = initialized(&with_hooks(&json!([hook("after", "post-rollout")])));
        world.answers_take = TimeDelta::seconds(30);
        if bad {
            world.bad.insert(2);
        }
        world.push(2);
        until(&mut world, "called", |w| !w.called.is_empty());
        assert_eq!(world.phase(), phase, "before the hook has answered");
        seconds(&mut world, 60);
        assert_eq!((world.called.len(), world.phase()), (1, phase));
        assert!(
            world.told.iter().any(|text| text == "Post-rollout check after passed"),
            "{:?}",
            world.told
        );
        let writes = world.status_writes;
        seconds(&mut world, 100);
        assert_eq!(world.status_writes, writes, "silent at rest");
    }
}

#[test]
fn a_new_revision_waits_for_no_answer_of_the_hooks_after_the_last_run() {
    let hooks = json!([hook("after", "post-rollout"), hook("report", "post-rollout")]);
    let mut world = initialized(&with_hooks(&hooks));
    world.push(2);
    until(&mut world, "finalising", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Finalising)
    });
    world.answers_take = TimeDelta::seconds(500);
    until(&mut world, "called", |w| !w.called.is_empty());
    world.push(3);
    let pushed = world.now;
    until(&mut world, "the next run", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Raising)
    });
    assert!(world.now - pushed < TimeDelta::seconds(10));
    assert_eq!(world.called, ["after", "report"], "all were called");
}

#[test]
fn a_promotion_that_fails_calls_the_hooks_after_a_run() {
    let mut world = initialized(&with_hooks(&json!([hook("after", "post-rollout")])));
    world.push(2);
    until(&mut world, "promoting", |w| {
        w.block().is_some_and(|b| b.stage == Stage::Promoting)
    });
    world.broken.insert(2);
    if let Some(primary) = &mut world.actual.primary {
        primary.ready = 0;
    }
    until(&mut world, "held", |w| {
        w.block().is_some_and(|b| b.stage == Stage::HoldOnCanary)
    });
    seconds(&mut world, 3);
    assert_eq!(world.called, ["after"]);
}

#[test]
fn a_late_yes_about_one_revision_does_not_release_the_one_after_a_return() {
    for suspended in [false, true] {
        let mut world = initialized(&with_hooks(&json!([hook("gate", "confirm-rollout")])));
        world.answers_take = TimeDelta::seconds(8);
        world.push(2);
        until(&mut world, "asked", |w| w.called.len() == 1);
        if suspended {
            world.canary.spec.suspend = true;
        }
        world.push(1);
        seconds(&mut world, 3);
        world.canary.spec.suspend = false;
        world.gates_closed = true;
        world.push(3);
        seconds(&mut world, 60);
        assert_eq!(world.phase(), Phase::Waiting, "{:?}", world.called);
        assert!(world.called.len() > 1, "{:?}", world.called);
    }
}

/// The gate has opened for a revision that went away, and closed until it came back.
#[test]
fn a_yes_of_an_hour_ago_does_not_release_a_revision_that_comes_back() {
    let mut world = initialized(&with_hooks(&json!([hook("gate", "confirm-rollout")])));
    world.answers_take = TimeDelta::seconds(8);
    world.push(2);
    until(&mut world, "asked", |w| w.called.len() == 1);
    world.push(1);
    seconds(&mut world, 3600);
    world.gates_closed = true;
    world.push(2);
    seconds(&mut world, 60);
    assert_eq!(world.phase(), Phase::Waiting, "{:?}", world.called);
}

#[test]
fn what_was_answered_before_a_suspension_decides_nothing_after_it() {
    let mut world = initialized(&linear());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    world.answers_take = TimeDelta::seconds(4);
    seconds(&mut world, 11);
    // The good answer is on its way.
    world.canary.spec.suspend = true;
    seconds(&mut world, 600);
    world.bad.insert(2);
    world.canary.spec.suspend = false;
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    assert!(
        !world.log.iter().any(|line| line == "Route(Weight(40))"),
        "{:#?}",
        world.log
    );
}

/// A receiver may answer a repeated name from its memory.
#[test]
fn no_two_checks_share_a_name() {
    let hooks = json!([hook("gate", "confirm-rollout"), hook("load", "rollout")]);
    let mut world = initialized(&with_hooks(&hooks));
    world.gates_closed = true;
    world.push(2);
    until(&mut world, "waiting", |w| w.phase() == Phase::Waiting);
    seconds(&mut world, 25);
    world.say(Verb::Reject, 2, "1");
    until(&mut world, "rejected", |w| w.phase() == Phase::Failed);
    world.push(3);
    until(&mut world, "waiting", |w| w.phase() == Phase::Waiting);
    world.gates_closed = false;
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    seconds(&mut world, 12);
    // The pods die: the run begins anew, at the same weights.
    world.actual.target.as_mut().expect("a target").ready = 0;
    until(&mut world, "back at 20", |w| {
        w.stages.contains(&Stage::Restarting) && w.actual.route == Some(Weight::clamped(20))
    });
    seconds(&mut world, 12);
    world.say(Verb::Goto, 3, "2,50");
    seconds(&mut world, 12);
    world.say(Verb::Goto, 3, "3,20");
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    let ids: Vec<_> = world.calls.iter().map(|(_, id)| id).collect();
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert!(ids.len() > 10, "{ids:#?}");
    assert_eq!(distinct.len(), ids.len(), "{ids:#?}");
}

#[test]
fn a_rollback_hook_that_says_nothing_is_told_once_a_step() {
    let mut world = initialized(&with_hooks(&json!([hook("rollback", "rollback")])));
    world.silent.insert("rollback".into());
    world.push(2);
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    let told = world
        .told
        .iter()
        .filter(|text| text.starts_with("Rollback check rollback could not be asked: "));
    assert_eq!(
        told.count(),
        4,
        "before the first weight and at each of three: {:?}",
        world.told
    );
}

#[test]
fn a_hook_that_passed_before_another_was_refused_is_told_and_not_asked_again() {
    let hooks = json!([
        hook("before", "pre-rollout"),
        hook("first", "confirm-traffic-increase"),
        hook("gate", "confirm-traffic-increase")
    ]);
    let mut world = initialized(&with_hooks(&hooks));
    world.gates_closed = true;
    world.push(2);
    until(&mut world, "closed", |w| {
        w.block().is_some_and(|b| b.why.reason == "WaitingForTrafficApproval")
    });
    seconds(&mut world, 60);
    let count = |name: &str| world.called.iter().filter(|called| *called == name).count();
    assert_eq!((count("before"), count("first")), (1, 1), "{:?}", world.called);
    assert!(count("gate") > 3, "{:?}", world.called);
    for text in [
        "Pre-rollout check before passed",
        "Confirm-traffic-increase check first passed",
    ] {
        assert_eq!(
            world.told.iter().filter(|told| *told == text).count(),
            1,
            "{:?}",
            world.told
        );
    }
}
