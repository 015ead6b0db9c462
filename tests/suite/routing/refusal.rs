//! What is refused before traffic moves, and what is only said (spec/routers.md 6.3, 6.8, 9, 10, 14).

use serde_json::{Value, json};

use super::Bench;

fn fields(bench: &Bench) -> Vec<String> {
    bench
        .router
        .check(&bench.cx())
        .into_iter()
        .map(|refusal| refusal.field)
        .collect()
}

fn with_analysis(provider: &str, analysis: &Value) -> Bench {
    Bench::plain(provider).with_analysis(analysis)
}

#[test]
fn a_plain_canary_is_refused_nothing() {
    for provider in ["contour", "gatewayapi:v1"] {
        assert_eq!(fields(&Bench::plain(provider)), [""; 0], "{provider}");
    }
}

#[test]
fn routers_056_what_the_provider_cannot_do_is_refused() {
    let test = json!({"iterations": 5, "match": [{"headers": {"x": {"exact": "y"}}}]});
    let (mirror, sticky) = (json!({"mirror": true}), json!({"sessionAffinity": {"cookieName": "c"}}));
    let field = "spec.analysis.sessionAffinity";
    assert_eq!(fields(&with_analysis("contour", &sticky)), [field]);
    for analysis in [&test, &mirror] {
        assert_eq!(fields(&with_analysis("contour", analysis)), [""; 0]);
    }
    let tcp = Bench::new("istio", &json!({"appProtocol": "tcp"}));
    let all = [&test, &mirror, &sticky].into_iter().fold(tcp, Bench::with_analysis);
    assert_eq!(fields(&all), ["spec.analysis.match", "spec.analysis.mirror", field]);
    for provider in ["contour", "gatewayapi:v1", "istio"] {
        assert_eq!(
            fields(&Bench::new(provider, &json!({"port": 0}))),
            ["spec.service.port"]
        );
    }
}

#[test]
fn what_does_not_go_together_or_is_malformed_is_refused() {
    let test = json!({"iterations": 5, "match": [{"headers": {"x": {"exact": "y"}}}]});
    for (provider, analysis, field) in [
        (
            "istio",
            json!({"sessionAffinity": {"cookieName": "c"}, "match": test["match"]}),
            "spec.analysis.sessionAffinity",
        ),
        (
            "gatewayapi:v1",
            json!({"sessionAffinity": {"cookieName": "a b"}}),
            "spec.analysis.sessionAffinity.cookieName",
        ),
        (
            "istio",
            json!({"sessionAffinity": {"cookieName": "a", "primaryCookieName": "b;"}}),
            "spec.analysis.sessionAffinity.primaryCookieName",
        ),
        (
            "istio",
            json!({"sessionAffinity": {"cookieName": "a", "path": "/;Secure"}}),
            "spec.analysis.sessionAffinity.path",
        ),
        (
            "istio",
            json!({"sessionAffinity": {"cookieName": "a", "maxAge": -1}}),
            "spec.analysis.sessionAffinity.maxAge",
        ),
        (
            "istio",
            json!({"mirror": true, "mirrorWeight": 101}),
            "spec.analysis.mirrorWeight",
        ),
    ] {
        assert_eq!(fields(&with_analysis(provider, &analysis)), [field], "{analysis}");
    }
    for provider in ["contour", "gatewayapi:v1", "istio"] {
        for (entry, field) in [
            (json!({}), ""),
            (json!({"headers": {"x": {"exact": ""}}}), ".headers.x"),
            (json!({"headers": {"x": {}}}), ".headers.x"),
            (json!({"headers": {"x y": {"exact": "1"}}}), ".headers.x y"),
            (
                json!({"headers": {"x": {"exact": "1"}, "X": {"exact": "1"}}}),
                ".headers.x",
            ),
            (json!({"queryParams": {"q": {"regex": ""}}}), ".queryParams.q"),
        ] {
            let bench = with_analysis(
                provider,
                &json!({"iterations": 5, "match": [{"headers": {"a": {"exact": "b"}}}, entry]}),
            );
            assert_eq!(fields(&bench), [format!("spec.analysis.match[1]{field}")], "{provider}");
        }
    }
}

