//! What the conformance script does, group by group. A path's `NS` is the script's namespace.

use serde_json::{Value, json};

use super::script::{NAMESPACE, Step, apply, delete, deployment, get, json_patch, merge, post, put, strategic};

const CMS: &str = "/api/v1/NS/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/NS/deployments";
const SERVICES: &str = "/api/v1/NS/services";
const WIDGETS: &str = "/apis/example.dev/v1/NS/widgets";

/// All steps, in the order in which they are played.
pub fn all() -> Vec<Step> {
    let groups = [
        setup(),
        crud(),
        lists(),
        watches(),
        deletion(),
        patches(),
        deployments(),
        applies(),
        services(),
        custom(),
        kinds(),
        errors(),
    ];
    groups.into_iter().flatten().collect()
}

/// The custom resource of the script.
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.dev"},
        "spec": {
            "group": "example.dev", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                    "labelSelectorPath": ".status.selector"}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": widget_spec()},
                    "status": {"type": "object", "properties": {
                        "phase": {"type": "string"}, "replicas": {"type": "integer"}, "selector": {"type": "string"}}},
                }}},
            }],
        },
    })
}

fn widget_spec() -> Value {
    json!({
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "replicas": {"type": "integer"},
        "colour": {"type": "string", "default": "red", "enum": ["red", "green"]},
        "interval": {"type": "string", "pattern": "^[0-9]+(m|s)$"},
        "note": {"type": "string", "nullable": true},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "limits": {"type": "object", "additionalProperties": {"type": "string"}},
        "rules": {"type": "array", "items": {"type": "object", "properties": {
            "weight": {"type": "integer", "default": 1}, "name": {"type": "string"}}}},
        "parents": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"}, "port": {"type": "integer"}}}},
        "port": {"x-kubernetes-int-or-string": true},
    })
}

fn setup() -> Vec<Step> {
    vec![post(
        "setup namespace",
        "/api/v1/namespaces",
        json!({"metadata": {"name": NAMESPACE}}),
    )]
}

fn config(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn crud() -> Vec<Step> {
    let one = format!("{CMS}/one");
    vec![
        post("create", CMS, config("one", json!({"a": "1"}))),
        get("get", &one),
        get("get metadata only", &one),
        post("create again", CMS, config("one", json!({"a": "2"}))),
        put("put without a version", &one, config("one", json!({"a": "2"}))),
        put("put the same again", &one, config("one", json!({"a": "2"}))),
        put(
            "put with a stale version",
            &one,
            json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "one", "resourceVersion": "{rv:create}"}, "data": {"a": "3"}}),
        ),
        put(
            "put with another uid",
            &one,
            json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "one", "uid": "00000000-0000-0000-0000-000000000000"}, "data": {"a": "3"}}),
        ),
        put("put with another name", &one, config("two", json!({}))),
        put(
            "put without a name",
            &one,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}),
        ),
        put(
            "put of an absent object",
            &format!("{CMS}/none"),
            config("none", json!({})),
        ),
        put(
            "put tries to change system metadata",
            &one,
            json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "one", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7,
                "selfLink": "/x"}, "data": {"a": "2"}}),
        ),
        post(
            "create with a resourceVersion",
            CMS,
            json!({"metadata": {"name": "x", "resourceVersion": "1"}}),
        ),
        post("create without a name", CMS, json!({"metadata": {}})),
        post("create with a bad name", CMS, config("Bad_Name", json!({}))),
        post(
            "create in another namespace",
            CMS,
            json!({"metadata": {"name": "x", "namespace": "other"}}),
        ),
        post(
            "create in no namespace",
            "/api/v1/namespaces/nowhere/configmaps",
            config("x", json!({})),
        ),
        post(
            "create of another kind",
            CMS,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}),
        ),
        post(
            "create of another version",
            CMS,
            json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "x"}}),
        ),
        post(
            "create with an unknown field",
            CMS,
            json!({"metadata": {"name": "odd"}, "colour": "red"}),
        ),
        post(
            "create with an unknown field, strict",
            &format!("{CMS}?fieldValidation=Strict"),
            json!({"metadata": {"name": "odd2"}, "colour": "red", "metadataa": {}}),
        ),
        post(
            "create with an unknown field, ignored",
            &format!("{CMS}?fieldValidation=Ignore"),
            json!({"metadata": {"name": "odd3"}, "colour": "red"}),
        ),
        post(
            "create dry run",
            &format!("{CMS}?dryRun=All"),
            config("dry", json!({"a": "1"})),
        ),
        get("dry run stored nothing", &format!("{CMS}/dry")),
        put(
            "put dry run",
            &format!("{one}?dryRun=All"),
            config("one", json!({"a": "dry"})),
        ),
        get("put dry run stored nothing", &one),
        post(
            "create with empty maps and nulls",
            CMS,
            json!({"metadata": {"name": "empty", "labels": {},
            "annotations": null}, "data": {}, "binaryData": null}),
        ),
        post(
            "create with a manager",
            &format!("{CMS}?fieldManager=someone"),
            config("managed", json!({"a": "1"})),
        ),
        put(
            "put by another manager",
            &format!("{CMS}/managed?fieldManager=other"),
            config("managed", json!({"a": "1", "b": "2"})),
        ),
        put(
            "put takes a field over",
            &format!("{CMS}/managed?fieldManager=third"),
            config("managed", json!({"a": "9", "b": "2"})),
        ),
    ]
}

