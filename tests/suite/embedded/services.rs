//! The three Services, end to end (`spec/core.md` 8, 57 to 62).

use serde_json::{Value, json};

use super::{
    setting::Setting,
    stage::{Stage, named},
};

const CANARY: &str = "flagger.app/v1beta1";

fn service(stage: &Stage, name: &str) -> Value {
    stage.object("v1", "Service", name)
}

async fn edit_service(stage: &Stage, name: &str, patch: Value) {
    stage.change(&named("v1", "Service", name, &patch)).await;
}

#[tokio::test(start_paused = true)]
async fn core_057_headless_services_with_an_application_protocol() {
    let spec = json!({ "service": { "port": 9898, "targetPort": null, "appProtocol": "http", "headless": true } });
    let stage = Setting::new().without_service().spec(&spec).initialized().await;
    for name in ["app-canary", "app-primary"] {
        let spec = service(&stage, name)["spec"].take();
        assert_eq!(spec["clusterIP"], "None", "{name}");
        let port = &spec["ports"][0];
        assert_eq!(
            (&port["name"], &port["port"], &port["appProtocol"]),
            (&json!("http"), &json!(9898), &json!("http")),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn core_058_traffic_distribution_on_all_three_services() {
    let spec = json!({ "service": { "trafficDistribution": "PreferClose" } });
    let stage = Setting::new().without_service().spec(&spec).initialized().await;
    for name in ["app", "app-canary", "app-primary"] {
        assert_eq!(
            service(&stage, name)["spec"]["trafficDistribution"],
            "PreferClose",
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn core_059_a_renamed_port_is_renamed_and_a_port_edited_by_hand_is_put_back() {
    let stage = Setting::new().initialized().await;
    stage.edit_canary(json!({ "service": { "portName": "grpc" } })).await;
    stage
        .until("the new name", |stage| {
            service(stage, "app-canary")["spec"]["ports"][0]["name"] == "grpc"
        })
        .await;
    edit_service(
        &stage,
        "app-canary",
        json!({ "spec": { "ports": [{ "name": "mine", "port": 8080 }] } }),
    )
    .await;
    stage
        .until("the port put back", |stage| {
            let port = service(stage, "app-canary")["spec"]["ports"][0].take();
            port["name"] == "grpc" && port["port"] == 80
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn core_060_services_that_serin_made_belong_to_the_canary_and_one_that_stood_does_not() {
    for (setting, owned) in [(Setting::new(), false), (Setting::new().without_service(), true)] {
        let stage = setting.initialized().await;
        let uid = stage.canary()["metadata"]["uid"].clone();
        let owner = |name: &str| service(&stage, name)["metadata"]["ownerReferences"][0]["uid"].clone();
        assert_eq!((owner("app-primary"), owner("app-canary")), (uid.clone(), uid.clone()));
        assert_eq!(owner("app") == uid, owned);
    }
}

/// W32: by uid, not by name. Whose it is decides about its end: one of ours goes on serving, any other is put back.
#[tokio::test(start_paused = true)]
async fn core_060_a_service_that_another_object_controls_is_not_ours() {
    let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "app", "namespace": "test" } });
    let other = json!({
        "apiVersion": CANARY, "kind": "Canary", "metadata": { "name": "other", "namespace": "test" },
        "spec": {
            "provider": "contour", "service": { "port": 80 },
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "other" },
            "analysis": { "interval": "1m", "threshold": 1, "stepWeight": 10 },
        },
    });
    for (object, why) in [(config, "another kind of the same name"), (other, "another name")] {
        let stage = Setting::new().without_canary().object(object.clone()).raise().await;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let uid = stage.object(api_version, kind, name)["metadata"]["uid"].take();
        let owner = json!([{ "apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true }]);
        edit_service(&stage, "app", json!({ "metadata": { "ownerReferences": owner } })).await;
        let before = service(&stage, "app");
        let mut canary = Setting::new().canary.expect("the setting must have a Canary");
        canary["spec"]["revertOnDeletion"] = json!(true);
        stage.create(&canary).await;
        stage.until_phase("Initialized").await;
        let live = service(&stage, "app");
        assert_eq!(live["spec"]["selector"], json!({ "app": "app-primary" }), "{why}");
        assert_eq!(
            live["metadata"]["ownerReferences"], before["metadata"]["ownerReferences"],
            "{why}"
        );
        stage.delete(CANARY, "Canary", "app").await;
        stage.until("gone", |stage| stage.canary().is_null()).await;
        stage.pass(60).await;
        let after = service(&stage, "app");
        assert_eq!(
            (&after["spec"], &after["metadata"]["ownerReferences"]),
            (&before["spec"], &before["metadata"]["ownerReferences"]),
            "{why}"
        );
        assert_eq!(stage.ready("app"), 3, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn core_061_a_service_that_stood_before_is_restored_on_deletion_and_one_of_ours_serves_on() {
    let before = {
        let stage = Setting::new().without_canary().raise().await;
        stage.create(&json!({ "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": { "name": "other", "namespace": "test" },
            "spec": { "provider": "contour", "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "other" }, "service": { "port": 80 },
            "analysis": { "interval": "1m", "threshold": 1, "stepWeight": 10 } } })).await;
        stage.pass(30).await;
        service(&stage, "app")["spec"].take()
    };
    for (setting, stood) in [(Setting::new(), true), (Setting::new().without_service(), false)] {
        let stage = setting.spec(&json!({ "revertOnDeletion": true })).initialized().await;
        stage.delete("flagger.app/v1beta1", "Canary", "app").await;
        stage.until("gone", |stage| stage.canary().is_null()).await;
        stage.pass(60).await;
        let after = service(&stage, "app");
        assert_eq!(after["spec"]["selector"], json!({ "app": "app" }));
        if stood {
            assert_eq!(after["spec"]["ports"], before["ports"]);
            assert_eq!(after["metadata"]["annotations"], Value::Null, "{after}");
        }
        assert_eq!((stage.replicas("app"), stage.ready("app")), (3, 3));
    }
}

/// What `kubectl` applied last is the second choice, for a Service whose original nobody kept (Flagger keeps none).
#[tokio::test(start_paused = true)]
async fn core_061_without_a_kept_original_the_selector_that_kubectl_applied_is_restored() {
    let labels = json!({ "app": "app", "release": "blue" });
    let applied = json!({ "spec": { "selector": labels, "ports": [{ "port": 80 }] } }).to_string();
    let stage = Setting::new()
        .deployment(&json!({ "template": { "metadata": { "labels": labels } } }))
        .service(&json!({ "spec": { "selector": labels },
            "metadata": { "annotations": { "kubectl.kubernetes.io/last-applied-configuration": applied } } }))
        .spec(&json!({ "revertOnDeletion": true }))
        .initialized()
        .await;
    assert_eq!(stage.selects("app"), "app-primary");
    stage.serin.stop().await;
    let forgotten = json!({ "flagger.kubernetes.io/original-configuration": null });
    edit_service(&stage, "app", json!({ "metadata": { "annotations": forgotten } })).await;
    stage.delete(CANARY, "Canary", "app").await;
    stage.serin.start();
    stage.until("gone", |stage| stage.canary().is_null()).await;
    stage.pass(60).await;
    assert_eq!(service(&stage, "app")["spec"]["selector"], labels);
    assert_eq!(stage.ready("app"), 3);
}

/// Differs from Flagger, for which a missing apex is an error: nothing is left to be put back, and the Canary goes.
#[tokio::test(start_paused = true)]
async fn core_061_a_missing_apex_holds_up_no_deletion() {
    for setting in [Setting::new(), Setting::new().without_service()] {
        let stage = setting.spec(&json!({ "revertOnDeletion": true })).initialized().await;
        stage.serin.stop().await;
        stage.delete("v1", "Service", "app").await;
        stage.delete(CANARY, "Canary", "app").await;
        stage.serin.start();
        stage.until("gone", |stage| stage.canary().is_null()).await;
        stage.pass(60).await;
        assert_eq!((stage.replicas("app"), stage.ready("app")), (3, 3));
        assert!(stage.deployment("app-primary").is_null());
    }
}

#[tokio::test(start_paused = true)]
async fn core_062_metadata_of_the_services_is_kept_as_the_canary_says() {
    let mine = json!({ "labels": { "test": "test" }, "annotations": { "test": "test" } });
    let spec = json!({ "service": {
        "canary": mine, "apex": mine,
        "unmanagedMetadata": { "annotations": ["unmanaged"], "labels": ["unmanaged"] },
    } });
    let stage = Setting::new().without_service().spec(&spec).initialized().await;
    let canary = service(&stage, "app-canary")["metadata"].take();
    assert_eq!(
        (&canary["labels"]["test"], &canary["labels"]["app"]),
        (&json!("test"), &json!("app-canary"))
    );
    let primary = service(&stage, "app-primary")["metadata"].take();
    assert_eq!(
        primary["annotations"],
        json!({ "kustomize.toolkit.fluxcd.io/reconcile": "disabled", "helm.toolkit.fluxcd.io/driftDetection": "disabled" })
    );
    let edit = json!({ "metadata": {
        "annotations": { "unmanaged": "true", "removable": "true", "test": "changed" },
        "labels": { "unmanaged": "true", "removable": "true", "test": "changed" },
    } });
    edit_service(&stage, "app", edit).await;
    stage
        .until("put right", |stage| {
            service(stage, "app")["metadata"]["labels"]["test"] == "test"
        })
        .await;
    let apex = service(&stage, "app")["metadata"].take();
    for kind in ["labels", "annotations"] {
        assert_eq!(
            (&apex[kind]["unmanaged"], &apex[kind]["removable"], &apex[kind]["test"]),
            (&json!("true"), &Value::Null, &json!("test")),
            "{kind}"
        );
    }
    stage
        .edit_canary(json!({ "service": { "apex": { "labels": { "test": null, "tier": "web" } } } }))
        .await;
    stage
        .until("followed", |stage| {
            service(stage, "app")["metadata"]["labels"]["tier"] == "web"
        })
        .await;
    let labels = service(&stage, "app")["metadata"]["labels"].take();
    assert_eq!((&labels["test"], &labels["app"]), (&Value::Null, &json!("app")));
}
