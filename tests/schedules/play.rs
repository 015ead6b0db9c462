//! Plays a schedule on the embedded cluster, lets it come to rest, and says what was wrong.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use serin::{
    controller::settings::Election,
    sim::{
        apiserver::AuditEntry,
        world::{
            hooks::HookSays,
            manifests,
            script::{Life, Pods, Script},
            traffic::Behaviour,
        },
    },
};

use super::{
    chaos::Chaos,
    draw::{Answer, Event, IMAGES, Nature, Schedule, Strategy},
    end,
};
use crate::embedded::{
    setting::{APP, NAMESPACE, Setting, hook},
    stage::{Stage, canary, named},
};

/// How long calm may take to bring rest: every deadline of these specs several times over.
const LONGEST: TimeDelta = TimeDelta::minutes(25);
/// How long the caches of a process may be behind what happened, and it cannot know.
const BLIND: TimeDelta = TimeDelta::seconds(8);

/// The other application, where there is one.
pub const BESIDE: &str = "basket";

/// How a schedule went.
#[derive(Debug, Default)]
pub struct Played {
    /// What was wrong; nothing, if it went as it should.
    pub wrong: Vec<String>,
    /// Every write, for people.
    pub story: String,
    /// Every request to the API server, in order.
    pub requests: Vec<AuditEntry>,
}

/// Plays it in a runtime of its own, whose time is virtual.
pub fn play(schedule: &Schedule) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime must start");
    runtime.block_on(Player::new(schedule).play())
}

struct Player<'a> {
    schedule: &'a Schedule,
    chaos: Arc<Chaos>,
    /// When something happened that Serin may not have seen yet.
    blows: Vec<DateTime<Utc>>,
}

impl<'a> Player<'a> {
    fn new(schedule: &'a Schedule) -> Self {
        Self {
            schedule,
            chaos: Chaos::new(schedule.seed),
            blows: Vec::new(),
        }
    }

    fn setting(&self) -> Setting {
        let it = self.schedule;
        let mut analysis = json!({ "stepWeight": Value::Null, "maxWeight": Value::Null, "threshold": it.threshold });
        json_patch::merge(&mut analysis, &strategy(it));
        if let (Some(step), Some(_)) = (it.promotion_step, analysis.get("stepWeights")) {
            analysis["stepWeightPromotion"] = step.into();
        }
        let hooks = it.hooks.iter().map(|(kind, name)| {
            let mut hook = hook(kind, name);
            if let (Some((seconds, then)), true) = (it.gate_timeout, kind.starts_with("confirm")) {
                hook["gateTimeout"] = format!("{seconds}s").into();
                hook["onTimeout"] = then.into();
            }
            hook
        });
        analysis["webhooks"] = hooks.collect();
        let mut deployment = json!({ "replicas": it.replicas });
        if it.recreate {
            deployment["strategy"] = json!({ "type": "Recreate" });
        }
        let elected = it.elected;
        let mut setting = Setting::with_provider(it.provider);
        if let Some((least, most)) = it.scaler {
            let bounds = [least, most].map(|pods| u32::try_from(pods).unwrap_or(1));
            setting = setting
                .object(manifests::autoscaler(NAMESPACE, APP, bounds[0], bounds[1]))
                .spec(&json!({ "autoscalerRef": { "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": APP } }));
        }
        if it.beside {
            setting = beside(setting, it.provider);
        }
        setting
            .seed(it.seed)
            .watch_delay(it.watch_delay)
            .analysis(&analysis)
            .spec(&json!({ "revertOnDeletion": it.reverts }))
            .deployment(&deployment)
            .script(|script| {
                let script = it.natures.into_iter().zip(IMAGES).fold(script, given);
                match it.strategy {
                    // Where no client comes to the canary, the team's own load does.
                    Strategy::Testers(_) | Strategy::Iterations(_) => script.load("app-canary"),
                    _ => script,
                }
            })
            .settings(|settings| {
                if elected {
                    settings.election = Election::Lease {
                        namespace: NAMESPACE.into(),
                    };
                }
            })
            .fault(self.chaos.clone())
    }

    async fn play(mut self) -> Played {
        let setting = self.setting();
        let (deployment, born) = setting.objects();
        let stage = setting.raise().await;
        stage.is_judged_elsewhere();
        stage.hooks.answer("/button", [HookSays::No(String::new())]);
        if self.schedule.elected {
            stage.serin.start();
        }
        if self.schedule.from_rest {
            stage.until_phase("Initialized").await;
        }
        for (after, event) in &self.schedule.script {
            stage.clock.sleep(*after).await;
            stage.note(&format!("{event:?}"));
            if event.is_hostile()
                || matches!(
                    event,
                    Event::Push(_) | Event::Beside(_) | Event::Skip(_) | Event::Faults(_)
                )
            {
                self.blows.push(stage.clock.now());
            }
            self.happen(&stage, event, &born, &deployment).await;
        }
        self.calm(&stage, &born, &deployment).await;
        let rested = rest(&stage).await;
        let before = stage.answers().lost;
        stage.pass(60).await;
        let mut wrong = self.violations(&stage);
        if rested {
            wrong.extend(end::wrong(self.schedule, &stage, stage.answers().lost - before));
        } else {
            let (at, reason) = (stage.status()["serin"]["stage"].clone(), stage.why("message"));
            wrong.push(format!("calm brought no rest: {at} ({reason})"));
        }
        Played {
            wrong,
            story: stage.story.tell(),
            requests: stage.api.audit(),
        }
    }

