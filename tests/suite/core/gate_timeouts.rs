//! Gates that nobody opens: `gateTimeout` and what comes then, and what counts while a release waits.

use chrono::TimeDelta;
use serde_json::json;
use serin::api::Phase;
use serin::rollout::{Block, Stage, Verb, Weight};

use super::roads::{initialized, linear, until};
use super::world::{World, fingerprint};

const GATES: [&str; 3] = ["confirm-rollout", "confirm-traffic-increase", "confirm-promotion"];

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

/// A release before a closed gate of two minutes.
fn closed(type_: &str, on_timeout: Option<&str>) -> World {
    let mut analysis = linear();
    analysis["webhooks"] = json!([
        {"name": "gate", "type": type_, "url": "http://gate", "gateTimeout": "2m", "onTimeout": on_timeout},
        {"name": "rollback", "type": "rollback", "url": "http://hook"},
    ]);
    let mut world = initialized(&analysis);
    world.gates_closed = true;
    world.push(2);
    until(&mut world, "closed", |w| block(w).gate.is_some());
    world
}

#[test]
fn a_gate_that_stays_closed_rolls_back() {
    for type_ in GATES {
        let mut world = closed(type_, Some("rollback"));
        let now = block(&world);
        let since = now.gate.expect("a gate").since;
        assert_eq!(now.why.until, Some(since + TimeDelta::seconds(120)));
        assert_eq!(now.why.then.as_deref(), Some("the release is rolled back"));
        assert!(
            world.alerts.iter().any(|text| text.contains("It is waited for until") && text.contains("then the release is rolled back")),
            "{:?}",
            world.alerts
        );
        seconds(&mut world, 110);
        assert!(block(&world).gate.is_some(), "not before its time");
        until(&mut world, "failed", |w| w.phase() == Phase::Failed);
        assert!(world.now - since < TimeDelta::seconds(150), "{type_}");
        let outcome = block(&world).outcome.expect("an outcome");
        assert_eq!(outcome.reason, "GateTimedOut");
        assert!(
            outcome.message.starts_with(&format!("{type_}/gate is closed since")),
            "{}",
            outcome.message
        );
        assert_eq!(block(&world).last_failed, Some(fingerprint(2)));
    }
}

#[test]
fn a_gate_that_stays_closed_counts_as_passed_where_that_is_wanted() {
    for type_ in GATES {
        let mut world = closed(type_, Some("approve"));
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
        assert!(
            world.told.iter().any(|text| text.ends_with("and counts as passed")),
            "{:?}",
            world.told
        );
    }
}

#[test]
fn a_gate_that_stays_closed_is_alerted_once_and_waited_for_by_default() {
    for type_ in GATES {
        let mut world = closed(type_, None);
        let stage = block(&world).stage;
        seconds(&mut world, 600);
        assert_eq!(block(&world).stage, stage);
        let alerts = world.alerts.iter().filter(|text| text.contains("waits on")).count();
        assert_eq!(alerts, 1, "{:?}", world.alerts);
        let asked = world.called.iter().filter(|name| *name == "gate").count();
        assert!(asked > 30, "it is asked on: {asked}");
        world.gates_closed = false;
        until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    }
}

#[test]
fn a_successor_counts_from_when_the_gate_was_closed() {
    let mut world = closed("confirm-promotion", Some("rollback"));
    let since = block(&world).gate.expect("a gate").since;
    seconds(&mut world, 90);
    world.crash();
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    assert!(world.now - since < TimeDelta::seconds(150));
}

#[test]
fn a_pause_holds_a_gates_time_up() {
    let mut world = closed("confirm-promotion", Some("rollback"));
    world.say(Verb::Pause, 2, "1");
    seconds(&mut world, 600);
    assert_eq!(
        (block(&world).stage, block(&world).why.reason.as_str()),
        (Stage::WaitingPromotion, "Paused")
    );
    world.say(Verb::Resume, 2, "2");
    seconds(&mut world, 90);
    assert_eq!(
        block(&world).stage,
        Stage::WaitingPromotion,
        "what was left of its time is left"
    );
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
}

#[test]
fn a_suspension_uses_up_nothing_of_a_gates_time() {
    for type_ in GATES {
        let mut world = closed(type_, Some("rollback"));
        world.canary.spec.suspend = true;
        seconds(&mut world, 600);
        world.canary.spec.suspend = false;
        seconds(&mut world, 90);
        assert!(block(&world).gate.is_some(), "{type_}");
        until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    }
}

/// The deadline acts on what the gate says then, not on what it said an interval before.
#[test]
fn a_gate_that_has_opened_by_the_end_of_its_time_is_open() {
    for type_ in GATES {
        for left in [1, 4, 9] {
            let mut world = closed(type_, Some("rollback"));
            let since = block(&world).gate.expect("a gate").since;
            let spent = (world.now - since).num_seconds();
            seconds(&mut world, u32::try_from(120 - left - spent).expect("time is left"));
            world.gates_closed = false;
            until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
        }
    }
}

/// A process that was away for hours asks before it acts.
#[test]
fn a_gate_that_opened_while_nobody_looked_is_open() {
    let mut world = closed("confirm-promotion", Some("rollback"));
    world.now += TimeDelta::hours(3);
    world.crash();
    world.gates_closed = false;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
}

#[test]
fn a_muted_gate_raises_no_alert_at_the_end_of_its_time() {
    for on_timeout in ["hold", "approve"] {
        let mut analysis = linear();
        analysis["webhooks"] = json!([{
            "name": "gate", "type": "confirm-promotion", "url": "http://gate",
            "gateTimeout": "2m", "onTimeout": on_timeout, "muteAlert": true,
        }]);
        let mut world = initialized(&analysis);
        world.gates_closed = true;
        world.push(2);
        until(&mut world, "closed", |w| block(w).gate.is_some());
        seconds(&mut world, 200);
        let alerts = world.alerts.iter().filter(|text| text.contains("is closed since"));
        assert_eq!(alerts.count(), 0, "{:?}", world.alerts);
        assert!(
            world.told.iter().any(|text| text.contains("is closed since")),
            "{:?}",
            world.told
        );
    }
}

#[test]
fn failing_metrics_and_rollback_hooks_count_while_a_release_waits() {
    let mut world = closed("confirm-promotion", None);
    assert_eq!(world.phase(), Phase::WaitingPromotion);
    world.bad.insert(2);
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
    assert_eq!(
        block(&world).outcome.map(|outcome| outcome.reason).as_deref(),
        Some("FailedChecks")
    );
    assert_eq!(world.actual.route, Some(Weight::ZERO));
    for type_ in GATES {
        let mut world = closed(type_, None);
        assert!(world.called.iter().any(|name| name == "rollback") || type_ == "confirm-rollout");
        world.pressed = true;
        until(&mut world, "failed", |w| w.phase() == Phase::Failed);
        assert_eq!(
            block(&world).outcome.map(|outcome| outcome.reason).as_deref(),
            Some("RollbackHook"),
            "{type_}"
        );
    }
}

/// A person opens a gate hours after the step began, moments after somebody's edit of the route was put right.
#[test]
fn an_approval_right_after_a_repair_of_the_route_promotes() {
    let mut world = closed("confirm-promotion", None);
    seconds(&mut world, 2_000);
    world.actual.route = Some(Weight::clamped(10));
    seconds(&mut world, 3);
    world.say(Verb::Approve, 2, "1");
    until(&mut world, "over", |w| {
        w.phase() == Phase::Succeeded || w.phase() == Phase::Failed
    });
    assert_eq!(world.phase(), Phase::Succeeded, "{:?}", block(&world).outcome);
}
