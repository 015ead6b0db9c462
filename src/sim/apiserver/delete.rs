//! DELETE: preconditions, grace, finalizers, and who takes care of the dependents.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{
    call::{Call, Content},
    errors::Refusal,
    metadata, read,
    selector::Selector,
    state::State,
    store::Key,
};

/// Dependents stay, without their owner reference.
pub(super) const ORPHAN: &str = "orphan";
/// Dependents go before the owner.
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// How long a pod may take to stop when nobody says otherwise, in seconds.
const POD_GRACE: i64 = 30;

/// What a delete asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    uid: Option<String>,
    resource_version: Option<String>,
    propagation: Option<String>,
    orphan: Option<bool>,
    grace: Option<i64>,
    /// Whether the body asks for a dry run.
    pub(super) dry_run: bool,
}

/// What became of the object.
pub(super) struct Outcome {
    /// As it is now, or as it was last.
    pub(super) object: Arc<Value>,
    pub(super) gone: bool,
}

impl Options {
    /// Reads the body, or the query when there is none.
    pub(super) fn of(call: &Call) -> Result<Self, Refusal> {
        let body = match &call.body {
            Content::Text(text) if text.is_empty() => Value::Null,
            _ => call.document()?,
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let query = |key: &str| call.query.get(key).filter(|_| body.is_null());
        let propagation = text(&body["propagationPolicy"]).or_else(|| query("propagationPolicy").map(str::to_owned));
        if let Some(policy) = propagation
            .as_deref()
            .filter(|p| !["Foreground", "Background", "Orphan"].contains(p))
        {
            let error = super::errors::FieldError::new(
                "propagationPolicy",
                super::errors::FieldErrorKind::NotSupported(policy.into()),
                "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
            );
            return Err(Refusal::invalid("meta.k8s.io", "DeleteOptions", "", &[error]));
        }
        Ok(Self {
            uid: text(&body["preconditions"]["uid"]),
            resource_version: text(&body["preconditions"]["resourceVersion"]),
            propagation,
            orphan: body["orphanDependents"].as_bool(),
            grace: body["gracePeriodSeconds"]
                .as_i64()
                .or_else(|| query("gracePeriodSeconds").and_then(|text| text.parse().ok())),
            dry_run: body["dryRun"]
                .as_array()
                .is_some_and(|modes| modes.iter().any(|mode| mode == "All")),
        })
    }

    /// The finalizer that asks the garbage collector for something; `current` is what the object has.
    fn collector(&self, current: &[&str]) -> Option<&'static str> {
        match (self.orphan, self.propagation.as_deref()) {
            (Some(true), _) | (None, Some("Orphan")) => Some(ORPHAN),
            (None, Some("Foreground")) => Some(FOREGROUND),
            (Some(false), _) | (None, Some(_)) => None,
            (None, None) => current.iter().find_map(|name| match *name {
                ORPHAN => Some(ORPHAN),
                FOREGROUND => Some(FOREGROUND),
                _ => None,
            }),
        }
    }

    fn check(&self, call: &Call, object: &Value) -> Result<(), Refusal> {
        let (uid, version) = (metadata::text(object, "uid"), metadata::text(object, "resourceVersion"));
        let clash = |why: String| {
            let (kind, name) = (&call.resource.kind, &call.name);
            let group = &call.resource.group;
            let qualified = if group.is_empty() {
                kind.clone()
            } else {
                format!("{kind}.{group}")
            };
            let mut refusal = Refusal::conflict(&call.resource, name, &why);
            refusal.message = format!("Operation cannot be fulfilled on {qualified} {name:?}: {why}");
            if let Some(details) = &mut refusal.details {
                details["kind"] = kind.clone().into();
            }
            refusal
        };
        if let Some(wanted) = self.uid.as_deref().filter(|wanted| *wanted != uid) {
            return Err(clash(format!(
                "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might \
                 have been deleted and then recreated"
            )));
        }
        if let Some(wanted) = self.resource_version.as_deref().filter(|wanted| *wanted != version) {
            return Err(clash(format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
                 ({version}). The object might have been modified"
            )));
        }
        Ok(())
    }
}

/// Deletes an object on behalf of the server's own controllers, if it is still the one with this uid.
pub(super) fn collect(state: &mut State, call: &Call, uid: &str, propagation: Option<&str>) {
    let Some(object) = state
        .current(call)
        .filter(|object| metadata::text(object, "uid") == uid)
    else {
        return;
    };
    let options = Options {
        propagation: propagation.map(str::to_owned),
        ..Options::default()
    };
    if let Err(refusal) = remove(state, call, &options, &object) {
        tracing::debug!(message = %refusal.message, "the garbage collector was refused");
    }
}

/// Deletes the object that a call names.
pub(super) fn one(state: &mut State, call: &Call) -> Result<Outcome, Refusal> {
    let options = Options::of(call)?;
    let before = state
        .current(call)
        .ok_or_else(|| Refusal::not_found(&call.resource, &call.name))?;
    remove(state, call, &options, &before)
}

