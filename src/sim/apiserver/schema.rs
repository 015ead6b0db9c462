//! The shape of a kind: which fields exist, what their defaults are, and how lists and maps merge.
//!
//! A [`Schema`] is read from the `OpenAPI` schema of a custom resource definition, or, for built-in kinds, from the JSON
//! schema that k8s-openapi carries together with the merge table of [`super::merge_keys`]. Pruning, defaulting and
//! server-side apply walk the same tree.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::merge_keys;

/// One node of a kind's shape.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    pub(super) shape: Shape,
    /// Whether null is a value of its own.
    pub(super) nullable: bool,
    /// Whether an empty, zero or false value is left out.
    pub(super) vanishes: bool,
    pub(super) default: Option<Value>,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Unknown content that is kept as it is and deduced when it is merged.
    Any,
    Scalar(Scalar),
    Object(Object),
    List(List),
}

/// The type of a single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

/// A struct or a map.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    pub(super) fields: BTreeMap<String, Arc<Schema>>,
    /// The schema of the values of a map.
    pub(super) values: Option<Arc<Schema>>,
    /// Unknown fields are kept.
    pub(super) preserve: bool,
    /// Merged as one value.
    pub(super) atomic: bool,
    /// A whole Kubernetes object with `apiVersion`, `kind` and `metadata`.
    pub(super) embedded: bool,
    /// The Go type of a built-in struct, as decoding errors name it; empty otherwise.
    pub(super) type_name: String,
}

/// A list and how its items are told apart.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) items: Arc<Schema>,
    pub(super) topology: Topology,
}

/// How a list merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    Atomic,
    Set,
    /// Items with the same values of these fields are the same item.
    Map(Vec<String>),
}

impl Schema {
    pub(super) fn any() -> Arc<Self> {
        Arc::new(Self {
            shape: Shape::Any,
            nullable: true,
            vanishes: false,
            default: None,
        })
    }

    /// The schema of a field, or of a map's value.
    pub(super) fn child(&self, name: &str) -> Option<&Arc<Self>> {
        match &self.shape {
            Shape::Object(object) => object.fields.get(name).or(object.values.as_ref()),
            _ => None,
        }
    }

    /// The schema of a list's items.
    pub(super) fn items(&self) -> Option<&List> {
        match &self.shape {
            Shape::List(list) => Some(list),
            _ => None,
        }
    }
}

/// Reads the root schema of a CRD version; `metadata` gets its real shape.
pub(super) fn from_crd(openapi: &Value) -> Arc<Schema> {
    let mut root = Reader {
        definitions: None,
        known: BTreeMap::new(),
    }
    .node(openapi, None);
    if let Shape::Object(object) = &mut root.shape {
        object.fields.insert("metadata".into(), merge_keys::object_meta());
        for name in ["apiVersion", "kind"] {
            object
                .fields
                .entry(name.into())
                .or_insert_with(|| Arc::new(scalar(Scalar::Text)));
        }
    }
    Arc::new(root)
}

/// The schema of a type of k8s-openapi.
pub(super) fn builtin<K: schemars::JsonSchema>() -> Arc<Schema> {
    let document = schemars::SchemaGenerator::default()
        .into_root_schema_for::<K>()
        .to_value();
    let mut reader = Reader {
        definitions: document.get("$defs"),
        known: BTreeMap::new(),
    };
    let name = K::schema_name();
    Arc::new(reader.node(&document, Some(&name)))
}

fn scalar(kind: Scalar) -> Schema {
    Schema {
        shape: Shape::Scalar(kind),
        nullable: false,
        vanishes: false,
        default: None,
    }
}

/// Reads JSON schema nodes; definitions are read once and shared.
struct Reader<'a> {
    definitions: Option<&'a Value>,
    known: BTreeMap<String, Arc<Schema>>,
}

