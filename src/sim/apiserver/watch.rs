//! Watches: streams of changes, each event late by a random time, always in order.
//!
//! A watch starts from a revision in the log, or with the objects as they are (`sendInitialEvents`, or no revision at
//! all). It ends by its timeout or with an ERROR event, 410, when its start has been compacted.

use std::{collections::VecDeque, ops::RangeInclusive, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    Inner,
    call::Call,
    errors::Refusal,
    metadata,
    names::Random,
    read::Revision,
    selector::Selector,
    state::State,
    store::{Change, Key},
};

/// How often an idle watch that allows it gets a bookmark.
const BOOKMARK_PERIOD: TimeDelta = TimeDelta::minutes(1);
/// How long before its end a watch that allows it gets a last one.
const LAST_BOOKMARK: TimeDelta = TimeDelta::seconds(2);
/// Without a timeout of its own, a watch lasts this long and up to twice as long.
const SHORTEST_WATCH: u64 = 1800;

/// One event on its way to a client.
#[derive(Debug)]
pub(super) struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub(super) kind: &'static str,
    pub(super) object: Arc<Value>,
    /// The revision that the client sees on the object.
    revision: u64,
    due: DateTime<Utc>,
}

/// Which events a watch wants, and how late they come.
struct Filter {
    call: Call,
    selector: Selector,
    delay: RangeInclusive<Duration>,
    random: Random,
    last_due: DateTime<Utc>,
}

struct Watcher {
    filter: Filter,
    events: UnboundedSender<Event>,
}

/// All open watches.
#[derive(Default)]
pub(super) struct Hub {
    watchers: Vec<Watcher>,
    opened: u64,
}

impl Hub {
    /// Hands a change to every watch that wants it; forgets watches whose client is gone.
    pub(super) fn publish(&mut self, change: &Change, now: DateTime<Utc>) {
        self.watchers
            .retain_mut(|watcher| match watcher.filter.event(change, now) {
                Some(event) => watcher.events.send(event).is_ok(),
                None => !watcher.events.is_closed(),
            });
    }
}

impl Event {
    /// The event as the wire has it, for the call that opened the watch: the type first, so that a reader knows what the object
    /// is before it comes.
    pub(super) fn line(&self, call: &Call) -> Bytes {
        let stands = self.revision == 0 || metadata::text(&self.object, "resourceVersion") == self.revision.to_string();
        let object = match self.kind {
            "ERROR" => self.object.to_string(),
            _ if stands => call.text(&self.object),
            _ => {
                let mut object = call.present(&self.object);
                metadata::of(&mut object).insert("resourceVersion".to_owned(), self.revision.to_string().into());
                object.to_string()
            }
        };
        Bytes::from(format!("{{\"type\":\"{}\",\"object\":{object}}}\n", self.kind))
    }
}

impl Filter {
    fn event(&mut self, change: &Change, now: DateTime<Utc>) -> Option<Event> {
        if *change.storage != *self.call.resource.storage || !self.names(&change.key) {
            return None;
        }
        let matching = |object: &Option<Arc<Value>>| object.clone().filter(|object| self.selector.matches(object));
        let (before, after) = (matching(&change.before), matching(&change.after));
        let (kind, object) = match (before, after) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => ("DELETED", before),
        };
        let due = self.due(now);
        Some(Event {
            kind,
            object,
            revision: change.revision,
            due,
        })
    }

    fn names(&self, key: &Key) -> bool {
        (self.call.namespace.is_empty() || self.call.namespace == key.namespace)
            && (self.call.name.is_empty() || self.call.name == key.name)
    }

    /// When an event that happens now is seen: late by a random time, never before an earlier one.
    fn due(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        let (least, most) = (self.delay.start(), self.delay.end());
        let spread = u64::try_from(most.saturating_sub(*least).as_millis()).unwrap_or(u64::MAX);
        let late = *least + Duration::from_millis(self.random.below(spread.saturating_add(1)));
        self.last_due = self.last_due.max(now + TimeDelta::from_std(late).unwrap_or_default());
        self.last_due
    }
}

/// One running watch, owned by the response body.
struct Running {
    server: Arc<Inner>,
    call: Call,
    events: UnboundedReceiver<Event>,
    queue: VecDeque<Event>,
    bookmarks: bool,
    next_bookmark: DateTime<Utc>,
    /// How far the server was when the watch began. A bookmark that says no more is not sent.
    began_at: u64,
    end: DateTime<Utc>,
}

