//! What users of such controllers suffer from (`spec/users.md`): one test or more for each rank of the first issue that no
//! other file of this folder has.

use std::time::Duration;

use serde_json::{Value, json};
use serin::{
    controller::settings::Election,
    sim::world::script::{Life, Pace, Pods, RouterSays},
};

use super::{
    process::{How, Mishap},
    setting::Setting,
    stage::{Stage, named},
};

const CANARY: &str = "flagger.app/v1beta1";

fn no_request_lost(stage: &Stage) {
    let lost = stage.answers().lost;
    assert!(lost < 1.0, "{lost} requests were lost");
}

/// Rank 1: the new version does not come up as primary, and `Recreate` would have taken the old one first.
#[tokio::test(start_paused = true)]
async fn a_failed_promotion_under_recreate_loses_no_request_and_goes_on_by_itself() {
    for provider in ["gatewayapi:v1", "contour"] {
        let broken = Pods::image("app:2").and(Pods::named("app-primary"));
        let stage = Setting::with_provider(provider)
            .deployment(&json!({ "strategy": { "type": "Recreate" } }))
            .script(|script| script.life(broken, Life::NeverReady))
            .initialized()
            .await;
        stage.push("app:2").await;
        stage.until_stage("HoldOnCanary").await;
        assert_eq!((stage.weight(), stage.replicas("app")), (Some(100), 3), "{provider}");
        assert_eq!(stage.condition("Stalled"), ("True".into(), "PromotionFailed".into()));
        stage.pass(300).await;
        stage
            .world
            .change(|script| script.life(Pods::Any, Life::ReadyAfter(Duration::from_secs(3))));
        stage.until_phase("Succeeded").await;
        assert_eq!(
            (stage.weight(), stage.replicas("app"), stage.ready("app-primary")),
            (Some(0), 0, 3)
        );
        no_request_lost(&stage);
    }
}

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

/// Rank 9: somebody puts the route back to the start at every step.
#[tokio::test(start_paused = true)]
async fn a_foreign_edit_of_the_route_at_any_step_is_put_back_to_the_weight_of_that_step() {
    for (provider, api_version, kind, rules, backends) in [
        (
            "gatewayapi:v1",
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            "rules",
            "backendRefs",
        ),
        ("contour", "projectcontour.io/v1", "HTTPProxy", "routes", "services"),
    ] {
        let stage = Setting::with_provider(provider).initialized().await;
        stage.push("app:2").await;
        for weight in [20, 40, 60] {
            stage.until_weight(weight).await;
            stage.pass(2).await;
            let mut spec = stage.object(api_version, kind, "app")["spec"].take();
            spec[rules][0][backends][0]["weight"] = json!(100);
            spec[rules][0][backends][1]["weight"] = json!(0);
            stage.note("somebody writes 100/0");
            stage
                .change(&named(api_version, kind, "app", &json!({ "spec": spec })))
                .await;
            assert_eq!(stage.weight(), Some(0));
            let before = stage.clock.now();
            stage.until_weight(weight).await;
            assert!(
                (stage.clock.now() - before).num_seconds() <= 6,
                "{provider}: within a second of being seen"
            );
        }
        stage.until_phase("Succeeded").await;
        let by_serin: Vec<u64> = stage.story.moments().into_iter().map(|moment| moment.weight).collect();
        assert!(
            by_serin.windows(2).all(|pair| pair[0] <= pair[1] || pair[1] == 0),
            "{provider}: {by_serin:?}"
        );
    }
}

