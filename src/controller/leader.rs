//! Leader election: of several processes one acts.
//!
//! Leadership is a fact with a deadline, not a flag. A [`Claim`] is read at the moment of use and says how long it still
//! holds; it runs out by this process's own monotonic clock, counted from the start of the last renewal that succeeded.
//! So a process that was frozen, or cannot reach the API server, knows that it may no longer write before any other may.
//! Writes of the Lease carry its resourceVersion: of two candidates one gets a conflict.
//!
//! Name and times of the Lease are Flagger's (spec/core.md 6), so that a Flagger with leader election on and Serin never act
//! together. Unlike Flagger, which gives up when 15 s pass without a renewal, Serin tries on for as long as its claim
//! stands, since until then nobody else can act either. When the claim is lost, the process ends with code 1 and starts
//! anew: what it knew may be stale, and the successor already works.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Clock;

/// The name of the Lease.
pub const LEASE_NAME: &str = "flagger-leader-election";

/// How long a Lease holds after its last renewal.
pub const LEASE_DURATION: Duration = Duration::from_mins(1);

/// How long our own claim holds after the start of the last renewal: less than the Lease, since clocks differ in speed.
pub const CLAIM_DURATION: Duration = Duration::from_secs(55);

/// Time between two attempts to get or renew the Lease, and the most that one attempt may take.
pub const RETRY: Duration = Duration::from_secs(5);

/// Time without a renewal after which people are warned; Flagger's renew deadline.
const WARN_AFTER: Duration = Duration::from_secs(15);

/// Whether this process may act. Cheap to clone; every clone sees the same.
#[derive(Debug, Clone)]
pub struct Claim {
    standing: watch::Receiver<Standing>,
}

/// Where this process stands in the election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There is no election: the process acts from its start.
    Permanent,
    /// It has held the Lease until this moment at least.
    Leading {
        /// When the claim runs out unless it is renewed.
        expires: Instant,
        /// How often the Lease has changed hands: a larger number is a later leader.
        transitions: i32,
    },
    /// Another process leads, or nobody yet.
    Waiting {
        /// The holder, where there is one.
        holder: Option<String>,
    },
    /// The Lease cannot be read or written; the API server's words.
    Failing(String),
}

/// How an election ended for this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop, and has given the Lease back if it held it.
    Stopped,
    /// It led and lost the Lease. It must not act any more.
    Lost,
}

/// A process that wants to lead.
#[derive(Debug)]
pub struct Candidate {
    leases: Api<Lease>,
    identity: String,
    clock: Clock,
    standing: watch::Sender<Standing>,
    /// The Lease as this process last wrote it, for a renewal without reading it first.
    own: Option<Lease>,
    /// What another holder's Lease said, and since when it has said that.
    other: Option<(LeaseSpec, Instant)>,
    renewed: Option<Instant>,
    warned: bool,
}

impl Claim {
    /// The claim of a process that is alone by arrangement: it never runs out.
    pub fn permanent() -> Self {
        let (_, standing) = watch::channel(Standing::Permanent);
        Self { standing }
    }

    /// How long this process may still act; `None`: not at all. Permanent claims have [`Duration::MAX`] left.
    pub fn remaining(&self) -> Option<Duration> {
        match &*self.standing.borrow() {
            Standing::Permanent => Some(Duration::MAX),
            Standing::Leading { expires, .. } => {
                let left = expires.saturating_duration_since(Instant::now());
                (!left.is_zero()).then_some(left)
            }
            Standing::Waiting { .. } | Standing::Failing(_) => None,
        }
    }

    /// Whether something that takes at most `span` may be started now.
    pub fn covers(&self, span: Duration) -> bool {
        self.remaining().is_some_and(|left| left > span)
    }

    /// Where the process stands, for people.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Waits until [`Self::standing`] has changed; false when it never will again.
    pub async fn changed(&mut self) -> bool {
        self.standing.changed().await.is_ok()
    }

