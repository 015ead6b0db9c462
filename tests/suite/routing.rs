//! Routes and Services: what every provider owes, and what each draws.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world must stop")]

mod announcement;
mod confirmation;
mod contract;
mod golden;
pub mod istio;
mod kubernetes;
mod refusal;
mod services;
mod table;
mod traffic;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};
use serin::{
    api::Canary,
    rollout::{Destination, RouteFacts, Subject, Traffic, Weight},
    routing::{RouteContext, Router, Settings, router},
};

/// A Canary and all that a route of it is drawn from.
struct Bench {
    canary: Canary,
    subject: Subject,
    owner: OwnerReference,
    settings: Settings,
    router: &'static dyn Router,
}

impl Bench {
    /// The Canary of spec/routers.md 15 with `service` laid over it.
    fn new(provider: &str, service: &Value) -> Self {
        let mut object = json!({
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": {"name": "podinfo", "namespace": "test", "uid": "canary-uid"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
                "service": {"port": 80, "targetPort": 9898, "gatewayRefs": [{"name": "gateway", "namespace": "ingress"}]},
                "analysis": {"interval": "10s", "threshold": 1, "stepWeight": 10},
            },
        });
        json_patch::merge(&mut object["spec"]["service"], service);
        Self {
            canary: serde_json::from_value(object).unwrap(),
            subject: Subject {
                target: "podinfo".to_owned(),
                apex: "podinfo".to_owned(),
                provider: provider.to_owned(),
            },
            owner: OwnerReference {
                api_version: "flagger.app/v1beta1".to_owned(),
                kind: "Canary".to_owned(),
                name: "podinfo".to_owned(),
                uid: "canary-uid".to_owned(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            },
            settings: Settings::default(),
            router: router(provider).unwrap(),
        }
    }

    /// The same with `spec.analysis` laid over.
    fn with_analysis(mut self, analysis: &Value) -> Self {
        let mut object = serde_json::to_value(&self.canary).unwrap();
        json_patch::merge(&mut object["spec"]["analysis"], analysis);
        self.canary = serde_json::from_value(object).unwrap();
        self
    }

    fn plain(provider: &str) -> Self {
        Self::new(provider, &json!({}))
    }

    fn cx(&self) -> RouteContext<'_> {
        RouteContext {
            canary: &self.canary,
            subject: &self.subject,
            owner: &self.owner,
            settings: &self.settings,
        }
    }

    /// The route as the API server stores it after creation.
    fn created(&self, percent: u8) -> Value {
        self.created_for(&shared(percent))
    }

    fn created_for(&self, traffic: &Traffic) -> Value {
        let mut object = self.router.create(&self.cx(), traffic).unwrap();
        object["metadata"]["resourceVersion"] = "100".into();
        object["metadata"]["generation"] = 1.into();
        object
    }

    fn edited(&self, live: &Value, percent: u8) -> Value {
        applied(live, &self.router.edit(&self.cx(), live, &shared(percent)).unwrap())
    }

    fn handed_back(&self, live: &Value, original: bool) -> Value {
        applied(live, &self.router.hand_back(&self.cx(), live, original).unwrap())
    }

    fn announced(&self, live: &Value, destination: Destination) -> Value {
        applied(live, &self.router.announce(&self.cx(), live, destination).unwrap())
    }

    fn led(&self, live: &Value, destination: Destination) -> Value {
        applied(live, &self.router.lead(&self.cx(), live, destination).unwrap())
    }

    /// What the route says, given that it is to be at home.
    fn facts(&self, live: &Value) -> RouteFacts {
        self.router.facts(&self.cx(), live, &Traffic::default())
    }

    fn facts_at(&self, live: &Value, percent: u8) -> RouteFacts {
        self.router.facts(&self.cx(), live, &shared(percent))
    }

    /// The weight that the route carries, given that it is drawn.
    fn drawn_weight(&self, live: &Value) -> Option<u8> {
        let weight = self.facts(live).weight?;
        let stands = self.facts_at(live, weight.percent()).drawn;
        stands.map(|traffic| traffic.weight.percent())
    }
}

fn shared(percent: u8) -> Traffic {
    Traffic::shared(weight(percent))
}

fn weight(percent: u8) -> Weight {
    Weight::try_from(percent).unwrap()
}

fn applied(live: &Value, patch: &json_patch::Patch) -> Value {
    let mut next = live.clone();
    json_patch::patch(&mut next, patch).unwrap();
    next
}
