//! What each provider draws, as files would have it, and what an API server makes of it.

use serde_json::{Value, json};

use super::{Bench, shared};

/// Everything of `spec.service` that Gateway API has a word for.
fn full() -> Value {
    json!({
        "hosts": ["www.example.com"],
        "match": [{"uri": {"prefix": "/api"}, "method": {"exact": "GET"}, "headers":
            {"x-b": {"exact": "1"}, "x-a": {"regex": "r.*"}}, "queryParams": {"q": {"exact": "z"}}}],
        "rewrite": {"uri": "/v2", "authority": "backend", "type": "ReplacePrefixMatch"},
        "timeout": "10s", "backendTimeout": "1.5s",
        "headers": {
            "request": {"add": {"b": "2", "a": "1"}, "remove": ["x-secret"]},
            "response": {"set": {"z": "9", "y": "8"}},
        },
        "mirror": [{"backendRef": {"name": "shadow", "port": 80}}],
        "corsPolicy": {"allowOrigin": ["https://a"], "allowMethods": ["GET"], "allowHeaders": ["h"],
            "allowCredentials": true, "maxAge": "24h"},
        "retries": {"attempts": 3, "perTryTimeout": "5s", "retryOn": "5xx, reset"},
        "apex": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
    })
}

#[test]
fn routers_035_a_new_httproute() {
    let bench = Bench::plain("gatewayapi:v1");
    insta::assert_yaml_snapshot!(bench.router.create(&bench.cx(), &shared(0)).unwrap(), @r#"
    apiVersion: gateway.networking.k8s.io/v1
    kind: HTTPRoute
    metadata:
      annotations:
        helm.toolkit.fluxcd.io/driftDetection: disabled
        kustomize.toolkit.fluxcd.io/reconcile: disabled
      name: podinfo
      namespace: test
      ownerReferences:
        - apiVersion: flagger.app/v1beta1
          blockOwnerDeletion: true
          controller: true
          kind: Canary
          name: podinfo
          uid: canary-uid
    spec:
      parentRefs:
        - group: gateway.networking.k8s.io
          kind: Gateway
          name: gateway
          namespace: ingress
      rules:
        - backendRefs:
            - group: ""
              kind: Service
              name: podinfo-primary
              port: 80
              weight: 100
            - group: ""
              kind: Service
              name: podinfo-canary
              port: 80
              weight: 0
          matches:
            - path:
                type: PathPrefix
                value: /
    "#);
}

#[test]
fn routers_039_040_an_httproute_with_everything() {
    let bench = Bench::new("gatewayapi:v1", &full());
    insta::assert_yaml_snapshot!(bench.router.create(&bench.cx(), &shared(30)).unwrap()["spec"], @r#"
    hostnames:
      - www.example.com
    parentRefs:
      - group: gateway.networking.k8s.io
        kind: Gateway
        name: gateway
        namespace: ingress
    rules:
      - backendRefs:
          - group: ""
            kind: Service
            name: podinfo-primary
            port: 80
            weight: 70
          - group: ""
            kind: Service
            name: podinfo-canary
            port: 80
            weight: 30
        filters:
          - requestHeaderModifier:
              add:
                - name: a
                  value: "1"
                - name: b
                  value: "2"
              remove:
                - x-secret
            type: RequestHeaderModifier
          - responseHeaderModifier:
              set:
                - name: y
                  value: "8"
                - name: z
                  value: "9"
            type: ResponseHeaderModifier
          - type: URLRewrite
            urlRewrite:
              hostname: backend
              path:
                replacePrefixMatch: /v2
                type: ReplacePrefixMatch
          - requestMirror:
              backendRef:
                group: ""
                kind: Service
                name: shadow
                port: 80
            type: RequestMirror
          - cors:
              allowCredentials: true
              allowHeaders:
                - h
              allowMethods:
                - GET
              allowOrigins:
                - "https://a"
              maxAge: 86400
            type: CORS
        matches:
          - headers:
              - name: x-a
                type: RegularExpression
                value: r.*
              - name: x-b
                type: Exact
                value: "1"
            method: GET
            path:
              type: PathPrefix
              value: /api
            queryParams:
              - name: q
                type: Exact
                value: z
        timeouts:
          backendRequest: 1s500ms
          request: 10s
    "#);
}

#[test]
fn routers_049_a_new_httpproxy() {
    let mut bench = Bench::new("contour", &full());
    bench.settings.ingress_class = Some("contour".to_owned());
    insta::assert_yaml_snapshot!(bench.router.create(&bench.cx(), &shared(30)).unwrap(), @r#"
    apiVersion: projectcontour.io/v1
    kind: HTTPProxy
    metadata:
      annotations:
        helm.toolkit.fluxcd.io/driftDetection: disabled
        kustomize.toolkit.fluxcd.io/reconcile: disabled
        note: b
      labels:
        team: a
      name: podinfo
      namespace: test
      ownerReferences:
        - apiVersion: flagger.app/v1beta1
          blockOwnerDeletion: true
          controller: true
          kind: Canary
          name: podinfo
          uid: canary-uid
    spec:
      ingressClassName: contour
      routes:
        - conditions:
            - prefix: /api
          retryPolicy:
            count: 3
            perTryTimeout: 5s
            retryOn:
              - 5xx
              - reset
          services:
            - name: podinfo-primary
              port: 80
              requestHeadersPolicy:
                set:
                  - name: l5d-dst-override
                    value: "podinfo-primary.test.svc.cluster.local:80"
              weight: 70
            - name: podinfo-canary
              port: 80
              requestHeadersPolicy:
                set:
                  - name: l5d-dst-override
                    value: "podinfo-canary.test.svc.cluster.local:80"
              weight: 30
          timeoutPolicy:
            idle: 5m
            response: 10s
    "#);
}

#[test]
fn routers_049_a_plain_httpproxy_has_explicit_zeros_and_no_class() {
    let bench = Bench::plain("contour");
    let spec = bench.created(0)["spec"].clone();
    assert_eq!(spec["routes"][0]["conditions"], json!([{"prefix": "/"}]));
    assert_eq!(spec["routes"][0]["services"][1]["weight"], 0);
    assert_eq!(spec.get("ingressClassName"), None);
    assert_eq!(spec["routes"][0].get("retryPolicy"), None);
}

#[test]
fn routers_011_retries_without_a_condition_send_none() {
    let bench = Bench::new("contour", &json!({"retries": {"attempts": 3}}));
    assert_eq!(
        bench.created(0)["spec"]["routes"][0]["retryPolicy"],
        json!({"count": 3})
    );
}

#[test]
fn an_adopted_root_httpproxy_stays_a_root_and_keeps_what_goes_to_another_port() {
    let bench = Bench::plain("contour");
    let before = json!({
        "apiVersion": "projectcontour.io/v1", "kind": "HTTPProxy",
        "metadata": {"name": "podinfo", "namespace": "test"},
        "spec": {
            "virtualhost": {"fqdn": "podinfo.example.com", "tls": {"secretName": "cert"}},
            "includes": [{"name": "other"}],
            "routes": [
                {"conditions": [{"prefix": "/grpc"}], "services": [{"name": "podinfo", "port": 9999, "protocol": "h2c"}]},
                {"services": [{"name": "podinfo", "port": 80, "protocol": "tls"}], "pathRewritePolicy": {"replacePrefix": []}},
            ],
        },
    });
    let live = bench.edited(&before, 30);
    insta::assert_yaml_snapshot!(live["spec"], @r#"
    includes:
      - name: other
    routes:
      - conditions:
          - prefix: /grpc
        services:
          - name: podinfo
            port: 9999
            protocol: h2c
      - pathRewritePolicy:
          replacePrefix: []
        services:
          - name: podinfo-primary
            port: 80
            protocol: tls
            requestHeadersPolicy:
              set:
                - name: l5d-dst-override
                  value: "podinfo-primary.test.svc.cluster.local:80"
            weight: 70
          - name: podinfo-canary
            port: 80
            protocol: tls
            requestHeadersPolicy:
              set:
                - name: l5d-dst-override
                  value: "podinfo-canary.test.svc.cluster.local:80"
            weight: 30
    virtualhost:
      fqdn: podinfo.example.com
      tls:
        secretName: cert
    "#);
    assert_eq!(bench.handed_back(&live, true), {
        let mut expected = before.clone();
        expected["metadata"]["annotations"] = json!({});
        expected
    });
}

#[test]
fn matches_of_the_canary_replace_those_of_an_adopted_httproute() {
    let bench = Bench::new("gatewayapi:v1", &json!({"match": [{"uri": {"prefix": "/api"}}]}));
    let rule = |path: &str| {
        json!({"matches": [{"path": {"type": "Exact", "value": path}}],
               "backendRefs": [{"group": "", "kind": "Service", "name": "podinfo", "port": 80, "weight": 1}]})
    };
    let before = json!({
        "metadata": {"name": "podinfo", "namespace": "test"},
        "spec": {"parentRefs": [{"name": "old"}], "hostnames": ["a.example.com"], "rules": [rule("/a"), rule("/b")]},
    });
    let live = bench.edited(&before, 0);
    assert_eq!(
        live["spec"]["hostnames"],
        json!(["a.example.com"]),
        "the Canary names no hosts"
    );
    assert_eq!(live["spec"]["rules"].as_array().unwrap().len(), 1);
    assert_eq!(
        live["spec"]["rules"][0]["matches"],
        json!([{"path": {"type": "PathPrefix", "value": "/api"}}])
    );
    assert_eq!(live["spec"]["parentRefs"][0]["name"], "gateway");
}

/// What the API server of Gateway API 1.5 fills in where nothing is said.
fn defaulted(mut route: Value) -> Value {
    fn fill(object: &mut Value, key: &str, value: Value) {
        object.as_object_mut().unwrap().entry(key).or_insert(value);
    }
    for parent in route["spec"]["parentRefs"].as_array_mut().unwrap() {
        fill(parent, "group", "gateway.networking.k8s.io".into());
        fill(parent, "kind", "Gateway".into());
    }
    for rule in route["spec"]["rules"].as_array_mut().unwrap() {
        fill(rule, "matches", json!([{}]));
        for entry in rule["matches"].as_array_mut().unwrap() {
            fill(entry, "path", json!({"type": "PathPrefix", "value": "/"}));
            for key in ["headers", "queryParams"] {
                for value in entry.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
                    fill(value, "type", "Exact".into());
                }
            }
        }
        for filter in rule
            .get_mut("filters")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(cors) = filter.get_mut("cors") {
                fill(cors, "maxAge", 5.into());
            }
            if let Some(backend) = filter.pointer_mut("/requestMirror/backendRef") {
                fill(backend, "group", "".into());
                fill(backend, "kind", "Service".into());
            }
        }
        for backend in rule["backendRefs"].as_array_mut().unwrap() {
            fill(backend, "group", "".into());
            fill(backend, "kind", "Service".into());
            fill(backend, "weight", 1.into());
        }
    }
    route
}

#[test]
fn routers_041_what_the_api_server_defaults_is_no_difference() {
    for service in [
        json!({}),
        full(),
        json!({"match": [{"method": {"exact": "GET"}}]}),
        json!({"match": [{"headers": {"a": {"exact": "1"}, "b": {"exact": "2"}}}]}),
        json!({"corsPolicy": {"allowOrigin": ["https://a"]}}),
        json!({"corsPolicy": {"allowOrigin": ["https://a"], "maxAge": "1d"}}),
        json!({"corsPolicy": {"allowOrigin": ["https://a"], "maxAge": "0s"}}),
        json!({"mirror": [{"backendRef": {"name": "shadow", "port": 80}}]}),
        json!({"headers": {"request": {}}, "rewrite": {}}),
    ] {
        let bench = Bench::new("gatewayapi:v1", &service);
        let live = defaulted(bench.created(30));
        assert_eq!(live, bench.created(30), "nothing is left to default: {service}");
        assert_eq!(bench.drawn_weight(&live), Some(30), "{service}");
    }
}

#[test]
fn empty_lists_that_an_api_server_stores_are_no_difference() {
    let bench = Bench::plain("gatewayapi:v1");
    let mut live = bench.created(30);
    live["spec"]["hostnames"] = json!([]);
    live["spec"]["rules"][0]["filters"] = Value::Null;
    live["spec"]["rules"][0]["matches"][0]["headers"] = json!([]);
    assert_eq!(bench.drawn_weight(&live), Some(30));
}

#[test]
fn routers_054_every_field_that_is_drawn_is_held() {
    let bench = Bench::new("gatewayapi:v1", &full());
    let good = bench.created(30);
    for (pointer, value) in [
        ("/spec/hostnames/0", json!("evil.example.com")),
        ("/spec/parentRefs/0/sectionName", json!("http")),
        ("/spec/rules/0/matches/0/path/value", json!("/")),
        ("/spec/rules/0/matches/0/headers", json!([])),
        ("/spec/rules/0/filters/0/requestHeaderModifier/add/0/value", json!("x")),
        ("/spec/rules/0/filters/1/responseHeaderModifier/remove", json!(["z"])),
        ("/spec/rules/0/filters/3/requestMirror/backendRef/name", json!("other")),
        ("/spec/rules/0/timeouts/request", json!("1s")),
        ("/spec/rules/0/backendRefs/0/port", json!(81)),
    ] {
        let mut live = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match live.pointer_mut(parent).unwrap() {
            Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
            object => object[key] = value,
        }
        assert_eq!(bench.drawn_weight(&live), None, "{pointer}");
        assert_eq!(bench.edited(&live, 30), good, "{pointer}");
    }
}

#[test]
fn what_the_canary_no_longer_asks_for_goes_from_our_route() {
    let before = Bench::new("gatewayapi:v1", &full());
    let after = Bench::plain("gatewayapi:v1");
    let mut next = after.edited(&before.created(30), 30);
    next["metadata"]["annotations"].as_object_mut().unwrap().remove("note");
    next["metadata"].as_object_mut().unwrap().remove("labels");
    assert_eq!(next, after.created(30));
}

#[test]
fn durations_are_drawn_in_the_strict_notation() {
    for (given, drawn) in [
        ("10s", "10s"),
        ("90s", "90s"),
        ("1.5s", "1s500ms"),
        ("0.5h", "30m"),
        ("1h0m0s", "1h0m0s"),
        ("0", "0s"),
        ("1h1m1s1ms1ms", "1h1m1s2ms"),
        ("100000s", "27h46m40s"),
    ] {
        let bench = Bench::new("gatewayapi:v1", &json!({"timeout": given}));
        assert_eq!(bench.created(0)["spec"]["rules"][0]["timeouts"]["request"], drawn);
    }
}
