//! kube's own runtime on the embedded server, under a paused clock.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    core::PartialObjectMeta,
    runtime::{
        Controller, WatchStreamExt,
        controller::Action,
        finalizer::{Event, finalizer},
        reflector, watcher,
    },
};
use serde_json::json;
use serin::sim::apiserver::ApiServer;

use super::{server, start};

fn config(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"key": value}})).unwrap()
}

fn configs(client: Client) -> Api<ConfigMap> {
    Api::namespaced(client, "default")
}

async fn set(api: &Api<ConfigMap>, name: &str, value: usize) {
    let patch = json!({"data": {"key": value.to_string()}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

async fn twenty_changes(server: &ApiServer, config: watcher::Config) {
    let api = configs(server.client("test"));
    let writer = api.clone();
    let mut events = watcher(api, config).default_backoff().applied_objects().boxed();
    let task = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        writer
            .create(&PostParams::default(), &self::config("a", "0"))
            .await
            .unwrap();
        for value in 1..20 {
            set(&writer, "a", value).await;
        }
    });
    for value in 0..20 {
        let seen = events.try_next().await.unwrap().unwrap();
        assert_eq!(seen.data.unwrap()["key"], value.to_string());
    }
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_every_change_in_order_and_late() {
    let server = server();
    twenty_changes(&server, watcher::Config::default()).await;
    let late = server.clock().now() - start();
    assert!(late.num_milliseconds() > 1000, "twenty events without any delay");
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_ends_with_its_bookmark() {
    let server = server();
    let api = configs(server.client("test"));
    api.create(&PostParams::default(), &config("before", "1"))
        .await
        .unwrap();
    let mut events = watcher(api, watcher::Config::default().streaming_lists()).boxed();
    let mut seen = Vec::new();
    while seen.last() != Some(&"done") {
        seen.push(match events.try_next().await.unwrap().unwrap() {
            watcher::Event::Init => "init",
            watcher::Event::InitApply(_) => "object",
            watcher::Event::InitDone => "done",
            watcher::Event::Apply(_) | watcher::Event::Delete(_) => "later",
        });
    }
    assert_eq!(seen, ["init", "object", "done"]);
    twenty_changes(
        &server,
        watcher::Config::default().streaming_lists().fields("metadata.name=a"),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_by_its_timeout_and_gets_a_bookmark_each_minute_and_before_its_end() {
    let server = server();
    let api = configs(server.client("test"));
    let params = WatchParams::default().timeout(150);
    let silent: Vec<_> = api.watch(&params, "0").await.unwrap().try_collect().await.unwrap();
    assert_eq!(
        silent.len(),
        1,
        "the end of the initial events; nothing was written after it"
    );
    let began = server.clock().now();
    let watch = api.watch(&params, "0").await.unwrap();
    let other: Api<Secret> = Api::namespaced(server.client("test"), "default");
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "s"}})).unwrap();
    other.create(&PostParams::default(), &secret).await.unwrap();
    let events: Vec<_> = watch.try_collect().await.unwrap();
    let bookmarks = events
        .iter()
        .filter(|event| matches!(event, WatchEvent::Bookmark(_)))
        .count();
    assert_eq!((events.len(), bookmarks), (4, 4));
    assert_eq!((server.clock().now() - began).num_seconds(), 150);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_starts_over_when_its_version_is_compacted() {
    let server = server();
    let api = configs(server.client("test"));
    api.create(&PostParams::default(), &config("a", "0")).await.unwrap();
    let old = api
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    set(&api, "a", 1).await;
    server.compact();
    let first = api
        .watch(&WatchParams::default(), &old)
        .await
        .unwrap()
        .boxed()
        .try_next()
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(first, WatchEvent::Error(status) if status.code == 410 && status.reason == "Expired"));
}

#[tokio::test(start_paused = true)]
async fn secrets_can_be_watched_as_metadata() {
    let server = server();
    let secrets: Api<Secret> = Api::namespaced(server.client("test"), "default");
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}})).unwrap();
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(server.client("test"), "default");
    let mut events = watcher(api, watcher::Config::default()).applied_objects().boxed();
    let seen = events.try_next().await.unwrap().unwrap();
    assert_eq!(seen.name_any(), "s");
    assert_eq!(seen.types.unwrap().kind, "PartialObjectMetadata");
}

#[tokio::test(start_paused = true)]
async fn a_controller_reconciles_and_requeues_in_virtual_time() {
    let server = server();
    let client = server.client("controller");
    let api = configs(client.clone());
    api.create(&PostParams::default(), &config("a", "0")).await.unwrap();
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = times.clone();
    let clock = server.clock().clone();
    let controller = Controller::new(api, watcher::Config::default()).run(
        move |_: Arc<ConfigMap>, _: Arc<()>| {
            let (seen, clock) = (seen.clone(), clock.clone());
            async move {
                seen.lock().unwrap().push((clock.now() - start()).num_seconds());
                Ok::<_, kube::Error>(Action::requeue(Duration::from_mins(1)))
            }
        },
        |_, _, _| Action::requeue(Duration::from_secs(1)),
        Arc::new(()),
    );
    tokio::time::timeout(
        Duration::from_secs(601),
        controller.for_each(|_| std::future::ready(())),
    )
    .await
    .unwrap_err();
    let times = times.lock().unwrap();
    let steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(times.len() >= 10, "{times:?}");
    assert!(steps.iter().all(|step| (59..=61).contains(step)), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_runs_before_the_object_goes() {
    let server = server();
    let api = configs(server.client("test"));
    api.create(&PostParams::default(), &config("a", "0")).await.unwrap();
    let object = Arc::new(api.get("a").await.unwrap());
    let apply = |event| async move {
        assert!(matches!(event, Event::Apply(_)));
        Ok::<_, kube::Error>(Action::await_change())
    };
    finalizer(&api, "example.dev/hold", object, apply).await.unwrap();
    let held = api.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(held.metadata.deletion_timestamp.is_some());
    let cleanup = |event| async move {
        assert!(matches!(event, Event::Cleanup(_)));
        Ok::<_, kube::Error>(Action::await_change())
    };
    finalizer(&api, "example.dev/hold", Arc::new(held), cleanup)
        .await
        .unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_reflector_agrees_with_the_store_in_the_end() {
    let server = server();
    let api = configs(server.client("test"));
    let (reader, writer) = reflector::store::<ConfigMap>();
    let stream = reflector(writer, watcher(api.clone(), watcher::Config::default())).applied_objects();
    let task = tokio::spawn(stream.for_each(|_| std::future::ready(())));
    for index in 0..10 {
        api.create(&PostParams::default(), &config(&format!("c{index}"), "0"))
            .await
            .unwrap();
    }
    set(&api, "c3", 7).await;
    api.delete("c4", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let mut names: Vec<String> = reader.state().iter().map(|object| object.name_any()).collect();
    names.sort();
    let mut want: Vec<String> = api
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    want.sort();
    assert_eq!(names, want);
    assert_eq!(names.len(), 9);
    task.abort();
}
