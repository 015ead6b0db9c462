//! Each check is shown a write that breaks it and one that does not.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    Recorded, Replay, checks,
    view::{Objects, Release, Written},
};
use crate::{rollout::Side, sim::world::manifests};

struct Cluster(Vec<Value>);

impl Objects for Cluster {
    fn of(&self, _api_version: &str, kind: &str, _namespace: &str) -> Vec<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).collect()
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a fixed time must be valid")
}

/// A canary in the middle of a run, with so many ready pods on each side.
fn cluster(stage: &str, weight: u32, ready: [usize; 2]) -> Cluster {
    let mut canary = manifests::canary("test", "app", "gatewayapi:v1", &manifests::analysis("10s", 3, 50, 10));
    canary["metadata"]["uid"] = json!("canary-uid");
    canary["status"] = json!({
        "phase": "Progressing",
        "serin": {
            "version": 1, "stage": stage, "since": now(), "run": 1, "weight": weight, "capacity": 4,
            "subject": { "target": "app", "apex": "app", "provider": "gatewayapi:v1" },
            "plan": { "steps": [10, 20, 30, 40, 50] },
            "why": { "reason": "Test", "message": "" },
        },
    });
    let mut objects = vec![canary];
    for (deployment, service, count) in [
        ("app-primary", "app-primary", ready[0]),
        ("app", "app-canary", ready[1]),
    ] {
        let mut workload = manifests::deployment("test", deployment, "app:1", 4);
        workload["spec"]["template"]["metadata"]["labels"]["app"] = json!(deployment);
        objects.push(workload);
        let pod = |index: usize| format!("{deployment}-hash-{index}");
        objects.extend((0..count).map(|index| {
            json!({ "kind": "Pod", "metadata": { "name": pod(index), "ownerReferences": [{ "name": format!("{deployment}-hash") }] } })
        }));
        // One pod stands in two slices, and one more is on its way out.
        let endpoint = |index: usize, ready: bool| json!({ "conditions": { "ready": ready, "terminating": !ready }, "targetRef": { "name": pod(index), "uid": pod(index) } });
        let mut endpoints: Vec<_> = (0..count).map(|index| endpoint(index, true)).collect();
        endpoints.extend((0..count.min(1)).map(|index| endpoint(index, true)));
        endpoints.push(endpoint(99, false));
        objects.push(json!({
            "kind": "EndpointSlice",
            "metadata": { "labels": { "kubernetes.io/service-name": service } },
            "endpoints": endpoints,
        }));
    }
    let mut apex = manifests::service("test", "app");
    apex["spec"]["selector"]["app"] = json!("app-primary");
    objects.push(apex);
    Cluster(objects)
}

fn release(cluster: &Cluster) -> Release {
    Release::all(cluster, "test")
        .pop()
        .expect("the canary must be readable")
}

fn route(primary: u32, canary: u32) -> Value {
    json!({
        "kind": "HTTPRoute",
        "metadata": { "name": "app" },
        "spec": { "rules": [{ "backendRefs": [
            { "name": "app-primary", "weight": primary }, { "name": "app-canary", "weight": canary },
        ] }] },
    })
}

fn written<'a>(kind: &'a str, name: &'a str, before: &'a Value, after: &'a Value) -> Written<'a> {
    Written {
        kind,
        namespace: "test",
        name,
        before: Some(before),
        after: Some(after),
        at: now(),
    }
}

fn route_verdict(cluster: &Cluster, before: &Value, after: &Value) -> String {
    checks::route(&written("HTTPRoute", "app", before, after), cluster, &release(cluster)).join("; ")
}

#[test]
fn weights_sum_to_their_whole_and_follow_the_status() {
    let cluster = cluster("Stepping", 20, [4, 4]);
    assert_eq!(route_verdict(&cluster, &route(90, 10), &route(80, 20)), "");
    assert!(route_verdict(&cluster, &route(90, 10), &route(70, 20)).contains("1: a rule sums"));
    assert!(route_verdict(&cluster, &route(90, 10), &route(70, 30)).contains("status first"));
}

#[test]
fn a_side_is_raised_only_to_what_its_ready_pods_carry() {
    for (ready, expected) in [
        (2, ""),
        (1, "2: Canary is raised to 50 with 1 ready pods of the 2 it needs"),
    ] {
        let cluster = cluster("Stepping", 50, [4, ready]);
        assert_eq!(route_verdict(&cluster, &route(60, 40), &route(50, 50)), expected);
    }
}

#[test]
fn on_the_way_home_the_primary_gets_what_it_carries() {
    let half = cluster("RollingBack", 50, [2, 4]);
    assert_eq!(route_verdict(&half, &route(0, 100), &route(50, 50)), "");
    let all = cluster("RollingBack", 0, [2, 4]);
    assert!(route_verdict(&all, &route(0, 100), &route(100, 0)).starts_with("2: Primary is raised to 100"));
    let deserted = cluster("RollingBack", 0, [1, 0]);
    assert_eq!(route_verdict(&deserted, &route(0, 100), &route(100, 0)), "");
}

