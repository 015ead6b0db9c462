//! How one question is asked: which hook is called with what, which servers are read, and what the answer comes to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::jobs::{Asker, Inquiry, unanswered, unread};
use super::lookup::{LookupError, Place, References};
use super::resource::CanaryKey;
use super::settings::Settings;
use crate::api::{Canary, HookType, Metric, TemplateRef, Webhook};
use crate::clock::Clock;
use crate::hooks::{Caller, HookCall, HookError};
use crate::metrics::{Check, PlanError, Reader, Source, SourceError, Template, check, probe, server_of};
use crate::rollout::{Question, Says};
use crate::telemetry::metrics::Metrics;

/// The longest wait between two tries of a hook (spec/core.md 4.2).
const HOOK_WAIT: Duration = Duration::from_secs(30);

/// What comes on top of a question's own limits before it is given up from outside.
const GRACE: Duration = Duration::from_secs(10);

/// The most that one metric or the probe of all servers may take.
const READ_LIMIT: Duration = Duration::from_mins(1);

/// Asks hooks and metrics servers.
pub struct Inquirer {
    references: References,
    caller: Arc<dyn Caller>,
    reader: Arc<dyn Reader>,
    server: Source,
    mesh_provider: String,
    metrics: Metrics,
    clock: Clock,
    /// Hooks are not called: whoever acts here calls them.
    observe_only: bool,
}

impl Inquirer {
    /// Asks hooks through `caller` and metrics servers through `reader`.
    ///
    /// # Errors
    /// The address in `-metrics-server` is not one that can be asked.
    pub fn new(
        settings: &Settings,
        references: References,
        caller: Arc<dyn Caller>,
        reader: Arc<dyn Reader>,
        metrics: Metrics,
        clock: Clock,
    ) -> Result<Self, SourceError> {
        let server = Source::prometheus(&settings.metrics_server)?;
        let mesh_provider = settings.mesh_provider.clone();
        Ok(Self {
            references,
            caller,
            reader,
            server,
            mesh_provider,
            metrics,
            clock,
            observe_only: settings.observe_only,
        })
    }

    async fn call(&self, inquiry: &Inquiry, phase: &str) -> Says {
        let Some(hook) = inquiry.hook() else {
            return Says::Refused("the hook is not in the spec any more".into());
        };
        if self.observe_only {
            return would_call(&inquiry.canary, hook);
        }
        let call = match HookCall::of(&inquiry.canary, hook, phase, &inquiry.idempotency_key()) {
            Ok(call) => call,
            Err(error) => return Says::Unasked(error.to_string()),
        };
        let tries = call.retries + 1;
        let one = call.timeout.saturating_add(HOOK_WAIT);
        let limit = one.saturating_mul(tries).saturating_add(GRACE);
        match self.clock.timeout(limit, self.caller.call(&call)).await {
            Ok(Ok(())) => Says::Passed,
            Ok(Err(HookError::Refused(words))) => Says::Refused(words),
            Ok(Err(error)) => Says::Unasked(error.to_string()),
            Err(_) => Says::Unasked(format!("no answer within {} s", limit.as_secs())),
        }
    }

    async fn read(&self, inquiry: &Inquiry) -> Says {
        let canary = &*inquiry.canary;
        let Some(metric) = inquiry.metric() else {
            return unanswered(inquiry, "the metric is not in the spec any more");
        };
        let server = server_of(canary, &self.server);
        let judged = check(&*self.reader, &self.plan(canary, metric, &server).await).await;
        if let (Some(value), Some(namespace), Some(name)) =
            (judged.value, &canary.metadata.namespace, &canary.metadata.name)
        {
            self.metrics.judged(namespace, name, &metric.name, value);
        }
        Says::Metric(judged)
    }

    async fn probe(&self, canary: &Canary) -> Says {
        let server = server_of(canary, &self.server);
        let mut checks = Vec::new();
        for metric in canary.spec.analysis.iter().flat_map(|analysis| &analysis.metrics) {
            checks.push(self.plan(canary, metric, &server).await);
        }
        match probe(&*self.reader, &checks).await {
            Ok(()) => Says::Passed,
            Err(cause) => Says::Refused(cause),
        }
    }

    async fn plan<'a>(
        &'a self,
        canary: &'a Canary,
        metric: &'a Metric,
        server: &'a Result<Source, PlanError>,
    ) -> Check<'a> {
        let template = match &metric.template_ref {
            Some(reference) => self.resolve(canary, reference).await.map(Some),
            None => Ok(None),
        };
        Check {
            canary,
            metric,
            provider: canary.spec.provider_or(&self.mesh_provider),
            server,
            template,
        }
    }

    async fn resolve(&self, canary: &Canary, reference: &TemplateRef) -> Result<Template, PlanError> {
        let place = Place::of(canary, reference);
        let template = self
            .references
            .template(canary, &place)
            .await
            .map_err(|error| match error {
                LookupError::Unknown(cause) => PlanError::Unknown {
                    template: place.to_string(),
                    cause,
                },
                error => PlanError::Template {
                    template: place.to_string(),
                    cause: error.to_string(),
                },
            })?;
        let provider = &template.spec.provider;
        let secret =
            match &provider.secret_ref {
                Some(secret) => Some(self.references.secret(&place.namespace, &secret.name).await.map_err(
                    |error| {
                        let (template, secret) = (place.to_string(), secret.name.clone());
                        match error {
                            LookupError::Unknown(cause) => PlanError::Unknown { template, cause },
                            error => PlanError::Secret {
                                template,
                                secret,
                                cause: error.to_string(),
                            },
                        }
                    },
                )?),
                None => None,
            };
        let source = Source::of_template(provider, secret.as_ref()).map_err(|cause| PlanError::Provider {
            template: place.to_string(),
            kind: provider.type_.clone(),
            cause,
        })?;
        Ok(Template {
            query: template.spec.query.clone(),
            source,
        })
    }
}

/// What a hook is taken to have answered where nobody may call it: go on.
fn would_call(canary: &Canary, hook: &Webhook) -> Says {
    let (name, kind) = (&hook.name, hook.type_());
    tracing::info!(canary = %CanaryKey::of(canary), "would call {kind} hook {name}");
    if kind == HookType::Rollback {
        Says::Refused("it was not asked (--observe-only)".to_owned())
    } else {
        Says::Passed
    }
}

#[async_trait]
impl Asker for Inquirer {
    async fn ask(&self, inquiry: &Inquiry) -> Says {
        let late = || unread(inquiry, &format!("no answer within {} s", READ_LIMIT.as_secs()));
        match &inquiry.question {
            Question::Hook { phase, .. } => self.call(inquiry, phase).await,
            Question::Metric { .. } => {
                let read = self.clock.timeout(READ_LIMIT, self.read(inquiry)).await;
                read.unwrap_or_else(|_| late())
            }
            Question::Probe => {
                let probed = self.clock.timeout(READ_LIMIT, self.probe(&inquiry.canary)).await;
                probed.unwrap_or_else(|_| late())
            }
        }
    }
}
