//! Tells people and machines what happened, beside the passes.
//!
//! Each canary has one lane for each channel (alerts, event hooks) and one for the Kubernetes Events: in order within a
//! lane, and no lane waits for another's receiver, except that the Event of a notice comes after its alerts, and gives its
//! event hooks a moment. For the Event is the proof: its name is made from the notice's id, so an Event that exists means
//! that this notice and all before it were told. A notice is told at least once, and once when nothing breaks (`design.md`,
//! "Telling"); event hooks whose receiver has not answered within that moment are tried on without the proof. What
//! a former process announced last stands in the status; [`Teller::retell`] looks for its Events first.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::{Semaphore, watch};

use super::lanes::{Lanes, Put};
use super::leader::Claim;
use super::resource::CanaryKey;
use super::write::is_terminating;
use crate::api::Canary;
use crate::clock::Clock;
use crate::notify::event;
use crate::retry::Retry;
use crate::rollout::Notice;
use crate::telemetry::metrics::Metrics;

/// Events live for an hour. Of an older notice nobody can say whether it was told, so it is not told again.
const EVENT_LIFE: TimeDelta = TimeDelta::hours(1);

/// The most that one request about an Event may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How often a process that may not act looks whether it may again.
const CLAIM_LOOK: Duration = Duration::from_secs(1);

/// How often a request about an Event is tried.
const ATTEMPTS: u32 = 6;

/// Requests about Events that are under way at the same time, over all canaries: a process that begins asks for those of every canary,
/// and each would open a connection of its own.
const REQUESTS_AT_ONCE: usize = 16;

/// The most that a channel may take for one notice, whatever its own limits are.
const CHANNEL_LIMIT: Duration = Duration::from_mins(5);

/// Announcements that wait in one lane. A receiver so far behind is given up for what comes on top.
const LONGEST_LANE: usize = 100;

/// One way to tell a notice, such as alerts or event hooks.
#[async_trait]
pub trait Channel: Send + Sync {
    /// What it is, for logs and counters, such as `alert`.
    fn name(&self) -> &'static str;
    /// How long after an announcement its Events wait for this channel; `None`: until it is done.
    fn patience(&self) -> Option<Duration> {
        None
    }
    /// Tells it. The error is for people and names no secret.
    async fn tell(&self, canary: &Canary, notice: &Notice) -> Result<(), String>;
}

/// Tells notices, each canary's in order. Cheap to clone; all clones share their lanes.
#[derive(Clone)]
pub struct Teller {
    shared: Arc<Board>,
}

struct Board {
    outlets: Option<Arc<Outlets>>,
    clock: Clock,
    lanes: Lanes<Lane, Arc<Announcement>>,
    /// What is on its way, by the uid of the canary.
    untold: Mutex<HashMap<String, Vec<Arc<Announcement>>>>,
}