/// Rank 9, 37: a rival that does not stop is named, and nothing counts while it stands.
#[tokio::test(start_paused = true)]
async fn a_rival_that_undoes_the_route_again_and_again_is_named_once_and_holds_the_run() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    let mut spec = stage.object("gateway.networking.k8s.io/v1", "HTTPRoute", "app")["spec"].take();
    spec["rules"][0]["backendRefs"][0]["weight"] = json!(100);
    spec["rules"][0]["backendRefs"][1]["weight"] = json!(0);
    let manifest = named(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        "app",
        &json!({ "spec": spec }),
    );
    for _ in 0..40 {
        if stage.weight() != Some(0) {
            stage.change(&manifest).await;
        }
        stage.pass(1).await;
    }
    assert_eq!(stage.why("reason"), "Contested", "{}", stage.why("message"));
    assert!(
        stage.why("message").contains("team"),
        "the rival's field manager: {}",
        stage.why("message")
    );
    assert_eq!(stage.status()["canaryWeight"], 20, "the intended weight stands");
    assert_eq!(stage.events_with("changed back by field manager team"), 1);
    stage.until_phase("Succeeded").await;
}

/// Rank 13: also without analysis, and with what the Service had of its own.
#[tokio::test(start_paused = true)]
async fn a_live_application_is_taken_over_without_a_lost_request() {
    for provider in ["gatewayapi:v1", "contour"] {
        for skip in [false, true] {
            let mut setting = Setting::with_provider(provider).spec(&json!({ "skipAnalysis": skip }));
            let service = json!({
                "metadata": { "labels": { "team": "a" }, "annotations": { "note": "kept" } },
                "spec": { "ports": [
                    { "name": "http", "port": 80, "targetPort": "http" },
                    { "name": "admin", "port": 9000, "targetPort": 9000 },
                ] },
            });
            setting = setting.service(&service).script(|script| {
                script.pace(Pace {
                    ready: Duration::from_secs(20),
                    router: Duration::from_secs(8),
                    ..Pace::default()
                })
            });
            let stage = setting.initialized().await;
            no_request_lost(&stage);
            let service = stage.object("v1", "Service", "app");
            assert_eq!(service["metadata"]["labels"]["team"], "a");
            assert_eq!(service["metadata"]["annotations"]["note"], "kept");
            assert_eq!(service["spec"]["ports"][1]["name"], "admin");
        }
    }
}

/// Rank 13: a whole release, with slow pods and a slow router.
#[tokio::test(start_paused = true)]
async fn no_request_is_lost_in_a_whole_life_with_a_slow_data_plane() {
    for provider in ["gatewayapi:v1", "contour"] {
        let pace = Pace {
            ready: Duration::from_secs(9),
            router: Duration::from_secs(1),
            stop: Duration::from_secs(10),
            ..Pace::default()
        };
        let stage = Setting::with_provider(provider)
            .script(|script| {
                script
                    .pace(pace)
                    .life(Pods::image("app:3"), Life::ReadyAfter(Duration::from_secs(15)))
            })
            .initialized()
            .await;
        for image in ["app:2", "app:3"] {
            stage.push(image).await;
            stage
                .until("promoted", |stage| {
                    stage.phase() == "Succeeded" && stage.image("app-primary") == image
                })
                .await;
        }
        stage.push("app:4").await;
        stage.until_weight(40).await;
        stage.push("app:3").await;
        stage.until_stage("Resting").await;
        stage.delete(CANARY, "Canary", "app").await;
        stage.until("gone", |stage| stage.canary().is_null()).await;
        stage.pass(60).await;
        no_request_lost(&stage);
    }
}

/// Rank 16: the whole application is uninstalled.
#[tokio::test(start_paused = true)]
async fn a_canary_whose_target_goes_too_is_released_at_once() {
    let stage = Setting::new().initialized().await;
    stage.delete("apps/v1", "Deployment", "app").await;
    stage.delete(CANARY, "Canary", "app").await;
    let before = stage.clock.now();
    stage.until("gone", |stage| stage.canary().is_null()).await;
    assert!((stage.clock.now() - before).num_seconds() <= 20);
}

