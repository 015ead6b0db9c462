//! What happens by itself on the embedded server, what tests can do to it, and what they can see.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::{
    authorization::v1::SelfSubjectAccessReview,
    core::v1::{ConfigMap, Namespace, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy},
};
use serde_json::{Value, json};
use serin::sim::{
    apiserver::{ApiServer, Denial, route_definitions},
    fault::{Action, Among, FailCall, Failure, Recorder},
};

use super::server;

fn configs(client: Client) -> Api<ConfigMap> {
    Api::namespaced(client, "default")
}

fn config(name: &str, owners: &[&ConfigMap], blocking: bool) -> ConfigMap {
    let owners: Vec<Value> = owners
        .iter()
        .map(|owner| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid(),
                "blockOwnerDeletion": blocking})
        })
        .collect();
    serde_json::from_value(json!({"metadata": {"name": name, "ownerReferences": owners}})).unwrap()
}

async fn create(api: &Api<ConfigMap>, object: &ConfigMap) -> ConfigMap {
    api.create(&PostParams::default(), object).await.unwrap()
}

fn names(server: &ApiServer) -> Vec<String> {
    let objects = server.objects("v1", "ConfigMap", "default");
    objects
        .iter()
        .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

// === Garbage collection ===

#[tokio::test(start_paused = true)]
async fn dependents_follow_their_last_owner() {
    let server = server();
    let api = configs(server.client("test"));
    let (a, b) = (
        create(&api, &config("a", &[], false)).await,
        create(&api, &config("b", &[], false)).await,
    );
    create(&api, &config("of-a", &[&a], false)).await;
    create(&api, &config("of-both", &[&a, &b], false)).await;
    let child = create(&api, &config("child", &[&a], false)).await;
    create(&api, &config("grandchild", &[&child], false)).await;
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(names(&server).len(), 5, "collection must not be part of the request");
    settle().await;
    assert_eq!(names(&server), ["b", "of-both"]);
    let left = server.object("v1", "ConfigMap", "default", "of-both").unwrap();
    assert_eq!(left["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_owner_in_foreground_deletion_waits_for_blocking_dependents() {
    let server = server();
    let api = configs(server.client("test"));
    let owner = create(&api, &config("owner", &[], false)).await;
    let mut held = config("held", &[&owner], true);
    held.metadata.finalizers = Some(vec!["example.dev/hold".into()]);
    create(&api, &held).await;
    let foreground = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    api.delete("owner", &foreground).await.unwrap();
    settle().await;
    assert_eq!(names(&server), ["held", "owner"]);
    let release = json!({"metadata": {"finalizers": null}});
    api.patch("held", &PatchParams::default(), &Patch::Merge(&release))
        .await
        .unwrap();
    settle().await;
    assert_eq!(names(&server), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_without_their_owner() {
    let server = server();
    let api = configs(server.client("test"));
    let owner = create(&api, &config("owner", &[], false)).await;
    create(&api, &config("child", &[&owner], true)).await;
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    api.delete("owner", &orphan).await.unwrap();
    settle().await;
    assert_eq!(names(&server), ["child"]);
    let child = server.object("v1", "ConfigMap", "default", "child").unwrap();
    assert_eq!(child["metadata"].get("ownerReferences"), None);
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_owner_was_replaced_goes() {
    let server = server();
    let api = configs(server.client("test"));
    let old = create(&api, &config("owner", &[], false)).await;
    api.delete("owner", &DeleteParams::default()).await.unwrap();
    create(&api, &config("owner", &[], false)).await;
    create(&api, &config("child", &[&old], false)).await;
    settle().await;
    assert_eq!(names(&server), ["owner"]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_empties_before_it_goes() {
    let server = server();
    let client = server.client("test");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let inside: Api<ConfigMap> = Api::namespaced(client, "team");
    let mut held = config("held", &[], false);
    held.metadata.finalizers = Some(vec!["example.dev/hold".into()]);
    inside.create(&PostParams::default(), &held).await.unwrap();
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    settle().await;
    let refused = inside
        .create(&PostParams::default(), &config("late", &[], false))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("because it is being terminated"),
        "{refused}"
    );
    let release = json!({"metadata": {"finalizers": null}});
    inside
        .patch("held", &PatchParams::default(), &Patch::Merge(&release))
        .await
        .unwrap();
    settle().await;
    assert!(namespaces.get_opt("team").await.unwrap().is_none());
}

// === Faults, rights, observers ===

#[tokio::test(start_paused = true)]
async fn a_failed_call_takes_effect_or_not_as_the_fault_says() {
    let before = Action::FailBefore(Failure::InternalError);
    let after = Action::FailAfter(Failure::ConnectionReset);
    let reject = Action::Reject(422, "no".into());
    let forbid = Action::Forbid("you may not".into());
    for (how, exists) in [(before, false), (after, true), (reject, false), (forbid, false)] {
        let server = server();
        let fault = Arc::new(FailCall::new(0, Among::Mutating, how.clone()));
        let api = configs(server.client_with("test", fault.clone()));
        assert!(api.get_opt("a").await.unwrap().is_none());
        api.create(&PostParams::default(), &config("a", &[], false))
            .await
            .unwrap_err();
        assert!(fault.fired());
        assert_eq!(api.get_opt("a").await.unwrap().is_some(), exists, "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_write_lands_even_when_its_sender_is_gone() {
    let server = server();
    let delay = Action::Delay(Duration::from_secs(20));
    let api = configs(server.client_with("test", Arc::new(FailCall::new(0, Among::Mutating, delay))));
    let (params, object) = (PostParams::default(), config("late", &[], false));
    tokio::time::timeout(Duration::from_secs(5), api.create(&params, &object))
        .await
        .unwrap_err();
    assert_eq!(names(&server), Vec::<String>::new());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(names(&server), ["late"]);
}

#[tokio::test(start_paused = true)]
async fn a_recorder_counts_the_calls_that_can_fail() {
    let server = server();
    let recorder = Arc::new(Recorder::default());
    let api = configs(server.client_with("test", recorder.clone()));
    create(&api, &config("a", &[], false)).await;
    api.get("a").await.unwrap();
    assert_eq!((recorder.count(Among::Any), recorder.count(Among::Mutating)), (2, 1));
    assert_eq!(recorder.requests()[1].name, "a");
}

#[tokio::test(start_paused = true)]
async fn a_denied_right_is_refused_and_told() {
    let server = server();
    server.deny(Denial {
        user: "test".into(),
        verb: "create".into(),
        group: String::new(),
        resource: "secrets".into(),
    });
    let client = server.client("test");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    let refused = secrets
        .create(&PostParams::default(), &Secret::default())
        .await
        .unwrap_err();
    let want = "secrets is forbidden: User \"test\" cannot create resource \"secrets\" in API group \"\" in the \
                namespace \"default\"";
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 403 && status.message == want),
        "{refused}"
    );
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client);
    for (verb, allowed) in [("create", false), ("get", true)] {
        let review = json!({"spec": {"resourceAttributes": {"verb": verb, "resource": "secrets"}}});
        let review: SelfSubjectAccessReview = serde_json::from_value(review).unwrap();
        let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
        assert_eq!(answer.status.unwrap().allowed, allowed, "{verb}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_each_write_once_with_the_whole_store() {
    let server = server();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    server.on_write(move |write| {
        let count = write.store.objects("v1", "ConfigMap", "default").count();
        let line = format!("{} {} {} {}", write.user, write.verb, write.name, count);
        log.lock()
            .unwrap()
            .push((line, write.before.is_some(), write.after.is_some()));
    });
    let api = configs(server.client("writer"));
    create(&api, &config("a", &[], false)).await;
    create(&api, &config("b", &[], false)).await;
    let patch = Patch::Merge(json!({"data": {"x": "1"}}));
    api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    api.patch("a", &dry, &Patch::Merge(json!({"data": {"x": "2"}})))
        .await
        .unwrap();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let want = [
        ("writer create a 1", false, true),
        ("writer create b 2", false, true),
        ("writer patch a 2", true, true),
        ("writer delete a 1", true, false),
    ];
    let want: Vec<(String, bool, bool)> = want.iter().map(|(line, b, a)| ((*line).to_owned(), *b, *a)).collect();
    assert_eq!(*seen.lock().unwrap(), want);
    let audit = server.audit();
    assert_eq!(audit.len(), 6);
    assert!(audit[4].dry_run && audit[4].code == 200);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_objects() {
    let mut uids = Vec::new();
    for _ in 0..2 {
        let server = server();
        let object: ConfigMap = serde_json::from_value(json!({"metadata": {"generateName": "x-"}})).unwrap();
        let made = create(&configs(server.client("test")), &object).await;
        uids.push((made.name_any(), made.uid()));
    }
    assert_eq!(uids[0], uids[1]);
}

// === Routes ===

#[tokio::test(start_paused = true)]
async fn routes_get_the_defaults_of_their_published_definitions() {
    let server = server();
    for definition in route_definitions() {
        server.apply_crd(&definition);
    }
    let client = server.client("test");
    let post = |path: &str, body: Value| {
        let request = http::Request::post(path).header("content-type", "application/json");
        let request = request.body(body.to_string().into_bytes()).unwrap();
        let client = client.clone();
        async move { client.request::<Value>(request).await }
    };
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r"},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [{"name": "a", "port": 80}]}]}});
    let path = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes";
    let route = post(path, route).await.unwrap();
    let rule = &route["spec"]["rules"][0];
    assert_eq!(
        rule["backendRefs"][0],
        json!({"group": "", "kind": "Service", "name": "a", "port": 80, "weight": 1})
    );
    assert_eq!(rule["matches"], json!([{"path": {"type": "PathPrefix", "value": "/"}}]));
    assert_eq!(route["spec"]["parentRefs"][0]["kind"], "Gateway");
    let older = server
        .object("gateway.networking.k8s.io/v1beta1", "HTTPRoute", "default", "r")
        .unwrap();
    assert_eq!(older["metadata"]["uid"], route["metadata"]["uid"]);

    let proxy = json!({"apiVersion": "projectcontour.io/v1", "kind": "HTTPProxy", "metadata": {"name": "p"},
        "spec": {"routes": [{"services": [{"name": "a", "port": 80, "weight": 100, "colour": "red"}]}]}});
    let proxy = post("/apis/projectcontour.io/v1/namespaces/default/httpproxies", proxy)
        .await
        .unwrap();
    assert_eq!(proxy["status"]["currentStatus"], "NotReconciled");
    assert_eq!(proxy["spec"]["routes"][0]["services"][0].get("colour"), None);
}
