//! The embedded API server against the real one: the scripts of `tests/suite/apiserver` are played on both, and the answers
//! are compared field by field. The suite holds the embedded server to answers that were recorded; here it is seen that these are
//! still what a real server says, and `--record` writes them down anew.

#[path = "../../suite/apiserver/script.rs"]
mod script;
#[path = "../../suite/apiserver/scripts.rs"]
mod scripts;
mod server;

use std::path::Path;
use std::thread;

use crate::harness::Outcome;
use crate::harness::programs::Programs;
use crate::harness::verdict::{Expectation, listed};
use crate::sim::script::Answer;
use crate::sim::scripts::{Script, differences};
use crate::sim::server::Server;

/// What can be told to the scenario.
#[derive(clap::Args)]
pub struct Arguments {
    /// Write the real server's answers into the recordings that the suite replays.
    #[arg(long)]
    record: bool,
}

/// Plays every script, each on a real server that nobody has used before.
pub async fn run(arguments: &Arguments, programs: &Programs, state: &Path) -> Outcome<Vec<Expectation>> {
    let (mut all, mut operations, mut differing) = (Vec::new(), 0, 0);
    for script in [Script::Requests, Script::ByItself, Script::Routes, Script::Istio] {
        let name = script.name();
        let real = played(script, programs, &state.join(name)).await?;
        if arguments.record {
            record(script, &real)?;
        }
        let embedded = played_embedded(script)?;
        let bound = || real.iter().filter(|answer| script.binds(&answer.step));
        let wrong = differences(bound(), &embedded);
        let stale = differences(&script.recorded(), &real);
        for difference in &wrong {
            println!("{name}: the embedded server differs: {difference}");
        }
        for difference in &stale {
            println!("{name}: the recording differs: {difference}");
        }
        let count = bound().count();
        all.push(Expectation::new(
            format!(
                "{name}: the embedded server answers as the real one ({count} operations, {} differences)",
                wrong.len()
            ),
            wrong.is_empty() && count > 0,
        ));
        all.push(Expectation::new(
            format!(
                "{name}: the real server answers as recorded ({} operations, {} differences)",
                real.len(),
                stale.len()
            ),
            stale.is_empty() && script.recorded().len() == real.len(),
        ));
        operations += count;
        differing += wrong.len();
    }
    println!("\n{}", listed(&all));
    println!("{operations} operations compared field by field, {differing} differences");
    Ok(all)
}

/// The real server's answers.
async fn played(script: Script, programs: &Programs, folder: &Path) -> Outcome<Vec<Answer>> {
    let server = Server::start(script, programs, folder).await?;
    Ok(script.play(&server.client, async || server.forget().await).await)
}

/// The embedded server's answers, on a clock that does not wait.
fn played_embedded(script: Script) -> Outcome<Vec<Answer>> {
    let play = move || {
        let paused = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()?;
        Ok::<_, std::io::Error>(paused.block_on(script.play_embedded()))
    };
    let answers = thread::spawn(play).join();
    Ok(answers.map_err(|_| "the embedded server did not answer")??)
}

fn record(script: Script, answers: &[Answer]) -> Outcome<()> {
    let lines: Vec<String> = answers.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    Ok(std::fs::write(script.recording(), lines.join("\n") + "\n")?)
}