/// Rank 16.
#[tokio::test(start_paused = true)]
async fn a_namespace_goes_without_waiting_for_a_hand_back() {
    let stage = Setting::new()
        .spec(&json!({ "revertOnDeletion": true }))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(stage.team.clone());
    namespaces
        .delete("test", &kube::api::DeleteParams::default())
        .await
        .expect("accepted");
    let before = stage.clock.now();
    stage.until("gone", |stage| stage.canary().is_null()).await;
    assert!((stage.clock.now() - before).num_seconds() <= 30);
}

/// Rank 16: bounded, whatever is missing.
#[tokio::test(start_paused = true)]
async fn a_hand_back_to_a_target_that_does_not_come_up_ends_at_its_deadline() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:2"), Life::NeverReady))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    stage.delete(CANARY, "Canary", "app").await;
    let before = stage.clock.now();
    stage.until("gone", |stage| stage.canary().is_null()).await;
    let took = (stage.clock.now() - before).num_seconds();
    assert!(
        (55..=90).contains(&took),
        "progressDeadlineSeconds is 60; it took {took}"
    );
}

/// Rank 17: the API server answers no read for a while in the middle of a run.
#[tokio::test(start_paused = true)]
async fn reads_that_fail_for_a_while_change_nothing_but_the_time() {
    let calls = Mishap::new(0, How::Counted);
    let stage = Setting::new().fault(calls.clone()).initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.note("reads fail");
    calls.reads_fail(true);
    stage.pass(30).await;
    stage.note("and a new process cannot read either");
    stage.serin.kill();
    stage.serin.start();
    stage.pass(30).await;
    stage.note("reads succeed");
    calls.reads_fail(false);
    stage.until_phase("Succeeded").await;
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
    let images: Vec<_> = stage
        .story
        .primary_templates()
        .into_iter()
        .map(|(_, image)| image)
        .collect();
    assert_eq!(images, ["app:1", "app:2"]);
    no_request_lost(&stage);
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

/// Rank 20: a route that nobody accepts, a pod that never comes, a gate: each has an end or a name.
#[tokio::test(start_paused = true)]
async fn a_run_whose_route_is_never_accepted_is_rolled_back_with_the_routers_words() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage
        .world
        .change(|script| script.router("app", RouterSays::Rejects("no such listener".into())));
    stage
        .until("told why", |stage| stage.why("message").contains("no such listener"))
        .await;
    stage.until_stage("RollingBack").await;
    stage.world.change(|script| script.router("app", RouterSays::Accepts));
    stage.until_phase("Failed").await;
    assert_eq!(stage.image("app-primary"), "app:1");
}

/// Rank 24: pods that come one after another, each within the deadline.
#[tokio::test(start_paused = true)]
async fn the_deadline_measures_the_lack_of_progress() {
    let stage = Setting::new().initialized().await;
    let of_the_target = Pods::image("app:2").and(Pods::Labelled("app".into(), "app".into()));
    stage
        .world
        .change(|script| script.life(of_the_target, Life::NeverReady));
    stage.push("app:2").await;
    for ready in 1..=3 {
        stage.pass(45).await;
        let mut pods: Vec<String> = stage
            .api
            .objects("v1", "Pod", "test")
            .iter()
            .filter(|pod| pod["spec"]["containers"][0]["image"] == "app:2")
            .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        pods.sort();
        let name = pods.get(ready - 1).cloned().expect("three pods must be there");
        stage
            .world
            .change(|script| script.life(Pods::Named(name), Life::ReadyAfter(Duration::from_secs(1))));
    }
    stage.until_phase("Succeeded").await;
}

