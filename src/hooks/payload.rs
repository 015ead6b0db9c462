//! What a hook is sent: the JSON body and, for event hooks, the calls that one notice makes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Credentials, DEFAULT_TIMEOUT, HookCall, HookError, SecretNames, checksum};
use crate::api::{Canary, HookType};
use crate::rollout::Notice;

/// The body of every call (`spec/core.md` 4.1). Its keys come in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// Name of the Canary.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Where the release stands.
    pub phase: String,
    /// See [`checksum()`].
    pub checksum: String,
    /// `metadata` of the hook; for an event, also what happened.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Payload {
    /// The body for this canary as its status stands.
    pub fn of(canary: &Canary, phase: &str, metadata: BTreeMap<String, String>) -> Self {
        let status = canary.status.as_ref();
        let tracked = status.and_then(|status| status.tracked_configs.as_ref());
        let applied = status.and_then(|status| status.last_applied_spec.as_deref());
        Self {
            name: canary.metadata.name.clone().unwrap_or_default(),
            namespace: canary.metadata.namespace.clone().unwrap_or_default(),
            phase: phase.to_owned(),
            checksum: checksum(tracked, applied.unwrap_or_default()),
            metadata,
        }
    }
}

/// The calls that tell one notice: every hook of type `event`, or, where the canary has none, the controller's own
/// receiver at `global` (10 s, no retries). One hook that cannot be called does not keep the others from being told.
pub fn event_calls(
    canary: &Canary,
    notice: &Notice,
    at: DateTime<Utc>,
    global: Option<&str>,
) -> Vec<Result<HookCall, HookError>> {
    let body = |own: &BTreeMap<String, String>| Payload::of(canary, &notice.phase, event_metadata(own, notice, at));
    let key = |place: &str| {
        let uid = canary.metadata.uid.as_deref().unwrap_or_default();
        format!("{uid}/{}/{place}", notice.id)
    };
    let webhooks = canary
        .spec
        .analysis
        .as_ref()
        .map(|analysis| analysis.webhooks.as_slice())
        .unwrap_or_default();
    let own = webhooks
        .iter()
        .enumerate()
        .filter(|(_, hook)| hook.type_() == HookType::Event);
    let own: Vec<_> = own
        .map(|(place, hook)| HookCall::with_body(hook, body(&hook.metadata), &key(&place.to_string())))
        .collect();
    if !own.is_empty() {
        return own;
    }
    let global = global.filter(|url| !url.is_empty()).map(|url| {
        Ok(HookCall {
            url: url.into(),
            timeout: DEFAULT_TIMEOUT,
            retries: 0,
            insecure_skip_verify: false,
            body: body(&BTreeMap::new()),
            idempotency_key: key("events"),
            secrets: SecretNames::default(),
            credentials: Credentials::default(),
        })
    });
    global.into_iter().collect()
}

/// The hook's own metadata and three keys that it cannot take.
fn event_metadata(own: &BTreeMap<String, String>, notice: &Notice, at: DateTime<Utc>) -> BTreeMap<String, String> {
    let mut metadata = own.clone();
    let kind = if notice.warning { "Warning" } else { "Normal" };
    metadata.insert("eventMessage".to_owned(), notice.text.clone());
    metadata.insert("eventType".to_owned(), kind.to_owned());
    metadata.insert("timestamp".to_owned(), at.timestamp_millis().to_string());
    metadata
}
