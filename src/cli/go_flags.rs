//! Go's way of writing flags, turned into the one that clap reads.
//!
//! Go takes one dash or two, `-flag=value` or `-flag value`, and booleans without a value or with `=`. Flagger's chart writes
//! one dash. Flags of Go's logging library, which Flagger registers too, have no meaning here and are taken out.

use std::ffi::OsString;

/// Flags of Go's logging library, and whether each is a boolean.
const LOGGING: [(&str, bool); 14] = [
    ("add_dir_header", true),
    ("alsologtostderr", true),
    ("log_backtrace_at", false),
    ("log_dir", false),
    ("log_file", false),
    ("log_file_max_size", false),
    ("logtostderr", true),
    ("one_output", true),
    ("skip_headers", true),
    ("skip_log_headers", true),
    ("stderrthreshold", false),
    ("v", false),
    ("vmodule", false),
    ("legacy_stderr_threshold_behavior", true),
];

/// Arguments in clap's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Normalised {
    /// The arguments; the first is the name of the binary.
    pub arguments: Vec<OsString>,
    /// What was left out, for people.
    pub notes: Vec<String>,
}

/// An argument that is not text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("argument {0:?} is not valid UTF-8")]
pub(super) struct NotText(OsString);

/// Turns a command line into clap's form. Without a command it is the controller's.
pub(super) fn normalise(arguments: impl IntoIterator<Item = OsString>) -> Result<Normalised, NotText> {
    let mut given = arguments.into_iter();
    let mut normalised = Normalised {
        arguments: given.next().into_iter().collect(),
        notes: Vec::new(),
    };
    let mut given = given.map(|argument| argument.into_string().map_err(NotText)).peekable();
    match given.peek() {
        Some(Ok(first)) if is_version(first) => {
            normalised.arguments.push("version".into());
            return Ok(normalised);
        }
        Some(Ok(first)) if first.starts_with('-') && !is_help(first) => {
            normalised.arguments.push("controller".into());
        }
        Some(Ok(first)) if first != "controller" => {
            for argument in given {
                normalised.arguments.push(argument?.into());
            }
            return Ok(normalised);
        }
        _ => {}
    }
    while let Some(argument) = given.next() {
        let argument = argument?;
        let Some((name, value)) = flag(&argument) else {
            normalised.arguments.push(argument.into());
            continue;
        };
        if let Some((_, is_boolean)) = LOGGING.iter().find(|(known, _)| *known == name) {
            normalised.notes.push(format!(
                "-{name} is a flag of Go's logging library and has no meaning here"
            ));
            if value.is_none() && !is_boolean {
                // Its value stands by itself.
                given.next().transpose()?;
            }
            continue;
        }
        normalised.arguments.push(
            value
                .map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}"))
                .into(),
        );
    }
    Ok(normalised)
}

/// Name and value of a flag; `None` for what is no flag, or is clap's own short one.
fn flag(argument: &str) -> Option<(&str, Option<&str>)> {
    let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    if name.is_empty() || is_help(argument) {
        return None;
    }
    Some(
        name.split_once('=')
            .map_or((name, None), |(name, value)| (name, Some(value))),
    )
}

fn is_help(argument: &str) -> bool {
    matches!(argument, "-h" | "-help" | "--help")
}

fn is_version(argument: &str) -> bool {
    matches!(
        argument,
        "-V" | "-version" | "--version" | "-version=true" | "--version=true"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(arguments: &[&str]) -> (Vec<String>, usize) {
        let arguments = std::iter::once("serin")
            .chain(arguments.iter().copied())
            .map(OsString::from);
        let normalised = normalise(arguments).expect("these are texts");
        let texts = normalised
            .arguments
            .into_iter()
            .skip(1)
            .map(|it| it.into_string().expect("it is text"));
        (texts.collect(), normalised.notes.len())
    }

    #[test]
    fn flags_of_one_dash_get_two_and_mean_the_controller() {
        for (given, expected, notes) in [
            (vec!["-log-level=info"], vec!["controller", "--log-level=info"], 0),
            (vec!["-log-level", "info"], vec!["controller", "--log-level", "info"], 0),
            (vec!["--port=1"], vec!["controller", "--port=1"], 0),
            (
                vec!["controller", "-port=1", "-observe-only"],
                vec!["controller", "--port=1", "--observe-only"],
                0,
            ),
            (vec!["-v=4", "-port=1"], vec!["controller", "--port=1"], 1),
            (
                vec!["-v", "4", "-logtostderr", "-port", "1"],
                vec!["controller", "--port", "1"],
                2,
            ),
            (
                vec!["-selector-labels=a=b,c"],
                vec!["controller", "--selector-labels=a=b,c"],
                0,
            ),
            (vec!["-version"], vec!["version"], 0),
            (vec!["demo", "--speed", "5"], vec!["demo", "--speed", "5"], 0),
            (vec!["crds", "--dir=-x"], vec!["crds", "--dir=-x"], 0),
            (vec!["-h"], vec!["-h"], 0),
            (vec!["controller", "-h"], vec!["controller", "-h"], 0),
            (vec![], vec![], 0),
        ] {
            assert_eq!(
                normal(&given),
                (expected.into_iter().map(String::from).collect(), notes),
                "{given:?}"
            );
        }
    }
}
