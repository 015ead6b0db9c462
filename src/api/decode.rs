//! One object at a time, from what the API server sent.
//!
//! A list is never decoded as a whole: one malformed object must not hide the others (spec/core.md 7.3 W17), and its
//! owner must be told which field is wrong.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is wrong with an object, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct DecodeError {
    /// Path of the field, for example `spec.analysis.stepWeight`; `.` is the object itself.
    pub field: String,
    /// What is wrong with it. It never repeats a text of the object, which could be a secret.
    pub message: String,
}

/// Reads a Canary, a `MetricTemplate` or an `AlertProvider`. Fields that the type does not know are ignored.
pub fn decode<K: DeserializeOwned>(object: &Value) -> Result<K, DecodeError> {
    serde_path_to_error::deserialize(object).map_err(|error| DecodeError {
        field: error.path().to_string(),
        message: without_texts(&error.inner().to_string()),
    })
}

/// `string "x"` becomes `a text`: serde quotes the value that it found.
fn without_texts(message: &str) -> String {
    match (message.find("string \""), message.rfind("\", expected")) {
        (Some(start), Some(end)) if start < end => format!("{}a text{}", &message[..start], &message[end + 1..]),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{AlertProvider, Canary, MetricTemplate};

    fn canary(analysis: &Value) -> Value {
        json!({
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": {"name": "podinfo", "namespace": "test"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
                "service": {"port": 80},
                "analysis": analysis,
            },
        })
    }

    #[test]
    fn a_malformed_field_is_named_with_its_path() {
        let cases = [
            (
                json!({"stepWeight": 12.5}),
                "spec.analysis.stepWeight: 12.5 is not a whole number",
            ),
            (
                json!({"stepWeights": [10, 20.5]}),
                "spec.analysis.stepWeights[1]: 20.5 is not a whole number",
            ),
            (
                json!({"threshold": 1e300}),
                "spec.analysis.threshold: 1e300 is out of range",
            ),
            (
                json!({"webhooks": [{"name": "gate"}]}),
                "spec.analysis.webhooks[0]: missing field `url`",
            ),
            (
                json!({"metrics": [{"name": "a"}, {"name": "b", "thresholdRange": {"min": "x"}}]}),
                "spec.analysis.metrics[1].thresholdRange.min: invalid type: a text, expected f64",
            ),
            (
                json!({"alerts": [{"name": "a", "providerRef": {"name": "p"}, "severity": "loud"}]}),
                "spec.analysis.alerts[0].severity: unknown variant `loud`, expected one of ``, `info`, `warn`, `error`",
            ),
        ];
        for (analysis, expected) in cases {
            let error = decode::<Canary>(&canary(&analysis)).expect_err("malformed");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_whole_number_may_be_written_as_a_float() {
        let read =
            decode::<Canary>(&canary(&json!({"stepWeight": 10.0, "stepWeights": [1.0, 5]}))).expect("well formed");
        let analysis = read.spec.analysis.expect("analysis");
        assert_eq!((analysis.step_weight, analysis.step_weights), (Some(10), vec![1, 5]));
    }

    #[test]
    fn a_port_beyond_its_type_is_an_error_of_that_field() {
        let mut object = canary(&json!({}));
        object["spec"]["service"]["port"] = json!(5_000_000_000_u64);
        let error = decode::<Canary>(&object).expect_err("out of range");
        assert_eq!(error.to_string(), "spec.service.port: 5000000000 is out of range");
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let mut object = canary(&json!({"stepWeight": 10, "tomorrow": {"a": 1}}));
        object["spec"]["canaryAnalysis"] = json!({"stepWeight": "x"});
        decode::<Canary>(&object).expect("unknown fields do no harm");
    }

    #[test]
    fn an_object_without_a_spec_says_so() {
        let error = decode::<Canary>(&json!({"metadata": {"name": "podinfo"}})).expect_err("no spec");
        assert_eq!(error.message, "missing field `spec`");
    }

    #[test]
    fn an_error_never_repeats_a_text_of_the_object() {
        let template = json!({"metadata": {}, "spec": {"query": "up", "provider": {
            "type": "prometheus", "headers": {"Authorization": "Bearer s3cr3t"},
        }}});
        let error = decode::<MetricTemplate>(&template).expect_err("a header is a list");
        assert_eq!(error.field, "spec.provider.headers.Authorization");
        assert!(!error.to_string().contains("s3cr3t"), "{error}");

        let provider = json!({"metadata": {}, "spec": {"type": "slack", "secretRef": "hush \", expected"}});
        let error = decode::<AlertProvider>(&provider).expect_err("a reference is an object");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}
