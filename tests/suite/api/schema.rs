//! The schema beside Flagger's, and the files in `crds/`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use serin::api::crd;

/// Where Serin's schema adds to Flagger's: these nodes and all below them.
const ADDED: [&str; 38] = [
    "spec.analysis.freezeTarget",
    "spec.analysis.inconclusive",
    "spec.analysis.initialDelay",
    "spec.analysis.metrics[].compare",
    "spec.analysis.metrics[].consecutiveErrorLimit",
    "spec.analysis.metrics[].consecutiveSuccessLimit",
    "spec.analysis.metrics[].dryRun",
    "spec.analysis.metrics[].failureLimit",
    "spec.analysis.metrics[].hard",
    "spec.analysis.metrics[].minSamples",
    "spec.analysis.metrics[].onError",
    "spec.analysis.metrics[].onNoData",
    "spec.analysis.metrics[].reduce",
    "spec.analysis.metrics[].window",
    "spec.analysis.onFailure",
    "spec.analysis.onInit",
    "spec.analysis.preview",
    "spec.analysis.stepWeightRollback",
    "spec.analysis.steps",
    "spec.analysis.webhooks[].caFrom",
    "spec.analysis.webhooks[].clientCertFrom",
    "spec.analysis.webhooks[].gateTimeout",
    "spec.analysis.webhooks[].headersFrom",
    "spec.analysis.webhooks[].onTimeout",
    "spec.autoscalerRef.canaryScalerReplicas",
    "spec.autoscalerRef.sync",
    "spec.configTracking",
    "spec.dependsOn",
    "spec.group",
    "spec.promotion",
    "spec.rollback",
    "spec.routeRefs",
    "spec.service.ports",
    "spec.strategy",
    "spec.totalWeight",
    "spec.trafficSettleSeconds",
    "spec.windows",
    "status.conditions[].observedGeneration",
];

/// Two more, in the status.
const ADDED_STATUS: [&str; 2] = ["status.observedGeneration", "status.serin"];

#[test]
fn the_schema_of_a_canary_is_flaggers_and_the_named_additions() {
    let mut ours = flat(&schema("canaries.flagger.app"));
    let is_added = |path: &str| {
        ADDED.iter().chain(&ADDED_STATUS).any(|root| {
            path.strip_prefix(root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '{']))
        })
    };
    for root in ADDED.iter().chain(&ADDED_STATUS) {
        assert!(ours.contains_key(*root), "{root} is missing");
    }
    ours.retain(|path, _| !is_added(path));
    // The fourth way to move a run, and the one rule about it.
    let analysis = ours.get_mut("spec.analysis").expect("analysis");
    for addition in [
        r#",{"required":["interval","steps","threshold"]}"#,
        r#" rule="!has(self.steps) || !has(self.maxWeight)""#,
    ] {
        assert!(analysis.contains(addition), "{analysis} lacks {addition}");
        *analysis = analysis.replace(addition, "");
    }

    let flaggers = flagger_canary();
    for (path, facts) in &flaggers {
        assert_eq!(ours.get(path), Some(facts), "{path}");
    }
    for path in ours.keys() {
        assert!(
            flaggers.contains_key(path),
            "{path} is neither Flagger's nor a named addition"
        );
    }
}

