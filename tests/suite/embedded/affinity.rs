//! Session affinity (`spec/core.md` 8, 74): callers stay on the side that answered them first. No caller is real here; what a gateway would
//! do with exactly the rules that stand is worked out from the route itself, for a hundred callers that keep their cookies.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Value, json};

use super::{setting::Setting, stage::Stage};

/// The rules of a route, as the gateway reads them.
struct Gateway {
    rules: Vec<Rule>,
}

struct Rule {
    /// Expressions of which the whole header `Cookie` has to fit one; none: the rule is for everybody.
    cookies: Vec<Regex>,
    backends: Vec<Backend>,
}

struct Backend {
    service: String,
    weight: u64,
    /// `Set-Cookie` of its answers.
    sets: Vec<String>,
}

/// A caller with a browser's memory for cookies: name and value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Caller {
    cookies: BTreeMap<String, String>,
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// An expression for a whole header, as Envoy reads it.
fn whole(expression: &Value) -> Regex {
    Regex::new(&format!("^(?:{})$", text(expression))).expect("the route must hold an expression")
}

impl Gateway {
    /// As the route stands now.
    fn of(stage: &Stage, provider: &str) -> Self {
        let rules = if provider == "istio" {
            let route = stage.object("networking.istio.io/v1beta1", "VirtualService", "app");
            items(&route["spec"]["http"]).iter().map(Self::of_istio).collect()
        } else {
            let route = stage.object("gateway.networking.k8s.io/v1", "HTTPRoute", "app");
            items(&route["spec"]["rules"])
                .iter()
                .map(Self::of_gateway_api)
                .collect()
        };
        Self { rules }
    }

    fn of_istio(rule: &Value) -> Rule {
        let cookies = items(&rule["match"])
            .iter()
            .filter_map(|it| it.pointer("/headers/Cookie/regex"));
        let set = "/headers/response/add/Set-Cookie";
        let backend = |it: &Value| Backend {
            service: text(&it["destination"]["host"]),
            // Istio gives a single destination without a weight everything.
            weight: it["weight"].as_u64().unwrap_or(100),
            sets: it
                .pointer(set)
                .or_else(|| rule.pointer(set))
                .map(text)
                .into_iter()
                .collect(),
        };
        Rule {
            cookies: cookies.map(whole).collect(),
            backends: items(&rule["route"]).iter().map(backend).collect(),
        }
    }

    fn of_gateway_api(rule: &Value) -> Rule {
        let headers = items(&rule["matches"]).iter().flat_map(|it| items(&it["headers"]));
        let cookies = headers.filter(|header| header["name"] == "Cookie");
        let sets = |filters: &Value| -> Vec<String> {
            let added = items(filters)
                .iter()
                .flat_map(|filter| items(&filter["responseHeaderModifier"]["add"]));
            added
                .filter(|header| header["name"] == "Set-Cookie")
                .map(|header| text(&header["value"]))
                .collect()
        };
        let backend = |it: &Value| Backend {
            service: text(&it["name"]),
            weight: it["weight"].as_u64().unwrap_or(1),
            sets: [sets(&it["filters"]), sets(&rule["filters"])].concat(),
        };
        Rule {
            cookies: cookies.map(|header| whole(&header["value"])).collect(),
            backends: items(&rule["backendRefs"]).iter().map(backend).collect(),
        }
    }

