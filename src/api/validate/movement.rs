//! How a run moves: weights, iterations, matches and mirrors that stand in each other's way, or lead nowhere.

use super::Findings;
use crate::api::{Analysis, CanarySpec, Strategy, support};

impl Findings {
    /// Judges what the analysis says about traffic.
    pub(super) fn movement(&mut self, spec: &CanarySpec, analysis: &Analysis, provider: &str) {
        if provider == support::KUBERNETES {
            return self.without_route(analysis);
        }
        if !spec.skip_analysis && analysis.strategy() == Strategy::Canary && analysis.steps.is_empty() {
            self.weights(analysis);
        }
        if analysis.strategy() == Strategy::Canary && !analysis.matches.is_empty() {
            // E13 of spec/core.md 7.1.
            let message = "without iterations the weights are shares of the requests that match";
            self.warn("spec.analysis.match", message);
        }
    }

    /// What a provider without a route makes of a strategy, in Flagger's words where it has some (spec/core.md 2.3, T26).
    fn without_route(&mut self, analysis: &Analysis) {
        if !analysis.matches.is_empty() {
            let message = "A/B testing is not supported when using the kubernetes provider";
            self.warn("spec.analysis.match", message);
        }
        if analysis.iterations().is_none() && analysis.steps.is_empty() {
            let message = "Progressive traffic is not supported when using the kubernetes provider";
            self.warn("spec.analysis", message);
            self.warn("spec.analysis.iterations", "Setting canaryAnalysis.iterations: 10");
        }
        for (field, asked) in [
            ("mirror", analysis.mirror),
            ("sessionAffinity", analysis.session_affinity.is_some()),
        ] {
            if asked {
                let message = "needs a route: it is left out with the kubernetes provider";
                self.warn(format!("spec.analysis.{field}"), message);
            }
        }
    }

    /// Weights that would never reach the promotion (spec/core.md 7.1 E18 to E20, 7.3 W14).
    fn weights(&mut self, analysis: &Analysis) {
        if let Some(step) = analysis.step_weight.filter(|_| analysis.step_weight().is_some()) {
            if step > 100 {
                self.warn(
                    "spec.analysis.stepWeight",
                    format!("{step} is more than all traffic: 100 is used"),
                );
            }
        } else if analysis.step_weights.is_empty() {
            let field = match (analysis.step_weight, analysis.iterations) {
                (None, Some(_)) => "spec.analysis.iterations",
                _ => "spec.analysis.stepWeight",
            };
            self.refuse(field, "must be above 0: with nothing else the weight would never move");
        } else {
            self.listed_weights(&analysis.step_weights);
        }

        match analysis.max_weight {
            Some(_) if !analysis.step_weights.is_empty() => {
                self.warn(
                    "spec.analysis.maxWeight",
                    "is not used: the last of stepWeights says where the run ends",
                );
            }
            Some(max) if !(1..=100).contains(&max) => {
                self.warn(
                    "spec.analysis.maxWeight",
                    format!("{max} is not from 1 to 100: 100 is used"),
                );
            }
            _ => {}
        }
        if let Some(step) = analysis.step_weight_promotion.filter(|s| !(0..=100).contains(s)) {
            let message = format!("{step} is no percentage: all traffic returns at once");
            self.warn("spec.analysis.stepWeightPromotion", message);
        }
    }

    fn listed_weights(&mut self, weights: &[i64]) {
        let mut before = 0;
        for (i, &weight) in weights.iter().enumerate() {
            let field = format!("spec.analysis.stepWeights[{i}]");
            if weight < 1 {
                self.refuse(
                    field,
                    format!("{weight} is not from 1 to 100: the weight would never move"),
                );
            } else if weight <= before {
                self.refuse(
                    field,
                    format!("{weight} is not above {before}: the weights must ascend"),
                );
            } else if weight > 100 {
                self.warn(field, format!("{weight} is more than all traffic: 100 is used"));
            }
            before = before.max(weight);
        }
    }
}
