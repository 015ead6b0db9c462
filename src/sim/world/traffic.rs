//! A model of the clients: who answers whom, at any moment, and how well.
//!
//! Nobody sends a request. Where requests would go follows from the route that the data plane has taken over and from
//! the endpoints behind its backends; how they would be answered follows from the images of the pods. The record of it
//! over time is what the metrics source of the embedded cluster measures.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

/// How long the record reaches back.
const KEPT: TimeDelta = TimeDelta::minutes(15);

/// How the pods of one image answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Behaviour {
    /// Answers that are no server errors, in percent.
    pub success: f64,
    /// The slowest hundredth of the answers takes this long, in milliseconds.
    pub latency: f64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            success: 99.9,
            latency: 120.0,
        }
    }
}

/// A destination of a route and its part of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The Service.
    pub service: String,
    /// Its weight; the parts of all backends make the whole.
    pub weight: u32,
}

/// The part of the clients that one rule of a route is for, and where it leads.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// From 0 to 1.
    pub part: f64,
    /// The destinations.
    pub backends: Vec<Backend>,
    /// A Service that is sent copies: of so many of a hundred requests. Nobody waits for its answers.
    pub copies: Option<Backend>,
}

/// A pod that can be sent requests through a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answerer {
    /// The pod's uid: one pod counts once, however many slices name it.
    pub uid: String,
    /// Its name.
    pub pod: String,
    /// The image of its first container.
    pub image: String,
}

/// The part of the requests that one pod answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// The backend that sent them to it.
    pub service: String,
    /// The pod.
    pub pod: Answerer,
    /// From 0 to 1.
    pub part: f64,
}

/// Where the requests of one entry go at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Split {
    /// The answered ones.
    pub shares: Vec<Share>,
    /// The part of the requests that nobody answers, from 0 to 1.
    pub lost: f64,
    /// Those that are answered once more, for nobody.
    pub copies: Vec<Share>,
}

impl Split {
    /// Shares the requests between backends by weight, and behind each between its pods.
    pub fn of(backends: &[Backend], mut behind: impl FnMut(&str) -> Vec<Answerer>) -> Self {
        let whole: u32 = backends.iter().map(|backend| backend.weight).sum();
        if whole == 0 {
            return Self {
                lost: 1.0,
                ..Self::default()
            };
        }
        let mut split = Self::default();
        for backend in backends.iter().filter(|backend| backend.weight > 0) {
            let part = f64::from(backend.weight) / f64::from(whole);
            let mut pods = behind(&backend.service);
            pods.sort_by(|a, b| a.uid.cmp(&b.uid));
            pods.dedup_by(|a, b| a.uid == b.uid);
            if pods.is_empty() {
                split.lost += part;
            }
            let each = part / f64::from(u32::try_from(pods.len()).unwrap_or(u32::MAX));
            let share = |pod| Share {
                service: backend.service.clone(),
                pod,
                part: each,
            };
            split.shares.extend(pods.into_iter().map(share));
        }
        split
    }

    /// The same for all rules of a route.
    pub fn of_flows(flows: &[Flow], mut behind: impl FnMut(&str) -> Vec<Answerer>) -> Self {
        let mut split = Self::default();
        let taken: f64 = flows.iter().map(|flow| flow.part).sum();
        split.lost = (1.0 - taken).max(0.0);
        for flow in flows.iter().filter(|flow| flow.part > 0.0) {
            let part = |share: Share, of: f64| Share {
                part: share.part * of,
                ..share
            };
            let one = Self::of(&flow.backends, &mut behind);
            split.lost += one.lost * flow.part;
            split
                .shares
                .extend(one.shares.into_iter().map(|it| part(it, flow.part)));
            if let Some(copies) = &flow.copies {
                let of = flow.part * f64::from(copies.weight) / 100.0;
                let copied = Self::of(std::slice::from_ref(copies), &mut behind);
                split.copies.extend(copied.shares.into_iter().map(|it| part(it, of)));
            }
        }
        split
    }

    /// As many clients come by each of several routes of one name, which are of different kinds.
    pub fn shared(routes: Vec<Self>) -> Self {
        let part = 1.0 / f64::from(u32::try_from(routes.len()).unwrap_or(u32::MAX));
        let mut whole = Self::default();
        for route in routes {
            whole.lost += route.lost * part;
            let smaller = |share: Share| Share {
                part: share.part * part,
                ..share
            };
            whole.shares.extend(route.shares.into_iter().map(smaller));
            whole.copies.extend(route.copies.into_iter().map(smaller));
        }
        whole
    }

    /// All requests that pods get, copies too.
    fn all(&self) -> impl Iterator<Item = &Share> {
        self.shares.iter().chain(&self.copies)
    }

