//! One request to a resource, read and checked as far as no object is needed.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{errors::Refusal, path::Query, resource::Resource, store::Key};

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

/// What a request carries.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Text, as it came over a connection.
    Text(Bytes),
    /// A document of a sender within the process.
    Document(Value),
}

/// A request to a resource.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) user: String,
    pub(super) user_agent: String,
    pub(super) verb: Verb,
    pub(super) resource: Arc<Resource>,
    /// Empty for the object itself.
    pub(super) subresource: String,
    pub(super) namespace: String,
    /// Empty for collections and for creates.
    pub(super) name: String,
    pub(super) query: Query,
    /// Media type of the body, without parameters.
    pub(super) content_type: String,
    /// Whether the client wants metadata only (`as=PartialObjectMetadata`).
    pub(super) metadata_only: bool,
    pub(super) dry_run: bool,
    pub(super) body: Content,
    pub(super) now: DateTime<Utc>,
}

/// How a request treats fields that the kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl Verb {
    /// The word that RBAC and audit use.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    pub(super) fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

impl Content {
    /// The text, for people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Self::Document(document) => document.to_string(),
        }
    }
}

impl Call {
    /// A call that the server makes itself, for its background work.
    pub(super) fn internal(user: &str, verb: Verb, resource: &Arc<Resource>, key: &Key, now: DateTime<Utc>) -> Self {
        Self {
            user: user.to_owned(),
            user_agent: String::new(),
            verb,
            resource: resource.clone(),
            subresource: String::new(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            query: Query::default(),
            content_type: "application/json".to_owned(),
            metadata_only: false,
            dry_run: false,
            body: Content::Text(Bytes::new()),
            now,
        }
    }

    pub(super) fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }

    /// The field manager: the parameter, or else the name of the user agent, or else, unlike the real server, the user.
    pub(super) fn manager(&self) -> &str {
        let agent = self.user_agent.split('/').next().filter(|name| !name.is_empty());
        self.query.get("fieldManager").or(agent).unwrap_or(&self.user)
    }

    pub(super) fn field_validation(&self) -> Result<FieldValidation, Refusal> {
        match self.query.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => Err(Refusal::bad_request(format!("unknown field validation {other:?}"))),
        }
    }

    /// The body as JSON; YAML is read as well.
    pub(super) fn document(&self) -> Result<Value, Refusal> {
        let text = match &self.body {
            Content::Text(text) => text,
            Content::Document(document) => return Ok(document.clone()),
        };
        serde_json::from_slice(text).or_else(|json_error| {
            let text = String::from_utf8_lossy(text);
            if self.content_type.ends_with("yaml") {
                serde_saphyr::from_str(&text)
                    .map_err(|error| Refusal::bad_request(format!("error decoding YAML: {error}")))
            } else {
                Err(Refusal::bad_request(format!("error decoding JSON: {json_error}")))
            }
        })
    }

    /// An object in the form that the client asked for, as JSON text.
    pub(super) fn text(&self, object: &Value) -> String {
        if self.metadata_only || self.resource.api_version() != self.resource.storage_version {
            self.present(object).to_string()
        } else {
            object.to_string()
        }
    }

    /// An object in the form that the client asked for.
    pub(super) fn present(&self, object: &Value) -> Value {
        let mut shown = if self.metadata_only {
            json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"],
            })
        } else {
            object.clone()
        };
        if !self.metadata_only && object["apiVersion"] == *self.resource.storage_version {
            shown["apiVersion"] = self.resource.api_version().into();
        }
        shown
    }
}
