//! What a person told this process on its command line, after defaults and environment were applied.
//!
//! `cli` makes one [`Settings`] and nothing changes it afterwards. Every default here is the one of Flagger's flag
//! (spec/core.md 6), unless its line says otherwise.

use crate::notify::Destination;
use crate::outbound::Hidden;
use crate::rollout::Limits;

/// How this process is to behave; the same for every canary.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who this process is, unique among all: the holder of the Lease, and the reporter of Events.
    pub identity: String,
    /// The traffic provider of a Canary that names none. A provider that is not built refuses such Canaries by name.
    pub mesh_provider: String,
    /// The Prometheus server that is asked where neither Canary nor template names one.
    pub metrics_server: String,
    /// The one namespace that is watched; `None`: all of them.
    pub namespace: Option<String>,
    /// The number of passes that may run at the same time. Flagger's default of 2 counts workers of another kind; here it is 16.
    pub threadiness: usize,
    /// How many releases and initialisations may be under way at the same time. Flagger has no such limit.
    pub limits: Limits,
    /// Labels that may tell a target's pods apart, in order of preference.
    pub selector_labels: Vec<String>,
    /// Prefixes of labels and annotations of the Canary that are copied to what Serin creates; `*`: all of them.
    pub include_label_prefix: Vec<String>,
    /// The ingress class of routes that need one.
    pub ingress_class: Option<String>,
    /// The name of the cluster, for alerts.
    pub cluster_name: Option<String>,
    /// Where the alerts of Canaries go that list none.
    pub notifier: Option<Destination>,
    /// Who is sent every event of Canaries that list no `event` hook.
    pub event_webhook: Option<Hidden>,
    /// Whether templates and alert providers of other namespaces are out of bounds.
    pub no_cross_namespace_refs: bool,
    /// Whether the primary reads copies of the configurations that the target reads, and a change of one is a revision. It takes
    /// rights on all `ConfigMap`s and Secrets.
    pub config_tracking: bool,
    /// How one process of several becomes the one that acts.
    pub election: Election,
    /// Whether everything is decided and nothing is written.
    pub observe_only: bool,
}

/// How one process of several becomes the one that acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Election {
    /// It does not ask: a person sees to it that there is only one.
    Off,
    /// It asks with the Lease of this namespace.
    Lease {
        /// The namespace of the Lease.
        namespace: String,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            identity: "serin".into(),
            mesh_provider: "istio".into(),
            metrics_server: "http://prometheus:9090".into(),
            namespace: None,
            threadiness: 16,
            limits: Limits::default(),
            selector_labels: ["app", "name", "app.kubernetes.io/name"].map(String::from).to_vec(),
            include_label_prefix: Vec::new(),
            ingress_class: None,
            cluster_name: None,
            notifier: None,
            event_webhook: None,
            no_cross_namespace_refs: false,
            config_tracking: true,
            election: Election::Off,
            observe_only: false,
        }
    }
}
