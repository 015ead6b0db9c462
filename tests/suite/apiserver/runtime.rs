//! kube's own runtime on the embedded server, under a paused clock.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

use super::{server, start};

fn config(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"key": value}})).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_every_change_in_order_and_late() {
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
    let _ = Arc::new(());
}
