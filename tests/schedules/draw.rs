//! What a seed stands for: a spec, what is wrong with its images, and a script of what happens to it.

use std::time::Duration;

use super::dice::Dice;

/// The images of the application.
pub const IMAGES: [&str; 4] = ["app:1", "app:2", "app:3", "app:4"];

/// Everything about one run.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice by itself")]
pub struct Schedule {
    /// Seeds the cluster too.
    pub seed: u64,
    /// The traffic provider.
    pub provider: &'static str,
    /// How a revision is tried.
    pub strategy: Strategy,
    /// The pods that the target's scaler allows, where it has one.
    pub scaler: Option<(u64, u64)>,
    /// The patience with each gate in seconds, and what then.
    pub gate_timeout: Option<(u64, &'static str)>,
    /// The target's strategy is `Recreate`.
    pub recreate: bool,
    /// The target's replicas.
    pub replicas: u64,
    /// `stepWeights`.
    pub steps: Vec<u64>,
    /// `stepWeightPromotion`.
    pub promotion_step: Option<u64>,
    /// `threshold`.
    pub threshold: u64,
    /// Hooks: type and name.
    pub hooks: Vec<(&'static str, &'static str)>,
    /// `revertOnDeletion`.
    pub reverts: bool,
    /// The longest that a watch event is late.
    pub watch_delay: Duration,
    /// Two processes with a Lease between them.
    pub elected: bool,
    /// The script begins when the application was taken over, not while it is.
    pub from_rest: bool,
    /// How the images of [`IMAGES`] behave, but for the first, which is well.
    pub natures: [Nature; 4],
    /// Another application is beside it, and only one of them may release or be taken over at a time.
    pub beside: bool,
    /// What happens, and how long after what happened before.
    pub script: Vec<(Duration, Event)>,
}

/// How a revision is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// By weights.
    Weights,
    /// By weights, after a step with copies.
    MirroredFirst,
    /// By weights, with cookies.
    Sticky,
    /// By requests of testers.
    Testers(u64),
    /// By nobody, so many times.
    Iterations(u64),
    /// By copies, so many times.
    Mirrored(u64),
}

