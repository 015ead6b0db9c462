//! What a route is to do with requests: share them, keep a test to those that match, copy some, keep callers on their side.

use super::state::{Block, Stage};
use super::weight::{Side, Weight};

/// What a route does with requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Traffic {
    /// The canary's share: of all requests, or of those that match.
    pub weight: Weight,
    /// An A/B test: only requests that meet `spec.analysis.match` are shared by the weight; all others go to the primary.
    pub matched: bool,
    /// Percent of the requests that are copied to the canary; its answers are thrown away.
    pub mirror: Option<Weight>,
    /// Cookies that keep callers on their side.
    pub affinity: Option<Affinity>,
}

/// What the cookies of `spec.analysis.sessionAffinity` are for now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Affinity {
    /// Answers set them, and a caller that shows one stays on the side that set it: while the canary has a share.
    Kept {
        /// The canary's.
        canary: Cookie,
        /// The primary's, where the spec names one.
        primary: Option<Cookie>,
    },
    /// The canary's cookie of a run that is over: a caller that shows it goes to the primary and is told to forget it.
    TakenBack(Cookie),
}

/// A cookie. Its attributes stand in the spec.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value: tells one run's callers from another's.
    pub value: String,
}

impl Traffic {
    /// All requests are shared by the weight, and nothing else is done with them.
    pub fn shared(weight: Weight) -> Self {
        Self {
            weight,
            ..Self::default()
        }
    }

    /// The most of the requests that may come to a side, in percent: how many match, or show a cookie, nobody knows.
    pub const fn most(&self, side: Side) -> u8 {
        let (canary_kept, primary_kept) = match &self.affinity {
            Some(Affinity::Kept { primary, .. }) => (true, primary.is_some()),
            Some(Affinity::TakenBack(_)) | None => (false, false),
        };
        match (side, self.mirror) {
            (Side::Canary, Some(copied)) if copied.percent() > self.weight.percent() => copied.percent(),
            (Side::Canary, _) if canary_kept => 100,
            (Side::Canary, _) => self.weight.percent(),
            (Side::Primary, _) if self.matched || primary_kept => 100,
            (Side::Primary, _) => self.weight.primary(),
        }
    }
}

impl Block {
    /// What the route is to do while the status stands so.
    pub fn traffic(&self) -> Traffic {
        let tried = matches!(self.stage, Stage::Stepping | Stage::WaitingPromotion);
        self.traffic_of(self.weight, tried)
    }

    /// What it will do once the weight is that.
    pub fn traffic_at(&self, weight: Weight) -> Traffic {
        self.traffic_of(weight, false)
    }

    /// All that the run will have it do for the first time: copy requests, give the canary a share.
    pub fn trials(&self) -> Vec<Traffic> {
        let copied = self.traffic_of(Weight::ZERO, true);
        let first = self.plan.as_ref().and_then(|plan| plan.after(Weight::ZERO));
        let shared = self.traffic_at(first.unwrap_or(Weight::FULL));
        let copied = Some(copied).filter(|copied| copied.mirror.is_some());
        copied.into_iter().chain([shared]).collect()
    }

    /// What it does when the run is over.
    pub fn traffic_after(&self) -> Traffic {
        let cookie = self.cookies.canary.as_ref().or(self.cookies.previous.as_ref());
        Traffic {
            affinity: cookie.and_then(|text| Cookie::parse(text)).map(Affinity::TakenBack),
            ..Traffic::default()
        }
    }

    /// Whether every request goes to the canary.
    pub fn has_all(&self) -> bool {
        self.weight == Weight::FULL && !self.matched
    }

    fn traffic_of(&self, weight: Weight, tried: bool) -> Traffic {
        let plan = self.plan.as_ref();
        let has_share = weight > Weight::ZERO;
        // What was given to all requests is not narrowed to some on the way home.
        let matched = if self.weight > Weight::ZERO {
            self.matched
        } else {
            plan.is_some_and(|plan| plan.matched)
        };
        Traffic {
            weight,
            matched: has_share && matched,
            mirror: plan.and_then(|plan| plan.mirror).filter(|_| tried && !has_share),
            affinity: self.affinity_at(weight),
        }
    }

    fn affinity_at(&self, weight: Weight) -> Option<Affinity> {
        let cookie = |text: &Option<String>| text.as_deref().and_then(Cookie::parse);
        if weight == Weight::ZERO {
            return cookie(&self.cookies.previous).map(Affinity::TakenBack);
        }
        Some(Affinity::Kept {
            canary: cookie(&self.cookies.canary)?,
            // Nobody is kept on a side that is to get nothing any more.
            primary: cookie(&self.cookies.primary).filter(|_| weight < Weight::FULL),
        })
    }
}

impl Cookie {
    /// Reads `name=value`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        (!name.is_empty()).then(|| Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl std::fmt::Display for Cookie {
    /// As in a `Cookie` header, and in Flagger's status: `name=value`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}
