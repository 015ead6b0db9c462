//! The embedded API server, seen through a plain `kube::Client`.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use serin::{
    clock::Clock,
    sim::apiserver::{ApiServer, Options},
};

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a fixed time must be valid")
}

fn server() -> ApiServer {
    ApiServer::new(Options {
        seed: 1,
        watch_delay: Duration::ZERO..=Duration::from_secs(5),
        clock: Clock::virtual_at(start()),
    })
}

fn config(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"key": value}})).unwrap()
}

#[tokio::test(start_paused = true)]
async fn kubes_watcher_sees_every_change_in_order_and_late() {
    let server = server();
    let api: Api<ConfigMap> = Api::namespaced(server.client("test"), "default");
    let writer = api.clone();
    let mut events = watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .boxed();
    let task = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        writer.create(&PostParams::default(), &config("a", "0")).await.unwrap();
        for value in 1..20 {
            let patch = json!({"data": {"key": value.to_string()}});
            writer
                .patch("a", &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .unwrap();
        }
    });
    for value in 0..20 {
        let seen = events.try_next().await.unwrap().unwrap();
        assert_eq!(seen.data.unwrap()["key"], value.to_string());
    }
    task.await.unwrap();
    let late = server.clock().now() - start();
    assert!(late.num_milliseconds() > 1000, "twenty events without any delay");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_can_be_created_and_scaled() {
    let server = server();
    let api: Api<Deployment> = Api::namespaced(server.client("test"), "default");
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}},
    }))
    .unwrap();
    let created = api.create(&PostParams::default(), &deployment).await.unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    let patch = json!({"spec": {"replicas": 3}});
    let scaled = api
        .patch("web", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    assert_eq!(scaled.metadata.generation, Some(2));
    let error = api.create(&PostParams::default(), &deployment).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.is_already_exists()));
    let _: (Arc<()>, Option<Client>) = (Arc::new(()), None);
}
