//! `serin crds`: the custom resource definitions.

use std::path::PathBuf;
use std::process::ExitCode;

use super::FAILED;
use crate::api::crd;

/// Where the definitions go.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write one file for each kind into this folder, instead of printing all
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Prints or writes the definitions.
pub(super) fn run(args: &Args) -> ExitCode {
    let Some(dir) = &args.dir else {
        print!("{}", crd::yaml());
        return ExitCode::SUCCESS;
    };
    for file in crd::files() {
        let path = dir.join(file.name);
        if let Err(error) = std::fs::write(&path, file.yaml) {
            eprintln!("serin crds: cannot write {}: {error}", path.display());
            return ExitCode::from(FAILED);
        }
        println!("{}", path.display());
    }
    ExitCode::SUCCESS
}