    /// The part of the requests that pods of this image answer.
    pub fn part_of_image(&self, image: &str) -> f64 {
        self.all()
            .filter(|share| share.pod.image == image)
            .map(|share| share.part)
            .sum()
    }
}

/// What was measured of some requests.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measured {
    /// How many there were.
    pub requests: f64,
    /// How many got no server error.
    pub succeeded: f64,
    /// The sum of their latencies, in milliseconds.
    latencies: f64,
}

impl Measured {
    /// In percent; none without requests.
    pub fn success_rate(&self) -> Option<f64> {
        (self.requests > 0.0).then(|| self.succeeded / self.requests * 100.0)
    }

    /// In milliseconds; none without requests.
    pub fn latency(&self) -> Option<f64> {
        (self.requests > 0.0).then(|| self.latencies / self.requests)
    }
}

/// All requests of one entry since the beginning.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Totals {
    /// Answered ones by image.
    pub answered: BTreeMap<String, Measured>,
    /// Those that nobody answered.
    pub lost: f64,
}

/// A moment from which on requests went this way.
#[derive(Debug, Clone)]
struct Segment {
    from: DateTime<Utc>,
    split: Split,
    behaviours: BTreeMap<String, Behaviour>,
}

impl Segment {
    /// Adds what happened in `span` of it to `sum`, for these shares of it.
    fn add<'s>(
        &'s self,
        rate: f64,
        span: TimeDelta,
        shares: impl Iterator<Item = &'s Share>,
        mut sum: impl FnMut(&Share, Measured),
    ) {
        let seconds = seconds(span);
        for share in shares {
            let requests = rate * seconds * share.part;
            let behaviour = self.behaviours.get(&share.pod.image).copied().unwrap_or_default();
            let measured = Measured {
                requests,
                succeeded: requests * behaviour.success / 100.0,
                latencies: requests * behaviour.latency,
            };
            sum(share, measured);
        }
    }
}

/// A span in seconds; one that goes backwards is none.
fn seconds(span: TimeDelta) -> f64 {
    span.to_std().map_or(0.0, |span| span.as_secs_f64())
}

/// Where clients enter: namespace and name of a route, or of a Service that no route stands before.
pub type Entry = (String, String);

#[derive(Debug, Default)]
struct Record {
    segments: VecDeque<Segment>,
    totals: Totals,
}

/// The requests of an embedded cluster over time; cheap to clone.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// Requests in a second that come to each entry.
    rate: f64,
    records: Arc<Mutex<BTreeMap<Entry, Record>>>,
}

impl Traffic {
    /// Clients that send this many requests in a second to each entry.
    pub fn new(rate: f64) -> Self {
        Self {
            rate,
            records: Arc::default(),
        }
    }

    /// From now on the requests of an entry go this way. Nobody calls what has not answered once.
    pub(super) fn turn(
        &self,
        entry: Entry,
        split: Split,
        behaviour: impl Fn(&str, f64) -> Behaviour,
        now: DateTime<Utc>,
    ) {
        let mut records = self.lock();
        if split.shares.is_empty() && !records.contains_key(&entry) {
            return;
        }
        let record = records.entry(entry).or_default();
        let images = split.all().map(|share| share.pod.image.clone());
        let behaviours: BTreeMap<_, _> = images
            .map(|image| {
                // Weights are whole percents: what a rounding error keeps away from a limit has reached it.
                let part = split.part_of_image(&image) + 1e-9;
                let behaviour = behaviour(&image, part);
                (image, behaviour)
            })
            .collect();
        if record
            .segments
            .back()
            .is_some_and(|last| last.split == split && last.behaviours == behaviours)
        {
            return;
        }
        record.close(self.rate, now);
        record.segments.push_back(Segment {
            from: now,
            split,
            behaviours,
        });
        while record.segments.get(1).is_some_and(|second| second.from < now - KEPT) {
            record.segments.pop_front();
        }
    }

    /// These entries are all that there are: nobody calls any other one from now on.
    pub(super) fn keep(&self, live: &BTreeSet<Entry>, now: DateTime<Utc>) {
        let gone = self.entries().into_iter().filter(|entry| !live.contains(entry));
        for entry in gone.collect::<Vec<_>>() {
            self.turn(entry, Split::default(), |_, _| Behaviour::default(), now);
        }
    }