/// Opens a watch; each event comes when it is due.
pub(super) fn open(
    server: &Arc<Inner>,
    state: &mut State,
    call: &Call,
) -> Result<impl Stream<Item = Event> + Send + use<>, Refusal> {
    let selector = Selector::of(&call.query, &call.resource)?;
    // A watch passes the parser's error on as it is.
    let revision = Revision::of(&call.query)
        .map_err(|refusal| Refusal::unexpected(refusal.message.trim_start_matches("invalid resource version: ")))?;
    state.hub.opened += 1;
    let mut random = Random::new(server.options.seed ^ (state.hub.opened << 32));
    let end = call.now + lifetime(call, &mut random);
    let filter = Filter {
        call: call.clone(),
        selector,
        delay: server.options.watch_delay.clone(),
        random,
        last_due: call.now,
    };
    let bookmarks = call.query.flag("allowWatchBookmarks");
    let (sender, events) = unbounded_channel();
    let mut watcher = Watcher { filter, events: sender };
    let queue = backlog(state, &mut watcher.filter, revision, call.now);
    let failed = queue.iter().any(|event| event.kind == "ERROR");
    if !failed {
        state.hub.watchers.push(watcher);
    }
    let running = Running {
        server: server.clone(),
        call: call.clone(),
        events,
        queue,
        bookmarks,
        next_bookmark: bookmark_after(call.now, end),
        began_at: state.store.revision(),
        end,
    };
    Ok(stream::unfold(running, |mut running| async move {
        let event = running.next().await?;
        Some((event, running))
    }))
}

fn lifetime(call: &Call, random: &mut Random) -> TimeDelta {
    let asked = call
        .query
        .get("timeoutSeconds")
        .and_then(|text| text.parse::<u64>().ok())
        .filter(|&s| s > 0);
    let seconds = asked.unwrap_or_else(|| SHORTEST_WATCH + random.below(SHORTEST_WATCH));
    TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1000))
}

/// When the bookmark after `now` is due: in its turn, or shortly before the end.
fn bookmark_after(now: DateTime<Utc>, end: DateTime<Utc>) -> DateTime<Utc> {
    let (in_turn, last) = (now + BOOKMARK_PERIOD, end - LAST_BOOKMARK);
    if now < last && last < in_turn { last } else { in_turn }
}

/// What a watch has to say before the first new change.
fn backlog(state: &State, filter: &mut Filter, revision: Revision, now: DateTime<Utc>) -> VecDeque<Event> {
    let initial = filter.call.query.flag("sendInitialEvents");
    let from_now = matches!(revision, Revision::Any | Revision::Latest);
    if initial || from_now {
        let present = state
            .store
            .list(&filter.call.resource.storage, &filter.call.namespace)
            .filter(|(key, object)| filter.names(key) && filter.selector.matches(object))
            .map(|(_, object)| Event {
                kind: "ADDED",
                object: object.clone(),
                revision: 0,
                due: now,
            });
        let mut queue: VecDeque<Event> = present.collect();
        // A watch from now on is one with initial events as well, though it did not ask for them by name.
        if filter.call.query.flag("allowWatchBookmarks") {
            queue.push_back(bookmark(&filter.call, state.store.revision(), true, now));
        }
        return queue;
    }
    let Revision::At(revision) = revision else {
        return VecDeque::new();
    };
    match state.store.since(revision) {
        Ok(changes) => changes.filter_map(|change| filter.event(change, now)).collect(),
        Err(compacted) => {
            let message = format!("too old resource version: {revision} ({})", compacted.oldest);
            let status = Refusal::expired(message).status();
            VecDeque::from([Event {
                kind: "ERROR",
                object: Arc::new(status),
                revision: 0,
                due: now,
            }])
        }
    }
}

fn bookmark(call: &Call, revision: u64, ends_initial: bool, due: DateTime<Utc>) -> Event {
    let mut object = json!({
        "kind": call.resource.kind,
        "apiVersion": call.resource.api_version(),
        "metadata": {"resourceVersion": revision.to_string()},
    });
    if ends_initial {
        object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    Event {
        kind: "BOOKMARK",
        object: Arc::new(object),
        revision: 0,
        due,
    }
}

impl Running {
    /// The next event; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        let clock = self.server.clock().clone();
        loop {
            while let Ok(event) = self.events.try_recv() {
                self.queue.push_back(event);
            }
            let now = clock.now();
            if let Some(event) = self.queue.pop_front_if(|event| event.due <= now) {
                return Some(event);
            }
            if now >= self.end || (self.queue.is_empty() && self.events.is_closed()) {
                return None;
            }
            if self.bookmarks && now >= self.next_bookmark {
                self.mark(now);
                continue;
            }
            let mut wake = self.end;
            if self.bookmarks {
                wake = wake.min(self.next_bookmark);
            }
            if let Some(event) = self.queue.front() {
                wake = wake.min(event.due);
            }
            tokio::select! {
                biased;
                event = self.events.recv() => self.queue.extend(event),
                () = clock.sleep_until(wake) => {}
            }
        }
    }

    /// Queues a bookmark for the present revision, behind every event up to it, if there was any write since the watch began.
    fn mark(&mut self, now: DateTime<Utc>) {
        self.next_bookmark = bookmark_after(now, self.end);
        let revision = {
            let state = self.server.lock();
            while let Ok(event) = self.events.try_recv() {
                self.queue.push_back(event);
            }
            state.store.revision()
        };
        if revision <= self.began_at {
            return;
        }
        let due = self.queue.back().map_or(now, |event| event.due);
        self.queue.push_back(bookmark(&self.call, revision, false, due));
    }
}
