//! The Kubernetes Event of a notice.
//!
//! Serin writes Events itself. The usual recorder merges those that differ only in their text, so that "weight 20"
//! would become a count of "weight 10"; and a name made from the notice's id lets the API server say `AlreadyExists`
//! where a notice was told before, also by another replica.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use sha2::{Digest, Sha256};

use crate::api::Canary;
use crate::rollout::Notice;

/// Flagger's name, by which scripts and dashboards find the Events.
const COMPONENT: &str = "flagger";
/// The reason of every Event of Flagger's; scripts filter on it. What tells Events apart is the action.
const REASON: &str = "Synced";
/// The API server refuses longer notes in the newer Event API, which shows the same objects.
const LONGEST_MESSAGE: usize = 1024;
/// Longest name of an object.
const LONGEST_NAME: usize = 253;
/// Hex digits of the hash in the name.
const HASH: usize = 16;

/// The Event of a notice, ready to be created in the Canary's namespace. Equal notices of one Canary have equal names.
pub fn event(canary: &Canary, notice: &Notice, at: DateTime<Utc>) -> Event {
    let metadata = &canary.metadata;
    let time = Timestamp::from_microsecond(at.timestamp_micros()).ok().map(Time);
    Event {
        metadata: ObjectMeta {
            name: Some(name(canary, notice)),
            namespace: metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(Canary::api_version(&()).into_owned()),
            kind: Some(Canary::kind(&()).into_owned()),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
            field_path: None,
        },
        reason: Some(REASON.to_owned()),
        action: Some(notice.action.clone()).filter(|action| !action.is_empty()),
        message: Some(cut(&notice.text, LONGEST_MESSAGE).to_owned()),
        type_: Some(if notice.warning { "Warning" } else { "Normal" }.to_owned()),
        source: Some(EventSource {
            component: Some(COMPONENT.to_owned()),
            host: None,
        }),
        reporting_component: Some(COMPONENT.to_owned()),
        first_timestamp: time.clone(),
        last_timestamp: time,
        count: Some(1),
        ..Event::default()
    }
}

/// `<canary>.<hash of uid and notice id>`.
fn name(canary: &Canary, notice: &Notice) -> String {
    let uid = canary.metadata.uid.as_deref().unwrap_or_default();
    let digest = Sha256::digest(format!("{uid}/{}", notice.id));
    let hash: String = digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .take(HASH)
        .map(hex)
        .collect();
    let canary = canary.metadata.name.as_deref().unwrap_or("canary");
    // A name's part may not end in what the cut leaves there.
    let canary = cut(canary, LONGEST_NAME - HASH - 1).trim_end_matches(['.', '-']);
    format!("{canary}.{hash}")
}

fn hex(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16).expect("half a byte must be a hexadecimal digit")
}

/// The text up to that many bytes, never within a character.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