fn lists() -> Vec<Step> {
    let labelled =
        |name: &str, tier: &str| json!({"metadata": {"name": name, "labels": {"tier": tier, "set": "lists"}}});
    vec![
        post("list: first", CMS, labelled("l1", "a")),
        post("list: second", CMS, labelled("l2", "a")),
        post("list: third", CMS, labelled("l3", "b")),
        get("list by label", &format!("{CMS}?labelSelector=set%3Dlists,tier%3Da")),
        get(
            "list by expression",
            &format!("{CMS}?labelSelector=set%3Dlists,tier+notin+(a)"),
        ),
        get("list by name", &format!("{CMS}?fieldSelector=metadata.name%3Dl2")),
        get(
            "list by a field that is not supported",
            &format!("{CMS}?fieldSelector=data.a%3Dl2"),
        ),
        get("list metadata only", &format!("{CMS}?labelSelector=tier%3Db")),
        get("list a first page", &format!("{CMS}?labelSelector=set%3Dlists&limit=2")),
        get(
            "list the next page",
            &format!("{CMS}?labelSelector=set%3Dlists&limit=2&continue={{continue:list a first page}}"),
        ),
        get("list with a bad continue", &format!("{CMS}?limit=2&continue=!!!")),
        get("list of no objects", "/api/v1/NS/secrets"),
        get("list in no namespace", "/api/v1/namespaces/nowhere/configmaps"),
        get(
            "list from the future",
            &format!("{CMS}?resourceVersion=99999999&resourceVersionMatch=NotOlderThan"),
        ),
        get("list of a bad version", &format!("{CMS}?resourceVersion=abc")),
        delete(
            "delete a collection",
            &format!("{CMS}?labelSelector=set%3Dlists"),
            Value::Null,
        ),
        get("list after the delete", &format!("{CMS}?labelSelector=set%3Dlists")),
    ]
}

fn watches() -> Vec<Step> {
    let watch = |query: &str| format!("{CMS}?watch=true&timeoutSeconds=1&{query}");
    vec![
        post(
            "watch: create",
            CMS,
            json!({"metadata": {"name": "w", "labels": {"set": "watch"}}, "data": {"a": "1"}}),
        ),
        merge("watch: change", &format!("{CMS}/w"), json!({"data": {"a": "2"}})),
        merge(
            "watch: label away",
            &format!("{CMS}/w"),
            json!({"metadata": {"labels": {"set": "other"}}}),
        ),
        merge(
            "watch: label back",
            &format!("{CMS}/w"),
            json!({"metadata": {"labels": {"set": "watch"}}}),
        ),
        delete("watch: delete", &format!("{CMS}/w"), Value::Null),
        get(
            "watch from a version",
            &watch("resourceVersion={rv:watch: create}&fieldSelector=metadata.name%3Dw"),
        ),
        get(
            "watch by label",
            &watch("resourceVersion={rv:watch: create}&labelSelector=set%3Dwatch"),
        ),
        get(
            "watch metadata only",
            &watch("resourceVersion={rv:watch: create}&labelSelector=set%3Dother"),
        ),
        get("watch from now", &watch("fieldSelector=metadata.name%3Done")),
        get(
            "watch of an old version",
            &watch("resourceVersion=1&fieldSelector=metadata.name%3Dnothing"),
        ),
    ]
}

fn deletion() -> Vec<Step> {
    let held = |name: &str| json!({"metadata": {"name": name, "finalizers": ["example.dev/hold"]}, "data": {"a": "1"}});
    let f = format!("{CMS}/f");
    vec![
        post("delete: plain", CMS, config("d", json!({}))),
        delete(
            "delete with a wrong uid",
            &format!("{CMS}/d"),
            json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}),
        ),
        delete(
            "delete with a stale version",
            &format!("{CMS}/d"),
            json!({"preconditions": {"resourceVersion": "1"}}),
        ),
        delete("delete dry run", &format!("{CMS}/d"), json!({"dryRun": ["All"]})),
        delete("delete", &format!("{CMS}/d"), Value::Null),
        delete("delete again", &format!("{CMS}/d"), Value::Null),
        delete(
            "delete with a bad policy",
            &format!("{CMS}/one"),
            json!({"propagationPolicy": "Sometimes"}),
        ),
        post("delete: held", CMS, held("f")),
        delete("delete a held object", &f, Value::Null),
        delete("delete a held object again", &f, Value::Null),
        merge(
            "a finalizer more while deleting",
            &f,
            json!({"metadata": {"finalizers": ["example.dev/hold", "example.dev/more"]}}),
        ),
        merge("a change while deleting", &f, json!({"data": {"a": "2"}})),
        merge("undelete", &f, json!({"metadata": {"deletionTimestamp": null}})),
        merge("the last finalizer goes", &f, json!({"metadata": {"finalizers": null}})),
        get("gone after the last finalizer", &f),
        post("delete: foreground", CMS, config("fg", json!({}))),
        delete(
            "delete in the foreground",
            &format!("{CMS}/fg"),
            json!({"propagationPolicy": "Foreground"}),
        ),
        json_patch(
            "the foreground finalizer goes",
            &format!("{CMS}/fg"),
            json!([{"op": "remove", "path": "/metadata/finalizers"}]),
        ),
        post("delete: orphan", CMS, config("orphan", json!({}))),
        delete(
            "delete and orphan",
            &format!("{CMS}/orphan"),
            json!({"propagationPolicy": "Orphan"}),
        ),
        merge(
            "deletionTimestamp by hand",
            &format!("{CMS}/one"),
            json!({"metadata": {"deletionTimestamp": "2030-01-01T00:00:00Z"}}),
        ),
    ]
}

