//! The loop around the core: the only code that reads and writes the cluster.
//!
//! ```text
//! watch, caches, shelves, overlay    what the API server has, reduced to what some Canary names, with our writes laid over
//!   kept, text, projection, interest   how little of an object is read on arrival, and held
//! queue, work                        which canary is due; as many passes at once as allowed, never two of one
//! pass                               look, decide, write the status, draw, tell
//!   site, observe, ownership         the objects of a canary, and what of them decisions need
//!   status, record                   the status, written first
//!   apply, draw, write               what its assertions still need
//!   contest, obstacle                rivals and refusals
//!   slots                            how many may work at once
//! jobs, asking, lookup, credentials  questions to the outside world, beside the passes
//! tell, lanes, channels, warn           what people are told
//! leader, guard, rights, settings    who may act, whether the cluster lets it, and how
//! ```

mod ailing;
mod apply;
pub mod asking;
mod before;
mod caches;
pub mod channels;
pub(crate) mod configs;
mod contest;
mod copies;
mod credentials;
mod draw;
pub mod guard;
mod held;
mod interest;
pub mod jobs;
mod kept;
mod lanes;
pub mod leader;
mod lenient;
mod look;
pub mod lookup;
pub(crate) mod meta;
pub(crate) mod observe;
mod obstacle;
mod overlay;
mod ownership;
mod pass;
mod preconditions;
mod preflight;
pub(crate) mod projection;
mod queue;
mod record;
mod references;
mod referred;
mod resource;
pub mod rights;
mod say;
mod scalers;
pub mod settings;
mod shelf;
mod shelves;
mod site;
mod slots;
mod status;
pub mod tell;
mod text;
mod versions;
mod warn;
mod watch;
mod work;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{Notify, watch as signal};
use tokio::task::JoinSet;

use self::asking::Inquirer;
use self::caches::Caches;
use self::channels::{Alerts, EventHooks};
use self::credentials::WithCredentials;
use self::held::Holder;
use self::interest::{NamedAfter, RouteKind};
use self::jobs::Jobs;
use self::leader::Claim;
use self::look::Look;
use self::lookup::References;
use self::pass::Engine;
use self::queue::Queue;
use self::resource::{CanaryKey, Resource};
use self::settings::Settings;
use self::site::{Rules, destination_resource, route_resource};
use self::slots::Slots;
use self::tell::Teller;
use self::versions::Versions;
use self::watch::Watches;
use self::write::Writer;
use crate::api::Canary;
use crate::clock::Clock;
use crate::metrics::SourceError;
use crate::routing::ROUTERS;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

/// Metrics that are read at the same time, over all canaries.
const METRICS_AT_ONCE: usize = 64;
/// How long passes and messages may take to end when the process stops.
const FAREWELL: Duration = Duration::from_secs(10);

/// The outside world, as the controller talks to it.
#[derive(Clone)]
pub struct Outside {
    /// Asks metrics servers.
    pub metrics: Arc<dyn crate::metrics::Reader>,
    /// Calls hooks.
    pub hooks: Arc<dyn crate::hooks::Caller>,
    /// Sends alerts.
    pub alerts: Arc<dyn crate::notify::Sender>,
}

/// How the process is seen from outside.
#[derive(Clone)]
pub struct Vitals {
    /// Serin's own metrics.
    pub metrics: Metrics,
    /// Whether it works, and may be relied on.
    pub health: Health,
}

impl Vitals {
    /// Those of a controller with these settings. Whoever acts counts its releases; what an observer imagines of them is shown to nobody.
    fn of(self, settings: &Settings, clock: &Clock) -> Self {
        if !settings.observe_only {
            return self;
        }
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), &settings.mesh_provider, clock.clone());
        Self { metrics, ..self }
    }
}

