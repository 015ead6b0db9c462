//! The `serin` binary.
use clap::Parser;
#[derive(Parser)]
enum Cli {
    Demo(serin::cli::demo::Args),
}
#[tokio::main]
async fn main() -> std::process::ExitCode {
    let Cli::Demo(args) = Cli::parse();
    serin::cli::demo::run(args).await
}
