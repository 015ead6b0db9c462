//! Recorded-fault replay (`design.md` 2, invariant 4): each scenario once undisturbed, and then again once for every call
//! that the controller makes in it, with that call failed before it took effect, failed after, delayed past the next
//! event, and with the process killed there. The end is the same each time, and every write keeps the invariants.
//!
//! A usual run plays a sample that is the same every time; `SERIN_DEEP=1` plays all, and `SERIN_SHARD=2/8` the second eighth of
//! what would be played. Each run has a runtime of its own, so that nothing of one is left when the next begins.

mod configurations;
mod gates;
mod goings;
mod lines;
mod persons;
mod promotions;
mod releases;
mod scalers;
mod strategies;

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use serin::sim::world::{route_shape::SHAPES, traffic::Behaviour};

use super::{
    process::{How, Mishap},
    setting::Setting,
    stage::Stage,
};

/// Disturbed runs of each scenario and kind in a usual run of the tests.
const SAMPLE: usize = 4;
/// Calls at the end of a scenario that are disturbed in each kind.
const LAST: usize = 3;

const CANARY: &str = "flagger.app/v1beta1";

const BAD: Behaviour = Behaviour {
    success: 80.0,
    latency: 90.0,
};

/// One story that can be disturbed.
struct Scenario {
    name: &'static str,
    provider: &'static str,
    /// Whether the application is taken over before anything is disturbed.
    taken_over: bool,
    setting: fn(Setting) -> Setting,
    /// From the first act of a person to the end.
    play: for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, ()>,
}

impl Scenario {
    /// Plays it to the end and a while beyond.
    fn whole(&self, mishap: &Arc<Mishap>) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime must start");
        runtime.block_on(self.disturbed(mishap))
    }

    async fn disturbed(&self, mishap: &Arc<Mishap>) -> Outcome {
        let setting = Setting::with_provider(self.provider).hooks(&[("pre-rollout", "smoke"), ("rollout", "load")]);
        let setting = (self.setting)(setting).fault(mishap.clone());
        let stage = if self.taken_over {
            setting.initialized().await
        } else {
            setting.raise().await
        };
        mishap.arm(&stage.serin);
        let before = stage.story.weights().len();
        (self.play)(&stage).await;
        stage.pass(120).await;
        mishap.disarm();
        Outcome {
            end: end(&stage),
            weights: stage.story.weights()[before..].to_vec(),
            lost: stage.answers().lost,
            hooks: stage.hook_calls().into_iter().map(|(name, _)| name).collect(),
            events: stage.events(),
        }
    }
}

/// What must be the same however a run was disturbed, and what may only grow.
#[derive(Debug)]
struct Outcome {
    end: Value,
    weights: Vec<u64>,
    lost: f64,
    hooks: BTreeSet<String>,
    events: Vec<String>,
}

/// Phases, promoted revisions, routes and sizes, and what else stands.
fn end(stage: &Stage) -> Value {
    let each = |api_version: &str, kind: &str, tell: &dyn Fn(&Value) -> Value| {
        let objects = stage.api.objects(api_version, kind, "test");
        let told = objects
            .iter()
            .map(|object| json!([object["metadata"]["name"], tell(object)]));
        told.collect::<Vec<_>>()
    };
    let names = |api_version: &str, kind: &str| each(api_version, kind, &|_| Value::Null);
    let canary = |canary: &Value| {
        let status = &canary["status"];
        json!([
            status["phase"],
            status["lastPromotedSpec"],
            status["lastAppliedSpec"],
            status["serin"]["run"],
            canary["metadata"]["finalizers"],
        ])
    };
    let size = |deployment: &Value| {
        let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
        json!([stage.replicas(name), stage.ready(name), stage.image(name)])
    };
    json!({
        "canaries": each(CANARY, "Canary", &canary),
        "weight": stage.weight(),
        "sizes": each("apps/v1", "Deployment", &size),
        "selectors": each("v1", "Service", &|it| it["spec"]["selector"].clone()),
        "ports": stage.object("v1", "Service", "app")["spec"]["ports"],
        "annotations": stage.object("v1", "Service", "app")["metadata"]["annotations"],
        "scalers": each("autoscaling/v2", "HorizontalPodAutoscaler", &|it| it["spec"].clone()),
        "revisions": names("apps/v1", "ControllerRevision"),
        "copies": [names("v1", "ConfigMap"), names("v1", "Secret")],
        "routes": SHAPES.map(|shape| names(shape.api_version, shape.kind)),
        "destinations": names("networking.istio.io/v1beta1", "DestinationRule"),
    })
}

