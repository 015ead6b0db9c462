//! What the demo plays on: an embedded cluster with an application's clients, and the real controller.

use std::{sync::Arc, time::Duration};

use chrono::SubsecRound;
use serde_json::json;
use tokio::task::JoinHandle;

use super::story::Act;
use crate::{
    api::crd::crds,
    clock::Clock,
    controller::{self, Outside, StartError, Vitals, leader::Claim, settings::Settings},
    sim::{
        apiserver::{ApiServer, Options},
        world::{
            Script, SimCaller, SimReader, SimSender, World, manifests, route_crds, script::Pace, traffic::Behaviour,
        },
    },
    telemetry::{health::Health, metrics::Metrics},
};

/// The namespace of the application.
pub(super) const NAMESPACE: &str = "demo";
/// The application: its Deployment, its Service and its Canary.
pub(super) const APP: &str = "podinfo";
const REPLICAS: u32 = 4;
const SEED: u64 = 20;

/// The cluster and everyone in it.
pub(super) struct Stage {
    pub(super) api: ApiServer,
    pub(super) clock: Clock,
    pub(super) world: World,
    pub(super) reader: SimReader,
    pub(super) speed: f64,
    client: kube::Client,
    /// Serin; it runs until the stage is dropped.
    pub(super) controller: JoinHandle<Result<(), StartError>>,
}

impl Stage {
    /// Builds the cluster; its time runs `speed` times as fast as the wall's.
    pub(super) async fn set(speed: f64) -> Result<Self, kube::Error> {
        let clock = Clock::scaled(Clock::system().now().trunc_subsecs(0), speed);
        let api = ApiServer::new(Options {
            seed: SEED,
            clock: clock.clone(),
            ..Options::default()
        });
        for crd in route_crds().into_iter().chain(crds()) {
            api.apply_crd(&crd);
        }
        let world = World::start(&api, clock.clone(), script(), SEED);
        let reader = SimReader::new(world.traffic().clone(), clock.clone()).with_noise(0.15);
        let client = api.client("team");
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        manifests::create(&client, &namespace).await?;
        let controller = tokio::spawn(control(&api, &reader, &clock));
        Ok(Self {
            api,
            clock,
            world,
            reader,
            speed,
            client,
            controller,
        })
    }

    /// Does what the story says that the team does.
    pub(super) async fn act(&self, act: &Act) -> Result<(), kube::Error> {
        match act {
            Act::Deploy(version) => {
                manifests::create(&self.client, &manifests::service(NAMESPACE, APP)).await?;
                let deployment = manifests::deployment(NAMESPACE, APP, &image(version), REPLICAS);
                manifests::create(&self.client, &deployment).await?;
            }
            Act::Adopt => {
                let analysis = manifests::analysis("1m", 3, 50, 10);
                let canary = manifests::canary(NAMESPACE, APP, "contour", &analysis);
                manifests::create(&self.client, &canary).await?;
            }
            Act::Ship(version) => {
                manifests::change(&self.client, &manifests::image(NAMESPACE, APP, &image(version))).await?;
            }
        }
        Ok(())
    }
}

/// Serin itself, as `serin controller` runs it, with the embedded cluster's metrics.
fn control(api: &ApiServer, reader: &SimReader, clock: &Clock) -> impl Future<Output = Result<(), StartError>> + use<> {
    let outside = Outside {
        metrics: Arc::new(reader.clone()),
        hooks: Arc::new(SimCaller::new(clock.clone())),
        alerts: Arc::new(SimSender::new(clock.clone())),
    };
    let settings = Settings::default();
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), &settings.mesh_provider, clock.clone());
    let vitals = Vitals {
        metrics,
        health: Health::default(),
    };
    let for_ever = std::future::pending();
    controller::run(
        api.client("serin"),
        settings,
        outside,
        vitals,
        clock.clone(),
        Claim::permanent(),
        for_ever,
    )
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.controller.abort();
    }
}

fn image(version: &str) -> String {
    format!("{APP}:{version}")
}

/// 1.2.0 is the bad one: under load it answers one request in thirty with an error.
fn script() -> Script {
    Script::default()
        .pace(Pace {
            start: Duration::from_secs(2),
            ready: Duration::from_secs(6),
            ..Pace::default()
        })
        .answers(
            ":1.0.0",
            Behaviour {
                success: 99.95,
                latency: 140.0,
            },
        )
        .answers(
            ":1.1.0",
            Behaviour {
                success: 99.9,
                latency: 120.0,
            },
        )
        .answers(
            ":1.2.0",
            Behaviour {
                success: 99.7,
                latency: 150.0,
            },
        )
        .answers_under_load(
            ":1.2.0",
            0.2,
            Behaviour {
                success: 96.5,
                latency: 330.0,
            },
        )
}
