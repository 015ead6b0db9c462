//! One embedded cluster with the real controller on it, and what a test does and sees there.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use serin::{
    clock::Clock,
    sim::{
        apiserver::{ApiServer, Options},
        world::{
            SimCaller, SimReader, SimSender, World,
            invariants::{Monitor, Violation},
            manifests, route_crds,
            route_shape::SHAPES,
            traffic::Totals,
        },
    },
};

use super::{
    process::{Processes, Recipe},
    setting::{APP, NAMESPACE, Setting},
    story::Story,
};

/// The longest that anything is waited for, in virtual time.
const PATIENCE: TimeDelta = TimeDelta::minutes(40);
/// How often a test looks.
const GLANCE: Duration = Duration::from_millis(200);

/// The group of Serin's own kinds.
const OURS: &str = "flagger.app";

/// Every definition that a cluster may serve. It takes a tenth of a short story to derive them, so it is done once.
static DEFINITIONS: LazyLock<Vec<CustomResourceDefinition>> =
    LazyLock::new(|| serin::api::crd::crds().into_iter().chain(route_crds()).collect());

/// A cluster with everything that acts in it. When it goes, the invariants must have held.
pub struct Stage {
    pub api: ApiServer,
    /// The people who write manifests.
    pub team: kube::Client,
    pub clock: Clock,
    pub world: World,
    /// The metrics server.
    pub numbers: SimReader,
    pub hooks: SimCaller,
    pub chat: SimSender,
    pub serin: Processes,
    pub story: Story,
    monitor: Monitor,
    judged_elsewhere: AtomicBool,
}

