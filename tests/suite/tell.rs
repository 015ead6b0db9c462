//! Telling: in order, at least once, and once when nothing breaks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use serin::api::{
    Alert, AlertProvider, AlertProviderSpec, Analysis, Canary, CanarySpec, CrossNamespaceRef, MetricTemplate, SecretRef,
};
use serin::clock::Clock;
use serin::controller::channels::Alerts;
use serin::controller::leader::{Candidate, Claim};
use serin::controller::lookup::{Lookup, LookupError, References};
use serin::controller::settings::Settings;
use serin::controller::tell::{Channel, Teller};
use serin::notify::{Destination, Message, NotifyError, Sender};
use serin::rollout::{self, Notice, Severity};
use serin::sim::apiserver::{ApiServer, Options};
use serin::sim::fault::{Action, Among, FailCall, Failure};
use serin::telemetry::metrics::Metrics;

type Heard = Arc<Mutex<Vec<String>>>;

fn api_server() -> ApiServer {
    let start = DateTime::from_timestamp(1_700_000_000, 0).expect("a fixed time must be valid");
    ApiServer::new(Options {
        clock: Clock::virtual_at(start),
        ..Options::default()
    })
}

/// Takes 2 s for each notice, and fails when told to.
struct Slow {
    heard: Heard,
    fails: bool,
}

#[async_trait]
impl Channel for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    async fn tell(&self, _: &Canary, notice: &Notice) -> Result<(), String> {
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.heard.lock().expect("no panic with it").push(notice.id.clone());
        if self.fails { Err("no".into()) } else { Ok(()) }
    }
}

fn canary(uid: &str) -> Arc<Canary> {
    let mut canary = Canary::new("podinfo", CanarySpec::default());
    canary.metadata.namespace = Some("default".into());
    canary.metadata.uid = Some(uid.into());
    Arc::new(canary)
}

fn notice(id: &str) -> Notice {
    Notice {
        id: id.into(),
        text: format!("text of {id}"),
        warning: false,
        action: "Advance".into(),
        phase: "Progressing".into(),
        alert: None,
        event: true,
    }
}

struct World {
    server: ApiServer,
    teller: Teller,
    heard: Heard,
    metrics: Metrics,
}

fn world(server: ApiServer, client: kube::Client, fails: bool) -> World {
    let heard = Heard::default();
    let metrics = Metrics::new("0", "contour", server.clock().clone());
    let channels: Vec<Arc<dyn Channel>> = vec![Arc::new(Slow {
        heard: heard.clone(),
        fails,
    })];
    let teller = Teller::new(
        client,
        Claim::permanent(),
        channels,
        metrics.clone(),
        server.clock().clone(),
    );
    World {
        server,
        teller,
        heard,
        metrics,
    }
}

impl World {
    fn new() -> Self {
        let server = api_server();
        let client = server.client("serin");
        world(server, client, false)
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no panic with it").clone()
    }

