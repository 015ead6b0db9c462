//! Random schedules: what may happen to a release, in any order and at any time, with the real controller on the embedded cluster.
//!
//! Each seed stands for one schedule: a spec, images that are well or not, and a script of new revisions, bad nodes, people, rivals,
//! outages and restarts. It is played, every write is held against the invariants, then everything is put right and the Canary
//! must come to rest with the right revision.
//!
//! `SERIN_SCHEDULES=1000 cargo test --test schedules -- --nocapture` plays that many, from `SERIN_FROM` on; `SERIN_HOURS=2` plays
//! for two hours. A failure is made as small as it goes, and `SERIN_SEED=<n>` replays its seed with every write. Each core plays
//! seeds of its own; what a seed does depends on nothing but the seed.

mod chaos;
mod dice;
mod draw;
#[expect(dead_code, reason = "the stage of the suite's tests does more than schedules need")]
#[path = "../suite/embedded"]
mod embedded {
    pub mod line;
    pub mod process;
    pub mod setting;
    pub mod stage;
    pub mod story;
}
mod end;
mod play;
mod replay;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use draw::Schedule;
use play::{Played, play};

/// A good part of all time goes to small pieces of JSON that come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Schedules of a usual run.
const USUAL: u64 = 100;

/// Held by the test that plays: each plays on all cores, and the rate that is told is that of one.
static TURN: Mutex<()> = Mutex::new(());

/// A number from the environment.
fn wish(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Plays one; a panic is a failure too.
fn attempt(schedule: &Schedule) -> Played {
    let played = std::panic::catch_unwind(|| play(schedule));
    played.unwrap_or_else(|_| Played {
        wrong: vec!["a panic".into()],
        ..Played::default()
    })
}

/// The same failure with as little as it takes: events are left out one by one, as long as something is still wrong.
fn shrink(schedule: &Schedule) -> Schedule {
    let mut small = schedule.clone();
    let mut place = 0;
    while place < small.script.len() {
        let mut fewer = small.clone();
        let (after, _) = fewer.script.remove(place);
        if let Some((next, _)) = fewer.script.get_mut(place) {
            *next += after;
        }
        if attempt(&fewer).wrong.is_empty() {
            place += 1;
        } else {
            small = fewer;
        }
    }
    small
}

/// Plays seeds from `first` on, on all cores, while `more` says so of how many were begun; gives how many were played, and those
/// that failed in the order of their seeds.
fn play_from(first: u64, more: impl Fn(u64) -> bool + Sync) -> (u64, Vec<(Schedule, Played)>) {
    let (begun, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let place = begun.fetch_add(1, Ordering::SeqCst);
            if !more(place) {
                begun.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            let schedule = Schedule::of(first + place);
            let played = attempt(&schedule);
            if !played.wrong.is_empty() {
                println!("seed {}: {}", schedule.seed, played.wrong.join("; "));
                failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((schedule, played));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|(schedule, _)| schedule.seed);
    (begun.into_inner(), failed)
}

fn tell(schedule: &Schedule, played: &Played) -> String {
    format!(
        "{:#?}\n{}\nseed {}: {}\nreplay: SERIN_SEED={} cargo test --test schedules -- --nocapture",
        schedule,
        played.story,
        schedule.seed,
        played.wrong.join("; "),
        schedule.seed,
    )
}

#[test]
fn whatever_happens_the_invariants_hold_and_calm_brings_rest() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(seed) = wish("SERIN_SEED") {
        let schedule = Schedule::of(seed);
        println!("{schedule:#?}");
        let played = attempt(&schedule);
        println!("{}", tell(&schedule, &played));
        assert!(played.wrong.is_empty(), "seed {seed}: {:?}", played.wrong);
        return;
    }
    let began = Instant::now();
    let hours = wish("SERIN_HOURS").map(|hours| Duration::from_secs(hours * 3600));
    let (first, many) = (
        wish("SERIN_FROM").unwrap_or(1),
        wish("SERIN_SCHEDULES").unwrap_or(USUAL),
    );
    let (count, failed) = play_from(first, |begun| {
        hours.map_or(begun < many, |hours| began.elapsed() < hours)
    });
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!(
        "{count} schedules, {:.0} a minute, {} failed",
        f64::from(u32::try_from(count).unwrap_or(0)) / minutes,
        failed.len()
    );
    if let Some((schedule, played)) = failed.first() {
        let small = shrink(schedule);
        let again = attempt(&small);
        println!("{}\n\nmade smaller:\n{}", tell(schedule, played), tell(&small, &again));
        unreachable!("{} of {count} schedules failed", failed.len());
    }
}