    /// The Service that answers this caller, with what the answer does to its cookies. `luck` is from 0 to 99.
    fn answer(&self, caller: &mut Caller, luck: u64) -> String {
        let shown: Vec<_> = caller
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let shown = shown.join("; ");
        let fits = |rule: &&Rule| rule.cookies.is_empty() || rule.cookies.iter().any(|cookie| cookie.is_match(&shown));
        let rule = self.rules.iter().find(fits).expect("some rule must be for everybody");
        let total: u64 = rule.backends.iter().map(|backend| backend.weight).sum();
        let mut left = luck * total / 100;
        let backend = rule.backends.iter().find(|backend| {
            let is_it = left < backend.weight;
            left = left.saturating_sub(backend.weight);
            is_it
        });
        let backend = backend.expect("a rule must lead somewhere");
        for set in &backend.sets {
            let (cookie, attributes) = set.split_once(';').unwrap_or((set, ""));
            let (name, value) = cookie.split_once('=').expect("a cookie has a name and a value");
            if attributes.contains("Max-Age=-1") {
                caller.cookies.remove(name);
            } else {
                caller.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        backend.service.clone()
    }
}

/// A hundred callers, each with a memory of its own, and another cookie that has nothing to do with it.
fn crowd() -> Vec<Caller> {
    let other = BTreeMap::from([
        ("theme".to_owned(), "dark".to_owned()),
        ("xside".to_owned(), "1".to_owned()),
    ]);
    vec![Caller { cookies: other }; 100]
}

/// Each of them comes once, and each has other luck: the canary is for the lucky, who have a small number.
fn visited(gateway: &Gateway, crowd: &mut [Caller], luck: impl Iterator<Item = u64>) -> Vec<String> {
    let all = crowd.iter_mut().zip(luck);
    all.map(|(caller, luck)| gateway.answer(caller, luck)).collect()
}

fn on_canary(sides: &[String]) -> usize {
    sides.iter().filter(|side| *side == "app-canary").count()
}

/// Each of them comes back with the worst luck and the best.
fn stay(gateway: &Gateway, crowd: &[Caller], sides: &[String], at: &str) {
    for (caller, side) in crowd.iter().zip(sides) {
        for luck in [0, 50, 99] {
            assert_eq!(
                gateway.answer(&mut caller.clone(), luck),
                *side,
                "{at}: {caller:?}, luck {luck}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn core_074_callers_stay_on_their_side_and_the_cookie_is_taken_back() {
    for provider in ["istio", "gatewayapi:v1"] {
        let cookies = json!({ "sessionAffinity": { "cookieName": "side", "primaryCookieName": "home", "maxAge": 60 } });
        let stage = Setting::with_provider(provider).analysis(&cookies).initialized().await;
        let cookie = |field: &str| text(&stage.status()[field]);
        stage.push("app:2").await;
        stage.until_weight(20).await;
        let (canary, primary) = (cookie("sessionAffinityCookie"), cookie("primarySessionAffinityCookie"));
        assert!(
            canary.starts_with("side=") && primary.starts_with("home="),
            "{canary} {primary}"
        );

        let mut crowd = crowd();
        let gateway = Gateway::of(&stage, provider);
        let sides = visited(&gateway, &mut crowd, 0..100);
        assert_eq!(on_canary(&sides), 20, "{provider}");
        stay(&gateway, &crowd, &sides, &format!("{provider} at 20"));

        // Who shows no cookie of the primary's any more is shared anew at each step; who is on the canary stays there.
        stage.until_weight(40).await;
        assert_eq!(cookie("sessionAffinityCookie"), canary, "one run, one cookie");
        let gateway = Gateway::of(&stage, provider);
        stay(&gateway, &crowd, &sides, &format!("{provider} at 40"));
        for caller in &mut crowd {
            caller.cookies.remove("home");
        }
        let sides = visited(&gateway, &mut crowd, (0..100).rev());
        assert_eq!(
            on_canary(&sides),
            60,
            "{provider}: 20 who stay, and 40 of those who are shared anew"
        );
        stay(&gateway, &crowd, &sides, &format!("{provider} shared anew at 40"));

        stage.until_phase("Succeeded").await;
        assert_eq!(cookie("previousSessionAffinityCookie"), canary);
        assert_eq!(stage.status()["sessionAffinityCookie"], Value::Null);
        let gateway = Gateway::of(&stage, provider);
        let mut last = crowd.clone();
        let sides = visited(&gateway, &mut last, 0..100);
        assert_eq!(on_canary(&sides), 0, "{provider}");
        for caller in &last {
            assert!(
                !caller.cookies.contains_key("side"),
                "{provider}: {caller:?} keeps the cookie"
            );
            assert_eq!(caller.cookies["theme"], "dark");
        }
        let back = gateway
            .rules
            .iter()
            .flat_map(|rule| &rule.backends)
            .flat_map(|backend| &backend.sets);
        assert!(
            back.clone()
                .any(|set| set.starts_with(&format!("{canary}; Max-Age=-1"))),
            "{provider}: {:?}",
            back.collect::<Vec<_>>()
        );

        // The next run has another cookie, so an old one keeps nobody on the canary.
        stage.push("app:3").await;
        stage.until_weight(20).await;
        assert_ne!(cookie("sessionAffinityCookie"), canary);
        let gateway = Gateway::of(&stage, provider);
        for caller in &mut crowd {
            caller.cookies.remove("home");
        }
        assert_eq!(on_canary(&visited(&gateway, &mut crowd, 0..100)), 20, "{provider}");
    }
}