    /// Waits until this process may act. Waits for ever when the election has ended without that.
    pub async fn held(&mut self) {
        let leads = |standing: &Standing| matches!(standing, Standing::Permanent | Standing::Leading { .. });
        if self.standing.wait_for(leads).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Candidate {
    /// A candidate for the Lease of this namespace, and the claim that tells whether it leads. Nothing happens before [`Self::run`].
    pub fn new(client: kube::Client, namespace: &str, identity: &str, clock: Clock) -> (Self, Claim) {
        let (sender, standing) = watch::channel(Standing::Waiting { holder: None });
        let candidate = Self {
            leases: Api::namespaced(client, namespace),
            identity: identity.to_owned(),
            clock,
            standing: sender,
            own: None,
            other: None,
            renewed: None,
            warned: false,
        };
        (candidate, Claim { standing })
    }

    /// Tries to lead and to stay leader, until `stop` is ready or leadership is lost. Let `stop` be ready only after the
    /// last write was sent: a Lease given back is free for others at once.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Ended {
        let mut stop = pin!(stop);
        loop {
            let lost = tokio::select! {
                biased;
                () = &mut stop => break,
                lost = self.attempt() => lost,
            };
            if lost {
                self.standing.send_replace(Standing::Waiting { holder: None });
                return Ended::Lost;
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = self.clock.sleep(RETRY) => {}
            }
        }
        self.release().await;
        Ended::Stopped
    }

    /// One attempt to get or renew the Lease. Returns whether leadership was held before and is lost for good.
    async fn attempt(&mut self) -> bool {
        let began = Instant::now();
        let clock = self.clock.clone();
        let outcome = match clock.timeout(RETRY, self.get_or_renew()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Passing("no answer in time".into())),
        };
        match outcome {
            Ok(Outcome::Ours { transitions }) => {
                self.take_note_of_success(began, transitions);
                false
            }
            Ok(Outcome::Theirs { holder }) => {
                if self.renewed.is_some() {
                    tracing::error!(%holder, "leadership lost: another process holds the lease");
                    return true;
                }
                self.say(Standing::Waiting { holder: Some(holder) });
                false
            }
            Err(failure) => self.take_note_of_failure(&failure),
        }
    }

    fn take_note_of_success(&mut self, began: Instant, transitions: i32) {
        if self.renewed.is_none() {
            tracing::info!(identity = %self.identity, transitions, "became leader");
        }
        self.renewed = Some(began);
        self.warned = false;
        self.other = None;
        self.standing.send_replace(Standing::Leading {
            expires: began + CLAIM_DURATION,
            transitions,
        });
    }

    fn take_note_of_failure(&mut self, failure: &Failure) -> bool {
        // The write may have arrived although its answer did not: read before the next one.
        self.own = None;
        let Some(renewed) = self.renewed else {
            self.say(Standing::Failing(failure.to_string()));
            return false;
        };
        let silent = renewed.elapsed();
        if silent >= CLAIM_DURATION {
            tracing::error!(%failure, seconds = silent.as_secs(), "leadership lost: the lease could not be renewed");
            return true;
        }
        if silent >= WARN_AFTER && !self.warned {
            self.warned = true;
            tracing::warn!(%failure, seconds = silent.as_secs(), "cannot renew the lease; leadership ends if this goes on");
        }
        false
    }

    /// Tells where the process stands, and logs it when it is news.
    fn say(&self, standing: Standing) {
        if *self.standing.borrow() == standing {
            return;
        }
        match &standing {
            Standing::Waiting { holder: Some(holder) } => {
                tracing::info!(%holder, "waiting for leadership");
            }
            Standing::Failing(words) => {
                tracing::error!(lease = LEASE_NAME, %words, "cannot take part in leader election");
            }
            _ => {}
        }
        self.standing.send_replace(standing);
    }

