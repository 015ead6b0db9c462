//! Validation of custom resources against the `OpenAPI` schema of their definition.
//!
//! Messages are those of the real server, down to "in body". CEL rules are not evaluated.

use chrono::DateTime;
use serde_json::Value;

use super::super::{
    errors::{FieldError, FieldErrorKind},
    prune::join,
};

/// Everything in a value that the schema does not allow.
pub(super) fn validate(schema: &Value, value: &Value, path: &str) -> Vec<FieldError> {
    if value.is_null() && schema["nullable"] == true {
        return Vec::new();
    }
    if let Some(error) = wrong_type(schema, value, path) {
        return vec![error];
    }
    let mut errors = Vec::new();
    match value {
        Value::Object(fields) => object(schema, fields, path, &mut errors),
        Value::Array(items) => list(schema, items, path, &mut errors),
        Value::String(text) => string(schema, text, path, &mut errors),
        Value::Number(number) => numeric(schema, number.as_f64().unwrap_or(0.0), value, path, &mut errors),
        Value::Bool(_) | Value::Null => {}
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        let shown: Vec<String> = allowed
            .iter()
            .map(|value| {
                value.as_str().map_or_else(
                    || Value::from(value.to_string()).to_string(),
                    |text| format!("{text:?}"),
                )
            })
            .collect();
        let detail = format!("supported values: {}", shown.join(", "));
        errors.push(FieldError::new(
            path,
            FieldErrorKind::NotSupported(value.clone()),
            detail,
        ));
    }
    combined(schema, value, path, &mut errors);
    errors
}

fn wrong_type(schema: &Value, value: &Value, path: &str) -> Option<FieldError> {
    let given = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if schema["x-kubernetes-int-or-string"] == true {
        return (!matches!(given, "integer" | "string")).then(|| type_error(path, "integer,string", given));
    }
    let wanted = schema["type"].as_str()?;
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = wanted == given || (wanted == "number" && given == "integer") || (wanted == "integer" && whole);
    (!fits).then(|| type_error(path, wanted, given))
}

fn type_error(path: &str, wanted: &str, given: &str) -> FieldError {
    let detail = format!("{path} in body must be of type {wanted}: {given:?}");
    FieldError::new(path, FieldErrorKind::Type(given.into()), detail)
}

fn object(schema: &Value, fields: &serde_json::Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !fields.contains_key(name) {
            errors.push(FieldError::required(join(path, name), ""));
        }
    }
    if let Some(least) = schema["minProperties"]
        .as_u64()
        .filter(|&least| (fields.len() as u64) < least)
    {
        let detail = format!("{path} in body should have at least {least} properties");
        errors.push(FieldError::invalid(path, fields.len(), detail));
    }
    too_many(schema, "maxProperties", fields.len(), path, errors);
    for (name, child) in fields {
        let declared = schema["properties"].get(name);
        if let Some(schema) = declared.or_else(|| schema.get("additionalProperties").filter(|s| s.is_object())) {
            errors.extend(validate(schema, child, &join(path, name)));
        }
    }
}

fn list(schema: &Value, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    if let Some(least) = schema["minItems"]
        .as_u64()
        .filter(|&least| (items.len() as u64) < least)
    {
        let detail = format!("{path} in body should have at least {least} items");
        errors.push(FieldError::invalid(path, items.len(), detail));
    }
    too_many(schema, "maxItems", items.len(), path, errors);
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let identity = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => Some(
            keys.iter()
                .map(|key| ((*key).to_owned(), item[*key].clone()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        ),
        _ => None,
    };
    let mut seen = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let inner = format!("{path}[{index}]");
        if let Some(id) = identity(item) {
            if seen.contains(&id) {
                errors.push(FieldError::new(&inner, FieldErrorKind::Duplicate(id.clone()), ""));
            }
            seen.push(id);
        }
        if schema["items"].is_object() {
            errors.extend(validate(&schema["items"], item, &inner));
        }
    }
}

fn too_many(schema: &Value, rule: &str, count: usize, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(most) = schema[rule].as_u64().filter(|&most| count as u64 > most) {
        let unit = if most == 1 { "item" } else { "items" };
        let detail = format!("must have at most {most} {unit}");
        errors.push(FieldError::new(path, FieldErrorKind::TooMany(count), detail));
    }
}

fn string(schema: &Value, text: &str, path: &str, errors: &mut Vec<FieldError>) {
    let length = text.chars().count() as u64;
    let mut invalid = |detail: String| errors.push(FieldError::invalid(path, text, detail));
    if let Some(least) = schema["minLength"].as_u64().filter(|&least| length < least) {
        invalid(format!("{path} in body should be at least {least} chars long"));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && regex::Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text))
    {
        invalid(format!("{path} in body should match '{pattern}'"));
    }
    if schema["format"] == "date-time" && DateTime::parse_from_rfc3339(text).is_err() {
        invalid(format!("{path} in body must be of type date-time: {text:?}"));
    }
    if let Some(most) = schema["maxLength"].as_u64().filter(|&most| length > most) {
        let unit = if most == 1 { "byte" } else { "bytes" };
        errors.push(FieldError::new(
            path,
            FieldErrorKind::TooLong,
            format!("may not be more than {most} {unit}"),
        ));
    }
}

