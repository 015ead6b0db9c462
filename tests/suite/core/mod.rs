//! The core by itself: roads that must be taken, and random worlds in which the invariants must hold.

mod properties;
mod roads;
pub mod world;
