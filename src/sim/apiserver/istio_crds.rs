//! Small definitions of Istio's `VirtualService` and `DestinationRule` for the embedded cluster.
//!
//! They have the fields that a progressive release touches, with the types, the bounds and the rules of the published
//! definitions (Istio 1.31). Those have no defaults, and neither have these. Parts that only pass through are open.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::gateway_crds::{definition, flag, list, needing, object, open, text};

const GROUP: &str = "networking.istio.io";
/// The served versions, the stored one first. They do not differ.
const VERSIONS: [&str; 3] = ["v1", "v1alpha3", "v1beta1"];

/// Both definitions.
pub fn istio_definitions() -> impl Iterator<Item = CustomResourceDefinition> {
    let definitions = [
        definition(
            GROUP,
            &VERSIONS,
            "VirtualService",
            "virtualservices",
            &virtual_service(),
        ),
        definition(
            GROUP,
            &VERSIONS,
            "DestinationRule",
            "destinationrules",
            &destination_rule(),
        ),
    ];
    definitions
        .into_iter()
        .filter_map(|definition| serde_json::from_value(definition).ok())
}

// === The words of Istio's schemas ===

fn map(values: &Value) -> Value {
    json!({"type": "object", "additionalProperties": values})
}

fn texts() -> Value {
    list(&text())
}

fn count() -> Value {
    json!({"type": "integer", "format": "int32"})
}

/// A number that is a 32-bit one without a sign in Istio.
fn natural() -> Value {
    json!({"type": "integer", "maximum": u32::MAX, "minimum": 0})
}

fn or_null(mut schema: Value) -> Value {
    schema["nullable"] = true.into();
    schema
}

/// A text with a rule of its own in the published definitions.
fn duration() -> Value {
    json!({"type": "string", "x-kubernetes-validations": [{
        "message": "must be a valid duration greater than 1ms", "rule": "duration(self) >= duration('1ms')",
    }]})
}

/// At most one of these fields.
fn one_of(fields: &[&str], mut schema: Value) -> Value {
    let each = || fields.iter().map(|field| json!({"required": [field]}));
    let none = json!({"not": {"anyOf": each().collect::<Vec<_>>()}});
    schema["oneOf"] = [none].into_iter().chain(each()).collect();
    schema
}

fn string_match() -> Value {
    let ways = ["exact", "prefix", "regex"];
    one_of(
        &ways,
        object(&json!({"exact": text(), "prefix": text(), "regex": text()})),
    )
}

// === VirtualService ===

fn virtual_service() -> Value {
    object(&json!({
        "spec": object(&json!({
            "hosts": texts(), "gateways": texts(), "exportTo": texts(),
            "http": list(&http_rule()), "tcp": list(&tcp_rule()), "tls": list(&open()),
        })),
        "status": open(),
    }))
}

fn destination() -> Value {
    let port = object(&json!({"number": natural()}));
    needing(&["host"], &json!({"host": text(), "subset": text(), "port": port}))
}

fn headers() -> Value {
    let change = || object(&json!({"add": map(&text()), "set": map(&text()), "remove": texts()}));
    object(&json!({"request": change(), "response": change()}))
}

fn http_rule() -> Value {
    let route = needing(
        &["destination"],
        &json!({"destination": destination(), "weight": count(), "headers": headers()}),
    );
    object(&json!({
        "name": text(), "match": list(&http_match()), "route": list(&route), "headers": headers(),
        "rewrite": object(&json!({"uri": text(), "authority": text(), "uriRegexRewrite": open()})),
        "timeout": duration(),
        "retries": object(&json!({
            "attempts": count(), "perTryTimeout": duration(), "retryOn": text(), "backoff": duration(),
            "retryRemoteLocalities": or_null(flag()), "retryIgnorePreviousHosts": or_null(flag()),
        })),
        "corsPolicy": cors(), "fault": open(), "delegate": open(), "redirect": open(), "directResponse": open(),
        "mirror": destination(), "mirrors": list(&open()), "mirrorPercentage": open(),
        "mirrorPercent": or_null(natural()),
    }))
}

