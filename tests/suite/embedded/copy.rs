//! The primary as a copy of the target: what is renamed, what comes along, what stays behind, and when it is drawn anew (`spec/core.md` 8,
//! 38 to 41 and 56). Its finer points, object by object, are in `tests/suite/workload/copy.rs`.

use serde_json::{Value, json};

use super::{setting::Setting, stage::Stage};

const TOOLKIT: &str = "kustomize.toolkit.fluxcd.io/checksum";

/// The pods are told by the label `name`, whose value is not the target's name.
fn told_by_name(setting: Setting) -> Setting {
    let labels = json!({ "app": null, "name": "podinfo" });
    setting
        .deployment(&json!({
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels } },
        }))
        .service(&json!({ "spec": { "selector": labels } }))
}

fn prefixes(setting: Setting, prefixes: &[&str]) -> Setting {
    let prefixes = prefixes.iter().map(ToString::to_string).collect();
    setting.settings(|settings| settings.include_label_prefix = prefixes)
}

/// A part of the primary.
fn of_primary(stage: &Stage, pointer: &str) -> Value {
    stage
        .deployment("app-primary")
        .pointer(pointer)
        .cloned()
        .unwrap_or_default()
}

fn selector(stage: &Stage, service: &str) -> Value {
    stage.object("v1", "Service", service)["spec"]["selector"].take()
}

async fn promoted(stage: &Stage, image: &str) {
    stage.push(image).await;
    stage
        .until("promoted", |stage| {
            stage.image("app-primary") == image && stage.phase() == "Succeeded"
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn core_038_the_label_names_the_pods_and_the_target_names_the_primary() {
    let stage = told_by_name(Setting::new()).initialized().await;
    let primary = json!({ "name": "podinfo-primary" });
    let pods_labels = "/spec/template/metadata/labels";
    assert_eq!(of_primary(&stage, "/spec/selector/matchLabels"), primary);
    assert_eq!(of_primary(&stage, pods_labels), primary);
    for (service, selected) in [
        ("app", &primary),
        ("app-primary", &primary),
        ("app-canary", &json!({ "name": "podinfo" })),
    ] {
        assert_eq!(selector(&stage, service), *selected, "{service}");
    }
    promoted(&stage, "app:2").await;
    assert_eq!(of_primary(&stage, pods_labels), primary);
    assert_eq!(stage.story.weights(), [0, 20, 40, 60, 0]);
    assert_eq!(stage.answers().lost.to_string(), "0");
}

#[tokio::test(start_paused = true)]
async fn core_039_annotations_of_the_toolkit_are_not_copied() {
    let annotations = json!({ TOOLKIT: "1", "note": "hello" });
    let stage = Setting::new()
        .metadata(&json!({ "annotations": annotations }))
        .deployment(&json!({ "template": { "metadata": { "annotations": annotations } } }))
        .initialized()
        .await;
    let has = |place: &str, key: &str| !of_primary(&stage, &format!("{place}/annotations"))[key].is_null();
    for place in ["/metadata", "/spec/template/metadata"] {
        assert!(has(place, "note") && !has(place, TOOLKIT), "{place}");
    }
    promoted(&stage, "app:2").await;
    assert!(has("/spec/template/metadata", "note") && !has("/spec/template/metadata", TOOLKIT));
    assert!(!has("/metadata", TOOLKIT));
}

#[tokio::test(start_paused = true)]
async fn core_040_included_prefixes_reach_the_primary_at_promotion() {
    let stage = prefixes(told_by_name(Setting::new()), &["app.kubernetes.io"])
        .initialized()
        .await;
    let members = json!({ "app.kubernetes.io/part-of": "shop", "other": "x" });
    stage
        .change(&super::stage::named(
            "apps/v1",
            "Deployment",
            "app",
            &json!({ "metadata": { "labels": members, "annotations": members } }),
        ))
        .await;
    promoted(&stage, "app:2").await;
    assert_eq!(
        of_primary(&stage, "/metadata/labels"),
        json!({ "name": "podinfo-primary", "app.kubernetes.io/part-of": "shop" })
    );
    let annotations = of_primary(&stage, "/metadata/annotations");
    assert_eq!(
        (&annotations["app.kubernetes.io/part-of"], &annotations["other"]),
        (&json!("shop"), &Value::Null)
    );
}

/// Terms of spread and distance about pods labelled so, beside terms about others.
fn terms(own: &str) -> Value {
    let term = |value: &str| {
        json!({ "topologyKey": "kubernetes.io/hostname", "labelSelector": {
            "matchLabels": { "app": value, "zone": "app" },
            "matchExpressions": [
                { "key": "app", "operator": "In", "values": ["other", value] },
                { "key": "team", "operator": "In", "values": ["app"] },
            ],
        } })
    };
    json!({
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { "app": own } },
        }],
        "affinity": { "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [term(own), term("somebody")],
            "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 1, "podAffinityTerm": term(own) }],
        } },
    })
}

