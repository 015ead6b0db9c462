//! Rights: everything is allowed but what a test denies.
//!
//! Denied requests answer 403, and the review APIs of authorization.k8s.io tell the same story, so that a program that
//! asks before it acts sees what it would get.

use serde_json::{Value, json};

use super::{call::Call, errors::Refusal, resource::Resource};

/// One denied right. `*` stands for anything; a subresource is written `pods/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The user that is denied.
    pub user: String,
    /// The verb, for example `patch`.
    pub verb: String,
    /// The API group, empty for the core group.
    pub group: String,
    /// The plural resource name, with its subresource if any.
    pub resource: String,
}

/// All denied rights.
#[derive(Clone, Debug, Default)]
pub(super) struct Denials(pub(super) Vec<Denial>);

impl Denials {
    fn denies(&self, user: &str, verb: &str, group: &str, resource: &str) -> bool {
        let hits = |rule: &str, value: &str| rule == "*" || rule == value;
        self.0.iter().any(|denial| {
            hits(&denial.user, user)
                && hits(&denial.verb, verb)
                && hits(&denial.group, group)
                && hits(&denial.resource, resource)
        })
    }

    /// Refuses a call that is denied, in the words of the RBAC authorizer.
    pub(super) fn check(&self, call: &Call) -> Result<(), Refusal> {
        let Resource { group, plural, .. } = &*call.resource;
        let resource = with_subresource(plural, &call.subresource);
        if !self.denies(&call.user, call.verb.word(), group, &resource) {
            return Ok(());
        }
        let place = if call.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", call.namespace)
        };
        let (user, verb) = (&call.user, call.verb.word());
        let why = format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}");
        Err(Refusal::forbidden(&call.resource, &call.name, &why))
    }

    /// Answers a `SelfSubjectAccessReview`.
    pub(super) fn access_review(&self, user: &str, mut review: Value) -> Value {
        let asked = &review["spec"]["resourceAttributes"];
        let text = |field: &str| asked[field].as_str().unwrap_or_default();
        let resource = with_subresource(text("resource"), text("subresource"));
        let denied = asked.is_object() && self.denies(user, text("verb"), text("group"), &resource);
        review["status"] = if denied {
            json!({"allowed": false})
        } else {
            json!({"allowed": true})
        };
        review
    }

    /// Answers a `SelfSubjectRulesReview`: everything, or the list of what is left of `resources`.
    pub(super) fn rules_review<'a>(
        &self,
        user: &str,
        mut review: Value,
        resources: impl Iterator<Item = &'a Resource>,
    ) -> Value {
        let verbs = [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ];
        let mut rules = Vec::new();
        if self.0.is_empty() {
            rules.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        } else {
            for resource in resources {
                let subresources = [
                    ("", true),
                    ("status", resource.status),
                    ("scale", resource.scale.is_some()),
                ];
                for (subresource, _) in subresources.into_iter().filter(|(_, served)| *served) {
                    let name = with_subresource(&resource.plural, subresource);
                    let allowed: Vec<&str> = verbs
                        .into_iter()
                        .filter(|verb| !self.denies(user, verb, &resource.group, &name))
                        .collect();
                    rules.push(json!({"verbs": allowed, "apiGroups": [resource.group], "resources": [name]}));
                }
            }
        }
        review["status"] = json!({"resourceRules": rules, "nonResourceRules": [], "incomplete": false});
        review
    }
}

fn with_subresource(plural: &str, subresource: &str) -> String {
    if subresource.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}/{subresource}")
    }
}
