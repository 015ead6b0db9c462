//! The plan of a run: which weights, in which order, and how traffic comes home after promotion.

use super::state::Plan;
use super::weight::Weight;
use crate::api::CanarySpec;

/// The plan that the spec asks for. No steps when analysis is skipped.
///
/// `stepWeight` counts up until `maxWeight` is reached, which is a lower bound for promotion and no cap (E16 of `spec/core.md` 7.1);
/// `stepWeights` stand as written, cut at 100 (E15). Entries that do not ascend are left out here and refused by validation (E18).
pub fn plan(spec: &CanarySpec) -> Plan {
    let Some(analysis) = spec.analysis.as_ref().filter(|_| !spec.skips_analysis()) else {
        return Plan {
            steps: Vec::new(),
            promotion_step: None,
        };
    };
    let promotion_step = analysis
        .step_weight_promotion()
        .map(|step| Weight::clamped(i64::from(step)));
    let mut steps: Vec<Weight> = Vec::new();
    if let Some(step) = analysis.step_weight() {
        let (step, max) = (i64::from(step.max(1)), i64::from(analysis.max_weight()));
        let mut weight = 0;
        while weight < max {
            weight = (weight + step).min(100);
            steps.push(Weight::clamped(weight));
        }
    } else {
        for weight in analysis.step_weights() {
            let weight = Weight::clamped(i64::from(weight));
            if weight > steps.last().copied().unwrap_or(Weight::ZERO) {
                steps.push(weight);
            }
        }
    }
    Plan { steps, promotion_step }
}

impl Plan {
    /// The step after this weight: the counter is the weight, so an edit of the list never makes a run jump (E20).
    pub fn after(&self, weight: Weight) -> Option<Weight> {
        self.steps.iter().copied().find(|step| *step > weight)
    }

    /// The weight after this one on the way home.
    pub fn homeward(&self, weight: Weight) -> Weight {
        self.promotion_step.map_or(Weight::ZERO, |step| {
            Weight::clamped(i64::from(weight.percent()) - i64::from(step.percent()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Analysis;

    fn steps(analysis: Analysis) -> Vec<u8> {
        plan(&CanarySpec {
            analysis: Some(analysis),
            ..CanarySpec::default()
        })
        .steps
        .into_iter()
        .map(Weight::percent)
        .collect()
    }

    #[test]
    fn weights_follow_the_edge_cases_of_the_spec() {
        let linear = |step, max| Analysis {
            step_weight: Some(step),
            max_weight: max,
            ..Analysis::default()
        };
        let listed = |list: &[i64]| Analysis {
            step_weights: list.to_vec(),
            ..Analysis::default()
        };
        for (what, analysis, expected) in [
            ("E16", linear(20, Some(50)), vec![20, 40, 60]),
            ("E17", linear(50, Some(100)), vec![50, 100]),
            ("E19", linear(60, Some(150)), vec![60, 100]),
            ("no maximum", linear(40, None), vec![40, 80, 100]),
            ("E15", listed(&[1, 2, 10, 200]), vec![1, 2, 10, 100]),
            ("E18", listed(&[10, 10, 5, 20]), vec![10, 20]),
        ] {
            assert_eq!(steps(analysis), expected, "{what}");
        }
    }

    #[test]
    fn a_weight_outside_the_list_goes_on_with_the_next_larger_one() {
        let plan = Plan {
            steps: [10, 30, 60].map(Weight::clamped).to_vec(),
            promotion_step: None,
        };
        assert_eq!(plan.after(Weight::clamped(20)), Some(Weight::clamped(30)));
        assert_eq!(plan.after(Weight::clamped(60)), None);
    }
}
