//! Tells people and machines what happened, beside the passes and in order: for each notice first the channels (alerts,
//! event hooks), then the Kubernetes Event.
//!
//! The Event comes last because it is the proof: its name is made from the notice's id, so an Event that exists means that
//! this notice and all before it were told. A notice is told at least once, and once when nothing breaks (`design.md`,
//! "Telling"). What a former process announced last stands in the status; [`Teller::retell`] looks for its Events first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::Notify;

use super::retry::Retry;
use crate::api::Canary;
use crate::clock::Clock;
use crate::notify::event;
use crate::rollout::Notice;
use crate::telemetry::metrics::Metrics;

/// Events live for an hour. Of an older notice nobody can say whether it was told, so it is not told again.
const EVENT_LIFE: TimeDelta = TimeDelta::hours(1);

/// The most that one request about an Event may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How often a request about an Event is tried.
const ATTEMPTS: u32 = 6;

/// One way to tell a notice, such as alerts or event hooks. Bounded in time by the implementation.
#[async_trait]
pub trait Channel: Send + Sync {
    /// What it is, for logs and counters, such as `alert`.
    fn name(&self) -> &'static str;
    /// Tells it. The error is for people and names no secret.
    async fn tell(&self, canary: &Canary, notice: &Notice) -> Result<(), String>;
}

/// Tells notices, each canary's in order. Cheap to clone; all clones share their queues.
#[derive(Clone)]
pub struct Teller {
    shared: Arc<Shared>,
}

struct Shared {
    outlets: Option<Outlets>,
    clock: Clock,
    /// By uid: what is to be told. An entry stands for as long as a task works on it.
    queues: Mutex<HashMap<String, VecDeque<Item>>>,
    idle: Notify,
}

struct Outlets {
    client: Client,
    channels: Vec<Arc<dyn Channel>>,
    metrics: Metrics,
}

struct Item {
    canary: Arc<Canary>,
    notices: Vec<Notice>,
    /// A former process may have told them.
    doubtful: bool,
}

impl Teller {
    /// Tells through these channels, one after another, and then writes the Event. What cannot be told is counted in `metrics`.
    pub fn new(client: Client, channels: Vec<Arc<dyn Channel>>, metrics: Metrics, clock: Clock) -> Self {
        Self::with(
            Some(Outlets {
                client,
                channels,
                metrics,
            }),
            clock,
        )
    }

    /// Tells the log alone, for `--observe-only`.
    pub fn silent(clock: Clock) -> Self {
        Self::with(None, clock)
    }

    fn with(outlets: Option<Outlets>, clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                outlets,
                clock,
                queues: Mutex::default(),
                idle: Notify::new(),
            }),
        }
    }

    /// These notices are news. Returns at once.
    pub fn tell(&self, canary: Arc<Canary>, notices: Vec<Notice>) {
        for notice in &notices {
            log(&canary, notice);
        }
        self.enqueue(Item {
            canary,
            notices,
            doubtful: false,
        });
    }

    /// A former process announced these notices last, at `written`: those that it did not tell are told. Returns at once.
    pub fn retell(&self, canary: Arc<Canary>, notices: Vec<Notice>, written: DateTime<Utc>) {
        if self.shared.clock.now() - written < EVENT_LIFE {
            self.enqueue(Item {
                canary,
                notices,
                doubtful: true,
            });
        }
    }

    /// Waits until everything is told.
    pub async fn idle(&self) {
        loop {
            let mut told = std::pin::pin!(self.shared.idle.notified());
            told.as_mut().enable();
            if self.shared.queues().is_empty() {
                return;
            }
            told.await;
        }
    }

    fn enqueue(&self, item: Item) {
        if self.shared.outlets.is_none() || item.notices.is_empty() {
            return;
        }
        let uid = item.canary.metadata.uid.clone().unwrap_or_default();
        let mut queues = self.shared.queues();
        if let Some(queue) = queues.get_mut(&uid) {
            queue.push_back(item);
        } else {
            queues.insert(uid.clone(), VecDeque::from([item]));
            tokio::spawn(work(self.shared.clone(), uid));
        }
    }
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Item>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item of a canary. Without one the canary's task is over.
    fn next(&self, uid: &str) -> Option<Item> {
        let mut queues = self.queues();
        let item = queues.get_mut(uid).and_then(VecDeque::pop_front);
        if item.is_none() {
            queues.remove(uid);
            self.idle.notify_waiters();
        }
        item
    }
}

