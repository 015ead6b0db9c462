//! The ways to tell a notice other than a Kubernetes Event: alerts and event hooks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::lookup::{Place, References};
use super::settings::Settings;
use super::tell::Channel;
use crate::api::{Alert, Canary};
use crate::clock::Clock;
use crate::hooks::payload::event_calls;
use crate::hooks::{Caller, DEFAULT_TIMEOUT};
use crate::notify::{Audience, Destination, Message, Sender, audience, message};
use crate::outbound::Hidden;
use crate::rollout::Notice;

/// Alerts to chat services: those that the Canary lists, else the controller's own (spec/core.md 2.12).
pub struct Alerts {
    references: References,
    sender: Arc<dyn Sender>,
    global: Option<Destination>,
    cluster_name: Option<String>,
}

impl Alerts {
    /// Alerts through `sender`.
    pub fn new(settings: &Settings, references: References, sender: Arc<dyn Sender>) -> Self {
        Self {
            references,
            sender,
            global: settings.notifier.clone(),
            cluster_name: settings.cluster_name.clone(),
        }
    }

    async fn send(&self, canary: &Canary, alert: &Alert, message: &Message) -> Result<(), String> {
        let place = Place::of(canary, &alert.provider_ref);
        let told = async {
            let provider = self
                .references
                .alert_provider(canary, &place)
                .await
                .map_err(|error| error.to_string())?;
            let secret = match &provider.spec.secret_ref {
                Some(secret) => {
                    let read = self.references.secret(&place.namespace, &secret.name).await;
                    Some(read.map_err(|error| format!("secret {}: {error}", secret.name))?)
                }
                None => None,
            };
            let destination = Destination::of(&provider.spec, secret.as_ref()).map_err(|error| error.to_string())?;
            self.sender
                .send(&destination, message)
                .await
                .map_err(|error| error.to_string())
        };
        told.await.map_err(|cause| format!("alert provider {place}: {cause}"))
    }
}

#[async_trait]
impl Channel for Alerts {
    fn name(&self) -> &'static str {
        "alert"
    }

    async fn tell(&self, canary: &Canary, notice: &Notice) -> Result<(), String> {
        let Some(alert) = &notice.alert else { return Ok(()) };
        let message = message(canary, alert, self.cluster_name.as_deref());
        match (audience(canary, alert.severity), &self.global) {
            (Audience::Global, None) => Ok(()),
            (Audience::Global, Some(destination)) => self
                .sender
                .send(destination, &message)
                .await
                .map_err(|error| error.to_string()),
            (Audience::Own(alerts), _) => {
                let mut problems = Vec::new();
                for alert in alerts {
                    problems.extend(self.send(canary, alert, &message).await.err());
                }
                none_or_all(&problems)
            }
        }
    }
}

/// Event hooks: those of the Canary, else the controller's own (spec/core.md 4.5).
pub struct EventHooks {
    caller: Arc<dyn Caller>,
    global: Option<Hidden>,
    clock: Clock,
}

impl EventHooks {
    /// Event hooks through `caller`.
    pub fn new(settings: &Settings, caller: Arc<dyn Caller>, clock: Clock) -> Self {
        Self {
            caller,
            global: settings.event_webhook.clone(),
            clock,
        }
    }
}

#[async_trait]
impl Channel for EventHooks {
    fn name(&self) -> &'static str {
        "event hook"
    }

    /// A little more than a receiver may take where its hook says nothing else.
    fn patience(&self) -> Option<Duration> {
        Some(DEFAULT_TIMEOUT + Duration::from_secs(5))
    }

    async fn tell(&self, canary: &Canary, notice: &Notice) -> Result<(), String> {
        if !notice.event {
            return Ok(());
        }
        let global = self.global.as_ref().map(Hidden::reveal);
        let mut problems = Vec::new();
        for call in event_calls(canary, notice, self.clock.now(), global) {
            let told = match call {
                Ok(call) => self.caller.call(&call).await,
                Err(error) => Err(error),
            };
            problems.extend(told.err().map(|error| error.to_string()));
        }
        none_or_all(&problems)
    }
}

fn none_or_all(problems: &[String]) -> Result<(), String> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("; "))
    }
}
