//! The core, checked exhaustively: every order in which a bounded number of things can happen around one Canary.
//!
//! The random worlds of `tests/suite/core` go far and see little of each place; this goes near and sees all. The real `ask`, `advance`
//! and `render` run in a small cluster ([`cluster`]) whose caches may stand still, whose controller may die between any two writes
//! while the next one is still on its way, whose pods fall, and whose routes others edit. The checker (stateright) walks all states
//! breadth first, so that a counterexample is a shortest one.
//!
//! `cargo test --test model -- --nocapture` prints the number of states; `SERIN_DEEP=1` checks larger bounds.

mod cluster;
mod core;
mod happening;
#[path = "../suite/core/world/laws.rs"]
mod laws;
mod model;
mod pass;
mod place;
mod spec;
mod time;

use std::time::Instant;

use stateright::{Checker as _, HasDiscoveries, Model as _, Path};

use crate::core::{
    BELIEVES_ITS_WRITES, Core, FINISHES_EARLY, JUDGES_OLD_ANSWERS, REAL, ROLLS_UNSHIELDED, UNFENCED,
};
use happening::Happening;
use model::World;
use place::Place;
use spec::{Budget, Spec};

/// Walks all states. The first property that does not hold, with the way there.
fn walk(spec: Spec, core: Core) -> (usize, Option<(&'static str, Path<Place, Happening>)>) {
    let began = Instant::now();
    let checker = World::new(spec, core)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    println!(
        "{}: {states} states, {} steps, depth {}, {:.1} s",
        spec.name,
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f32()
    );
    let wrong = checker
        .discoveries()
        .into_iter()
        .find(|(name, _)| checker.model().property(name).expectation.discovery_is_failure());
    (states, wrong)
}

/// The way to a broken property, and for one that never comes to rest where it goes from there.
fn tell(name: &str, path: Path<Place, Happening>, spec: Spec, core: Core) -> String {
    let mut text = format!("broken: {name}\n");
    let mut last = None;
    for (place, happening) in path.into_vec() {
        text += &format!("    {}{}\n", place.line(), model::late(&place));
        if let Some(happening) = happening {
            text += &format!("{happening:?}\n");
        }
        last = Some(place);
    }
    let Some(mut place) = last else { return text };
    if let Some(broken) = &place.broken {
        text += &format!("  the law: {broken}\n");
    }
    if name == model::REST {
        text += "and in calm:\n";
        let world = World::new(spec, core);
        for _ in 0..60 {
            let Some(next) = world.calmed(&place) else { break };
            if next.line() != place.line() {
                text += &format!("    {}{}\n", next.line(), model::late(&next));
            }
            place = next;
        }
        text += &format!("{:#?}\n", place.status);
    }
    text
}

fn holds(spec: Spec) {
    let (states, wrong) = walk(spec, REAL);
    if let Some((name, path)) = wrong {
        println!("{}", tell(name, path, spec, REAL));
        unreachable!("{}: {name} does not hold", spec.name);
    }
    assert!(states > 100, "a model of {states} states proves nothing");
}

#[test]
fn plain() {
    holds(Spec::PLAIN);
}

fn budget(name: &str, n: u8) -> Budget {
    let mut b = Budget { pushes: 1, ..Budget::default() };
    match name { "falls" => b.falls = n, "edits" => b.edits = n, "refusals" => b.refusals = n, "lags" => b.lags = n, "deaths" => b.deaths = n, "bad" => b.bad = n, _ => b.pushes = n }
    b
}

#[test]
fn sizes() {
    for name in ["falls", "edits", "lags", "deaths", "bad", "pushes", "refusals"] {
        for n in 1..=2 {
            println!("{name} {n}");
            holds(Spec { budget: budget(name, n), ..Spec::PLAIN });
        }
    }
}

fn found(spec: Spec, core: Core) {
    let (_, wrong) = walk(spec, core);
    let Some((name, path)) = wrong else { unreachable!("the defect was not found") };
    println!("{}", tell(name, path, spec, core));
}

#[test]
fn m1() {
    found(Spec { steps: &[30, 60], budget: Budget { refusals: 1, ..Spec::PLAIN.budget }, ..Spec::PLAIN }, BELIEVES_ITS_WRITES);
}
#[test]
fn m2() {
    found(Spec::PLAIN, FINISHES_EARLY);
}
#[test]
fn m3() {
    found(Spec { recreate: true, ..Spec::PLAIN }, ROLLS_UNSHIELDED);
}
#[test]
fn m4() {
    found(Spec { budget: Budget { pushes: 2, ..Spec::PLAIN.budget }, ..Spec::PLAIN }, JUDGES_OLD_ANSWERS);
}
#[test]
fn m5() {
    found(Spec { budget: Budget { deaths: 1, ..Spec::PLAIN.budget }, ..Spec::PLAIN }, UNFENCED);
}

#[test]
fn big() {
    for spec in [
        Spec { name: "once", budget: Budget { pushes: 1, falls: 1, edits: 0, lags: 0, deaths: 1, refusals: 0, bad: 1, closed: 0 }, ..Spec::PLAIN },
        Spec { name: "two pods", replicas: 2, promotion_step: Some(50), budget: Budget { pushes: 1, falls: 1, edits: 0, lags: 0, deaths: 1, refusals: 0, bad: 0, closed: 0 }, ..Spec::PLAIN },
        Spec { name: "recreate", recreate: true, budget: Budget { pushes: 2, falls: 1, edits: 0, lags: 0, deaths: 0, refusals: 0, bad: 0, closed: 0 }, ..Spec::PLAIN },
        Spec { name: "lags and edits", budget: Budget { pushes: 1, falls: 0, edits: 1, lags: 1, deaths: 1, refusals: 0, bad: 0, closed: 0 }, ..Spec::PLAIN },
        Spec { name: "lags and pushes", budget: Budget { pushes: 2, falls: 0, edits: 0, lags: 1, deaths: 0, refusals: 0, bad: 0, closed: 0 }, ..Spec::PLAIN },
        Spec { name: "gates", gates: true, budget: Budget { pushes: 1, falls: 0, edits: 0, lags: 0, deaths: 1, refusals: 0, bad: 0, closed: 2 }, ..Spec::PLAIN },
        Spec { name: "refusals", budget: Budget { pushes: 2, falls: 0, edits: 0, lags: 0, deaths: 0, refusals: 1, bad: 0, closed: 0 }, ..Spec::PLAIN },
        Spec { name: "pushes deaths", budget: Budget { pushes: 2, falls: 0, edits: 0, lags: 0, deaths: 1, refusals: 0, bad: 0, closed: 0 }, ..Spec::PLAIN },
    ] {
        let _ = std::panic::catch_unwind(|| holds(spec));
    }
}
