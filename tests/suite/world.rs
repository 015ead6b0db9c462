//! The embedded cluster's controllers against the embedded API server.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use serin::{
    clock::Clock,
    sim::{
        apiserver::{ApiServer, Options},
        world::{
            Script, World, manifests, route_crds,
            script::{Life, Pods, RouterSays},
            traffic::Behaviour,
        },
    },
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
        let api = ApiServer::new(Options { seed: 7, watch_delay: Duration::ZERO..=watch_delay, clock: clock.clone() });
        for crd in route_crds() {
            api.apply_crd(&crd);
        }
        let world = World::start(api.client("kube-controller-manager"), clock.clone(), script, 7);
        let stage = Self { client: api.client("team"), api, clock, world };
        stage.create(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "test" } })).await;
        stage
    }

    async fn new(script: Script) -> Self {
        Self::with(script, Duration::ZERO).await
    }

    async fn create(&self, manifest: &Value) {
        manifests::create(&self.client, manifest).await.expect("the manifest must be accepted");
    }

    async fn change(&self, manifest: &Value) {
        manifests::change(&self.client, manifest).await.expect("the change must be accepted");
    }

    async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    fn deployment(&self) -> Value {
        self.api.object("apps/v1", "Deployment", "test", "app").expect("the Deployment must be there")
    }

    fn pods(&self) -> Vec<Value> {
        self.api.objects("v1", "Pod", "test")
    }

    fn condition(&self, type_: &str) -> (String, String) {
        let deployment = self.deployment();
        let conditions = deployment["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == type_).cloned().unwrap_or_default();
        (found["status"].as_str().unwrap_or_default().to_owned(), found["reason"].as_str().unwrap_or_default().to_owned())
    }

    fn ready_endpoints(&self, service: &str) -> usize {
        let slices = self.api.objects("discovery.k8s.io/v1", "EndpointSlice", "test");
        let of = slices.iter().filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
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
    assert_eq!((stage.pods().len(), stage.deployment()["status"]["readyReplicas"].clone()), (3, Value::Null));
    assert_eq!(stage.condition("Available").0, "False");
    stage.pass(5).await;
    let status = stage.deployment()["status"].clone();
    assert_eq!(status["readyReplicas"], 3, "{status}");
    assert_eq!(status["updatedReplicas"], 3);
    assert_eq!(status["availableReplicas"], 3);
    assert_eq!(status["observedGeneration"], stage.deployment()["metadata"]["generation"]);
    assert_eq!(stage.condition("Available").1, "MinimumReplicasAvailable");
    assert_eq!(stage.condition("Progressing").1, "NewReplicaSetAvailable");
    assert_eq!(stage.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_written() {
    let stage = Stage::new(Script::default()).await;
    stage.create(&manifests::deployment("test", "app", "app:1", 3)).await;
    stage.create(&manifests::service("test", "app")).await;
    stage.pass(60).await;
    let writes = |stage: &Stage| stage.api.audit().iter().filter(|entry| !matches!(entry.verb.as_str(), "get" | "list" | "watch")).count();
    let before = writes(&stage);
    stage.pass(600).await;
    assert_eq!(writes(&stage), before);
    assert!(before < 40, "{before} writes for three pods");
}
