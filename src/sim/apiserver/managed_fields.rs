//! `metadata.managedFields`: who set which field, and what follows when someone else does.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    call::Call,
    errors::Refusal,
    field_set::{FieldSet, Step, display},
    metadata, skeleton, typed,
};

/// How a manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// One manager. An applier keeps its identity over API versions, an updater does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) operation: Operation,
    pub(super) name: String,
    pub(super) subresource: String,
    /// Empty for appliers.
    version: String,
}

/// What a manager owns, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) fields: FieldSet,
    pub(super) api_version: String,
    pub(super) time: Option<String>,
}

/// All managers of an object.
pub(super) type Managers = BTreeMap<Manager, Share>;

/// Fields of metadata that nobody owns.
const UNOWNED: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Notes which fields a write other than an apply has changed.
pub(super) fn track_update(call: &Call, before: &Value, after: &mut Value) {
    let creating = metadata::text(before, "uid").is_empty();
    let reset = after["metadata"]["managedFields"]
        .as_array()
        .is_some_and(|list| list == &[json!({})]);
    // A status comes with the managers that its writer has read, and they count for nothing.
    let unchanged = after["metadata"].get("managedFields") == before["metadata"].get("managedFields");
    let given = if call.subresource.is_empty() && !unchanged {
        read(after)
    } else {
        Managers::new()
    };
    let mut managers = match (call.subresource.is_empty(), reset) {
        (true, true) => Managers::new(),
        (true, false) if !given.is_empty() => given,
        _ => read(before),
    };
    metadata::of(after).remove("managedFields");
    if managers.is_empty() && !creating {
        return;
    }
    let skeleton = skeleton::of(&call.resource);
    let base = if creating { skeleton } else { without_managers(before) };
    let comparison = ignoring(call, &typed::compare(call.resource.schema(), &base, after));
    let changed = comparison.added.union(&comparison.modified);
    let gone = changed.union(&comparison.removed);
    let own = Manager::updater(call);
    for share in managers
        .iter_mut()
        .filter(|(manager, _)| **manager != own)
        .map(|(_, share)| share)
        .filter(|share| share.fields.overlaps(&gone))
    {
        share.fields = share.fields.difference(&gone);
    }
    let mut fields = owned(&changed);
    if !fields.is_empty() {
        let previous = managers
            .get(&own)
            .map(|share| share.fields.difference(&comparison.removed));
        fields = previous.unwrap_or_default().union(&fields);
        // The scale endpoint notes no times.
        let time = (call.subresource != "scale").then(|| metadata::seconds(call.now));
        managers.insert(
            own,
            Share {
                fields,
                api_version: call.resource.api_version(),
                time,
            },
        );
    } else if let Some(share) = managers.get_mut(&own) {
        share.fields = share.fields.difference(&comparison.removed);
    }
    write(after, &managers);
}