fn patches() -> Vec<Step> {
    let p = format!("{CMS}/p");
    vec![
        post(
            "patch: create",
            CMS,
            json!({"metadata": {"name": "p", "labels": {"x": "1"}}, "data": {"a": "1", "b": "2"}}),
        ),
        merge("merge patch", &p, json!({"data": {"a": "2", "b": null, "c": "3"}})),
        merge("merge patch that changes nothing", &p, json!({"data": {"a": "2"}})),
        merge(
            "merge patch with a stale version",
            &p,
            json!({"metadata": {"resourceVersion": "1"}, "data": {"a": "4"}}),
        ),
        merge(
            "merge patch with another uid",
            &p,
            json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}}),
        ),
        merge("merge patch with another name", &p, json!({"metadata": {"name": "q"}})),
        merge("merge patch with an unknown field", &p, json!({"colour": "red"})),
        merge(
            "merge patch with an unknown field, strict",
            &format!("{p}?fieldValidation=Strict"),
            json!({"colour": "red"}),
        ),
        merge(
            "merge patch of an absent object",
            &format!("{CMS}/none"),
            json!({"data": {}}),
        ),
        merge("merge patch that is no object", &p, json!([1])),
        merge("merge patch with a wrong type", &p, json!({"data": {"a": 5}})),
        merge(
            "merge patch with force",
            &format!("{p}?force=true"),
            json!({"data": {"a": "2"}}),
        ),
        json_patch(
            "json patch",
            &p,
            json!([{"op": "test", "path": "/data/a", "value": "2"},
            {"op": "replace", "path": "/data/a", "value": "5"}, {"op": "add", "path": "/data/d", "value": "6"}]),
        ),
        json_patch(
            "json patch whose test fails",
            &p,
            json!([{"op": "test", "path": "/data/a", "value": "2"},
            {"op": "replace", "path": "/data/a", "value": "7"}]),
        ),
        json_patch(
            "json patch of an absent path",
            &p,
            json!([{"op": "replace", "path": "/data/none", "value": "7"}]),
        ),
        json_patch(
            "json patch that removes an absent path",
            &p,
            json!([{"op": "remove", "path": "/data/none"}]),
        ),
        json_patch("json patch that is none", &p, json!({"a": 1})),
        json_patch(
            "json patch of generation",
            &p,
            json!([{"op": "test", "path": "/metadata/generation", "value": 1}]),
        ),
        strategic("strategic patch", &p, json!({"data": {"a": "8", "c": null}})),
        strategic(
            "strategic patch of finalizers",
            &p,
            json!({"metadata": {"finalizers": ["example.dev/a"]}}),
        ),
        strategic(
            "strategic patch of more finalizers",
            &p,
            json!({"metadata": {"finalizers": ["example.dev/b"]}}),
        ),
        strategic(
            "strategic patch deletes from a list",
            &p,
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.dev/a", "example.dev/b"]}}),
        ),
        merge(
            "patch dry run",
            &format!("{p}?dryRun=All"),
            json!({"data": {"a": "dry"}}),
        ),
        get("after the patches", &p),
    ]
}

