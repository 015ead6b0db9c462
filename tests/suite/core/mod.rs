//! The core by itself: roads that must be taken, and random worlds in which the invariants must hold.

mod edits;
mod gate_timeouts;
mod gates;
mod held;
mod late;
mod line;
mod patience;
mod properties;
mod roads;
mod size;
mod stages;
mod strategies;
mod succession;
mod takeover;
mod traffic;
mod words;
pub mod world;
