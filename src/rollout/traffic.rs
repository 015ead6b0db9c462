//! What a route is to do with requests: share them, keep a test to those that match, copy some, keep callers on their side.

use sha2::{Digest, Sha256};

use super::state::Block;
use super::weight::Weight;
use crate::api::Canary;

/// What values are made of.
const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// How many letters a value has.
const VALUE: usize = 10;

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

impl Cookie {
    /// The cookie of a run: the same whoever makes it, so that no crash gives callers another one. `purpose` tells the cookies of a
    /// run apart. The value is 10 letters, as Flagger's (spec/routers.md 7.2).
    pub fn of_run(name: &str, canary_uid: &str, run: u64, purpose: &str) -> Self {
        let digest = Sha256::digest(format!("{canary_uid}/{run}/cookie/{purpose}"));
        let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
        Self {
            name: name.to_owned(),
            value: digest.iter().take(VALUE).map(letter).collect(),
        }
    }

    /// The cookie that a status names as `name=value`.
    pub fn read(text: &str) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        let is_whole = !name.is_empty() && !value.is_empty();
        is_whole.then(|| Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_cookie_for_each_purpose() {
        let cookie = Cookie::of_run("c", "uid", 3, "canary");
        assert_eq!(cookie, Cookie::of_run("c", "uid", 3, "canary"));
        assert!(cookie.value.len() == 10 && cookie.value.bytes().all(|it| it.is_ascii_alphabetic()));
        for other in [("uid", 4, "canary"), ("uid", 3, "primary"), ("other", 3, "canary")] {
            assert_ne!(cookie, Cookie::of_run("c", other.0, other.1, other.2), "{other:?}");
        }
        assert_eq!(Cookie::read(&cookie.to_string()), Some(cookie));
        assert_eq!(Cookie::read("=LpsIaLdoNZ"), None);
    }
}
