//! What is a new revision, what is not, and which one is promoted, rebuilt or tried again (ranks 4, 18, 27, 35 and 36 of `spec/users.md`).

use std::time::Duration;

use serde_json::json;
use serin::sim::world::script::{Life, Pods};

use super::setting::Setting;
use super::stage::Stage;

const CANARY: &str = "flagger.app/v1beta1";

/// Rank 4, invariant 5: five applications, and the process is replaced.
#[tokio::test(start_paused = true)]
async fn a_restart_starts_no_rollout_and_writes_nothing() {
    let mut setting = Setting::new();
    for name in ["one", "two", "three", "four"] {
        setting = setting
            .object(serin::sim::world::manifests::deployment("test", name, "app:1", 2))
            .object(serin::sim::world::manifests::canary(
                "test",
                name,
                "contour",
                &json!({ "interval": "10s", "threshold": 1, "stepWeight": 50 }),
            ));
    }
    let stage = setting.initialized().await;
    stage
        .until("all taken over", |stage| {
            let canaries = stage.api.objects(CANARY, "Canary", "test");
            canaries.len() == 5 && canaries.iter().all(|it| it["status"]["phase"] == "Initialized")
        })
        .await;
    stage.pass(60).await;
    let writes = stage.story.writes_of_serin();
    stage.serin.stop().await;
    stage.serin.start();
    stage.pass(600).await;
    assert_eq!(stage.story.writes_of_serin(), writes);
}

/// Rank 4, W23: an older version of Serin, or of Kubernetes, had another fingerprint of the same template.
#[tokio::test(start_paused = true)]
async fn a_fingerprint_of_another_version_is_taken_over_without_a_rollout() {
    let stage = Setting::new().initialized().await;
    stage.serin.stop().await;
    let other = "v0:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let known = json!({ "status": { "serin": {
        "promoted": other,
        "baseline": { "fingerprint": other, "versions": "0.0.1/v1.30.0" },
    } } });
    let patch = kube::api::Patch::Merge(known);
    let api = stage.dynamic(CANARY, "Canary");
    let as_serin = kube::api::PatchParams {
        field_manager: Some("serin".into()),
        ..Default::default()
    };
    api.patch_status("app", &as_serin, &patch).await.expect("accepted");
    stage.serin.start();
    stage.pass(300).await;
    assert_eq!((stage.phase(), stage.replicas("app")), ("Initialized".into(), 0));
    assert_ne!(stage.status()["serin"]["promoted"], other);
    assert_eq!(stage.status()["serin"]["run"], 0);
    assert_eq!(stage.story.primary_templates().len(), 1, "production is not restarted");
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
}

/// Rank 4, W23: the control plane is upgraded under a process that lives, and each template has a new default. Somebody has edited the
/// target since, so its generation tells nothing: the version does, which is asked anew.
#[tokio::test(start_paused = true)]
async fn an_upgrade_of_the_control_plane_starts_no_rollout_in_a_process_that_lives() {
    let stage = Setting::new().initialized().await;
    stage.edit_deployment("app", json!({ "minReadySeconds": 1 })).await;
    stage.pass(60).await;
    upgrade(&stage, Some("v1.37.0"));
    it_rests_and_releases(&stage).await;
}

/// The same while the servers of the control plane have two versions, and the older one is asked: nobody has edited the target.
#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_under_way_starts_no_rollout() {
    let stage = Setting::new().initialized().await;
    stage.pass(60).await;
    upgrade(&stage, None);
    it_rests_and_releases(&stage).await;
}

fn upgrade(stage: &Stage, version: Option<&str>) {
    stage.api.upgrade("apps/v1", "Deployment", version, |deployment| {
        deployment["spec"]["template"]["spec"]["newlyDefaulted"] = "Always".into();
    });
}

async fn it_rests_and_releases(stage: &Stage) {
    let promoted = stage.status()["serin"]["promoted"].clone();
    stage.pass(300).await;
    assert_ne!(stage.status()["serin"]["promoted"], promoted, "it goes by its new name");
    assert_eq!((stage.phase(), stage.replicas("app")), ("Initialized".into(), 0));
    assert_eq!(stage.status()["serin"]["run"], 0);
    assert_eq!(stage.story.primary_templates().len(), 1, "production is not restarted");
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
}

