//! The promise of a seed: played again it does the same, to the last request.

use std::{fmt::Debug, sync::PoisonError};

use super::{TURN, attempt, draw::Schedule, play::Played, wish};

/// Seeds of a usual run. Elections, failing calls, killed processes and a second application are among them.
const USUAL: u64 = 12;

/// Where two records part, told with what came right before.
fn parting<T: PartialEq + Debug>(once: &[T], again: &[T]) -> Option<String> {
    let same = once.iter().zip(again).take_while(|(a, b)| a == b).count();
    (same < once.len().max(again.len())).then(|| {
        let before = &once[same.saturating_sub(5)..same];
        let (a, b) = (once.get(same), again.get(same));
        format!("after {same} entries, the last of them {before:#?}, once\n{a:?}\nand again\n{b:?}")
    })
}

/// How two plays of a seed differ, if they do.
fn difference(once: &Played, again: &Played) -> Option<String> {
    let lines = |played: &Played| played.story.lines().map(str::to_owned).collect::<Vec<_>>();
    parting(&once.requests, &again.requests)
        .or_else(|| parting(&lines(once), &lines(again)))
        .or_else(|| parting(&once.wrong, &again.wrong))
}

#[test]
fn a_seed_does_the_same_again_to_the_last_request() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let first = wish("SERIN_FROM").unwrap_or(1);
    let seeds = first..first + wish("SERIN_REPLAYS").unwrap_or(USUAL);
    let play = |seed| (seed, attempt(&Schedule::of(seed)));
    // Forwards on one thread and backwards on another: nothing is the same but the seed.
    let (forwards, backwards) = std::thread::scope(|scope| {
        let backwards = scope.spawn(|| seeds.clone().rev().map(play).collect::<Vec<_>>());
        let forwards: Vec<_> = seeds.clone().map(play).collect();
        (forwards, backwards.join().expect("a play must not panic"))
    });
    let pairs = forwards.iter().zip(backwards.iter().rev());
    let differences: Vec<String> = pairs
        .filter_map(|((seed, once), (_, again))| Some(format!("seed {seed} {}", difference(once, again)?)))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    assert!(forwards.iter().all(|(_, played)| !played.requests.is_empty()));
}
