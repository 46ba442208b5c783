//! The `redrive` binary: parses, calls the library, prints.

mod demo;
mod failure;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Redis Streams consumers done right: at least once, nothing stuck, every dead letter explained.
#[derive(Parser)]
#[command(name = "redrive", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    /// A worker of the demo, in a process of its own that can be killed.
    #[command(hide = true)]
    DemoWorker(demo::WorkerArgs),
}

fn main() -> ExitCode {
    // clap prints what is wrong and exits with 2, or prints help and exits with 0.
    let cli = Cli::parse();
    // One thread: what the demo tells happens in the order in which it is told.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(async {
            match cli.command {
                Command::Demo(args) => demo::run(args).await,
                Command::DemoWorker(args) => demo::work(args).await,
            }
        }),
        Err(error) => Err(Failure::new(format!("starting the runtime: {error}"))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
