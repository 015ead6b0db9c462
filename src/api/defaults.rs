//! What a spec means where it says nothing, or something odd: Flagger's defaults, one method each.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    Alert, Analysis, CanarySpec, DurationText, GoDuration, HookType, Metric, OnMissing, PromotionFailure, ServiceSpec,
    Severity, Webhook,
};

const INTERVAL: Duration = Duration::from_mins(1);
const LEAST_INTERVAL: Duration = Duration::from_secs(10);
const PROGRESS_DEADLINE: Duration = Duration::from_mins(10);
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// How a run moves.
///
/// See spec/core.md 1.3, "Strategy selection".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// By weights, step by step.
    Canary,
    /// By iterations without matches: all traffic at the end.
    BlueGreen,
    /// By iterations with matches: some callers from the start.
    AbTesting,
}

impl Strategy {
    /// Flagger's name for it, as its metrics show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::BlueGreen => "blue-green",
            Self::AbTesting => "ab-testing",
        }
    }
}

impl CanarySpec {
    /// The provider of this Canary, or the controller's where it names none.
    pub fn provider_or<'a>(&'a self, global: &'a str) -> &'a str {
        self.provider.as_deref().filter(|p| !p.is_empty()).unwrap_or(global)
    }

    /// Name of the apex Service and of the route: `service.name`, else the target's name.
    pub fn apex_name(&self) -> &str {
        let named = self.service.as_ref().and_then(|s| s.name.as_deref());
        named.filter(|n| !n.is_empty()).unwrap_or(&self.target_ref.name)
    }

    /// Name of the Service that selects the primary's pods.
    pub fn primary_service_name(&self) -> String {
        format!("{}-primary", self.apex_name())
    }

    /// Name of the Service that selects the canary's pods.
    pub fn canary_service_name(&self) -> String {
        format!("{}-canary", self.apex_name())
    }

    /// Name of the primary workload: from the target, not from the Service (spec/routers.md 1.1).
    pub fn primary_name(&self) -> String {
        format!("{}-primary", self.target_ref.name)
    }

    /// Port of the Services; `None` if the spec gives none that a Service may have.
    pub fn service_port(&self) -> Option<i32> {
        self.service.as_ref()?.port.filter(|p| (1..=65_535).contains(p))
    }

    /// Whether a new revision is promoted unjudged: asked for, or nothing says how to judge.
    pub fn skips_analysis(&self) -> bool {
        self.skip_analysis || self.analysis.is_none()
    }

    /// How long a workload may take to become ready: 600 s where nothing above 0 is given.
    pub fn progress_deadline(&self) -> Duration {
        let seconds = self.progress_deadline_seconds.and_then(|s| u64::try_from(s).ok());
        seconds
            .filter(|s| *s > 0)
            .map_or(PROGRESS_DEADLINE, Duration::from_secs)
    }

    /// How long a written weight is given to arrive in routers that confirm nothing. Default 2 s.
    pub fn traffic_settle(&self) -> Duration {
        Duration::from_secs(self.traffic_settle_seconds.unwrap_or(2).into())
    }

    /// How long pods are left alone after their traffic went elsewhere: until the data plane has heard of it, and then until the
    /// connections that they still have could end (`spec.rollback.drainSeconds`).
    pub fn letting_go(&self) -> Duration {
        self.traffic_settle() + self.drain()
    }

    /// How long connections may take to end once the data plane sends no new ones. Default 0 s.
    pub fn drain(&self) -> Duration {
        let drain = self.rollback.as_ref().and_then(|rollback| rollback.drain_seconds);
        Duration::from_secs(drain.unwrap_or(0).into())
    }

    /// What happens when the primary does not come up with a new revision.
    pub fn promotion_failure(&self) -> PromotionFailure {
        let promotion = self.promotion.as_ref();
        promotion.and_then(|promotion| promotion.on_failure).unwrap_or_default()
    }