/// Works out an apply: the merged object with its managers, or the conflicts.
///
/// `live` is `None` for an object that the apply creates.
pub(super) fn apply(call: &Call, live: Option<&Value>, config: &Value, force: bool) -> Result<Value, Refusal> {
    let schema = call.resource.schema();
    let base = live.map_or_else(|| json!({}), without_managers);
    let mut managers = live.map(read).unwrap_or_default();
    if let Some(live) = live.filter(|_| managers.is_empty()) {
        let fields = owned(&typed::compare(schema, &skeleton::of(&call.resource), &without_managers(live)).added);
        let share = Share {
            fields,
            api_version: call.resource.api_version(),
            time: Some(metadata::seconds(call.now)),
        };
        managers.insert(Manager::before_first_apply(call), share);
    }
    let own = Manager::applier(call);
    let last = managers.get(&own).map(|share| share.fields.clone()).unwrap_or_default();
    let fields = filtered(call, &typed::fields(schema, config));
    let time = managers.get(&own).and_then(|share| share.time.clone());
    managers.insert(
        own.clone(),
        Share {
            fields,
            api_version: call.resource.api_version(),
            time,
        },
    );
    let merged = typed::merge(schema, &base, config);
    let merged = drop_abandoned(call, merged, &last, &managers);

    let comparison = ignoring(call, &typed::compare(schema, &base, &merged));
    let changed = comparison.added.union(&comparison.modified);
    let others = || managers.iter().filter(|(manager, _)| **manager != own);
    let conflicts: Vec<(Manager, FieldSet)> = others()
        .map(|(manager, share)| (manager.clone(), share.fields.intersection(&changed)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    if !force && !conflicts.is_empty() {
        return Err(refuse(&conflicts, &managers));
    }
    for (_, share) in managers.iter_mut().filter(|(manager, _)| **manager != own) {
        share.fields = share.fields.difference(&changed).difference(&comparison.removed);
    }
    if let Some(share) = managers.get_mut(&own) {
        share.fields = owned(&share.fields);
        if merged != base {
            share.time = Some(metadata::seconds(call.now));
        }
    }
    let mut object = merged;
    write(&mut object, &managers);
    Ok(object)
}

/// A write that would change nothing but the times of managers changes nothing.
pub(super) fn ignore_times(before: &Value, after: &mut Value) {
    let same = all_but(before, "metadata").eq(all_but(after, "metadata"))
        && all_but(&before["metadata"], "managedFields").eq(all_but(&after["metadata"], "managedFields"))
        && timeless(before) == timeless(after);
    if same {
        metadata::keep(after, before, &["managedFields"]);
    }
}

/// The managers of an object without their times.
fn timeless(object: &Value) -> Value {
    let mut managers = object["metadata"]["managedFields"].clone();
    for entry in managers.as_array_mut().into_iter().flatten() {
        entry["time"] = Value::Null;
    }
    managers
}

/// Takes out what the applier had set before and no longer sets, unless someone else owns it.
fn drop_abandoned(call: &Call, merged: Value, last: &FieldSet, managers: &Managers) -> Value {
    if last.is_empty() {
        return merged;
    }
    let schema = call.resource.schema();
    let is_field = |path: &[Step]| typed::is_field(schema, path);
    let last = last.with_ways(&is_field);
    let pruned = typed::remove(schema, &merged, &last).unwrap_or_else(|| json!({}));
    let claimed = managers
        .values()
        .fold(FieldSet::default(), |all, share| all.union(&share.fields));
    let (all, left) = (typed::fields(schema, &merged), typed::fields(schema, &pruned));
    let (all, left) = (all.with_ways(&is_field), left.with_ways(&is_field));
    let kept = left.union(&claimed.with_ways(&is_field));
    let pruned = typed::remove(schema, &merged, &all.difference(&kept)).unwrap_or_else(|| json!({}));
    let left = typed::fields(schema, &pruned).with_ways(&is_field);
    let abandoned = all.difference(&left).intersection(&last);
    typed::remove(schema, &merged, &abandoned).unwrap_or_else(|| json!({}))
}

fn refuse(conflicts: &[(Manager, FieldSet)], managers: &Managers) -> Refusal {
    let mut causes = Vec::new();
    let mut lines = Vec::new();
    for (manager, fields) in conflicts {
        let shown = manager.shown(managers);
        lines.push(format!("conflicts with {shown}:"));
        for path in fields.paths() {
            let path = display(&path);
            lines.push(format!("- {path}"));
            causes.push(json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {shown}"),
                "field": path,
            }));
        }
    }
    let message = match causes.as_slice() {
        [only] => {
            let (with, path) = (only["message"].as_str(), only["field"].as_str());
            format!(
                "Apply failed with 1 conflict: {}: {}",
                with.unwrap_or_default(),
                path.unwrap_or_default()
            )
        }
        several => format!("Apply failed with {} conflicts: {}", several.len(), lines.join("\n")),
    };
    Refusal::apply_conflict(message, &causes)
}

impl Manager {
    fn updater(call: &Call) -> Self {
        Self {
            operation: Operation::Update,
            name: call.manager().to_owned(),
            subresource: call.subresource.clone(),
            version: call.resource.api_version(),
        }
    }

    fn applier(call: &Call) -> Self {
        Self {
            operation: Operation::Apply,
            version: String::new(),
            ..Self::updater(call)
        }
    }

    fn before_first_apply(call: &Call) -> Self {
        Self {
            name: "before-first-apply".to_owned(),
            ..Self::updater(call)
        }
    }

    fn shown(&self, managers: &Managers) -> String {
        let mut shown = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            shown = format!("{shown} with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            let version = managers
                .get(self)
                .map(|share| share.api_version.as_str())
                .unwrap_or_default();
            shown = format!("{shown} using {version}");
        }
        shown
    }
}