fn numeric(schema: &Value, number: f64, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut invalid = |detail: String| errors.push(FieldError::invalid(path, value.clone(), detail));
    let shown = |bound: f64| {
        if bound.fract() == 0.0 {
            format!("{bound:.0}")
        } else {
            bound.to_string()
        }
    };
    if let Some(least) = schema["minimum"].as_f64() {
        if schema["exclusiveMinimum"] == true {
            if number <= least {
                invalid(format!("{path} in body should be greater than {}", shown(least)));
            }
        } else if number < least {
            invalid(format!(
                "{path} in body should be greater than or equal to {}",
                shown(least)
            ));
        }
    }
    if let Some(most) = schema["maximum"].as_f64() {
        if schema["exclusiveMaximum"] == true {
            if number >= most {
                invalid(format!("{path} in body should be less than {}", shown(most)));
            }
        } else if number > most {
            invalid(format!(
                "{path} in body should be less than or equal to {}",
                shown(most)
            ));
        }
    }
    if let Some(unit) = schema["multipleOf"].as_f64().filter(|unit| *unit > 0.0)
        && (number / unit).fract() != 0.0
    {
        invalid(format!("{path} in body should be a multiple of {}", shown(unit)));
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`. The real server names no field here, and shows no value.
fn combined(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let branches = |rule: &str| schema[rule].as_array().cloned().unwrap_or_default();
    let passing = |rule: &str| {
        let all = branches(rule);
        (
            all.len(),
            all.iter()
                .filter(|branch| validate(branch, value, path).is_empty())
                .count(),
        )
    };
    let mut failed = |detail: String| errors.push(FieldError::invalid("<nil>", "", detail));
    let (count, passed) = passing("allOf");
    if passed < count {
        failed(format!("{path:?} must validate all the schemas (allOf)"));
    }
    let (count, passed) = passing("anyOf");
    if count > 0 && passed == 0 {
        failed(format!("{path:?} must validate at least one schema (anyOf)"));
    }
    let (count, passed) = passing("oneOf");
    if count > 0 && passed != 1 {
        let found = if passed == 0 {
            "none valid".to_owned()
        } else {
            format!("{passed} valid alternatives")
        };
        failed(format!(
            "{path:?} must validate one and only one schema (oneOf). Found {found}"
        ));
    }
    if schema["not"].is_object() && validate(&schema["not"], value, path).is_empty() {
        failed(format!("{path:?} must not validate the schema (not)"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_rule_speaks_as_the_real_server_does() {
        let cases = [
            (
                json!({"type": "integer"}),
                json!("a"),
                "spec.x in body must be of type integer: \"string\"",
            ),
            (
                json!({"type": "number", "minimum": 1}),
                json!(0.5),
                "spec.x in body should be greater than or equal to 1",
            ),
            (
                json!({"type": "integer", "maximum": 100}),
                json!(101),
                "spec.x in body should be less than or equal to 100",
            ),
            (
                json!({"type": "string", "pattern": "^[0-9]+(m|s)"}),
                json!("m"),
                "spec.x in body should match '^[0-9]+(m|s)'",
            ),
            (
                json!({"type": "string", "minLength": 2}),
                json!("a"),
                "spec.x in body should be at least 2 chars long",
            ),
            (
                json!({"type": "string", "enum": ["a", "b"]}),
                json!("c"),
                "supported values: \"a\", \"b\"",
            ),
            (
                json!({"type": "array", "maxItems": 1}),
                json!([1, 2]),
                "must have at most 1 item",
            ),
            (
                json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
                json!({}),
                "\"spec.x\" must validate one and only one schema (oneOf). Found none valid",
            ),
        ];
        for (schema, value, want) in cases {
            let errors = validate(&schema, &value, "spec.x");
            assert_eq!(errors.len(), 1, "{schema} {value}");
            assert_eq!(errors[0].detail, want);
        }
    }

    #[test]
    fn what_fits_passes() {
        let schema = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "integer"}, "b": {"type": "string", "nullable": true},
            "c": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}}});
        for value in [
            json!({"a": 1}),
            json!({"a": 1.0, "b": null, "c": "10%"}),
            json!({"a": 1, "c": 3}),
        ] {
            assert_eq!(validate(&schema, &value, ""), Vec::new(), "{value}");
        }
        let missing = validate(&schema, &json!({}), "spec");
        assert_eq!(missing, [FieldError::required("spec.a", "")]);
    }
}
