//! The controller's flags: Flagger's by name and default (spec/core.md 6), and what they come to.

use std::num::NonZeroU32;

use crate::controller::settings::{Election, Settings};
use crate::notify::Destination;
use crate::outbound::Reach;
use crate::rollout::Limits;
use crate::telemetry::log::{Format, Level};

/// Flagger's flags, and Serin's own. Where the environment names a value, it wins over the flag.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(super) struct Flags {
    /// Path of a kubeconfig; without one: the pod's own account, or what kubectl would use
    #[arg(long, default_value = "")]
    kubeconfig: String,
    /// Address of the API server, instead of the kubeconfig's
    #[arg(long, default_value = "")]
    master: String,
    /// Taken and not used: the API server limits its clients itself
    #[arg(long)]
    kubeconfig_qps: Option<f64>,
    /// Taken and not used, like -kubeconfig-qps
    #[arg(long)]
    kubeconfig_burst: Option<u32>,
    /// Not built yet: a cluster of its own for mesh objects
    #[arg(long, default_value = "")]
    kubeconfig_service_mesh: String,
    /// Prometheus server that is asked where a Canary names none
    #[arg(long, default_value = "http://prometheus:9090")]
    metrics_server: String,
    /// Taken and not used: Serin polls nothing
    #[arg(long)]
    control_loop_interval: Option<String>,
    /// trace, debug, info, warn or error
    #[arg(long, default_value = "debug")]
    log_level: String,
    /// json or console
    #[arg(long, default_value = "json")]
    zap_encoding: String,
    /// Taken and not used
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = boolean)]
    zap_replace_globals: bool,
    /// Port of /metrics, /healthz and /readyz
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Passes that may run at the same time
    #[arg(long, default_value_t = Settings::default().threadiness)]
    threadiness: usize,
    /// Releases and initialisations that may be under way at the same time; 0: no limit
    #[arg(long, default_value_t = most(Settings::default().limits.fleet))]
    max_concurrent: u32,
    /// The same for each namespace
    #[arg(long, default_value_t = most(Settings::default().limits.namespace))]
    max_concurrent_per_namespace: u32,
    /// Watch this namespace only
    #[arg(long, default_value = "")]
    namespace: String,
    /// Traffic provider of Canaries that name none
    #[arg(long, default_value = "istio")]
    mesh_provider: String,
    /// Labels that may tell a target's pods apart
    #[arg(long, default_value = "app,name,app.kubernetes.io/name")]
    selector_labels: String,
    /// Prefixes of labels and annotations that are copied to what Serin creates
    #[arg(long, default_value = "")]
    include_label_prefix: String,
    /// Taken and not used: no provider that is built reads it
    #[arg(long)]
    ingress_annotations_prefix: Option<String>,
    /// Ingress class of routes that need one
    #[arg(long, default_value = "")]
    ingress_class: String,
    /// Give the primary copies of the configurations that the target reads; a change of one is a new revision; on unless this says false
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = boolean)]
    enable_config_tracking: bool,
    /// Let one of several processes act; on unless this says false
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_parser = boolean)]
    enable_leader_election: bool,
    /// Namespace of the Lease; without one: the pod's own
    #[arg(long, default_value = "")]
    leader_election_namespace: String,
    /// Slack hook of Canaries that list no alerts (environment: `SLACK_URL`)
    #[arg(long, default_value = "", hide_default_value = true)]
    slack_url: String,
    /// Token of a Slack bot (environment: `SLACK_TOKEN`)
    #[arg(long, default_value = "", hide_default_value = true)]
    slack_token: String,
    /// Proxy for Slack (environment: `SLACK_PROXY_URL`)
    #[arg(long, default_value = "", hide_default_value = true)]
    slack_proxy_url: String,
    /// Name that alerts carry
    #[arg(long, default_value = "flagger")]
    slack_user: String,
    /// Channel that alerts go to
    #[arg(long, default_value = "")]
    slack_channel: String,
    /// Not built yet (environment: `MSTEAMS_URL`)
    #[arg(long, default_value = "", hide_default_value = true)]
    msteams_url: String,
    /// Not built yet (environment: `MSTEAMS_PROXY_URL`)
    #[arg(long, default_value = "", hide_default_value = true)]
    msteams_proxy_url: String,
    /// Hook that is told every event of Canaries that list no event hook (environment: `EVENT_WEBHOOK_URL`)
    #[arg(long, default_value = "", hide_default_value = true)]
    event_webhook: String,
    /// Name of the cluster, for alerts
    #[arg(long, default_value = "")]
    cluster_name: String,
    /// Refuse templates and alert providers of other namespaces
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = boolean)]
    no_cross_namespace_refs: bool,
    /// Let hooks call link-local addresses and metadata services of clouds
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = boolean)]
    allow_link_local: bool,
    /// Decide everything and write nothing; runs beside Flagger
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_parser = boolean)]
    observe_only: bool,
}

