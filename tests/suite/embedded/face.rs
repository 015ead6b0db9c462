//! What tools read: conditions, metrics, and silence at rest (ranks 26 and 33 of `spec/users.md`).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use serin::{
    controller::settings::Election,
    sim::world::script::{Life, Pods},
};

use super::{setting::Setting, stage::Stage};

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

/// Rank 38 of the status: what Flagger's tools read.
#[tokio::test(start_paused = true)]
async fn core_065_serins_own_metrics_follow_the_runs() {
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
    has(&stage, r#"flagger_canary_weight{workload="app",namespace="test"} 0"#);
    has(
        &stage,
        r#"flagger_canary_weight{workload="app-primary",namespace="test"} 100"#,
    );
    stage.push("app:5").await;
    stage.until_weight(20).await;
    stage.push("app:2").await;
    stage.until_reason("Reverted").await;
    stage.pass(1).await;
    has(
        &stage,
        r#"flagger_canary_successes_total{name="app",namespace="test",deployment_strategy="canary",analysis_status="completed"} 1"#,
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

/// Not from each step: an alert on releases that are stuck could never fire.
#[tokio::test(start_paused = true)]
async fn seconds_in_a_phase_count_from_its_start_also_after_a_restart() {
    let stage = Setting::new().initialized().await;
    stage.push("app:2").await;
    stage.until_phase("Progressing").await;
    let begun = stage.clock.now();
    let late = |stage: &Stage| {
        let text = stage
            .serin
            .last(|process| process.metrics.text().expect("metrics must be readable"));
        let line = text
            .lines()
            .find(|line| line.starts_with("serin_canary_phase_seconds") && line.contains("Progressing"));
        let seconds = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        let real = (stage.clock.now() - begun).as_seconds_f64();
        (seconds.unwrap_or_default() - real).abs()
    };
    stage.until_weight(40).await;
    stage.pass(1).await;
    assert!(late(&stage) < 6.0, "{}", late(&stage));
    stage.serin.kill();
    stage.serin.start();
    stage.until_weight(60).await;
    stage.pass(1).await;
    assert!(late(&stage) < 6.0, "{} after a restart", late(&stage));
}

/// What one release costs the API server: no read at all, and every write has its reason.
#[tokio::test(start_paused = true)]
async fn a_release_of_three_steps_sends_the_writes_that_it_needs_and_reads_nothing() {
    for provider in ["gatewayapi:v1", "contour"] {
        let stage = Setting::with_provider(provider)
            .settings(|it| {
                it.election = Election::Lease {
                    namespace: "default".into(),
                }
            })
            .initialized()
            .await;
        let before = stage.api.audit().len();
        stage.push("app:2").await;
        stage.until_phase("Succeeded").await;
        stage.pass(60).await;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for entry in stage.api.audit().into_iter().skip(before) {
            let of_ours = entry.user.starts_with("serin") && entry.resource != "leases" && entry.verb != "watch";
            if of_ours {
                let dry = if entry.dry_run { " dry" } else { "" };
                let what = format!("{} {} {}{dry}", entry.verb, entry.resource, entry.subresource);
                *counts.entry(what.trim_end().to_owned()).or_default() += 1;
            }
        }
        let routes = if provider == "contour" {
            "httpproxies"
        } else {
            "httproutes"
        };
        let all: usize = counts
            .iter()
            .filter(|(what, _)| !what.ends_with("dry"))
            .map(|(_, count)| count)
            .sum();
        let of = |what: &str| counts.get(what).copied().unwrap_or(0);
        let reads: usize = ["get", "list"]
            .iter()
            .map(|verb| counts.iter().filter(|(what, _)| what.starts_with(verb)).count())
            .sum();
        assert_eq!(reads, 0, "{provider}: {counts:#?}");
        assert!(of("update canaries status") <= 8, "{provider}: {counts:#?}");
        assert_eq!(of(&format!("patch {routes}")), 4, "{provider}: {counts:#?}");
        // Up, the primary's template, down.
        assert_eq!(of("patch deployments"), 3, "{provider}: {counts:#?}");
        assert!(
            of("create controllerrevisions") + of("delete controllerrevisions") <= 2,
            "{provider}: {counts:#?}"
        );
        assert!(of("create events") <= 11, "{provider}: {counts:#?}");
        assert!(all <= 28, "{provider}: {counts:#?}");
        let dry: usize = counts
            .iter()
            .filter(|(what, _)| what.ends_with("dry"))
            .map(|(_, count)| count)
            .sum();
        assert!(dry <= 4, "{provider}: {counts:#?}");
    }
}