    /// How long the pods of a revision that failed are kept; `None`: not at all.
    pub fn scale_down_delay(&self) -> Option<Duration> {
        let delay = self.rollback.as_ref()?.scale_down_delay.as_ref()?.parse().ok()?;
        delay.to_std().filter(|delay| !delay.is_zero())
    }

    /// How a run moves; weighted where there is no analysis.
    pub fn strategy(&self) -> Strategy {
        self.analysis.as_ref().map_or(Strategy::Canary, Analysis::strategy)
    }

    /// [`Analysis::interval`], or its default where there is no analysis.
    pub fn interval(&self) -> Duration {
        self.analysis.as_ref().map_or(INTERVAL, Analysis::interval)
    }

    /// [`Analysis::threshold`], or its default where there is no analysis.
    pub fn threshold(&self) -> u32 {
        self.analysis.as_ref().map_or(1, Analysis::threshold)
    }

    /// [`Analysis::max_weight`], or its default where there is no analysis.
    pub fn max_weight(&self) -> u32 {
        self.analysis.as_ref().map_or(100, Analysis::max_weight)
    }

    /// Percent of the primary's pods that must be ready. Default 100.
    pub fn primary_ready_threshold(&self) -> u32 {
        percent_or_all(self.analysis.as_ref().and_then(|a| a.primary_ready_threshold))
    }

    /// Percent of the canary's pods that must be ready. Default 100.
    pub fn canary_ready_threshold(&self) -> u32 {
        percent_or_all(self.analysis.as_ref().and_then(|a| a.canary_ready_threshold))
    }
}

impl ServiceSpec {
    /// Name of the port of the Services. Default `http`.
    pub fn port_name(&self) -> &str {
        self.port_name.as_deref().filter(|n| !n.is_empty()).unwrap_or("http")
    }

    /// Port of the pods: `port` where absent, 0 or `"0"` (spec/core.md 1.2).
    pub fn target_port(&self) -> Option<IntOrString> {
        let unset = |port: &IntOrString| match port {
            IntOrString::Int(number) => *number == 0,
            IntOrString::String(name) => name.is_empty() || name == "0",
        };
        self.target_port
            .clone()
            .filter(|port| !unset(port))
            .or_else(|| self.port.map(IntOrString::Int))
    }
}

impl Analysis {
    /// Time between two checks: 60 s where empty or no duration, never below 10 s (spec/core.md 7.1 E11).
    pub fn interval(&self) -> Duration {
        let given = self.interval.as_ref().and_then(|i| i.parse().ok());
        // A negative duration is below the least one, as in Flagger.
        given.map_or(INTERVAL, |d| d.to_std().unwrap_or_default().max(LEAST_INTERVAL))
    }

    /// Failed checks that end the run: 1 where absent or not positive (E12).
    pub fn threshold(&self) -> u32 {
        positive(self.threshold).unwrap_or(1)
    }

    /// Percent at which the new revision is promoted: the last of `stepWeights`, else `maxWeight`, else 100; never
    /// above 100, where Flagger would wait for ever (spec/core.md 2.7 and 7.1 E19).
    pub fn max_weight(&self) -> u32 {
        let given = if self.step_weights.is_empty() {
            self.max_weight
        } else {
            self.step_weights.last().copied()
        };
        positive(given).unwrap_or(100).min(100)
    }

    /// Percent that each step adds, from 1 to 100; `None` where `stepWeights` or nothing says so.
    pub fn step_weight(&self) -> Option<u32> {
        positive(self.step_weight).map(|w| w.min(100))
    }

    /// The explicit weights, each at most 100. Flagger reads `stepWeight` first: with one, this list is not used.
    pub fn step_weights(&self) -> Vec<u32> {
        self.step_weights
            .iter()
            .map(|w| u32::try_from((*w).clamp(0, 100)).unwrap_or_default())
            .collect()
    }