/// Flags that cannot be acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FlagError {
    /// Flagger knows it, Serin does not act on it yet.
    #[error("{flag} is not built yet: {fix}")]
    NotBuilt { flag: &'static str, fix: &'static str },
    /// There is no such log format.
    #[error("-zap-encoding={0} is neither json nor console")]
    Encoding(String),
    /// Nobody says where the Lease is.
    #[error(
        "outside a cluster there is no namespace of the pod: name the one of the leader election's lease with \
         -leader-election-namespace, or turn the election off with -enable-leader-election=false"
    )]
    NoLeaseNamespace,
}

/// What a command line comes to.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub settings: Settings,
    /// What people should know about flags that were given, but do nothing.
    pub notes: Vec<String>,
}

/// A limit as the flag spells it.
fn most(limit: Option<NonZeroU32>) -> u32 {
    limit.map_or(0, NonZeroU32::get)
}

/// A boolean as Go reads it.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("it must be true or false".into()),
    }
}

impl Flags {
    /// `-kubeconfig`.
    pub(super) fn kubeconfig(&self) -> Option<&str> {
        filled(&self.kubeconfig)
    }

    /// `-master`.
    pub(super) fn master(&self) -> Option<&str> {
        filled(&self.master)
    }

    /// `-port`.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// `-allow-link-local`.
    pub(super) const fn reach(&self) -> Reach {
        if self.allow_link_local {
            Reach::Anywhere
        } else {
            Reach::Guarded
        }
    }

    /// `-zap-encoding`.
    pub(super) fn format(&self) -> Result<Format, FlagError> {
        match self.zap_encoding.as_str() {
            "json" => Ok(Format::Json),
            "console" => Ok(Format::Console),
            other => Err(FlagError::Encoding(other.to_owned())),
        }
    }

    /// `-log-level`; an unknown one is `info`, as in Flagger, and the words say so.
    pub(super) fn level(&self) -> (Level, Option<String>) {
        match self.log_level.parse() {
            Ok(level) => (level, None),
            Err(error) => (Level::Info, Some(format!("-log-level: {error}; it is info now"))),
        }
    }

    /// What the flags and the environment come to. `home` is the namespace of the pod, where this process runs in one.
    pub(super) fn outcome(
        &self,
        environment: impl Fn(&str) -> Option<String>,
        identity: String,
        home: Option<&str>,
    ) -> Result<Outcome, FlagError> {
        let chosen = |name: &str, flag: &str| {
            environment(name)
                .as_deref()
                .and_then(filled)
                .or_else(|| filled(flag))
                .map(str::to_owned)
        };
        self.refuse_what_is_not_built(&chosen)?;
        let mut notes = self.notes();
        let notifier = match (chosen("SLACK_URL", &self.slack_url), filled(&self.slack_channel)) {
            (Some(url), Some(channel)) => Some(Destination {
                service: "slack".into(),
                address: url.into(),
                channel: channel.to_owned(),
                username: self.slack_user.clone(),
                proxy: chosen("SLACK_PROXY_URL", &self.slack_proxy_url).map(Into::into),
                token: chosen("SLACK_TOKEN", &self.slack_token).map(Into::into),
            }),
            (Some(_), None) => {
                notes.push("alerts to Slack are off, since -slack-url is set without -slack-channel".into());
                None
            }
            (None, _) => None,
        };
        let settings = Settings {
            identity,
            mesh_provider: self.mesh_provider.clone(),
            metrics_server: self.metrics_server.clone(),
            namespace: filled(&self.namespace).map(str::to_owned),
            threadiness: self.threadiness.max(1),
            limits: Limits {
                fleet: NonZeroU32::new(self.max_concurrent),
                namespace: NonZeroU32::new(self.max_concurrent_per_namespace),
            },
            selector_labels: list(&self.selector_labels),
            include_label_prefix: list(&self.include_label_prefix),
            ingress_class: filled(&self.ingress_class).map(str::to_owned),
            cluster_name: filled(&self.cluster_name).map(str::to_owned),
            notifier,
            event_webhook: chosen("EVENT_WEBHOOK_URL", &self.event_webhook).map(Into::into),
            no_cross_namespace_refs: self.no_cross_namespace_refs,
            config_tracking: self.enable_config_tracking,
            election: self.election(home)?,
            observe_only: self.observe_only,
        };
        Ok(Outcome { settings, notes })
    }