#[test]
fn pods_are_taken_only_from_a_side_without_weight_in_flight() {
    let cluster = cluster("RollingBack", 0, [4, 4]);
    let (before, after) = (
        manifests::deployment("test", "app", "app:1", 4),
        manifests::deployment("test", "app", "app:1", 0),
    );
    let verdict = |in_flight| {
        let write = written("Deployment", "app", &before, &after);
        checks::workload(&write, &cluster, &release(&cluster), Side::Canary, in_flight).join("; ")
    };
    assert_eq!(verdict([100, 0]), "");
    assert!(verdict([100, 10]).starts_with("2: Canary goes from 4 to 0 replicas"));
}

#[test]
fn the_primary_is_rolled_only_by_a_promotion_and_within_its_weight() {
    let (before, mut after) = (
        manifests::deployment("test", "app-primary", "app:1", 4),
        manifests::deployment("test", "app-primary", "app:2", 4),
    );
    let verdict = |stage, after: &Value, weight| {
        let cluster = cluster(stage, 50, [4, 4]);
        let write = written("Deployment", "app-primary", &before, after);
        checks::workload(&write, &cluster, &release(&cluster), Side::Primary, [weight, 50]).join("; ")
    };
    assert_eq!(
        verdict("Promoting", &after, 75),
        "",
        "a quarter of four pods may be away"
    );
    assert!(verdict("Promoting", &after, 76).starts_with("3: the primary rolls at weight 76: 3 pods"));
    assert!(verdict("Stepping", &after, 50).starts_with("3: the primary's template is written in stage"));
    let mut rolled = before.clone();
    rolled["spec"]["template"]["metadata"]["annotations"] = json!({ "serin.dev/restarted": "1" });
    let mut base = before.clone();
    base["spec"]["template"]["metadata"]["annotations"] = json!({});
    let cluster_at_rest = cluster("Resting", 0, [4, 4]);
    let write = written("Deployment", "app-primary", &base, &rolled);
    let found = checks::workload(
        &write,
        &cluster_at_rest,
        &release(&cluster_at_rest),
        Side::Primary,
        [75, 0],
    );
    assert_eq!(found, Vec::<String>::new());
    after["spec"]["strategy"] = json!({ "type": "Recreate" });
    assert!(verdict("Promoting", &after, 1).contains("0 pods stay ready"));
    assert_eq!(verdict("Promoting", &after, 0), "");
}

#[test]
fn clients_are_not_sent_to_a_side_without_pods() {
    let (mut before, mut after) = (manifests::service("test", "app"), manifests::service("test", "app"));
    before["spec"]["selector"]["app"] = json!("app");
    after["spec"]["selector"]["app"] = json!("app-primary");
    for (ready, expected) in [(4, 0), (1, 1)] {
        let cluster = cluster("Initializing", 0, [ready, 4]);
        let write = written("Service", "app", &before, &after);
        assert_eq!(
            checks::service(&write, &cluster, &release(&cluster), [100, 0]).len(),
            expected
        );
    }
}

#[test]
fn the_intended_weight_follows_the_plan_upwards() {
    let verdict = |stage: &str, from: u32, to: u32| {
        let (before, after) = (cluster("Stepping", from, [4, 4]), cluster(stage, to, [4, 4]));
        checks::status(
            &written("Canary", "app", &before.0[0], &after.0[0]),
            &after,
            &release(&after),
        )
        .join("; ")
    };
    assert_eq!(verdict("Stepping", 10, 20), "");
    assert!(verdict("Stepping", 10, 30).starts_with("1: the weight goes from 10 to 30"));
    assert!(verdict("RollingBack", 10, 20).starts_with("1: "));
    assert_eq!(verdict("RollingBack", 30, 0), "");
    assert_eq!(verdict("Shielding", 50, 100), "");
}

#[test]
fn the_value_of_a_secret_is_found_wherever_it_stands() {
    let event = json!({ "message": "POST https://hooks.example/t0psecret failed" });
    let write = written("Event", "app", &event, &event);
    assert_eq!(checks::secrets(&write, &["t0psecret".to_owned()]).len(), 1);
    assert!(checks::secrets(&write, &["another".to_owned()]).is_empty());
}

#[test]
fn a_replay_judges_recorded_writes_by_the_objects_that_the_writes_before_have_left() {
    let mut replay = Replay::default();
    let mut record = |kind: &str, name: &str, after: Option<Value>, judged: bool| {
        replay.see(Recorded {
            verb: "patch".to_owned(),
            kind: kind.to_owned(),
            namespace: "test".to_owned(),
            name: name.to_owned(),
            after,
            at: now(),
            judged,
        });
        replay.violations().len()
    };
    for (number, object) in cluster("Stepping", 20, [4, 4]).0.into_iter().enumerate() {
        let kind = object["kind"].as_str().expect("manifests have a kind").to_owned();
        let name = object["metadata"]["name"]
            .as_str()
            .map_or_else(|| number.to_string(), str::to_owned);
        record(&kind, &name, Some(object), false);
    }
    assert_eq!(
        record("HTTPRoute", "app", Some(route(90, 10)), false),
        0,
        "others are not judged"
    );
    assert_eq!(record("HTTPRoute", "app", Some(route(80, 20)), true), 0);
    assert_eq!(record("HTTPRoute", "app", Some(route(70, 30)), true), 1, "status first");
    assert_eq!(replay.judged(), 2);
}