impl Stage {
    /// Raises the curtain.
    pub(super) async fn of(setting: Setting) -> Self {
        listen();
        // As fine as a real clock, and finer than what a status keeps.
        let start = DateTime::<Utc>::from_timestamp(1_700_000_000, 123_456_789).expect("a fixed time must be valid");
        let clock = Clock::virtual_at(start);
        let api = ApiServer::new(Options {
            seed: setting.seed,
            watch_delay: Duration::ZERO..=setting.watch_delay,
            clock: clock.clone(),
        });
        for crd in DEFINITIONS.iter() {
            let kind = crd.spec.names.kind.as_str();
            if crd.spec.group == OURS || setting.route_kinds.contains(&kind) {
                api.apply_crd(crd);
            }
        }
        let monitor = Monitor::attach(&api, "serin");
        let story = Story::of(&api);
        let world = World::start(&api, clock.clone(), setting.script, setting.seed);
        let numbers = SimReader::new(world.traffic().clone(), clock.clone());
        let (hooks, chat) = (SimCaller::new(clock.clone()), SimSender::new(clock.clone()));
        let serin = Processes::new(Recipe {
            api: api.clone(),
            clock: clock.clone(),
            settings: setting.settings,
            numbers: numbers.clone(),
            hooks: hooks.clone(),
            chat: chat.clone(),
            fault: setting.fault,
        });
        let team = api.client("team");
        let stage = Self {
            api,
            team,
            clock,
            world,
            numbers,
            hooks,
            chat,
            serin,
            story,
            monitor,
            judged_elsewhere: AtomicBool::default(),
        };
        stage
            .create(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }))
            .await;
        for object in setting.service.iter().chain([&setting.deployment]).chain(&setting.more) {
            stage.create(object).await;
        }
        stage.pass(20).await;
        stage.serin.start();
        if let Some(canary) = &setting.canary {
            stage.create(canary).await;
        }
        stage
    }

    // === what the team does ===

    /// Creates an object.
    pub async fn create(&self, manifest: &Value) {
        manifests::create(&self.team, manifest)
            .await
            .expect("the manifest must be accepted");
    }

    /// Changes an object by a JSON merge patch that also names it.
    pub async fn change(&self, manifest: &Value) {
        manifests::change(&self.team, manifest)
            .await
            .expect("the change must be accepted");
    }

    /// Releases an image.
    pub async fn push(&self, image: &str) {
        self.note(&format!("push {image}"));
        self.change(&manifests::image(NAMESPACE, APP, image)).await;
    }

    /// Changes `spec` of the Canary by a JSON merge patch.
    pub async fn edit_canary(&self, spec: Value) {
        self.note(&format!("edit {spec}"));
        self.change(&canary(&json!({ "spec": spec }))).await;
    }

    /// Changes `spec` of a Deployment by a JSON merge patch.
    pub async fn edit_deployment(&self, name: &str, spec: Value) {
        self.note(&format!("edit {name} {spec}"));
        self.change(&named("apps/v1", "Deployment", name, &json!({ "spec": spec })))
            .await;
    }

    /// Says a word about the revision that is released, by an annotation: its verb, its nonce and what comes behind.
    pub async fn say(&self, verb: &str, rest: &str) {
        self.note(&format!("say {verb} {rest}"));
        let status = self.status();
        let revision = status["lastAppliedSpec"].as_str().unwrap_or_default();
        let annotation = format!("serin.dev/{verb}");
        self.change(&canary(
            &json!({ "metadata": { "annotations": { annotation: format!("{revision}#{rest}") } } }),
        ))
        .await;
    }

    /// Deletes an object.
    pub async fn delete(&self, api_version: &str, kind: &str, name: &str) {
        self.note(&format!("delete {kind} {name}"));
        let api = self.dynamic(api_version, kind);
        api.delete(name, &kube::api::DeleteParams::default())
            .await
            .expect("the deletion must be accepted");
    }

    /// A client for a kind in the stage's namespace.
    pub fn dynamic(&self, api_version: &str, kind: &str) -> kube::Api<kube::api::DynamicObject> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let gvk = kube::core::GroupVersionKind::gvk(group, version, kind);
        kube::Api::namespaced_with(self.team.clone(), NAMESPACE, &kube::core::ApiResource::from_gvk(&gvk))
    }

    // === time ===

    /// Lets time pass.
    pub async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    /// Lets time pass until something holds; fails with the story if it never does.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = self.clock.now() + PATIENCE;
        while !holds(self) {
            assert!(self.clock.now() < end, "never: {what}");
            self.clock.sleep(GLANCE).await;
        }
        self.note(what);
    }

    /// Lets time pass until the Canary is in this phase.
    pub async fn until_phase(&self, phase: &str) {
        self.until(phase, |stage| stage.phase() == phase).await;
    }

    /// Lets time pass until the route gives the canary that much.
    pub async fn until_weight(&self, weight: u64) {
        self.until(&format!("weight {weight}"), |stage| stage.weight() == Some(weight))
            .await;
    }

    /// Lets time pass until the status says that this is being done.
    pub async fn until_stage(&self, name: &str) {
        self.until(name, |stage| stage.told("/serin/stage") == name).await;
    }

    /// Lets time pass until the status gives this reason.
    pub async fn until_reason(&self, reason: &str) {
        self.until(reason, |stage| stage.why("reason") == reason).await;
    }

    // === what is seen ===

    /// One object; null where there is none.
    pub fn object(&self, api_version: &str, kind: &str, name: &str) -> Value {
        self.api.object(api_version, kind, NAMESPACE, name).unwrap_or_default()
    }

    /// The Canary.
    pub fn canary(&self) -> Value {
        self.object("flagger.app/v1beta1", "Canary", APP)
    }

    /// Its status.
    pub fn status(&self) -> Value {
        self.canary()["status"].take()
    }

    /// `status.phase`.
    pub fn phase(&self) -> String {
        self.told("/phase")
    }

    /// A text of `status.serin.why`.
    pub fn why(&self, part: &str) -> String {
        self.told(&format!("/serin/why/{part}"))
    }

    /// A text of the Canary's status, empty where there is none. It is asked for every moment, so nothing is copied for it.
    fn told(&self, pointer: &str) -> String {
        self.api.read(|store| {
            let canary = store.object("flagger.app/v1beta1", "Canary", NAMESPACE, APP);
            let text = canary.and_then(|canary| canary["status"].pointer(pointer)?.as_str());
            text.unwrap_or_default().to_owned()
        })
    }

    /// Status and reason of a condition.
    pub fn condition(&self, type_: &str) -> (String, String) {
        let status = self.status();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == type_)
            .cloned()
            .unwrap_or_default();
        let text = |part: &str| found[part].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"))
    }

    /// The route's share of the canary; none where it does not split.
    pub fn weight(&self) -> Option<u64> {
        SHAPES.iter().find_map(|shape| {
            let route = self.object(shape.api_version, shape.kind, APP);
            shape.weight_in(shape.leading(&route)?, &format!("{APP}-canary"))
        })
    }

    /// A Deployment.
    pub fn deployment(&self, name: &str) -> Value {
        self.object("apps/v1", "Deployment", name)
    }

    /// `spec.replicas` of a Deployment.
    pub fn replicas(&self, name: &str) -> u64 {
        self.deployment(name)["spec"]["replicas"].as_u64().unwrap_or_default()
    }

    /// `status.readyReplicas` of a Deployment.
    pub fn ready(&self, name: &str) -> u64 {
        self.deployment(name)["status"]["readyReplicas"]
            .as_u64()
            .unwrap_or_default()
    }

    /// The image of a Deployment's first container.
    pub fn image(&self, name: &str) -> String {
        self.deployment(name)["spec"]["template"]["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The value of `app` in a Service's selector.
    pub fn selects(&self, service: &str) -> String {
        self.object("v1", "Service", service)["spec"]["selector"]["app"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The texts of the Events so far.
    pub fn events(&self) -> Vec<String> {
        self.story.told().into_iter().map(|told| told.text).collect()
    }

    /// The Events with this text in them.
    pub fn events_with(&self, part: &str) -> usize {
        self.events().iter().filter(|text| text.contains(part)).count()
    }

    /// The alerts so far: severity and text.
    pub fn alerts(&self) -> Vec<(String, String)> {
        let alert = |sent: serin::sim::world::alerts::Sent| (format!("{:?}", sent.message.severity), sent.message.text);
        self.chat.sent().into_iter().map(alert).collect()
    }

    /// The calls to hooks so far: name and phase.
    pub fn hook_calls(&self) -> Vec<(String, String)> {
        let name = |url: &str| url.rsplit('/').next().unwrap_or_default().to_owned();
        let calls = self.hooks.calls().into_iter();
        calls
            .map(|called| (name(called.call.url.reveal()), called.call.body.phase))
            .collect()
    }

    /// The phases that the status went through, with the weights, repetitions left out.
    pub fn phases(&self) -> Vec<(String, u64)> {
        let mut phases: Vec<_> = self
            .story
            .moments()
            .into_iter()
            .map(|it| (it.phase, it.weight))
            .collect();
        phases.dedup();
        phases
    }

    /// What clients got at the route, or at the Service that they call.
    pub fn answers(&self) -> Totals {
        self.world
            .traffic()
            .totals(&(NAMESPACE.to_owned(), APP.to_owned()), self.clock.now())
    }

    /// Writes a line into the story.
    pub fn note(&self, text: &str) {
        self.story.note(self.clock.now(), text);
    }

    /// Every write that was wrong so far.
    #[allow(dead_code, reason = "for tests/schedules, which plays on the same stage")]
    pub fn violations(&self) -> Vec<Violation> {
        self.monitor.violations()
    }

    /// The end of the stage is not to judge: whoever plays on it looks at [`Stage::violations`].
    #[allow(dead_code, reason = "for tests/schedules, which plays on the same stage")]
    pub fn is_judged_elsewhere(&self) {
        self.judged_elsewhere.store(true, Ordering::SeqCst);
    }

    /// Fails, with the story, unless every write was right so far.
    pub fn check(&self) {
        let wrong: Vec<String> = self.monitor.violations().iter().map(ToString::to_string).collect();
        assert!(wrong.is_empty(), "an invariant was broken:\n{}", wrong.join("\n"));
        assert!(self.monitor.judged() > 0, "no write was judged");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.judged_elsewhere.load(Ordering::SeqCst) {
            return;
        }
        if std::thread::panicking() {
            println!("{}", self.story.tell());
        } else {
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.check()));
            if let Err(wrong) = checked {
                println!("{}", self.story.tell());
                std::panic::resume_unwind(wrong);
            }
        }
    }
}

/// The Canary's name around a change of it.
pub fn canary(change: &Value) -> Value {
    named("flagger.app/v1beta1", "Canary", APP, change)
}

/// An object's name around a change of it: a JSON merge patch that says whom it is for.
pub fn named(api_version: &str, kind: &str, name: &str, change: &Value) -> Value {
    let mut whole = change.clone();
    whole["apiVersion"] = api_version.into();
    whole["kind"] = kind.into();
    whole["metadata"]["name"] = name.into();
    whole["metadata"]["namespace"] = NAMESPACE.into();
    whole
}

/// Shows the log of the controller when `RUST_LOG` asks for it.
fn listen() {
    if let Ok(filter) = std::env::var("RUST_LOG") {
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .without_time();
        // Another test of this process may have begun to listen already.
        let _ = log.try_init();
    }
}