    fn election(&self, home: Option<&str>) -> Result<Election, FlagError> {
        if !self.enable_leader_election || self.observe_only {
            return Ok(Election::Off);
        }
        let namespace = filled(&self.leader_election_namespace)
            .or(home)
            .ok_or(FlagError::NoLeaseNamespace)?;
        Ok(Election::Lease {
            namespace: namespace.to_owned(),
        })
    }

    fn refuse_what_is_not_built(&self, chosen: &impl Fn(&str, &str) -> Option<String>) -> Result<(), FlagError> {
        let not_built = |flag, fix| Err(FlagError::NotBuilt { flag, fix });
        if chosen("MSTEAMS_URL", &self.msteams_url).is_some() {
            return not_built("-msteams-url (or MSTEAMS_URL)", "use -slack-url, or leave it out");
        }
        if chosen("MSTEAMS_PROXY_URL", &self.msteams_proxy_url).is_some() {
            return not_built("-msteams-proxy-url (or MSTEAMS_PROXY_URL)", "leave it out");
        }
        let mesh = filled(&self.kubeconfig_service_mesh);
        if mesh.is_some() && mesh != self.kubeconfig() {
            return not_built(
                "-kubeconfig-service-mesh",
                "mesh objects must be in the cluster of the Canaries",
            );
        }
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let given = [
            (
                self.kubeconfig_qps.is_some(),
                "-kubeconfig-qps does nothing: the API server limits its clients itself",
            ),
            (
                self.kubeconfig_burst.is_some(),
                "-kubeconfig-burst does nothing: the API server limits its clients itself",
            ),
            (
                self.control_loop_interval.is_some(),
                "-control-loop-interval does nothing: Serin polls nothing",
            ),
            (
                self.ingress_annotations_prefix.is_some(),
                "-ingress-annotations-prefix does nothing: no provider that is built reads it",
            ),
        ];
        given
            .into_iter()
            .filter(|(given, _)| *given)
            .map(|(_, note)| note.to_owned())
            .collect()
    }
}

fn filled(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty()).then_some(text)
}

