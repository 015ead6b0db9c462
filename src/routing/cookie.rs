//! Cookies of session affinity (spec/routers.md 7): the text that sets one, the expression that tells who shows it, and how both
//! are known again in a route that stands.
//!
//! Flagger writes name and value into an expression as they are, so that `a` is found in `ba`, and takes cookies back without the
//! domain and path that they were set with, so that browsers keep them (spec/routers.md 7.5).

use crate::{
    api::{Analysis, SessionAffinity},
    rollout::{Cookie, Refusal},
};

/// The request header that cookies come in.
pub(super) const REQUEST: &str = "Cookie";
/// The response header that sets one.
pub(super) const RESPONSE: &str = "Set-Cookie";

/// What stands before and after a cookie in the expression for the whole header: other cookies, or nothing.
const AROUND: (&str, &str) = ("^(.*; *)?", "( *;.*)?$");
/// Seconds that the canary's cookie lives where the spec does not say.
const MAX_AGE: i64 = 86_400;
/// Makes a browser forget a cookie at once.
const AT_ONCE: i64 = -1;
/// Letters of a value.
const LETTERS: usize = 10;
/// What an expression reads as more than a letter.
const SPECIAL: &[char] = &['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$'];

/// The text by which the canary's answers set their cookie.
pub(super) fn of_canary(cookie: &Cookie, analysis: Option<&Analysis>) -> String {
    let settings = analysis.and_then(|it| it.session_affinity.as_ref());
    let given = settings.and_then(|it| it.max_age).filter(|seconds| *seconds > 0);
    text(cookie, given.unwrap_or(MAX_AGE), settings)
}

/// The text by which the primary's answers set theirs: for one interval, so that callers are shared anew at each step.
pub(super) fn of_primary(cookie: &Cookie, analysis: Option<&Analysis>) -> String {
    let interval = analysis.map_or(MAX_AGE, |it| i64::try_from(it.interval().as_secs()).unwrap_or(MAX_AGE));
    text(cookie, interval, analysis.and_then(|it| it.session_affinity.as_ref()))
}

/// The text that takes a cookie back. Browsers find it by the attributes that it was set with.
pub(super) fn taken_back(cookie: &Cookie, analysis: Option<&Analysis>) -> String {
    text(cookie, AT_ONCE, analysis.and_then(|it| it.session_affinity.as_ref()))
}

/// The attributes in Flagger's order.
fn text(cookie: &Cookie, max_age: i64, settings: Option<&SessionAffinity>) -> String {
    let mut text = format!("{cookie}; Max-Age={max_age}");
    let Some(settings) = settings else {
        return text;
    };
    let named = |name: &str, value: &Option<String>| {
        let value = value.as_deref().filter(|value| !value.is_empty());
        value.map(|value| format!("; {name}={value}"))
    };
    let flag = |name: &str, set: bool| set.then(|| format!("; {name}"));
    let attributes = [
        named("Domain", &settings.domain),
        flag("HttpOnly", settings.http_only),
        flag("Partitioned", settings.partitioned),
        named("Path", &settings.path),
        named("SameSite", &settings.same_site),
        flag("Secure", settings.secure),
    ];
    text.extend(attributes.into_iter().flatten());
    text
}

/// The expression, for the whole `Cookie` header, that tells whether the caller shows the cookie.
pub(super) fn shown(cookie: &Cookie) -> String {
    let (before, after) = AROUND;
    format!("{before}{}={}{after}", escaped(&cookie.name), escaped(&cookie.value))
}

/// A text as an expression that finds the text itself, in any dialect of expressions.
pub(super) fn escaped(text: &str) -> String {
    let mut expression = String::with_capacity(text.len());
    for letter in text.chars() {
        if SPECIAL.contains(&letter) {
            expression.push('\\');
        }
        expression.push(letter);
    }
    expression
}

/// Whether the expression tells a cookie that Serin or Flagger made.
pub(super) fn is_ours(expression: &str) -> bool {
    let (before, after) = AROUND;
    let within = |before: &str, after: &str| expression.strip_prefix(before)?.strip_suffix(after);
    let ours = within(before, after).and_then(|inner| inner.rsplit_once('='));
    let flaggers = || within(".*", ".*").and_then(|inner| inner.rsplit_once(".*"));
    ours.or_else(flaggers).is_some_and(|(_, value)| is_value(value))
}

