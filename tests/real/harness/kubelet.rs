//! A kubelet whose containers are plain processes: each pod gets an address of its own and one process of [`app`].
//!
//! It does what a rollout depends on, and nothing else: addresses, readiness by the pod's own probe, restarts, and an end
//! in the order of a real node (`SIGTERM`, the grace period, then the object goes).
//! Source: Kubernetes documentation, "Pod Lifecycle".

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Container, EnvVar, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::process::Process;
use crate::harness::scraping::ScrapedPods;
use crate::harness::{Outcome, app};

/// The name of the one node.
const NODE: &str = "processes";

/// Between the end of a container and its next start, and between two tries to reach the API server.
const RETRY: Duration = Duration::from_secs(1);

/// What a pod gets between the two signals if it doesn't say.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// Runs until stopped.
pub struct Kubelet {
    task: JoinHandle<()>,
}

impl Kubelet {
    /// Registers the node and starts to look after its pods. Logs of the pods go to `state/pods`.
    pub async fn start(client: Client, state: &Path) -> Outcome<Self> {
        let logs = state.join("pods");
        std::fs::create_dir_all(&logs)?;
        register(&client).await?;
        let host = Arc::new(Host {
            pods: Api::all(client.clone()),
            client,
            web: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(1))
                .build()?,
            program: std::env::current_exe()?,
            logs,
            addresses: AtomicU16::new(1),
            scraped: ScrapedPods::new(state)?,
        });
        Ok(Self {
            task: tokio::spawn(look_after_pods(host)),
        })
    }

    /// Looks after nothing any more. The pods' processes end with the harness.
    pub fn stop(&self) {
        self.task.abort();
    }
}

async fn register(client: &Client) -> Outcome<()> {
    let plenty = json!({ "cpu": "64", "memory": "64Gi", "pods": "500" });
    let node = serde_json::from_value(json!({
        "metadata": { "name": NODE, "labels": { "kubernetes.io/os": "linux", "kubernetes.io/hostname": NODE } },
        "status": {
            "capacity": plenty,
            "allocatable": plenty,
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
        },
    }))?;
    Api::<Node>::all(client.clone())
        .create(&PostParams::default(), &node)
        .await?;
    Ok(())
}

/// What all pods of the node share.
struct Host {
    client: Client,
    pods: Api<Pod>,
    web: reqwest::Client,
    program: PathBuf,
    logs: PathBuf,
    /// The last address that was given out, as the lower half of 10.99.x.y.
    addresses: AtomicU16,
    scraped: ScrapedPods,
}

/// One task for each pod; the watch tells it how the pod's object stands now.
async fn look_after_pods(host: Arc<Host>) {
    let mine = watcher::Config::default().fields(&format!("spec.nodeName={NODE}"));
    let mut events = watcher(host.pods.clone(), mine).default_backoff().boxed();
    let mut running: HashMap<String, watch::Sender<Pod>> = HashMap::new();
    let mut listed: HashSet<String> = HashSet::new();
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))) => {
                let uid = pod.uid().unwrap_or_default();
                listed.insert(uid.clone());
                if let Some(object) = running.get(&uid) {
                    object.send_replace(pod);
                } else {
                    let (sender, object) = watch::channel(pod);
                    running.insert(uid, sender);
                    tokio::spawn(live(Arc::clone(&host), object));
                }
            }
            Ok(Some(watcher::Event::Delete(pod))) => {
                // Normally the task deleted the object itself; after a forced deletion it ends because nobody tells it
                // of the pod any more.
                running.remove(&pod.uid().unwrap_or_default());
            }
            // What a new list lacks was deleted while nobody watched.
            Ok(Some(watcher::Event::Init)) => listed.clear(),
            Ok(Some(watcher::Event::InitDone)) => running.retain(|uid, _| listed.contains(uid)),
            Ok(None) => return,
            Err(error) => eprintln!("kubelet: the watch of pods: {error}"),
        }
    }
}

/// The life of a pod, told to the log if it ends badly.
async fn live(host: Arc<Host>, object: watch::Receiver<Pod>) {
    let name = object.borrow().name_any();
    if let Err(error) = PodProcess::new(host, object).live().await {
        eprintln!("kubelet: pod {name}: {error}");
    }
}

struct PodProcess {
    host: Arc<Host>,
    api: Api<Pod>,
    object: watch::Receiver<Pod>,
    namespace: String,
    name: String,
    uid: String,
    container: Container,
    address: SocketAddr,
    started: Time,
    restarts: i32,
}

