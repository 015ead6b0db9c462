//! What a test begins with: the objects of the team, the script of the cluster, how Serin was started.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use serin::{
    controller::settings::{Election, Settings},
    notify::Destination,
    sim::{
        fault::{Fault, NoFault},
        world::{Script, manifests},
    },
};

use super::{process::Mishap, stage::Stage};

/// The namespace of everything.
pub const NAMESPACE: &str = "test";
/// The name of the target, its Canary and the Service that clients call.
pub const APP: &str = "app";

/// Seconds after which everybody has heard of a write, and acted on it.
const LATEST_NEWS: u32 = 6;

/// A cluster before the curtain rises.
pub struct Setting {
    pub(super) seed: u64,
    pub(super) watch_delay: Duration,
    pub(super) script: Script,
    pub(super) deployment: Value,
    pub(super) service: Option<Value>,
    pub(super) canary: Option<Value>,
    pub(super) more: Vec<Value>,
    pub(super) settings: Settings,
    pub(super) fault: Arc<dyn Fault>,
    pub(super) route_kinds: Vec<&'static str>,
}

impl Setting {
    /// Three pods behind a Service, and a Canary with `gatewayapi:v1`: steps of 20 up to 60, every 10 s, two failed
    /// checks at most, judged by the built-in metrics.
    pub fn new() -> Self {
        let settings = Settings {
            notifier: Some(Destination {
                service: "slack".into(),
                address: "https://chat.example/hook-of-the-team".into(),
                channel: "general".into(),
                username: "flagger".into(),
                proxy: None,
                token: None,
            }),
            election: Election::Off,
            ..Settings::default()
        };
        Self {
            seed: 1,
            watch_delay: Duration::from_secs(5),
            script: Script::default(),
            deployment: manifests::deployment(NAMESPACE, APP, "app:1", 3),
            service: Some(manifests::service(NAMESPACE, APP)),
            canary: Some(manifests::canary(
                NAMESPACE,
                APP,
                "gatewayapi:v1",
                &manifests::analysis("10s", 2, 60, 20),
            )),
            more: Vec::new(),
            settings,
            fault: Arc::new(NoFault),
            route_kinds: vec!["HTTPRoute", "HTTPProxy", "VirtualService", "DestinationRule"],
        }
    }

    /// The same with another provider.
    pub fn with_provider(provider: &str) -> Self {
        let mut canary = manifests::canary(NAMESPACE, APP, provider, &manifests::analysis("10s", 2, 60, 20));
        if provider == "istio" {
            // Istio confirms nothing, and the data plane here hears of a route later than a real one.
            canary["spec"]["trafficSettleSeconds"] = LATEST_NEWS.into();
        }
        Self {
            canary: Some(canary),
            ..Self::new()
        }
    }

    /// Seeds everything random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Changes the script.
    pub fn script(mut self, change: impl FnOnce(Script) -> Script) -> Self {
        self.script = change(self.script);
        self
    }

    /// Changes `spec` of the Canary by a JSON merge patch.
    pub fn spec(mut self, patch: &Value) -> Self {
        if let Some(canary) = &mut self.canary {
            json_patch::merge(&mut canary["spec"], patch);
        }
        self
    }

    /// Changes `spec.analysis` by a JSON merge patch.
    pub fn analysis(self, patch: &Value) -> Self {
        self.spec(&json!({ "analysis": patch }))
    }

    /// The Canary has these hooks: type, and name; the address is made of the name.
    pub fn hooks(self, hooks: &[(&str, &str)]) -> Self {
        let hooks: Vec<_> = hooks.iter().map(|(kind, name)| hook(kind, name)).collect();
        self.analysis(&json!({ "webhooks": hooks }))
    }

    /// Changes `spec` of the target by a JSON merge patch.
    pub fn deployment(mut self, patch: &Value) -> Self {
        json_patch::merge(&mut self.deployment["spec"], patch);
        self
    }

    /// Changes `metadata` of the target by a JSON merge patch.
    pub fn metadata(mut self, patch: &Value) -> Self {
        json_patch::merge(&mut self.deployment["metadata"], patch);
        self
    }

    /// Changes the Service that stands before the Canary comes, by a JSON merge patch.
    pub fn service(mut self, patch: &Value) -> Self {
        if let Some(service) = &mut self.service {
            json_patch::merge(service, patch);
        }
        self
    }

    /// Another application beside the first, with its Service and a Canary of its own.
    pub fn beside(self, name: &str, replicas: u32, provider: &str, analysis: &Value) -> Self {
        self.object(manifests::deployment(NAMESPACE, name, "app:1", replicas))
            .object(manifests::service(NAMESPACE, name))
            .object(manifests::canary(NAMESPACE, name, provider, analysis))
    }

    /// No Service stands before the Canary comes.
    pub fn without_service(mut self) -> Self {
        self.service = None;
        self
    }

    /// No Canary yet.
    pub fn without_canary(mut self) -> Self {
        self.canary = None;
        self
    }

    /// One more object.
    pub fn object(mut self, object: Value) -> Self {
        self.more.push(object);
        self
    }

    /// Changes how Serin is started.
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// One call of the controller is disturbed.
    pub fn mishap(self, mishap: Arc<Mishap>) -> Self {
        self.fault(mishap)
    }

    /// The calls of the controller pass this.
    pub fn fault(mut self, fault: Arc<dyn Fault>) -> Self {
        self.fault = fault;
        self
    }

    /// Watch events come late by up to this time.
    pub fn watch_delay(mut self, longest: Duration) -> Self {
        self.watch_delay = longest;
        self
    }

    /// The API server does not serve this route kind.
    pub fn without_kind(mut self, kind: &str) -> Self {
        self.route_kinds.retain(|served| *served != kind);
        self
    }

    /// The objects of the team as they will be created: target and Canary.
    #[allow(dead_code, reason = "for tests/schedules, which plays on the same stage")]
    pub fn objects(&self) -> (Value, Value) {
        (self.deployment.clone(), self.canary.clone().unwrap_or_default())
    }

    /// Raises the curtain: cluster, objects, one controller.
    pub async fn raise(self) -> Stage {
        Stage::of(self).await
    }

    /// The same, and waits until the application was taken over and no metric reaches back before that.
    pub async fn initialized(self) -> Stage {
        let stage = self.raise().await;
        stage.until_phase("Initialized").await;
        stage.pass(90).await;
        stage
    }
}

/// One entry of `analysis.webhooks`.
pub fn hook(kind: &str, name: &str) -> Value {
    json!({ "name": name, "type": kind, "url": format!("http://hooks.test/{name}") })
}
