//! `serin why`: the whole story of one release.

use serde_json::json;

use super::line;
use super::story::story;
use super::{Desk, Output, ReleaseError, Where};

/// Which Canary, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The Canary
    name: String,
    #[command(flatten)]
    pub(super) place: Where,
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn run(desk: &mut Desk<'_>, args: &Args) -> Result<(), ReleaseError> {
    let view = desk.canary(&desk.namespace_of(&args.place), &args.name).await?;
    let places = line::places(desk, std::slice::from_ref(&view), false).await?;
    let text = match args.output {
        Output::Text => story(&view, places.long(&view).as_deref(), desk.clock.now()),
        Output::Json => {
            let status = view.raw.get("status").cloned().unwrap_or_default();
            let whole = json!({"namespace": view.namespace, "name": view.name, "why": view.why(), "queue": places.json(&view), "status": status});
            format!("{whole:#}\n")
        }
    };
    Ok(desk.out.write_all(text.as_bytes())?)
}
