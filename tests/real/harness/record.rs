//! What happened to a release, as the API server told it: every weight on the route and every phase of the Canary.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::Outcome;

/// The shares of a route, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Of the promoted version.
    pub primary: u64,
    /// Of the version under test.
    pub canary: u64,
}

impl Weights {
    /// Where traffic is at rest.
    pub const HOME: Self = Self {
        primary: 100,
        canary: 0,
    };
}

/// Something that became so at a moment.
#[derive(Clone, Debug)]
pub struct Since<T> {
    /// The moment its news reached us.
    pub at: DateTime<Utc>,
    /// What it is from then on.
    pub what: T,
}

/// Everything that was seen, in order, each entry different from the one before it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Shares of the route; none of it before the controller took the route over.
    pub weights: Vec<Since<Weights>>,
    /// Phases of the Canary.
    pub phases: Vec<Since<String>>,
    /// The Canary's whole status, the last one seen; null when there is no Canary.
    pub status: Value,
}

/// Watches a Canary and its route until dropped.
pub struct Record {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    news: Notify,
}

impl Shared {
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        self.news.notify_waiters();
    }
}

impl Record {
    /// Starts to watch the Canary `name` and the route of that name.
    pub fn start(client: &Client, namespace: &str, name: &str, route: &GroupVersionKind) -> Self {
        let canary = GroupVersionKind::gvk("flagger.app", "v1beta1", "Canary");
        let shared = Arc::new(Shared::default());
        let of_route = Arc::clone(&shared);
        let of_canary = Arc::clone(&shared);
        Self {
            tasks: [
                each_change(client, namespace, name, route, move |object| {
                    if let Some(weights) = object.and_then(weights) {
                        of_route.note(|seen| push_if_new(&mut seen.weights, weights));
                    }
                }),
                each_change(client, namespace, name, &canary, move |object| {
                    let status = object.map_or(Value::Null, |object| object.data["status"].clone());
                    let phase = status["phase"].as_str().unwrap_or_default().to_owned();
                    of_canary.note(|seen| {
                        if !phase.is_empty() {
                            push_if_new(&mut seen.phases, phase);
                        }
                        seen.status = status;
                    });
                }),
            ],
            shared,
        }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a phase that began after `start`, and gives its moment. `wrong` is a phase that must not come instead.
    pub async fn phase_after(
        &self,
        start: DateTime<Utc>,
        wanted: &str,
        wrong: &str,
        patience: Duration,
    ) -> Outcome<DateTime<Utc>> {
        let wait = async {
            loop {
                let news = self.shared.news.notified();
                let seen = self.seen();
                for phase in seen.phases.iter().filter(|phase| phase.at > start) {
                    if phase.what == wanted {
                        return Ok(phase.at);
                    }
                    if phase.what == wrong {
                        return Err(
                            format!("the phase became {wrong} where {wanted} was expected: {}", seen.status).into(),
                        );
                    }
                }
                news.await;
            }
        };
        match timeout(patience, wait).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!(
                "no phase {wanted} within {patience:?}; the status is {}",
                self.seen().status
            )
            .into()),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn push_if_new<T: PartialEq>(list: &mut Vec<Since<T>>, what: T) {
    if list.last().is_none_or(|last| last.what != what) {
        list.push(Since { at: Utc::now(), what });
    }
}

/// Tells of the object as it is after each change, and of nothing when it is gone.
fn each_change(
    client: &Client,
    namespace: &str,
    name: &str,
    kind: &GroupVersionKind,
    note: impl Fn(Option<&DynamicObject>) + Send + 'static,
) -> JoinHandle<()> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(kind));
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher(api, only).default_backoff().boxed();
    let mut listed = false;
    tokio::spawn(async move {
        loop {
            match events.try_next().await {
                Ok(Some(watcher::Event::Apply(object) | watcher::Event::InitApply(object))) => {
                    listed = true;
                    note(Some(&object));
                }
                Ok(Some(watcher::Event::Delete(_))) => note(None),
                Ok(Some(watcher::Event::Init)) => listed = false,
                // What a new list lacks was deleted while nobody watched.
                Ok(Some(watcher::Event::InitDone)) if !listed => note(None),
                Ok(Some(watcher::Event::InitDone)) => {}
                Ok(None) => return,
                // The watcher begins anew by itself.
                Err(error) => eprintln!("record: {error}"),
            }
        }
    })
}

/// The shares that an `HTTPProxy` or `HTTPRoute` gives the two Services of a release; none while it gives neither any.
fn weights(route: &DynamicObject) -> Option<Weights> {
    let spec = &route.data["spec"];
    let backends = spec["routes"][0]["services"]
        .as_array()
        .or_else(|| spec["rules"][0]["backendRefs"].as_array())?;
    let of = |side: &str| {
        let name = format!("{}-{side}", route.name_any());
        let backend = backends.iter().find(|backend| backend["name"] == name.as_str())?;
        // Contour leaves a zero out; the Gateway API fills a missing weight in, so it never is.
        Some(backend["weight"].as_u64().unwrap_or(0))
    };
    let weights = Weights {
        primary: of("primary")?,
        canary: of("canary").unwrap_or(0),
    };
    (weights.primary + weights.canary > 0).then_some(weights)
}

/// What was told about a Canary in Kubernetes Events, the oldest first.
pub async fn events(client: &Client, namespace: &str, canary: &str) -> Outcome<Vec<Since<String>>> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let about_it = format!("involvedObject.kind=Canary,involvedObject.name={canary}");
    let mut events: Vec<_> = api
        .list(&ListParams::default().fields(&about_it))
        .await?
        .into_iter()
        .filter_map(|event| {
            let moment = event
                .event_time
                .map(|time| time.0)
                .or_else(|| event.first_timestamp.map(|time| time.0))?;
            let at = DateTime::from_timestamp(moment.as_second(), moment.subsec_nanosecond().try_into().ok()?)?;
            Some(Since {
                at,
                what: event.message?,
            })
        })
        .collect();
    events.sort_by_key(|event| event.at);
    Ok(events)
}
