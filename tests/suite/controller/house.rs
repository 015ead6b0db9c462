//! An embedded cluster with one controller in it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use serin::{
    api::{self, Canary},
    clock::Clock,
    controller::{self, Outside, StartError, Vitals, leader::Claim, settings::Settings},
    sim::{
        apiserver::{ApiServer, Options},
        fault::{Fault, NoFault},
        world::{Script, SimCaller, SimReader, SimSender, World, manifests, route_crds},
    },
    telemetry::{health::Health, metrics::Metrics},
};
use tokio::{sync::Notify, task::JoinHandle};

/// The cluster. Its controller stops when it is dropped.
pub struct House {
    pub api: ApiServer,
    pub clock: Clock,
    pub world: World,
    pub settings: Settings,
    client: kube::Client,
    outside: Outside,
    pub hooks: SimCaller,
    provider: Mutex<String>,
    serin: Mutex<JoinHandle<()>>,
    stop: Arc<Notify>,
    fault: Arc<dyn Fault>,
}

impl House {
    /// A cluster whose watches see every change up to two seconds late.
    pub async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    /// The same with a controller of these settings.
    pub async fn with(settings: Settings) -> Self {
        Self::faulty(settings, Arc::new(NoFault)).await
    }

    /// The same with a bad road between the controller and the API server.
    pub async fn faulty(settings: Settings, fault: Arc<dyn Fault>) -> Self {
        let clock = Clock::virtual_at(DateTime::from_timestamp(1_700_000_000, 0).expect("must be a time"));
        let watch_delay = Duration::ZERO..=Duration::from_secs(2);
        let api = ApiServer::new(Options {
            seed: 11,
            watch_delay,
            clock: clock.clone(),
        });
        for crd in route_crds().iter().chain(&api::crd::crds()) {
            api.apply_crd(crd);
        }
        let world = World::start(&api, clock.clone(), Script::default(), 11);
        let hooks = SimCaller::new(clock.clone());
        let outside = Outside {
            metrics: Arc::new(SimReader::new(world.traffic().clone(), clock.clone())),
            hooks: Arc::new(hooks.clone()),
            alerts: Arc::new(SimSender::new(clock.clone())),
        };
        let client = api.client("team");
        let stop = Arc::new(Notify::new());
        let serin = Mutex::new(start("serin", &api, &fault, &settings, &outside, &clock, &stop).0);
        let house = Self {
            api,
            clock,
            world,
            settings,
            client,
            outside,
            hooks,
            provider: Mutex::default(),
            serin,
            stop,
            fault,
        };
        house
            .create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test"}}))
            .await;
        house
    }

    /// The controller is killed, and a new one started.
    pub fn restart(&self) {
        let mut serin = self.serin.lock().expect("must not be poisoned");
        serin.abort();
        let (api, fault, clock, stop) = (&self.api, &self.fault, &self.clock, &self.stop);
        (*serin, _) = start("serin", api, fault, &self.settings, &self.outside, clock, stop);
    }

    /// A second controller, by the name of `observer`, which only says what it would do, with the hooks that it could call and the
    /// metrics that it shows.
    pub fn observe_beside(&self) -> (JoinHandle<()>, SimCaller, Metrics) {
        let settings = Settings {
            observe_only: true,
            ..self.settings.clone()
        };
        let hooks = SimCaller::new(self.clock.clone());
        let outside = Outside {
            hooks: Arc::new(hooks.clone()),
            ..self.outside.clone()
        };
        let (api, fault, clock, stop) = (&self.api, &self.fault, &self.clock, &self.stop);
        let (task, metrics) = start("observer", api, fault, &settings, &outside, clock, stop);
        (task, hooks, metrics)
    }

