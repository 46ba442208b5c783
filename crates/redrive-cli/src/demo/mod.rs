//! `redrive demo`: the life of a small order stream, told as it happens; and an incident to practise on.

mod causes;
mod incident;
mod orders;
mod story;
mod worker;

use clap::Args as ClapArgs;
use redrive::StreamKey;

use crate::failure::Failure;
use crate::session::Session;

/// Watch messages being retried, recovered from a killed worker, dead-lettered and replayed
///
/// Twenty orders go through a stream. Some fail once, some always, one does not decode, and a
/// worker dies with orders in hand. Takes a few seconds. Nothing is needed: the broker is a part
/// of this program. With --url it runs on that server instead, cleans up afterwards, and the worker
/// that dies is a process that is killed. Every number told is the broker's own.
///
/// With --incident it makes an incident to practise on instead: 40,000 dead letters of six causes, from
/// three systems, in the queue redrive-demo:incident:dlq of that server. docs/runbook.md goes through it.
/// Without --url it only tells which causes there would be.
#[derive(ClapArgs)]
#[command(
    after_help = "Examples:\n  redrive demo\n  redrive demo --url redis://127.0.0.1:6379\n  \
    redrive demo --incident --url redis://127.0.0.1:6379"
)]
pub(crate) struct Args {
    /// Make an incident: a dead-letter queue to practise on
    #[arg(long)]
    incident: bool,
    /// Make the incident anew: what is there of one before is removed first
    #[arg(long, requires = "incident")]
    force: bool,
    /// One in so many of each cause: for tests that make it often.
    #[arg(
        long,
        hide = true,
        value_name = "N",
        default_value_t = 1,
        requires = "incident"
    )]
    one_in: u64,
}

/// What becomes of an incident that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incident {
    Once,
    Anew,
}

#[derive(ClapArgs)]
pub(crate) struct WorkerArgs {
    /// The stream of the demo. The URL comes on stdin: it may hold a password.
    #[arg(long, value_name = "STREAM")]
    stream: StreamKey,
}

/// Tells the story, or makes the incident; on a server where a URL was given for it.
pub(crate) async fn run(
    args: &Args,
    url: Option<&str>,
    session: &mut Session,
) -> Result<(), Failure> {
    // A broker in memory is in no other process: its first worker is a task.
    let url = url.filter(|url| !url.starts_with("memory:"));
    match (args.incident, args.force) {
        (false, _) => story::tell(url).await,
        (true, false) => incident::make(Incident::Once, args.one_in, url, session).await,
        (true, true) => incident::make(Incident::Anew, args.one_in, url, session).await,
    }
}

/// Is the worker that is killed in it.
pub(crate) async fn work(args: WorkerArgs) -> Result<(), Failure> {
    worker::first_in_a_process(args.stream).await
}