    fn events(&self) -> Vec<String> {
        let mut events = self.server.objects("v1", "Event", "default");
        events.sort_by_key(|event| {
            event["metadata"]["resourceVersion"]
                .as_str()
                .and_then(|v| v.parse::<u64>().ok())
        });
        events
            .iter()
            .map(|event| event["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn notices_are_told_in_order_and_the_caller_does_not_wait() {
    let world = World::new();
    let before = tokio::time::Instant::now();
    world.teller.tell(canary("u1"), vec![notice("1"), notice("2")]);
    world.teller.tell(canary("u1"), vec![notice("3")]);
    assert!(before.elapsed().is_zero() && world.heard().is_empty());
    world.teller.idle().await;
    assert_eq!(world.heard(), ["1", "2", "3"]);
    assert_eq!(world.events(), ["text of 1", "text of 2", "text of 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_of_one_canary_does_not_hold_up_another() {
    let world = World::new();
    world
        .teller
        .tell(canary("u1"), vec![notice("1"), notice("2"), notice("3")]);
    world.teller.tell(canary("u2"), vec![notice("4")]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(world.heard().contains(&"4".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_fails_is_counted_and_the_event_is_written_all_the_same() {
    let server = api_server();
    let client = server.client("serin");
    let world = world(server, client, true);
    world.teller.tell(canary("u1"), vec![notice("1")]);
    world.teller.idle().await;
    assert_eq!(world.events(), ["text of 1"]);
    let text = world.metrics.text().expect("metrics must encode");
    assert!(text.contains(r#"serin_untold_total{channel="slow"} 1"#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_answer_was_lost_is_written_once() {
    let server = api_server();
    let lost = FailCall::new(0, Among::Mutating, Action::FailAfter(Failure::ConnectionReset));
    let client = server.client_with("serin", Arc::new(lost));
    let world = world(server, client, false);
    world.teller.tell(canary("u1"), vec![notice("1")]);
    world.teller.idle().await;
    assert_eq!((world.events().len(), world.heard().len()), (1, 1));
}

/// An API server that has just started knows nobody's rights for a moment.
#[tokio::test(start_paused = true)]
async fn an_event_that_is_forbidden_for_a_moment_is_written_all_the_same() {
    let server = api_server();
    let not_yet = FailCall::new(0, Among::Mutating, Action::Forbid("rights are not known yet".into()));
    let client = server.client_with("serin", Arc::new(not_yet));
    let world = world(server, client, false);
    world.teller.tell(canary("u1"), vec![notice("1")]);
    world.teller.idle().await;
    assert_eq!((world.events().len(), world.heard().len()), (1, 1));
}

/// A leader that was frozen wakes up with notices in its hands that its successor told long ago.
#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_lead_tells_nothing() {
    let mut world = World::new();
    let (client, clock) = (world.server.client("serin"), world.server.clock().clone());
    let (_candidate, claim) = Candidate::new(client.clone(), "default", "frozen", clock.clone());
    let channels: Vec<Arc<dyn Channel>> = vec![Arc::new(Slow {
        heard: world.heard.clone(),
        fails: false,
    })];
    world.teller = Teller::new(client, claim, channels, world.metrics.clone(), clock);
    world.teller.tell(canary("u1"), vec![notice("1")]);
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!((world.events().len(), world.heard().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_successor_tells_what_its_predecessor_did_not() {
    let world = World::new();
    world.teller.tell(canary("u1"), vec![notice("1"), notice("2")]);
    world.teller.idle().await;
    let alert_only = Notice {
        event: false,
        ..notice("0")
    };
    let last = vec![alert_only, notice("1"), notice("2"), notice("3")];
    let now = world.server.clock().now();
    world.teller.retell(canary("u1"), last.clone(), now);
    world.teller.idle().await;
    assert_eq!(
        world.heard(),
        ["1", "2", "3"],
        "what comes before an Event that exists was told"
    );
    world
        .teller
        .retell(canary("u1"), last, now - chrono::TimeDelta::minutes(61));
    world.teller.idle().await;
    assert_eq!(world.heard().len(), 3, "old news are not told again");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_gone_ends_the_attempts() {
    let world = World::new();
    let mut gone = (*canary("u1")).clone();
    gone.metadata.namespace = Some("nowhere".into());
    let before = tokio::time::Instant::now();
    world.teller.tell(Arc::new(gone), vec![notice("1")]);
    world.teller.idle().await;
    assert!(before.elapsed() < Duration::from_secs(3));
}

/// Remembers what is sent where.
#[derive(Default)]
struct Postbox(Mutex<Vec<(String, String)>>);

#[async_trait]
impl Sender for Postbox {
    async fn send(&self, destination: &Destination, message: &Message) -> Result<(), NotifyError> {
        let sent = (destination.address.reveal().to_owned(), message.text.clone());
        self.0.lock().expect("no panic with it").push(sent);
        Ok(())
    }
}

/// One alert provider for each namespace, `test` and `ops`.
struct Providers;

impl Lookup for Providers {
    fn template(&self, _: &str, _: &str) -> Result<Arc<MetricTemplate>, LookupError> {
        Err(LookupError::NotFound)
    }

    fn alert_provider(&self, namespace: &str, name: &str) -> Result<Arc<AlertProvider>, LookupError> {
        let spec = AlertProviderSpec {
            type_: "slack".into(),
            address: Some(format!("https://chat.example/{namespace}/{name}")),
            secret_ref: (name == "secretive").then(|| SecretRef { name: "absent".into() }),
            ..AlertProviderSpec::default()
        };
        Ok(Arc::new(AlertProvider::new(name, spec)))
    }
}

async fn alerted(
    same_namespace_only: bool,
    provider: (&str, Option<&str>),
) -> (Vec<(String, String)>, Result<(), String>) {
    let server = api_server();
    let postbox = Arc::new(Postbox::default());
    let references = References::new(server.client("serin"), Arc::new(Providers), same_namespace_only);
    let alerts = Alerts::new(&Settings::default(), references, postbox.clone());
    let mut canary = (*canary("u1")).clone();
    canary.metadata.namespace = Some("test".into());
    let (name, namespace) = provider;
    canary.spec.analysis = Some(Analysis {
        alerts: vec![Alert {
            name: "on-call".into(),
            provider_ref: CrossNamespaceRef {
                name: name.into(),
                namespace: namespace.map(Into::into),
            },
            severity: None,
        }],
        ..Analysis::default()
    });
    let alert = rollout::Alert {
        severity: Severity::Info,
        message: "hello".into(),
        with_fields: false,
    };
    let told = alerts
        .tell(
            &canary,
            &Notice {
                alert: Some(alert),
                ..notice("1")
            },
        )
        .await;
    let sent = postbox.0.lock().expect("no panic with it").clone();
    (sent, told)
}

#[tokio::test(start_paused = true)]
async fn an_alert_without_severity_reaches_its_provider() {
    let (sent, told) = alerted(false, ("chat", Some("ops"))).await;
    assert_eq!(told, Ok(()));
    assert_eq!(sent, [("https://chat.example/ops/chat".into(), "hello".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_of_another_namespace_is_refused_at_the_moment_of_use() {
    let (sent, told) = alerted(true, ("chat", Some("ops"))).await;
    assert!(sent.is_empty());
    let words = told.expect_err("it must be refused");
    assert!(words.contains("cross-namespace references are blocked"), "{words}");
    let (sent, told) = alerted(true, ("chat", None)).await;
    assert_eq!((sent.len(), told), (1, Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_named_and_no_address_is() {
    let (sent, told) = alerted(false, ("secretive", None)).await;
    assert!(sent.is_empty());
    let words = told.expect_err("it must be refused");
    assert_eq!(words, "alert provider secretive.test: secret absent: not found");
}

/// A receiver of event hooks that never answers.
struct Dead;

#[async_trait]
impl Channel for Dead {
    fn name(&self) -> &'static str {
        "event hook"
    }

    fn patience(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    async fn tell(&self, _: &Canary, _: &Notice) -> Result<(), String> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_receiver_of_event_hooks_holds_up_no_alert_and_events_only_a_moment() {
    let server = api_server();
    let client = server.client("serin");
    let mut world = world(server, client.clone(), false);
    let channels: Vec<Arc<dyn Channel>> = vec![
        Arc::new(Slow {
            heard: world.heard.clone(),
            fails: false,
        }),
        Arc::new(Dead),
    ];
    world.teller = Teller::new(
        client,
        Claim::permanent(),
        channels,
        world.metrics.clone(),
        world.server.clock().clone(),
    );
    for number in 1..=3 {
        world.teller.tell(canary("u1"), vec![notice(&number.to_string())]);
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(
        (world.heard(), world.events().len()),
        (vec!["1".into(), "2".into(), "3".into()], 0)
    );
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(world.events(), ["text of 1", "text of 2", "text of 3"]);
    world.teller.idle().await;
    let text = world.metrics.text().expect("metrics must encode");
    assert!(text.contains(r#"serin_untold_total{channel="event hook"} 3"#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_dead_receiver_is_limited_and_counted() {
    let server = api_server();
    let client = server.client("serin");
    let mut world = world(server, client.clone(), false);
    world.teller = Teller::new(
        client,
        Claim::permanent(),
        vec![Arc::new(Dead)],
        world.metrics.clone(),
        world.server.clock().clone(),
    );
    for number in 1..=150 {
        world.teller.tell(canary("u1"), vec![notice(&number.to_string())]);
        tokio::task::yield_now().await;
    }
    let text = world.metrics.text().expect("metrics must encode");
    // The Events wait as well, and either may stand first.
    let given_up = r#"serin_untold_total{channel="event hook"} "#;
    assert!(text.lines().any(|line| line.starts_with(given_up)), "{text}");
}
