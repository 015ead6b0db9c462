//! Not all at once: limits on what is under way at the same time, and the line before them (rank 56 of `spec/users.md`).

use std::{collections::BTreeSet, num::NonZeroU32};

use serde_json::{Value, json};
use serin::{
    rollout::Limits,
    sim::{
        fault::{Action, Fault, NoFault, RequestInfo},
        world::{hooks::HookSays, manifests},
    },
};
use std::sync::Arc;

use super::{
    command::spoken,
    setting::{APP, NAMESPACE, Setting},
    stage::{Stage, named},
};

/// Everybody, the first of whom every setting has.
const APPS: [&str; 3] = [APP, "basket", "catalogue"];

/// Three applications of one namespace, with so many slots.
fn shop(limits: Limits) -> Setting {
    let mut setting = Setting::new().settings(|settings| settings.limits = limits);
    for name in &APPS[1..] {
        setting = setting.beside(name, 3, "gatewayapi:v1", &manifests::analysis("10s", 2, 60, 20));
    }
    setting
}

fn limits(fleet: u32, namespace: u32) -> Limits {
    Limits {
        fleet: NonZeroU32::new(fleet),
        namespace: NonZeroU32::new(namespace),
    }
}

fn status(stage: &Stage, name: &str) -> Value {
    stage.object("flagger.app/v1beta1", "Canary", name)["status"].take()
}

fn phase(stage: &Stage, name: &str) -> String {
    status(stage, name)["phase"].as_str().unwrap_or_default().to_owned()
}

fn reason(stage: &Stage, name: &str) -> String {
    let reason = status(stage, name)["serin"]["why"]["reason"].take();
    reason.as_str().unwrap_or_default().to_owned()
}

fn in_phase(stage: &Stage, wanted: &str) -> usize {
    APPS.iter().filter(|name| phase(stage, name) == wanted).count()
}

/// Plays until all are in this phase; returns the most that were under way at once, and everybody who was seen queued.
async fn play(stage: &Stage, until: &str, under_way: &[&str]) -> (usize, BTreeSet<&'static str>) {
    let (mut most, mut queued, mut seconds) = (0, BTreeSet::new(), 0);
    while in_phase(stage, until) < APPS.len() {
        let working = APPS
            .iter()
            .filter(|name| under_way.contains(&phase(stage, name).as_str()) && reason(stage, name) != "Queued");
        most = most.max(working.count());
        queued.extend(APPS.iter().filter(|name| reason(stage, name) == "Queued"));
        seconds += 1;
        let where_all_are = || APPS.map(|name| (phase(stage, name), reason(stage, name)));
        assert!(seconds < 2000, "not all came to {until}: {:?}", where_all_are());
        stage.pass(1).await;
    }
    (most, queued)
}

const RELEASING: [&str; 4] = ["Progressing", "WaitingPromotion", "Promoting", "Finalising"];

