//! Matches that are a list of entries, one of which a request must meet, as Istio and Gateway API have them.

use serde_json::Value;

/// Every entry of `matches` with every test, merged: for requests that meet both. No entry is one that every request meets.
pub(super) fn crossed(matches: &Value, tests: &[Value], merged: impl Fn(&Value, &Value) -> Value) -> Value {
    let everything = [Value::Object(serde_json::Map::new())];
    let entries = matches.as_array().filter(|entries| !entries.is_empty());
    let entries = entries.map_or(&everything[..], Vec::as_slice);
    let both = tests
        .iter()
        .flat_map(|test| entries.iter().map(|entry| merged(entry, test)));
    both.collect()
}

/// Whether each entry of `one` is an entry of `other` that asks for more. `sets` are the keys whose members all have to be met, and
/// `names` their names: what a member says may differ.
pub(super) fn is_narrower(one: &Value, other: &Value, sets: &[&str], names: impl Fn(&Value) -> Vec<String>) -> bool {
    let everything = [Value::Object(serde_json::Map::new())];
    let Some(entries) = one.as_array().filter(|entries| !entries.is_empty()) else {
        return false;
    };
    let wider = other.as_array().filter(|entries| !entries.is_empty());
    let wider = wider.map_or(&everything[..], Vec::as_slice);
    let asks_more = |entry: &Value, wide: &Value| {
        let mut members = wide.as_object().into_iter().flatten();
        let covered = members.all(|(key, value)| {
            let standing = entry.get(key).unwrap_or(&Value::Null);
            if sets.contains(&key.as_str()) {
                let has = names(standing);
                names(value).iter().all(|name| has.contains(name))
            } else {
                standing == value
            }
        });
        covered && entry != wide
    };
    entries
        .iter()
        .all(|entry| wider.iter().any(|wide| asks_more(entry, wide)))
}