    /// The entries that there are, or were.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().keys().cloned().collect()
    }

    /// Where the requests of an entry go at present.
    pub fn split(&self, entry: &Entry) -> Option<Split> {
        self.lock()
            .get(entry)?
            .segments
            .back()
            .map(|segment| segment.split.clone())
    }

    /// Measures the requests of a namespace within `window` before `now`, for the shares that count.
    pub fn measure(
        &self,
        namespace: &str,
        window: TimeDelta,
        now: DateTime<Utc>,
        counts: impl Fn(&Share) -> bool,
    ) -> Measured {
        let mut sum = Measured::default();
        for (_, record) in self.lock().iter().filter(|(entry, _)| entry.0 == namespace) {
            let ends = record.segments.iter().skip(1).map(|next| next.from).chain([now]);
            for (segment, end) in record.segments.iter().zip(ends) {
                let span = end.min(now) - segment.from.max(now - window);
                let shares = segment.split.all().filter(|share| counts(share));
                segment.add(self.rate, span, shares, |_, measured| sum.add(measured));
            }
        }
        sum
    }

    /// All requests of an entry until `now`.
    pub fn totals(&self, entry: &Entry, now: DateTime<Utc>) -> Totals {
        let records = self.lock();
        let Some(record) = records.get(entry) else {
            return Totals::default();
        };
        let mut totals = record.totals.clone();
        if let Some(last) = record.segments.back() {
            totals.add(last, self.rate, now);
        }
        totals
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Entry, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Counts the present segment as ended.
    fn close(&mut self, rate: f64, now: DateTime<Utc>) {
        if let Some(last) = self.segments.back() {
            self.totals.add(last, rate, now);
        }
    }
}

impl Totals {
    fn add(&mut self, segment: &Segment, rate: f64, until: DateTime<Utc>) {
        let span = until - segment.from;
        segment.add(rate, span, segment.split.shares.iter(), |share, measured| {
            self.answered.entry(share.pod.image.clone()).or_default().add(measured);
        });
        self.lost += segment.split.lost * rate * seconds(span);
    }
}

impl Measured {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.succeeded += other.succeeded;
        self.latencies += other.latencies;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(primary: u32, canary: u32) -> [Backend; 2] {
        let backend = |service: &str, weight| Backend {
            service: service.into(),
            weight,
        };
        [backend("app-primary", primary), backend("app-canary", canary)]
    }

    fn pod(uid: &str, image: &str) -> Answerer {
        Answerer {
            uid: uid.into(),
            pod: format!("pod-{uid}"),
            image: image.into(),
        }
    }

    fn behind(service: &str) -> Vec<Answerer> {
        if service == "app-canary" {
            vec![pod("c", "app:2")]
        } else {
            vec![pod("a", "app:1"), pod("b", "app:1")]
        }
    }

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).expect("a fixed time must be valid")
    }

    #[test]
    fn requests_are_shared_by_weight_and_then_by_pod() {
        let split = Split::of(&backends(80, 20), behind);
        let parts: Vec<_> = split
            .shares
            .iter()
            .map(|share| (share.pod.uid.as_str(), share.part))
            .collect();
        assert_eq!(parts, [("a", 0.4), ("b", 0.4), ("c", 0.2)]);
        assert_eq!(split.lost.to_string(), "0");
    }

    #[test]
    fn weight_on_a_side_without_pods_is_lost() {
        let split = Split::of(&backends(70, 30), |service| {
            if service == "app-canary" {
                vec![]
            } else {
                behind(service)
            }
        });
        assert!((split.lost - 0.3).abs() < 1e-9);
        assert!((split.part_of_image("app:1") - 0.7).abs() < 1e-9);
    }

    #[test]
    fn a_pod_in_two_slices_counts_once() {
        let split = Split::of(&backends(0, 100), |_| vec![pod("c", "app:2"), pod("c", "app:2")]);
        assert_eq!(split.shares.len(), 1);
    }

    #[test]
    fn a_window_measures_only_what_fell_into_it() {
        let traffic = Traffic::new(10.0);
        let entry = || ("test".to_owned(), "app".to_owned());
        let behaviour = |image: &str, _: f64| Behaviour {
            success: if image == "app:2" { 50.0 } else { 100.0 },
            latency: 20.0,
        };
        traffic.turn(entry(), Split::of(&backends(100, 0), behind), behaviour, start());
        traffic.turn(
            entry(),
            Split::of(&backends(50, 50), behind),
            behaviour,
            start() + TimeDelta::seconds(60),
        );
        let now = start() + TimeDelta::seconds(90);
        let canary = |share: &Share| share.service == "app-canary";
        let measured = traffic.measure("test", TimeDelta::seconds(60), now, canary);
        assert!((measured.requests - 150.0).abs() < 1e-6, "{measured:?}");
        assert_eq!(measured.success_rate().map(f64::round), Some(50.0));
        assert_eq!(measured.latency().map(f64::round), Some(20.0));
        let before = traffic.measure("test", TimeDelta::seconds(60), start() + TimeDelta::seconds(60), canary);
        assert_eq!(before.success_rate(), None);
        let totals = traffic.totals(&entry(), now);
        assert!((totals.answered["app:1"].requests - 750.0).abs() < 1e-6);
    }
}
