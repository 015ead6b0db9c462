//! What a rule of an `HTTPRoute` does with requests and answers: filters, of the rule or of one backend (spec/routers.md 6.3).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{matches, refuse, service};
use crate::{
    api::{CorsPolicy, GoDuration, HeaderChange, Rewrite, ServiceSpec},
    object::{as_map, is_empty, text},
    rollout::{Refusal, Weight},
    routing::{
        cookie,
        route::{Cookies, Mirror},
    },
};

/// Seconds that the API server puts where a CORS filter has no `maxAge`.
const DEFAULT_MAX_AGE: u64 = 5;
/// What names a backend.
const BACKEND_KEYS: [&str; 5] = ["group", "kind", "name", "namespace", "port"];

pub(super) fn of_service(service: &ServiceSpec, matches: &[Value], refusals: &mut Vec<Refusal>) -> Vec<Value> {
    let mut filters = Vec::new();
    let headers = service.headers.as_ref();
    let changes = [
        (
            "RequestHeaderModifier",
            "requestHeaderModifier",
            headers.and_then(|it| it.request.as_ref()),
        ),
        (
            "ResponseHeaderModifier",
            "responseHeaderModifier",
            headers.and_then(|it| it.response.as_ref()),
        ),
    ];
    for (type_, key, change) in changes {
        let change = change.map(header_change).unwrap_or_default();
        if !change.is_empty() {
            filters.push(json!({"type": type_, key: change}));
        }
    }
    let rewritten = service
        .rewrite
        .as_ref()
        .map(|rewrite| url_rewrite(rewrite, matches, refusals));
    if let Some(rewrite) = rewritten.filter(|it| !it.is_empty()) {
        filters.push(json!({"type": "URLRewrite", "urlRewrite": rewrite}));
    }
    for backend in service.mirror.iter().filter_map(|target| target.backend_ref.as_ref()) {
        let mut backend_ref = serde_json::to_value(backend).unwrap_or_default();
        for (key, default) in [("group", ""), ("kind", "Service")] {
            if backend_ref.get(key).is_none() {
                backend_ref[key] = default.into();
            }
        }
        filters.push(json!({"type": "RequestMirror", "requestMirror": {"backendRef": backend_ref}}));
    }
    if let Some(policy) = &service.cors_policy {
        filters.push(json!({"type": "CORS", "cors": cors(policy)}));
    }
    filters
}

fn header_change(change: &HeaderChange) -> Map<String, Value> {
    let pairs = |headers: &BTreeMap<String, String>| -> Value {
        headers
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect()
    };
    let all = [
        ("add", pairs(&change.add)),
        ("set", pairs(&change.set)),
        ("remove", change.remove.clone().into()),
    ];
    all.into_iter()
        .filter(|(_, value)| !is_empty(value))
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn url_rewrite(rewrite: &Rewrite, matches: &[Value], refusals: &mut Vec<Refusal>) -> Map<String, Value> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let mut drawn = Map::new();
    if let Some(host) = given(&rewrite.authority) {
        drawn.insert("hostname".to_owned(), host.into());
    }
    if let Some(uri) = given(&rewrite.uri) {
        let path = if rewrite.type_.as_deref() == Some("ReplacePrefixMatch") {
            let prefixes = matches.iter().filter(|it| it["path"]["type"] == "PathPrefix").count();
            // No match is drawn as the one prefix of all paths.
            if matches.len() > 1 || prefixes != matches.len() {
                let message = "ReplacePrefixMatch needs exactly one match, by uri prefix";
                refuse(refusals, "spec.service.rewrite.type", message);
            }
            json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": uri})
        } else {
            json!({"type": "ReplaceFullPath", "replaceFullPath": uri})
        };
        drawn.insert("path".to_owned(), path);
    }
    drawn
}

