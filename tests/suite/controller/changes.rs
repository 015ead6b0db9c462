//! The cluster changes under a controller at work: its watches break, its CRD is replaced, another process looks on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use serin::{
    api,
    controller::settings::Settings,
    sim::{
        fault::{Action, Fault, RequestInfo},
        world::hooks::HookSays,
    },
};

use super::house::House;

/// Watches that were left behind by a compaction begin again with a list, and nothing is lost by it.
#[tokio::test(start_paused = true)]
async fn a_history_that_is_gone_costs_lists_and_nothing_else() {
    let house = House::new().await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    let lists = |house: &House| house.requests().iter().filter(|it| it.contains(" list ")).count();
    let before = lists(&house);
    for image in ["podinfo:2", "podinfo:3"] {
        house.release(image).await;
        // A watch lasts for almost five minutes, and what it has seen last is soon too old to go on from.
        for tick in 0..160 {
            let note = json!({"metadata": {"annotations": {"tick": tick.to_string()}}});
            let mut target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "test", "name": "podinfo"}});
            json_patch::merge(&mut target, &note);
            house.change(&target).await;
            house.api.compact();
            house.pass(2).await;
        }
        house.until("Succeeded", 600).await;
        assert_eq!(house.image("podinfo-primary"), image);
        assert_eq!((house.replicas("podinfo"), house.weights()), (0, (100, 0)));
    }
    assert!(lists(&house) > before, "no watch was ever told 410");
}

/// Flagger's chart installs its own CRD over ours: what Serin writes of itself is pruned, so no step can be remembered.
#[tokio::test(start_paused = true)]
async fn a_crd_that_forgets_our_status_ends_all_doing_until_it_is_put_right() {
    let house = House::new().await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    house.release("podinfo:2").await;
    house.until("Progressing", 60).await;
    house.pass(15).await;
    let ours = api::crd::crds();
    let canary = ours
        .iter()
        .find(|crd| crd.spec.names.kind == "Canary")
        .expect("must be there");
    let mut foreign = serde_json::to_value(canary).expect("must be JSON");
    for version in foreign["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let status = &mut version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
        status.as_object_mut().expect("must be a schema").remove("serin");
    }
    house
        .api
        .apply_crd(&serde_json::from_value(foreign).expect("must be a CRD"));
    for _ in 0..60 {
        house.pass(1).await;
    }
    assert!(house.has_ended(), "it went on without a memory");
    let (weights, image) = (house.weights(), house.image("podinfo-primary"));
    house.pass(120).await;
    assert_eq!((house.weights(), house.image("podinfo-primary")), (weights, image));
    assert_eq!(house.canary()["status"]["serin"], Value::Null, "the CRD prunes");
    house.api.apply_crd(canary);
    house.restart();
    house.until("Succeeded", 600).await;
    assert_eq!(house.image("podinfo-primary"), "podinfo:2");
    assert_eq!((house.replicas("podinfo"), house.weights()), (0, (100, 0)));
}

/// `--observe-only` beside the controller that acts, as beside Flagger: it writes nothing and changes nothing about the run.
#[tokio::test(start_paused = true)]
async fn an_observer_beside_a_run_writes_nothing() {
    let house = House::new().await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 120).await;
    let hooks = [
        ("confirm-rollout", "gate"),
        ("pre-rollout", "smoke"),
        ("rollout", "load"),
        ("rollback", "button"),
    ];
    let hooks = hooks.map(|(type_, name)| json!({"name": name, "type": type_, "url": format!("http://{name}")}));
    house.hooks.answer("button", [HookSays::No("no".into())]);
    let mut canary = house.canary_manifest();
    canary["spec"]["analysis"]["webhooks"] = json!(hooks);
    house.change(&canary).await;
    let (observer, its_hooks, its_metrics) = house.observe_beside();
    house.pass(5).await;
    house.release("podinfo:2").await;
    house.until("Succeeded", 600).await;
    house.pass(60).await;
    assert!(!observer.is_finished());
    observer.abort();
    assert!(house.hooks.calls_to("smoke").len() == 1 && house.hooks.calls_to("load").len() > 1);
    assert_eq!(its_hooks.calls(), [], "whoever acts calls the hooks");
    let shown = its_metrics.text().expect("metrics must be readable");
    assert!(!shown.contains("podinfo"), "whoever acts counts its releases: {shown}");
    let requests = house.requests_of("observer");
    assert!(!requests.is_empty());
    let is_read = |it: &&String| [" get ", " list "].iter().any(|verb| it.contains(verb));
    let writes: Vec<&String> = requests.iter().filter(|it| !is_read(it)).collect();
    assert_eq!(writes, Vec::<&String>::new());
    assert_eq!(house.image("podinfo-primary"), "podinfo:2");
    assert_eq!(house.canary()["status"]["conditions"][0]["status"], json!("True"));
}

/// Panics in the middle of the first passes that write a route.
#[derive(Default)]
struct Slip(AtomicUsize);

impl Fault for Slip {
    fn on_request(&self, request: &RequestInfo) -> Action {
        let writes_a_route = request.resource == "httproutes" && request.verb == "patch";
        assert!(!writes_a_route || self.0.fetch_add(1, Ordering::SeqCst) >= 3, "a bug");
        Action::Pass
    }
}

/// W25 of `spec/core.md` 7.3: a bug in one pass ends neither the process nor the release.
#[tokio::test(start_paused = true)]
async fn a_pass_that_panics_is_tried_again_from_the_status() {
    let slip = Arc::new(Slip::default());
    let house = House::faulty(Settings::default(), slip.clone()).await;
    house.app("gatewayapi:v1").await;
    house.until("Initialized", 300).await;
    house.release("podinfo:2").await;
    house.until("Succeeded", 900).await;
    assert!(slip.0.load(Ordering::SeqCst) > 3, "no pass has panicked");
    assert!(!house.has_ended());
    assert_eq!((house.replicas("podinfo"), house.weights()), (0, (100, 0)));
}