/// How an image behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// As it should.
    Well,
    /// It answers one request in five with a server error.
    Errors,
    /// Its pods never get ready.
    NeverReady,
    /// It cannot be pulled.
    NoImage,
    /// Its pods take long to get ready.
    Slow,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The team releases an image.
    Push(&'static str),
    /// The team releases an image of the other application.
    Beside(&'static str),
    /// The pods of a Deployment are deleted.
    DeletePods(&'static str),
    /// A person scales a Deployment.
    Scale(&'static str, u64),
    /// A person or a tool gives the route other weights.
    EditRoute(u64),
    /// A tool points the apex Service at the target.
    EditApex,
    /// A Service is deleted.
    DeleteService(&'static str),
    /// `spec.suspend`.
    Suspend(bool),
    /// `spec.skipAnalysis`.
    Skip(bool),
    /// A hook answers no, late, or not at all.
    Hook(&'static str, Answer),
    /// A person says a word about what is released: its verb, and what comes behind the nonce.
    Say(&'static str, &'static str),
    /// The load of a side asks for so many pods.
    Demand(&'static str, i32),
    /// Prometheus is down, or up again.
    MetricsDown(bool),
    /// The process is killed, and started again after this time.
    Kill(Duration),
    /// The process is stopped in good order, and started again.
    Restart(Duration),
    /// From now on so many of a hundred requests fail, are lost behind their effect, or are late.
    Faults(u64),
    /// The team deletes the target, and creates it anew after this time.
    DeleteTarget(Duration),
    /// The team deletes the Canary, and creates it anew after this time.
    DeleteCanary(Duration),
}

/// What a hook does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Yes after this many seconds.
    Late(u64),
    /// Nothing.
    Nothing,
}

impl Event {
    /// Whether it takes pods, or the road to them, without asking Serin.
    pub const fn is_hostile(&self) -> bool {
        matches!(
            self,
            Self::DeletePods(_)
                | Self::Scale(..)
                | Self::EditRoute(_)
                | Self::EditApex
                | Self::DeleteService(_)
                | Self::DeleteTarget(_)
                | Self::DeleteCanary(_)
        )
    }
}

impl Schedule {
    /// The schedule of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let d = &mut dice;
        let steps = d.one(&[vec![50], vec![20, 40, 60], vec![10, 100], vec![30, 60], vec![1, 99]]);
        let hooks = hooks(d);
        let natures = [Nature::Well, nature(d), nature(d), nature(d)];
        let mut schedule = Self {
            seed,
            provider: "gatewayapi:v1",
            strategy: Strategy::Weights,
            scaler: d.percent(25).then(|| (d.from(1, 4), d.from(4, 8))),
            gate_timeout: d
                .percent(30)
                .then(|| (d.from(5, 90), d.one(&["hold", "rollback", "approve"]))),
            recreate: d.percent(25),
            replicas: d.from(1, 5),
            steps,
            promotion_step: d.percent(30).then(|| d.one(&[10, 50])),
            threshold: d.from(1, 4),
            hooks,
            reverts: d.percent(30),
            watch_delay: d.one(&[0, 500, 5_000].map(Duration::from_millis)),
            elected: d.percent(20),
            from_rest: d.percent(80),
            natures,
            beside: false,
            script: Vec::new(),
        };
        (schedule.provider, schedule.strategy) = means(d);
        let hostile = d.percent(60);
        for _ in 0..d.from(1, 9) {
            let after = Duration::from_millis(d.one(&[500, 3_000, 12_000, 40_000, 90_000]) * d.from(1, 100) / 100);
            let event = schedule.event(d, hostile);
            schedule.script.push((after, event));
        }
        // Drawn last: what seeds stood for before goes on.
        schedule.beside = d.percent(30);
        for _ in 0..if schedule.beside { d.from(1, 4) } else { 0 } {
            let place = usize::try_from(d.from(0, 100)).unwrap_or(0) * (schedule.script.len() + 1) / 100;
            let after = Duration::from_millis(d.from(0, 20_000));
            schedule.script.insert(place, (after, Event::Beside(d.one(&IMAGES))));
        }
        schedule
    }

    fn event(&self, d: &mut Dice, hostile: bool) -> Event {
        let push = Event::Push(d.one(&IMAGES));
        let side = d.one(&["app", "app-primary"]);
        let seconds = Duration::from_secs(d.from(0, 30));
        // What fits nowhere is a push: nearly half of everything.
        match d.from(0, 100) {
            28..36 => {
                let (verb, rest) = d.one(&[
                    ("pause", ""),
                    ("resume", ""),
                    ("promote", ""),
                    ("promote-full", ""),
                    ("abort", ""),
                    ("retry", ""),
                    ("approve", ""),
                    ("reject", ""),
                    ("goto", ",35"),
                    ("goto", ",0"),
                ]);
                Event::Say(verb, rest)
            }
            36..40 if self.scaler.is_some() => Event::Demand(side, d.one(&[1, 3, 7])),
            40..45 => Event::Suspend(d.percent(50)),
            45..49 => Event::Skip(d.percent(50)),
            49..57 if !self.hooks.is_empty() => {
                let (_, name) = d.one(&self.hooks);
                let answer = d.one(&[
                    Answer::Yes,
                    Answer::No,
                    Answer::Late(5),
                    Answer::Late(40),
                    Answer::Nothing,
                ]);
                Event::Hook(name, answer)
            }
            57..62 => Event::MetricsDown(d.percent(60)),
            62..70 => Event::Kill(seconds),
            70..73 => Event::Restart(seconds),
            73..80 => Event::Faults(d.one(&[0, 5, 20, 50])),
            80..85 if hostile => Event::DeletePods(side),
            85..88 if hostile => Event::Scale(side, d.from(0, 6)),
            88..92 if hostile => Event::EditRoute(d.one(&[0, 33, 100])),
            92..94 if hostile => Event::EditApex,
            94..96 if hostile => Event::DeleteService(d.one(&["app", "app-primary", "app-canary"])),
            96..98 if hostile => Event::DeleteTarget(seconds),
            98..100 if hostile => Event::DeleteCanary(seconds),
            _ => push,
        }
    }
}

/// A provider, and a strategy that it can do.
fn means(d: &mut Dice) -> (&'static str, Strategy) {
    let provider = d.one(&[
        "gatewayapi:v1",
        "gatewayapi:v1",
        "contour",
        "contour",
        "istio",
        "kubernetes",
    ]);
    let count = d.from(1, 4);
    let mut strategies = vec![Strategy::Iterations(count)];
    if provider != "kubernetes" {
        strategies.extend([Strategy::Weights; 4]);
        strategies.extend([
            Strategy::Testers(count),
            Strategy::Mirrored(count),
            Strategy::MirroredFirst,
        ]);
    }
    if matches!(provider, "gatewayapi:v1" | "istio") {
        strategies.push(Strategy::Sticky);
    }
    (provider, d.one(&strategies))
}

fn nature(d: &mut Dice) -> Nature {
    match d.from(0, 100) {
        0..60 => Nature::Well,
        60..78 => Nature::Errors,
        78..86 => Nature::NeverReady,
        86..92 => Nature::NoImage,
        _ => Nature::Slow,
    }
}

fn hooks(d: &mut Dice) -> Vec<(&'static str, &'static str)> {
    let all = [
        ("confirm-rollout", "gate-start"),
        ("pre-rollout", "before"),
        ("rollout", "load"),
        ("confirm-traffic-increase", "gate-traffic"),
        ("confirm-promotion", "gate-promotion"),
        ("post-rollout", "after"),
        ("rollback", "button"),
    ];
    let any = d.percent(50);
    all.into_iter().filter(|_| any && d.percent(40)).collect()
}