/// Rank 25: a slow router.
#[tokio::test(start_paused = true)]
async fn the_target_goes_down_and_a_step_counts_only_after_the_router_confirmed() {
    let pace = Pace {
        router: Duration::from_secs(25),
        ..Pace::default()
    };
    let stage = Setting::new().script(|script| script.pace(pace)).initialized().await;
    stage.push("app:2").await;
    stage.until_phase("Succeeded").await;
    let writes = stage.story.timed_weights();
    let confirmed = stage.story.confirmations();
    for pair in writes.windows(2).filter(|pair| pair[0].1 > 0 && pair[1].1 > pair[0].1) {
        let (from, to) = (pair[0].0, pair[1].0);
        let at = confirmed
            .iter()
            .find(|at| **at > from)
            .expect("the router must have confirmed");
        assert!((to - *at).num_seconds() >= 10, "{writes:?} {confirmed:?}");
    }
    no_request_lost(&stage);
}

/// Rank 26.
#[tokio::test(start_paused = true)]
async fn conditions_tell_ready_busy_and_stuck_apart() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:3"), Life::NeverReady))
        .initialized()
        .await;
    let seen = |stage: &Stage| ["Promoted", "Ready", "Reconciling", "Stalled"].map(|type_| stage.condition(type_).0);
    assert_eq!(seen(&stage), ["True", "True", "False", "False"]);
    stage.push("app:2").await;
    stage.until_weight(20).await;
    assert_eq!(seen(&stage), ["Unknown", "False", "True", "False"]);
    stage.until_phase("Succeeded").await;
    assert_eq!(seen(&stage), ["True", "True", "False", "False"]);
    stage.push("app:3").await;
    stage.until_phase("Failed").await;
    assert_eq!(seen(&stage), ["False", "False", "False", "True"]);
    assert_eq!(stage.status()["conditions"][0]["type"], "Promoted", "always the first");
    assert_eq!(
        stage.status()["observedGeneration"],
        stage.canary()["metadata"]["generation"]
    );
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

/// Rank 34, W13: two processes that both believe they are alone.
#[tokio::test(start_paused = true)]
async fn two_controllers_at_once_advance_a_canary_as_one_would() {
    for seed in 1..=3 {
        let stage = Setting::new().seed(seed).initialized().await;
        stage.serin.start();
        stage.pass(20).await;
        stage.push("app:2").await;
        stage
            .until("promoted", |stage| {
                stage.image("app-primary") == "app:2" && stage.phase() == "Succeeded"
            })
            .await;
        steps_last_their_interval(&stage);
        assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
        let images: Vec<_> = stage
            .story
            .primary_templates()
            .into_iter()
            .map(|(_, image)| image)
            .collect();
        assert_eq!(images, ["app:1", "app:2"], "the primary is written once");
    }
}

/// Rank 34: with the Lease one acts, and the other takes over when it dies.
#[tokio::test(start_paused = true)]
async fn with_a_lease_the_second_process_takes_over_where_the_first_one_died() {
    let stage = Setting::new()
        .settings(|it| {
            it.election = Election::Lease {
                namespace: "default".into(),
            }
        })
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_weight(40).await;
    stage.serin.kill();
    let died = stage.clock.now();
    stage.serin.start();
    stage.until_phase("Succeeded").await;
    steps_last_their_interval(&stage);
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
    let next = stage
        .story
        .timed_weights()
        .into_iter()
        .find(|(at, _)| *at > died)
        .expect("more writes must follow");
    assert!(
        (next.0 - died).num_seconds() >= 30,
        "the Lease of the dead one was waited out"
    );
}

fn steps_last_their_interval(stage: &Stage) {
    let writes = stage.story.timed_weights();
    for pair in writes.windows(2).filter(|pair| pair[0].1 > 0 && pair[1].1 > pair[0].1) {
        let span = (pair[1].0 - pair[0].0).num_milliseconds();
        assert!(span >= 10_000, "a step of {span} ms: {writes:?}");
    }
}

