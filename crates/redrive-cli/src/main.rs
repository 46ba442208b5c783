//! The `redrive` binary: parses, calls the library, prints.

mod alerts;
mod archive;
mod bench;
mod completions;
mod configuration;
mod confirm;
mod consumers;
mod demo;
mod dlq;
mod doctor;
mod failure;
mod group;
mod groups;
mod literals;
mod logging;
mod man;
mod output;
mod pending;
mod progress;
mod redis_cli;
mod reference;
mod run;
mod send;
mod session;
mod signals;
mod stats;
mod stderr;
mod terminal;
mod trim;
mod when;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use configuration::{Configured, show, usage};
use failure::Failure;
use session::{Globals, Session};

/// Redis Streams consumers done right: at least once, nothing stuck, every dead letter explained
#[derive(Parser)]
#[command(name = "redrive", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    /// A worker of the demo, in a process of its own that can be killed.
    #[command(hide = true)]
    DemoWorker(demo::WorkerArgs),
    Run(Box<run::Args>),
    Send(send::Args),
    Stats(stats::Args),
    #[command(subcommand)]
    Dlq(Box<dlq::Dlq>),
    #[command(subcommand)]
    Pending(pending::Command),
    #[command(subcommand)]
    Group(groups::Command),
    #[command(subcommand)]
    Consumer(consumers::Command),
    Trim(trim::Args),
    Doctor(doctor::Args),
    Bench(bench::Args),
    /// A worker of the bench, in a process of its own.
    #[command(hide = true)]
    BenchWorker(bench::WorkerArgs),
    /// See what is configured
    #[command(subcommand, disable_help_subcommand = true)]
    Config(Config),
    Completions(completions::Args),
    Man(man::Args),
    /// The pages of `docs/` that are made from the commands.
    #[command(hide = true)]
    Reference(reference::Args),
}

#[derive(Subcommand)]
enum Config {
    Show(show::Args),
}

/// How long what goes on in threads of its own may hold up the end.
const TO_SHUT_DOWN: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let line: Vec<OsString> = std::env::args_os().collect();
    if let Err(error) = stderr::start() {
        // Nobody else writes to it then.
        let _ = writeln!(
            std::io::stderr(),
            "error: starting a thread: {error}\nhint: the system is short of threads or memory"
        );
        return ExitCode::FAILURE;
    }
    let code = match begin(&line) {
        Ok(()) | Err(None) => ExitCode::SUCCESS,
        Err(Some(failure)) => failure.report(),
    };
    stderr::flush();
    code
}

/// Parses and runs; `None` is an end without work and without failure: help, the version.
fn begin(line: &[OsString]) -> Result<(), Option<Failure>> {
    let (matches, configured) = configuration::parse(Cli::command(), line)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| usage::failure(&error))?;
    let usual = match &cli.command {
        // The story tells all of it, and its lines are not to be mixed with others.
        Command::Demo(_) | Command::DemoWorker(_) => logging::Usual::Errors,
        // What is measured is the work, not the telling.
        Command::Bench(_) | Command::BenchWorker(_) => logging::Usual::Errors,
        _ => logging::Usual::Changes,
    };
    logging::start(&cli.globals, usual)?;
    let runtime = runtime(&cli.command)
        .map_err(|error| Failure::new(format!("starting the runtime: {error}")))?;
    let ended = runtime.block_on(run(cli, &matches, &configured));
    // Tasks are dropped here, and the process groups of handlers killed with them. A name that is
    // still looked up must not hold up an end.
    runtime.shutdown_timeout(TO_SHUT_DOWN);
    Ok(ended?)
}

fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    match command {
        // One thread: what the demo tells happens in the order in which it is told.
        Command::Demo(_) | Command::DemoWorker(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    }
    .enable_all()
    .build()
}

async fn run(cli: Cli, matches: &ArgMatches, configured: &Configured) -> Result<(), Failure> {
    let mut session = Session::new(cli.globals);
    match cli.command {
        Command::Demo(args) => {
            let url = url_given(matches, &session);
            demo::run(&args, url.as_deref(), &mut session).await
        }
        Command::DemoWorker(args) => demo::work(args).await,
        Command::Run(args) => run::run(*args, &mut session).await,
        Command::Stats(args) => stats::run(args, &mut session).await,
        Command::Dlq(command) => dlq::run(*command, &mut session).await,
        Command::Pending(command) => pending::run(command, &mut session).await,
        Command::Group(command) => groups::run(command, &mut session).await,
        Command::Consumer(command) => consumers::run(command, &mut session).await,
        Command::Trim(args) => trim::run(args, &mut session).await,
        Command::Doctor(args) => doctor::run(args, &mut session).await,
        Command::Bench(args) => {
            let url = url_given(matches, &session);
            bench::run(&args, url.as_deref(), &mut session).await
        }
        Command::BenchWorker(args) => bench::work(args).await,
        Command::Send(args) => send::run(args, &mut session).await,
        Command::Config(Config::Show(_)) => {
            show::run(&mut session, &Cli::command(), matches, configured)
        }
        Command::Completions(args) => completions::run(&args, &mut session, &Cli::command()),
        Command::Man(args) => man::run(&args, &mut session, Cli::command()),
        Command::Reference(args) => reference::run(&args, &mut session, Cli::command()),
    }
}

/// The URL of a command that needs no server: only one that was given for it is meant.
fn url_given(matches: &ArgMatches, session: &Session) -> Option<String> {
    let given = matches!(url_source(matches), Some(ValueSource::CommandLine));
    given.then(|| session.globals.url.clone())
}

fn url_source(matches: &ArgMatches) -> Option<ValueSource> {
    matches.value_source("url")
}