#[tokio::test(start_paused = true)]
async fn core_041_terms_about_its_own_pods_follow_and_terms_about_others_stay() {
    let stage = Setting::new()
        .deployment(&json!({ "template": { "spec": terms("app") } }))
        .initialized()
        .await;
    let drawn = |stage: &Stage| {
        let spec = of_primary(stage, "/spec/template/spec");
        json!({ "topologySpreadConstraints": spec["topologySpreadConstraints"], "affinity": spec["affinity"] })
    };
    assert_eq!(drawn(&stage), terms("app-primary"));
    promoted(&stage, "app:2").await;
    assert_eq!(drawn(&stage), terms("app-primary"));
    assert_eq!(
        stage.deployment("app")["spec"]["template"]["spec"]["affinity"],
        terms("app")["affinity"]
    );
}

#[tokio::test(start_paused = true)]
async fn core_056_prefixes_choose_the_labels_that_are_copied() {
    for (given, copied) in [
        (
            &["foo", "lor"][..],
            json!({ "app": "app-primary", "foo/a": "1", "lorem": "2" }),
        ),
        (
            &["*"],
            json!({ "app": "app-primary", "foo/a": "1", "lorem": "2", "bar": "3" }),
        ),
        (&[""], json!({ "app": "app-primary" })),
    ] {
        let stage = prefixes(Setting::new(), given)
            .metadata(&json!({ "labels": { "foo/a": "1", "lorem": "2", "bar": "3" } }))
            .initialized()
            .await;
        assert_eq!(of_primary(&stage, "/metadata/labels"), copied, "{given:?}");
        promoted(&stage, "app:2").await;
        assert_eq!(of_primary(&stage, "/metadata/labels"), copied, "{given:?}");
    }
}

/// Another version of Serin may copy otherwise, and so does this one with other flags: a label that tells pods is renamed where terms name
/// it, and more is copied along. Production is not rolled for it, nothing is released, and a failed release does not touch it either; the
/// next promotion draws it as it is drawn today.
#[tokio::test(start_paused = true)]
async fn a_change_of_how_the_primary_is_copied_restarts_nothing() {
    let spread = |value: &str| {
        json!([{
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { "tier": value } },
        }])
    };
    let bad = serin::sim::world::traffic::Behaviour {
        success: 50.0,
        latency: 120.0,
    };
    let mut stage = Setting::new()
        .metadata(&json!({ "labels": { "team": "shop" } }))
        .deployment(&json!({ "template": {
            "metadata": { "labels": { "tier": "app" } },
            "spec": { "topologySpreadConstraints": spread("app") },
        } }))
        .script(|script| script.answers("app:2", bad))
        .initialized()
        .await;
    let constraints = "/spec/template/spec/topologySpreadConstraints";
    assert_eq!(of_primary(&stage, constraints), spread("app"));
    let seen = |stage: &Stage| {
        let primary = stage.deployment("app-primary");
        let pods = stage.api.objects("v1", "Pod", "test");
        let uids: Vec<Value> = pods.iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
        (primary["metadata"].clone(), primary["spec"].clone(), uids)
    };
    let (before, run) = (seen(&stage), stage.status()["serin"]["run"].clone());
    stage.serin.stop().await;
    stage.serin.settings(|settings| {
        settings.selector_labels = vec!["app".into(), "tier".into()];
        settings.include_label_prefix = vec!["*".into()];
    });
    stage.serin.start();
    stage.pass(600).await;
    assert_eq!(seen(&stage), before, "neither written nor rolled");
    assert_eq!(
        (&stage.status()["serin"]["run"], stage.phase()),
        (&run, "Initialized".into())
    );
    stage.push("app:2").await;
    stage.until_phase("Failed").await;
    stage.pass(60).await;
    assert_eq!(seen(&stage).1, before.1, "a failed release leaves it as it was");
    promoted(&stage, "app:3").await;
    assert_eq!(of_primary(&stage, constraints), spread("app-primary"));
    assert_eq!(of_primary(&stage, "/metadata/labels/team"), "shop");
}