fn deployments() -> Vec<Step> {
    let web = format!("{DEPLOYMENTS}/web");
    vec![
        post("deployment", DEPLOYMENTS, deployment("web")),
        merge("deployment: label", &web, json!({"metadata": {"labels": {"x": "1"}}})),
        merge(
            "deployment: annotation",
            &web,
            json!({"metadata": {"annotations": {"x": "1"}}}),
        ),
        merge("deployment: replicas", &web, json!({"spec": {"replicas": 3}})),
        merge(
            "deployment: paused false is absent",
            &web,
            json!({"spec": {"paused": false, "minReadySeconds": 0}}),
        ),
        merge(
            "deployment: status by the main resource",
            &web,
            json!({"status": {"replicas": 5}}),
        ),
        merge(
            "deployment: status",
            &format!("{web}/status"),
            json!({"status": {"replicas": 3, "observedGeneration": 3,
            "conditions": [{"type": "Available", "status": "True", "reason": "R", "message": "m"}]}}),
        ),
        merge(
            "deployment: spec by the status",
            &format!("{web}/status"),
            json!({"spec": {"replicas": 9},
            "metadata": {"labels": {"y": "2"}, "annotations": {"y": "2"}}}),
        ),
        get("deployment: get status", &format!("{web}/status")),
        get("deployment: get scale", &format!("{web}/scale")),
        merge(
            "deployment: patch scale",
            &format!("{web}/scale?fieldManager=scaler"),
            json!({"spec": {"replicas": 4}}),
        ),
        put(
            "deployment: put scale with a stale version",
            &format!("{web}/scale"),
            json!({"apiVersion": "autoscaling/v1",
            "kind": "Scale", "metadata": {"name": "web", "namespace": NAMESPACE, "resourceVersion": "{rv:deployment}"},
            "spec": {"replicas": 5}}),
        ),
        put(
            "deployment: put scale",
            &format!("{web}/scale"),
            json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "web", "namespace": NAMESPACE}, "spec": {"replicas": 5}}),
        ),
        merge(
            "deployment: negative scale",
            &format!("{web}/scale"),
            json!({"spec": {"replicas": -1}}),
        ),
        get("deployment: after the scales", &web),
        json_patch(
            "deployment: fenced replicas",
            &web,
            json!([
            {"op": "test", "path": "/metadata/uid", "value": "{uid:deployment}"},
            {"op": "test", "path": "/metadata/generation", "value": 5},
            {"op": "replace", "path": "/spec/replicas", "value": 6}]),
        ),
        json_patch(
            "deployment: fenced replicas, late",
            &web,
            json!([
            {"op": "test", "path": "/metadata/uid", "value": "{uid:deployment}"},
            {"op": "test", "path": "/metadata/generation", "value": 5},
            {"op": "replace", "path": "/spec/replicas", "value": 7}]),
        ),
        strategic(
            "deployment: a second container",
            &web,
            json!({"spec": {"template": {"spec": {"containers": [
            {"name": "side", "image": "side:latest", "env": [{"name": "A", "value": "1"}]}]}}}}),
        ),
        strategic(
            "deployment: change of one container",
            &web,
            json!({"spec": {"template": {"spec": {"containers": [
            {"name": "side", "env": [{"name": "B", "value": ""}]}]}}}}),
        ),
        strategic(
            "deployment: container away",
            &web,
            json!({"spec": {"template": {"spec": {"containers": [
            {"name": "side", "$patch": "delete"}]}}}}),
        ),
        merge("deployment: a wrong type", &web, json!({"spec": {"replicas": "three"}})),
        merge("deployment: negative replicas", &web, json!({"spec": {"replicas": -1}})),
        merge(
            "deployment: another selector",
            &web,
            json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
        ),
        post(
            "deployment: nothing in it",
            DEPLOYMENTS,
            json!({"metadata": {"name": "hollow"}, "spec": {}}),
        ),
        post(
            "deployment: labels do not match",
            DEPLOYMENTS,
            json!({"metadata": {"name": "odd"}, "spec": {
            "selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "b"}},
            "spec": {"containers": [{"name": "a", "image": "a"}]}}}}),
        ),
        post("deployment: rich", DEPLOYMENTS, rich()),
        delete("deployment: delete", &web, Value::Null),
        delete(
            "deployment: delete in the foreground",
            &format!("{DEPLOYMENTS}/rich"),
            json!({"propagationPolicy": "Foreground"}),
        ),
    ]
}

