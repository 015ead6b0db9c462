//! Where alerts go: a chat service, an address and what it takes to be let in.

use k8s_openapi::api::core::v1::Secret;

use crate::api::AlertProviderSpec;
use crate::outbound::Hidden;

/// Where a message goes. Its `Debug` shows neither address nor token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The chat service, as `spec.type` names it.
    pub service: String,
    /// Address of the hook.
    pub address: Hidden,
    /// Channel.
    pub channel: String,
    /// The sender's name.
    pub username: String,
    /// HTTP proxy instead of the environment's.
    pub proxy: Option<Hidden>,
    /// Token for services that want one.
    pub token: Option<Hidden>,
}

/// An alert provider describes no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// The Secret has no `address`, or an empty one.
    #[error("secret does not contain an address")]
    NoAddress,
    /// Neither an address nor a Secret is given.
    #[error("neither spec.address nor spec.secretRef is set")]
    Nowhere,
}

impl Destination {
    /// The destination of an alert provider. `secret` is the one in `secretRef`, where that is set: its `address` counts
    /// instead of the spec's, its `token` is optional (`spec/analysis.md` 4.1).
    pub fn of(provider: &AlertProviderSpec, secret: Option<&Secret>) -> Result<Self, DestinationError> {
        let address = match secret {
            Some(secret) => text_in(secret, "address").ok_or(DestinationError::NoAddress)?,
            None => provider
                .address
                .as_deref()
                .and_then(filled)
                .ok_or(DestinationError::Nowhere)?,
        };
        Ok(Self {
            service: provider.type_.clone(),
            address,
            channel: provider.channel().to_owned(),
            username: provider.username().to_owned(),
            proxy: provider.proxy.as_deref().and_then(filled),
            token: secret.and_then(|secret| text_in(secret, "token")),
        })
    }
}

/// One key of a Secret, without the newline that files end in.
fn text_in(secret: &Secret, key: &str) -> Option<Hidden> {
    filled(std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()?)
}

fn filled(text: &str) -> Option<Hidden> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.into())
}
