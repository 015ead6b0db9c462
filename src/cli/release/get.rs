//! `serin get`: a table of Canaries.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::line::{self, Places};
use super::story::span;
use super::view::View;
use super::{Desk, Output, ReleaseError, Where};

/// Which Canaries, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// This one only
    name: Option<String>,
    #[command(flatten)]
    pub(super) place: Where,
    /// Those of all namespaces
    #[arg(long, short = 'A', conflicts_with = "name")]
    all_namespaces: bool,
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn run(desk: &mut Desk<'_>, args: &Args) -> Result<(), ReleaseError> {
    let namespace = desk.namespace_of(&args.place);
    let views = match &args.name {
        Some(name) => vec![desk.canary(&namespace, name).await?],
        None => desk.all((!args.all_namespaces).then_some(namespace.as_str())).await?,
    };
    let places = line::places(desk, &views, args.all_namespaces).await?;
    let text = match args.output {
        Output::Json => {
            let all: Vec<Value> = views.iter().map(|view| summary(view, &places)).collect();
            format!("{:#}\n", Value::Array(all))
        }
        Output::Text if views.is_empty() && args.all_namespaces => "No Canaries in this cluster.\n".to_owned(),
        Output::Text if views.is_empty() => format!("No Canaries in namespace {namespace}.\n"),
        Output::Text => table(&views, &places, args.all_namespaces, desk.clock.now()),
    };
    Ok(desk.out.write_all(text.as_bytes())?)
}

fn summary(view: &View, places: &Places) -> Value {
    let why = view.why();
    json!({
        "namespace": view.namespace, "name": view.name, "phase": view.phase(), "weight": view.weight(), "since": view.since(),
        "reason": why.reason, "message": why.message, "awaiting": why.awaiting, "until": why.until, "then": why.then,
        "queue": places.json(view), "observedWeight": view.block.as_ref().and_then(|block| block.observed_weight),
    })
}

fn table(views: &[View], places: &Places, with_namespace: bool, now: DateTime<Utc>) -> String {
    let head = ["NAMESPACE", "NAME", "PHASE", "WEIGHT", "SINCE", "REASON", "WAITS FOR"].map(String::from);
    let rows = views.iter().map(|view| {
        let why = view.why();
        [
            view.namespace.clone(),
            view.name.clone(),
            view.phase().to_owned(),
            view.weights(),
            view.since().map_or_else(|| "-".into(), |since| span(now - since)),
            why.reason,
            places
                .short(view)
                .map(|place| format!("a slot, {place}"))
                .or(why.awaiting)
                .unwrap_or_else(|| "-".into()),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(rows).collect();
    let first = usize::from(!with_namespace);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells: Vec<String> = (first..7)
            .map(|column| format!("{:<1$}", row[column], widths[column]))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
