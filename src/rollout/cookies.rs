//! The cookies of session affinity: made with a run, taken back behind it (`spec/core.md` 2.13).
//!
//! A value is a hash of Canary, run and purpose (`design.md`, "Time"): the same however often it is made.

use super::mark;
use super::state::{Block, Cookies};
use crate::api::Canary;

/// Letters of a value, as many as Flagger's.
const LETTERS: usize = 10;

/// The cookies of the run that begins. What is to be taken back stays so, for as long as there is session affinity.
pub fn of_run(canary: &Canary, block: &Block) -> Cookies {
    let affinity = canary
        .spec
        .analysis
        .as_ref()
        .and_then(|analysis| analysis.session_affinity.as_ref().filter(|_| block.subject.has_route()));
    let Some(affinity) = affinity else {
        return Cookies::default();
    };
    let uid = canary.metadata.uid.as_deref().unwrap_or_default();
    let cookie = |name: &str, purpose: &str| {
        let seed = format!("{uid}/{}/{purpose}", block.run);
        (!name.is_empty()).then(|| format!("{name}={}", letters(&seed)))
    };
    Cookies {
        canary: cookie(&affinity.cookie_name, "cookie"),
        primary: affinity
            .primary_cookie_name
            .as_ref()
            .and_then(|name| cookie(name, "primary-cookie")),
        previous: block.cookies.previous.clone(),
    }
}

/// The canary has no share any more: callers who show its cookie are told to forget it.
pub fn take_back(cookies: &mut Cookies) {
    if cookies.canary.is_some() {
        cookies.previous.clone_from(&cookies.canary);
    }
}

/// Letters of both cases that stand for a text.
fn letters(seed: &str) -> String {
    const ALPHABET: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    (0..LETTERS)
        .map(|place| {
            let sum = mark::sum(&format!("{seed}/{place}"));
            // The low bits of the sum of two texts that differ in their last letter alone differ too little.
            let letter = usize::try_from((sum >> 32) % 52).unwrap_or(0);
            char::from(ALPHABET[letter])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::letters;

    #[test]
    fn a_value_is_ten_letters_the_same_each_time_and_another_for_another_run() {
        let (one, other) = (letters("u/1/cookie"), letters("u/2/cookie"));
        assert_eq!(one, letters("u/1/cookie"));
        assert_ne!(one, other);
        assert!(one.len() == 10 && one.chars().all(|letter| letter.is_ascii_alphabetic()));
    }
}