#[test]
fn the_schemas_of_templates_and_providers_are_flaggers() {
    let templates = flat(&schema("metrictemplates.flagger.app"));
    let expected = [
        ("", "object"),
        ("spec", r#"object required=["provider","query"]"#),
        ("spec.provider", r#"object required=["type"]"#),
        (
            "spec.provider.type",
            r#"string enum=["cloudwatch","datadog","dynatrace","externalmetrics","graphite","influxdb","keptn","newrelic","prometheus","splunk","stackdriver"]"#,
        ),
        ("spec.provider.address", "string"),
        ("spec.provider.headers", "object"),
        ("spec.provider.headers{}", "array"),
        ("spec.provider.headers{}[]", "string"),
        ("spec.provider.secretRef", r#"object required=["name"]"#),
        ("spec.provider.secretRef.name", "string"),
        ("spec.provider.region", "string"),
        ("spec.provider.insecureSkipVerify", "boolean"),
        ("spec.query", "string"),
    ];
    assert_eq!(templates, owned(&expected));

    let providers = flat(&schema("alertproviders.flagger.app"));
    let expected = [
        ("", "object"),
        (
            "spec",
            r#"object oneOf=[{"required":["address","type"]},{"required":["secretRef","type"]}]"#,
        ),
        (
            "spec.type",
            r#"string enum=["discord","gchat","msteams","rocket","slack"]"#,
        ),
        ("spec.channel", "string"),
        ("spec.username", "string"),
        ("spec.address", "string"),
        ("spec.proxy", "string"),
        ("spec.secretRef", r#"object required=["name"]"#),
        ("spec.secretRef.name", "string"),
    ];
    assert_eq!(providers, owned(&expected));
}

#[test]
fn the_definitions_are_named_and_printed_as_flaggers() {
    let expected = [
        (
            "canaries.flagger.app",
            "Canary CanaryList canaries canary",
            "Status:string:.status.phase:0 Weight:string:.status.canaryWeight:0 Suspended:boolean:.spec.suspend:1 \
             FailedChecks:string:.status.failedChecks:1 Interval:string:.spec.analysis.interval:1 \
             Mirror:boolean:.spec.analysis.mirror:1 StepWeight:string:.spec.analysis.stepWeight:1 \
             StepWeights:string:.spec.analysis.stepWeights:1 MaxWeight:string:.spec.analysis.maxWeight:1 \
             LastTransitionTime:string:.status.lastTransitionTime:0",
        ),
        (
            "metrictemplates.flagger.app",
            "MetricTemplate MetricTemplateList metrictemplates metrictemplate",
            "Provider:string:.spec.provider.type:0",
        ),
        (
            "alertproviders.flagger.app",
            "AlertProvider AlertProviderList alertproviders alertprovider",
            "Type:string:.spec.type:0",
        ),
    ];
    let crds = crd::crds();
    assert_eq!(crds.len(), expected.len());
    for (crd, (name, names, columns)) in crds.into_iter().zip(expected) {
        assert_eq!(crd.metadata.name.as_deref(), Some(name));
        let annotations = crd.metadata.annotations.unwrap_or_default();
        assert_eq!(
            annotations.get("helm.sh/resource-policy").map(String::as_str),
            Some("keep")
        );

        let spec = crd.spec;
        assert_eq!(
            (spec.group.as_str(), spec.scope.as_str()),
            ("flagger.app", "Namespaced")
        );
        let of = spec.names;
        let (list, singular) = (of.list_kind.unwrap_or_default(), of.singular.unwrap_or_default());
        assert_eq!(format!("{} {list} {} {singular}", of.kind, of.plural), names);
        assert_eq!(of.categories, Some(vec!["all".to_owned()]));
        assert_eq!(of.short_names, None);

        let [version] = spec.versions.as_slice() else {
            panic!("{name} must have one version")
        };
        assert!(version.name == "v1beta1" && version.served && version.storage);
        let subresources = version.subresources.clone().unwrap_or_default();
        assert!(subresources.status.is_some() && subresources.scale.is_none());
        let printed: Vec<_> = version
            .additional_printer_columns
            .iter()
            .flatten()
            .map(|c| format!("{}:{}:{}:{}", c.name, c.type_, c.json_path, c.priority.unwrap_or(0)))
            .collect();
        assert_eq!(printed.join(" "), columns);
    }
}

#[test]
fn the_own_block_of_the_status_is_never_pruned() {
    let schema = schema("canaries.flagger.app");
    let block = &schema["properties"]["status"]["properties"]["serin"];
    assert_eq!(block["type"], "object");
    assert_eq!(block["x-kubernetes-preserve-unknown-fields"], true);
}

#[test]
fn the_files_in_crds_are_what_the_types_say() {
    for file in crd::files() {
        let path = format!("{}/crds/{}", env!("CARGO_MANIFEST_DIR"), file.name);
        let stands = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stands == file.yaml,
            "crds/{} is stale: run `serin crds --dir crds`",
            file.name
        );
    }
}

// === The schema as a flat table ===

fn schema(name: &str) -> Value {
    let crd = crd::crds()
        .into_iter()
        .find(|crd| crd.metadata.name.as_deref() == Some(name))
        .expect("the CRD");
    let schema = crd.spec.versions[0].schema.clone().and_then(|s| s.open_api_v3_schema);
    serde_json::to_value(schema.expect("its schema")).expect("plain JSON")
}

fn flat(schema: &Value) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    walk(String::new(), schema, &mut table);
    table
}

fn walk(path: String, node: &Value, table: &mut BTreeMap<String, String>) {
    let fields = node.as_object().expect("a schema node is an object");
    let mut facts = fields.get("type").and_then(Value::as_str).unwrap_or("any").to_owned();
    for (key, value) in fields {
        let fact = match key.as_str() {
            "type" | "description" | "properties" | "items" | "additionalProperties" => continue,
            "required" | "enum" => format!("{key}={}", sorted(value)),
            "minimum" | "maximum" | "default" if value.is_f64() => format!("{key}={}", value.as_f64().unwrap_or(0.0)),
            "x-kubernetes-validations" => format!("rule={}", value[0]["rule"]),
            _ => format!("{key}={value}"),
        };
        facts = format!("{facts} {fact}");
    }
    for (name, child) in fields
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let child_path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        walk(child_path, child, table);
    }
    if let Some(items) = fields.get("items") {
        walk(format!("{path}[]"), items, table);
    }
    if let Some(values) = fields.get("additionalProperties") {
        walk(format!("{path}{{}}"), values, table);
    }
    table.insert(path, facts);
}

fn sorted(list: &Value) -> Value {
    let mut texts: Vec<_> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    texts.sort_unstable();
    json!(texts)
}

fn owned(table: &[(&str, &str)]) -> BTreeMap<String, String> {
    table
        .iter()
        .map(|(path, facts)| ((*path).to_owned(), (*facts).to_owned()))
        .collect()
}

/// The table in `flagger_schema.txt`, with `<StringMatch>` written out.
fn flagger_canary() -> BTreeMap<String, String> {
    const MATCH: &str = r#"object oneOf=[{"not":{"anyOf":[{"required":["exact"]},{"required":["prefix"]},{"required":["regex"]}]}},{"required":["exact"]},{"required":["prefix"]},{"required":["regex"]}]"#;
    let mut table = BTreeMap::new();
    for line in include_str!("flagger_schema.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let (path, facts) = line.split_once(' ').expect("a path and its facts");
        if facts == "<StringMatch>" {
            for way in ["exact", "prefix", "regex"] {
                table.insert(format!("{path}.{way}"), "string".to_owned());
            }
        }
        table.insert(path.to_owned(), facts.replace("<StringMatch>", MATCH));
    }
    table
}
