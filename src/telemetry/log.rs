//! Logs: lines for people, or one JSON object a line with Flagger's keys `ts`, `level`, `msg` and `canary`.
//!
//! They go to standard error, as Flagger's do. The level can be changed while the process runs (`PUT /loglevel`).

use std::fmt;
use std::str::FromStr;

use chrono::SecondsFormat;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use crate::clock::Clock;

/// The crate's own messages follow the level; those of libraries are shown from `warn` on.
const OWN: &str = "serin";

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For machines.
    Json,
    /// For people.
    Console,
}

/// From which level on messages are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Payloads too; Flagger has no such level.
    Trace,
    /// Decisions too.
    Debug,
    /// What happens.
    Info,
    /// What a person may want to look at.
    Warn,
    /// What went wrong.
    Error,
}

/// A text that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no log level; there are trace, debug, info, warn and error")]
pub struct UnknownLevel(String);

/// Changes the level of a running process. Cheap to clone.
#[derive(Clone)]
pub struct LevelHandle {
    set: std::sync::Arc<dyn Fn(Level) + Send + Sync>,
}

impl LevelHandle {
    /// A handle that calls `set`.
    pub fn calling(set: impl Fn(Level) + Send + Sync + 'static) -> Self {
        Self {
            set: std::sync::Arc::new(set),
        }
    }

    /// Shows messages from this level on.
    pub fn set(&self, level: Level) {
        (self.set)(level);
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Flagger's names, and `warning`, which its help text promises. `fatal` and `panic` show errors.
    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        match text.trim().to_ascii_lowercase().as_str() {
            "trace" => Ok(Self::Trace),
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "error" | "fatal" | "panic" => Ok(Self::Error),
            _ => Err(UnknownLevel(text.trim().to_owned())),
        }
    }
}

impl Level {
    fn filter(self) -> Targets {
        let own = match self {
            Self::Trace => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
        };
        Targets::new()
            .with_default(own.min(LevelFilter::WARN))
            .with_target(OWN, own)
    }
}

/// Sends the process's messages to standard error from now on. A second call changes nothing but returns a handle that
/// does nothing, since there is one log.
pub fn init(format: Format, level: Level, clock: Clock) -> LevelHandle {
    let (subscriber, handle) = subscriber(format, level, clock, std::io::stderr);
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("the log was set up before");
    }
    handle
}

/// A subscriber that writes to `out`, and the handle of its level.
fn subscriber<W>(format: Format, level: Level, clock: Clock, out: W) -> (impl Subscriber + Send + Sync, LevelHandle)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, reload) = reload::Layer::new(level.filter());
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Line { format, clock })
        .with_writer(out);
    let handle = LevelHandle::calling(move |level| {
        if reload.reload(level.filter()).is_err() {
            tracing::error!("the log level could not be changed");
        }
    });
    (tracing_subscriber::registry().with(lines.with_filter(filter)), handle)
}

struct Line {
    format: Format,
    clock: Clock,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = self.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let level = event.metadata().level().as_str();
        match self.format {
            Format::Json => {
                let mut line = Map::new();
                line.insert("level".into(), level.to_lowercase().into());
                line.insert("ts".into(), time.into());
                line.extend(caller(event).map(|caller| ("caller".into(), caller.into())));
                line.insert("msg".into(), fields.message.into());
                line.extend(fields.others);
                writeln!(out, "{}", Value::Object(line))
            }
            Format::Console => {
                write!(out, "{time} {level:5} ")?;
                if let Some(canary) = fields.others.remove("canary") {
                    write!(out, "{}: ", plain(&canary))?;
                }
                write!(out, "{}", fields.message)?;
                for (name, value) in &fields.others {
                    write!(out, " {name}={}", plain(value))?;
                }
                writeln!(out)
            }
        }
    }
}

/// Folder, file and line of the code that speaks, as Flagger's `caller` (`spec/core.md` 5).
fn caller(event: &Event<'_>) -> Option<String> {
    let (file, line) = (event.metadata().file()?, event.metadata().line()?);
    let mut parts = file.rsplitn(3, ['/', '\\']);
    let name = parts.next()?;
    Some(
        parts
            .next()
            .map_or_else(|| format!("{name}:{line}"), |folder| format!("{folder}/{name}:{line}")),
    )
}

/// A text without quotes where it can be read without them.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains([' ', '"', '\n']) => text.clone(),
        other => other.to_string(),
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.others.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use chrono::DateTime;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics with it").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn lines(&self) -> Vec<String> {
            let bytes = self.0.lock().expect("no test panics with it");
            String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
        }
    }

    fn written(format: Format, level: Level, write: impl FnOnce(&LevelHandle)) -> Vec<String> {
        let paper = Paper::default();
        let out = paper.clone();
        let start = DateTime::from_timestamp_millis(1_700_000_000_250).expect("a fixed time must be valid");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let _inside = runtime.as_ref().expect("a runtime must start").enter();
        let (subscriber, handle) = subscriber(format, level, Clock::virtual_at(start), move || out.clone());
        tracing::subscriber::with_default(subscriber, || write(&handle));
        paper.lines()
    }

    #[test]
    fn json_lines_have_flaggers_keys() {
        let lines = written(Format::Json, Level::Info, |_| {
            tracing::info!(canary = %"podinfo.test", count = 3, "Advance podinfo.test canary weight 20");
        });
        let mut line: Value = serde_json::from_str(&lines[0]).expect("it must be JSON");
        let caller = line["caller"].take();
        let place = caller
            .as_str()
            .and_then(|caller| caller.strip_prefix("telemetry/log.rs:"));
        assert!(place.is_some_and(|line| line.parse::<u32>().is_ok()), "{caller}");
        let expected = serde_json::json!({
            "level": "info", "ts": "2023-11-14T22:13:20.250Z", "msg": "Advance podinfo.test canary weight 20",
            "canary": "podinfo.test", "count": 3, "caller": null
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn lines_for_people_begin_with_time_level_and_canary() {
        let lines = written(Format::Console, Level::Info, |_| {
            tracing::warn!(canary = %"podinfo.test", fix = "do this", "halt");
        });
        assert_eq!(
            lines,
            [r#"2023-11-14T22:13:20.250Z WARN  podinfo.test: halt fix="do this""#]
        );
    }

    #[test]
    fn the_level_changes_while_the_process_runs() {
        let lines = written(Format::Console, Level::Info, |handle| {
            tracing::debug!("one");
            handle.set(Level::Debug);
            tracing::debug!("two");
            handle.set(Level::Error);
            tracing::warn!("three");
        });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with("two"));
    }

    #[test]
    fn libraries_are_heard_from_warn_on() {
        let lines = written(Format::Console, Level::Trace, |_| {
            tracing::info!(target: "kube_client", "chatter");
            tracing::warn!(target: "kube_client", "trouble");
        });
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn flaggers_levels_are_understood_and_others_are_not() {
        for (text, level) in [
            ("debug", Level::Debug),
            ("warning", Level::Warn),
            ("fatal", Level::Error),
            (" INFO\n", Level::Info),
        ] {
            assert_eq!(text.parse(), Ok(level));
        }
        assert!("loud".parse::<Level>().is_err());
    }
}
