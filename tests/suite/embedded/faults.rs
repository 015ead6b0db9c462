//! Recorded-fault replay (`design.md` 2, invariant 4): each scenario once undisturbed, and then again once for every call
//! that the controller makes in it, with that call failed before it took effect, failed after, delayed past the next
//! event, and with the process killed there. The end is the same each time, and every write keeps the invariants.
//!
//! A usual run plays a sample that is the same every time; `SERIN_DEEP=1` plays all, and `SERIN_SHARD=2/8` the second eighth of
//! what would be played. Each run has a runtime of its own, so that nothing of one is left when the next begins.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use serin::sim::world::{
    hooks::HookSays,
    route_shape::SHAPES,
    script::{Life, Pods},
    traffic::Behaviour,
};

use super::{
    configs,
    process::{How, Mishap},
    scaler::scaled,
    setting::Setting,
    stage::Stage,
    strategies::iterations,
};

/// Disturbed runs of each scenario and kind in a usual run of the tests.
const SAMPLE: usize = 8;
/// Calls at the end of a scenario that are disturbed in each kind.
const LAST: usize = 3;

const CANARY: &str = "flagger.app/v1beta1";

const BAD: Behaviour = Behaviour {
    success: 80.0,
    latency: 90.0,
};

/// One story that can be disturbed.
#[derive(Clone, Copy, Debug)]
enum Scenario {
    Adoption,
    Promotion,
    Rollback,
    Newer,
    Revert,
    FailedPromotion,
    Deletion,
    Words,
    Move,
    Scaled,
    Config,
    Kept,
    Restored,
    Rotated,
    Gated,
    Skipped,
    Suspended,
    Testers,
    Mirrored,
    Plain,
    Sticky,
}

impl Scenario {
    fn setting(self, provider: &str) -> Setting {
        let setting = Setting::with_provider(provider).hooks(&[("pre-rollout", "smoke"), ("rollout", "load")]);
        match self {
            Self::Adoption => setting.without_canary(),
            Self::Promotion => setting.analysis(&json!({ "stepWeightPromotion": 50 })),
            Self::Rollback => setting.script(|script| script.answers("app:2", BAD)),
            Self::Kept => setting
                .spec(&json!({ "rollback": { "drainSeconds": 10, "scaleDownDelay": "60s" } }))
                .script(|script| script.answers("app:2", BAD)),
            Self::Restored => setting
                .spec(&json!({ "promotion": { "onFailure": "restorePrimary" } }))
                .script(|script| script.life(Pods::image("app:2").and(Pods::named("app-primary")), Life::NeverReady)),
            Self::FailedPromotion => setting
                .deployment(&json!({ "strategy": { "type": "Recreate" } }))
                .script(|script| script.life(Pods::image("app:2").and(Pods::named("app-primary")), Life::NeverReady)),
            Self::Deletion => setting.spec(&json!({ "revertOnDeletion": true })),
            Self::Scaled => scaled(setting),
            Self::Rotated => configs::reading(setting)
                .settings(|settings| settings.config_tracking = true)
                .spec(&json!({ "configTracking": [{ "kind": "Secret", "name": "app-key", "mode": "liveRestart" }] })),
            Self::Config => configs::reading(setting).settings(|settings| settings.config_tracking = true),
            Self::Gated => setting.hooks(&[
                ("confirm-rollout", "gate-start"),
                ("pre-rollout", "smoke"),
                ("confirm-promotion", "gate-promotion"),
                ("post-rollout", "report"),
            ]),
            Self::Skipped => setting.spec(&json!({ "skipAnalysis": true })),
            Self::Testers => setting
                .analysis(&iterations(3))
                .analysis(&json!({ "match": [{ "headers": { "x-user": { "exact": "tester" } } }] }))
                .script(|script| script.load("app-canary")),
            Self::Mirrored => setting
                .analysis(&iterations(2))
                .analysis(&json!({ "mirror": true, "mirrorWeight": 50 })),
            Self::Plain => setting
                .analysis(&iterations(3))
                .script(|script| script.load("app-canary")),
            Self::Sticky => setting.analysis(&json!({
                "sessionAffinity": { "cookieName": "side", "primaryCookieName": "home" }
            })),
            Self::Newer | Self::Revert | Self::Words | Self::Move | Self::Suspended => setting,
        }
    }