fn rich() -> Value {
    let mut rich = deployment("rich");
    rich["spec"]["strategy"] = json!({"type": "Recreate"});
    rich["spec"]["template"]["spec"] = json!({
        "serviceAccountName": "robot",
        "nodeSelector": {"disk": "ssd"},
        "volumes": [{"name": "c", "configMap": {"name": "one"}}, {"name": "s", "secret": {"secretName": "s"}},
            {"name": "e", "emptyDir": {}}, {"name": "n"}],
        "initContainers": [{"name": "init", "image": "host:5000/init"}],
        "containers": [{
            "name": "web", "image": "web@sha256:0123456789012345678901234567890123456789012345678901234567890123",
            "resources": {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "100m"}},
            "readinessProbe": {"httpGet": {"port": 80}, "initialDelaySeconds": 0},
            "livenessProbe": {"tcpSocket": {"port": "http"}},
            "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "envFrom": [{"configMapRef": {"name": "one"}}],
            "volumeMounts": [{"name": "c", "mountPath": "/c", "readOnly": false}],
            "ports": [{"name": "http", "containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}],
        }],
    });
    rich
}

fn applies() -> Vec<Step> {
    let path = format!("{SERVICES}/applied");
    let service = |ports: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "applied"},
            "spec": {"selector": {"app": "web"}, "ports": ports}})
    };
    let http = || json!({"name": "http", "port": 80});
    let admin = || json!({"name": "admin", "port": 9090, "targetPort": "admin"});
    let labels = |labels: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "applied", "labels": labels}});
    vec![
        apply("apply creates", &path, "one", service(json!([http()]))),
        apply("apply the same", &path, "one", service(json!([http()]))),
        apply(
            "apply without a name",
            &format!("{SERVICES}/nameless"),
            "one",
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {},
            "spec": {"ports": [http()]}}),
        ),
        apply(
            "apply without a name to an object",
            &path,
            "one",
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {},
            "spec": {"selector": {"app": "web"}, "ports": [http()]}}),
        ),
        apply(
            "apply without metadata",
            &path,
            "one",
            json!({"apiVersion": "v1", "kind": "Service"}),
        ),
        apply("apply without a manager", &path, "", service(json!([http()]))),
        apply(
            "apply without a version",
            &path,
            "one",
            json!({"kind": "Service", "metadata": {"name": "applied"}}),
        ),
        apply(
            "apply without a kind",
            &path,
            "one",
            json!({"apiVersion": "v1", "metadata": {"name": "applied"}}),
        ),
        apply(
            "apply of another kind",
            &path,
            "one",
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "applied"}}),
        ),
        apply(
            "apply with managedFields",
            &path,
            "one",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied", "managedFields": []}}),
        ),
        apply(
            "a second manager adds a port",
            &path,
            "two",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied"}, "spec": {"ports": [admin()]}}),
        ),
        apply(
            "a second manager wants a field",
            &path,
            "two",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied"}, "spec": {"ports": [admin(), {"name": "web", "port": 80}]}}),
        ),
        apply(
            "a second manager wants two fields",
            &path,
            "two",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied"}, "spec": {"selector": {"app": "x"}, "ports": [admin(), {"name": "web", "port": 80}]}}),
        ),
        apply(
            "a second manager forces",
            &path,
            "two&force=true",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied"}, "spec": {"ports": [admin(), {"name": "web", "port": 80}]}}),
        ),
        apply(
            "a second manager shares a value",
            &path,
            "three",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied"}, "spec": {"selector": {"app": "web"}}}),
        ),
        apply(
            "the second manager drops a port",
            &path,
            "two",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied"}, "spec": {"ports": [{"name": "web", "port": 80}]}}),
        ),
        apply(
            "the first manager drops everything",
            &path,
            "one",
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "applied"}}),
        ),
        apply("apply labels", &path, "four", labels(json!({"a": "1", "b": "2"}))),
        apply("apply fewer labels", &path, "four", labels(json!({"a": "1"}))),
        merge(
            "an update takes a label",
            &format!("{path}?fieldManager=hand"),
            json!({"metadata": {"labels": {"a": "9"}}}),
        ),
        apply("apply against an update", &path, "four", labels(json!({"a": "1"}))),
        apply(
            "apply with force against an update",
            &path,
            "four&force=true",
            labels(json!({"a": "1"})),
        ),
        apply(
            "apply with a stale version",
            &path,
            "four",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied", "resourceVersion": "1", "labels": {"a": "1"}}}),
        ),
        apply(
            "apply with another uid",
            &path,
            "four",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied", "uid": "00000000-0000-0000-0000-000000000000", "labels": {"a": "1"}}}),
        ),
        apply(
            "apply an unknown field",
            &path,
            "four",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied"}, "spec": {"colour": "red"}}),
        ),
        apply(
            "apply an unknown field, strict",
            &path,
            "four&fieldValidation=Strict",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied"}, "spec": {"colour": "red"}}),
        ),
        apply(
            "apply a port twice",
            &path,
            "five",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "applied"}, "spec": {"ports": [{"port": 1}, {"port": 1}]}}),
        ),
        apply("apply dry run", &path, "six&dryRun=All", labels(json!({"dry": "1"}))),
        apply(
            "apply of an absent object with a uid",
            &format!("{SERVICES}/ghost"),
            "one",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}, "spec": {"ports": [http()]}}),
        ),
        get("after the applies", &path),
        apply(
            "apply a deployment",
            &format!("{DEPLOYMENTS}/applied"),
            "one",
            deployment("applied"),
        ),
        apply(
            "apply fewer replicas",
            &format!("{DEPLOYMENTS}/applied"),
            "two&force=true",
            json!({"apiVersion": "apps/v1",
            "kind": "Deployment", "metadata": {"name": "applied"}, "spec": {"replicas": 1}}),
        ),
        apply(
            "apply a deployment without replicas",
            &format!("{DEPLOYMENTS}/applied"),
            "one",
            {
                let mut without = deployment("applied");
                without["spec"]
                    .as_object_mut()
                    .expect("spec must be a map")
                    .remove("replicas");
                without
            },
        ),
        apply(
            "apply a container's image",
            &format!("{DEPLOYMENTS}/applied"),
            "ci",
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "applied"}, "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}),
        ),
        apply(
            "apply a status",
            &format!("{DEPLOYMENTS}/applied/status"),
            "ctl",
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "applied"}, "status": {"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]}}),
        ),
    ]
}