/// Which calls are disturbed: all, or a sample that is spread evenly and starts differently for each kind, and the last ones, behind
/// which nothing comes that could make up for them; of those the shard that was asked for.
fn chosen(calls: usize, offset: usize) -> Vec<usize> {
    let all: BTreeSet<usize> = if std::env::var_os("SERIN_DEEP").is_some() || calls <= SAMPLE {
        (0..calls).collect()
    } else {
        (0..SAMPLE)
            .map(|place| (place * calls + offset * calls / 5) / SAMPLE % calls)
            .chain(calls - LAST..calls)
            .collect()
    };
    let (which, of) = shard();
    all.into_iter().filter(|nth| nth % of == which).collect()
}

/// `SERIN_SHARD`, counted from zero: which part, and of how many.
fn shard() -> (usize, usize) {
    let Ok(wish) = std::env::var("SERIN_SHARD") else {
        return (0, 1);
    };
    let parts = wish.split_once('/').and_then(|(which, of)| {
        let (which, of) = (which.parse::<usize>().ok()?, of.parse::<usize>().ok()?);
        (1..=of).contains(&which).then(|| (which - 1, of))
    });
    parts.unwrap_or_else(|| unreachable!("SERIN_SHARD is like 2/8, not {wish}"))
}

/// What a disturbed run did otherwise than the undisturbed one.
fn differences(disturbed: &Outcome, undisturbed: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |holds: bool, what: String| {
        if !holds {
            wrong.push(what);
        }
    };
    let (left, right) = (disturbed, undisturbed);
    same(
        left.end == right.end,
        format!("ends at {}, not {}", left.end, right.end),
    );
    same(left.lost < 1.0, format!("{} requests were lost", left.lost));
    same(
        left.weights == right.weights,
        format!("weights {:?}, not {:?}", left.weights, right.weights),
    );
    for hook in right.hooks.difference(&left.hooks) {
        same(false, format!("the hook {hook} was not called"));
    }
    // Whether a roll is caught in the midst, and where, is a matter of moments.
    let lasts = |event: &&String| !event.contains(" not ready: waiting for rollout to finish");
    let told: BTreeSet<String> = left.events.iter().map(|event| timeless(event)).collect();
    let events = right.events.iter().filter(lasts).map(|event| timeless(event));
    for event in events.filter(|event| !told.contains(event)) {
        same(false, format!("never told: {event}"));
    }
    wrong
}

/// An Event's text without the moment that it names, such as that since which a gate is closed.
fn timeless(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" since ") else {
        return text.to_owned();
    };
    let after = rest.split_once(" UTC").map_or("", |(_, after)| after);
    format!("{before} since{after}")
}

fn replay(scenario: &Scenario) {
    let (name, provider) = (scenario.name, scenario.provider);
    let calls = Mishap::new(0, How::Counted);
    let undisturbed = scenario.whole(&calls);
    assert!(
        undisturbed.lost < 1.0,
        "{name} with {provider}: {} requests were lost",
        undisturbed.lost
    );
    let kinds = [
        How::FailsBefore,
        How::FailsAfter,
        How::IsDelayed,
        How::KillsBefore,
        How::KillsAfter,
    ];
    let (mut count, mut wrong) = (0, Vec::new());
    for (offset, how) in kinds.into_iter().enumerate() {
        for nth in chosen(calls.calls(), offset) {
            count += 1;
            let mishap = Mishap::new(nth, how);
            let played = catch_unwind(AssertUnwindSafe(|| scenario.whole(&mishap)));
            let found = match &played {
                Ok(disturbed) => differences(disturbed, &undisturbed),
                Err(_) => vec!["a panic, see above".to_owned()],
            };
            if !found.is_empty() {
                let call = mishap.hit().unwrap_or_else(|| "not reached".into());
                wrong.push(format!("call {nth} {how:?} ({call}): {}", found.join("; ")));
            }
        }
    }
    println!(
        "{name} with {provider}: {} calls, {count} disturbed runs, {} wrong",
        calls.calls(),
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{name} with {provider}, of {count} disturbed runs:\n{}",
        wrong.join("\n")
    );
}

/// Scenarios, each a test: its name, the provider, whether the application is taken over before anything is disturbed, what it begins
/// with, and what happens. A release that asks for nothing else has a `pre-rollout` and a `rollout` hook.
macro_rules! replays {
    ($(
        $(#[$doc:meta])*
        $name:ident with $provider:literal, $begin:ident, $setting:expr, |$stage:ident| $play:block
    )*) => {
        $(
            $(#[$doc])*
            #[test]
            fn $name() {
                $crate::embedded::faults::replay(&$crate::embedded::faults::Scenario {
                    name: stringify!($name),
                    provider: $provider,
                    taken_over: stringify!($begin) == "taken_over",
                    setting: $setting,
                    play: |$stage| futures::FutureExt::boxed_local(async move { $play }),
                });
            }
        )*
    };
}
use replays;
