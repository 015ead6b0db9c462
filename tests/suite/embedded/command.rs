//! A command of `serin` as a person at a terminal gives it, on the embedded cluster.

use clap::Parser;
use serin::cli::release::{Command, Desk, ReleaseError, perform};

use super::{setting::NAMESPACE, stage::Stage};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What a command prints, and how it ends, with the rights and the requests of this client.
pub async fn spoken(stage: &Stage, client: kube::Client, line: &str) -> (String, Result<(), ReleaseError>) {
    let words = std::iter::once("serin").chain(line.split(' '));
    let command = Line::try_parse_from(words).expect("a command line").command;
    let mut out = Vec::new();
    let mut desk = Desk {
        client,
        namespace: NAMESPACE.into(),
        clock: stage.clock.clone(),
        out: &mut out,
    };
    let ended = perform(&mut desk, &command).await;
    (String::from_utf8(out).expect("text"), ended)
}