/// Rank 18, W9.
#[tokio::test(start_paused = true)]
async fn a_lost_primary_is_rebuilt_from_the_stored_revision_never_from_the_unproven_target() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:2"), Life::NeverReady))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    stage.delete("apps/v1", "Deployment", "app-primary").await;
    stage.until("rebuilt", |stage| stage.ready("app-primary") == 3).await;
    assert_eq!(stage.image("app-primary"), "app:1");
    assert_eq!(stage.phase(), "Failed");
}

/// Rank 27: a failure is history once the team went back.
#[tokio::test(start_paused = true)]
async fn a_return_to_the_promoted_revision_clears_a_failure_without_a_run() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:2"), Life::NeverReady))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    let run = stage.status()["serin"]["run"].clone();
    stage.push("app:1").await;
    stage.until("ready", |stage| stage.condition("Ready").0 == "True").await;
    assert_eq!(
        (stage.condition("Promoted").0, stage.replicas("app")),
        ("True".into(), 0)
    );
    assert_eq!(stage.status()["serin"]["run"], run);
    stage.push("app:2").await;
    stage
        .until("it may be tried again", |stage| stage.status()["serin"]["run"] != run)
        .await;
}

/// E29 and E43: the same revision is not tried again by itself; an annotation makes it a new one.
#[tokio::test(start_paused = true)]
async fn a_failed_revision_is_tried_again_when_its_template_gets_an_annotation() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:2"), Life::NeverReady))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    stage
        .world
        .change(|script| script.life(Pods::image("app:2"), Life::ReadyAfter(Duration::from_secs(3))));
    stage.pass(120).await;
    assert_eq!(stage.phase(), "Failed");
    stage
        .edit_deployment(
            "app",
            json!({ "template": { "metadata": { "annotations": { "again": "1" } } } }),
        )
        .await;
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.image("app-primary"), "app:2");
}

/// Rank 35: production is down already when its fix comes.
#[tokio::test(start_paused = true)]
async fn a_broken_primary_does_not_block_its_own_fix() {
    let stage = Setting::new().initialized().await;
    stage
        .world
        .change(|script| script.life(Pods::image("app:1"), Life::NeverReady));
    stage.pass(30).await;
    assert_eq!(stage.ready("app-primary"), 0);
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(
        (stage.image("app-primary"), stage.ready("app-primary"), stage.weight()),
        ("app:2".into(), 3, Some(0))
    );
}

/// Rank 36: the status says which revision was superseded.
#[tokio::test(start_paused = true)]
async fn a_newer_revision_before_any_traffic_replaces_the_run() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:2"), Life::NeverReady))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_stage("Raising").await;
    stage.pass(20).await;
    let first = stage.status()["serin"]["running"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    stage.push("app:3").await;
    stage
        .until("superseded", |stage| stage.status()["serin"]["run"] == 2)
        .await;
    let short = first.trim_start_matches("v1:").get(..10).unwrap_or_default().to_owned();
    assert!(
        stage.why("message").contains(&format!("supersedes {short}")),
        "{}",
        stage.why("message")
    );
    stage.until_phase("Succeeded").await;
    assert_eq!(
        (stage.image("app-primary"), stage.story.weights()),
        ("app:3".into(), vec![0, 20, 40, 60, 0])
    );
}

/// W37: the target changes while its judged revision is being promoted.
#[tokio::test(start_paused = true)]
async fn what_is_promoted_is_the_revision_that_was_judged() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_stage("Promoting").await;
    stage.push("app:3").await;
    stage
        .until("the judged one on the primary", |stage| {
            stage.image("app-primary") == "app:2"
        })
        .await;
    stage
        .until("then the next one", |stage| {
            stage.image("app-primary") == "app:3" && stage.phase() == "Succeeded"
        })
        .await;
    let images: Vec<_> = stage
        .story
        .primary_templates()
        .into_iter()
        .map(|(_, image)| image)
        .collect();
    assert_eq!(images, ["app:1", "app:2", "app:3"]);
    let between = stage.story.weights();
    assert!(
        between.ends_with(&[20, 40, 60, 0]),
        "the next one is judged like any other: {between:?}"
    );
}
