//! Failures as a Kubernetes API server answers them: a `Status` object with reason, code, details and causes.

use serde_json::{Value, json};

use super::resource::Resource;

/// A refused request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) details: Option<Value>,
    /// Where the rest of an expired list can be had as it is now.
    pub(super) rest: Option<String>,
    /// Answered as plain text, by the part of the server that knows no APIs.
    pub(super) plain: bool,
}

/// One field that an object has wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FieldError {
    pub(super) field: String,
    pub(super) kind: FieldErrorKind,
    pub(super) detail: String,
}

/// The kinds of field errors that Kubernetes tells apart, with the value that is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum FieldErrorKind {
    Required,
    Invalid(Value),
    Type(Value),
    NotSupported(Value),
    Duplicate(Value),
    Forbidden,
    TooLong,
    TooMany(usize),
    NotFound(Value),
}

impl Refusal {
    fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            rest: None,
            plain: false,
        }
    }

    fn about(code: u16, reason: &'static str, resource: &Resource, name: &str, message: String) -> Self {
        let mut details = serde_json::Map::new();
        for (key, value) in [("name", name), ("group", &resource.group), ("kind", &resource.plural)] {
            if !value.is_empty() {
                details.insert(key.into(), value.into());
            }
        }
        Self {
            code,
            reason,
            message,
            details: Some(Value::Object(details)),
            rest: None,
            plain: false,
        }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    pub(super) fn no_such_path() -> Self {
        Self {
            details: Some(json!({})),
            ..Self::plain(404, "NotFound", "the server could not find the requested resource")
        }
    }

    /// No API group or version of that name.
    pub(super) fn no_such_group() -> Self {
        Self {
            plain: true,
            ..Self::plain(404, "", "404 page not found\n")
        }
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::about(
            404,
            "NotFound",
            resource,
            name,
            format!("{} {name:?} not found", resource.qualified()),
        )
    }

    pub(super) fn already_exists(resource: &Resource, name: &str, generated: bool) -> Self {
        let tail = if generated {
            ", the server was not able to generate a unique name for the object"
        } else {
            ""
        };
        let message = format!("{} {name:?} already exists{tail}", resource.qualified());
        Self::about(409, "AlreadyExists", resource, name, message)
    }

    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            resource.qualified()
        );
        Self::about(409, "Conflict", resource, name, message)
    }

    /// The resourceVersion of a write is not the stored one.
    pub(super) fn stale(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    pub(super) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let qualified = resource.qualified();
        let message = if name.is_empty() {
            format!("{qualified} is forbidden: {why}")
        } else {
            format!("{qualified} {name:?} is forbidden: {why}")
        };
        Self::about(403, "Forbidden", resource, name, message)
    }

    /// A create in a namespace that is going.
    pub(super) fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut refusal = Self::forbidden(resource, name, &why);
        if let Some(details) = &mut refusal.details {
            details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }]);
        }
        refusal
    }

    pub(super) fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let mut bodies: Vec<String> = Vec::new();
        for body in errors.iter().map(|error| format!("{}: {}", error.field, error.body())) {
            if !bodies.contains(&body) {
                bodies.push(body);
            }
        }
        let why = match bodies.as_slice() {
            [] => String::new(),
            [only] => format!(": {only}"),
            several => format!(": [{}]", several.join(", ")),
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({"reason": error.reason(), "message": error.body(), "field": error.field}))
            .collect();
        let mut details = json!({});
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                details[key] = value.into();
            }
        }
        if !causes.is_empty() {
            details["causes"] = causes.into();
        }
        let message = format!("{qualified} {name:?} is invalid{why}");
        Self {
            details: Some(details),
            ..Self::plain(422, "Invalid", message)
        }
    }

    /// A list or watch from a state that the server no longer has.
    pub(super) fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self {
            details: Some(json!({})),
            ..Self::plain(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            )
        }
    }

    pub(super) fn unsupported_media(message: impl Into<String>) -> Self {
        Self::plain(415, "UnsupportedMediaType", message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::plain(413, "RequestEntityTooLarge", message)
    }

    /// A JSON patch that could not be applied, a failed test among them.
    pub(super) fn unprocessable() -> Self {
        Self {
            details: Some(json!({})),
            ..Self::plain(
                422,
                "Invalid",
                "the server rejected our request due to an error in our request",
            )
        }
    }

    /// An error that the server did not expect: its text alone, with code 500.
    pub(super) fn unexpected(message: impl Into<String>) -> Self {
        Self::plain(500, "", message)
    }

    pub(super) fn internal(message: &str) -> Self {
        Self {
            details: Some(json!({"causes": [{"message": message}]})),
            ..Self::plain(500, "InternalError", format!("Internal error occurred: {message}"))
        }
    }

    pub(super) fn timeout(message: &str) -> Self {
        Self {
            details: Some(json!({
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            })),
            ..Self::plain(504, "Timeout", format!("Timeout: {message}"))
        }
    }

    /// Fields of an apply that other managers own.
    pub(super) fn apply_conflict(message: String, causes: &[Value]) -> Self {
        Self {
            details: Some(json!({"causes": causes})),
            ..Self::plain(409, "Conflict", message)
        }
    }

    /// An answer as an admission webhook gives it.
    pub(super) fn rejected(code: u16, message: &str) -> Self {
        Self::plain(code, if code == 403 { "Forbidden" } else { "" }, message)
    }

    /// The answer's body.
    pub(super) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        if let Some(rest) = &self.rest {
            status["metadata"]["continue"] = rest.as_str().into();
        }
        status
    }
}

impl FieldError {
    pub(super) fn new(field: impl Into<String>, kind: FieldErrorKind, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            kind,
            detail: detail.into(),
        }
    }

    pub(super) fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, FieldErrorKind::Required, detail)
    }

    pub(super) fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(field, FieldErrorKind::Invalid(value.into()), detail)
    }

    pub(super) fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, FieldErrorKind::Forbidden, detail)
    }

    fn reason(&self) -> &'static str {
        match self.kind {
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Invalid(_) => "FieldValueInvalid",
            FieldErrorKind::Type(_) => "FieldValueTypeInvalid",
            FieldErrorKind::NotSupported(_) => "FieldValueNotSupported",
            FieldErrorKind::Duplicate(_) => "FieldValueDuplicate",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::TooLong => "FieldValueTooLong",
            FieldErrorKind::TooMany(_) => "FieldValueTooMany",
            FieldErrorKind::NotFound(_) => "FieldValueNotFound",
        }
    }

    fn body(&self) -> String {
        let head = match &self.kind {
            FieldErrorKind::Required => "Required value".to_owned(),
            FieldErrorKind::Invalid(value) | FieldErrorKind::Type(value) => format!("Invalid value: {value}"),
            FieldErrorKind::NotSupported(value) => format!("Unsupported value: {value}"),
            FieldErrorKind::Duplicate(value) => format!("Duplicate value: {value}"),
            FieldErrorKind::Forbidden => "Forbidden".to_owned(),
            FieldErrorKind::TooLong => "Too long".to_owned(),
            FieldErrorKind::TooMany(count) => format!("Too many: {count}"),
            FieldErrorKind::NotFound(value) => format!("Not found: {value}"),
        };
        if self.detail.is_empty() {
            head
        } else {
            format!("{head}: {}", self.detail)
        }
    }
}
