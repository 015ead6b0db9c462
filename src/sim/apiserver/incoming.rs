//! A request as it comes in: its path, verb, headers and parameters, read into a [`Call`].

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, header, request::Parts};
use serde_json::Value;

use super::{
    Inner,
    call::{Call, Content, Verb},
    delete,
    errors::{FieldError, FieldErrorKind, Refusal},
    path::{Query, ResourcePath, Target},
    resource::Resource,
    state::State,
};
use crate::sim::fault::RequestInfo;

/// A request whose body has been read.
pub(super) struct Incoming {
    pub(super) user: Arc<str>,
    pub(super) parts: Parts,
    pub(super) target: Option<Target>,
    pub(super) query: Query,
    pub(super) body: Bytes,
}

impl Incoming {
    pub(super) fn path(&self) -> ResourcePath {
        match &self.target {
            Some(Target::Resource(path)) => path.clone(),
            _ => ResourcePath::default(),
        }
    }

    pub(super) fn verb(&self) -> Option<Verb> {
        let collection = self.path().name.is_empty();
        Some(match (&self.parts.method, collection) {
            (&Method::GET, true) if self.query.flag("watch") => Verb::Watch,
            (&Method::GET, true) => Verb::List,
            (&Method::GET, false) => Verb::Get,
            (&Method::POST, _) => Verb::Create,
            (&Method::PUT, false) => Verb::Update,
            (&Method::PATCH, false) => Verb::Patch,
            (&Method::DELETE, false) => Verb::Delete,
            (&Method::DELETE, true) => Verb::DeleteCollection,
            _ => return None,
        })
    }

    pub(super) fn info(&self, seq: usize) -> RequestInfo {
        let (path, verb) = (self.path(), self.verb());
        RequestInfo {
            seq,
            user: self.user.to_string(),
            verb: verb.map_or("", Verb::word).to_owned(),
            mutating: verb.is_some_and(Verb::writes) && !is_review(&path),
            group: path.group,
            resource: path.plural,
            subresource: path.subresource,
            namespace: path.namespace,
            name: path.name,
            dry_run: self.query.get("dryRun") == Some("All"),
        }
    }

    pub(super) fn header(&self, name: header::HeaderName) -> &str {
        self.parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// Reads a request to a resource.
pub(super) fn call(server: &Inner, state: &State, incoming: &Incoming, path: &ResourcePath) -> Result<Call, Refusal> {
    let Some(resource) = state.catalogue.find(&path.group, &path.version, &path.plural) else {
        let served = |resource: &Resource| resource.group == path.group && resource.version == path.version;
        let group_served = state.catalogue.all().any(|resource| served(resource));
        return Err(if group_served {
            Refusal::no_such_path()
        } else {
            Refusal::no_such_group()
        });
    };
    let verb = incoming.verb().ok_or_else(Refusal::method_not_allowed)?;
    let misplaced = resource.namespaced && path.namespace.is_empty() && !matches!(verb, Verb::List | Verb::Watch);
    if misplaced || (!resource.namespaced && !path.namespace.is_empty()) {
        return Err(if misplaced && verb == Verb::Create {
            Refusal::method_not_allowed()
        } else {
            Refusal::no_such_path()
        });
    }
    if verb == Verb::Create && !path.name.is_empty() && path.subresource.is_empty() {
        return Err(Refusal::method_not_allowed());
    }
    let subresource = path.subresource.as_str();
    let served = match subresource {
        "" => true,
        "status" => resource.status,
        "scale" => resource.scale.is_some(),
        "finalize" => resource.is("", "namespaces"),
        _ => false,
    };
    if !served {
        return Err(Refusal::no_such_path());
    }
    if !subresource.is_empty() && !matches!(verb, Verb::Get | Verb::Update | Verb::Patch) {
        return Err(Refusal::method_not_allowed());
    }
    check_dry_run(verb, incoming.query.get("dryRun"))?;
    let content_type = incoming
        .header(header::CONTENT_TYPE)
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let mut call = Call {
        user: incoming.user.to_string(),
        user_agent: incoming.header(header::USER_AGENT).to_owned(),
        verb,
        resource: resource.clone(),
        subresource: subresource.to_owned(),
        namespace: path.namespace.clone(),
        name: path.name.clone(),
        query: incoming.query.clone(),
        content_type: content_type.to_owned(),
        metadata_only: incoming.header(header::ACCEPT).contains("as=PartialObjectMetadata"),
        dry_run: incoming.query.get("dryRun") == Some("All"),
        body: Content::Text(incoming.body.clone()),
        now: server.clock().now(),
    };
    if matches!(verb, Verb::Delete | Verb::DeleteCollection) {
        call.dry_run |= delete::Options::of(&call)?.dry_run;
    }
    Ok(call)
}

fn check_dry_run(verb: Verb, mode: Option<&str>) -> Result<(), Refusal> {
    let Some(mode) = mode.filter(|mode| *mode != "All") else {
        return Ok(());
    };
    let options = match verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch => "PatchOptions",
        _ => "DeleteOptions",
    };
    let value = Value::from(vec![mode]);
    let error = FieldError::new(
        "dryRun",
        FieldErrorKind::NotSupported(value),
        "supported values: \"All\"",
    );
    Err(Refusal::invalid("meta.k8s.io", options, "", &[error]))
}

pub(super) fn is_review(path: &ResourcePath) -> bool {
    path.group == "authorization.k8s.io"
}