/// W13: neither a restart nor an edit of the interval makes a step shorter.
#[tokio::test(start_paused = true)]
async fn restarts_and_edits_of_the_interval_do_not_shorten_a_step() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.pass(8).await;
    stage.serin.kill();
    stage.serin.start();
    stage.until_weight(40).await;
    stage.pass(5).await;
    stage.edit_canary(json!({ "analysis": { "interval": "20s" } })).await;
    stage.until_phase("Succeeded").await;
    steps_last_their_interval(&stage);
    let writes = stage.story.timed_weights();
    let of = |weight: u64| writes.iter().find(|(_, it)| *it == weight).expect("written").0;
    assert!((of(60) - of(40)).num_seconds() >= 20, "{writes:?}");
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

/// Invariant 8, W33: nothing is written at rest, also not while Failed.
#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_written_whatever_the_phase() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:3"), Life::NeverReady))
        .initialized()
        .await;
    let at_rest = async |stage: &Stage| {
        stage.pass(60).await;
        let writes = stage.story.writes_of_serin();
        stage.pass(1800).await;
        assert_eq!(stage.story.writes_of_serin(), writes, "in phase {}", stage.phase());
    };
    at_rest(&stage).await;
    for (image, phase) in [("app:2", "Succeeded"), ("app:3", "Failed")] {
        stage.push(image).await;
        stage.until_phase(phase).await;
        at_rest(&stage).await;
    }
}

/// E27.
#[tokio::test(start_paused = true)]
async fn a_suspended_canary_stands_still_and_goes_on_with_a_whole_interval() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_weight(40).await;
    stage.edit_canary(json!({ "suspend": true })).await;
    stage.pass(300).await;
    assert_eq!(stage.weight(), Some(40));
    assert_eq!(
        stage.events_with("skipping canary run as object is suspended"),
        1,
        "said once"
    );
    stage.edit_canary(json!({ "suspend": false })).await;
    let before = stage.clock.now();
    stage.until_weight(60).await;
    assert!((stage.clock.now() - before).num_seconds() >= 10);
    stage.until_phase("Succeeded").await;
}

/// Rank 38 of the status: what Flagger's tools read.
#[tokio::test(start_paused = true)]
async fn serins_own_metrics_follow_the_runs() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:3"), Life::NeverReady))
        .initialized()
        .await;
    let read = |stage: &Stage| {
        stage
            .serin
            .last(|process| process.metrics.text().expect("metrics must be readable"))
    };
    let has = |stage: &Stage, line: &str| {
        let text = read(stage);
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    };
    has(&stage, r#"flagger_canary_status{name="app",namespace="test"} 1"#);
    stage.push("app:2").await;
    stage.until_weight(20).await;
    stage.pass(1).await;
    has(&stage, r#"flagger_canary_status{name="app",namespace="test"} 0"#);
    has(&stage, r#"flagger_canary_weight{workload="app",namespace="test"} 20"#);
    has(
        &stage,
        r#"flagger_canary_weight{workload="app-primary",namespace="test"} 80"#,
    );
    stage.until_phase("Succeeded").await;
    stage.pass(1).await;
    has(
        &stage,
        r#"flagger_canary_successes_total{name="app",namespace="test",deployment_strategy="canary",analysis_status="completed"} 1"#,
    );
    stage.push("app:3").await;
    stage.until_phase("Failed").await;
    stage.pass(1).await;
    has(&stage, r#"flagger_canary_status{name="app",namespace="test"} 2"#);
    has(
        &stage,
        r#"flagger_canary_failures_total{name="app",namespace="test",deployment_strategy="canary",analysis_status="completed"} 1"#,
    );
    let spec: Value = json!({ "skipAnalysis": true });
    stage.edit_canary(spec).await;
    stage.push("app:4").await;
    stage
        .until("skipped", |stage| {
            stage.image("app-primary") == "app:4" && stage.phase() == "Succeeded"
        })
        .await;
    stage.pass(1).await;
    has(
        &stage,
        r#"flagger_canary_successes_total{name="app",namespace="test",deployment_strategy="canary",analysis_status="skipped"} 1"#,
    );
}