impl Reader<'_> {
    fn shared(&mut self, node: &Value) -> Arc<Schema> {
        let Some(name) = node["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) else {
            return Arc::new(self.node(node, None));
        };
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        if merge_keys::is_free_form(name) {
            let whole = Object {
                preserve: true,
                atomic: true,
                ..Object::default()
            };
            return Arc::new(Schema {
                shape: Shape::Object(whole),
                ..Schema::clone(&Schema::any())
            });
        }
        let definition = self
            .definitions
            .and_then(|all| all.get(name))
            .cloned()
            .unwrap_or_default();
        let schema = Arc::new(self.node(&definition, Some(name)));
        self.known.insert(name.to_owned(), schema.clone());
        schema
    }

    /// `name` is the definition's name for a built-in type.
    fn node(&mut self, node: &Value, name: Option<&str>) -> Schema {
        let nullable = node["nullable"].as_bool().unwrap_or(false);
        let shape = self.shape(node, name);
        Schema {
            shape,
            nullable,
            vanishes: false,
            default: node.get("default").cloned(),
        }
    }

    fn shape(&mut self, node: &Value, name: Option<&str>) -> Shape {
        let flag = |key: &str| node[key].as_bool().unwrap_or(false);
        if flag("x-kubernetes-int-or-string") {
            return Shape::Scalar(Scalar::IntOrString);
        }
        match node["type"].as_str() {
            Some("string") => Shape::Scalar(Scalar::Text),
            Some("integer") => Shape::Scalar(Scalar::Integer),
            Some("number") => Shape::Scalar(Scalar::Number),
            Some("boolean") => Shape::Scalar(Scalar::Boolean),
            Some("array") => Shape::List(List {
                topology: topology(node),
                items: node.get("items").map_or_else(Schema::any, |items| self.shared(items)),
            }),
            Some("object") => Shape::Object(self.object(node, name)),
            _ => Shape::Any,
        }
    }

    fn object(&mut self, node: &Value, name: Option<&str>) -> Object {
        let mut fields: BTreeMap<String, Arc<Schema>> = node["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(field, schema)| (field.clone(), self.shared(schema)))
            .collect();
        let required: Vec<String> = node["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        if let Some(name) = name {
            merge_keys::refine(name, &mut fields, &required);
        }
        let values = match &node["additionalProperties"] {
            Value::Bool(true) => Some(Schema::any()),
            values @ Value::Object(_) => Some(self.shared(values)),
            _ => None,
        };
        Object {
            fields,
            values,
            preserve: node["x-kubernetes-preserve-unknown-fields"].as_bool().unwrap_or(false),
            atomic: node["x-kubernetes-map-type"] == "atomic" || name.is_some_and(merge_keys::is_atomic),
            embedded: node["x-kubernetes-embedded-resource"].as_bool().unwrap_or(false),
            type_name: name
                .and_then(|name| name.rsplit('.').next())
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

fn topology(node: &Value) -> Topology {
    let keys = node["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
    match node["x-kubernetes-list-type"].as_str() {
        Some("map") => Topology::Map(keys.filter_map(Value::as_str).map(str::to_owned).collect()),
        Some("set") => Topology::Set,
        _ => Topology::Atomic,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
    use serde_json::json;

    use super::*;

    fn at<'a>(schema: &'a Schema, path: &[&str]) -> &'a Schema {
        path.iter().fold(schema, |schema, step| match *step {
            "[]" => &schema.items().expect("the path must name a list").items,
            name => schema.child(name).expect("the path must name a field"),
        })
    }

    #[test]
    fn built_in_lists_know_their_keys() {
        let (deployment, service) = (builtin::<Deployment>(), builtin::<Service>());
        let containers = at(&deployment, &["spec", "template", "spec", "containers"]);
        assert_eq!(containers.items().unwrap().topology, Topology::Map(vec!["name".into()]));
        let ports = at(&service, &["spec", "ports"]);
        assert_eq!(
            ports.items().unwrap().topology,
            Topology::Map(vec!["port".into(), "protocol".into()])
        );
        assert!(matches!(&at(&service, &["spec", "selector"]).shape, Shape::Object(map) if map.atomic));
        let finalizers = at(&service, &["metadata", "finalizers"]);
        assert_eq!(finalizers.items().unwrap().topology, Topology::Set);
    }

    #[test]
    fn a_crd_schema_keeps_defaults_and_topology() {
        let schema = from_crd(
            &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
                "weight": {"type": "integer", "default": 1},
                "parents": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object"}},
            }}}}),
        );
        assert_eq!(at(&schema, &["spec", "weight"]).default, Some(json!(1)));
        let parents = at(&schema, &["spec", "parents"]).items().unwrap();
        assert_eq!(parents.topology, Topology::Map(vec!["name".into()]));
        assert!(at(&schema, &["metadata"]).child("labels").is_some());
    }
}