impl PodProcess {
    fn new(host: Arc<Host>, object: watch::Receiver<Pod>) -> Self {
        let pod = object.borrow().clone();
        let container = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.containers.first().cloned())
            .unwrap_or_default();
        let port = container.ports.as_deref().and_then(|ports| ports.first());
        let port = port
            .and_then(|port| u16::try_from(port.container_port).ok())
            .unwrap_or(app::PORT);
        let [high, low] = host.addresses.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let namespace = pod.namespace().unwrap_or_default();
        Self {
            api: Api::namespaced(host.client.clone(), &namespace),
            namespace,
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 99, high, low)), port),
            host,
            object,
            container,
            started: Time(Timestamp::now()),
            restarts: 0,
        }
    }

    /// Starts the process, restarts it when it ends, and ends it when the pod is deleted.
    async fn live(mut self) -> Outcome<()> {
        let mut leaving = self.object.clone();
        let mut process = self.start()?;
        if self.wants_scraping() {
            self.host.scraped.add(self.address, &self.namespace, &self.name)?;
        }
        tokio::select! {
            outcome = self.keep_running(&mut process) => return outcome,
            left = leaving.wait_for(|pod| pod.metadata.deletion_timestamp.is_some()) => {
                if left.is_err() {
                    // The object is gone already, or the kubelet was stopped.
                    return self.host.scraped.remove(self.address);
                }
            }
        }
        let grace = self.object.borrow().metadata.deletion_grace_period_seconds;
        let grace = grace
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(DEFAULT_GRACE, Duration::from_secs);
        self.sleep_before_stop().await;
        process.stop(grace).await?;
        self.host.scraped.remove(self.address)?;
        self.delete_object().await;
        Ok(())
    }

    /// Lets the object go, now that nothing of the pod runs. The API server may be away just then.
    async fn delete_object(&self) {
        let now = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(self.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default().grace_period(0)
        };
        while let Err(error) = self.api.delete(&self.name, &now).await {
            // Gone already, and maybe another pod of the name is there.
            if matches!(&error, kube::Error::Api(status) if status.is_not_found() || status.is_conflict()) {
                return;
            }
            sleep(RETRY).await;
        }
    }

    fn wants_scraping(&self) -> bool {
        self.object
            .borrow()
            .annotations()
            .get("prometheus.io/scrape")
            .is_some_and(|word| word == "true")
    }

    fn start(&self) -> Outcome<Process> {
        let mut command = Command::new(&self.host.program);
        command
            .arg(app::ROLE)
            .args(["--listen", &self.address.to_string()])
            .env_clear();
        for variable in self.container.env.iter().flatten() {
            command.env(&variable.name, self.value_of(variable));
        }
        Process::start(&self.name, &self.host.logs, command)
    }

    /// What a variable says: its value, or the pod's name where it asks for that. Nothing else is built.
    fn value_of<'a>(&'a self, variable: &'a EnvVar) -> &'a str {
        let source = variable.value_from.as_ref();
        let field = source.and_then(|source| source.field_ref.as_ref());
        match field {
            Some(field) if field.field_path == "metadata.name" => &self.name,
            _ => variable.value.as_deref().unwrap_or_default(),
        }
    }

    /// Reports the pod's state as it changes. Only a deletion ends a pod, so this returns only if it cannot go on.
    async fn keep_running(&mut self, process: &mut Process) -> Outcome<()> {
        let mut told = None;
        loop {
            if process.ended()?.is_some() {
                self.report(false).await;
                sleep(RETRY).await;
                self.restarts += 1;
                *process = self.start()?;
                told = None;
            }
            let ready = self.probe().await;
            if told != Some(ready) && self.report(ready).await {
                told = Some(ready);
            }
            sleep(self.probe_period()).await;
        }
    }

    fn probe_period(&self) -> Duration {
        let probe = self.container.readiness_probe.as_ref();
        let seconds = probe.and_then(|probe| probe.period_seconds).unwrap_or(1);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(1).max(1))
    }

    /// Whether the pod is ready by its probe; without one it is as soon as it runs.
    async fn probe(&self) -> bool {
        let Some(get) = self
            .container
            .readiness_probe
            .as_ref()
            .and_then(|probe| probe.http_get.as_ref())
        else {
            return true;
        };
        let port = match &get.port {
            IntOrString::Int(port) => u16::try_from(*port).unwrap_or(app::PORT),
            IntOrString::String(_) => self.address.port(),
        };
        let path = get.path.as_deref().unwrap_or("/");
        let url = format!("http://{}:{port}{path}", self.address.ip());
        self.host
            .web
            .get(url)
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
    }

    async fn sleep_before_stop(&self) {
        let hook = self
            .container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if let Some(pause) = hook.and_then(|hook| hook.sleep.as_ref()) {
            sleep(Duration::from_secs(u64::try_from(pause.seconds).unwrap_or_default())).await;
        }
    }

    /// Writes the pod's status; whether that worked. If not, it is written again at the next probe.
    async fn report(&self, ready: bool) -> bool {
        let address = self.address.ip().to_string();
        let word = if ready { "True" } else { "False" };
        let now = Time(Timestamp::now());
        let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastTransitionTime": now });
        let status = json!({ "status": {
            "phase": "Running",
            "hostIP": "10.99.0.0",
            "podIP": address,
            "podIPs": [{ "ip": address }],
            "startTime": self.started,
            "conditions": [
                condition("Initialized", "True"),
                condition("Ready", word),
                condition("ContainersReady", word),
            ],
            "containerStatuses": [{
                "name": self.container.name,
                "image": self.container.image,
                "imageID": self.container.image,
                "ready": ready,
                "started": true,
                "restartCount": self.restarts,
                "state": { "running": { "startedAt": self.started } },
            }],
        }});
        // A strategic patch merges conditions by type, so the scheduler's own stays.
        let patch = Patch::Strategic(&status);
        self.api
            .patch_status(&self.name, &PatchParams::default(), &patch)
            .await
            .is_ok()
    }
}