fn services() -> Vec<Step> {
    let s = format!("{SERVICES}/s");
    vec![
        post(
            "service",
            SERVICES,
            json!({"metadata": {"name": "s"}, "spec": {"selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}),
        ),
        merge("service: selector", &s, json!({"spec": {"selector": {"app": "other"}}})),
        put(
            "service: put without addresses",
            &s,
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 81}]}}),
        ),
        merge(
            "service: another address",
            &s,
            json!({"spec": {"clusterIP": "10.0.77.77", "clusterIPs": ["10.0.77.77"]}}),
        ),
        post(
            "service: no ports",
            SERVICES,
            json!({"metadata": {"name": "none"}, "spec": {}}),
        ),
        post(
            "service: unnamed ports",
            SERVICES,
            json!({"metadata": {"name": "none"}, "spec": {"ports": [{"port": 1}, {"port": 2}]}}),
        ),
        post(
            "service: headless",
            SERVICES,
            json!({"metadata": {"name": "headless"}, "spec": {"clusterIP": "None",
            "selector": {"app": "web"}, "ports": [{"port": 80}]}}),
        ),
        post(
            "service: external name",
            SERVICES,
            json!({"metadata": {"name": "ext"}, "spec": {"type": "ExternalName", "externalName": "a.example"}}),
        ),
        delete("service: delete", &s, Value::Null),
        put(
            "service: put creates",
            &s,
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"ports": [{"port": 80}]}}),
        ),
    ]
}