/// Why the controller could not begin, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The API server does not tell its version.
    #[error("cannot ask the API server for its version: {0}")]
    Version(#[source] kube::Error),
    /// The address of the metrics server is unusable.
    #[error("-metrics-server: {0}")]
    MetricsServer(#[from] SourceError),
    /// The CRD of Canary was replaced by one that does not know our part of the status, so no step can be remembered.
    #[error("the API server pruned status.serin: the CRD of Canary is not Serin's any more; install crds/ again")]
    Pruned,
}

/// Runs the controller until `stop` is ready. Caches are filled at once; nothing is written before `claim` is held.
///
/// `client` must not retry by itself: a write that is sent twice, or late, is not what was decided.
///
/// # Errors
/// Something that is needed to begin is not to be had. Once it runs, it ends by itself only for [`StartError::Pruned`].
pub async fn run(
    client: Client,
    settings: Settings,
    outside: Outside,
    vitals: Vitals,
    clock: Clock,
    mut claim: Claim,
    stop: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let vitals = vitals.of(&settings, &clock);
    let started = clock.now();
    let versions = Versions::ask(&client).await.map_err(StartError::Version)?;
    let queue = Arc::new(Queue::new(clock.clone()));
    let caches = Arc::new(Caches::new(
        clock.clone(),
        queue.clone(),
        route_kinds().collect(),
        settings.config_tracking,
    ));
    let wanted = Arc::new(Notify::new());
    let look = Look {
        client: client.clone(),
        clock: clock.clone(),
        caches: caches.clone(),
        wanted: wanted.clone(),
    };
    let writer = Writer {
        client: client.clone(),
        clock: clock.clone(),
        claim: claim.clone(),
        caches: caches.clone(),
        observe_only: settings.observe_only,
    };
    let references = References::new(client.clone(), caches.clone(), settings.no_cross_namespace_refs);
    let jobs = jobs(&settings, &references, &outside, &vitals, &clock, &queue)?;
    let teller = teller(&writer, &settings, &references, &outside, &vitals);
    let engine = Arc::new(Engine {
        look,
        writer,
        caches: caches.clone(),
        rules: rules(&settings),
        jobs,
        teller: teller.clone(),
        metrics: vitals.metrics.clone(),
        holder: Holder::default(),
        slots: Slots::new(settings.limits, queue.clone()),
        pruned: Notify::new(),
        versions,
        started,
    });

    let mut tasks = JoinSet::new();
    let begin = async {
        let watches = Watches {
            caches: caches.clone(),
            clock: clock.clone(),
            namespace: settings.namespace.clone(),
            wanted,
            health: vitals.health.clone(),
        };
        vitals
            .health
            .condition("caches", Err("the first lists have not ended".into()));
        watches.start(&client, &mut tasks).await;
        watches.say_whether_complete();
        tasks.spawn({
            let (queue, pulse) = (queue.clone(), vitals.health.pulse("timers", work::STUCK));
            async move {
                let _pulse = pulse;
                queue.run_timers().await;
            }
        });
        claim.held().await;
        // Whoever worked before this process came works on, and who waited keeps the place.
        engine.slots.fill(&caches.canaries());
        caches.wake_all();
    };
    let mut stop = std::pin::pin!(stop);
    tokio::select! {
        biased;
        () = &mut stop => {
            vitals.health.stopping();
            return Ok(());
        }
        () = begin => {}
    }
    let (stopping, stopped) = signal::channel(false);
    let mut workers = work::start(settings.threadiness, &queue, &engine, &vitals.health, &stopped);
    let pruned = tokio::select! {
        biased;
        () = &mut stop => false,
        () = engine.pruned.notified() => true,
    };
    if pruned {
        vitals.health.waiting("cluster", &StartError::Pruned.to_string());
    } else {
        vitals.health.stopping();
    }
    stopping.send_replace(true);
    // Passes that run come to their end, so that no write is cut off; what they announced is told.
    let farewell = async {
        while workers.join_next().await.is_some() {}
        teller.idle().await;
    };
    if clock.timeout(FAREWELL, farewell).await.is_err() {
        tracing::warn!("some work had not ended in time; the next process goes on with it");
    }
    if pruned { Err(StartError::Pruned) } else { Ok(()) }
}

/// The kinds that the providers draw.
fn route_kinds() -> impl Iterator<Item = RouteKind> {
    ROUTERS.iter().flat_map(|router| {
        let route = RouteKind {
            resource: route_resource(router.meta()),
            named_after: NamedAfter::Apex,
        };
        let destinations = router.destinations().map(|it| RouteKind {
            resource: destination_resource(it.meta()),
            named_after: NamedAfter::Sides,
        });
        [route].into_iter().chain(destinations)
    })
}

/// The kinds that are watched, for checking what this process may do: group, version and plural of each, and whether it is a
/// route that need not be served.
pub fn watched() -> Vec<(&'static str, &'static str, &'static str, bool)> {
    let routes = route_kinds().map(|kind| (kind.resource, true));
    let fixed = Resource::ALWAYS.into_iter().map(|resource| (resource, false));
    fixed
        .chain([(Resource::SCALER, true)])
        .chain(routes)
        .map(|(it, optional)| (it.group, it.version, it.plural, optional))
        .collect()
}

fn rules(settings: &Settings) -> Rules {
    Rules {
        provider: settings.mesh_provider.clone(),
        workload: crate::workload::Settings {
            selector_labels: settings.selector_labels.clone(),
            include_label_prefixes: settings.include_label_prefix.clone(),
        },
        routing: crate::routing::Settings {
            ingress_class: settings.ingress_class.clone(),
        },
        no_cross_namespace_refs: settings.no_cross_namespace_refs,
        config_tracking: settings.config_tracking,
    }
}

fn jobs(
    settings: &Settings,
    references: &References,
    outside: &Outside,
    vitals: &Vitals,
    clock: &Clock,
    queue: &Arc<Queue>,
) -> Result<Jobs, SourceError> {
    let reader = outside.metrics.clone();
    let caller = Arc::new(WithCredentials::new(outside.hooks.clone(), references.clone()));
    let metrics = vitals.metrics.clone();
    let inquirer = Inquirer::new(settings, references.clone(), caller, reader, metrics, clock.clone())?;
    let wake = {
        let queue = queue.clone();
        move |canary: &Canary| queue.add(&CanaryKey::of(canary))
    };
    Ok(Jobs::new(
        Arc::new(inquirer),
        Arc::new(wake),
        clock.clone(),
        METRICS_AT_ONCE,
    ))
}

fn teller(writer: &Writer, settings: &Settings, references: &References, outside: &Outside, vitals: &Vitals) -> Teller {
    let clock = &writer.clock;
    if settings.observe_only {
        return Teller::silent(clock.clone());
    }
    let alerts = Alerts::new(settings, references.clone(), outside.alerts.clone());
    let caller = Arc::new(WithCredentials::new(outside.hooks.clone(), references.clone()));
    let hooks = EventHooks::new(settings, caller, clock.clone());
    Teller::new(
        writer.client.clone(),
        writer.claim.clone(),
        vec![Arc::new(alerts), Arc::new(hooks)],
        vitals.metrics.clone(),
        clock.clone(),
    )
}
