//! A scaler on the way in, on to another target, and on a way out that does not end well.

use serde_json::{Value, json};
use serin::sim::world::{
    manifests,
    script::{Life, Pods},
};

use super::{
    scaler::scaled,
    setting::{APP, NAMESPACE, Setting},
    stage::{Stage, named},
};

const SCALER: &str = "HorizontalPodAutoscaler";
const SCALERS: &str = "autoscaling/v2";
const CANARY: &str = "flagger.app/v1beta1";

fn copy(stage: &Stage, name: &str) -> Value {
    stage.object(SCALERS, SCALER, name)
}

/// The primary that keeps the traffic keeps its scaler too: nobody owns either of them any more.
#[tokio::test(start_paused = true)]
async fn a_primary_that_keeps_the_traffic_keeps_its_scaler() {
    let stage = scaled(Setting::new())
        .script(|script| {
            script
                .life(Pods::image("app:2"), Life::NeverReady)
                .demand("app-primary", 4)
        })
        .initialized()
        .await;
    stage
        .until("at its size", |stage| stage.ready("app-primary") == 4)
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    stage.delete(CANARY, "Canary", APP).await;
    stage.until("gone", |stage| stage.canary().is_null()).await;
    stage.pass(120).await;
    let lost = stage.answers().lost;
    stage.world.change(|script| script.demand("app-primary", 6));
    stage
        .until("it scales on", |stage| stage.ready("app-primary") == 6)
        .await;
    assert_eq!(copy(&stage, "app-primary")["metadata"]["ownerReferences"], Value::Null);
    stage.pass(60).await;
    assert!(stage.answers().lost - lost < 1.0, "the application went down");
}

/// Another target with a scaler of its own, behind the same Service.
#[tokio::test(start_paused = true)]
async fn another_target_comes_with_its_own_scaler() {
    let stage = scaled(Setting::new()).initialized().await;
    stage.create(&manifests::deployment(NAMESPACE, "web", "web:1", 3)).await;
    stage.create(&manifests::autoscaler(NAMESPACE, "web", 3, 7)).await;
    let change = json!({
        "targetRef": { "name": "web" },
        "service": { "name": "app" },
        "autoscalerRef": { "name": "web" },
    });
    stage.edit_canary(change).await;
    stage
        .until("moved", |stage| {
            stage.selects("app") == "web-primary" && stage.status()["serin"]["stage"] == "Resting"
        })
        .await;
    stage.pass(60).await;
    let spec = copy(&stage, "web-primary")["spec"].take();
    assert_eq!(
        (
            &spec["minReplicas"],
            &spec["maxReplicas"],
            &spec["scaleTargetRef"]["name"]
        ),
        (&json!(3), &json!(7), &json!("web-primary"))
    );
    assert!(
        copy(&stage, "app-primary").is_null(),
        "what scaled the old primary went with it"
    );
    assert!(stage.deployment("app-primary").is_null());
    stage.change(&manifests::image(NAMESPACE, "web", "web:2")).await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("web-primary"), "web:2");
    assert!(stage.answers().lost < 1.0, "{:?}", stage.answers());
}

/// What Flagger left: a status without a word of Serin's, and a copy that it made and owns through the same Canary.
#[tokio::test(start_paused = true)]
async fn the_copy_that_flagger_made_is_taken_over() {
    let stage = scaled(Setting::new()).initialized().await;
    stage.serin.kill();
    let status = json!({ "status": { "serin": null } });
    let api = stage.dynamic(CANARY, "Canary");
    api.patch_status(
        APP,
        &kube::api::PatchParams::default(),
        &kube::api::Patch::Merge(status),
    )
    .await
    .expect("accepted");
    // Flagger copies what the team's says, and puts nothing of its own there.
    let plain = json!({ "metadata": { "annotations": null }, "spec": { "minReplicas": 2, "maxReplicas": 5 } });
    stage.change(&named(SCALERS, SCALER, "app-primary", &plain)).await;
    let uid = copy(&stage, "app-primary")["metadata"]["uid"].clone();
    stage.serin.start();
    stage
        .until("adopted", |stage| stage.status()["serin"]["stage"] == "Resting")
        .await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    let after = copy(&stage, "app-primary");
    assert_eq!(after["metadata"]["uid"], uid, "it was not made anew");
    assert_eq!(
        (&after["spec"]["minReplicas"], &after["spec"]["maxReplicas"]),
        (&json!(2), &json!(6))
    );
    assert_eq!(stage.image("app-primary"), "app:2");
    assert!(stage.answers().lost < 1.0, "{:?}", stage.answers());
}
