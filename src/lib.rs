//! Serin.
pub mod clock;
pub mod sim;
