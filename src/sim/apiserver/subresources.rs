//! Subresources other than `status`: `scale`, and `finalize` of namespaces.

use serde_json::{Value, json};

use super::{
    call::{Call, Verb},
    decode::{self, Source},
    errors::{FieldError, Refusal},
    managed_fields, metadata,
    resource::ScalePaths,
    state::State,
    update,
};

/// Whether a call goes to `status`, which takes the road of the object itself.
pub(super) fn is_status(call: &Call) -> bool {
    call.subresource == "status"
}

/// Serves `scale` and `finalize`.
pub(super) fn serve(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    match &call.resource.scale {
        Some(paths) if call.subresource == "scale" => scale(state, call, paths),
        _ if call.subresource == "finalize" => finalize(state, call),
        _ => Err(Refusal::no_such_path()),
    }
}

/// A Scale is a view of two numbers; it has no generation of its own.
fn scale(state: &mut State, call: &Call, paths: &ScalePaths) -> Result<Value, Refusal> {
    let before = state
        .current(call)
        .ok_or_else(|| Refusal::not_found(&call.resource, &call.name))?;
    let current = view(paths, &before);
    let wanted = match call.verb {
        Verb::Update => call.document()?,
        Verb::Patch => {
            let document = call.document()?;
            super::patch::patched(call, &current, &document)?
        }
        _ => return Ok(current),
    };
    let replicas = wanted["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let error = FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        return Err(Refusal::invalid("autoscaling", "Scale", &call.name, &[error]));
    }
    let mut after = (*before).clone();
    metadata::set(&mut after, &paths.spec_replicas, replicas.into());
    if let Some(version) = wanted["metadata"]["resourceVersion"]
        .as_str()
        .filter(|version| !version.is_empty())
    {
        metadata::of(&mut after).insert("resourceVersion".into(), version.into());
    }
    managed_fields::track_update(call, &before, &mut after);
    let stored = update::change(state, call, &before, after)?;
    Ok(view(paths, &stored))
}

fn view(paths: &ScalePaths, object: &Value) -> Value {
    let number = |path: &str| metadata::at(object, path).and_then(Value::as_i64).unwrap_or(0);
    let meta = &object["metadata"];
    let mut view = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"], "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": {},
        "status": {"replicas": number(&paths.status_replicas)},
    });
    if number(&paths.spec_replicas) != 0 {
        view["spec"]["replicas"] = number(&paths.spec_replicas).into();
    }
    let selector = paths.selector.as_deref().and_then(|path| metadata::at(object, path));
    if let Some(selector) = selector.map(selector_text).filter(|text| !text.is_empty()) {
        view["status"]["selector"] = selector.into();
    }
    view
}

/// A label selector as one text.
fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let equals = selector["matchLabels"].as_object().into_iter().flatten();
    let mut terms: Vec<String> = equals
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let values: Vec<&str> = values.collect();
        terms.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.sort();
    terms.join(",")
}

/// Takes the finalizers of a namespace's spec; the last one gone, the namespace goes.
fn finalize(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    let before = state
        .current(call)
        .ok_or_else(|| Refusal::not_found(&call.resource, &call.name))?;
    if call.verb != Verb::Update {
        return Ok(call.present(&before));
    }
    let wanted = decode::object(call, call.document()?, Source::Body)?.object;
    let mut after = (*before).clone();
    after["spec"] = wanted["spec"].clone();
    let stored = update::change(state, call, &before, after)?;
    Ok(call.present(&stored))
}
