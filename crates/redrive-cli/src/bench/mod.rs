//! `redrive bench`: how fast redrive is on this machine, beside raw loops that do the same work unsafely.

mod bulk;
mod chart;
mod dead;
mod drain;
mod handlers;
mod latency;
mod load;
mod meter;
mod process;
mod raw;
mod recorder;
mod recovery;
mod report;
mod row;
mod server;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use redis::aio::MultiplexedConnection;
use redrive::Broker;
use tokio::time::Instant;

use self::report::Report;
use self::row::Row;
use self::server::{Force, Server};
pub(crate) use self::worker::{WorkerArgs, work};
use crate::failure::Failure;
use crate::literals;
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::note;

/// Measure redrive on this machine, each number beside a raw loop that does the same work
///
/// Starts a redis-server of its own, works it to its limit for some minutes, and prints a table: drain,
/// latency, recovery, dead-lettering, replay, the longest command, what an idle worker costs. The ratios can be compared
/// between machines, the numbers themselves cannot. docs/performance.md says how to read it.
///
/// With --url, given on the command line, it measures that server instead, whose database must be empty;
/// what it made there is removed in the end.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive bench\n  \
    redrive bench --only drain --only latency\n  \
    redrive bench -o json --chart bench.svg > bench.json")]
pub(crate) struct Args {
    /// Measure only this part; may be repeated
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// How many rounds each comparison has, at least 5 for a number to tell others
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = literals::count_in(1..=1_000))]
    rounds: usize,
    /// The server binary to start [default: redis-server or valkey-server from PATH]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Measure also on a database that is not empty
    #[arg(long)]
    force: bool,
    /// Draw the table into this file, as SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Make the generated part of docs/performance.md anew.
    #[arg(long, hide = true, value_name = "FILE")]
    page: Option<PathBuf>,
    /// One in so many messages, and of the time that is watched: for tests of the bench itself.
    #[arg(long, hide = true, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    one_in: u32,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// A full stream worked off, one reader and several
    Drain,
    /// The same with larger payloads, and typed ones
    Payloads,
    /// From send to handler
    Latency,
    /// What a killed worker held
    Recovery,
    /// Messages that always fail
    DeadLetters,
    /// Dead letters put back
    Replay,
    /// The longest command, beside a million of everything
    Bulk,
    /// Many messages that wait for a retry
    Waiting,
    /// A worker with nothing to do
    Idle,
    /// The memory of a worker
    Memory,
    /// Time to start, room on a disk
    Binary,
    /// Commands and HTTP servers as handlers
    Handlers,
}

const ALL: [Part; 12] = [
    Part::Drain,
    Part::Payloads,
    Part::Latency,
    Part::Recovery,
    Part::DeadLetters,
    Part::Replay,
    Part::Bulk,
    Part::Waiting,
    Part::Idle,
    Part::Memory,
    Part::Binary,
    Part::Handlers,
];

/// What every measurement needs.
pub(crate) struct Bench {
    server: Server,
    broker: Broker,
    /// For what no clock runs for.
    plain: MultiplexedConnection,
    rounds: usize,
    one_in: u32,
}

impl Bench {
    /// So many, or fewer where the bench itself is tested.
    fn many(&self, all: u64) -> u64 {
        (all / u64::from(self.one_in)).max(1)
    }

    fn shorter(&self, all: Duration) -> Duration {
        (all / self.one_in).max(Duration::from_millis(100))
    }

    async fn measure(&mut self, part: Part) -> Result<Vec<Row>, Failure> {
        match part {
            Part::Drain => drain::small(self).await,
            Part::Payloads => drain::others(self).await,
            Part::Latency => latency::rows(self).await,
            Part::Recovery => recovery::rows(self).await,
            Part::DeadLetters => dead::dead_lettering(self).await,
            Part::Replay => dead::replay(self).await,
            Part::Bulk => bulk::rows(self).await,
            Part::Waiting => dead::waiting(self).await,
            Part::Idle => process::idle(self).await,
            Part::Memory => process::memory(self).await,
            Part::Binary => process::binary(self).await,
            Part::Handlers => {
                let mut rows = handlers::command(self).await?;
                rows.extend(handlers::http(self).await?);
                Ok(rows)
            }
        }
    }
}

/// Measures; on a server where a URL was given for it.
pub(crate) async fn run(
    args: &Args,
    url: Option<&str>,
    session: &mut Session,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut signals = Signals::listen()?;
    recorder::install()?;
    let server = match url {
        Some(_) if args.server.is_some() => {
            return Err(Failure::usage(
                "--server names a binary to start, --url a server that runs",
            )
            .hint("give one of them"));
        }
        Some(url) => Server::named(url, if args.force { Force::Yes } else { Force::No }).await?,
        None => Server::start(args.server.as_deref()).await?,
    };
    let mut bench = Bench {
        broker: Broker::connect(&server.url).await?,
        plain: server.connect().await?,
        server,
        rounds: args.rounds,
        one_in: args.one_in,
    };
    let measured = tokio::select! {
        biased;
        signal = signals.recv() => Err(Failure::silent(signal.code())),
        measured = all(&mut bench, args, session) => measured,
    };
    // Also where it was ended: nothing of it stays on a server of somebody's.
    let cleaned = bench.server.clean().await;
    let rows = measured?;
    cleaned?;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let report = Report::of(rows, args.rounds, took_ms);
    tell(&report, args, session)
}

async fn all(bench: &mut Bench, args: &Args, session: &Session) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for part in ALL {
        if !args.only.is_empty() && !args.only.contains(&part) {
            continue;
        }
        if !session.globals.quiet {
            note(&format!("measuring: {}", name(part)));
        }
        rows.extend(bench.measure(part).await?);
        bench.server.clean().await?;
    }
    if cfg!(debug_assertions) {
        let invalid = |row: Row| match row.target {
            Some(_) => row.invalid("not an optimised build"),
            None => row,
        };
        rows = rows.into_iter().map(invalid).collect();
    }
    Ok(rows)
}

fn tell(report: &Report, args: &Args, session: &mut Session) -> Result<(), Failure> {
    if session.out.is_table() {
        session.out.table(report.table())?;
        session.out.line("")?;
        if let Some(costs) = report.costs() {
            session.out.table(costs)?;
            session.out.line("")?;
        }
        session.out.line(&report.about())?;
        session.out.line(&report.sum())?;
        session.out.flush()?;
    } else {
        session.out.document(report)?;
    }
    if let Some(path) = &args.chart {
        write(path, &chart::svg(&report.rows, &report.about()))?;
    }
    if let Some(path) = &args.page {
        let page = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("reading {}: {error}", path.display())))?;
        write(path, &report.renewed(&page)?)?;
    }
    Ok(())
}

fn write(path: &PathBuf, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        Failure::new(format!("writing {}: {error}", path.display()))
            .hint("the table is on stdout; name a file that can be written")
    })
}

fn name(part: Part) -> String {
    use clap::ValueEnum as _;
    part.to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