fn http_match() -> Value {
    object(&json!({
        "name": text(), "uri": string_match(), "scheme": string_match(), "method": string_match(),
        "authority": string_match(), "headers": map(&string_match()), "port": natural(),
        "sourceLabels": map(&text()), "gateways": texts(), "queryParams": map(&string_match()),
        "ignoreUriCase": flag(), "withoutHeaders": map(&string_match()), "sourceNamespace": text(),
        "statPrefix": text(),
    }))
}

fn cors() -> Value {
    object(&json!({
        "allowOrigin": texts(), "allowOrigins": list(&string_match()), "allowMethods": texts(),
        "allowHeaders": texts(), "exposeHeaders": texts(), "maxAge": duration(),
        "allowCredentials": or_null(flag()),
        "unmatchedPreflights": {"type": "string", "enum": ["UNSPECIFIED", "FORWARD", "IGNORE"]},
    }))
}

fn tcp_rule() -> Value {
    let route = needing(
        &["destination"],
        &json!({"destination": destination(), "weight": count()}),
    );
    let condition = object(&json!({
        "port": natural(), "gateways": texts(), "sourceLabels": map(&text()), "sourceNamespace": text(),
        "sourceSubnet": text(), "destinationSubnets": texts(),
    }));
    object(&json!({"match": list(&condition), "route": list(&route)}))
}

// === DestinationRule ===

fn destination_rule() -> Value {
    let spec = needing(
        &["host"],
        &json!({
            "host": text(), "trafficPolicy": traffic_policy(), "subsets": list(&open()), "exportTo": texts(),
            "workloadSelector": open(),
        }),
    );
    object(&json!({"spec": spec, "status": open()}))
}

fn traffic_policy() -> Value {
    let http = object(&json!({
        "h2UpgradePolicy": {"type": "string", "enum": ["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]},
        "http1MaxPendingRequests": count(), "http2MaxRequests": count(), "idleTimeout": duration(),
        "maxRequestsPerConnection": count(), "maxRetries": count(), "maxConcurrentStreams": count(),
        "useClientProtocol": flag(), "http2KeepAlive": open(),
    }));
    let outliers = object(&json!({
        "baseEjectionTime": duration(), "interval": duration(), "consecutiveErrors": count(),
        "consecutive5xxErrors": or_null(natural()), "consecutiveGatewayErrors": or_null(natural()),
        "consecutiveLocalOriginFailures": or_null(natural()), "maxEjectionPercent": count(),
        "minHealthPercent": count(), "splitExternalLocalOriginErrors": flag(),
    }));
    let tls = object(&json!({
        "mode": {"type": "string", "enum": ["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]},
        "caCertificates": text(), "clientCertificate": text(), "privateKey": text(), "sni": text(),
        "subjectAltNames": texts(), "credentialName": text(), "caCrl": text(),
        "insecureSkipVerify": or_null(flag()),
    }));
    object(&json!({
        "connectionPool": object(&json!({"http": http, "tcp": open()})), "loadBalancer": load_balancer(),
        "outlierDetection": outliers, "tls": tls, "portLevelSettings": list(&open()), "tunnel": open(),
        "proxyProtocol": open(), "retryBudget": open(),
    }))
}

fn load_balancer() -> Value {
    let algorithms = [
        "UNSPECIFIED",
        "LEAST_CONN",
        "RANDOM",
        "PASSTHROUGH",
        "ROUND_ROBIN",
        "LEAST_REQUEST",
    ];
    let size = || json!({"type": "integer", "minimum": 0});
    let cookie = needing(
        &["name"],
        &json!({"name": text(), "path": text(), "ttl": text(), "attributes": list(&open())}),
    );
    let keys = ["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"];
    let hash = object(&json!({
        "httpHeaderName": text(), "httpCookie": cookie, "useSourceIp": flag(), "httpQueryParameterName": text(),
        "minimumRingSize": size(), "ringHash": open(), "maglev": open(),
    }));
    let locality = object(&json!({
        "distribute": list(&object(&json!({"from": text(), "to": map(&natural())}))),
        "failover": list(&object(&json!({"from": text(), "to": text()}))),
        "failoverPriority": texts(), "enabled": or_null(flag()),
    }));
    let fields = json!({
        "simple": {"type": "string", "enum": algorithms}, "consistentHash": one_of(&keys, hash),
        "localityLbSetting": locality, "warmupDurationSecs": duration(), "warmup": open(),
        "zoneAwareLbSetting": open(),
    });
    one_of(&["simple", "consistentHash"], object(&fields))
}
