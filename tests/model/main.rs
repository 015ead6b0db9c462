//! The core, checked exhaustively: every order in which a bounded number of things can happen around one Canary.
//!
//! The random worlds of `tests/suite/core` go far and see little of each place; this goes near and sees all. The real `ask`, `advance`
//! and `render` run in a small cluster ([`cluster`]) whose caches may stand still, whose controller may die between any two writes
//! while the next one is still on its way, whose pods fall, and whose routes others edit. The checker (stateright) walks all states
//! breadth first, so that a counterexample is a shortest one.
//!
//! `cargo test --test model -- --show-output` prints the number of states, and with `SERIN_TRACES=1` the way to each seeded defect;
//! `SERIN_DEEP=1` checks larger bounds, and `SERIN_SPEC=gates` only the specs with that word in their name.

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
    ANNOUNCES_NOTHING, BELIEVES_ITS_WRITES, Core, FINISHES_EARLY, JUDGES_OLD_ANSWERS, LETS_GO_EARLY, REAL,
    ROLLS_UNSHIELDED, TAKES_BEFORE_IT_SWITCHES, UNFENCED,
};
use happening::Happening;
use model::World;
use place::Place;
use spec::{Begin, Budget, Spec};

/// A property that does not hold, and the way to where it does not.
type Wrong = (&'static str, Path<Place, Happening>);

/// What a walk found.
struct Walked {
    states: usize,
    /// The first property that does not hold, with the way there.
    wrong: Option<Wrong>,
    /// What was to be reached somewhere, and was.
    reached: Vec<&'static str>,
}

/// Walks all states.
fn walk(spec: Spec, core: Core) -> Walked {
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
    let is_failure = |name| checker.model().property(name).expectation.discovery_is_failure();
    let (wrong, reached): (Vec<Wrong>, Vec<Wrong>) = checker
        .discoveries()
        .into_iter()
        .partition(|(name, _)| is_failure(name));
    Walked {
        states,
        wrong: wrong.into_iter().next(),
        reached: reached.into_iter().map(|(name, _)| name).collect(),
    }
}

/// The way to a broken property, and for one that never comes to rest where it goes from there.
#[expect(clippy::format_push_string, reason = "a trace is written once")]
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

fn holds(spec: Spec) -> usize {
    let walked = walk(spec, REAL);
    if let Some((name, path)) = walked.wrong {
        println!("{}", tell(name, path, spec, REAL));
        unreachable!("{}: {name} does not hold", spec.name);
    }
    let wanted = [
        (model::PROMOTED, spec.begin == Begin::AtRest),
        (model::SHARED, spec.begin == Begin::AtRest),
        (model::TAKEN_OVER, spec.begin == Begin::Live),
        (model::HANDED_BACK, spec.budget.deletions > 0),
    ];
    for (name, wanted) in wanted {
        let reached = walked.reached.contains(&name);
        assert!(reached || !wanted, "{}: never: {name}", spec.name);
    }
    walked.states
}

/// What may happen in each spec of a usual run: a minute or two on one core.
#[expect(clippy::too_many_lines, reason = "a table")]
fn usual() -> Vec<Spec> {
    let none = Budget {
        pushes: 1,
        ..Budget::default()
    };
    let of = |name, budget| Spec {
        name,
        budget,
        ..Spec::PLAIN
    };
    vec![
        of(
            "pods fall, checks fail, a process dies",
            Budget {
                falls: 1,
                bad: 1,
                deaths: 1,
                ..none
            },
        ),
        of(
            "edits behind caches that lag",
            Budget {
                edits: 1,
                lags: 1,
                ..none
            },
        ),
        of(
            "edits while a process dies",
            Budget {
                edits: 1,
                deaths: 1,
                ..none
            },
        ),
        of(
            "caches lag while a process dies",
            Budget {
                lags: 1,
                deaths: 1,
                ..none
            },
        ),
        of(
            "new revisions behind caches that lag",
            Budget {
                pushes: 2,
                lags: 1,
                ..none
            },
        ),
        of(
            "new revisions while a process dies",
            Budget {
                pushes: 2,
                deaths: 1,
                ..none
            },
        ),
        of(
            "new revisions while routes are refused",
            Budget {
                pushes: 2,
                refusals: 1,
                ..none
            },
        ),
        Spec {
            promotion_step: Some(50),
            replicas: 2,
            ..of("two pods, traffic home in steps", Budget { falls: 1, ..none })
        },
        Spec {
            recreate: true,
            ..of(
                "a target that is recreated",
                Budget {
                    falls: 1,
                    deaths: 1,
                    ..none
                },
            )
        },
        Spec {
            gates: true,
            ..of(
                "gates",
                Budget {
                    closed: 2,
                    deaths: 1,
                    ..none
                },
            )
        },
        Spec {
            steps: &[30, 60],
            ..of(
                "two steps, checks fail or have no answer",
                Budget {
                    bad: 2,
                    lags: 1,
                    refusals: 1,
                    ..none
                },
            )
        },
        Spec {
            more: r#"{"analysis": {"stepWeights": null, "iterations": 2}}"#,
            ..of(
                "Blue/Green, pods fall, checks fail",
                Budget {
                    falls: 1,
                    bad: 1,
                    ..none
                },
            )
        },
        Spec {
            more: r#"{"analysis": {"stepWeights": null, "iterations": 2}}"#,
            ..of(
                "Blue/Green, new revisions while a process dies",
                Budget {
                    pushes: 2,
                    deaths: 1,
                    ..none
                },
            )
        },
        Spec {
            more: r#"{"promotion": {"onFailure": "restorePrimary"}}"#,
            ..of(
                "a primary that is restored, new revisions",
                Budget {
                    pushes: 2,
                    falls: 2,
                    ..none
                },
            )
        },
        Spec {
            more: r#"{"promotion": {"onFailure": "retry"}}"#,
            ..of(
                "a promotion that is tried again while a process dies",
                Budget {
                    falls: 1,
                    deaths: 1,
                    ..none
                },
            )
        },
        Spec {
            more: r#"{"rollback": {"drainSeconds": 10}}"#,
            ..of(
                "connections that drain, checks fail, a process dies",
                Budget {
                    bad: 2,
                    deaths: 1,
                    ..none
                },
            )
        },
        of("a suspension", Budget { suspensions: 2, ..none }),
        of(
            "a suspension while a process dies",
            Budget {
                suspensions: 1,
                deaths: 1,
                ..none
            },
        ),
    ]
}

/// The way in and the way out.
fn usual_aside() -> Vec<Spec> {
    let none = Budget::default();
    let of = |name, budget| Spec {
        name,
        budget,
        ..Spec::PLAIN
    };
    let live = |name, budget| Spec {
        begin: Begin::Live,
        ..of(name, budget)
    };
    vec![
        live(
            "a takeover, a process dies, routes are refused",
            Budget {
                deaths: 1,
                refusals: 1,
                ..none
            },
        ),
        live(
            "a takeover, a new revision, pods fall",
            Budget {
                pushes: 1,
                falls: 1,
                ..none
            },
        ),
        live(
            "a takeover behind caches that lag, a suspension",
            Budget {
                lags: 1,
                suspensions: 1,
                ..none
            },
        ),
        Spec {
            replicas: 2,
            ..live("a takeover of two pods, its apex edited", Budget { edits: 1, ..none })
        },
        live("a takeover that is deleted", Budget { deletions: 1, ..none }),
        live(
            "a takeover that is deleted while a process dies",
            Budget {
                deletions: 1,
                deaths: 1,
                ..none
            },
        ),
        of(
            "a release that is deleted while a process dies",
            Budget {
                pushes: 1,
                deletions: 1,
                deaths: 1,
                ..none
            },
        ),
        of(
            "a release that is deleted behind caches that lag",
            Budget {
                pushes: 1,
                deletions: 1,
                lags: 1,
                ..none
            },
        ),
        of(
            "a release that is deleted while pods fall",
            Budget {
                pushes: 1,
                deletions: 1,
                falls: 1,
                ..none
            },
        ),
        of(
            "a release that is deleted, routes are refused",
            Budget {
                pushes: 1,
                deletions: 1,
                refusals: 1,
                ..none
            },
        ),
    ]
}

/// The same with larger bounds, for `SERIN_DEEP=1`.
fn deep() -> Vec<Spec> {
    let none = Budget {
        pushes: 1,
        ..Budget::default()
    };
    let of = |name, budget| Spec {
        name,
        budget,
        ..Spec::PLAIN
    };
    let all = Budget {
        falls: 1,
        edits: 1,
        lags: 1,
        deaths: 1,
        bad: 1,
        refusals: 1,
        ..none
    };
    vec![
        of("one of everything", all),
        of(
            "new revisions, pods fall, a process dies",
            Budget {
                pushes: 2,
                falls: 1,
                deaths: 1,
                ..none
            },
        ),
        of(
            "two processes die",
            Budget {
                pushes: 2,
                deaths: 2,
                ..none
            },
        ),
        of(
            "three revisions",
            Budget {
                pushes: 3,
                falls: 1,
                ..none
            },
        ),
        Spec {
            promotion_step: Some(50),
            replicas: 2,
            ..of(
                "two pods, a process dies",
                Budget {
                    falls: 2,
                    deaths: 1,
                    ..none
                },
            )
        },
        Spec {
            recreate: true,
            ..of(
                "recreated, new revisions",
                Budget {
                    pushes: 2,
                    falls: 1,
                    deaths: 1,
                    ..none
                },
            )
        },
        Spec {
            gates: true,
            steps: &[30, 60],
            ..of(
                "gates, new revisions",
                Budget {
                    pushes: 2,
                    closed: 2,
                    deaths: 1,
                    ..none
                },
            )
        },
    ]
}

/// Walks those whose name has `SERIN_SPEC` in it: all, if it is not set.
fn all_hold(what: &str, specs: &[Spec]) {
    let wish = std::env::var("SERIN_SPEC").unwrap_or_default();
    let wanted: Vec<_> = specs.iter().filter(|spec| spec.name.contains(&wish)).collect();
    let states: usize = wanted.iter().map(|spec| holds(**spec)).sum();
    println!("{what}: {states} states in {} specs", wanted.len());
}

#[test]
fn every_order_of_what_may_happen_to_a_release_keeps_the_laws_and_ends_in_rest() {
    all_hold("releases", &usual());
}

#[test]
fn every_order_of_what_may_happen_on_the_way_in_and_out_keeps_the_laws_and_ends_in_rest() {
    all_hold("takeover and deletion", &usual_aside());
}

#[test]
fn larger_bounds_keep_the_laws_and_end_in_rest() {
    if std::env::var_os("SERIN_DEEP").is_some() {
        all_hold("deep", &deep());
    }
}

/// The defect is found; the trace, which `SERIN_TRACES` prints, says how.
fn is_found(what: &str, spec: Spec, core: Core) {
    let (name, path) = walk(spec, core)
        .wrong
        .unwrap_or_else(|| unreachable!("not found: {what}"));
    println!("found: {what}");
    if std::env::var_os("SERIN_TRACES").is_some() {
        println!("{}", tell(name, path, spec, core));
    }
}

#[test]
fn a_core_that_waits_for_ready_where_it_should_wait_for_drawn_is_found() {
    let budget = Budget {
        refusals: 1,
        ..Spec::PLAIN.budget
    };
    let spec = Spec {
        steps: &[30, 60],
        budget,
        ..Spec::PLAIN
    };
    is_found("a weight that was written counts as seen", spec, BELIEVES_ITS_WRITES);
}

#[test]
fn a_core_that_takes_the_target_s_pods_before_traffic_is_home_is_found() {
    is_found(
        "the target goes down before the route was seen at home",
        Spec::PLAIN,
        FINISHES_EARLY,
    );
}

#[test]
fn a_core_that_rolls_the_primary_under_its_traffic_is_found() {
    let spec = Spec {
        recreate: true,
        ..Spec::PLAIN
    };
    is_found("the primary is recreated while it has traffic", spec, ROLLS_UNSHIELDED);
}

#[test]
fn a_core_that_judges_an_answer_of_another_run_is_found() {
    let budget = Budget {
        pushes: 2,
        ..Spec::PLAIN.budget
    };
    let spec = Spec { budget, ..Spec::PLAIN };
    is_found(
        "an answer about one revision promotes another",
        spec,
        JUDGES_OLD_ANSWERS,
    );
}

#[test]
fn a_status_without_its_precondition_is_found() {
    let budget = Budget {
        deaths: 1,
        ..Spec::PLAIN.budget
    };
    let spec = Spec { budget, ..Spec::PLAIN };
    is_found("a late writer of the status wins", spec, UNFENCED);
}

#[test]
fn a_takeover_that_takes_the_target_s_pods_before_it_switches_is_found() {
    let spec = Spec {
        begin: Begin::Live,
        ..Spec::PLAIN
    };
    is_found(
        "the target goes down while the apex leads to it",
        spec,
        TAKES_BEFORE_IT_SWITCHES,
    );
}

#[test]
fn a_takeover_that_announces_nothing_is_found() {
    let spec = Spec {
        begin: Begin::Live,
        ..Spec::PLAIN
    };
    is_found("the route leads to what nobody was told of", spec, ANNOUNCES_NOTHING);
}

#[test]
fn a_deletion_that_lets_go_before_traffic_is_back_is_found() {
    let budget = Budget {
        pushes: 0,
        deletions: 1,
        ..Budget::default()
    };
    let spec = Spec { budget, ..Spec::PLAIN };
    is_found("the primary goes with the Canary, under traffic", spec, LETS_GO_EARLY);
}
