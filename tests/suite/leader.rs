//! Leader election on the embedded API server, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;
use serin::clock::Clock;
use serin::controller::leader::{Candidate, Claim, Ended, LEASE_NAME, Standing};
use serin::sim::apiserver::{ApiServer, Denial, Options};
use serin::sim::fault::{Action, Failure, Fault, RequestInfo};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

fn api_server() -> ApiServer {
    let start = DateTime::from_timestamp(1_700_000_000, 0).expect("a fixed time must be valid");
    ApiServer::new(Options {
        clock: Clock::virtual_at(start),
        ..Options::default()
    })
}

struct Running {
    claim: Claim,
    task: JoinHandle<Ended>,
    stop: oneshot::Sender<()>,
}

fn start(server: &ApiServer, name: &str, client: kube::Client) -> Running {
    let (candidate, claim) = Candidate::new(client, "kube-system", name, server.clock().clone());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(candidate.run(async move {
        let _dropped = stopped.await;
    }));
    Running { claim, task, stop }
}

fn spec(server: &ApiServer, field: &str) -> Value {
    let lease = server.object("coordination.k8s.io/v1", "Lease", "kube-system", LEASE_NAME);
    lease.expect("the lease must exist")["spec"][field].clone()
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn leads(claim: &Claim) -> bool {
    claim.remaining().is_some()
}

/// A road that can be cut: requests of its client then get no answer.
#[derive(Default)]
struct Road(std::sync::Mutex<Option<Action>>);

impl Road {
    fn cut(&self, how: Option<Action>) {
        *self.0.lock().expect("no test panics with it") = how;
    }
}

impl Fault for Road {
    fn on_request(&self, _: &RequestInfo) -> Action {
        self.0
            .lock()
            .expect("no test panics with it")
            .clone()
            .unwrap_or(Action::Pass)
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_candidates_one_leads_and_keeps_leading() {
    let server = api_server();
    let one = start(&server, "one", server.client("one"));
    let two = start(&server, "two", server.client("two"));
    for _ in 0..100 {
        pass(7).await;
        assert!(leads(&one.claim) != leads(&two.claim), "exactly one must lead");
    }
    let holder = if leads(&one.claim) { "one" } else { "two" };
    assert_eq!(spec(&server, "holderIdentity"), holder);
    assert_eq!(spec(&server, "leaseTransitions"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_claim_covers_what_ends_before_it_does() {
    let server = api_server();
    let mut one = start(&server, "one", server.client("one"));
    assert!(!one.claim.covers(Duration::ZERO));
    one.claim.held().await;
    assert!(one.claim.covers(Duration::from_secs(30)));
    assert!(!one.claim.covers(Duration::from_mins(1)));
    assert!(Claim::permanent().covers(Duration::from_hours(1000)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_given_back_is_taken_at_once() {
    let server = api_server();
    let mut one = start(&server, "one", server.client("one"));
    one.claim.held().await;
    let two = start(&server, "two", server.client("two"));
    pass(12).await;
    one.stop.send(()).expect("the candidate must still run");
    assert_eq!(one.task.await.expect("the candidate must not panic"), Ended::Stopped);
    assert!(!leads(&one.claim));
    pass(6).await;
    assert!(leads(&two.claim));
    assert_eq!(spec(&server, "leaseTransitions"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_reach_the_server_stops_before_another_begins() {
    let server = api_server();
    let road = Arc::new(Road::default());
    let mut one = start(&server, "one", server.client_with("one", road.clone()));
    one.claim.held().await;
    let two = start(&server, "two", server.client("two"));
    pass(20).await;
    road.cut(Some(Action::FailBefore(Failure::ConnectionReset)));
    let mut seconds = 0;
    while !leads(&two.claim) {
        pass(1).await;
        seconds += 1;
        assert!(
            !(leads(&one.claim) && leads(&two.claim)),
            "two leaders after {seconds} s"
        );
        assert!(seconds < 90, "nobody took over");
    }
    assert_eq!(one.task.await.expect("the candidate must not panic"), Ended::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_costs_nothing() {
    let server = api_server();
    let road = Arc::new(Road::default());
    let mut one = start(&server, "one", server.client_with("one", road.clone()));
    one.claim.held().await;
    road.cut(Some(Action::FailAfter(Failure::ConnectionReset)));
    pass(40).await;
    assert!(leads(&one.claim));
    road.cut(None);
    pass(30).await;
    assert!(leads(&one.claim) && !one.task.is_finished());
    assert_eq!(spec(&server, "leaseTransitions"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_leader_knows_on_waking_that_its_time_is_over() {
    let server = api_server();
    // Requests of the first wait here while it is frozen, as those of a stopped process would.
    let gate = Arc::new(Mutex::new(()));
    let (candidate, mut claim) = Candidate::new(server.client("one"), "kube-system", "one", server.clock().clone());
    let (freeze, thaw) = (gate.clone(), gate.clone());
    let mut run = Box::pin(candidate.run(std::future::pending()));
    let task = tokio::spawn(std::future::poll_fn(move |context| {
        if let Ok(_awake) = thaw.try_lock() {
            return run.as_mut().poll(context);
        }
        let waker = context.waker().clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            waker.wake();
        });
        std::task::Poll::Pending
    }));
    claim.held().await;
    let two = start(&server, "two", server.client("two"));
    let frozen = freeze.lock().await;
    pass(54).await;
    assert!(
        !claim.covers(Duration::from_secs(5)),
        "a write of 5 s must not be sent any more"
    );
    pass(26).await;
    assert!(!leads(&claim));
    assert!(leads(&two.claim));
    drop(frozen);
    assert_eq!(task.await.expect("the candidate must not panic"), Ended::Lost);
    assert_eq!(spec(&server, "holderIdentity"), "two");
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_said_and_waited_for() {
    let server = api_server();
    server.deny(Denial {
        user: "one".into(),
        verb: "create".into(),
        group: "coordination.k8s.io".into(),
        resource: "leases".into(),
    });
    let one = start(&server, "one", server.client("one"));
    pass(6).await;
    let Standing::Failing(words) = one.claim.standing() else {
        panic!("{:?}", one.claim.standing())
    };
    assert!(words.contains("leases.coordination.k8s.io"), "{words}");
    server.allow_all();
    pass(6).await;
    assert!(leads(&one.claim));
}
