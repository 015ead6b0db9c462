//! The embedded cluster's controllers against the embedded API server.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use serin::{
    clock::Clock,
    controller::{self, Outside, Vitals, leader::Claim, settings::Settings},
    sim::{
        apiserver::{ApiServer, Options},
        world::{
            Script, SimCaller, SimReader, SimSender, World,
            invariants::Monitor,
            manifests, route_crds,
            script::{Life, Pace, Pods, RouterSays},
            traffic::Behaviour,
        },
    },
    telemetry::{health::Health, metrics::Metrics},
};

struct Stage {
    api: ApiServer,
    client: kube::Client,
    clock: Clock,
    world: World,
}

impl Stage {
    async fn with(script: Script, watch_delay: Duration) -> Self {
        let clock = Clock::virtual_at(DateTime::<Utc>::from_timestamp(1_700_000_000, 0).expect("must be a time"));
        let api = ApiServer::new(Options {
            seed: 7,
            watch_delay: Duration::ZERO..=watch_delay,
            clock: clock.clone(),
        });
        for crd in route_crds() {
            api.apply_crd(&crd);
        }
        let world = World::start(api.client("kube-controller-manager"), clock.clone(), script, 7);
        let stage = Self {
            client: api.client("team"),
            api,
            clock,
            world,
        };
        stage
            .create(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "test" } }))
            .await;
        stage
    }

    async fn new(script: Script) -> Self {
        Self::with(script, Duration::ZERO).await
    }

    async fn create(&self, manifest: &Value) {
        manifests::create(&self.client, manifest)
            .await
            .expect("the manifest must be accepted");
    }

    async fn change(&self, manifest: &Value) {
        manifests::change(&self.client, manifest)
            .await
            .expect("the change must be accepted");
    }

    async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    fn deployment(&self) -> Value {
        self.api
            .object("apps/v1", "Deployment", "test", "app")
            .expect("the Deployment must be there")
    }

    fn pods(&self) -> Vec<Value> {
        self.api.objects("v1", "Pod", "test")
    }

    fn condition(&self, type_: &str) -> (String, String) {
        let deployment = self.deployment();
        let conditions = deployment["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == type_)
            .cloned()
            .unwrap_or_default();
        (
            found["status"].as_str().unwrap_or_default().to_owned(),
            found["reason"].as_str().unwrap_or_default().to_owned(),
        )
    }

    fn ready_endpoints(&self, service: &str) -> usize {
        let slices = self.api.objects("discovery.k8s.io/v1", "EndpointSlice", "test");
        let of = slices
            .iter()
            .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
        of.flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
            .filter(|endpoint| endpoint["conditions"]["ready"] == true)
            .count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_gets_its_pods_and_says_so() {
    let stage = Stage::new(Script::default()).await;
    stage.create(&manifests::deployment("test", "app", "app:1", 3)).await;
    stage.pass(1).await;
    assert_eq!(
        (
            stage.pods().len(),
            stage.deployment()["status"]["readyReplicas"].clone()
        ),
        (3, Value::Null)
    );
    assert_eq!(stage.condition("Available").0, "False");
    stage.pass(5).await;
    let status = stage.deployment()["status"].clone();
    assert_eq!(status["readyReplicas"], 3, "{status}");
    assert_eq!(status["updatedReplicas"], 3);
    assert_eq!(status["availableReplicas"], 3);
    assert_eq!(
        status["observedGeneration"],
        stage.deployment()["metadata"]["generation"]
    );
    assert_eq!(stage.condition("Available").1, "MinimumReplicasAvailable");
    assert_eq!(stage.condition("Progressing").1, "NewReplicaSetAvailable");
    assert_eq!(
        stage.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_written() {
    let stage = Stage::new(Script::default()).await;
    stage.create(&manifests::deployment("test", "app", "app:1", 3)).await;
    stage.create(&manifests::service("test", "app")).await;
    stage.pass(60).await;
    let writes = |stage: &Stage| {
        stage
            .api
            .audit()
            .iter()
            .filter(|entry| !matches!(entry.verb.as_str(), "get" | "list" | "watch"))
            .count()
    };
    let before = writes(&stage);
    stage.pass(600).await;
    assert_eq!(writes(&stage), before);
    assert!(before < 40, "{before} writes for three pods");
}

/// The fewest ready and the most existing pods in any moment after now; pods that are being deleted count as neither.
fn extremes(stage: &Stage) -> std::sync::Arc<std::sync::Mutex<(usize, usize)>> {
    let seen = std::sync::Arc::new(std::sync::Mutex::new((usize::MAX, 0)));
    let inside = seen.clone();
    stage.api.on_write(move |write| {
        if write.kind != "Pod" {
            return;
        }
        let pods: Vec<_> = write
            .store
            .objects("v1", "Pod", "test")
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .collect();
        let is_ready = |pod: &&&Value| {
            let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions
                .iter()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        };
        let ready = pods.iter().filter(is_ready).count();
        let mut seen = inside.lock().expect("no test may panic in the observer");
        *seen = (seen.0.min(ready), seen.1.max(pods.len()));
    });
    seen
}

async fn rolled(script: Script, watch_delay: Duration, deployment: Value) -> (Stage, (usize, usize)) {
    let stage = Stage::with(script, watch_delay).await;
    stage.create(&deployment).await;
    stage.pass(120).await;
    assert_eq!(
        stage.deployment()["status"]["readyReplicas"],
        deployment["spec"]["replicas"]
    );
    let extremes = extremes(&stage);
    stage.change(&manifests::image("test", "app", "app:2")).await;
    stage.pass(300).await;
    let seen = *extremes.lock().expect("no test may panic in the observer");
    (stage, seen)
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_keeps_to_its_leeway() {
    let mut deployment = manifests::deployment("test", "app", "app:1", 8);
    deployment["spec"]["strategy"] = json!({ "rollingUpdate": { "maxSurge": 2, "maxUnavailable": 1 } });
    for late in [0, 5] {
        let (stage, (fewest, most)) = rolled(Script::default(), Duration::from_secs(late), deployment.clone()).await;
        assert_eq!((fewest, most), (7, 10), "with watches up to {late} s late");
        assert!(
            stage
                .pods()
                .iter()
                .all(|pod| pod["spec"]["containers"][0]["image"] == "app:2")
        );
        assert_eq!(stage.pods().len(), 8);
        assert_eq!(
            stage.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
            "2"
        );
        assert_eq!(stage.condition("Progressing").1, "NewReplicaSetAvailable");
    }
}

#[tokio::test(start_paused = true)]
async fn recreate_brings_new_pods_only_when_the_old_ones_are_gone() {
    let mut deployment = manifests::deployment("test", "app", "app:1", 3);
    deployment["spec"]["strategy"] = json!({ "type": "Recreate" });
    let (stage, (fewest, most)) = rolled(Script::default(), Duration::ZERO, deployment).await;
    assert_eq!((fewest, most), (0, 3));
    assert_eq!(stage.deployment()["status"]["updatedReplicas"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_broken_image_stops_a_roll_and_exceeds_its_deadline() {
    let mut deployment = manifests::deployment("test", "app", "app:1", 4);
    deployment["spec"]["progressDeadlineSeconds"] = json!(60);
    let script = Script::default().life(Pods::image(":2"), Life::ImagePullBackOff);
    let (stage, (fewest, _)) = rolled(script, Duration::ZERO, deployment).await;
    assert_eq!(fewest, 3, "maxUnavailable is a quarter of four");
    assert_eq!(
        stage.condition("Progressing"),
        ("False".into(), "ProgressDeadlineExceeded".into())
    );
    assert_eq!(stage.condition("Available").0, "True");
    let waiting = stage
        .pods()
        .iter()
        .filter(|pod| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff")
        .count();
    assert_eq!(waiting, 2);
    stage.change(&manifests::image("test", "app", "app:1")).await;
    stage.pass(60).await;
    assert_eq!(stage.condition("Progressing").1, "NewReplicaSetAvailable");
    assert_eq!(
        stage.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
    assert_eq!(stage.pods().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_scales_but_does_not_roll() {
    let stage = Stage::new(Script::default()).await;
    stage.create(&manifests::deployment("test", "app", "app:1", 2)).await;
    stage.pass(10).await;
    let mut paused = manifests::image("test", "app", "app:2");
    paused["spec"]["paused"] = json!(true);
    paused["spec"]["replicas"] = json!(3);
    stage.change(&paused).await;
    stage.pass(30).await;
    assert_eq!(stage.pods().len(), 3);
    assert!(
        stage
            .pods()
            .iter()
            .all(|pod| pod["spec"]["containers"][0]["image"] == "app:1")
    );
    assert_eq!(
        stage.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    assert_eq!(
        stage.deployment()["status"]["observedGeneration"],
        stage.deployment()["metadata"]["generation"]
    );
    paused["spec"]["paused"] = json!(false);
    stage.change(&paused).await;
    stage.pass(30).await;
    assert!(
        stage
            .pods()
            .iter()
            .all(|pod| pod["spec"]["containers"][0]["image"] == "app:2")
    );
    assert_eq!(
        stage.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_scaled_to_nothing_and_back() {
    let stage = Stage::new(Script::default()).await;
    stage.create(&manifests::deployment("test", "app", "app:1", 2)).await;
    for replicas in [0, 5, 1] {
        let mut scaled = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "app", "namespace": "test" } });
        scaled["spec"]["replicas"] = json!(replicas);
        stage.change(&scaled).await;
        stage.pass(30).await;
        assert_eq!(stage.pods().len(), replicas);
        let ready = stage.deployment()["status"]["readyReplicas"].as_u64().unwrap_or(0);
        assert_eq!(usize::try_from(ready).expect("must be small"), replicas);
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_follow_readiness_and_show_pods_on_their_way_out() {
    let script = Script::default().slice_size(2).pace(Pace {
        stop: Duration::from_secs(5),
        ..Pace::default()
    });
    let stage = Stage::new(script).await;
    stage.create(&manifests::service("test", "app")).await;
    stage.create(&manifests::deployment("test", "app", "app:1", 3)).await;
    stage.pass(2).await;
    assert_eq!(stage.ready_endpoints("app"), 0);
    stage.pass(10).await;
    assert_eq!(stage.ready_endpoints("app"), 3);
    assert_eq!(
        stage.api.objects("discovery.k8s.io/v1", "EndpointSlice", "test").len(),
        2
    );
    let mut scaled =
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "app", "namespace": "test" } });
    scaled["spec"]["replicas"] = json!(1);
    stage.change(&scaled).await;
    stage.pass(1).await;
    let slices = stage.api.objects("discovery.k8s.io/v1", "EndpointSlice", "test");
    let endpoints: Vec<_> = slices
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
        .collect();
    let leaving = endpoints
        .iter()
        .filter(|endpoint| endpoint["conditions"] == json!({ "ready": false, "serving": true, "terminating": true }));
    assert_eq!((leaving.count(), stage.ready_endpoints("app")), (2, 1));
    assert!(
        endpoints
            .iter()
            .all(|endpoint| endpoint["targetRef"]["uid"].is_string())
    );
    stage.pass(10).await;
    assert_eq!((stage.pods().len(), stage.ready_endpoints("app")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_script_can_break_pods_that_were_ready() {
    let stage = Stage::new(Script::default()).await;
    stage.create(&manifests::service("test", "app")).await;
    stage.create(&manifests::deployment("test", "app", "app:1", 2)).await;
    stage.pass(10).await;
    stage
        .world
        .change(|script| script.life(Pods::named("app-"), Life::NeverReady));
    stage.pass(1).await;
    assert_eq!(stage.ready_endpoints("app"), 0);
    assert_eq!(
        stage.condition("Available"),
        ("False".into(), "MinimumReplicasUnavailable".into())
    );
}

fn http_route(weight: u32) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": "app", "namespace": "test" },
        "spec": {
            "parentRefs": [{ "name": "gateway" }],
            "rules": [{ "backendRefs": [
                { "name": "app-primary", "port": 80, "weight": 100 - weight },
                { "name": "app-canary", "port": 80, "weight": weight },
            ] }],
        },
    })
}

async fn two_sided(script: Script) -> Stage {
    let stage = Stage::new(script).await;
    for (name, image) in [("app-primary", "app:1"), ("app-canary", "app:2")] {
        stage.create(&manifests::service("test", name)).await;
        stage.create(&manifests::deployment("test", name, image, 2)).await;
    }
    stage.pass(10).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn the_router_confirms_each_generation_after_a_while() {
    let stage = two_sided(Script::default().pace(Pace {
        router: Duration::from_secs(4),
        ..Pace::default()
    }))
    .await;
    stage.create(&http_route(0)).await;
    let confirmed = || {
        let route = stage
            .api
            .object("gateway.networking.k8s.io/v1", "HTTPRoute", "test", "app")
            .expect("must be there");
        let conditions = route["status"]["parents"][0]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let of_now = |condition: &Value| {
            condition["observedGeneration"] == route["metadata"]["generation"] && condition["status"] == "True"
        };
        conditions.len() == 2 && conditions.iter().all(of_now)
    };
    stage.pass(3).await;
    assert!(!confirmed());
    stage.pass(2).await;
    assert!(confirmed());
    stage.change(&http_route(30)).await;
    stage.pass(3).await;
    assert!(!confirmed());
    let entry = ("test".to_owned(), "app".to_owned());
    let canary = |stage: &Stage| {
        stage
            .world
            .traffic()
            .split(&entry)
            .expect("there must be traffic")
            .part_of_image("app:2")
    };
    assert!(canary(&stage) < 0.01);
    stage.pass(2).await;
    assert!(confirmed());
    assert!((canary(&stage) - 0.3).abs() < 0.01);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_route_changes_nothing_for_the_clients() {
    let stage = two_sided(Script::default()).await;
    stage.create(&http_route(0)).await;
    stage.pass(5).await;
    stage
        .world
        .change(|script| script.router("app", RouterSays::Rejects("no such gateway".into())));
    stage.change(&http_route(50)).await;
    stage.pass(5).await;
    let route = stage
        .api
        .object("gateway.networking.k8s.io/v1", "HTTPRoute", "test", "app")
        .expect("must be there");
    assert_eq!(
        route["status"]["parents"][0]["conditions"][0]["message"],
        "no such gateway"
    );
    let split = stage
        .world
        .traffic()
        .split(&("test".to_owned(), "app".to_owned()))
        .expect("there must be traffic");
    assert!(split.part_of_image("app:2") < 0.01);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_to_a_missing_service_is_invalid() {
    let stage = Stage::new(Script::default()).await;
    stage
        .create(&json!({
            "apiVersion": "projectcontour.io/v1",
            "kind": "HTTPProxy",
            "metadata": { "name": "app", "namespace": "test" },
            "spec": { "routes": [{ "services": [{ "name": "app-primary", "port": 80, "weight": 100 }] }] },
        }))
        .await;
    let status = || {
        stage
            .api
            .object("projectcontour.io/v1", "HTTPProxy", "test", "app")
            .expect("must be there")["status"]
            .clone()
    };
    stage.pass(2).await;
    assert_eq!(status()["currentStatus"], "invalid");
    stage.create(&manifests::service("test", "app-primary")).await;
    stage.pass(2).await;
    assert_eq!(status()["currentStatus"], "valid");
    assert_eq!(status()["conditions"][0]["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn clients_lose_requests_while_a_side_with_weight_has_no_ready_pod() {
    let script = Script::default().answers(
        "app:2",
        Behaviour {
            success: 90.0,
            latency: 700.0,
        },
    );
    let stage = two_sided(script).await;
    stage.create(&http_route(20)).await;
    stage.pass(60).await;
    let entry = ("test".to_owned(), "app".to_owned());
    let totals = |stage: &Stage| stage.world.traffic().totals(&entry, stage.clock.now());
    assert!(totals(&stage).lost < 1.0);
    assert_eq!(
        totals(&stage).answered["app:2"].success_rate().map(f64::round),
        Some(90.0)
    );
    stage
        .world
        .change(|script| script.life(Pods::image("app:2"), Life::NeverReady));
    stage.pass(10).await;
    let lost = totals(&stage).lost;
    assert!(
        (lost - 200.0).abs() < 20.0,
        "20 % of 100 requests in a second for 10 s, not {lost}"
    );
}

#[tokio::test(start_paused = true)]
async fn crashing_pods_come_back_after_a_back_off() {
    let stage = Stage::new(Script::default().life(Pods::Any, Life::CrashesAfter(Duration::from_secs(4)))).await;
    stage.create(&manifests::deployment("test", "app", "app:1", 1)).await;
    let mut seen = Vec::new();
    for _ in 0..8 {
        stage.pass(4).await;
        let pod = stage.pods()[0]["status"]["containerStatuses"][0].clone();
        seen.push((pod["restartCount"].as_u64().unwrap_or(0), pod["ready"] == true));
    }
    assert_eq!(
        seen,
        [
            (0, true),
            (1, false),
            (1, false),
            (1, false),
            (1, true),
            (2, false),
            (2, false),
            (2, false)
        ]
    );
}

/// Plays two releases, one good and one bad, with the real controller under the monitor.
async fn two_releases(provider: &str, strategy: &Value) -> (Stage, Monitor) {
    let script = Script::default().answers_under_load(
        ":3",
        0.2,
        Behaviour {
            success: 90.0,
            latency: 200.0,
        },
    );
    let stage = Stage::with(script, Duration::from_secs(2)).await;
    for crd in serin::api::crd::crds() {
        stage.api.apply_crd(&crd);
    }
    let monitor = Monitor::attach(&stage.api, "serin");
    let clock = stage.clock.clone();
    let outside = Outside {
        metrics: Arc::new(SimReader::new(stage.world.traffic().clone(), clock.clone())),
        hooks: Arc::new(SimCaller::new(clock.clone())),
        alerts: Arc::new(SimSender::new(clock.clone())),
    };
    let settings = Settings::default();
    let vitals = Vitals {
        metrics: Metrics::new("test", &settings.mesh_provider, clock.clone()),
        health: Health::default(),
    };
    let client = stage.api.client("serin");
    tokio::spawn(async move {
        let for_ever = std::future::pending();
        controller::run(client, settings, outside, vitals, clock, Claim::permanent(), for_ever).await
    });
    let mut deployment = manifests::deployment("test", "app", "app:1", 4);
    deployment["spec"]["strategy"] = strategy.clone();
    stage.create(&manifests::service("test", "app")).await;
    stage.create(&deployment).await;
    stage.pass(20).await;
    stage
        .create(&manifests::canary(
            "test",
            "app",
            provider,
            &manifests::analysis("30s", 3, 50, 10),
        ))
        .await;
    for (image, phase) in [("app:1", "Initialized"), ("app:2", "Succeeded"), ("app:3", "Failed")] {
        stage.change(&manifests::image("test", "app", image)).await;
        for _ in 0..900 {
            stage.pass(1).await;
            if phase_of(&stage) == phase {
                break;
            }
        }
        assert_eq!(phase_of(&stage), phase, "{image} with {provider}");
        stage.pass(30).await;
    }
    (stage, monitor)
}

fn phase_of(stage: &Stage) -> String {
    let canary = stage
        .api
        .object("flagger.app/v1beta1", "Canary", "test", "app")
        .unwrap_or_default();
    canary["status"]["phase"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn no_write_of_a_promotion_or_a_rollback_breaks_an_invariant_or_loses_a_request() {
    let rolling = json!({ "type": "RollingUpdate" });
    let tight = json!({ "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 2 } });
    for (provider, strategy) in [("contour", &rolling), ("gatewayapi:v1", &tight)] {
        let (stage, monitor) = two_releases(provider, strategy).await;
        assert_eq!(monitor.violations(), [], "{provider}");
        assert!(monitor.judged() > 30, "{} writes", monitor.judged());
        let primary = stage
            .api
            .object("apps/v1", "Deployment", "test", "app-primary")
            .expect("must be there");
        assert_eq!(primary["spec"]["template"]["spec"]["containers"][0]["image"], "app:2");
        let totals = stage
            .world
            .traffic()
            .totals(&("test".to_owned(), "app".to_owned()), stage.clock.now());
        assert!(totals.lost < 0.5, "{provider}: {} requests lost", totals.lost);
        assert!(totals.answered["app:3"].requests > 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recreated_primary_has_no_weight_while_it_is_away() {
    let (stage, monitor) = two_releases("gatewayapi:v1", &json!({ "type": "Recreate" })).await;
    assert_eq!(monitor.violations(), []);
    let totals = stage
        .world
        .traffic()
        .totals(&("test".to_owned(), "app".to_owned()), stage.clock.now());
    assert!(totals.lost < 0.5, "{} requests lost", totals.lost);
}

#[tokio::test(start_paused = true)]
async fn the_monitor_finds_a_write_that_sends_clients_to_nobody() {
    let (stage, monitor) = two_releases("gatewayapi:v1", &json!({ "type": "RollingUpdate" })).await;
    let mistaken = stage.api.client("serin-mistaken");
    manifests::change(&mistaken, &http_route(30))
        .await
        .expect("the route must be changed");
    let found: Vec<String> = monitor.violations().iter().map(ToString::to_string).collect();
    assert!(
        found
            .iter()
            .any(|it| it.contains("2: Canary is raised to 30 with 0 ready pods")),
        "{found:?}"
    );
    assert!(found.iter().any(|it| it.contains("status first")), "{found:?}");
}
