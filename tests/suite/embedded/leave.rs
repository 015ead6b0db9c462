//! `serin leave` hands Canaries back, and says before what speaks against it (rank 16 of `spec/users.md`).

use serde_json::{Value, json};
use serin::controller::settings::Election;
use serin::sim::world::{manifests, traffic::Behaviour};

use super::command::spoken;
use super::setting::{APP, NAMESPACE, Setting};
use super::stage::{Stage, canary};
use super::traffic::no_request_lost;

const LEASES: &str = "coordination.k8s.io/v1";

/// The exit code and what was printed, an error included.
async fn serin(stage: &Stage, line: &str) -> (u8, String) {
    let (said, ended) = spoken(stage, stage.api.client("serin-cli"), line).await;
    match ended {
        Ok(()) => (0, said),
        Err(error) => (error.exit_code(), format!("{said}{error}")),
    }
}

fn is_gone(stage: &Stage) -> bool {
    stage.canary().is_null()
}

#[tokio::test(start_paused = true)]
async fn one_canary_is_deleted_and_waited_for_until_its_target_serves() {
    let stage = Setting::new().initialized().await;
    let (code, said) = serin(&stage, "leave app").await;
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("app.test: deleted, its target takes over\n"), "{said}");
    assert!(said.contains("the target takes over from the primary"), "{said}");
    assert!(said.ends_with("app.test: handed back\n"), "{said}");
    assert!(is_gone(&stage));
    assert_eq!((stage.selects(APP), stage.ready(APP)), (APP.into(), 3));
    no_request_lost(&stage);
}

#[tokio::test(start_paused = true)]
async fn many_are_handed_back_a_few_at_a_time() {
    let mut setting = Setting::new();
    for name in ["shop", "mail", "news"] {
        let analysis = manifests::analysis("10s", 2, 60, 20);
        setting = setting
            .object(manifests::deployment(NAMESPACE, name, "app:1", 2))
            .object(manifests::canary(NAMESPACE, name, "gatewayapi:v1", &analysis));
    }
    let stage = setting.initialized().await;
    let phase =
        |stage: &Stage, name: &str| stage.object("flagger.app/v1beta1", "Canary", name)["status"]["phase"].take();
    for name in ["shop", "mail", "news"] {
        stage
            .until("all are taken over", |stage| phase(stage, name) == "Initialized")
            .await;
    }
    let (code, said) = serin(&stage, "leave --all --at-once 2").await;
    assert_eq!(code, 0, "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let third = lines
        .iter()
        .filter(|line| line.contains(": deleted"))
        .nth(2)
        .expect("a third");
    let before = lines.iter().take_while(|line| *line != third);
    assert!(
        before.filter(|line| line.ends_with(": handed back")).count() >= 1,
        "{said}"
    );
    assert_eq!(said.matches(": handed back").count(), 4, "{said}");
    assert_eq!(serin(&stage, "leave -A").await.1, "There is no Canary to hand back.\n");
}

#[tokio::test(start_paused = true)]
async fn what_would_give_all_traffic_to_a_revision_that_was_not_promoted_stays() {
    let stage = Setting::new()
        .script(|script| {
            let (success, latency) = (80.0, 90.0);
            script.answers("app:2", Behaviour { success, latency })
        })
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    let (code, said) = serin(&stage, "leave app").await;
    assert_eq!(code, 7, "{said}");
    assert!(
        said.contains("in the middle of a release (Progressing at 20 percent)"),
        "{said}"
    );
    stage.until_phase("Failed").await;
    let (code, said) = serin(&stage, "leave app").await;
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("the revision that failed"), "{said}");
    assert!(!is_gone(&stage) && stage.canary()["metadata"]["deletionTimestamp"].is_null());
    stage.push("app:1").await;
    stage.until_phase("Succeeded").await;
    assert_eq!(serin(&stage, "leave app").await.0, 0);
    no_request_lost(&stage);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_deletes_nothing_and_names_who_would_make_it_again() {
    let stage = Setting::new().initialized().await;
    let labels = json!({ "metadata": { "labels": { "kustomize.toolkit.fluxcd.io/name": "apps" } } });
    stage.change(&canary(&labels)).await;
    let (code, said) = serin(&stage, "leave app --dry-run").await;
    assert_eq!(
        (code, said.as_str()),
        (
            0,
            "app.test: was applied by Flux, which makes it again unless it is taken out there first\n\
             app.test: would be deleted and handed back\n"
        )
    );
    stage.pass(60).await;
    assert_eq!(stage.phase(), "Initialized");
    assert_eq!(serin(&stage, "leave nobody").await.0, 5);
}

/// A deletion cannot be taken back, and without a controller it waits.
#[tokio::test(start_paused = true)]
async fn without_a_running_serin_nothing_is_deleted() {
    let stage = Setting::new()
        .settings(|settings| {
            settings.election = Election::Lease {
                namespace: NAMESPACE.into(),
            };
        })
        .initialized()
        .await;
    stage.serin.kill();
    stage.pass(600).await;
    let (code, said) = serin(&stage, "leave app").await;
    assert_eq!(code, 7, "{said}");
    assert!(
        said.contains("no Serin seems to run") && said.contains("10 minutes ago"),
        "{said}"
    );
    assert_eq!(stage.canary()["metadata"]["deletionTimestamp"], Value::Null);
    // Where there is no Lease nobody can tell: the deletion is done, and that nobody reacts is said.
    stage.delete(LEASES, "Lease", "flagger-leader-election").await;
    let (code, said) = serin(&stage, "leave app --timeout 90s").await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("no Serin has reacted"), "{said}");
    stage.serin.start();
    stage.until("gone", is_gone).await;
    no_request_lost(&stage);
}

