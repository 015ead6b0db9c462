//! Controller processes on the stage: started, stopped, killed, and started again by the cluster.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serin::{
    clock::Clock,
    controller::{
        self, Outside, StartError, Vitals,
        leader::{Candidate, Claim},
        settings::{Election, Settings},
    },
    sim::{
        apiserver::ApiServer,
        fault::{Action, Failure, Fault, RequestInfo},
        world::{SimCaller, SimReader, SimSender},
    },
    telemetry::{health::Health, metrics::Metrics},
};
use tokio::{sync::oneshot, task::JoinHandle};

use super::line::Line;

/// How long the cluster takes to start a process anew.
const RESTART: Duration = Duration::from_secs(3);

/// What a process is made of, the same for each start.
#[derive(Clone)]
pub struct Recipe {
    pub api: ApiServer,
    pub clock: Clock,
    pub settings: Settings,
    pub numbers: SimReader,
    pub hooks: SimCaller,
    pub chat: SimSender,
    pub fault: Arc<dyn Fault>,
}

/// One running controller.
pub struct Process {
    pub metrics: Metrics,
    line: Line,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Process {
    /// Starts one. Its user name tells it from others; all of them begin with `serin`.
    pub fn start(recipe: &Recipe, name: &str) -> Self {
        let line = Line::default();
        let client = recipe.api.client_with(name, line.with(recipe.fault.clone()));
        let mut settings = recipe.settings.clone();
        name.clone_into(&mut settings.identity);
        let metrics = Metrics::new("test", &settings.mesh_provider, recipe.clock.clone());
        let health = Health::default();
        let vitals = Vitals {
            metrics: metrics.clone(),
            health,
        };
        let outside = Outside {
            metrics: Arc::new(line.before(recipe.numbers.clone())),
            hooks: Arc::new(line.before(recipe.hooks.clone())),
            alerts: Arc::new(line.before(recipe.chat.clone())),
        };
        let clock = recipe.clock.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let mut stopped = pin!(stopped);
            // A process that could not begin is started again.
            while live(
                client.clone(),
                &settings,
                outside.clone(),
                vitals.clone(),
                clock.clone(),
                &mut stopped,
            )
            .await
            .is_err()
            {
                clock.sleep(RESTART).await;
            }
        });
        Self {
            metrics,
            line,
            stop: Some(stop),
            task,
        }
    }

    /// Ends it in good order, as SIGTERM does.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // A process that ended by itself needs no word.
            let _ = stop.send(());
        }
        (&mut self.task).await.expect("a controller must not panic");
        self.line.cut();
    }

    /// Ends it like SIGKILL: nothing of it goes on.
    pub fn kill(&self) {
        self.line.cut();
        self.task.abort();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `serin controller` does with the parts of one process.
async fn live(
    client: kube::Client,
    settings: &Settings,
    outside: Outside,
    vitals: Vitals,
    clock: Clock,
    stopped: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let (election, settings) = (settings.election.clone(), settings.clone());
    match election {
        Election::Off => controller::run(client, settings, outside, vitals, clock, Claim::permanent(), stopped).await,
        Election::Lease { namespace } => {
            let (candidate, claim) = Candidate::new(client.clone(), &namespace, &settings.identity, clock.clone());
            let (over, ended) = oneshot::channel::<()>();
            let work = controller::run(client, settings, outside, vitals, clock, claim, stopped);
            let mut election = pin!(candidate.run(async { ended.await.unwrap_or_default() }));
            tokio::select! {
                biased;
                outcome = work => {
                    // The Lease is given back when the last write is out.
                    over.send(()).ok();
                    election.await;
                    outcome
                }
                _ = &mut election => Ok(()),
            }
        }
    }
}

/// The processes of a stage, and the cluster's habit of starting a dead one again.
#[derive(Clone)]
pub struct Processes {
    recipe: Recipe,
    running: Arc<Mutex<Vec<Process>>>,
    started: Arc<Mutex<usize>>,
}

impl Processes {
    pub fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            running: Arc::default(),
            started: Arc::default(),
        }
    }

    /// Changes how the next one is started.
    pub fn settings(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.recipe.settings);
    }

    /// Starts another one.
    pub fn start(&self) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        *started += 1;
        let process = Process::start(&self.recipe, &format!("serin-{started}"));
        self.with(|running| running.push(process));
    }

    /// Kills all.
    pub fn kill(&self) {
        self.with(Vec::clear);
    }

    /// Stops all in good order.
    pub async fn stop(&self) {
        for process in self.with(std::mem::take) {
            process.stop().await;
        }
    }

    /// Looks at the one that was started last.
    pub fn last<T>(&self, look: impl FnOnce(&Process) -> T) -> T {
        self.with(|running| look(running.last().expect("a controller must be running")))
    }

    /// Kills all now; the cluster starts one again after a moment.
    fn crash(&self) {
        self.kill();
        let (processes, clock) = (self.clone(), self.recipe.clock.clone());
        tokio::spawn(async move {
            clock.sleep(RESTART).await;
            processes.start();
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut Vec<Process>) -> T) -> T {
        look(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where a scenario is disturbed, and how. It counts the calls of the controller from the moment it is armed.
pub struct Mishap {
    nth: usize,
    how: How,
    seen: Mutex<Option<Vec<RequestInfo>>>,
    hit: Mutex<Option<String>>,
    processes: Mutex<Option<Processes>>,
    reads_fail: AtomicBool,
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Nothing: the calls are counted.
    Counted,
    /// It fails before it takes effect.
    FailsBefore,
    /// It takes effect, and its answer is lost.
    FailsAfter,
    /// It takes effect later than the next event is seen.
    IsDelayed,
    /// The process dies before it takes effect.
    KillsBefore,
    /// It takes effect, and the process dies before it hears of it.
    KillsAfter,
}

impl Mishap {
    pub fn new(nth: usize, how: How) -> Arc<Self> {
        Arc::new(Self {
            nth,
            how,
            seen: Mutex::default(),
            hit: Mutex::default(),
            processes: Mutex::default(),
            reads_fail: AtomicBool::default(),
        })
    }

    /// Counts from now on.
    pub fn arm(&self, processes: &Processes) {
        *self.processes.lock().unwrap_or_else(PoisonError::into_inner) = Some(processes.clone());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// The play is over. The processes know their calls' fault and the fault its processes: neither would ever be freed.
    pub fn disarm(&self) {
        *self.processes.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// From now on every read answers 500, or none does.
    pub fn reads_fail(&self, fail: bool) {
        self.reads_fail.store(fail, Ordering::SeqCst);
    }

    /// How many calls came since.
    pub fn calls(&self) -> usize {
        self.requests().len()
    }

    /// The calls that came since, in order.
    pub fn requests(&self) -> Vec<RequestInfo> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone().unwrap_or_default()
    }

    /// The call that it happened to.
    pub fn hit(&self) -> Option<String> {
        self.hit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this is the one.
    fn strikes(&self, request: &RequestInfo) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = seen.as_mut() else { return false };
        seen.push(request.clone());
        self.how != How::Counted && seen.len() == self.nth + 1
    }

    fn crash(&self) {
        if let Some(processes) = &*self.processes.lock().unwrap_or_else(PoisonError::into_inner) {
            processes.crash();
        }
    }
}

impl Fault for Mishap {
    fn on_request(&self, request: &RequestInfo) -> Action {
        if !request.mutating && self.reads_fail.load(Ordering::SeqCst) {
            return Action::FailBefore(Failure::InternalError);
        }
        if !self.strikes(request) {
            return Action::Pass;
        }
        let RequestInfo {
            verb,
            resource,
            subresource,
            name,
            dry_run,
            ..
        } = request;
        let words = format!("{verb} {resource}/{name} {subresource} dry run: {dry_run}");
        *self.hit.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
        match self.how {
            How::Counted => Action::Pass,
            How::FailsBefore => Action::FailBefore(Failure::InternalError),
            How::FailsAfter => Action::FailAfter(Failure::ConnectionReset),
            // The next event of a watch comes within 5 s.
            How::IsDelayed => Action::Delay(Duration::from_secs(7)),
            How::KillsBefore => {
                self.crash();
                Action::FailBefore(Failure::ConnectionReset)
            }
            How::KillsAfter => {
                self.crash();
                Action::FailAfter(Failure::ConnectionReset)
            }
        }
    }
}
