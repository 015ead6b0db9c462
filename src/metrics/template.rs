//! Queries are Go templates with eight functions (`spec/analysis.md` 1.5), run by the `gotmpl` crate.
//!
//! Where it differs from Go it is put right here: `index` of an absent key is an empty text, a stray `{{ end }}` is an
//! error, and `<no value>` never reaches the server. `tests/suite/golden/go_templates.json` holds it to Go.

use std::fmt;

use gotmpl::{MissingKey, TemplateError, Value};

use crate::api::{Canary, Metric, ObjectRef};

/// A query is a few hundred letters; a template that writes more than this is broken or hostile.
const LARGEST_QUERY: usize = 64 * 1024;
/// Rounds of all `range` loops of one template together.
const MOST_ROUNDS: u64 = 100_000;
/// What the template engine prints for a value that is not there.
const NO_VALUE: &str = "<no value>";

/// Put behind the template: the engine takes a stray `{{ end }}` for the end of all, and would send half a query.
const LAST: char = '\0';

/// A template that gives no query. The prefixes are Flagger's, its spelling included.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// It is not a template.
    #[error("template parsing failed: {0}")]
    Parse(String),
    /// It stopped while it ran.
    #[error("template excution failed: {0}")]
    Execute(String),
}

/// The query that a template stands for, for this canary and this metric.
pub fn render(text: &str, canary: &Canary, metric: &Metric) -> Result<String, RenderError> {
    let template = functions(canary, metric)
        .into_iter()
        .fold(gotmpl::Template::new("tmpl"), |template, (name, value)| {
            template.func(name, move |arguments| {
                no_arguments(name, arguments).map(|()| value.clone())
            })
        })
        .func("index", index)
        .missing_key(MissingKey::Error)
        .max_range_iters(MOST_ROUNDS)
        .parse(&format!("{text}{LAST}"))
        .map_err(|error| RenderError::Parse(error.to_string()))?;
    let mut query = Bounded::default();
    let ran = template.execute_fmt(&mut query, &Value::Nil);
    if query.full {
        return Err(RenderError::Execute(format!(
            "the query is longer than {LARGEST_QUERY} bytes"
        )));
    }
    ran.map_err(|error| stage_of(&error))?;
    let query = query
        .text
        .strip_suffix(LAST)
        .ok_or_else(|| RenderError::Parse("unexpected {{end}} or {{else}}".into()))?;
    if query.contains(NO_VALUE) {
        return Err(RenderError::Execute("a value of the template is not there".into()));
    }
    Ok(query.to_owned())
}

/// Go finds unknown names when it parses, the engine when it runs into them.
fn stage_of(error: &TemplateError) -> RenderError {
    let text = error.to_string();
    match error {
        TemplateError::UndefinedFunction(_) | TemplateError::UndefinedVariable(_) => RenderError::Parse(text),
        _ => RenderError::Execute(text),
    }
}

/// The eight functions and their values. A name of the spec that is empty falls back to the target's.
fn functions(canary: &Canary, metric: &Metric) -> [(&'static str, Value); 8] {
    let spec = &canary.spec;
    let target = spec.target_ref.name.as_str();
    let or_target = |reference: &Option<ObjectRef>| {
        let name = reference.as_ref().map(|r| r.name.as_str()).filter(|n| !n.is_empty());
        Value::from(name.unwrap_or(target))
    };
    let text = |text: &Option<String>| Value::from(text.as_deref().unwrap_or_default());
    let variables = metric.template_variables.iter();
    let variables = variables.map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    [
        ("name", text(&canary.metadata.name)),
        ("namespace", text(&canary.metadata.namespace)),
        ("target", target.into()),
        ("service", spec.apex_name().into()),
        ("ingress", or_target(&spec.ingress_ref)),
        ("route", or_target(&spec.route_ref)),
        ("interval", metric.interval().into()),
        (
            "variables",
            variables.collect::<std::collections::BTreeMap<_, _>>().into(),
        ),
    ]
}

fn no_arguments(name: &str, arguments: &[Value]) -> Result<(), TemplateError> {
    if arguments.is_empty() {
        return Ok(());
    }
    let got = arguments.len();
    Err(TemplateError::Exec(format!(
        "wrong number of args for {name}: want 0 got {got}"
    )))
}

/// Go's `index`, for the values that a query can have: an absent key of a map of texts is the empty text.
fn index(arguments: &[Value]) -> Result<Value, TemplateError> {
    let [value, keys @ ..] = arguments else {
        return Err(TemplateError::Exec(
            "wrong number of args for index: want at least 1 got 0".into(),
        ));
    };
    keys.iter().try_fold(value.clone(), |value, key| match (&value, key) {
        (Value::Map(map), Value::String(key)) => Ok(map.get(key).cloned().unwrap_or_else(|| Value::from(""))),
        (Value::Map(_), _) => Err(TemplateError::Exec("index of a map must be a text".into())),
        _ => value.index(key),
    })
}

/// A text that takes no more than [`LARGEST_QUERY`].
#[derive(Default)]
struct Bounded {
    text: String,
    full: bool,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.full |= self.text.len() + part.len() > LARGEST_QUERY;
        if self.full {
            return Err(fmt::Error);
        }
        self.text.push_str(part);
        Ok(())
    }
}
