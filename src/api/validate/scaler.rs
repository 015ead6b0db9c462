//! The scaler that a Canary names, as far as the Canary alone tells.

use super::Findings;
use crate::api::CanarySpec;

impl Findings {
    pub(super) fn scaler(&mut self, spec: &CanarySpec) {
        let Some(scaler) = spec
            .autoscaler_ref
            .as_ref()
            .filter(|scaler| scaler.kind == "HorizontalPodAutoscaler")
        else {
            return;
        };
        if scaler.name.is_empty() {
            self.refuse("spec.autoscalerRef.name", "is empty");
        }
        // Flagger reads the kind and the name; whatever version is written, it is the same object, read as autoscaling/v2.
        let version = scaler.api_version.strip_prefix("autoscaling/").unwrap_or_default();
        if !["v1", "v2", "v2beta1", "v2beta2"].contains(&version) {
            let message = format!(
                "{:?} is no version of HorizontalPodAutoscaler: autoscaling/v2 is",
                scaler.api_version
            );
            self.refuse("spec.autoscalerRef.apiVersion", message);
        }
        for (field, replicas) in [
            ("primaryScalerReplicas", scaler.primary_scaler_replicas),
            ("canaryScalerReplicas", scaler.canary_scaler_replicas),
        ] {
            if let Some((Some(min), Some(max))) = replicas.map(|r| (r.min_replicas, r.max_replicas))
                && min > max
            {
                self.refuse(
                    format!("spec.autoscalerRef.{field}"),
                    format!("no number is both at least {min} and at most {max}"),
                );
            }
        }
        if !scaler.primary_scaler_queries.is_empty() {
            self.warn(
                "spec.autoscalerRef.primaryScalerQueries",
                "is not used: a HorizontalPodAutoscaler has no queries",
            );
        }
    }
}