    /// From the first act of a person to the end.
    async fn play(self, stage: &Stage, provider: &str) {
        match self {
            Self::Adoption => {
                let canary = Setting::with_provider(provider)
                    .canary
                    .expect("the setting must have a Canary");
                stage.create(&canary).await;
                stage.until_phase("Initialized").await;
            }
            Self::Gated => gated(stage).await,
            Self::Suspended => suspended(stage).await,
            Self::Promotion
            | Self::Scaled
            | Self::Skipped
            | Self::Testers
            | Self::Mirrored
            | Self::Plain
            | Self::Sticky => {
                stage.push("app:2").await;
                stage.until_phase("Succeeded").await;
            }
            Self::Rollback => {
                stage.push("app:2").await;
                stage.until_phase("Failed").await;
            }
            Self::Kept => {
                stage.push("app:2").await;
                stage.until_phase("Failed").await;
                stage.until("down", |stage| stage.replicas("app") == 0).await;
            }
            Self::Rotated => {
                // The first look at rest takes note of what there is.
                stage.pass(30).await;
                configs::change(stage, "Secret", "app-key", &json!({ "key": "new" })).await;
                stage.until("rolled", |stage| !configs::mark(stage).is_null()).await;
            }
            Self::Restored => {
                stage.push("app:2").await;
                stage.until_stage("Restoring").await;
                stage.until_phase("Failed").await;
            }
            Self::Newer => {
                stage.push("app:2").await;
                stage.until_weight(40).await;
                stage.push("app:3").await;
                stage.until_phase("Succeeded").await;
            }
            Self::Revert => {
                stage.push("app:2").await;
                stage.until_weight(40).await;
                stage.push("app:1").await;
                stage.until_stage("Resting").await;
            }
            Self::FailedPromotion => {
                stage.push("app:2").await;
                stage.until_stage("HoldOnCanary").await;
                stage
                    .world
                    .change(|script| script.life(Pods::Any, Life::ReadyAfter(Duration::from_secs(3))));
                stage.until_phase("Succeeded").await;
            }
            Self::Move => {
                stage.edit_canary(json!({ "provider": "contour" })).await;
                stage.until_stage("Moving").await;
                stage.until_stage("Resting").await;
            }
            Self::Deletion => {
                stage.delete(CANARY, "Canary", "app").await;
                stage.until("gone", |stage| stage.canary().is_null()).await;
            }
            Self::Config => {
                configs::change(stage, "ConfigMap", "app-env", &json!({ "color": "blue" })).await;
                stage.until_phase("Progressing").await;
                stage.until_phase("Succeeded").await;
            }
            Self::Words => {
                stage.push("app:2").await;
                stage.until_weight(20).await;
                stage.say("pause", "1").await;
                stage.until_reason("Paused").await;
                stage.say("goto", "2,35").await;
                stage.until_weight(35).await;
                stage.pass(60).await;
                stage.say("abort", "3,enough").await;
                stage.until_phase("Failed").await;
            }
        }
    }