/// Serves DELETE of one object; the code and the body of the answer.
pub(super) fn delete(state: &mut State, call: &Call) -> Result<(u16, Value), Refusal> {
    let outcome = one(state, call)?;
    let options = Options::of(call)?;
    let code = if !outcome.gone && options.orphan == Some(false) {
        202
    } else {
        200
    };
    if !outcome.gone || call.resource.returns_deleted {
        return Ok((code, call.present(&outcome.object)));
    }
    let mut details =
        json!({"name": call.name, "kind": call.resource.plural, "uid": outcome.object["metadata"]["uid"]});
    if !call.resource.group.is_empty() {
        details["group"] = call.resource.group.clone().into();
    }
    let answer = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    Ok((code, answer))
}

/// Serves DELETE of a collection; answers with the list of what it deleted.
pub(super) fn delete_collection(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let options = Options::of(call)?;
    let selector = Selector::of(&call.query, &call.resource)?;
    let answer = read::list(state, call)?;
    let found: Vec<(Key, Arc<Value>)> = state
        .store
        .list(&call.resource.storage, &call.namespace)
        .filter(|(_, object)| selector.matches(object))
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect();
    for (key, object) in found {
        let one = Call {
            name: key.name,
            namespace: key.namespace,
            ..call.clone()
        };
        remove(state, &one, &options, &object)?;
    }
    Ok(answer)
}

fn remove(state: &mut State, call: &Call, options: &Options, before: &Arc<Value>) -> Result<Outcome, Refusal> {
    options.check(call, before)?;
    if call.resource.is("", "namespaces") {
        if matches!(call.name.as_str(), "default" | "kube-system" | "kube-public") {
            return Err(Refusal::forbidden(
                &call.resource,
                &call.name,
                "this namespace may not be deleted",
            ));
        }
        return Ok(close_namespace(state, call, before));
    }
    let mut after = (**before).clone();
    let grace = match grace(call, options, before) {
        Grace::Pending => {
            return Ok(Outcome {
                object: before.clone(),
                gone: false,
            });
        }
        Grace::None => None,
        Grace::Seconds(seconds) => Some(seconds),
    };
    let finalizers = finalizers_after(options, before);
    set_finalizers(&mut after, &finalizers);
    if finalizers.is_empty() && grace.is_none() {
        let object = state.commit(call, call.key(), None);
        return Ok(Outcome { object, gone: true });
    }
    mark(call, before, &mut after, grace);
    let object = if **before == after {
        before.clone()
    } else {
        state.commit(call, call.key(), Some(after))
    };
    if finalizers.is_empty() && grace == Some(0) {
        let object = if call.dry_run {
            object
        } else {
            state.commit(call, call.key(), None)
        };
        return Ok(Outcome { object, gone: true });
    }
    Ok(Outcome { object, gone: false })
}

/// A pod's way to stop.
enum Grace {
    /// The kind or the object has none: deleted at once.
    None,
    /// Deletion has begun and this request does not shorten it.
    Pending,
    Seconds(i64),
}

fn grace(call: &Call, options: &Options, object: &Value) -> Grace {
    if !call.resource.is("", "pods") {
        return Grace::None;
    }
    let asked = options.grace.map(|seconds| if seconds < 0 { 1 } else { seconds });
    if metadata::is_terminating(object) {
        let current = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        return match asked {
            _ if current == 0 => Grace::None,
            Some(seconds) if seconds < current => Grace::Seconds(seconds),
            _ => Grace::Pending,
        };
    }
    let unscheduled = object["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let ended = matches!(object["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    if unscheduled || ended {
        return Grace::Seconds(0);
    }
    Grace::Seconds(
        asked
            .or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_i64())
            .unwrap_or(POD_GRACE),
    )
}

/// Puts the marks of a deletion on an object that stays for now.
fn mark(call: &Call, before: &Value, after: &mut Value, grace: Option<i64>) {
    let first = !metadata::is_terminating(before);
    let generation = metadata::generation(before);
    let meta = metadata::of(after);
    let due = metadata::seconds(call.now + TimeDelta::seconds(grace.unwrap_or(0)));
    if first {
        if generation > 0 {
            meta.insert("generation".into(), (generation + 1).into());
        }
        meta.insert("deletionTimestamp".into(), due.into());
    } else if grace.is_some() {
        meta.insert("deletionTimestamp".into(), due.into());
    }
    meta.insert("deletionGracePeriodSeconds".into(), grace.unwrap_or(0).into());
}

fn finalizers_after(options: &Options, object: &Value) -> Vec<String> {
    let current = metadata::finalizers(object);
    let own = current
        .iter()
        .filter(|name| !matches!(**name, ORPHAN | FOREGROUND))
        .map(ToString::to_string);
    own.chain(options.collector(&current).map(str::to_owned)).collect()
}

fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    let meta = metadata::of(object);
    if finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".into(), finalizers.into());
    }
}

/// A namespace goes in two steps: closed now, removed when it is empty.
fn close_namespace(state: &mut State, call: &Call, before: &Arc<Value>) -> Outcome {
    let held = before["spec"]["finalizers"]
        .as_array()
        .is_some_and(|names| !names.is_empty());
    if metadata::is_terminating(before) {
        let gone = !held && metadata::finalizers(before).is_empty();
        let object = if gone {
            state.commit(call, call.key(), None)
        } else {
            before.clone()
        };
        return Outcome { object, gone };
    }
    let mut after = (**before).clone();
    metadata::of(&mut after).insert("deletionTimestamp".into(), metadata::seconds(call.now).into());
    after["status"]["phase"] = "Terminating".into();
    Outcome {
        object: state.commit(call, call.key(), Some(after)),
        gone: false,
    }
}
