//! Pods that do not come up: why is read once, live, and said (ranks 24 and 52 of `spec/users.md`).

use std::sync::Arc;

use serin::sim::{
    fault::{Action, Fault, RequestInfo},
    world::script::{Life, Pods},
};

use super::{
    process::{How, Mishap},
    setting::Setting,
    stage::Stage,
};

fn lists_of_pods(mishap: &Arc<Mishap>) -> usize {
    let is_list = |request: &RequestInfo| request.verb == "list" && request.resource == "pods";
    mishap.requests().iter().filter(|request| is_list(request)).count()
}

async fn released(life: Life) -> (Stage, Arc<Mishap>) {
    let mishap = Mishap::new(0, How::Counted);
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:2"), life))
        .mishap(mishap.clone())
        .initialized()
        .await;
    mishap.arm(&stage.serin);
    stage.push("app:2").await;
    (stage, mishap)
}

/// F#1533 of `spec/users.md`: the image cannot be pulled.
#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_pulled_is_named_while_it_is_waited_for_and_in_the_alert() {
    let (stage, mishap) = released(Life::ImagePullBackOff).await;
    stage
        .until("said", |stage| stage.why("message").contains("ImagePullBackOff"))
        .await;
    assert_eq!(stage.why("reason"), "WaitingForCanary");
    stage.until_phase("Failed").await;
    let alerts = stage.alerts();
    assert!(
        alerts
            .iter()
            .any(|(severity, text)| severity == "Error" && text.contains("3 pods ImagePullBackOff of container app")),
        "{alerts:?}"
    );
    assert_eq!(
        stage.events_with("app.test does not come up: 3 pods ImagePullBackOff"),
        1
    );
    let lists = lists_of_pods(&mishap);
    assert!((1..=4).contains(&lists), "{lists} lists in a minute");
    stage.pass(3600).await;
    assert_eq!(lists_of_pods(&mishap), lists, "at rest nobody looks");
}

/// Pods that take their time and come up cost one look, and nothing is said.
#[tokio::test(start_paused = true)]
async fn pods_that_are_only_slow_are_no_trouble() {
    let (stage, mishap) = released(Life::ReadyAfter(std::time::Duration::from_secs(14))).await;
    stage.until_phase("Succeeded").await;
    assert!(lists_of_pods(&mishap) <= 6, "a look for each pod of two rolls at most");
    assert_eq!(stage.events_with("does not come up"), 0);
}

/// The right to list pods may be missing: then nobody knows why, and everything else is as ever.
#[tokio::test(start_paused = true)]
async fn without_the_right_to_list_pods_a_run_ends_as_ever() {
    let stage = Setting::new()
        .script(|script| script.life(Pods::image("app:2"), Life::ImagePullBackOff))
        .fault(Arc::new(NoPods))
        .initialized()
        .await;
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    assert_eq!(stage.events_with("ImagePullBackOff"), 0);
}

/// A role without `pods`.
struct NoPods;

impl Fault for NoPods {
    fn on_request(&self, request: &RequestInfo) -> Action {
        if request.resource == "pods" {
            Action::Forbid("pods is forbidden".into())
        } else {
            Action::Pass
        }
    }
}
