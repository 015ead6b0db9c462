//! The `AlertProvider`: a chat service that alerts go to.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;

/// The chat services that Flagger's schema admits.
pub const ALERT_SERVICES: [&str; 5] = ["slack", "msteams", "discord", "rocket", "gchat"];

/// A chat service.
///
/// See spec/core.md 1.6.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "flagger.app",
    version = "v1beta1",
    kind = "AlertProvider",
    plural = "alertproviders",
    singular = "alertprovider",
    doc = "AlertProvider is a chat service that the alerts of a Canary go to.",
    category = "all",
    annotation("helm.sh/resource-policy", "keep"),
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "oneOf" = [{ "required": ["type", "address"] }, { "required": ["type", "secretRef"] }],
    "required" = []
))]
pub struct AlertProviderSpec {
    /// Which service.
    #[schemars(extend("enum" = ALERT_SERVICES))]
    #[serde(rename = "type")]
    pub type_: String,
    /// Channel. Default `general`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Name of the sender. Default `flagger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Address of the hook. It is a secret in itself: never print it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// HTTP proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// A Secret in the provider's namespace with the key `address` and, for some services, `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

impl AlertProviderSpec {
    /// The channel, `general` if none is given.
    pub fn channel(&self) -> &str {
        self.channel.as_deref().filter(|c| !c.is_empty()).unwrap_or("general")
    }

    /// The sender's name, `flagger` if none is given.
    pub fn username(&self) -> &str {
        self.username.as_deref().filter(|u| !u.is_empty()).unwrap_or("flagger")
    }
}