    /// Percent that returns to the primary with each step of a promotion; `None`: all at once.
    pub fn step_weight_promotion(&self) -> Option<u32> {
        positive(self.step_weight_promotion).map(|w| w.min(100))
    }

    /// Checks of a run that counts by them; `None` for one that counts by weight.
    pub fn iterations(&self) -> Option<u32> {
        positive(self.iterations)
    }

    /// Percent of the requests that are copied, where any are: all of them where `mirrorWeight` says nothing.
    pub fn mirror_weight(&self) -> Option<u32> {
        self.mirror
            .then(|| positive(self.mirror_weight).unwrap_or(100).min(100))
    }

    /// How a run moves.
    pub fn strategy(&self) -> Strategy {
        match (self.iterations().is_some(), self.matches.is_empty()) {
            (true, false) => Strategy::AbTesting,
            (true, true) => Strategy::BlueGreen,
            (false, _) => Strategy::Canary,
        }
    }

    /// The hooks of one type, in list order.
    pub fn hooks(&self, type_: HookType) -> impl Iterator<Item = &Webhook> {
        self.webhooks.iter().filter(move |hook| hook.type_() == type_)
    }
}

impl Metric {
    /// How far the query looks back, as the query spells it: `1m` where empty.
    ///
    /// Flagger gives templates no default, so that `{{ interval }}` renders to nothing (spec/analysis.md 1.6); a
    /// template has the same default here.
    pub fn interval(&self) -> &str {
        self.interval
            .as_ref()
            .map(DurationText::as_str)
            .filter(|i| !i.is_empty())
            .unwrap_or("1m")
    }

    /// Verdict when the server answers with no number: `fail`, as Flagger.
    pub fn on_no_data(&self) -> OnMissing {
        self.on_no_data.unwrap_or(OnMissing::Fail)
    }

    /// Verdict when the server cannot be asked: `hold`, since a broken server says nothing about the revision.
    pub fn on_error(&self) -> OnMissing {
        self.on_error.unwrap_or(OnMissing::Hold)
    }
}

impl Webhook {
    /// When it is called: `rollout` where the type is absent or empty.
    pub fn type_(&self) -> HookType {
        self.type_.unwrap_or_default()
    }

    /// Time for one try: 10 s where absent, shorter than two letters (spec/analysis.md 1.11), or not positive.
    pub fn timeout(&self) -> Duration {
        let given = self
            .timeout
            .as_ref()
            .filter(|t| t.as_str().len() >= 2)
            .and_then(|t| t.parse().ok());
        given
            .and_then(GoDuration::to_std)
            .filter(|t| !t.is_zero())
            .unwrap_or(HOOK_TIMEOUT)
    }

    /// How long a gate may keep a release back; `None`: for ever, also where the text is no span above zero, which is refused.
    pub fn gate_timeout(&self) -> Option<Duration> {
        let given = self.gate_timeout.as_ref()?.parse().ok()?;
        given.to_std().filter(|span| !span.is_zero())
    }

    /// Whether it is a gate: a closed one keeps the release back.
    pub fn is_gate(&self) -> bool {
        matches!(
            self.type_(),
            HookType::ConfirmRollout | HookType::ConfirmTrafficIncrease | HookType::ConfirmPromotion
        )
    }

    /// Tries after the first. Default 0.
    pub fn retries(&self) -> u32 {
        positive(self.retries).unwrap_or(0)
    }
}

impl Alert {
    /// Least severity that is told: `info` where absent or empty.
    pub fn severity(&self) -> Severity {
        self.severity.unwrap_or_default()
    }
}

/// A number above 0, cut at the greatest `u32`; `None` otherwise.
fn positive(number: Option<i64>) -> Option<u32> {
    number.filter(|n| *n > 0).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

fn percent_or_all(number: Option<i64>) -> u32 {
    number.map_or(100, |n| u32::try_from(n.clamp(0, 100)).unwrap_or(100))
}