fn custom() -> Vec<Step> {
    let a = format!("{WIDGETS}/a");
    let widget = |name: &str, spec: Value| json!({"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec});
    let status = format!("{a}/status");
    vec![
        post(
            "widget",
            WIDGETS,
            widget(
                "a",
                json!({"size": 1, "free": {"x": {"y": 1}}, "rules": [{}, {"weight": 5}], "port": "http"}),
            ),
        ),
        post(
            "widget: unknown field",
            WIDGETS,
            widget("b", json!({"size": 1, "shape": "round", "rules": [{"depth": 1}]})),
        ),
        post(
            "widget: unknown field, strict",
            &format!("{WIDGETS}?fieldValidation=Strict"),
            widget("c", json!({"size": 1, "shape": "round"})),
        ),
        post(
            "widget: many mistakes",
            WIDGETS,
            widget("c", json!({"size": 11, "colour": "blue", "interval": "5h"})),
        ),
        post(
            "widget: missing and mistyped",
            WIDGETS,
            widget("c", json!({"replicas": "three"})),
        ),
        post(
            "widget: nulls",
            WIDGETS,
            widget(
                "nulls",
                json!({"size": 2, "note": null, "colour": null, "interval": null}),
            ),
        ),
        post(
            "widget: no spec",
            WIDGETS,
            json!({"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": "bare"}}),
        ),
        post(
            "widget: a duplicate in a keyed list",
            WIDGETS,
            widget("dup", json!({"size": 1, "parents": [{"name": "x"}, {"name": "x"}]})),
        ),
        post(
            "widget: int or string",
            WIDGETS,
            widget("ios", json!({"size": 1, "port": true})),
        ),
        merge("widget: label", &a, json!({"metadata": {"labels": {"x": "1"}}})),
        merge(
            "widget: annotation",
            &a,
            json!({"metadata": {"annotations": {"x": "1"}}}),
        ),
        merge("widget: size", &a, json!({"spec": {"size": 2}})),
        merge(
            "widget: status by the main resource",
            &a,
            json!({"status": {"phase": "Odd"}}),
        ),
        merge(
            "widget: status",
            &status,
            json!({"status": {"phase": "Ready", "replicas": 2, "selector": "app=web", "extra": 1}}),
        ),
        merge(
            "widget: spec by the status",
            &status,
            json!({"spec": {"size": 9}, "metadata": {"labels": {"y": "1"}}, "status": {"phase": "Steady"}}),
        ),
        merge(
            "widget: status that changes nothing",
            &status,
            json!({"status": {"phase": "Steady"}}),
        ),
        put("widget: put without a version", &a, widget("a", json!({"size": 3}))),
        put(
            "widget: put with a stale version",
            &a,
            json!({"apiVersion": "example.dev/v1", "kind": "Widget",
            "metadata": {"name": "a", "resourceVersion": "{rv:widget}"}, "spec": {"size": 3}}),
        ),
        put(
            "widget: put",
            &a,
            json!({"apiVersion": "example.dev/v1", "kind": "Widget",
            "metadata": {"name": "a", "resourceVersion": "{rv:widget: status that changes nothing}"}, "spec": {"size": 3, "replicas": 2}}),
        ),
        strategic("widget: strategic patch", &a, json!({"spec": {"size": 4}})),
        get("widget: scale", &format!("{a}/scale")),
        merge(
            "widget: patch scale",
            &format!("{a}/scale"),
            json!({"spec": {"replicas": 4}}),
        ),
        apply(
            "widget: apply creates",
            &format!("{WIDGETS}/ap"),
            "one",
            widget(
                "ap",
                json!({"size": 1, "parents": [{"name": "x", "port": 1}],
            "rules": [{"name": "r"}], "limits": {"cpu": "1"}}),
            ),
        ),
        apply(
            "widget: apply the same",
            &format!("{WIDGETS}/ap"),
            "one",
            widget(
                "ap",
                json!({"size": 1, "parents": [{"name": "x", "port": 1}],
            "rules": [{"name": "r"}], "limits": {"cpu": "1"}}),
            ),
        ),
        apply(
            "widget: a second parent",
            &format!("{WIDGETS}/ap"),
            "two",
            widget("ap", json!({"parents": [{"name": "y"}]})),
        ),
        apply(
            "widget: an atomic list of another",
            &format!("{WIDGETS}/ap"),
            "two",
            widget("ap", json!({"parents": [{"name": "y"}], "rules": [{"name": "s"}]})),
        ),
        apply(
            "widget: a limit of another",
            &format!("{WIDGETS}/ap"),
            "two",
            widget("ap", json!({"limits": {"memory": "1"}})),
        ),
        apply(
            "widget: apply a status",
            &format!("{WIDGETS}/ap/status"),
            "ctl",
            json!({"apiVersion": "example.dev/v1", "kind": "Widget",
            "metadata": {"name": "ap"}, "status": {"phase": "Ready"}}),
        ),
        apply(
            "widget: apply an unknown field",
            &format!("{WIDGETS}/ap"),
            "two",
            widget("ap", json!({"shape": "round"})),
        ),
        apply(
            "widget: apply drops",
            &format!("{WIDGETS}/ap"),
            "one",
            widget("ap", json!({"size": 1})),
        ),
        get("widget: list", WIDGETS),
        get("widget: get status", &status),
        delete("widget: delete", &a, Value::Null),
    ]
}

fn kinds() -> Vec<Step> {
    let lease = "/apis/coordination.k8s.io/v1/NS/leases";
    let hpa = "/apis/autoscaling/v2/NS/horizontalpodautoscalers";
    let pod = |name: &str, extra: Value| {
        let mut pod = json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1",
            "resources": {"limits": {"cpu": "1"}}}]}});
        json_patch::merge(&mut pod, &extra);
        pod
    };
    let pods = "/api/v1/NS/pods";
    vec![
        post(
            "lease",
            lease,
            json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15,
            "renewTime": "2024-01-01T00:00:00.123456Z", "leaseTransitions": 0}}),
        ),
        put(
            "lease: put without a version",
            &format!("{lease}/l"),
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "l"}, "spec": {"holderIdentity": "b"}}),
        ),
        merge(
            "lease: released",
            &format!("{lease}/l"),
            json!({"spec": {"holderIdentity": ""}}),
        ),
        put(
            "lease: put creates",
            &format!("{lease}/new"),
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "new"}, "spec": {"holderIdentity": "b"}}),
        ),
        post(
            "secret",
            "/api/v1/NS/secrets",
            json!({"metadata": {"name": "s"}, "stringData": {"a": "1"}, "data": {"b": "Mg=="}}),
        ),
        post(
            "event",
            "/api/v1/NS/events",
            json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Canary", "name": "a",
            "namespace": NAMESPACE}, "reason": "Synced", "message": "m", "type": "Normal", "source": {"component": "flagger"},
            "firstTimestamp": "2024-01-01T00:00:00Z", "lastTimestamp": "2024-01-01T00:00:00Z", "count": 1}),
        ),
        post(
            "event again",
            "/api/v1/NS/events",
            json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Canary", "name": "a",
            "namespace": NAMESPACE}, "reason": "Synced", "message": "m", "type": "Normal", "source": {"component": "flagger"}}),
        ),
        get(
            "events of an object",
            "/api/v1/NS/events?fieldSelector=involvedObject.name%3Da,involvedObject.kind%3DCanary",
        ),
        post(
            "revision",
            "/apis/apps/v1/NS/controllerrevisions",
            json!({"metadata": {"name": "r"}, "revision": 1,
            "data": {"spec": {"template": {"a": null, "b": 0}}}}),
        ),
        merge(
            "revision: other data",
            "/apis/apps/v1/NS/controllerrevisions/r",
            json!({"data": {"x": 1}}),
        ),
        merge(
            "revision: other number",
            "/apis/apps/v1/NS/controllerrevisions/r",
            json!({"revision": 2}),
        ),
        post(
            "autoscaler",
            hpa,
            json!({"metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"apiVersion": "apps/v1",
            "kind": "Deployment", "name": "web"}, "maxReplicas": 3}}),
        ),
        post(
            "autoscaler: bad bounds",
            hpa,
            json!({"metadata": {"name": "h2"}, "spec": {"scaleTargetRef": {"apiVersion": "apps/v1",
            "kind": "Deployment", "name": "web"}, "minReplicas": 5, "maxReplicas": 3}}),
        ),
        merge(
            "autoscaler: minimum",
            &format!("{hpa}/h"),
            json!({"spec": {"minReplicas": 2}}),
        ),
        post(
            "slice",
            "/apis/discovery.k8s.io/v1/NS/endpointslices",
            json!({"metadata": {"name": "sl"}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": true}}, {"addresses": ["10.1.2.4"]}],
            "ports": [{"port": 80}]}),
        ),
        merge(
            "slice: labels",
            "/apis/discovery.k8s.io/v1/NS/endpointslices/sl",
            json!({"metadata": {"labels": {"a": "b"}}}),
        ),
        merge(
            "slice: annotations",
            "/apis/discovery.k8s.io/v1/NS/endpointslices/sl",
            json!({"metadata": {"annotations": {"a": "b"}}}),
        ),
        post(
            "replica set",
            "/apis/apps/v1/NS/replicasets",
            json!({"metadata": {"name": "rs"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}}),
        ),
        merge(
            "replica set: annotation",
            "/apis/apps/v1/NS/replicasets/rs",
            json!({"metadata": {"annotations": {"a": "b"}}}),
        ),
        post(
            "daemon set",
            "/apis/apps/v1/NS/daemonsets",
            json!({"metadata": {"name": "ds"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}}),
        ),
        merge(
            "daemon set: template",
            "/apis/apps/v1/NS/daemonsets/ds",
            json!({"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}}),
        ),
        post("pod", pods, pod("p", json!({}))),
        merge(
            "pod: label",
            &format!("{pods}/p"),
            json!({"metadata": {"labels": {"v": "2"}}}),
        ),
        merge(
            "pod: image",
            &format!("{pods}/p"),
            json!({"spec": {"containers": [{"name": "web", "image": "web:2",
            "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent"}]}}),
        ),
        merge(
            "pod: status",
            &format!("{pods}/p/status"),
            json!({"status": {"phase": "Running", "podIP": "10.1.1.1",
            "podIPs": [{"ip": "10.1.1.1"}], "conditions": [{"type": "Ready", "status": "True"}]}}),
        ),
        delete("pod: delete unscheduled", &format!("{pods}/p"), Value::Null),
        post("pod: on a node", pods, pod("q", json!({"spec": {"nodeName": "n"}}))),
        delete("pod: delete gracefully", &format!("{pods}/q"), Value::Null),
        delete("pod: delete again", &format!("{pods}/q"), Value::Null),
        delete(
            "pod: delete at once",
            &format!("{pods}/q"),
            json!({"gracePeriodSeconds": 0}),
        ),
        get("pod: gone", &format!("{pods}/q")),
        post(
            "service account",
            "/api/v1/NS/serviceaccounts",
            json!({"metadata": {"name": "robot"}}),
        ),
        post(
            "node",
            "/api/v1/nodes",
            json!({"metadata": {"name": "conformance-node"}, "status": {"capacity": {"cpu": "4"}}}),
        ),
        post(
            "generated name is refused when bad",
            CMS,
            json!({"metadata": {"generateName": "Bad_"}}),
        ),
    ]
}