fn list(text: &str) -> Vec<String> {
    text.split(',').filter_map(filled).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser as _;

    use super::super::{Cli, Command, go_flags};
    use super::*;

    fn flags(arguments: &[&str]) -> Flags {
        let arguments = std::iter::once("serin")
            .chain(arguments.iter().copied())
            .map(OsString::from);
        let normalised = go_flags::normalise(arguments).expect("these are texts");
        match Cli::try_parse_from(normalised.arguments)
            .expect("these are flags")
            .command
        {
            Command::Controller(flags) => *flags,
            other => panic!("{other:?}"),
        }
    }

    fn outcome(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Outcome, FlagError> {
        let read = |name: &str| {
            environment
                .iter()
                .find(|(it, _)| *it == name)
                .map(|(_, value)| (*value).to_owned())
        };
        flags(arguments).outcome(read, "me".into(), Some("serin-system"))
    }

    #[test]
    fn what_flaggers_chart_passes_is_understood() {
        let arguments = [
            "-log-level=info",
            "-mesh-provider=contour",
            "-metrics-server=http://prometheus.monitoring:9090",
            "-enable-config-tracking=false",
            "-slack-user=flagger",
            "-ingress-class=internal",
            "-selector-labels=app, name",
            "-include-label-prefix=team.example/",
            "-enable-leader-election=true",
            "-leader-election-namespace=flagger-system",
            "-kubeconfig-qps=100",
            "-no-cross-namespace-refs=true",
            "-threadiness=4",
        ];
        let Outcome { settings, notes } = outcome(&arguments, &[]).expect("all is built");
        assert_eq!(settings.mesh_provider, "contour");
        assert_eq!(settings.selector_labels, ["app", "name"]);
        assert_eq!(
            settings.election,
            Election::Lease {
                namespace: "flagger-system".into()
            }
        );
        assert!(settings.no_cross_namespace_refs && !settings.config_tracking && !settings.observe_only);
        assert_eq!((settings.threadiness, notes.len()), (4, 1));
    }

    #[test]
    fn without_flags_flaggers_defaults_hold() {
        let settings = outcome(&["controller"], &[]).expect("nothing is asked for").settings;
        let defaults = Settings::default();
        assert_eq!(settings.mesh_provider, defaults.mesh_provider);
        assert_eq!(settings.selector_labels, defaults.selector_labels);
        assert_eq!(settings.metrics_server, defaults.metrics_server);
        assert!(settings.config_tracking && defaults.config_tracking);
        assert_eq!(
            settings.election,
            Election::Lease {
                namespace: "serin-system".into()
            }
        );
    }

    #[test]
    fn the_environment_wins_over_the_flag() {
        let arguments = [
            "-slack-url=https://flag",
            "-slack-channel=ops",
            "-event-webhook=https://flag",
        ];
        let environment = [
            ("SLACK_URL", "https://env"),
            ("SLACK_TOKEN", "t"),
            ("EVENT_WEBHOOK_URL", ""),
        ];
        let settings = outcome(&arguments, &environment).expect("all is built").settings;
        let notifier = settings.notifier.expect("there is one");
        assert_eq!(
            (notifier.address.reveal(), notifier.channel.as_str()),
            ("https://env", "ops")
        );
        assert_eq!(settings.event_webhook.expect("there is one").reveal(), "https://flag");
    }

    #[test]
    fn a_flag_that_is_not_built_is_refused_by_name() {
        for (arguments, environment, name) in [
            (vec!["-msteams-url=https://x"], vec![], "-msteams-url"),
            (vec!["controller"], vec![("MSTEAMS_URL", "https://x")], "MSTEAMS_URL"),
            (
                vec!["-kubeconfig-service-mesh=/other"],
                vec![],
                "-kubeconfig-service-mesh",
            ),
        ] {
            let error = outcome(&arguments, &environment)
                .expect_err("it is not built")
                .to_string();
            assert!(error.contains(name) && error.contains("not built yet"), "{error}");
        }
        assert!(outcome(&["-kubeconfig=/a", "-kubeconfig-service-mesh=/a"], &[]).is_ok());
    }

    #[test]
    fn outside_a_cluster_the_lease_needs_a_namespace() {
        let nowhere = |arguments: &[&str]| {
            flags(arguments)
                .outcome(|_| None, "me".into(), None)
                .map(|it| it.settings.election)
        };
        assert_eq!(nowhere(&["controller"]), Err(FlagError::NoLeaseNamespace));
        assert_eq!(nowhere(&["-enable-leader-election=false"]), Ok(Election::Off));
        assert_eq!(nowhere(&["-observe-only"]), Ok(Election::Off));
        let named = nowhere(&["-leader-election-namespace=x"]);
        assert_eq!(named, Ok(Election::Lease { namespace: "x".into() }));
    }

    #[test]
    fn a_slack_url_without_a_channel_is_said() {
        let Outcome { settings, notes } = outcome(&["-slack-url=https://x"], &[]).expect("Flagger starts too");
        assert!(settings.notifier.is_none() && notes.iter().any(|note| note.contains("-slack-channel")));
    }

    #[test]
    fn a_wrong_log_level_is_info_and_said() {
        assert_eq!(flags(&["-log-level=loud"]).level().0, Level::Info);
        assert!(flags(&["-log-level=loud"]).level().1.is_some());
        assert_eq!(flags(&["-log-level=warning"]).level(), (Level::Warn, None));
        assert_eq!(
            flags(&["-zap-encoding=xml"]).format(),
            Err(FlagError::Encoding("xml".into()))
        );
    }
}
