//! The primary copy, the stored revisions and what a Deployment says, by themselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world must stop")]

mod configs;
mod copy;
mod deployment;
mod recovery;
mod revisions;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use serin::{
    rollout::Fingerprint,
    workload::{
        REVISION, Selector, Settings, fingerprint,
        primary::{Identity, PrimaryContext, create, promote, recover},
        primary_facts, store, target_facts,
    },
};

fn selector(key: &str, value: &str) -> Selector {
    Selector {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn owner() -> OwnerReference {
    OwnerReference {
        api_version: "flagger.app/v1beta1".to_owned(),
        kind: "Canary".to_owned(),
        name: "podinfo".to_owned(),
        uid: "canary-uid".to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn identity<'a>(selector: &'a Selector, settings: &'a Settings) -> Identity<'a> {
    Identity {
        target: "podinfo",
        selector,
        settings,
    }
}

fn target() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "podinfo", "namespace": "test", "uid": "target-uid", "generation": 3,
            "labels": {"app": "podinfo", "app.kubernetes.io/part-of": "shop", "team": "a"},
            "annotations": {
                "deployment.kubernetes.io/revision": "7",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "kustomize.toolkit.fluxcd.io/checksum": "x",
                "app.kubernetes.io/owner": "shop",
                "note": "hello",
            },
        },
        "spec": {
            "replicas": 2,
            "paused": true,
            "progressDeadlineSeconds": 60,
            "minReadySeconds": 3,
            "revisionHistoryLimit": 5,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": "podinfo", "tier": "web"}},
            "template": template(),
        },
        "status": {},
    })
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "podinfo", "tier": "web"}, "annotations": {"prometheus.io/scrape": "true"}},
        "spec": {"containers": [{"name": "podinfod", "image": "podinfo:6.0.0", "resources": {}}]},
    })
}

/// What the tests of the copy share.
struct Bench {
    owner: OwnerReference,
    selector: Selector,
    settings: Settings,
    revision: Fingerprint,
}

impl Bench {
    fn new() -> Self {
        Self {
            owner: owner(),
            selector: selector("app", "podinfo"),
            settings: Settings::default(),
            revision: fingerprint(&template()),
        }
    }

    fn cx(&self, run: u64, replicas: u32) -> PrimaryContext<'_> {
        PrimaryContext {
            owner: &self.owner,
            identity: identity(&self.selector, &self.settings),
            revision: &self.revision,
            run,
            attempt: 0,
            replicas,
        }
    }

    fn created(&self) -> Value {
        let mut primary = create(&target(), &template(), &self.cx(0, 2));
        primary["metadata"]["uid"] = "primary-uid".into();
        primary["metadata"]["generation"] = 1.into();
        primary
    }
}

fn applied(live: &Value, patch: &json_patch::Patch) -> Value {
    let mut next = live.clone();
    json_patch::patch(&mut next, patch).unwrap();
    next
}