/// Two Canaries of one target: the second would take it over as soon as the first is gone.
#[tokio::test(start_paused = true)]
async fn who_waits_for_the_target_is_named_and_goes_first() {
    let analysis = manifests::analysis("10s", 2, 60, 20);
    let mut late = manifests::canary(NAMESPACE, "zebra", "gatewayapi:v1", &analysis);
    late["spec"]["targetRef"]["name"] = APP.into();
    let stage = Setting::new().initialized().await;
    stage.create(&late).await;
    stage
        .until("the second waits", |stage| {
            stage.object("flagger.app/v1beta1", "Canary", "zebra")["status"]["serin"]["why"]["reason"] == "TargetTaken"
        })
        .await;
    let (code, said) = serin(&stage, "leave app --dry-run").await;
    assert_eq!(code, 0, "{said}");
    let claim = "app.test: Canary zebra names the same target and takes it over as soon as this one is gone\n";
    assert!(said.starts_with(claim), "{said}");
    let (code, said) = serin(&stage, "leave --all --at-once 1").await;
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("zebra.test: deleted"), "{said}");
    assert!(is_gone(&stage) && stage.deployment("app-primary").is_null());
    no_request_lost(&stage);
}

/// A revision that waits at rest has no stage and no failure to be told by.
#[tokio::test(start_paused = true)]
async fn a_revision_that_cannot_begin_its_release_is_not_handed_all_traffic() {
    let metric = json!([{ "name": "errors", "thresholdRange": { "max": 1 }, "templateRef": { "name": "errors" } }]);
    for (edit, reason, help) in [
        (
            json!({ "suspend": true }),
            "Suspended",
            "spec.suspend to be false again",
        ),
        (
            json!({ "analysis": { "initialDelay": "5s" } }),
            "InvalidSpec",
            "the field to be corrected",
        ),
        (
            json!({ "analysis": { "metrics": metric } }),
            "ReferenceNotFound",
            "the object to be created",
        ),
    ] {
        let stage = Setting::new().initialized().await;
        stage.edit_canary(edit).await;
        stage.pass(30).await;
        stage.push("app:2").await;
        let (code, said) = serin(&stage, "leave app").await;
        assert_eq!(code, 7, "{reason}: at once: {said}");
        stage.pass(30).await;
        assert_eq!((stage.why("reason").as_str(), stage.replicas(APP)), (reason, 0));
        let (code, said) = serin(&stage, "leave app").await;
        assert_eq!(code, 7, "{said}");
        for words in ["a revision that was not promoted", reason, help, "--force"] {
            assert!(said.contains(words), "{words:?} is missing: {said}");
        }
        assert_eq!(stage.canary()["metadata"]["deletionTimestamp"], Value::Null);
        if reason == "Suspended" {
            assert_eq!(serin(&stage, "leave app --force").await.0, 0);
        } else {
            stage.push("app:1").await;
            assert_eq!(
                serin(&stage, "leave app").await.0,
                0,
                "the target is as it was promoted"
            );
        }
        assert!(is_gone(&stage));
        no_request_lost(&stage);
    }
}

/// Nobody has taken note of the push yet.
#[tokio::test(start_paused = true)]
async fn a_revision_of_a_moment_ago_is_seen_in_the_target() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    let (code, said) = serin(&stage, "leave app").await;
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("(its release has not begun yet)"), "{said}");
    stage.until_phase("Succeeded").await;
    assert_eq!(serin(&stage, "leave app").await.0, 0);
}

/// Others may take hours to be handed back.
#[tokio::test(start_paused = true)]
async fn a_release_that_begins_while_others_are_handed_back_is_not_cut_short() {
    let analysis = manifests::analysis("10s", 2, 60, 20);
    let stage = Setting::new()
        .beside("shop", 2, "gatewayapi:v1", &analysis)
        .initialized()
        .await;
    let shop = |stage: &Stage| stage.object("flagger.app/v1beta1", "Canary", "shop");
    stage
        .until("both are taken over", |stage| {
            shop(stage)["status"]["phase"] == "Initialized"
        })
        .await;
    let pushed = async {
        stage.pass(3).await;
        stage.change(&manifests::image(NAMESPACE, "shop", "app:2")).await;
    };
    let (ended, ()) = tokio::join!(serin(&stage, "leave --all --at-once 1"), pushed);
    let (code, said) = ended;
    assert_eq!(code, 7, "{said}");
    assert!(
        said.contains("shop.test: stays: ") && said.ends_with("not handed back: shop.test"),
        "{said}"
    );
    assert!(is_gone(&stage));
    stage
        .until("promoted", |stage| shop(stage)["status"]["phase"] == "Succeeded")
        .await;
}
