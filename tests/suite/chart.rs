//! The Helm chart's values: what templates read has a default, and what has a default is in the schema, so that no value is
//! dropped in silence.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

fn chart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/serin")
}

fn values() -> Value {
    let text = fs::read_to_string(chart().join("values.yaml")).expect("the chart must have values");
    serde_saphyr::from_str(&text).expect("they must be YAML")
}

fn schema() -> Value {
    let text = fs::read_to_string(chart().join("values.schema.json")).expect("the chart must have a schema");
    serde_json::from_str(&text).expect("it must be JSON")
}

fn templates() -> String {
    let files = fs::read_dir(chart().join("templates")).expect("the chart must have templates");
    let texts = files.map(|file| fs::read_to_string(file.expect("a file").path()).expect("it must be text"));
    texts.collect::<Vec<_>>().join("\n")
}

/// Paths of the values that templates read, such as `image.tag`. Within `with .Values` they are written without the word.
fn read() -> BTreeSet<String> {
    let text = templates();
    let paths = text.match_indices(".Values.").map(|(at, word)| {
        let rest = &text[at + word.len()..];
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
        rest[..end.unwrap_or(rest.len())].to_owned()
    });
    paths.collect()
}

#[test]
fn every_value_that_a_template_reads_has_a_default() {
    let values = values();
    for path in read() {
        let pointer = format!("/{}", path.replace('.', "/"));
        assert!(values.pointer(&pointer).is_some(), "{path} is not in values.yaml");
    }
}

#[test]
fn every_default_is_in_the_schema_and_no_other_name_is_admitted() {
    let (values, schema) = (values(), schema());
    assert_eq!(schema["additionalProperties"], false);
    for (name, value) in values.as_object().expect("values must be a map") {
        let part = &schema["properties"][name];
        assert!(part.is_object(), "{name} is not in values.schema.json");
        let (Some(known), Some(fields)) = (part["properties"].as_object(), value.as_object()) else {
            continue;
        };
        for field in fields.keys() {
            assert!(known.contains_key(field), "{name}.{field} is not in values.schema.json");
        }
    }
}

#[test]
fn every_name_of_the_schema_has_a_default() {
    let (values, schema) = (values(), schema());
    let properties = schema["properties"].as_object().expect("it must have properties");
    for (name, part) in properties.iter().filter(|(name, _)| *name != "global") {
        assert!(values.get(name).is_some(), "{name} is not in values.yaml");
        for field in part["properties"]
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys())
        {
            assert!(
                values[name].get(field).is_some(),
                "{name}.{field} is not in values.yaml"
            );
        }
    }
}

/// Flagger's chart has them, Serin does not: each is refused by name instead of being dropped.
#[test]
fn values_of_flaggers_chart_that_are_not_built_end_the_installation_with_words() {
    let refusals = fs::read_to_string(chart().join("templates/refusals.yaml")).expect("the chart must refuse them");
    for value in [
        "msteams.url",
        "prometheus.install",
        "linkerdAuthPolicy.create",
        "controlplane.kubeconfig.secretName",
        "rbac.pspEnabled",
    ] {
        assert!(refusals.contains(&format!(".{value}")), "{value}");
        let pointer = format!("/{}", value.replace('.', "/"));
        let default = values().pointer(&pointer).cloned().unwrap_or_default();
        assert!(default == false || default == "", "{value} is refused by default");
    }
}

/// A flag that only a command line can set is one that nobody finds who installs the chart.
#[test]
fn every_flag_of_the_controller_is_a_value_of_the_chart_or_has_a_reason_not_to_be() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_serin"))
        .args(["controller", "--help"])
        .output()
        .expect("the binary must start");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let word = |text: &str| -> String {
        let end = text.find(|letter: char| !letter.is_ascii_lowercase() && letter != '-');
        text[..end.unwrap_or(text.len())].to_owned()
    };
    let flags: BTreeSet<String> = help
        .lines()
        .filter_map(|line| Some(word(line.split_once("--")?.1)))
        .filter(|flag| !flag.is_empty())
        .collect();
    let deployment = fs::read_to_string(chart().join("templates/deployment.yaml")).expect("the chart must deploy it");
    let passed: BTreeSet<String> = deployment
        .lines()
        .filter_map(|line| Some(word(line.trim().strip_prefix("- -")?)))
        .collect();
    assert!(flags.contains("allow-link-local"), "{help}");
    let unknown: Vec<&String> = passed.difference(&flags).collect();
    assert!(
        unknown.is_empty(),
        "the chart passes flags that Serin does not know: {unknown:?}"
    );
    // Of a process outside a cluster; fixed by the container; in a Secret by `env`; without effect; not built; clap's own.
    let others = [
        "control-loop-interval",
        "zap-replace-globals",
        "kubeconfig-service-mesh",
        "kubeconfig",
        "master",
        "port",
        "slack-token",
        "msteams-url",
        "msteams-proxy-url",
        "enable-config-tracking",
        "help",
        "version",
    ];
    let missing: Vec<&String> = flags
        .difference(&passed)
        .filter(|flag| !others.contains(&flag.as_str()))
        .collect();
    assert!(missing.is_empty(), "flags without a value in the chart: {missing:?}");
}