/// Reads the managers of an object.
pub(super) fn read(object: &Value) -> Managers {
    let mut managers = Managers::new();
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let operation = match entry["operation"].as_str() {
            Some("Apply") => Operation::Apply,
            Some("Update") => Operation::Update,
            _ => continue,
        };
        let version = if operation == Operation::Apply {
            String::new()
        } else {
            text("apiVersion")
        };
        let manager = Manager {
            operation,
            name: text("manager"),
            subresource: text("subresource"),
            version,
        };
        let share = Share {
            fields: FieldSet::decode(&entry["fieldsV1"]),
            api_version: text("apiVersion"),
            time: entry["time"].as_str().map(str::to_owned),
        };
        managers.insert(manager, share);
    }
    managers
}

/// Writes the managers into an object, those without a field left out.
fn write(object: &mut Value, managers: &Managers) {
    let mut shares: Vec<(&Manager, &Share)> = managers.iter().filter(|(_, share)| !share.fields.is_empty()).collect();
    shares.sort_by_key(|(manager, share)| {
        let key = (
            manager.operation,
            share.time.as_deref().unwrap_or_default(),
            &manager.name,
        );
        (key, &share.api_version, &manager.subresource)
    });
    let entries: Vec<Value> = shares
        .into_iter()
        .map(|(manager, share)| {
            let operation = if manager.operation == Operation::Apply {
                "Apply"
            } else {
                "Update"
            };
            let mut entry = json!({
                "manager": manager.name,
                "operation": operation,
                "apiVersion": share.api_version,
                "fieldsType": "FieldsV1",
                "fieldsV1": share.fields.encode(),
            });
            if let Some(time) = &share.time {
                entry["time"] = time.clone().into();
            }
            if !manager.subresource.is_empty() {
                entry["subresource"] = manager.subresource.clone().into();
            }
            entry
        })
        .collect();
    let meta = metadata::of(object);
    if entries.is_empty() {
        meta.remove("managedFields");
    } else {
        meta.insert("managedFields".to_owned(), entries.into());
    }
}

fn without_managers(object: &Value) -> Value {
    let mut copy: Map<String, Value> = all_but(object, "metadata")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let metadata: Map<String, Value> = all_but(&object["metadata"], "managedFields")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    copy.insert("metadata".to_owned(), metadata.into());
    copy.into()
}

/// The fields of a map but for one.
fn all_but<'a>(object: &'a Value, but: &'a str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(move |(name, _)| *name != but)
}

/// A set without the fields that nobody owns.
fn owned(fields: &FieldSet) -> FieldSet {
    let mut unowned = FieldSet::default();
    for top in ["apiVersion", "kind", "metadata"] {
        unowned.insert(&[Step::field(top)]);
    }
    for name in UNOWNED {
        unowned.insert(&[Step::field("metadata"), Step::field(name)]);
    }
    fields.difference(&unowned)
}

/// A set without the half of the object that this endpoint does not write.
fn filtered(call: &Call, fields: &FieldSet) -> FieldSet {
    if fields.is_empty() {
        return FieldSet::default();
    }
    let mut ignored = FieldSet::default();
    let mut ignore = |path: &[&str]| {
        let path: Vec<Step> = path.iter().map(|name| Step::field(name)).collect();
        ignored.insert(&path);
    };
    match (call.subresource.as_str(), call.resource.custom) {
        ("status", true) => {
            ignore(&["metadata"]);
            ignore(&["spec"]);
        }
        ("status", false) => {
            ignore(&["spec"]);
            match call.resource.qualified() {
                "deployments.apps" => ignore(&["metadata", "labels"]),
                "pods" => {
                    ignore(&["metadata", "deletionTimestamp"]);
                    ignore(&["metadata", "ownerReferences"]);
                }
                _ => {}
            }
        }
        _ if call.resource.status => ignore(&["status"]),
        _ => {}
    }
    fields.without(&ignored)
}

fn ignoring(call: &Call, comparison: &typed::Comparison) -> typed::Comparison {
    typed::Comparison {
        added: filtered(call, &comparison.added),
        modified: filtered(call, &comparison.modified),
        removed: filtered(call, &comparison.removed),
    }
}
