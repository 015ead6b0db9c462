//! Questions as jobs: asked once, one round at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use serin::api::{Analysis, Canary, CanarySpec, HookType, Metric, Webhook};
use serin::clock::Clock;
use serin::controller::jobs::{Asker, Inquiry, Jobs};
use serin::rollout::{Fingerprint, Question, QuestionKey, Round, RoundId, Says, Stage, Verdict, Weight};

/// Answers after 10 s, and remembers what was asked and what was answered.
#[derive(Default)]
struct Scripted {
    asked: Mutex<Vec<String>>,
    answered: Mutex<Vec<String>>,
    panics: bool,
}

#[async_trait]
impl Asker for Scripted {
    async fn ask(&self, inquiry: &Inquiry) -> Says {
        self.asked
            .lock()
            .expect("no panic with it")
            .push(inquiry.idempotency_key());
        assert!(!self.panics, "a bug");
        tokio::time::sleep(Duration::from_secs(10)).await;
        self.answered
            .lock()
            .expect("no panic with it")
            .push(inquiry.idempotency_key());
        Says::Passed
    }
}

struct World {
    asker: Arc<Scripted>,
    jobs: Jobs,
    woken: Arc<Mutex<HashMap<String, usize>>>,
    canary: Arc<Canary>,
}

fn world(asker: Scripted, at_once: usize) -> World {
    let asker = Arc::new(asker);
    let woken: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let count = woken.clone();
    let wake = Arc::new(move |canary: &Canary| {
        let name = canary.metadata.name.clone().unwrap_or_default();
        *count.lock().expect("no panic with it").entry(name).or_default() += 1;
    });
    let start = DateTime::from_timestamp(1_700_000_000, 0).expect("a fixed time must be valid");
    let jobs = Jobs::new(asker.clone(), wake, Clock::virtual_at(start), at_once);
    let analysis = Analysis {
        webhooks: vec![Webhook {
            name: "load".into(),
            ..Webhook::default()
        }],
        metrics: vec![
            Metric {
                name: "latency".into(),
                ..Metric::default()
            };
            2
        ],
        ..Analysis::default()
    };
    let mut canary = Canary::new(
        "podinfo",
        CanarySpec {
            analysis: Some(analysis),
            ..CanarySpec::default()
        },
    );
    canary.metadata.uid = Some("u1".into());
    World {
        asker,
        jobs,
        woken,
        canary: Arc::new(canary),
    }
}

fn round(check: u32, questions: Vec<Question>) -> Round {
    let weight = Weight::clamped(20);
    Round {
        id: RoundId {
            run: 3,
            revision: Some(Fingerprint(format!("v1:{:064x}", 7))),
            stage: Stage::Stepping,
            weight,
            check,
        },
        questions,
    }
}

fn hook() -> Question {
    Question::Hook {
        index: 0,
        phase: "Progressing".into(),
    }
}

