//! The forms of names and keys: what is wrong with one, in the words of Kubernetes.

use super::super::names::{self, NameRule};

const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
                         an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                         validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                           and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or \
                           '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
                          or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// The key of a label or an annotation: a name of at most 63 characters, with or without a domain before it.
pub(super) fn qualified(key: &str) -> Option<String> {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Some("prefix part must be non-empty".to_owned());
        }
        if let Some(error) = names::check(prefix, NameRule::Subdomain) {
            return Some(format!("prefix part {}", error.detail));
        }
    }
    match name {
        "" => Some("name part must be non-empty".to_owned()),
        _ if name.len() > 63 => Some("name part must be no more than 63 characters".to_owned()),
        _ if is_word(name) => None,
        _ => Some(NAME_PART.to_owned()),
    }
}

/// A label's value: at most 63 characters, or empty.
pub(super) fn label_value(value: &str) -> Option<&'static str> {
    if value.len() > 63 {
        return Some("must be no more than 63 characters");
    }
    (!value.is_empty() && !is_word(value)).then_some(LABEL_VALUE)
}

/// A key in the data of a `ConfigMap` or a Secret.
pub(super) fn config_key(key: &str) -> Option<&'static str> {
    let valid = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    (!valid).then_some(CONFIG_KEY)
}

/// Letters and digits at both ends, and `-_.` between.
fn is_word(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(ends) && text.ends_with(ends) && text.chars().all(|c| ends(c) || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_have_a_domain() {
        for (key, valid) in [
            ("app", true),
            ("app.kubernetes.io/name", true),
            ("a_b.c", true),
            ("a b", false),
            ("/a", false),
            ("Up.Per/a", false),
            ("a/", false),
        ] {
            assert_eq!(qualified(key).is_none(), valid, "{key:?}");
        }
    }
}