fn cors(policy: &CorsPolicy) -> Map<String, Value> {
    let lists = [
        ("allowOrigins", &policy.allow_origin),
        ("allowMethods", &policy.allow_methods),
        ("allowHeaders", &policy.allow_headers),
        ("exposeHeaders", &policy.expose_headers),
    ];
    let given = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let mut drawn: Map<String, Value> = given.map(|(key, list)| (key.to_owned(), list.clone().into())).collect();
    if policy.allow_credentials == Some(true) {
        drawn.insert("allowCredentials".to_owned(), true.into());
    }
    let max_age = policy
        .max_age
        .as_ref()
        .and_then(|text| text.parse().ok())
        .and_then(GoDuration::to_std);
    // The CRD takes no zero.
    let seconds = max_age.map_or(DEFAULT_MAX_AGE, |age| age.as_secs().max(1));
    drawn.insert("maxAge".to_owned(), seconds.into());
    drawn
}

// === Copies and cookies ===

/// Copies of requests are a filter of their own, and there may be several.
pub(in crate::routing) const MIRROR: Mirror = Mirror {
    draw: |rule, to, share| {
        let members = to.as_object().into_iter().flatten();
        let named = members.filter(|(key, _)| BACKEND_KEYS.contains(&key.as_str()));
        let mut mirror =
            json!({"backendRef": named.map(|(key, value)| (key.clone(), value.clone())).collect::<Value>()});
        if share < Weight::FULL {
            mirror["percent"] = share.percent().into();
        }
        push(
            rule,
            "filters",
            json!({"type": "RequestMirror", "requestMirror": mirror}),
        );
        true
    },
    undraw: |rule, canary, namespace| {
        let wanted = service(canary, namespace);
        let is_ours = |filter: &Value| {
            text(filter, "/type") == "RequestMirror"
                && service(&filter["requestMirror"]["backendRef"], namespace) == wanted
        };
        take(rule, "filters", is_ours);
    },
    is_copy: |_| false,
};

/// A cookie is set by a filter of the backend whose answers set it: the rule's own filters stay as they are.
pub(in crate::routing) const COOKIES: Cookies = Cookies {
    shown: matches::shown,
    expressions: matches::cookies_in,
    set: |backend, text_| {
        let filters = child_list(backend, "filters");
        let is_modifier = |it: &Value| text(it, "/type") == "ResponseHeaderModifier";
        if !filters.iter().any(is_modifier) {
            filters.push(json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": {}}));
        }
        let modifier = filters.iter_mut().find(|it| is_modifier(it));
        let Some(modifier) = modifier.and_then(|it| it.get_mut("responseHeaderModifier")) else {
            return;
        };
        let added = child_list(modifier, "add");
        // One name stands in the list once.
        if !added.iter().any(sets_cookie) {
            added.push(json!({"name": cookie::RESPONSE, "value": text_}));
        }
    },
    unset: |backend| {
        let is_ours = |added: &Value| sets_cookie(added) && cookie::is_set_by_us(text(added, "/value"));
        let filters = backend.get_mut("filters").and_then(Value::as_array_mut);
        let mut emptied = false;
        for filter in filters.into_iter().flatten() {
            if let Some(modifier) = filter.get_mut("responseHeaderModifier") {
                emptied |= take(modifier, "add", is_ours) && is_empty(modifier);
            }
        }
        if emptied {
            let says_nothing = |it: &Value| it.get("responseHeaderModifier").is_some_and(is_empty);
            take(backend, "filters", says_nothing);
        }
    },
};

fn sets_cookie(added: &Value) -> bool {
    text(added, "/name").eq_ignore_ascii_case(cookie::RESPONSE)
}

/// The list of that key, made where there is none.
fn child_list<'v>(parent: &'v mut Value, key: &str) -> &'v mut Vec<Value> {
    let list = as_map(parent).entry(key).or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut()
        .expect("the value must be a list: it was made one above")
}

fn push(parent: &mut Value, key: &str, item: Value) {
    child_list(parent, key).push(item);
}

/// Takes the items out of the list of that key, and the key where none is left. Tells whether there were any.
fn take(parent: &mut Value, key: &str, is_taken: impl Fn(&Value) -> bool) -> bool {
    let Some(list) = parent.get_mut(key).and_then(Value::as_array_mut) else {
        return false;
    };
    let before = list.len();
    list.retain(|item| !is_taken(item));
    let (after, taken) = (list.len(), list.len() < before);
    if taken && after == 0 {
        as_map(parent).remove(key);
    }
    taken
}
