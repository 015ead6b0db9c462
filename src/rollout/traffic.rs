//! What a route is to do with requests: share them, keep a test to those that match, copy some, keep callers on their side.

use super::state::Block;
use super::weight::Weight;
use crate::api::Canary;

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

    /// What the route is to do while the status stands so.
    pub fn intended(_canary: &Canary, block: &Block) -> Self {
        Self::shared(block.weight)
    }
}

impl std::fmt::Display for Cookie {
    /// As in a `Cookie` header, and in Flagger's status: `name=value`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}
