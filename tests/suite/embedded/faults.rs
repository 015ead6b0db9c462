//! Recorded-fault replay (`design.md` 2, invariant 4): each scenario once undisturbed, and then again once for every call
//! that the controller makes in it, with that call failed before it took effect, failed after, delayed past the next
//! event, and with the process killed there. The end is the same each time, and every write keeps the invariants.
//!
//! All of it takes a while, so that a usual run plays a sample that is the same every time; `SERIN_DEEP=1` plays all.

use std::{collections::BTreeSet, time::Duration};

use futures::FutureExt as _;
use serde_json::{Value, json};
use serin::sim::world::{
    route_shape::SHAPES,
    script::{Life, Pods},
    traffic::Behaviour,
};

use super::{
    process::{How, Mishap},
    setting::Setting,
    stage::Stage,
};

/// Disturbed runs of each scenario and kind in a usual run of the tests.
const SAMPLE: usize = 5;

const CANARY: &str = "flagger.app/v1beta1";

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
    Move,
}

impl Scenario {
    fn setting(self, provider: &str) -> Setting {
        let setting = Setting::with_provider(provider).hooks(&[("pre-rollout", "smoke"), ("rollout", "load")]);
        match self {
            Self::Adoption => setting.without_canary(),
            Self::Promotion => setting.analysis(&json!({ "stepWeightPromotion": 50 })),
            Self::Rollback => setting.script(|script| {
                script.answers(
                    "app:2",
                    Behaviour {
                        success: 80.0,
                        latency: 90.0,
                    },
                )
            }),
            Self::FailedPromotion => setting
                .deployment(&json!({ "strategy": { "type": "Recreate" } }))
                .script(|script| script.life(Pods::image("app:2").and(Pods::named("app-primary")), Life::NeverReady)),
            Self::Deletion => setting.spec(&json!({ "revertOnDeletion": true })),
            Self::Newer | Self::Revert | Self::Move => setting,
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
            Self::Promotion => {
                stage.push("app:2").await;
                stage.until_phase("Succeeded").await;
            }
            Self::Rollback => {
                stage.push("app:2").await;
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
        }
    }

    /// Plays it to the end and a while beyond.
    async fn whole(self, provider: &str, mishap: &std::sync::Arc<Mishap>) -> Outcome {
        let setting = self.setting(provider).fault(mishap.clone());
        let stage = match self {
            Self::Adoption => setting.raise().await,
            _ => setting.initialized().await,
        };
        mishap.arm(&stage.serin);
        let before = stage.story.weights().len();
        self.play(&stage, provider).await;
        stage.pass(120).await;
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
#[derive(Debug, PartialEq)]
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
        "revisions": names("apps/v1", "ControllerRevision"),
        "routes": SHAPES.map(|shape| names(shape.api_version, shape.kind)),
        "destinations": names("networking.istio.io/v1beta1", "DestinationRule"),
    })
}

/// Which calls are disturbed: all, or a sample that is spread evenly and starts differently for each kind.
fn chosen(calls: usize, offset: usize) -> Vec<usize> {
    if std::env::var_os("SERIN_DEEP").is_some() || calls <= SAMPLE {
        return (0..calls).collect();
    }
    (0..SAMPLE)
        .map(|place| (place * calls + offset * calls / 5) / SAMPLE % calls)
        .collect()
}

async fn replay(scenario: Scenario, provider: &str) {
    let calls = Mishap::new(0, How::Counted);
    let undisturbed = scenario.whole(provider, &calls).await;
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
    for (offset, how) in kinds.into_iter().enumerate() {
        for nth in chosen(calls.calls(), offset) {
            let mishap = Mishap::new(nth, how);
            let told = |what: &str| {
                let call = mishap.hit().unwrap_or_else(|| "not reached".into());
                format!(
                    "{scenario:?} with {provider}, call {nth} of {} {how:?} ({call}): {what}",
                    calls.calls()
                )
            };
            let played = std::panic::AssertUnwindSafe(scenario.whole(provider, &mishap))
                .catch_unwind()
                .await;
            let disturbed = played.unwrap_or_else(|_| unreachable!("{}", told("see above")));
            assert_eq!(disturbed.end, undisturbed.end, "{}", told("another end"));
            assert!(
                disturbed.lost < 1.0,
                "{}",
                told(&format!("{} requests were lost", disturbed.lost))
            );
            assert_eq!(disturbed.weights, undisturbed.weights, "{}", told("other weights"));
            assert!(
                disturbed.hooks.is_superset(&undisturbed.hooks),
                "{}",
                told("a hook was not called")
            );
            for event in &undisturbed.events {
                assert!(
                    disturbed.events.contains(event),
                    "{}",
                    told(&format!("never told: {event}"))
                );
            }
        }
    }
}

macro_rules! replays {
    ($($name:ident: $scenario:ident with $provider:literal;)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                replay(Scenario::$scenario, $provider).await;
            }
        )*
    };
}

replays! {
    an_adoption_ends_the_same_whatever_call_fails: Adoption with "gatewayapi:v1";
    a_promotion_ends_the_same_whatever_call_fails: Promotion with "gatewayapi:v1";
    a_promotion_with_contour_ends_the_same_whatever_call_fails: Promotion with "contour";
    a_promotion_with_istio_ends_the_same_whatever_call_fails: Promotion with "istio";
    a_rollback_ends_the_same_whatever_call_fails: Rollback with "contour";
    a_restart_on_a_newer_revision_ends_the_same_whatever_call_fails: Newer with "gatewayapi:v1";
    a_revert_ends_the_same_whatever_call_fails: Revert with "contour";
    a_move_to_another_provider_ends_the_same_whatever_call_fails: Move with "gatewayapi:v1";
    a_failed_promotion_that_recovers_ends_the_same_whatever_call_fails: FailedPromotion with "gatewayapi:v1";
    a_deletion_ends_the_same_whatever_call_fails: Deletion with "contour";
    an_adoption_with_istio_ends_the_same_whatever_call_fails: Adoption with "istio";
    a_deletion_with_istio_ends_the_same_whatever_call_fails: Deletion with "istio";
}