#[tokio::test(start_paused = true)]
async fn releases_of_one_commit_wait_for_each_other() {
    for limits in [limits(1, 0), limits(0, 1)] {
        let stage = shop(limits).raise().await;
        play(&stage, "Initialized", &[]).await;
        stage.pass(90).await;
        for name in APPS {
            stage.change(&manifests::image(NAMESPACE, name, "app:2")).await;
        }
        let (most, queued) = play(&stage, "Succeeded", &RELEASING).await;
        assert_eq!(
            (most, queued.len()),
            (1, 2),
            "{limits:?}: one at a time, each in its turn"
        );
        for name in APPS {
            assert_eq!(stage.image(&format!("{name}-primary")), "app:2");
        }
        assert_eq!(
            stage.events_with("Queued "),
            2 + 2,
            "said once in each wait: at takeover and now"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn takeovers_wait_for_each_other_and_leave_the_application_alone_meanwhile() {
    let stage = shop(limits(1, 0)).raise().await;
    stage
        .until("somebody in line", |stage| {
            APPS.iter().any(|name| reason(stage, name) == "Queued")
        })
        .await;
    let waits = APPS
        .iter()
        .find(|name| reason(&stage, name) == "Queued")
        .expect("one that waits");
    assert!(stage.deployment(&format!("{waits}-primary")).is_null());
    assert_eq!(stage.replicas(waits), 3);
    let (_, queued) = play(&stage, "Initialized", &[]).await;
    assert_eq!(queued.len(), 2);
}

/// A wait is no silence for tools: it is not ready, and under way.
#[tokio::test(start_paused = true)]
async fn who_waits_in_line_keeps_the_phase_and_says_so_in_the_conditions() {
    let stage = shop(limits(1, 0)).raise().await;
    play(&stage, "Initialized", &[]).await;
    stage.pass(90).await;
    for name in APPS {
        stage.change(&manifests::image(NAMESPACE, name, "app:2")).await;
    }
    stage
        .until("somebody in line", |stage| {
            APPS.iter().any(|name| reason(stage, name) == "Queued")
        })
        .await;
    let waits = APPS
        .iter()
        .find(|name| reason(&stage, name) == "Queued")
        .expect("one that waits");
    let status = status(&stage, waits);
    assert_eq!(status["phase"], "Initialized");
    let of = |type_: &str| {
        let conditions = status["conditions"].as_array().expect("conditions");
        let found = conditions.iter().find(|condition| condition["type"] == type_);
        found.map_or(Value::Null, |condition| condition["status"].clone())
    };
    assert_eq!(
        (of("Ready"), of("Reconciling"), of("Stalled")),
        (json!("False"), json!("True"), json!("False"))
    );
    // Nobody who waits for the promotion may take the last one for this.
    assert_eq!(of("Promoted"), json!("Unknown"));
    play(&stage, "Succeeded", &[]).await;
}

/// Who waits for a person does not hold the others up.
#[tokio::test(start_paused = true)]
async fn a_gate_that_stays_closed_gives_its_slot_back() {
    let stage = shop(limits(1, 0)).hooks(&[("confirm-promotion", "gate")]).raise().await;
    stage.hooks.answer("gate", [HookSays::No("not now".into())]);
    play(&stage, "Initialized", &[]).await;
    stage.pass(90).await;
    stage.push("app:2").await;
    stage.until_phase("WaitingPromotion").await;
    stage.change(&manifests::image(NAMESPACE, "basket", "app:2")).await;
    stage
        .until("the other's end", |stage| phase(stage, "basket") == "Succeeded")
        .await;
    assert_eq!(stage.phase(), "WaitingPromotion");
}

/// As little as a gate, a person who holds a run holds up the others; and a newer revision asks for a slot as any other does.
#[tokio::test(start_paused = true)]
async fn a_run_that_a_person_holds_gives_its_slot_back_and_asks_again_for_a_newer_revision() {
    for holds in ["gate", "pause", "suspend"] {
        let stage = shop(limits(1, 0))
            .hooks(&[("confirm-traffic-increase", "gate")])
            .raise()
            .await;
        play(&stage, "Initialized", &[]).await;
        stage.pass(90).await;
        stage.push("app:2").await;
        stage.until_weight(20).await;
        match holds {
            "gate" => stage.hooks.answer("gate", [HookSays::No("not now".into())]),
            "pause" => stage.say("pause", "1").await,
            _ => stage.edit_canary(json!({ "suspend": true })).await,
        }
        stage.pass(15).await;
        stage.change(&manifests::image(NAMESPACE, "basket", "app:2")).await;
        stage
            .until("the other's end", |stage| phase(stage, "basket") == "Succeeded")
            .await;
        assert_eq!(
            (stage.phase(), stage.weight()),
            ("Progressing".into(), Some(20)),
            "{holds}"
        );
        if holds == "suspend" {
            continue;
        }
        // Somebody else works again, and a newer revision comes for the one that is held.
        stage.change(&manifests::image(NAMESPACE, "catalogue", "app:2")).await;
        stage
            .until("the third one at work", |stage| {
                phase(stage, "catalogue") == "Progressing"
            })
            .await;
        stage.push("app:3").await;
        stage.until_weight(0).await;
        stage.until_reason("Queued").await;
        assert_eq!(phase(&stage, "catalogue"), "Progressing", "{holds}: it goes first");
        stage.hooks.answer("gate", [HookSays::Yes]);
        stage.until_phase("Succeeded").await;
        assert_eq!(phase(&stage, "catalogue"), "Succeeded", "{holds}");
        assert_eq!(stage.image("app-primary"), "app:3");
    }
}

/// The line is in the statuses: a new process finds it as it was.
#[tokio::test(start_paused = true)]
async fn a_new_process_finds_the_same_line() {
    let stage = shop(limits(1, 0)).raise().await;
    play(&stage, "Initialized", &[]).await;
    stage.pass(90).await;
    for name in APPS {
        stage.change(&manifests::image(NAMESPACE, name, "app:2")).await;
        stage.pass(12).await;
    }
    assert_eq!(
        (reason(&stage, "basket"), reason(&stage, "catalogue")),
        ("Queued".into(), "Queued".into())
    );
    // Whoever comes back to an older revision leaves the line.
    stage.change(&manifests::image(NAMESPACE, "basket", "app:1")).await;
    stage
        .until("it left the line", |stage| reason(stage, "basket") != "Queued")
        .await;
    assert_eq!(status(&stage, "basket")["serin"]["queued"], Value::Null);
    stage
        .change(&named(
            "flagger.app/v1beta1",
            "Canary",
            "catalogue",
            &json!({ "spec": { "suspend": true } }),
        ))
        .await;
    stage
        .until("it left the line", |stage| reason(stage, "catalogue") == "Suspended")
        .await;
    stage
        .change(&named(
            "flagger.app/v1beta1",
            "Canary",
            "catalogue",
            &json!({ "spec": { "suspend": false } }),
        ))
        .await;
    stage
        .until("the last one's end", |stage| phase(stage, "catalogue") == "Succeeded")
        .await;
}

/// What a command prints for somebody whose requests pass through this.
async fn serin(stage: &Stage, line: &str, fault: Arc<dyn Fault>) -> String {
    let (said, ended) = spoken(stage, stage.api.client_with("serin-cli", fault), line).await;
    ended.expect("it must be printed");
    said
}

/// A person who may read one namespace.
struct OneNamespace;

impl Fault for OneNamespace {
    fn on_request(&self, request: &RequestInfo) -> Action {
        if request.resource == "canaries" && request.namespace.is_empty() {
            Action::Forbid("no Canaries of the cluster".into())
        } else {
            Action::Pass
        }
    }
}

/// Readers find the places in the statuses; where they may not look, they say so.
#[tokio::test(start_paused = true)]
async fn get_and_why_tell_the_place_in_line() {
    let stage = shop(limits(1, 0)).raise().await;
    play(&stage, "Initialized", &[]).await;
    stage.pass(90).await;
    for name in APPS {
        stage.change(&manifests::image(NAMESPACE, name, "app:2")).await;
        stage.pass(12).await;
    }
    let anybody = || Arc::new(NoFault);
    let table = serin(&stage, "get", anybody()).await;
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(row("basket").contains("place 1 of 2"), "{table}");
    assert!(row("catalogue").contains("place 2 of 2"), "{table}");
    assert!(!row(APP).contains("place"), "{table}");
    let told = serin(&stage, "why catalogue", anybody()).await;
    assert!(
        told.contains("in line     place 2 of 2; the controller's limits are not known here"),
        "{told}"
    );
    let json: Value = serde_json::from_str(&serin(&stage, "get catalogue -o json", anybody()).await).expect("JSON");
    assert_eq!(json[0]["queue"], json!({"place": 2, "of": 2, "allNamespaces": true}));
    let told = serin(&stage, "why catalogue", Arc::new(OneNamespace)).await;
    assert!(
        told.contains("place 2 of 2 in this namespace") && told.contains("other namespaces are not counted"),
        "{told}"
    );
}

/// The exit code of a command, and what was printed, an error included.
async fn code(stage: &Stage, line: &str) -> (u8, String) {
    match spoken(stage, stage.api.client("serin-cli"), line).await {
        (said, Ok(())) => (0, said),
        (said, Err(error)) => (error.exit_code(), format!("{said}{error}")),
    }
}

/// A person may give up a revision before it has a slot. Until then its end is none for `serin wait`, and it is no revision to hand back to.
#[tokio::test(start_paused = true)]
async fn who_waits_in_line_is_not_over_stays_and_can_be_aborted() {
    let stage = shop(limits(1, 0)).raise().await;
    play(&stage, "Initialized", &[]).await;
    stage.pass(90).await;
    stage.push("app:2").await;
    stage.pass(12).await;
    stage.change(&manifests::image(NAMESPACE, "basket", "app:2")).await;
    stage
        .until("it is in line", |stage| reason(stage, "basket") == "Queued")
        .await;
    let (ended, said) = code(&stage, "wait basket --timeout 5s").await;
    assert_eq!(ended, 4, "{said}");
    let (ended, said) = code(&stage, "leave basket").await;
    assert_eq!(ended, 7, "{said}");
    assert!(
        said.contains("basket.test: stays: the target has a revision that was not promoted")
            && said.contains("(Queued: "),
        "{said}"
    );
    let (ended, said) = code(&stage, "promote basket --wait").await;
    assert_eq!(ended, 7, "{said}");
    assert!(said.contains("it begins by itself when there is a slot"), "{said}");
    let (ended, said) = code(&stage, "abort basket --reason later --wait").await;
    assert_eq!(ended, 0, "{said}");
    assert!(
        said.contains("the revision that waits for a slot is not released"),
        "{said}"
    );
    assert_eq!(
        (phase(&stage, "basket").as_str(), reason(&stage, "basket").as_str()),
        ("Failed", "Aborted")
    );
    assert_eq!(code(&stage, "wait basket").await.0, 3);
    stage.until_phase("Succeeded").await;
    stage.pass(120).await;
    assert_eq!(
        (
            phase(&stage, "basket").as_str(),
            stage.image("basket-primary").as_str(),
            stage.replicas("basket")
        ),
        ("Failed", "app:1", 0),
        "it is not tried"
    );
    assert_eq!(code(&stage, "retry basket --wait").await.0, 0);
    assert_eq!(code(&stage, "wait basket").await.0, 0);
    assert_eq!(stage.image("basket-primary"), "app:2");
}
