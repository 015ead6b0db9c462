//! The `serin` binary: hands the command line over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    serin::cli::main(std::env::args_os())
}
