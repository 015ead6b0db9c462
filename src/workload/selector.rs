//! The one label that tells a workload's pods from all others (spec/core.md 3.2).

use serde_json::Value;

use super::Settings;
use crate::object::text;

/// The label: the target's pods carry `key: value`, the primary's `key: value-primary`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The label's key.
    pub key: String,
    /// The label's value on the target's pods. It need not be the target's name.
    pub value: String,
}

/// No such label; the wording is Flagger's (spec/core.md 2.17).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "getSelectorLabel failed: deployment {deployment} spec.selector.matchLabels must contain one of [{}]",
    .accepted.join(" ")
)]
pub struct SelectorError {
    /// Name and namespace of the Deployment, with a dot between.
    pub deployment: String,
    /// The keys that would do.
    pub accepted: Vec<String>,
}

impl Selector {
    /// Reads the label off the target: the first accepted key, in the order of the settings, in its selector.
    pub fn of_target(target: &Value, settings: &Settings) -> Result<Self, SelectorError> {
        Self::find(target, settings)
    }

    /// Reads the label off the primary, for when the target is gone.
    pub fn of_primary(primary: &Value, settings: &Settings) -> Result<Self, SelectorError> {
        let found = Self::find(primary, settings)?;
        let value = found.value.strip_suffix("-primary").unwrap_or(&found.value).to_owned();
        Ok(Self { value, ..found })
    }

    /// The label's value on the primary's pods.
    pub fn primary_value(&self) -> String {
        format!("{}-primary", self.value)
    }

    fn find(deployment: &Value, settings: &Settings) -> Result<Self, SelectorError> {
        let labels = deployment.pointer("/spec/selector/matchLabels");
        let label = |key: &String| Some((key.clone(), labels?.get(key)?.as_str()?.to_owned()));
        let found = settings.selector_labels.iter().find_map(label);
        found
            .map(|(key, value)| Self { key, value })
            .ok_or_else(|| SelectorError {
                deployment: format!(
                    "{}.{}",
                    text(deployment, "/metadata/name"),
                    text(deployment, "/metadata/namespace")
                ),
                accepted: settings.selector_labels.clone(),
            })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(labels: &Value) -> Value {
        json!({"metadata": {"name": "podinfo", "namespace": "test"}, "spec": {"selector": {"matchLabels": labels}}})
    }

    #[test]
    fn the_order_of_the_settings_decides_not_the_order_of_the_labels() {
        let target = deployment(&json!({"app.kubernetes.io/name": "b", "name": "a"}));
        let found = Selector::of_target(&target, &Settings::default()).unwrap();
        assert_eq!((found.key.as_str(), found.value.as_str()), ("name", "a"));
        assert_eq!(found.primary_value(), "a-primary");
    }

    #[test]
    fn the_primary_tells_the_targets_label() {
        let primary = deployment(&json!({"app": "podinfo-primary"}));
        let found = Selector::of_primary(&primary, &Settings::default()).unwrap();
        assert_eq!(found.value, "podinfo");
    }

    #[test]
    fn without_an_accepted_label_the_error_lists_those_that_would_do() {
        let error = Selector::of_target(&deployment(&json!({"tier": "web"})), &Settings::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "getSelectorLabel failed: deployment podinfo.test spec.selector.matchLabels must contain one of \
             [app name app.kubernetes.io/name]"
        );
    }
}
