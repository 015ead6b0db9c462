//! `serin demo`: two releases on a cluster in memory, one good, one bad, with the real controller.
mod board;
mod draw;
mod ink;
