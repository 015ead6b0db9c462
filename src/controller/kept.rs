//! An object as a watch brings it, and as the caches keep it: its text, and the few words by which it is found.
//!
//! What no Canary names is not decoded any further than these words. What is kept is kept as text, because a tree of JSON
//! values takes several times its room (each map in it, however small, has room for eleven entries) and nobody reads it
//! between passes; a pass opens what it looks at, which takes microseconds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::{ApiResource, ObjectMeta};
use kube::core::DynamicResourceScope;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::text::Text;

/// The words of its metadata by which an object is found and told from others.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct Head {
    /// `metadata.namespace`; empty where there is none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    #[serde(rename = "resourceVersion")]
    pub version: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Headed {
    metadata: Head,
}

impl Head {
    /// Of an object that is open.
    pub fn of(object: &Value) -> Self {
        let metadata = object.get("metadata");
        metadata
            .and_then(|metadata| Self::deserialize(metadata).ok())
            .unwrap_or_default()
    }

    /// The value of a label; empty where there is none.
    pub fn label(&self, label: &str) -> &str {
        let labels = self.labels.as_ref();
        labels.and_then(|labels| labels.get(label)).map_or("", String::as_str)
    }
}

/// An object as a watch brings it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// What it is called.
    pub head: Head,
    /// What `kube` asks for: name and version.
    metadata: ObjectMeta,
    text: Text,
}

impl Arrival {
    /// Of a watch that brings metadata alone.
    pub fn of_metadata(metadata: &ObjectMeta) -> Self {
        let text = serde_json::json!({ "metadata": metadata }).to_string();
        serde_json::from_str(&text).expect(READABLE)
    }

    /// The whole object.
    pub fn open(&self) -> Value {
        serde_json::from_str(self.text.as_str()).expect(READABLE)
    }
}

impl<'de> Deserialize<'de> for Arrival {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let Headed { metadata: head } = serde_json::from_str(text.as_str()).map_err(serde::de::Error::custom)?;
        let metadata = ObjectMeta {
            name: Some(head.name.clone()),
            resource_version: Some(head.version.clone()),
            ..ObjectMeta::default()
        };
        Ok(Self { head, metadata, text })
    }
}

impl kube::Resource for Arrival {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        kind.kind.as_str().into()
    }

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        kind.group.as_str().into()
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        kind.version.as_str().into()
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        kind.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// An object that is kept.
#[derive(Debug)]
pub struct Kept(Box<str>);

const READABLE: &str = "what was written as JSON must be readable as JSON";

impl Kept {
    /// Packs an object.
    pub fn new(object: &Value) -> Self {
        Self(object.to_string().into())
    }

    /// The object again.
    pub fn open(&self) -> Arc<Value> {
        Arc::new(serde_json::from_str(&self.0).expect(READABLE))
    }

    /// What it is called.
    pub fn head(&self) -> Head {
        serde_json::from_str(&self.0).map_or_else(|_| Head::default(), |Headed { metadata }| metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object() -> Value {
        json!({
            "metadata": {
                "namespace": "test", "name": "podinfo", "uid": "u", "resourceVersion": "7", "labels": {"app": "podinfo"},
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": {"replicas": 2, "share": 0.5},
        })
    }

    #[test]
    fn what_is_kept_is_the_whole_object() {
        let kept = Kept::new(&object());
        assert_eq!(*kept.open(), object());
        assert_eq!(kept.head(), Head::of(&object()));
        assert_eq!(
            (kept.head().name.as_str(), kept.head().label("app")),
            ("podinfo", "podinfo")
        );
    }

    #[test]
    fn an_arrival_has_its_words_and_opens_to_the_whole() {
        let arrival: Arrival = serde_json::from_str(&object().to_string()).unwrap();
        assert_eq!(arrival.head, Head::of(&object()));
        assert_eq!(kube::Resource::meta(&arrival).resource_version.as_deref(), Some("7"));
        assert_eq!(arrival.open(), object());
        assert!(
            serde_json::from_str::<Arrival>(r#"{"spec": {}}"#).is_err(),
            "without metadata it is no object"
        );
    }

    #[test]
    fn an_object_of_the_cluster_has_no_namespace() {
        let namespaceless = json!({"metadata": {"name": "all", "labels": null}});
        let head = Head::of(&namespaceless);
        assert_eq!(
            (head.namespace.as_str(), head.name.as_str(), head.label("app")),
            ("", "all", "")
        );
    }
}
