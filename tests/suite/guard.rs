//! The start-up guard on the embedded API server.

use std::time::Duration;

use chrono::DateTime;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;
use serin::api::crd;
use serin::clock::Clock;
use serin::controller::guard::{Guard, Pod};
use serin::controller::settings::Settings;
use serin::sim::apiserver::{ApiServer, Denial, Options};
use serin::telemetry::health::Health;
use tokio::task::JoinHandle;

struct World {
    server: ApiServer,
    health: Health,
    passed: JoinHandle<()>,
}

fn api_server() -> ApiServer {
    let start = DateTime::from_timestamp(1_700_000_000, 0).expect("a fixed time must be valid");
    ApiServer::new(Options {
        clock: Clock::virtual_at(start),
        ..Options::default()
    })
}

/// Our Canary CRD without these fields, each a path of properties.
fn canary_without(fields: &[&[&str]]) -> CustomResourceDefinition {
    let crd = crd::crds()
        .into_iter()
        .find(|crd| crd.spec.names.kind == "Canary")
        .expect("there must be one");
    let mut crd = serde_json::to_value(crd).expect("it must be plain JSON");
    for path in fields {
        let (last, parents) = path.split_last().expect("a path must not be empty");
        let mut node: &mut Value = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        for parent in parents {
            node = &mut node[*parent]["properties"];
        }
        node.as_object_mut()
            .expect("it must be a schema")
            .remove(*last)
            .expect("the field must be there");
    }
    serde_json::from_value(crd).expect("it must still be a CRD")
}

fn install(server: &ApiServer, canary: &CustomResourceDefinition) {
    for crd in crd::crds().iter().filter(|crd| crd.spec.names.kind != "Canary") {
        server.apply_crd(crd);
    }
    server.apply_crd(canary);
}

