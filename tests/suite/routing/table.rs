//! The table of providers: what each line says of itself, and who reads it.

use serin::routing::{Provider, ProviderId, ROUTERS};

#[test]
fn every_provider_says_what_it_is() {
    for router in ROUTERS {
        let meta = router.meta();
        assert!(meta.capabilities.weights, "{}", meta.kind);
        let rule = meta.rbac.iter().find(|rule| rule.group == meta.group()).unwrap();
        assert!(rule.resources.contains(&meta.plural));
        if let Some(destinations) = router.destinations() {
            let (group, _) = destinations.meta().api_version.split_once('/').unwrap();
            let rule = meta.rbac.iter().find(|rule| rule.group == group).unwrap();
            assert!(rule.resources.contains(&destinations.meta().plural));
        }
        for verb in ["get", "list", "watch", "create", "patch"] {
            assert!(rule.verbs.contains(&verb), "{} {verb}", meta.plural);
        }
    }
}

#[test]
fn routers_002_providers_are_found_by_their_names_and_prefixes() {
    for (name, kind) in [
        ("contour", Some("HTTPProxy")),
        ("gatewayapi:v1", Some("HTTPRoute")),
        ("gatewayapi:v1:service", Some("HTTPRoute")),
        ("gatewayapi:v1alpha2", Some("HTTPRoute")),
        ("gatewayapi:v1beta1", None),
        ("gatewayapi", None),
        ("contour2", None),
        ("istio", Some("VirtualService")),
        ("istio2", None),
        ("", None),
    ] {
        assert_eq!(serin::routing::router(name).map(|it| it.meta().kind), kind, "{name}");
    }
    assert!(ProviderId::StartsWith("gloo").names("gloo:anything"));
}

#[test]
fn the_docs_say_what_each_provider_can_do() {
    let says = |able: bool| if able { "yes" } else { "no" };
    let docs = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers.md"));
    for provider in Provider::all() {
        let can = provider.capabilities();
        let able = [can.weights, can.matching, can.mirror, can.session_affinity]
            .map(says)
            .join(" | ");
        let row = format!("| `{}` | {able} |", provider.id());
        assert!(docs.contains(&row), "{row}");
    }
}

#[test]
fn the_readme_names_every_provider() {
    let named = Provider::all().map(|provider| {
        let kind = provider.router().map_or("no object", |router| router.meta().kind);
        format!("`{}` ({kind})", provider.id())
    });
    let row = format!("| Traffic | {} |", named.collect::<Vec<_>>().join(", "));
    let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    assert!(readme.contains(&row), "{row}");
}
