//! How each kind of route says where requests go: the one place in the embedded cluster, and in the tests on it, that knows.

use serde_json::Value;

/// Where a kind of route keeps its rules, their backends, and what these say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteShape {
    /// The kind.
    pub kind: &'static str,
    /// Group and version by which Serin knows it.
    pub api_version: &'static str,
    /// Keys of the lists of rules in `spec`.
    pub rules: &'static [&'static str],
    /// Key of the list of backends in a rule.
    pub backends: &'static str,
    /// Pointer in a backend to its Service.
    pub service: &'static str,
    /// The weight of a backend that states none.
    pub given: u64,
    /// Whether backends that all have no weight share equally, or a single one has all.
    pub zeros_share: bool,
    /// Whether the data plane tells which generation it has taken.
    pub confirms: bool,
}

/// Every kind of route that the embedded cluster understands.
pub const SHAPES: [RouteShape; 3] = [
    RouteShape {
        kind: "HTTPRoute",
        api_version: "gateway.networking.k8s.io/v1",
        rules: &["rules"],
        backends: "backendRefs",
        service: "/name",
        given: 1,
        zeros_share: false,
        confirms: true,
    },
    RouteShape {
        kind: "HTTPProxy",
        api_version: "projectcontour.io/v1",
        rules: &["routes"],
        backends: "services",
        service: "/name",
        given: 0,
        zeros_share: true,
        confirms: true,
    },
    RouteShape {
        kind: "VirtualService",
        api_version: "networking.istio.io/v1beta1",
        rules: &["http", "tcp"],
        backends: "route",
        service: "/destination/host",
        given: 0,
        zeros_share: true,
        confirms: false,
    },
];

/// The shape of a kind, if it is one of routes.
pub fn route_shape(kind: &str) -> Option<&'static RouteShape> {
    SHAPES.iter().find(|shape| shape.kind == kind)
}

/// Whether a header is the one with the cookies.
pub fn is_cookie(header: &str) -> bool {
    header.eq_ignore_ascii_case("cookie")
}

/// Whether a backend of an `HTTPProxy` gets copies, and no share.
fn is_copy(backend: &Value) -> bool {
    backend["mirror"] == true
}

impl RouteShape {
    /// The rules of a route, in order.
    pub fn rules_of<'v>(&self, route: &'v Value) -> impl Iterator<Item = &'v Value> + use<'v> {
        let lists = self.rules.iter().filter_map(|key| route["spec"][*key].as_array());
        lists.flatten().collect::<Vec<_>>().into_iter()
    }

    /// The first rule that leads anywhere: others redirect or answer by themselves. Rules for callers with a cookie stand before it.
    pub fn leading<'v>(&self, route: &'v Value) -> Option<&'v Value> {
        let leads = |rule: &&Value| !self.backends_of(rule).is_empty();
        let mut rules = self.rules_of(route).filter(leads);
        rules.find(|rule| !self.headers_of(rule).iter().any(|name| is_cookie(name)))
    }

    /// The names of the headers that a rule asks for.
    pub fn headers_of<'v>(&self, rule: &'v Value) -> Vec<&'v str> {
        let items = |value: &'v Value| value.as_array().map_or(&[][..], Vec::as_slice);
        let named = |header: &'v Value| header["name"].as_str();
        match self.kind {
            "HTTPRoute" => items(&rule["matches"])
                .iter()
                .flat_map(|it| items(&it["headers"]))
                .filter_map(named)
                .collect(),
            "HTTPProxy" => items(&rule["conditions"])
                .iter()
                .filter_map(|it| named(&it["header"]))
                .collect(),
            _ => items(&rule["match"])
                .iter()
                .filter_map(|it| it["headers"].as_object())
                .flat_map(|headers| headers.keys().map(String::as_str))
                .collect(),
        }
    }

    /// The Service that requests of a rule are copied to, and how many of a hundred.
    pub fn copies_of(&self, rule: &Value) -> Option<(String, u64)> {
        let filters = rule["filters"].as_array().into_iter().flatten();
        let mut mirrors = filters.filter_map(|filter| filter.get("requestMirror"));
        let listed = rule[self.backends].as_array().into_iter().flatten();
        let mut marked = listed.filter(|backend| is_copy(backend));
        let (service, percent) = match self.kind {
            "HTTPRoute" => mirrors.next().map(|it| (&it["backendRef"]["name"], &it["percent"]))?,
            "HTTPProxy" => marked.next().map(|it| (&it["name"], &it["weight"]))?,
            _ => (&rule["mirror"]["host"], &rule["mirrorPercentage"]["value"]),
        };
        let service = service.as_str()?.split('.').next()?.to_owned();
        Some((service, percent.as_u64().unwrap_or(100)))
    }

    /// The backends of a rule that share its requests, in order.
    pub fn sharing<'v>(&self, rule: &'v Value) -> impl Iterator<Item = &'v Value> + use<'v> {
        self.backends_of(rule).iter().filter(|backend| !is_copy(backend))
    }

    /// The backends of a rule, in order.
    pub fn backends_of<'v>(&self, rule: &'v Value) -> &'v [Value] {
        rule[self.backends].as_array().map_or(&[], Vec::as_slice)
    }

    /// The Service of a backend, without the domain that a host may have.
    pub fn service_of<'v>(&self, backend: &'v Value) -> &'v str {
        let name = backend.pointer(self.service).and_then(Value::as_str);
        name.unwrap_or_default().split('.').next().unwrap_or_default()
    }

    /// The weight of a backend.
    pub fn weight_of(&self, backend: &Value) -> u64 {
        backend["weight"].as_u64().unwrap_or(self.given)
    }

    /// The weight of the backend with this Service, in a rule that has one.
    pub fn weight_in(&self, rule: &Value, service: &str) -> Option<u64> {
        let backend = self.sharing(rule).find(|it| self.service_of(it) == service)?;
        Some(self.weight_of(backend))
    }
}