async fn guarded(server: ApiServer, settings: Settings) -> World {
    let health = Health::default();
    let pod = Pod {
        namespace: "default".into(),
        name: "serin-0".into(),
    };
    let guard = Guard::new(
        server.client("serin"),
        settings,
        health.clone(),
        server.clock().clone(),
        Some(pod),
    );
    let passed = tokio::spawn(async move { guard.passed().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    World { server, health, passed }
}

impl World {
    fn words(&self) -> String {
        self.health.ready().lines.join("\n")
    }

    fn event(&self) -> String {
        let events = self.server.objects("v1", "Event", "default");
        events
            .first()
            .and_then(|event| event["message"].as_str())
            .unwrap_or_default()
            .to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_as_it_should_be_passes_at_once() {
    let server = api_server();
    install(&server, &canary_without(&[]));
    let world = guarded(server, Settings::default()).await;
    assert!(world.passed.is_finished(), "{}", world.words());
    assert!(world.health.ready().good && world.event().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_missing_crd_is_named_and_waited_for() {
    let world = guarded(api_server(), Settings::default()).await;
    assert!(!world.passed.is_finished() && !world.health.ready().good);
    for name in [
        "canaries.flagger.app",
        "metrictemplates.flagger.app",
        "alertproviders.flagger.app",
    ] {
        assert!(
            world.words().contains(&format!("the CRD {name} is not installed")),
            "{}",
            world.words()
        );
    }
    assert!(world.words().contains("serin crds") && world.event().contains("is not installed"));
    install(&world.server, &canary_without(&[]));
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert!(
        world.passed.is_finished() && world.health.ready().good,
        "{}",
        world.words()
    );
}

#[tokio::test(start_paused = true)]
async fn flaggers_own_crd_is_told_from_ours() {
    let server = api_server();
    install(
        &server,
        &canary_without(&[&["status", "serin"], &["spec", "promotion"]]),
    );
    let world = guarded(server, Settings::default()).await;
    assert!(!world.passed.is_finished());
    assert!(
        world.words().contains("canaries.flagger.app is Flagger's, not Serin's"),
        "{}",
        world.words()
    );
}

#[tokio::test(start_paused = true)]
async fn a_crd_of_an_older_serin_is_told_by_what_it_lacks() {
    let server = api_server();
    install(
        &server,
        &canary_without(&[&["spec", "promotion"], &["spec", "analysis", "steps"]]),
    );
    let world = guarded(server, Settings::default()).await;
    assert!(!world.passed.is_finished());
    let words = world.words();
    assert!(
        words.contains("it lacks spec.analysis.steps, spec.promotion"),
        "{words}"
    );
}

fn denial(verb: &str, group: &str, resource: &str) -> Denial {
    Denial {
        user: "serin".into(),
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
    }
}

#[tokio::test(start_paused = true)]
async fn missing_rights_are_named_by_verb_and_resource() {
    let server = api_server();
    install(&server, &canary_without(&[]));
    server.deny(denial("patch", "apps", "deployments"));
    server.deny(denial("update", "flagger.app", "canaries/status"));
    let world = guarded(server, Settings::default()).await;
    assert!(!world.passed.is_finished());
    for words in [
        "Serin may not patch deployments.apps",
        "Serin may not update canaries/status.flagger.app",
        "serin rbac",
    ] {
        assert!(world.words().contains(words), "{}", world.words());
    }
    world.server.allow_all();
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert!(world.passed.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_right_that_only_some_canaries_need_is_a_warning() {
    let server = api_server();
    install(&server, &canary_without(&[]));
    server.deny(denial("get", "", "secrets"));
    server.deny(denial("*", "projectcontour.io", "httpproxies"));
    let settings = Settings {
        config_tracking: false,
        ..Settings::default()
    };
    let world = guarded(server, settings).await;
    assert!(
        world.passed.is_finished() && world.health.ready().good,
        "{}",
        world.words()
    );
    assert!(
        world.words().contains("needed for contour") && world.words().contains("secretRef"),
        "{}",
        world.words()
    );
}

/// It is on by default, so who installs Serin without the chart hears which right it takes and how to do without.
#[tokio::test(start_paused = true)]
async fn a_right_that_following_configurations_takes_is_told_with_the_flag_that_turns_it_off() {
    for (config_tracking, passes) in [(true, false), (false, true)] {
        let server = api_server();
        install(&server, &canary_without(&[]));
        server.deny(denial("list", "", "configmaps"));
        let settings = Settings {
            config_tracking,
            ..Settings::default()
        };
        let world = guarded(server, settings).await;
        assert_eq!(world.passed.is_finished(), passes, "{}", world.words());
        for words in [
            "Serin may not list configmaps, which -enable-config-tracking takes",
            "-enable-config-tracking=false (configTracking.enabled=false in the chart)",
        ] {
            assert_eq!(world.words().contains(words), !passes, "{}", world.words());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_namespace_can_be_served_without_any_right_outside_it() {
    for (namespace, passes) in [(Some("apps".to_owned()), true), (None, false)] {
        let server = api_server();
        install(&server, &canary_without(&[]));
        server.deny(denial("get", "apiextensions.k8s.io", "customresourcedefinitions"));
        server.deny(denial("get", "", "namespaces"));
        let settings = Settings {
            namespace,
            ..Settings::default()
        };
        let world = guarded(server, settings).await;
        assert_eq!(world.passed.is_finished(), passes, "{}", world.words());
        assert!(
            world.words().contains("may not get customresourcedefinitions"),
            "{}",
            world.words()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_providers_rights_are_needed() {
    let server = api_server();
    install(&server, &canary_without(&[]));
    server.deny(denial("*", "projectcontour.io", "httpproxies"));
    let settings = Settings {
        mesh_provider: "contour".into(),
        ..Settings::default()
    };
    let world = guarded(server, settings).await;
    assert!(!world.passed.is_finished());
}

#[tokio::test(start_paused = true)]
async fn observing_goes_on_in_spite_of_flaggers_crd() {
    let server = api_server();
    install(&server, &canary_without(&[&["status", "serin"]]));
    let settings = Settings {
        observe_only: true,
        ..Settings::default()
    };
    let world = guarded(server, settings).await;
    assert!(world.passed.is_finished());
    assert!(world.words().contains("is Flagger's") && world.event().is_empty());
}