    async fn get_or_renew(&mut self) -> Result<Outcome, Failure> {
        if let Some(own) = self.own.take() {
            match self.replace(own, false).await {
                Err(Failure::Conflict) => {}
                outcome => return outcome,
            }
        }
        let Some(lease) = self.leases.get_opt(LEASE_NAME).await.map_err(Failure::from)? else {
            return self.create().await;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        match holder {
            Some(holder) if holder == self.identity => self.replace(lease, false).await,
            Some(holder) if !self.has_expired(&spec) => Ok(Outcome::Theirs { holder }),
            _ => self.replace(lease, true).await,
        }
    }

    /// Whether a foreign Lease has stood unchanged for as long as it holds, by our own clock. What the other's clock says
    /// in it is only compared with what it said before.
    fn has_expired(&mut self, spec: &LeaseSpec) -> bool {
        let since = match &self.other {
            Some((seen, since)) if seen == spec => *since,
            _ => {
                let now = Instant::now();
                self.other = Some((spec.clone(), now));
                now
            }
        };
        let seconds = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        since.elapsed() >= seconds.map_or(LEASE_DURATION, Duration::from_secs)
    }

    async fn create(&mut self) -> Result<Outcome, Failure> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(LEASE_NAME.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(self.spec(None, 0)),
        };
        self.keep(self.leases.create(&PostParams::default(), &lease).await)
    }

    /// Writes our name into the Lease as it was read. `taken`: it was not ours before.
    async fn replace(&mut self, mut lease: Lease, taken: bool) -> Result<Outcome, Failure> {
        let old = lease.spec.take().unwrap_or_default();
        let transitions = old.lease_transitions.unwrap_or(0).saturating_add(i32::from(taken));
        let acquired = old.acquire_time.filter(|_| !taken);
        lease.spec = Some(self.spec(acquired, transitions));
        self.keep(self.leases.replace(LEASE_NAME, &PostParams::default(), &lease).await)
    }

    fn spec(&self, acquired: Option<MicroTime>, transitions: i32) -> LeaseSpec {
        let now = self.now();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: acquired.or_else(|| now.clone()),
            renew_time: now,
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    fn keep(&mut self, written: kube::Result<Lease>) -> Result<Outcome, Failure> {
        let lease = written.map_err(Failure::from)?;
        let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
        self.own = Some(lease);
        Ok(Outcome::Ours { transitions })
    }

    fn now(&self) -> Option<MicroTime> {
        let now = self.clock.now();
        let nanos = i32::try_from(now.timestamp_subsec_nanos()).ok()?;
        Timestamp::new(now.timestamp(), nanos).ok().map(MicroTime)
    }

    /// Gives the Lease back, so that another need not wait for it to run out.
    async fn release(&mut self) {
        self.standing.send_replace(Standing::Waiting { holder: None });
        // Also when it is not known to be held: the answer to the write that got it may still be on its way.
        let clock = self.clock.clone();
        match clock.timeout(RETRY, self.give_back()).await {
            Ok(Ok(true)) => tracing::info!("gave the lease back"),
            Ok(Ok(false)) => {}
            Ok(Err(failure)) => tracing::warn!(%failure, "could not give the lease back; it runs out by itself"),
            Err(_) => tracing::warn!("could not give the lease back in time; it runs out by itself"),
        }
    }

    /// Returns whether it was ours to give.
    async fn give_back(&self) -> Result<bool, Failure> {
        let Some(mut lease) = self.leases.get_opt(LEASE_NAME).await? else {
            return Ok(false);
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            return Ok(false);
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = self.now();
        self.leases.replace(LEASE_NAME, &PostParams::default(), &lease).await?;
        Ok(true)
    }
}

/// Whose the Lease is after an attempt.
enum Outcome {
    Ours { transitions: i32 },
    Theirs { holder: String },
}

/// Why an attempt led to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("somebody else wrote the lease first")]
    Conflict,
    #[error("{0}; leader election needs get, create and update on leases.coordination.k8s.io")]
    Forbidden(String),
    #[error("{0}")]
    Passing(String),
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_forbidden() => Self::Forbidden(status.message),
            // A create that came second is a conflict too.
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Self::Conflict,
            kube::Error::Api(status) if status.is_not_found() => Self::Conflict,
            other => Self::Passing(other.to_string()),
        }
    }
}