#[test]
fn routers_042_a_test_that_cannot_be_said_is_refused_and_never_widened() {
    for (provider, entry, field) in [
        (
            "gatewayapi:v1",
            json!({"headers": {"x": {"prefix": "a"}}}),
            ".headers.x",
        ),
        (
            "gatewayapi:v1",
            json!({"headers": {"x": {"suffix": "a"}}}),
            ".headers.x",
        ),
        (
            "gatewayapi:v1",
            json!({"queryParams": {"q": {"prefix": "a"}}}),
            ".queryParams.q",
        ),
        (
            "gatewayapi:v1",
            json!({"headers": {"x": {"exact": "a"}}, "sourceLabels": {"app": "a"}}),
            ".sourceLabels",
        ),
        ("contour", json!({"sourceLabels": {"app": "a"}}), ".sourceLabels"),
    ] {
        let bench = with_analysis(provider, &json!({"iterations": 5, "match": [entry]}));
        assert_eq!(fields(&bench), [format!("spec.analysis.match[0]{field}")], "{provider}");
        assert!(bench.router.create(&bench.cx(), &super::shared(0)).is_err());
    }
    let entries: Vec<Value> = (0..9)
        .map(|n| json!({"headers": {"x": {"exact": format!("{n}")}}}))
        .collect();
    let paths: Vec<Value> = (0..9).map(|n| json!({"uri": {"exact": format!("/{n}")}})).collect();
    let bench = Bench::new("gatewayapi:v1", &json!({"match": paths})).with_analysis(&json!({"match": entries}));
    assert_eq!(fields(&bench), ["spec.analysis.match"]);
}

#[test]
fn what_an_httproute_cannot_say_is_refused_by_field() {
    for (service, field) in [
        (json!({"gatewayRefs": []}), "spec.service.gatewayRefs"),
        (json!({"hosts": ["*"]}), "spec.service.hosts"),
        (json!({"match": [{"uri": {}}]}), "spec.service.match[0].uri"),
        (
            json!({"match": [{"uri": {"prefix": "api"}}]}),
            "spec.service.match[0].uri",
        ),
        (
            json!({"match": [{"method": {"prefix": "P"}}]}),
            "spec.service.match[0].method",
        ),
        (
            json!({"match": [{"uri": {"prefix": "/"}}, {"headers": {"x": {"prefix": "y"}}}]}),
            "spec.service.match[1].headers.x",
        ),
        (
            json!({"match": [{"queryParams": {"q": {"prefix": "y"}}}]}),
            "spec.service.match[0].queryParams.q",
        ),
        (
            json!({"match": [{"uri": {"exact": "/a//b"}}]}),
            "spec.service.match[0].uri",
        ),
        (
            json!({"match": [{"uri": {"prefix": "/a b"}}]}),
            "spec.service.match[0].uri",
        ),
        (json!({"match": [{"uri": {"regex": ""}}]}), "spec.service.match[0].uri"),
        (
            json!({"match": [{"method": {"exact": "FETCH"}}]}),
            "spec.service.match[0].method",
        ),
        (
            json!({"match": [{"headers": {"x": {"exact": ""}}}]}),
            "spec.service.match[0].headers.x",
        ),
        (
            json!({"match": [{"headers": {"x": {"exact": "1"}, "X": {"exact": "1"}}}]}),
            "spec.service.match[0].headers.x",
        ),
        (
            json!({"match": [{"sourceLabels": {"app": "x"}}]}),
            "spec.service.match[0]",
        ),
        (json!({"timeout": "1d"}), "spec.service.timeout"),
        (json!({"timeout": "-1s"}), "spec.service.timeout"),
        (json!({"timeout": "1us"}), "spec.service.timeout"),
        (
            json!({"timeout": "5s", "backendTimeout": "10s"}),
            "spec.service.backendTimeout",
        ),
        (
            json!({"rewrite": {"uri": "/v2", "type": "ReplacePrefixMatch"}, "match": [{"uri": {"exact": "/"}}]}),
            "spec.service.rewrite.type",
        ),
        (
            json!({"rewrite": {"uri": "/v2", "type": "ReplacePrefixMatch"},
                   "match": [{"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/b"}}]}),
            "spec.service.rewrite.type",
        ),
    ] {
        let bench = Bench::new("gatewayapi:v1", &service);
        let found = fields(&bench);
        assert!(found.iter().any(|it| it == field), "{service} gave {found:?}");
    }
    let many: Vec<Value> = (0..65).map(|n| json!({"uri": {"exact": format!("/{n}")}})).collect();
    assert_eq!(
        fields(&Bench::new("gatewayapi:v1", &json!({"match": many}))),
        ["spec.service.match"]
    );
}

