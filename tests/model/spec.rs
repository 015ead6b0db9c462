//! What is checked: the Canary's spec, and how much may happen to it.

use serde_json::json;
use serin::api::Canary;

/// How often each thing may still happen. All of it together, in every order, is what is explored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// The team pushes another template, or goes back to an earlier one.
    pub pushes: u8,
    /// All pods of a side lose their readiness.
    pub falls: u8,
    /// Somebody else changes the route or the apex.
    pub edits: u8,
    /// The caches of objects, or those of endpoints, stop following for a while.
    pub lags: u8,
    /// The process dies, or freezes while a write is on its way and another one takes over.
    pub deaths: u8,
    /// The API server refuses writes of the route for a while.
    pub refusals: u8,
    /// A metric fails, has no number, or cannot be asked.
    pub bad: u8,
    /// A gate is closed when it is asked.
    pub closed: u8,
    /// The team suspends the Canary for a while.
    pub suspensions: u8,
    /// The team deletes the Canary.
    pub deletions: u8,
}

/// Where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// The application was taken over, and its first revision promoted.
    AtRest,
    /// The Canary of a live application was just created: once with a route of the team's own, once without.
    Live,
}

/// One bounded world.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Its name in the output.
    pub name: &'static str,
    /// Pods of each side.
    pub replicas: u8,
    /// `spec.analysis.stepWeights`.
    pub steps: &'static [u8],
    /// `spec.analysis.stepWeightPromotion`.
    pub promotion_step: Option<u8>,
    /// The target's strategy is `Recreate`.
    pub recreate: bool,
    /// There are gates before the start, a raise and the promotion.
    pub gates: bool,
    /// What else the spec says, as a JSON merge patch; empty for nothing.
    pub more: &'static str,
    /// Where it begins.
    pub begin: Begin,
    /// How much may happen.
    pub budget: Budget,
}

impl Spec {
    /// The plainest one, in which nothing happens but one release.
    pub const PLAIN: Self = Self {
        name: "plain",
        replicas: 1,
        steps: &[50],
        promotion_step: None,
        recreate: false,
        gates: false,
        more: "",
        begin: Begin::AtRest,
        budget: Budget {
            pushes: 1,
            falls: 0,
            edits: 0,
            lags: 0,
            deaths: 0,
            refusals: 0,
            bad: 0,
            closed: 0,
            suspensions: 0,
            deletions: 0,
        },
    };

    /// Pods stay ready and nobody but Serin touches its objects, so that a request without an answer is Serin's doing.
    pub const fn is_untroubled(&self) -> bool {
        let Budget { falls, edits, lags, .. } = self.budget;
        !self.recreate && falls == 0 && edits == 0 && lags == 0
    }

    /// The Canary that it speaks of, suspended or not.
    pub fn canary(&self, suspended: bool) -> Canary {
        let mut analysis = json!({
            "interval": "10s", "threshold": 2, "stepWeights": self.steps, "metrics": [{"name": "request-success-rate"}],
        });
        if let Some(step) = self.promotion_step {
            analysis["stepWeightPromotion"] = step.into();
        }
        if self.gates {
            let gate = |kind: &str| json!({"name": kind, "type": kind, "url": "http://gate"});
            analysis["webhooks"] = json!([
                gate("confirm-rollout"),
                gate("confirm-traffic-increase"),
                gate("confirm-promotion")
            ]);
        }
        let mut canary = json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "app", "namespace": "test", "uid": "u"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
                "progressDeadlineSeconds": 30, "suspend": suspended,
                "service": {"port": 80, "gatewayRefs": [{"name": "gateway"}]},
                "analysis": analysis,
            },
        });
        if !self.more.is_empty() {
            json_patch::merge(
                &mut canary["spec"],
                &serde_json::from_str(self.more).expect("valid JSON"),
            );
        }
        serde_json::from_value(canary).expect("a valid Canary")
    }
}
