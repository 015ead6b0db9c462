//! A real API server with as little beside it as a script can do with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::harness::cluster::{is_ready, until};
use crate::harness::control_plane::{self, ADMIN_KUBECONFIG, ETCD};
use crate::harness::process::{Process, Signal};
use crate::harness::programs::Programs;
use crate::harness::{Outcome, gateway, objects};
use crate::sim::scripts::Script;

/// What happens by itself in the script of that name; everything else in a cluster would only disturb.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller";

/// Where Istio's source has its definitions.
const OF_ISTIO: &str = "kubernetes/customresourcedefinitions.gen.yaml";

/// How long a definition may take to be served.
const PATIENCE: Duration = Duration::from_secs(90);

/// etcd and an API server. Dropping it ends both.
pub struct Server {
    /// Its administrator's client.
    pub client: Client,
    control_plane: Mutex<[Process; 2]>,
    _manager: Option<Process>,
}

impl Server {
    /// Starts what the script needs, with its data and logs in a folder of its own.
    pub async fn start(script: Script, programs: &Programs, folder: &Path) -> Outcome<Self> {
        let folder = PathBuf::from(folder);
        std::fs::create_dir_all(&folder)?;
        let mut control_plane = control_plane::start_api_server(programs, &folder)?;
        let client = client(&folder.join(ADMIN_KUBECONFIG)).await?;
        ready(&client, &mut control_plane).await?;
        match script {
            Script::Requests | Script::ByItself => {}
            Script::Routes => gateway::define_routes(&client, programs).await?,
            Script::Istio => objects::apply_file(&client, &programs.place("istio-source")?.join(OF_ISTIO)).await?,
        }
        objects::all_definitions_are_served(&client, PATIENCE).await?;
        let alone = script != Script::ByItself;
        let manager = (!alone).then(|| control_plane::start_manager(programs, &folder, CONTROLLERS));
        Ok(Self {
            client,
            control_plane: Mutex::new(control_plane),
            _manager: manager.transpose()?,
        })
    }

    /// Makes it forget its history: etcd drops every revision but the last, and the API server starts anew, without what it remembered.
    pub async fn forget(&self) {
        let mut processes = self.control_plane.lock().await;
        forget(&self.client, &mut processes)
            .await
            .expect("the API server must come back without its history");
    }
}

async fn forget(client: &Client, processes: &mut [Process; 2]) -> Outcome<()> {
    let [_, server] = &mut *processes;
    server.stop_by(Signal::Kill, Duration::from_secs(10)).await?;
    let web = reqwest::Client::builder().no_proxy().build()?;
    let ask = async |call: &str, body: Value| -> Outcome<Value> {
        let answer = web.post(format!("{ETCD}/v3/kv/{call}")).json(&body).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    };
    // A key in base64; none has that name, and the answer's header tells the revision.
    let answer = ask("range", json!({ "key": "AA==" })).await?;
    ask(
        "compaction",
        json!({ "revision": answer["header"]["revision"], "physical": true }),
    )
    .await?;
    server.start_again()?;
    ready(client, processes).await
}

/// A client that asks once: an answer such as 504 is one as well.
async fn client(kubeconfig: &Path) -> Outcome<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn ready(client: &Client, processes: &mut [Process; 2]) -> Outcome<()> {
    until("the API server is ready", processes, async || is_ready(client).await).await
}
