//! A share of the traffic.

use serde::{Deserialize, Serialize};

/// The canary's share of the traffic in whole percent, 0 to 100. The primary has the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Weight(u8);

/// Two sides share the traffic of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// The pods of `<target>-primary`: the promoted version.
    Primary,
    /// The pods of the target: the version under test.
    Canary,
}

/// A number outside 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a weight is a whole percentage from 0 to 100, not {0}")]
pub struct WeightError(pub i64);

impl Weight {
    /// No traffic for the canary.
    pub const ZERO: Self = Self(0);
    /// All traffic for the canary.
    pub const FULL: Self = Self(100);

    /// The weight of that many percent, more than 100 counting as 100.
    pub fn clamped(percent: i64) -> Self {
        u8::try_from(percent.clamp(0, 100)).map_or(Self::FULL, Self)
    }

    /// The canary's percentage.
    pub const fn percent(self) -> u8 {
        self.0
    }

    /// What is left for the primary, in percent.
    pub const fn primary(self) -> u8 {
        100 - self.0
    }

    /// The percentage of one side.
    pub const fn of(self, side: Side) -> u8 {
        match side {
            Side::Primary => self.primary(),
            Side::Canary => self.percent(),
        }
    }
}

impl TryFrom<u8> for Weight {
    type Error = WeightError;
    fn try_from(percent: u8) -> Result<Self, Self::Error> {
        if percent <= 100 {
            Ok(Self(percent))
        } else {
            Err(WeightError(i64::from(percent)))
        }
    }
}

impl From<Weight> for u8 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl std::fmt::Display for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
