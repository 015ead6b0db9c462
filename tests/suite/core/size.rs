//! The block stays below its 16 KiB, whatever users, hooks and metrics write into it.

use serde_json::json;
use serin::api::Phase;
use serin::rollout::{Verb, Weight};

use super::roads::{initialized, linear, until};

/// Names as long as the API server lets them be, of characters that JSON spells out.
fn long(n: usize) -> String {
    format!("{n}-{}", "\u{1}é".repeat(400))
}

/// Hundreds of hooks and metrics.
fn crowded() -> serde_json::Value {
    let mut analysis = linear();
    let kinds = [
        "confirm-rollout",
        "pre-rollout",
        "confirm-traffic-increase",
        "confirm-promotion",
        "post-rollout",
    ];
    let hooks = (0..200).map(|n| json!({"name": long(n), "type": kinds[n % 5], "url": "http://gate"}));
    let gates = kinds.map(|kind| json!({"name": "gate", "type": kind, "url": "http://gate"}));
    analysis["webhooks"] = hooks.chain(gates).collect();
    analysis["metrics"] = (0..300).map(|n| json!({"name": long(n), "query": "q"})).collect();
    analysis
}

#[test]
fn hundreds_of_hooks_and_metrics_with_long_names_fit() {
    let mut world = initialized(&crowded());
    world.gates_closed = true;
    world.push(2);
    until(&mut world, "waiting", |w| w.phase() == Phase::Waiting);
    world.gates_closed = false;
    until(&mut world, "promoted", |w| w.phase() == Phase::Succeeded);
    world.bad.insert(3);
    world.push(3);
    until(&mut world, "failed", |w| w.phase() == Phase::Failed);
}

#[test]
fn what_persons_say_at_length_fits_beside_them() {
    let mut world = initialized(&crowded());
    world.push(2);
    until(&mut world, "weight 20", |w| w.actual.route == Some(Weight::clamped(20)));
    for n in 0..40 {
        let verb = if n % 2 == 0 { Verb::Pause } else { Verb::Resume };
        world.say(verb, 2, &format!("{n},{}", "\"é\\".repeat(300)));
        world.pass(None);
        let said = world.block().expect("a block").words;
        assert_eq!(said.heard.get(&verb), Some(&n.to_string()));
        assert!(!said.history.is_empty() && said.history.len() <= 8);
    }
}