fn errors() -> Vec<Step> {
    vec![
        get("no such object", &format!("{CMS}/nothing")),
        get("no such resource", "/api/v1/NS/nothings"),
        get("no such group", "/apis/nothing.dev/v1/things"),
        get("no such subresource", &format!("{CMS}/one/status")),
        post("post to an object", &format!("{CMS}/one"), json!({})),
        put("put to a collection", CMS, config("one", json!({}))),
        post("a bad dry run", &format!("{CMS}?dryRun=Some"), config("x", json!({}))),
        post(
            "a bad label",
            CMS,
            json!({"metadata": {"name": "x", "labels": {"a": "not valid!"}}}),
        ),
        post(
            "a bad owner",
            CMS,
            json!({"metadata": {"name": "x", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}}),
        ),
        post(
            "two controllers",
            CMS,
            json!({"metadata": {"name": "x", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1", "controller": true},
            {"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "2", "controller": true}]}}),
        ),
        post(
            "access review",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            json!({"apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}),
        ),
        post(
            "immutable: create",
            CMS,
            json!({"metadata": {"name": "fixed"}, "immutable": true, "data": {"a": "1"}}),
        ),
        merge(
            "immutable: change",
            &format!("{CMS}/fixed"),
            json!({"data": {"a": "2"}}),
        ),
        delete(
            "namespace: delete",
            &format!("/api/v1/namespaces/{NAMESPACE}"),
            Value::Null,
        ),
        post("create in a namespace that goes", CMS, config("late", json!({}))),
        merge(
            "change in a namespace that goes",
            &format!("{CMS}/one"),
            json!({"data": {"a": "late"}}),
        ),
    ]
}