fn metric(index: usize) -> Question {
    Question::Metric { index }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

impl World {
    fn asked(&self) -> Vec<String> {
        self.asker.asked.lock().expect("no panic with it").clone()
    }

    fn given(&self) -> Vec<QuestionKey> {
        self.jobs.answers("u1").given.into_keys().collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_that_is_due_in_every_pass_is_asked_once() {
    let world = world(Scripted::default(), 10);
    for _ in 0..30 {
        world.jobs.ask(&world.canary, &round(0, vec![metric(0), metric(1)]));
        pass(1).await;
    }
    assert_eq!(
        world.asked(),
        [
            "u1/3/0000000000/Stepping-20/0/metric/0",
            "u1/3/0000000000/Stepping-20/0/metric/1"
        ]
    );
    assert_eq!(
        world.given(),
        [QuestionKey::of(&metric(0)), QuestionKey::of(&metric(1))]
    );
    assert_eq!(world.woken.lock().expect("no panic with it")["podinfo"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_later_batch_joins_the_answers_of_the_earlier_one() {
    let world = world(Scripted::default(), 10);
    world.jobs.ask(&world.canary, &round(0, vec![hook()]));
    pass(11).await;
    world.jobs.ask(&world.canary, &round(0, vec![metric(0)]));
    pass(11).await;
    let answers = world.jobs.answers("u1");
    assert_eq!(answers.round, Some(round(0, vec![]).id));
    assert_eq!(answers.given.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_superseded_round_ends_its_metrics_and_lets_its_hooks_finish_unheard() {
    let world = world(Scripted::default(), 10);
    world.jobs.ask(&world.canary, &round(0, vec![hook(), metric(0)]));
    pass(1).await;
    world.jobs.ask(&world.canary, &round(1, vec![metric(1)]));
    pass(20).await;
    let answered = world.asker.answered.lock().expect("no panic with it").clone();
    assert_eq!(
        answered,
        [
            "u1/3/0000000000/Stepping-20/0/hook/0",
            "u1/3/0000000000/Stepping-20/1/metric/1"
        ]
    );
    assert_eq!(world.given(), [QuestionKey::of(&metric(1))]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_still_runs_is_not_called_twice_when_its_round_comes_back() {
    let world = world(Scripted::default(), 10);
    world.jobs.ask(&world.canary, &round(0, vec![hook()]));
    pass(1).await;
    world.jobs.drop_round("u1");
    assert!(world.jobs.answers("u1").round.is_none());
    pass(1).await;
    world.jobs.ask(&world.canary, &round(0, vec![hook()]));
    pass(20).await;
    assert_eq!(world.asked().len(), 1);
    assert_eq!(world.given(), [QuestionKey::of(&hook())]);
}

/// Hooks after a run have four places; whoever waits until all were called is told of each call.
#[tokio::test(start_paused = true)]
async fn the_calls_that_have_begun_are_known_and_those_after_a_run_wake() {
    let world = world(Scripted::default(), 10);
    let mut canary = Canary::clone(&world.canary);
    let after = Webhook {
        name: "after".into(),
        type_: Some(HookType::PostRollout),
        ..Webhook::default()
    };
    canary.spec.analysis = Some(Analysis {
        webhooks: vec![after; 6],
        ..Analysis::default()
    });
    let canary = Arc::new(canary);
    let hooks = (0..6).map(|index| Question::Hook {
        index,
        phase: "Succeeded".into(),
    });
    let hooks: Vec<Question> = hooks.collect();
    world.jobs.ask(&canary, &round(0, hooks.clone()));
    let called = || world.jobs.answers("u1").called.len();
    let woken = || world.woken.lock().expect("no panic with it").get("podinfo").copied();
    assert_eq!(called(), 0);
    pass(1).await;
    assert_eq!((called(), woken()), (4, Some(4)));
    pass(10).await;
    // Four have answered, and the two that waited for a place are called.
    assert_eq!((called(), world.given().len(), woken()), (2, 4, Some(10)));
    world.jobs.drop_round("u1");
    pass(20).await;
    assert_eq!(world.asked().len(), 6, "what was called is let finish");
}

#[tokio::test(start_paused = true)]
async fn answers_of_a_round_that_was_left_are_stale_and_asked_anew() {
    let world = world(Scripted::default(), 10);
    world.jobs.ask(&world.canary, &round(0, vec![metric(0)]));
    pass(11).await;
    world.jobs.drop_round("u1");
    world.jobs.ask(&world.canary, &round(0, vec![metric(0)]));
    assert!(world.given().is_empty());
    pass(11).await;
    assert_eq!(world.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_questions_run_at_once_than_there_are_places() {
    let world = world(Scripted::default(), 1);
    world.jobs.ask(&world.canary, &round(0, vec![metric(0), metric(1)]));
    pass(15).await;
    assert_eq!(
        (world.asked().len(), world.given().len(), world.jobs.running()),
        (2, 1, 1)
    );
    pass(6).await;
    assert_eq!((world.given().len(), world.jobs.running()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_answer_and_hurts_nobody_else() {
    let world = world(
        Scripted {
            panics: true,
            ..Scripted::default()
        },
        1,
    );
    world.jobs.ask(&world.canary, &round(0, vec![hook(), metric(0)]));
    pass(1).await;
    let given = world.jobs.answers("u1").given;
    assert!(matches!(&given[&QuestionKey::of(&hook())].says, Says::Unasked(_)));
    let Says::Metric(judged) = &given[&QuestionKey::of(&metric(0))].says else {
        panic!("{given:?}")
    };
    assert_eq!(
        (judged.verdict, judged.record.metric.as_str()),
        (Verdict::Fail, "latency")
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_any_more_for_a_canary_that_is_gone() {
    let world = world(Scripted::default(), 1);
    world.jobs.ask(&world.canary, &round(0, vec![metric(0), metric(1)]));
    pass(1).await;
    world.jobs.forget("u1");
    pass(30).await;
    assert_eq!(world.asked().len(), 1);
    assert!(world.asker.answered.lock().expect("no panic with it").is_empty());
}

/// A Canary with the uid, otherwise like the world's.
fn another(world: &World, uid: &str) -> Arc<Canary> {
    let mut canary = (*world.canary).clone();
    canary.metadata.uid = Some(uid.into());
    Arc::new(canary)
}

#[tokio::test(start_paused = true)]
async fn slow_hooks_of_many_canaries_and_of_left_rounds_delay_no_metric_and_no_other_hook() {
    let world = world(Scripted::default(), 2);
    for number in 0..70 {
        let canary = another(&world, &format!("slow{number}"));
        world.jobs.ask(&canary, &round(0, vec![hook()]));
    }
    for check in 0..9 {
        world.jobs.ask(&world.canary, &round(check, vec![hook()]));
        pass(1).await;
    }
    let other = another(&world, "u2");
    world.jobs.ask(&other, &round(0, vec![hook(), metric(0)]));
    world.jobs.ask(&world.canary, &round(10, vec![metric(0)]));
    pass(1).await;
    for asked in [
        "u2/3/0000000000/Stepping-20/0/hook/0",
        "u2/3/0000000000/Stepping-20/0/metric/0",
        "u1/3/0000000000/Stepping-20/10/metric/0",
    ] {
        assert!(world.asked().contains(&asked.to_owned()), "{asked} waits");
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_has_a_few_places_for_hooks_and_one_that_waits_in_vain_is_never_called() {
    let world = world(Scripted::default(), 10);
    for check in 0..6 {
        world.jobs.ask(&world.canary, &round(check, vec![hook()]));
        pass(1).await;
    }
    assert_eq!(world.asked().len(), 4, "four run, the fifth was left while it waited");
    pass(20).await;
    let sixth = "u1/3/0000000000/Stepping-20/5/hook/0".to_owned();
    assert_eq!((world.asked().len(), world.asked().last()), (5, Some(&sixth)));
}

#[tokio::test(start_paused = true)]
async fn a_round_takes_as_long_as_its_batches_together() {
    let world = world(Scripted::default(), 10);
    assert_eq!(world.jobs.took("u1"), None);
    world.jobs.ask(&world.canary, &round(0, vec![hook()]));
    pass(11).await;
    world.jobs.ask(&world.canary, &round(0, vec![metric(0)]));
    pass(11).await;
    assert_eq!(world.jobs.took("u1"), Some(Duration::from_secs(22)));
    world.jobs.drop_round("u1");
    assert_eq!(world.jobs.took("u1"), None);
}

#[tokio::test(start_paused = true)]
async fn many_metrics_of_one_canary_leave_places_to_others() {
    let world = world(Scripted::default(), 20);
    world.jobs.ask(&world.canary, &round(0, (0..40).map(metric).collect()));
    pass(1).await;
    world.jobs.ask(&another(&world, "u2"), &round(0, vec![metric(0)]));
    pass(1).await;
    assert!(
        world
            .asked()
            .contains(&"u2/3/0000000000/Stepping-20/0/metric/0".to_owned())
    );
}