    /// Broken invariants, without what nobody can see coming: a pod that is gone for less time than the caches are behind.
    fn violations(&self, stage: &Stage) -> Vec<String> {
        let blind = |at: DateTime<Utc>| self.blows.iter().any(|blow| *blow <= at && at - *blow < BLIND);
        let violations = stage.violations().into_iter();
        violations
            .filter(|it| !(it.what.starts_with('2') || it.what.contains("pods stay ready")) || !blind(it.at))
            .map(|it| it.to_string())
            .collect()
    }

    async fn happen(&self, stage: &Stage, event: &Event, born: &Value, deployment: &Value) {
        match event {
            Event::Push(image) => attempt(stage, &manifests::image(NAMESPACE, APP, image)).await,
            Event::Beside(image) => attempt(stage, &manifests::image(NAMESPACE, BESIDE, image)).await,
            Event::DeletePods(of) => delete_pods(stage, of).await,
            Event::Scale(name, replicas) => {
                let spec = json!({ "spec": { "replicas": replicas } });
                attempt(stage, &named("apps/v1", "Deployment", name, &spec)).await;
            }
            Event::EditRoute(weight) => edit_route(stage, *weight).await,
            Event::EditApex => {
                let spec = json!({ "spec": { "selector": { "app": APP } } });
                attempt(stage, &named("v1", "Service", APP, &spec)).await;
            }
            Event::DeleteService(name) => remove(stage, "v1", "Service", name).await,
            Event::Suspend(on) => attempt(stage, &canary(&json!({ "spec": { "suspend": on } }))).await,
            Event::Skip(on) => attempt(stage, &canary(&json!({ "spec": { "skipAnalysis": on } }))).await,
            Event::Say(verb, rest) => {
                let nonce = stage.clock.now().timestamp_millis();
                say(stage, verb, &format!("{nonce}{rest}")).await;
            }
            Event::Demand(scaler, pods) => stage.world.change(|script| script.demand(*scaler, *pods)),
            Event::Hook(name, answer) => stage.hooks.answer(format!("/{name}"), [says(*answer)]),
            Event::MetricsDown(down) => stage.numbers.unreachable(down.then_some("connection refused")),
            Event::Kill(wait) => {
                stage.serin.kill();
                stage.clock.sleep(*wait).await;
                stage.serin.start();
            }
            Event::Restart(wait) => {
                stage.serin.stop().await;
                stage.clock.sleep(*wait).await;
                stage.serin.start();
            }
            Event::Faults(percent) => self.chaos.set(*percent),
            Event::DeleteTarget(wait) => {
                remove(stage, "apps/v1", "Deployment", APP).await;
                stage.clock.sleep(*wait).await;
                put(stage, deployment).await;
            }
            Event::DeleteCanary(wait) => {
                remove(stage, "flagger.app/v1beta1", "Canary", APP).await;
                stage.clock.sleep(*wait).await;
                put(stage, born).await;
            }
        }
    }

    /// From now on everything is well.
    async fn calm(&self, stage: &Stage, born: &Value, deployment: &Value) {
        stage.note("calm");
        self.chaos.set(0);
        stage.numbers.unreachable(None);
        stage.hooks.answer("/", [HookSays::Yes]);
        stage.hooks.answer("/button", [HookSays::No(String::new())]);
        stage.world.change(|script| {
            let script = script.life(Pods::Any, Life::ReadyAfter(Duration::from_secs(3)));
            script.answers("app:", Behaviour::default())
        });
        attempt(stage, &canary(&json!({ "spec": { "suspend": false } }))).await;
        if self
            .schedule
            .script
            .iter()
            .any(|(_, event)| matches!(event, Event::Say(..)))
        {
            // A pause may be heard only now.
            stage.pass(30).await;
            say(stage, "resume", "calm").await;
        }
        put(stage, deployment).await;
        put(stage, born).await;
        if stage.canary()["metadata"]["deletionTimestamp"].is_string() {
            // It is on its way out; the next one comes behind it.
            let end = stage.clock.now() + LONGEST;
            while stage.canary()["metadata"]["deletionTimestamp"].is_string() && stage.clock.now() < end {
                stage.pass(1).await;
            }
            put(stage, born).await;
        }
    }
}

/// Another application beside the first, with one slot for both.
fn beside(setting: Setting, provider: &str) -> Setting {
    let analysis = if provider == "kubernetes" {
        json!({ "interval": "10s", "threshold": 2, "iterations": 2 })
    } else {
        manifests::analysis("10s", 2, 60, 20)
    };
    setting
        .beside(BESIDE, 2, provider, &analysis)
        .settings(|settings| settings.limits.fleet = NonZeroU32::new(1))
}