#[test]
fn what_an_httpproxy_cannot_say_is_refused_by_field() {
    for (service, field) in [
        (
            json!({"match": [{"uri": {"regex": "a.*"}}]}),
            "spec.service.match[0].uri",
        ),
        (json!({"match": [{"uri": {"exact": ""}}]}), "spec.service.match[0].uri"),
        (json!({"timeout": "soon"}), "spec.service.timeout"),
        (
            json!({"retries": {"perTryTimeout": "soon", "retryOn": "5xx"}}),
            "spec.service.retries.perTryTimeout",
        ),
        (
            json!({"retries": {"retryOn": "5xx,sometimes"}}),
            "spec.service.retries.retryOn",
        ),
    ] {
        assert_eq!(fields(&Bench::new("contour", &service)), [field], "{service}");
    }
    assert_eq!(fields(&Bench::new("contour", &json!({"timeout": "infinity"}))), [""; 0]);
}

#[test]
fn what_is_left_out_is_said() {
    for (provider, service, field) in [
        (
            "contour",
            json!({"hosts": ["a"], "gatewayRefs": null}),
            "spec.service.hosts is ignored",
        ),
        (
            "contour",
            json!({"match": [{"uri": {"prefix": "/"}, "method": {"exact": "GET"}}], "gatewayRefs": null}),
            "all but uri",
        ),
        (
            "contour",
            json!({"retries": {"attempts": 3}, "gatewayRefs": null}),
            "has no retryOn",
        ),
        (
            "contour",
            json!({"meshName": "m", "gatewayRefs": null}),
            "spec.service.meshName",
        ),
        (
            "gatewayapi:v1",
            json!({"retries": {"attempts": 3}}),
            "spec.service.retries is ignored",
        ),
        (
            "gatewayapi:v1",
            json!({"match": [{"uri": {"prefix": "/"}, "authority": {"exact": "a"}}]}),
            "match[0].authority",
        ),
        ("gatewayapi:v1", json!({"appProtocol": "TCP"}), "appProtocol"),
    ] {
        let bench = Bench::new(provider, &service);
        let said = bench.router.warnings(&bench.cx());
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(field), "{said:?}");
        assert_eq!(fields(&bench), [""; 0]);
    }
    let bench = Bench::plain("gatewayapi:v1");
    assert_eq!(bench.router.warnings(&bench.cx()), [""; 0]);
}

#[test]
fn a_share_of_copies_that_a_gateway_may_not_heed_is_said() {
    let said = |share: i64| {
        let bench = with_analysis("gatewayapi:v1", &json!({"mirror": true, "mirrorWeight": share}));
        bench.router.warnings(&bench.cx())
    };
    assert!(said(30)[0].contains("spec.analysis.mirrorWeight"), "{:?}", said(30));
    assert_eq!(said(100), [""; 0]);
    assert_eq!(said(0), [""; 0]);
}
