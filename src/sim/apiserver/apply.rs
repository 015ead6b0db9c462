//! Server-side apply: PATCH with the whole intent of one manager.

use serde_json::{Value, json};

use super::{
    call::Call,
    create::{self, Stored},
    decode::{self, Source},
    errors::{FieldError, Refusal},
    managed_fields, metadata, patch,
    resource::Resource,
    state::State,
    typed, update,
};

/// Serves an apply patch; creates the object if it is not there.
pub(super) fn apply(state: &mut State, call: &Call) -> Result<Stored, Refusal> {
    if call.query.get("fieldManager").is_none() {
        let error = FieldError::required("fieldManager", "is required for apply patch");
        return Err(Refusal::invalid("meta.k8s.io", "PatchOptions", "", &[error]));
    }
    let config = intent(call)?;
    let before = state.current(call);
    if before.is_none() && !call.subresource.is_empty() {
        return Err(Refusal::not_found(&call.resource, &call.name));
    }
    let merged = managed_fields::apply(call, before.as_deref(), &config, call.query.flag("force"))?;
    let managers = merged["metadata"].get("managedFields").cloned();
    let decoded = decode::object(call, merged, Source::Patch)?;
    let mut object = decoded.object;
    if let Some(managers) = managers {
        metadata::of(&mut object).insert("managedFields".to_owned(), managers);
    }
    let warnings = decoded.warnings;
    let Some(before) = before else {
        let uid = metadata::text(&object, "uid");
        if !uid.is_empty() {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Refusal::conflict(&call.resource, &call.name, &why));
        }
        create::place(call, &mut object)?;
        update::check_name(call, &object)?;
        return Ok(Stored {
            object: create::insert(state, call, object)?,
            created: true,
            warnings,
        });
    };
    patch::placed(call, &object)?;
    Ok(Stored {
        object: update::change(state, call, &before, object)?,
        created: false,
        warnings,
    })
}

/// Reads the applied object and checks that it has the shape of its kind.
fn intent(call: &Call) -> Result<Value, Refusal> {
    let config = call.document()?;
    let resource = &call.resource;
    let (version, kind) = (
        config["apiVersion"].as_str(),
        config["kind"].as_str().unwrap_or_default(),
    );
    if version != Some(resource.api_version().as_str()) || kind != resource.kind {
        let version = version.unwrap_or_default();
        let slash = if version.contains('/') { "" } else { "/" };
        return Err(Refusal::bad_request(format!(
            "invalid object type: {slash}{version}, Kind={kind}"
        )));
    }
    if config["metadata"]
        .get("managedFields")
        .is_some_and(|fields| !fields.is_null())
    {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    let mistakes = typed::mistakes(resource.schema(), &config, "");
    if !mistakes.is_empty() {
        let list = match mistakes.as_slice() {
            [only] => only.clone(),
            several => format!("errors:\n  {}", several.join("\n  ")),
        };
        let message = format!("failed to create typed patch object ({}): {list}", place(call, &config));
        return Err(Refusal::unexpected(message));
    }
    let mut config = config;
    if config["metadata"].is_null() {
        config["metadata"] = json!({});
    }
    Ok(config)
}

/// The object as error texts name it.
fn place(call: &Call, config: &Value) -> String {
    let (namespace, name) = (metadata::text(config, "namespace"), metadata::text(config, "name"));
    let Resource {
        group, version, kind, ..
    } = &*call.resource;
    format!("{namespace}/{name}; {group}/{version}, Kind={kind}")
}
