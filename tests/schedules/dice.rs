//! A small seeded generator (splitmix64): the same seed draws the same schedule on every machine.

/// Draws numbers.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` to below `end`.
    pub const fn from(&mut self, least: u64, end: u64) -> u64 {
        least + self.roll() % (end - least)
    }

    /// True in so many of a hundred cases.
    pub const fn percent(&mut self, chance: u64) -> bool {
        self.from(0, 100) < chance
    }

    /// One of a list, each as likely as the others.
    pub fn one<T: Clone>(&mut self, of: &[T]) -> T {
        let place = usize::try_from(self.roll()).unwrap_or(usize::MAX) % of.len();
        of[place].clone()
    }
}