/// Whether the text sets, or takes back, a cookie that Serin or Flagger made.
pub(super) fn is_set_by_us(text: &str) -> bool {
    let cookie = text.split_once("; Max-Age=").map(|(cookie, _)| cookie);
    cookie
        .and_then(|cookie| cookie.split_once('='))
        .is_some_and(|(_, value)| is_value(value))
}

fn is_value(value: &str) -> bool {
    value.len() == LETTERS && value.bytes().all(|letter| letter.is_ascii_alphabetic())
}

/// What is wrong with the settings, by field.
pub(super) fn refusals(settings: &SessionAffinity) -> Vec<Refusal> {
    let mut found = Vec::new();
    let mut refuse = |wrong: bool, field: &str, message: &str| {
        if wrong {
            found.push(Refusal {
                field: format!("spec.analysis.sessionAffinity.{field}"),
                message: message.to_owned(),
            });
        }
    };
    let primary = settings.primary_cookie_name.as_deref().unwrap_or_default();
    let name = "must be a cookie's name: letters, digits and !#$%&'*+-.^_`|~";
    refuse(!is_token(&settings.cookie_name), "cookieName", name);
    refuse(!primary.is_empty() && !is_token(primary), "primaryCookieName", name);
    for (field, value) in [("domain", &settings.domain), ("path", &settings.path)] {
        let broken = |value: &String| value.contains(|c: char| c == ';' || c.is_control() || !c.is_ascii());
        let message = "must be ASCII without ; and control characters: it stands in a Set-Cookie header";
        refuse(value.as_ref().is_some_and(broken), field, message);
    }
    let negative = settings.max_age.is_some_and(|seconds| seconds < 0);
    refuse(
        negative,
        "maxAge",
        "must not be negative: browsers would forget the cookie at once",
    );
    found
}

/// What browsers will not do, for people.
pub(super) fn warnings(settings: &SessionAffinity) -> Vec<String> {
    let cross_site = settings.same_site.as_deref() == Some("None");
    let needs_secure = [("sameSite None", cross_site), ("partitioned", settings.partitioned)];
    let insecure = needs_secure.into_iter().filter(|(_, set)| *set && !settings.secure);
    insecure
        .map(|(field, _)| {
            format!("spec.analysis.sessionAffinity: browsers refuse a cookie with {field} that is not secure")
        })
        .collect()
}

/// A token of RFC 9110, as the names of cookies and headers are.
pub(super) fn is_token(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    fn cookie(name: &str) -> Cookie {
        Cookie {
            name: name.to_owned(),
            value: "AbCdEfGhIj".to_owned(),
        }
    }

    #[test]
    fn a_cookie_is_found_whole_and_no_other_is() {
        let expression = Regex::new(&shown(&cookie("a.b"))).unwrap();
        for header in [
            "a.b=AbCdEfGhIj",
            "x=1; a.b=AbCdEfGhIj",
            "a.b=AbCdEfGhIj; y=2",
            "x=1;a.b=AbCdEfGhIj ;y=2",
        ] {
            assert!(expression.is_match(header), "{header}");
        }
        for header in [
            "ba.b=AbCdEfGhIj",
            "a-b=AbCdEfGhIj",
            "a.b=AbCdEfGhIjk",
            "a.b=AbCdEfGhI",
            "x=a.b=AbCdEfGhIj",
        ] {
            assert!(!expression.is_match(header), "{header}");
        }
    }

    #[test]
    fn what_we_and_flagger_made_is_known_again() {
        assert!(is_ours(&shown(&cookie("a.b"))));
        assert!(is_ours(".*flagger-cookie.*LpsIaLdoNZ.*"));
        for theirs in [".*session.*", "^(.*; *)?session=gold( *;.*)?$", ""] {
            assert!(!is_ours(theirs), "{theirs}");
        }
        assert!(is_set_by_us(&taken_back(&cookie("c"), None)));
        assert!(is_set_by_us("flagger-cookie=LpsIaLdoNZ; Max-Age=86400"));
        assert!(!is_set_by_us("session=gold; Max-Age=10") && !is_set_by_us("a=AbCdEfGhIj; Path=/"));
    }
}
