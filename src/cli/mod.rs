//! The commands of the binary, one file each.
//!
//! The command line is Flagger's where it is about the controller: `serin -log-level=info -mesh-provider=contour` means
//! `serin controller` with these flags, so that an image can be exchanged for another.

mod connect;
mod controller;
mod crds;
pub mod demo;
mod flags;
mod go_flags;
mod rbac;
pub mod release;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use self::flags::Flags;
use self::go_flags::Normalised;

/// The exit code of a command that failed.
const FAILED: u8 = 1;
/// The exit code of a command line that makes no sense, as clap's own.
const MISUSED: u8 = 2;

/// Progressive delivery for Kubernetes: canary releases that promote or roll back by themselves.
#[derive(Debug, Parser)]
#[command(name = "serin", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller against a cluster; takes Flagger's flags
    Controller(Box<Flags>),
    /// Show two releases on a cluster in memory: one is promoted, one is rolled back
    Demo(demo::Args),
    /// Print the custom resource definitions
    Crds(crds::Args),
    /// Print the `ClusterRole` that the controller needs
    Rbac,
    /// Print the version
    Version,
    #[command(flatten)]
    Release(release::Command),
}

/// Runs the command line. The first argument is the name of the binary.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Normalised { arguments, notes } = match go_flags::normalise(arguments) {
        Ok(normalised) => normalised,
        Err(error) => {
            eprintln!("serin: {error}");
            return ExitCode::from(MISUSED);
        }
    };
    let command = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(error) => {
            // Help and version are no mistakes, and clap prints them where they belong.
            let _printed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(MISUSED));
        }
    };
    match command {
        Command::Controller(flags) => on_one_thread(controller::run(*flags, notes)),
        Command::Demo(args) => on_all_cores(demo::run(args)),
        Command::Crds(args) => crds::run(&args),
        Command::Rbac => rbac::run(),
        Command::Release(command) => on_one_thread(release::run(command)),
        Command::Version => {
            println!("serin {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

/// One thread does the controller's work, whatever the machine: it waits for the API server nearly all the time. And the allocator
/// then keeps one heap; several, each with the leavings of its own bursts, take a third more memory.
fn on_one_thread(command: impl Future<Output = ExitCode>) -> ExitCode {
    block_on(&mut Builder::new_current_thread(), command)
}

fn on_all_cores(command: impl Future<Output = ExitCode>) -> ExitCode {
    block_on(&mut Builder::new_multi_thread(), command)
}

fn block_on(runtime: &mut Builder, command: impl Future<Output = ExitCode>) -> ExitCode {
    match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            eprintln!("serin: cannot start: {error}");
            ExitCode::from(FAILED)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
