//! The story that scenarios tell: a live application is taken over, gets a good version, then a bad one, and is given back, under
//! load all the time. [`story`] lives through it, [`expectations`] judges what was seen.

pub mod expectations;
pub mod story;