impl Board {
    fn untold(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<Announcement>>>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its Events are written, or given up.
    fn is_told(&self, uid: &str, announcement: &Arc<Announcement>) {
        let mut untold = self.untold();
        if let Some(waiting) = untold.get_mut(uid) {
            waiting.retain(|it| !Arc::ptr_eq(it, announcement));
            if waiting.is_empty() {
                untold.remove(uid);
            }
        }
    }
}

/// A lane: of which canary, by uid, and for which channel, by place; `None` for the Events.
type Lane = (String, Option<usize>);

struct Outlets {
    client: Client,
    claim: Claim,
    channels: Vec<Arc<dyn Channel>>,
    metrics: Metrics,
    /// For requests about Events.
    places: Semaphore,
}

/// Notices that were made together.
struct Announcement {
    canary: Arc<Canary>,
    notices: Vec<Notice>,
    at: DateTime<Utc>,
    /// How many of them, from the first on, a former process told.
    told: Shared<BoxFuture<'static, usize>>,
    /// A former process may have told them.
    doubtful: bool,
    /// With how many of them each channel is done.
    done: Vec<watch::Sender<usize>>,
}

impl Teller {
    /// Tells through these channels and by Events, as long as `claim` stands: of what a former leader has not told, its successor
    /// knows. What cannot be told is counted in `metrics`.
    pub fn new(client: Client, claim: Claim, channels: Vec<Arc<dyn Channel>>, metrics: Metrics, clock: Clock) -> Self {
        Self::with(
            Some(Outlets {
                client,
                claim,
                channels,
                metrics,
                places: Semaphore::new(REQUESTS_AT_ONCE),
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
            shared: Arc::new(Board {
                outlets: outlets.map(Arc::new),
                clock,
                lanes: Lanes::new(LONGEST_LANE),
                untold: Mutex::default(),
            }),
        }
    }

    /// These notices are news. Returns at once.
    pub fn tell(&self, canary: Arc<Canary>, notices: Vec<Notice>) {
        for notice in &notices {
            log(&canary, notice);
        }
        self.announce(canary, notices, false);
    }

    /// A former process announced these notices last, at `written`: those that it did not tell are told. Returns at once.
    pub fn retell(&self, canary: Arc<Canary>, notices: Vec<Notice>, written: DateTime<Utc>) {
        if self.shared.clock.now() - written < EVENT_LIFE {
            self.announce(canary, notices, true);
        }
    }

    /// What was announced of this canary and whose Events are still to be written: a status that is written meanwhile names it again, or
    /// a process that dies now takes it along.
    pub fn untold(&self, uid: &str) -> Vec<Notice> {
        let untold = self.shared.untold();
        let waiting = untold.get(uid).into_iter().flatten();
        waiting.flat_map(|announcement| announcement.notices.clone()).collect()
    }

    /// Waits until everything is told.
    pub async fn idle(&self) {
        self.shared.lanes.idle().await;
    }

    /// Waits until the Events of this canary are written. Each comes after its alerts.
    pub async fn told(&self, uid: &str) {
        self.shared.lanes.empty(&(uid.to_owned(), None)).await;
    }

    fn announce(&self, canary: Arc<Canary>, notices: Vec<Notice>, doubtful: bool) {
        let shared = &self.shared;
        let Some(outlets) = shared.outlets.clone().filter(|_| !notices.is_empty()) else {
            return;
        };
        let told = if doubtful {
            let (outlets, clock, canary, notices) =
                (outlets.clone(), shared.clock.clone(), canary.clone(), notices.clone());
            async move { outlets.told_before(&clock, &canary, &notices).await }.boxed()
        } else {
            futures::future::ready(0).boxed()
        };
        let uid = canary.metadata.uid.clone().unwrap_or_default();
        let announcement = Arc::new(Announcement {
            canary,
            notices,
            at: shared.clock.now(),
            told: told.shared(),
            doubtful,
            done: outlets.channels.iter().map(|_| watch::Sender::new(0)).collect(),
        });
        let mut untold = shared.untold();
        untold.entry(uid.clone()).or_default().push(announcement.clone());
        drop(untold);
        for place in (0..outlets.channels.len()).map(Some).chain([None]) {
            let lane = (uid.clone(), place);
            match shared.lanes.put(&lane, announcement.clone()) {
                Put::First => drop(tokio::spawn(work(shared.clone(), outlets.clone(), lane))),
                Put::Behind => {}
                Put::Full(announcement) => {
                    outlets.give_up(&announcement, place);
                    if place.is_none() {
                        shared.is_told(&uid, &announcement);
                    }
                }
            }
        }
    }
}

/// Tells what there is to tell in one lane, until there is nothing.
async fn work(shared: Arc<Board>, outlets: Arc<Outlets>, lane: Lane) {
    while let Some(announcement) = shared.lanes.next(&lane) {
        let told = announcement.told.clone().await;
        if let Some(place) = lane.1 {
            outlets.through_channel(&shared.clock, &announcement, place, told).await;
        } else {
            outlets.by_events(&shared.clock, &announcement, told).await;
            shared.is_told(&lane.0, &announcement);
        }
    }
}

impl Outlets {
    /// Tells these notices through one channel.
    async fn through_channel(&self, clock: &Clock, announcement: &Announcement, place: usize, told: usize) {
        let channel = &self.channels[place];
        for (number, notice) in announcement.notices.iter().enumerate().skip(told) {
            let canary = &announcement.canary;
            self.may_act(clock, Duration::ZERO).await;
            // One that panics must not end the lane: what comes behind would never be told.
            let told = AssertUnwindSafe(channel.tell(canary, notice)).catch_unwind();
            let outcome = match clock.timeout(CHANNEL_LIMIT, told).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err("internal error; this is a bug in Serin".to_owned()),
                Err(_) => Err(format!("no end within {} s", CHANNEL_LIMIT.as_secs())),
            };
            if let Err(cause) = outcome {
                let (canary, name) = (CanaryKey::of(canary), channel.name());
                tracing::error!(%canary, notice = %notice.id, "{name} could not be sent: {cause}");
                self.metrics.untold(name);
            }
            announcement.done[place].send_replace(number + 1);
        }
        announcement.done[place].send_replace(announcement.notices.len());
    }

    /// Writes the Events of these notices, each after its channels.
    async fn by_events(&self, clock: &Clock, announcement: &Announcement, told: usize) {
        let canary = &announcement.canary;
        for (number, notice) in announcement.notices.iter().enumerate().skip(told) {
            if !notice.event {
                continue;
            }
            if announcement.doubtful {
                log(canary, notice);
            }
            for (channel, done) in self.channels.iter().zip(&announcement.done) {
                let mut done = done.subscribe();
                let told = done.wait_for(|done| *done > number);
                match channel.patience() {
                    None => drop(told.await),
                    Some(patience) => {
                        let waited = (clock.now() - announcement.at).to_std().unwrap_or_default();
                        // A receiver that takes longer is told all the same, only without this proof.
                        drop(clock.timeout(patience.saturating_sub(waited), told).await);
                    }
                }
            }
            let request = Request::Create(Box::new(event(canary, notice, clock.now())));
            if self.request(clock, canary, &request).await.is_none() {
                self.metrics.untold("event");
            }
        }
    }

    /// A lane is full: these notices are not told there.
    fn give_up(&self, announcement: &Announcement, place: Option<usize>) {
        let name = place.map_or("event", |place| self.channels[place].name());
        let canary = CanaryKey::of(&announcement.canary);
        for notice in &announcement.notices {
            tracing::error!(%canary, notice = %notice.id, "{name} could not be sent: too much waits to be sent");
            self.metrics.untold(name);
        }
        if let Some(place) = place {
            announcement.done[place].send_replace(announcement.notices.len());
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

    /// Waits until this process may begin something that takes at most `span`. A leader that was superseded waits here for its end.
    async fn may_act(&self, clock: &Clock, span: Duration) {
        while !self.claim.covers(span) {
            clock.sleep(CLAIM_LOOK).await;
        }
    }

    /// Sends a request until the API server has answered it for good: whether the Event exists now. `None`: it never did,
    /// which has been logged.
    async fn request(&self, clock: &Clock, canary: &Canary, request: &Request) -> Option<bool> {
        let namespace = canary.metadata.namespace.as_deref().unwrap_or_default();
        let events = Api::namespaced(self.client.clone(), namespace);
        let mut retry = Retry::between(Duration::from_secs(1), Duration::from_secs(30), namespace);
        loop {
            // The places are never closed, so there is always one to come.
            let place = self.places.acquire().await;
            self.may_act(clock, REQUEST_LIMIT).await;
            let cause = match clock.timeout(REQUEST_LIMIT, request.send(&events)).await {
                Ok(Ok(exists)) => return Some(exists),
                Ok(Err(error)) if is_final(&error) => {
                    tracing::warn!(canary = %CanaryKey::of(canary), "no event can be written: {error}");
                    return None;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".into(),
            };
            drop(place);
            let wait = retry.wait();
            if retry.attempts() >= ATTEMPTS {
                tracing::error!(canary = %CanaryKey::of(canary), "no event can be written: {cause}");
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

/// Whether trying again changes nothing: the namespace goes, or the Event is not valid. A right that is missing may come: an API server
/// that has just started knows nobody's rights.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if is_terminating(status) || status.is_not_found() || status.is_invalid())
}

fn log(canary: &Canary, notice: &Notice) {
    if !notice.event {
        return;
    }
    let canary = CanaryKey::of(canary);
    if notice.warning {
        tracing::warn!(%canary, "{}", notice.text);
    } else {
        tracing::info!(%canary, "{}", notice.text);
    }
}
