//! The embedded API server, seen through a plain `kube::Client`.
//!
//! Its answers are held against those of a real one, which stand beside the scripts: `bash tests/real.sh sim` plays the scripts
//! against both at once, and `bash tests/real.sh sim --record` writes the real server's answers down anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world must stop")]

mod cluster;
mod runtime;
mod script;
mod scripts;

use std::time::Duration;

use serin::{
    clock::Clock,
    sim::apiserver::{ApiServer, Options},
};

pub use self::scripts::{DURATIONS, Script, duration_step};
use self::scripts::{differences, start};
use super::routing::istio::fixtures;

/// A server on tokio's clock whose watches are up to five seconds late.
fn server() -> ApiServer {
    let clock = Clock::virtual_at(start());
    ApiServer::new(Options {
        seed: 1,
        watch_delay: Duration::ZERO..=Duration::from_secs(5),
        clock,
    })
}

/// Plays a script; every answer must be the recorded one.
async fn answers_as_recorded(script: Script) {
    let (recorded, got) = (script.recorded(), script.play_embedded().await);
    let name = script.name();
    assert_eq!(
        recorded.len(),
        got.len(),
        "{name}: script and recording differ in length"
    );
    let wrong = differences(recorded.iter().filter(|answer| script.binds(&answer.step)), &got);
    assert!(
        wrong.is_empty(),
        "{name}: {} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test(start_paused = true)]
async fn every_request_is_answered_as_by_the_real_server() {
    answers_as_recorded(Script::Requests).await;
}

#[tokio::test(start_paused = true)]
async fn what_happens_by_itself_is_what_happens_on_the_real_server() {
    answers_as_recorded(Script::ByItself).await;
}

#[tokio::test(start_paused = true)]
async fn routes_answer_as_with_their_published_definitions() {
    answers_as_recorded(Script::Routes).await;
}

#[tokio::test(start_paused = true)]
async fn istios_kinds_answer_as_with_their_published_definitions() {
    answers_as_recorded(Script::Istio).await;
}

#[test]
fn every_object_that_is_drawn_for_istio_was_accepted_strictly_by_the_real_server() {
    let answers = Script::Istio.recorded();
    for fixture in fixtures() {
        let about = format!("{}: ", fixture.name);
        let of_it: Vec<_> = answers
            .iter()
            .filter(|answer| answer.step.starts_with(&about))
            .collect();
        assert_eq!(of_it.len(), 3, "{about}");
        for (answer, drawn) in of_it.into_iter().zip(fixture.draws) {
            assert_eq!((answer.code, answer.warnings.len()), (201, 0), "{}", answer.step);
            assert_eq!(
                answer.body["spec"], drawn["spec"],
                "{}: nothing pruned, nothing defaulted",
                answer.step
            );
        }
    }
}