    /// Whether the controller has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.serin.lock().expect("must not be poisoned").is_finished()
    }

    /// The controller is told to stop, and has.
    pub async fn stop(&self) {
        self.stop.notify_one();
        let serin = std::mem::replace(
            &mut *self.serin.lock().expect("must not be poisoned"),
            tokio::spawn(async {}),
        );
        serin.await.expect("the controller must end well");
    }

    /// Deployment, Service and Canary `podinfo`.
    pub async fn app(&self, provider: &str) {
        provider.clone_into(&mut self.provider.lock().expect("must not be poisoned"));
        self.create(&manifests::deployment("test", "podinfo", "podinfo:1", 2))
            .await;
        self.create(&manifests::service("test", "podinfo")).await;
        self.pass(5).await;
        self.create(&self.canary_manifest()).await;
    }

    pub fn canary_manifest(&self) -> Value {
        let provider = self.provider.lock().expect("must not be poisoned").clone();
        manifests::canary("test", "podinfo", &provider, &manifests::analysis("10s", 2, 50, 25))
    }

    fn canaries(&self, user: &str) -> Api<Canary> {
        Api::namespaced(self.api.client(user), "test")
    }

    pub async fn delete_canary(&self) {
        self.canaries("team")
            .delete("podinfo", &DeleteParams::default())
            .await
            .expect("must be deleted");
    }

    /// Deletes the Canary with nobody to hand anything back, keeping its objects, and creates it again.
    pub async fn remake_canary(&self) {
        self.serin.lock().expect("must not be poisoned").abort();
        let canaries = self.canaries("team");
        self.change(&json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "podinfo", "namespace": "test", "finalizers": null},
        }))
        .await;
        canaries
            .delete("podinfo", &DeleteParams::default())
            .await
            .expect("must be deleted");
        self.create(&self.canary_manifest()).await;
        self.restart();
    }

    /// Another controller writes the status.
    pub async fn write_status_as(&self, manager: &str, status: &Value) {
        let patch = json!({"status": status});
        let params = PatchParams {
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
        let patched = self
            .canaries(manager)
            .patch_status("podinfo", &params, &Patch::Merge(&patch))
            .await;
        patched.expect("must be patched");
    }

    /// Somebody else sets the weights of the `HTTPRoute`.
    pub async fn steer(&self, (primary, canary): (u64, u64)) {
        let backend = |name: &str, weight: u64| json!({"op": "replace", "path": format!("/spec/rules/0/backendRefs/{name}/weight"), "value": weight});
        let patch: json_patch::Patch =
            serde_json::from_value(json!([backend("0", primary), backend("1", canary)])).expect("must be a patch");
        let kind = kube::core::GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
        let routes: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), "test", &kube::core::ApiResource::from_gvk(&kind));
        let params = PatchParams {
            field_manager: Some("rival-team".into()),
            ..PatchParams::default()
        };
        routes
            .patch("podinfo", &params, &Patch::<()>::Json(patch))
            .await
            .expect("must be patched");
    }

    /// The texts of all events.
    pub fn events(&self) -> Vec<String> {
        let events = self.api.objects("v1", "Event", "test");
        events
            .iter()
            .map(|event| event["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// A new image for the target.
    pub async fn release(&self, image: &str) {
        self.change(&manifests::image("test", "podinfo", image)).await;
    }

    pub async fn create(&self, manifest: &Value) {
        manifests::create(&self.client, manifest)
            .await
            .expect("the manifest must be accepted");
    }

    pub async fn change(&self, manifest: &Value) {
        manifests::change(&self.client, manifest)
            .await
            .expect("the change must be accepted");
    }

    pub async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    /// Waits until the Canary is in this phase.
    pub async fn until(&self, phase: &str, seconds: u64) {
        let reached = self.reached(phase, seconds).await;
        let status = serde_json::to_string_pretty(&self.canary()["status"]).unwrap_or_default();
        assert!(
            reached,
            "not {phase} after {seconds} s: {status}\n{}",
            self.requests().join("\n")
        );
    }

    async fn reached(&self, phase: &str, seconds: u64) -> bool {
        for _ in 0..seconds * 10 {
            if self.canary()["status"]["phase"] == phase {
                return true;
            }
            self.clock.sleep(Duration::from_millis(100)).await;
        }
        false
    }

    pub fn object(&self, version: &str, kind: &str, name: &str) -> Value {
        self.api.object(version, kind, "test", name).unwrap_or_default()
    }

    pub fn canary(&self) -> Value {
        self.object("flagger.app/v1beta1", "Canary", "podinfo")
    }

    pub fn replicas(&self, deployment: &str) -> i64 {
        self.object("apps/v1", "Deployment", deployment)["spec"]["replicas"]
            .as_i64()
            .unwrap_or(-1)
    }

    pub fn image(&self, deployment: &str) -> String {
        let deployment = self.object("apps/v1", "Deployment", deployment);
        deployment["spec"]["template"]["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn service(&self, name: &str) -> Value {
        self.object("v1", "Service", name)
    }

    /// The route's weights of primary and canary.
    pub fn weights(&self) -> (u64, u64) {
        let contour = *self.provider.lock().expect("must not be poisoned") == "contour";
        let (version, kind, backends) = if contour {
            ("projectcontour.io/v1", "HTTPProxy", "/spec/routes/0/services")
        } else {
            ("gateway.networking.k8s.io/v1", "HTTPRoute", "/spec/rules/0/backendRefs")
        };
        let route = self.object(version, kind, "podinfo");
        let of = |name: &str| {
            let backends = route.pointer(backends).and_then(Value::as_array).into_iter().flatten();
            let mut found = backends.filter(|backend| backend["name"] == name);
            found
                .next()
                .map_or(999, |backend| backend["weight"].as_u64().unwrap_or(0))
        };
        (of("podinfo-primary"), of("podinfo-canary"))
    }

    /// Everything that Serin asked of the API server, but for its watches.
    pub fn requests(&self) -> Vec<String> {
        self.requests_of("serin")
    }

    /// The same of another user.
    pub fn requests_of(&self, user: &str) -> Vec<String> {
        let audit = self
            .api
            .audit()
            .into_iter()
            .filter(|entry| entry.user == user && entry.verb != "watch");
        audit
            .map(|it| {
                let name = [it.resource.as_str(), &it.subresource, &it.name].join("/");
                let dry = if it.dry_run { " dry" } else { "" };
                format!("{} {} {name} {}{dry}", it.time.format("%H:%M:%S%.3f"), it.verb, it.code)
            })
            .collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Ok(serin) = self.serin.lock() {
            serin.abort();
        }
    }
}

fn start(
    user: &str,
    api: &ApiServer,
    fault: &Arc<dyn Fault>,
    settings: &Settings,
    outside: &Outside,
    clock: &Clock,
    stop: &Arc<Notify>,
) -> (JoinHandle<()>, Metrics) {
    let (client, settings, outside, clock, stop) = (
        api.client_with(user, fault.clone()),
        settings.clone(),
        outside.clone(),
        clock.clone(),
        stop.clone(),
    );
    let metrics = Metrics::new("test", &settings.mesh_provider, clock.clone());
    let vitals = Vitals {
        metrics: metrics.clone(),
        health: Health::default(),
    };
    let task = tokio::spawn(async move {
        let stopped = stop.notified();
        let ended = controller::run(client, settings, outside, vitals, clock, Claim::permanent(), stopped).await;
        assert!(
            matches!(ended, Ok(()) | Err(StartError::Pruned)),
            "the controller must start: {ended:?}"
        );
    });
    (task, metrics)
}