/// Tells what there is to tell about one canary, until there is nothing.
async fn work(shared: Arc<Shared>, uid: String) {
    let Some(outlets) = &shared.outlets else { return };
    while let Some(Item {
        canary,
        notices,
        doubtful,
    }) = shared.next(&uid)
    {
        let told = if doubtful {
            outlets.told_before(&shared.clock, &canary, &notices).await
        } else {
            0
        };
        for notice in notices.iter().skip(told) {
            if doubtful {
                log(&canary, notice);
            }
            outlets.tell(&shared.clock, &canary, notice).await;
        }
    }
}

impl Outlets {
    async fn tell(&self, clock: &Clock, canary: &Canary, notice: &Notice) {
        for channel in &self.channels {
            if let Err(cause) = channel.tell(canary, notice).await {
                let (canary, channel) = (name_of(canary), channel.name());
                tracing::error!(%canary, notice = %notice.id, "{channel} could not be sent: {cause}");
                self.metrics.untold(channel);
            }
        }
        if notice.event {
            let request = Request::Create(Box::new(event(canary, notice, clock.now())));
            if self.request(clock, canary, &request).await.is_none() {
                self.metrics.untold("event");
            }
        }
    }

    /// How many of these notices, from the first on, were told: all up to the last one whose Event exists.
    async fn told_before(&self, clock: &Clock, canary: &Canary, notices: &[Notice]) -> usize {
        for told in (1..=notices.len()).rev() {
            let notice = &notices[told - 1];
            if !notice.event {
                continue;
            }
            let name = event(canary, notice, clock.now()).metadata.name.unwrap_or_default();
            if self.request(clock, canary, &Request::Find(name)).await == Some(true) {
                return told;
            }
        }
        0
    }

    /// Sends a request until the API server has answered it for good: whether the Event exists now. `None`: it never did,
    /// which has been logged.
    async fn request(&self, clock: &Clock, canary: &Canary, request: &Request) -> Option<bool> {
        let namespace = canary.metadata.namespace.as_deref().unwrap_or_default();
        let events = Api::namespaced(self.client.clone(), namespace);
        let mut retry = Retry::between(Duration::from_secs(1), Duration::from_secs(30), namespace);
        loop {
            let cause = match clock.timeout(REQUEST_LIMIT, request.send(&events)).await {
                Ok(Ok(exists)) => return Some(exists),
                Ok(Err(error)) if is_final(&error) => {
                    tracing::warn!(canary = %name_of(canary), "no event can be written: {error}");
                    return None;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".into(),
            };
            let wait = retry.next();
            if retry.attempts() >= ATTEMPTS {
                tracing::error!(canary = %name_of(canary), "no event can be written: {cause}");
                return None;
            }
            clock.sleep(wait).await;
        }
    }
}

/// What is asked of the API server about one Event.
enum Request {
    Create(Box<Event>),
    Find(String),
}

impl Request {
    /// Returns whether the Event exists afterwards.
    async fn send(&self, events: &Api<Event>) -> kube::Result<bool> {
        match self {
            Self::Find(name) => events.get_opt(name).await.map(|found| found.is_some()),
            Self::Create(event) => match events.create(&PostParams::default(), event).await {
                Ok(_) => Ok(true),
                // One of that name is the same: it was told.
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(true),
                Err(error) => Err(error),
            },
        }
    }
}

/// Whether trying again changes nothing: the namespace goes, the right is missing, or the Event is not valid.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden() || status.is_not_found() || status.is_invalid())
}

fn log(canary: &Canary, notice: &Notice) {
    if !notice.event {
        return;
    }
    let canary = name_of(canary);
    if notice.warning {
        tracing::warn!(%canary, "{}", notice.text);
    } else {
        tracing::info!(%canary, "{}", notice.text);
    }
}

/// As Flagger's log names a Canary: `<name>.<namespace>`.
fn name_of(canary: &Canary) -> String {
    let meta = &canary.metadata;
    format!(
        "{}.{}",
        meta.name.as_deref().unwrap_or_default(),
        meta.namespace.as_deref().unwrap_or_default()
    )
}