/// Lets time pass until all Canaries have rested for a while; false if they do not.
async fn rest(stage: &Stage) -> bool {
    let end = stage.clock.now() + LONGEST;
    let mut quiet = 0;
    let mut before = (stage.canary()["metadata"]["resourceVersion"].clone(), 0);
    while stage.clock.now() < end {
        stage.pass(5).await;
        let now = (
            stage.canary()["metadata"]["resourceVersion"].clone(),
            stage.story.writes_of_serin(),
        );
        let canaries = stage.api.objects("flagger.app/v1beta1", "Canary", NAMESPACE);
        let rests = before == now && canaries.iter().all(|it| it["status"]["serin"]["stage"] == "Resting");
        quiet = if rests { quiet + 1 } else { 0 };
        before = now;
        // Longer than any hook that was asked before the calm may still be answering.
        if quiet >= 24 {
            return true;
        }
    }
    false
}

/// How a revision is tried, as part of an analysis.
fn strategy(schedule: &Schedule) -> Value {
    let steps = &schedule.steps;
    match schedule.strategy {
        Strategy::Weights => json!({ "stepWeights": steps }),
        Strategy::MirroredFirst => json!({ "stepWeights": steps, "mirror": true, "mirrorWeight": 50 }),
        Strategy::Sticky => json!({
            "stepWeights": steps, "sessionAffinity": { "cookieName": "side", "primaryCookieName": "home" },
        }),
        Strategy::Testers(count) => json!({
            "iterations": count, "match": [{ "headers": { "x-user": { "exact": "tester" } } }],
        }),
        Strategy::Iterations(count) => json!({ "iterations": count }),
        Strategy::Mirrored(count) => json!({ "iterations": count, "mirror": true, "mirrorWeight": 50 }),
    }
}

/// A person's word about the revision that the status names.
async fn say(stage: &Stage, verb: &str, rest: &str) {
    let status = stage.status();
    let revision = status["lastAppliedSpec"].as_str().unwrap_or_default();
    let annotation = format!("serin.dev/{verb}");
    let word = json!({ "metadata": { "annotations": { annotation: format!("{revision}#{rest}") } } });
    attempt(stage, &canary(&word)).await;
}

fn given(script: Script, (nature, image): (Nature, &str)) -> Script {
    let bad = Behaviour {
        success: 80.0,
        latency: 120.0,
    };
    match nature {
        Nature::Well => script,
        Nature::Errors => script.answers(image, bad),
        Nature::NeverReady => script.life(Pods::image(image), Life::NeverReady),
        Nature::NoImage => script.life(Pods::image(image), Life::ImagePullBackOff),
        Nature::Slow => script.life(Pods::image(image), Life::ReadyAfter(Duration::from_secs(25))),
    }
}

const fn says(answer: Answer) -> HookSays {
    match answer {
        Answer::Yes => HookSays::Yes,
        Answer::No => HookSays::No(String::new()),
        Answer::Late(seconds) => HookSays::YesAfter(Duration::from_secs(seconds)),
        Answer::Nothing => HookSays::Nothing,
    }
}

/// A change that may come too late: what it names may be gone.
async fn attempt(stage: &Stage, manifest: &Value) {
    if let Err(error) = manifests::change(&stage.team, manifest).await {
        stage.note(&format!("not done: {error}"));
    }
}

/// Creates it where it is not there.
async fn put(stage: &Stage, manifest: &Value) {
    // It mostly exists, and then nothing is to be done.
    let _ = manifests::create(&stage.team, manifest).await;
}

async fn remove(stage: &Stage, api_version: &str, kind: &str, name: &str) {
    let api = stage.dynamic(api_version, kind);
    if let Err(error) = api.delete(name, &kube::api::DeleteParams::default()).await {
        stage.note(&format!("not done: {error}"));
    }
}

async fn delete_pods(stage: &Stage, of: &str) {
    for pod in stage.api.objects("v1", "Pod", NAMESPACE) {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        if pod["metadata"]["labels"]["app"] == of {
            remove(stage, "v1", "Pod", name).await;
        }
    }
}

async fn edit_route(stage: &Stage, weight: u64) {
    for (api_version, kind, rules, backends) in [
        ("gateway.networking.k8s.io/v1", "HTTPRoute", "rules", "backendRefs"),
        ("projectcontour.io/v1", "HTTPProxy", "routes", "services"),
    ] {
        let mut route = stage.object(api_version, kind, APP);
        if route.is_null() {
            continue;
        }
        for rule in route["spec"][rules].as_array_mut().into_iter().flatten() {
            for backend in rule[backends].as_array_mut().into_iter().flatten() {
                let is_canary = backend["name"].as_str().is_some_and(|name| name.ends_with("-canary"));
                backend["weight"] = if is_canary { weight } else { 100 - weight }.into();
            }
        }
        let spec = json!({ "spec": { rules: route["spec"][rules] } });
        attempt(stage, &named(api_version, kind, APP, &spec)).await;
    }
}
