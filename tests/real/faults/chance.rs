//! Random moments that come again with the same seed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// A seed. What is drawn for one purpose does not change what is drawn for another.
#[derive(Clone, Copy, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// A number below `end`.
    pub fn below(self, end: u64, purpose: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.0, purpose).hash(&mut hasher);
        hasher.finish() % end.max(1)
    }

    /// A span below `end`, to the millisecond.
    pub fn span_below(self, end: Duration, purpose: impl Hash) -> Duration {
        let milliseconds = u64::try_from(end.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.below(milliseconds, purpose))
    }
}
