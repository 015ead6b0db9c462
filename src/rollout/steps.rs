//! The plan of a run: where the new revision is tried, in which order, and how traffic comes home after promotion.

use super::state::{Block, Plan, Subject};
use super::weight::Weight;
use crate::api::{Analysis, CanarySpec, Strategy};

/// Iterations where the provider has no route and the spec counts by weight (E14 of `spec/core.md` 7.1).
const WITHOUT_WEIGHTS: u32 = 10;

/// What comes after a check that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// One more check at the same traffic: the number of this iteration.
    Iteration(u32),
    /// This weight.
    Weight(Weight),
    /// The promotion.
    Promotion,
}

/// The plan that the spec asks for. It judges nothing when analysis is skipped.
///
/// `stepWeight` counts up until `maxWeight` is reached, which is a lower bound for promotion and no cap (E16 of `spec/core.md` 7.1);
/// `stepWeights` stand as written, cut at 100 (E15). Entries that do not ascend are left out here and refused by validation (E18).
/// Without a route there are iterations only, whatever the spec asks for.
pub fn plan(spec: &CanarySpec, subject: &Subject) -> Plan {
    let Some(analysis) = spec.analysis.as_ref().filter(|_| !spec.skips_analysis()) else {
        return Plan::default();
    };
    if !subject.has_route() {
        return Plan {
            iterations: analysis.iterations().unwrap_or(WITHOUT_WEIGHTS),
            ..Plan::default()
        };
    }
    let counted = analysis.strategy() != Strategy::Canary;
    Plan {
        steps: if counted { vec![Weight::FULL] } else { weights(analysis) },
        iterations: analysis.iterations().unwrap_or(0),
        matched: !analysis.matches.is_empty(),
        // All of the requests that match go to the canary, so there is nothing to copy.
        mirror: analysis
            .mirror_weight()
            .filter(|_| analysis.strategy() != Strategy::AbTesting)
            .map(|percent| Weight::clamped(i64::from(percent))),
        promotion_step: analysis
            .step_weight_promotion()
            .map(|step| Weight::clamped(i64::from(step))),
    }
}

fn weights(analysis: &Analysis) -> Vec<Weight> {
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
    steps
}

impl Plan {
    /// Whether the revision is tried at all before it is promoted.
    pub const fn judges(&self) -> bool {
        !self.steps.is_empty() || self.iterations > 0
    }

    /// From now on nothing is tried any more.
    pub fn call_off(&mut self) {
        self.steps.clear();
        self.iterations = 0;
    }

    /// The step after this weight: the counter is the weight, so an edit of the list never makes a run jump (E20).
    pub fn after(&self, weight: Weight) -> Option<Weight> {
        self.steps.iter().copied().find(|step| *step > weight)
    }

    /// Whether the canary is tried before it has any share: by iterations of Blue/Green, or by copies of requests.
    pub const fn begins_without_weight(&self) -> bool {
        self.mirror.is_some() || self.iterations > 0 && !self.matched
    }

    /// What comes after a passed check at this weight, in this iteration.
    pub fn next(&self, weight: Weight, iteration: u32) -> Next {
        if iteration < self.iterations {
            return Next::Iteration(iteration.saturating_add(1));
        }
        self.after(weight).map_or(Next::Promotion, Next::Weight)
    }

    /// The weight after this one on the way home.
    pub fn homeward(&self, weight: Weight) -> Weight {
        self.promotion_step.map_or(Weight::ZERO, |step| {
            Weight::clamped(i64::from(weight.percent()) - i64::from(step.percent()))
        })
    }
}

impl Block {
    /// What comes after a passed check where the run stands now.
    pub fn next(&self) -> Next {
        self.plan
            .as_ref()
            .map_or(Next::Promotion, |plan| plan.next(self.weight, self.iterations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::TrafficMatch;
    use crate::api::support::KUBERNETES;

    fn planned(analysis: Analysis, provider: &str) -> Plan {
        let spec = CanarySpec {
            analysis: Some(analysis),
            ..CanarySpec::default()
        };
        let subject = Subject {
            provider: provider.into(),
            ..Subject::default()
        };
        plan(&spec, &subject)
    }

    fn steps(analysis: Analysis) -> Vec<u8> {
        let plan = planned(analysis, "istio");
        plan.steps.into_iter().map(Weight::percent).collect()
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
            ..Plan::default()
        };
        assert_eq!(plan.after(Weight::clamped(20)), Some(Weight::clamped(30)));
        assert_eq!(plan.after(Weight::clamped(60)), None);
    }

    /// The road of a plan from its first check on: weight and iteration of each.
    fn road(plan: &Plan) -> Vec<(u8, u32)> {
        let mut weight = if plan.begins_without_weight() {
            Weight::ZERO
        } else {
            plan.after(Weight::ZERO).unwrap_or(Weight::ZERO)
        };
        let mut iteration = plan.iterations.min(1);
        let mut road = vec![(weight.percent(), iteration)];
        loop {
            match plan.next(weight, iteration) {
                Next::Iteration(next) => iteration = next,
                Next::Weight(next) => weight = next,
                Next::Promotion => return road,
            }
            road.push((weight.percent(), iteration));
        }
    }

    #[test]
    fn every_strategy_has_its_road() {
        let counted = Analysis {
            iterations: Some(3),
            ..Analysis::default()
        };
        let tested = Analysis {
            matches: vec![TrafficMatch::default()],
            mirror: true,
            ..counted.clone()
        };
        let mirrored = Analysis {
            step_weight: Some(50),
            mirror: true,
            ..Analysis::default()
        };
        assert_eq!(
            road(&planned(counted.clone(), "istio")),
            [(0, 1), (0, 2), (0, 3), (100, 3)]
        );
        assert_eq!(road(&planned(tested.clone(), "istio")), [(100, 1), (100, 2), (100, 3)]);
        assert_eq!(road(&planned(mirrored.clone(), "istio")), [(0, 0), (50, 0), (100, 0)]);
        assert_eq!(road(&planned(counted, KUBERNETES)), [(0, 1), (0, 2), (0, 3)]);
        assert_eq!(road(&planned(tested, KUBERNETES)), [(0, 1), (0, 2), (0, 3)]);
        assert_eq!(road(&planned(mirrored, KUBERNETES)).len(), 10, "E14");
    }
}