    /// Plays it to the end and a while beyond.
    fn whole(self, provider: &str, mishap: &Arc<Mishap>) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime must start");
        runtime.block_on(self.disturbed(provider, mishap))
    }

    async fn disturbed(self, provider: &str, mishap: &Arc<Mishap>) -> Outcome {
        let setting = self.setting(provider).fault(mishap.clone());
        let stage = match self {
            Self::Adoption => setting.raise().await,
            _ => setting.initialized().await,
        };
        mishap.arm(&stage.serin);
        let before = stage.story.weights().len();
        self.play(&stage, provider).await;
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

/// A release whose gates open after a while.
async fn gated(stage: &Stage) {
    for gate in ["gate-start", "gate-promotion"] {
        stage.hooks.answer(gate, [HookSays::No("not yet".into())]);
    }
    stage.push("app:2").await;
    stage.until_phase("Waiting").await;
    stage.pass(25).await;
    stage.hooks.answer("gate-start", [HookSays::Yes]);
    stage.until_phase("WaitingPromotion").await;
    stage.pass(25).await;
    stage.hooks.answer("gate-promotion", [HookSays::Yes]);
    stage.until_phase("Succeeded").await;
}

/// A release that is suspended for longer than its intervals.
async fn suspended(stage: &Stage) {
    stage.push("app:2").await;
    stage.until_weight(40).await;
    stage.edit_canary(json!({ "suspend": true })).await;
    stage.pass(120).await;
    stage.edit_canary(json!({ "suspend": false })).await;
    stage.until_phase("Succeeded").await;
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

/// Phase, promoted revision, routes and sizes, and what else stands.
fn end(stage: &Stage) -> Value {
    let status = stage.status();
    let names = |api_version: &str, kind: &str| {
        let objects = stage.api.objects(api_version, kind, "test");
        objects
            .iter()
            .map(|object| object["metadata"]["name"].clone())
            .collect::<Vec<_>>()
    };
    let sizes = ["app", "app-primary"].map(|name| (stage.replicas(name), stage.ready(name), stage.image(name)));
    let selectors =
        ["app", "app-primary", "app-canary"].map(|name| stage.object("v1", "Service", name)["spec"]["selector"].take());
    json!({
        "phase": status["phase"],
        "promoted": status["lastPromotedSpec"],
        "applied": status["lastAppliedSpec"],
        "run": status["serin"]["run"],
        "finalizers": stage.canary()["metadata"]["finalizers"],
        "weight": stage.weight(),
        "sizes": sizes,
        "selectors": selectors,
        "ports": stage.object("v1", "Service", "app")["spec"]["ports"],
        "annotations": stage.object("v1", "Service", "app")["metadata"]["annotations"],
        "scalers": stage.api.objects("autoscaling/v2", "HorizontalPodAutoscaler", "test").iter()
            .map(|it| (it["metadata"]["name"].clone(), it["spec"].clone())).collect::<Vec<_>>(),
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
    let untold = right.events.iter().filter(lasts);
    for event in untold.filter(|event| !left.events.contains(event)) {
        same(false, format!("never told: {event}"));
    }
    wrong
}

fn replay(scenario: Scenario, provider: &str) {
    let calls = Mishap::new(0, How::Counted);
    let undisturbed = scenario.whole(provider, &calls);
    assert!(
        undisturbed.lost < 1.0,
        "{scenario:?} with {provider}: {} requests were lost",
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
            let played = catch_unwind(AssertUnwindSafe(|| scenario.whole(provider, &mishap)));
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
        "{scenario:?} with {provider}: {} calls, {count} disturbed runs, {} wrong",
        calls.calls(),
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{scenario:?} with {provider}, of {count} disturbed runs:\n{}",
        wrong.join("\n")
    );
}

macro_rules! replays {
    ($($name:ident: $scenario:ident with $provider:literal;)*) => {
        $(
            #[test]
            fn $name() {
                replay(Scenario::$scenario, $provider);
            }
        )*
    };
}

replays! {
    an_adoption_ends_the_same_whatever_call_fails: Adoption with "gatewayapi:v1";
    a_promotion_ends_the_same_whatever_call_fails: Promotion with "gatewayapi:v1";
    a_promotion_with_contour_ends_the_same_whatever_call_fails: Promotion with "contour";
    a_promotion_with_istio_ends_the_same_whatever_call_fails: Promotion with "istio";
    a_change_of_a_config_ends_the_same_whatever_call_fails: Config with "gatewayapi:v1";
    a_rollback_ends_the_same_whatever_call_fails: Rollback with "contour";
    a_restart_on_a_newer_revision_ends_the_same_whatever_call_fails: Newer with "gatewayapi:v1";
    a_revert_ends_the_same_whatever_call_fails: Revert with "contour";
    a_move_to_another_provider_ends_the_same_whatever_call_fails: Move with "gatewayapi:v1";
    a_failed_promotion_that_recovers_ends_the_same_whatever_call_fails: FailedPromotion with "gatewayapi:v1";
    a_deletion_ends_the_same_whatever_call_fails: Deletion with "contour";
    an_adoption_with_istio_ends_the_same_whatever_call_fails: Adoption with "istio";
    a_release_that_persons_steer_ends_the_same_whatever_call_fails: Words with "gatewayapi:v1";
    a_rollback_that_keeps_its_pods_ends_the_same_whatever_call_fails: Kept with "gatewayapi:v1";
    a_primary_that_is_restored_ends_the_same_whatever_call_fails: Restored with "contour";
    a_rotated_secret_ends_the_same_whatever_call_fails: Rotated with "gatewayapi:v1";
    a_release_of_a_scaled_workload_ends_the_same_whatever_call_fails: Scaled with "gatewayapi:v1";
    a_deletion_with_istio_ends_the_same_whatever_call_fails: Deletion with "istio";
    a_release_behind_gates_ends_the_same_whatever_call_fails: Gated with "gatewayapi:v1";
    a_release_without_analysis_ends_the_same_whatever_call_fails: Skipped with "contour";
    a_release_that_is_suspended_ends_the_same_whatever_call_fails: Suspended with "gatewayapi:v1";
    a_test_of_testers_ends_the_same_whatever_call_fails: Testers with "gatewayapi:v1";
    a_mirrored_release_ends_the_same_whatever_call_fails: Mirrored with "contour";
    a_release_without_a_route_ends_the_same_whatever_call_fails: Plain with "kubernetes";
    a_release_with_cookies_ends_the_same_whatever_call_fails: Sticky with "istio";
}
