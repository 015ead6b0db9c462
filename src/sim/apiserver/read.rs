//! GET of one object and of collections: selectors, pages, and lists of an earlier state.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    call::{Call, Verb},
    errors::{FieldError, FieldErrorKind, Refusal},
    path::Query,
    selector::Selector,
    state::State,
    store::Key,
};

/// The `resourceVersion` that a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revision {
    /// None given: the newest state.
    Latest,
    /// `0`: any state will do.
    Any,
    At(u64),
}

/// Where the next page starts.
struct Page {
    /// Of which state it is; none: of the newest, whatever the pages before were of.
    revision: Option<u64>,
    after: Key,
}

const EXPIRED: &str = "The resourceVersion for the provided list is too old.";

const EXPIRED_PAGE: &str = "The provided continue parameter is too old to display a consistent list result. You can \
                            start a new list without the continue parameter, or use the continue token in this \
                            response to retrieve the remainder of the results. Continuing with the provided token \
                            results in an inconsistent list - objects that were created, modified, or deleted between \
                            the time the first chunk was returned and now may show up in the list.";

impl Revision {
    pub(super) fn of(query: &Query) -> Result<Self, Refusal> {
        match query.get("resourceVersion") {
            None => Ok(Self::Latest),
            Some("0") => Ok(Self::Any),
            Some(text) => text.parse().map(Self::At).map_err(|_| {
                let why = format!("Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
                Refusal::bad_request(format!("invalid resource version: resourceVersion: {why}"))
            }),
        }
    }
}

/// Checks the parameters of a list or a watch that only make sense together.
pub(super) fn check_options(call: &Call) -> Result<(), Refusal> {
    let (watching, initial) = (call.verb == Verb::Watch, call.query.flag("sendInitialEvents"));
    let (rule, version) = (
        call.query.get("resourceVersionMatch"),
        call.query.get("resourceVersion"),
    );
    let wrong = match rule {
        None if watching && initial => "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        Some(other) if !matches!(other, "Exact" | "NotOlderThan") => {
            let kind = FieldErrorKind::NotSupported(other.into());
            let detail = "supported values: \"Exact\", \"NotOlderThan\", \"\"";
            return Err(options_error(FieldError::new("resourceVersionMatch", kind, detail)));
        }
        Some(_) if watching && !initial => {
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        }
        Some("Exact") if watching => "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        Some(_) if !watching && version.is_none() => {
            "resourceVersionMatch is forbidden unless resourceVersion is provided"
        }
        Some("Exact") if version == Some("0") => {
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""
        }
        _ => return Ok(()),
    };
    Err(options_error(FieldError::forbidden("resourceVersionMatch", wrong)))
}

fn options_error(error: FieldError) -> Refusal {
    Refusal::invalid("meta.k8s.io", "ListOptions", "", &[error])
}

/// GET of one object.
pub(super) fn get(state: &State, call: &Call) -> Result<Value, Refusal> {
    if let Revision::At(revision) = Revision::of(&call.query)? {
        reached(state, revision)?;
    }
    let object = state
        .current(call)
        .ok_or_else(|| Refusal::not_found(&call.resource, &call.name))?;
    Ok(call.present(&object))
}

/// GET of a collection.
pub(super) fn list(state: &State, call: &Call) -> Result<Value, Refusal> {
    let selector = Selector::of(&call.query, &call.resource)?;
    let limit = call
        .query
        .get("limit")
        .and_then(|text| text.parse::<usize>().ok())
        .filter(|&limit| limit > 0);
    let page = call.query.get("continue").map(Page::parse).transpose()?;
    let exact = call.query.get("resourceVersionMatch") == Some("Exact");
    let revision = match (&page, Revision::of(&call.query)?) {
        (Some(page), _) => page.revision.unwrap_or(state.store.revision()),
        (None, Revision::At(revision)) => {
            reached(state, revision)?;
            if exact { revision } else { state.store.revision() }
        }
        (None, _) => state.store.revision(),
    };
    let table = state
        .store
        .at(&call.resource.storage, revision)
        .map_err(|_| page.as_ref().map_or_else(|| Refusal::expired(EXPIRED), Page::expired))?;
    let mut found: Vec<(Key, Arc<Value>)> = table
        .into_iter()
        .filter(|(key, _)| call.namespace.is_empty() || key.namespace == call.namespace)
        .filter(|(key, _)| page.as_ref().is_none_or(|page| *key > page.after))
        .filter(|(_, object)| selector.matches(object))
        .collect();
    let mut meta = json!({"resourceVersion": revision.to_string()});
    if call.resource.custom {
        meta["continue"] = "".into();
    }
    if let Some(limit) = limit.filter(|&limit| found.len() > limit) {
        if selector.is_empty() {
            meta["remainingItemCount"] = (found.len() - limit).into();
        }
        found.truncate(limit);
        if let Some((last, _)) = found.last() {
            meta["continue"] = Page {
                revision: Some(revision),
                after: last.clone(),
            }
            .token()
            .into();
        }
    }
    let items: Vec<Value> = found.iter().map(|(_, object)| item(call, object)).collect();
    Ok(listing(call, &meta, &items))
}

/// Waits are not simulated: a revision of the future is refused at once, as the real server does after three seconds.
fn reached(state: &State, revision: u64) -> Result<(), Refusal> {
    let current = state.store.revision();
    if revision > current {
        return Err(Refusal::timeout(&format!(
            "Too large resource version: {revision}, current: {current}"
        )));
    }
    Ok(())
}

fn listing(call: &Call, meta: &Value, items: &[Value]) -> Value {
    let (kind, api_version) = if call.metadata_only {
        ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned())
    } else {
        (format!("{}List", call.resource.kind), call.resource.api_version())
    };
    json!({"kind": kind, "apiVersion": api_version, "metadata": meta, "items": items})
}

/// An item of a list; those of built-in kinds have no `kind` and `apiVersion` of their own.
fn item(call: &Call, object: &Value) -> Value {
    let mut shown = call.present(object);
    if !call.resource.custom
        && !call.metadata_only
        && let Some(fields) = shown.as_object_mut()
    {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    shown
}

impl Page {
    /// Its state is forgotten; the rest can be had as it is now.
    fn expired(&self) -> Refusal {
        let rest = Self {
            revision: None,
            after: self.after.clone(),
        };
        Refusal {
            rest: Some(rest.token()),
            ..Refusal::expired(EXPIRED_PAGE)
        }
    }

    fn token(&self) -> String {
        let revision = self
            .revision
            .map_or_else(|| "-1".to_owned(), |revision| revision.to_string());
        let text = format!("{revision}/{}/{}", self.after.namespace, self.after.name);
        text.bytes()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }

    fn parse(token: &str) -> Result<Self, Refusal> {
        let read = || {
            let bytes: Option<Vec<u8>> = (0..token.len())
                .step_by(2)
                .map(|at| token.get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
                .collect();
            let text = String::from_utf8(bytes?).ok()?;
            let (revision, key) = text.split_once('/')?;
            let (namespace, name) = key.split_once('/')?;
            Some(Self {
                revision: match revision {
                    "-1" => None,
                    text => Some(text.parse().ok()?),
                },
                after: Key::new(namespace, name),
            })
        };
        read().ok_or_else(|| {
            let why = "illegal base64 data at input byte 0";
            Refusal::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        })
    }
}
