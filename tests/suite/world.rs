//! The embedded cluster's controllers against the embedded API server.

mod releases;
mod router;

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
        let world = World::start(&api, clock.clone(), script, 7);
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
