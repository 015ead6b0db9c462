//! What happens in the embedded cluster that nobody asked for: slow pods, broken images, crashes, a router that says no.
//!
//! A script is a list of rules; the last rule that fits wins, so a test can start from the defaults and add to them.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::traffic::Behaviour;

/// Which pods a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pods {
    /// All of them.
    Any,
    /// Those with a container whose image contains this text.
    Image(String),
    /// Those whose name contains this text. A Deployment's pods are named after it, the primary's after `<target>-primary`.
    Named(String),
    /// Those with this label.
    Labelled(String, String),
    /// Those that both speak of.
    Both(Box<Self>, Box<Self>),
}

impl Pods {
    /// Pods with a container whose image contains this text.
    pub fn image(text: impl Into<String>) -> Self {
        Self::Image(text.into())
    }

    /// Pods whose name contains this text.
    pub fn named(text: impl Into<String>) -> Self {
        Self::Named(text.into())
    }

    /// Those of these that `other` speaks of too.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::Both(Box::new(self), Box::new(other))
    }

    fn fits(&self, pod: &Pod) -> bool {
        match self {
            Self::Any => true,
            Self::Image(text) => pod.spec.iter().flat_map(|spec| &spec.containers).any(|container| {
                container
                    .image
                    .as_ref()
                    .is_some_and(|image| image.contains(text.as_str()))
            }),
            Self::Named(text) => pod
                .metadata
                .name
                .as_ref()
                .is_some_and(|name| name.contains(text.as_str())),
            Self::Labelled(key, value) => {
                pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value)
            }
            Self::Both(one, other) => one.fits(pod) && other.fits(pod),
        }
    }
}

/// How a pod's life goes. All spans count from the pod's creation and are the cluster's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Starts, and is ready after this time.
    ReadyAfter(Duration),
    /// Starts and never gets ready.
    NeverReady,
    /// Gets ready, and loses its readiness for good at this age.
    ReadyUntil(Duration),
    /// Gets ready, runs for this long, crashes, and again after a growing back-off.
    CrashesAfter(Duration),
    /// Its image can't be pulled.
    ImagePullBackOff,
}

/// What the data plane makes of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouterSays {
    /// It takes each generation.
    Accepts,
    /// It refuses the route, with these words.
    Rejects(String),
    /// It says nothing at all.
    Silent,
}

/// How long things take where nothing goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long a container takes to start.
    pub start: Duration,
    /// How old a pod is when it gets ready, where no rule says otherwise.
    pub ready: Duration,
    /// How long a pod takes to stop, at most its grace period.
    pub stop: Duration,
    /// How long the endpoints lag behind the pods.
    pub endpoints: Duration,
    /// How long the data plane takes to take over a route.
    pub router: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(1),
            ready: Duration::from_secs(3),
            stop: Duration::from_secs(2),
            endpoints: Duration::ZERO,
            router: Duration::from_millis(300),
        }
    }
}

/// The plot of one embedded cluster.
#[derive(Debug, Clone)]
pub struct Script {
    lives: Vec<(Pods, Life)>,
    routers: Vec<(String, RouterSays)>,
    behaviours: Vec<(String, f64, Behaviour)>,
    load: Vec<String>,
    demands: Vec<(String, i32)>,
    pub(super) matching: f64,
    pub(super) pace: Pace,
    pub(super) slice_size: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            lives: Vec::new(),
            routers: Vec::new(),
            behaviours: Vec::new(),
            load: Vec::new(),
            demands: Vec::new(),
            matching: 0.2,
            pace: Pace::default(),
            slice_size: 100,
        }
    }
}

impl Script {
    /// Sets how long things take.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Sets how many endpoints one `EndpointSlice` holds at most.
    #[must_use]
    pub fn slice_size(mut self, endpoints: usize) -> Self {
        self.slice_size = endpoints;
        self
    }

    /// Adds a rule about the life of pods.
    #[must_use]
    pub fn life(mut self, pods: Pods, life: Life) -> Self {
        self.lives.push((pods, life));
        self
    }

    /// Adds a rule about routes whose name contains this text.
    #[must_use]
    pub fn router(mut self, route: impl Into<String>, says: RouterSays) -> Self {
        self.routers.push((route.into(), says));
        self
    }

    /// A load tester calls this Service all the time, whatever leads there.
    #[must_use]
    pub fn load(mut self, service: impl Into<String>) -> Self {
        self.load.push(service.into());
        self
    }

    /// The metrics of the scaler with this name ask for so many pods; without a word they ask for what there is.
    #[must_use]
    pub fn demand(mut self, scaler: impl Into<String>, pods: i32) -> Self {
        self.demands.push((scaler.into(), pods));
        self
    }

    /// What the metrics of a scaler ask for.
    pub(super) fn demand_on(&self, scaler: &str) -> Option<i32> {
        let rule = self.demands.iter().rev().find(|(name, _)| name == scaler);
        rule.map(|(_, pods)| *pods)
    }

    /// Sets the part of the clients whose requests have the headers that a rule of a route asks for, from 0 to 1.
    #[must_use]
    pub fn matching(mut self, part: f64) -> Self {
        self.matching = part;
        self
    }

    /// Adds a rule about how pods answer whose image contains this text.
    #[must_use]
    pub fn answers(self, image: impl Into<String>, behaviour: Behaviour) -> Self {
        self.answers_under_load(image, 0.0, behaviour)
    }

    /// Adds a rule about how they answer while they have at least this part of all requests, from 0 to 1.
    #[must_use]
    pub fn answers_under_load(mut self, image: impl Into<String>, part: f64, behaviour: Behaviour) -> Self {
        self.behaviours.push((image.into(), part, behaviour));
        self
    }

    /// How the pods of this image answer while they have this part of all requests.
    pub fn behaviour_of(&self, image: &str, part: f64) -> Behaviour {
        let fits = |(text, from, _): &&(String, f64, Behaviour)| image.contains(text.as_str()) && part >= *from;
        self.behaviours
            .iter()
            .rev()
            .find(fits)
            .map_or_else(Behaviour::default, |(_, _, behaviour)| *behaviour)
    }

    /// Whether a load tester calls the Service with this name.
    pub(super) fn tests_by_load(&self, service: &str) -> bool {
        self.load.iter().any(|tested| tested == service)
    }

    /// The life of this pod.
    pub fn life_of(&self, pod: &Pod) -> Life {
        let rule = self.lives.iter().rev().find(|(pods, _)| pods.fits(pod));
        rule.map_or(Life::ReadyAfter(self.pace.ready), |(_, life)| *life)
    }

    /// What the data plane makes of the route with this name.
    pub fn router_says(&self, route: &str) -> &RouterSays {
        let rule = self
            .routers
            .iter()
            .rev()
            .find(|(name, _)| route.contains(name.as_str()));
        rule.map_or(&RouterSays::Accepts, |(_, says)| says)
    }
}
