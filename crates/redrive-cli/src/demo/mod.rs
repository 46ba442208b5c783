//! `redrive demo`: the life of a small order stream, told as it happens.

mod orders;
mod story;
mod worker;

use clap::Args as ClapArgs;
use redrive::StreamKey;

use crate::failure::Failure;

/// Watch messages being retried, recovered from a killed worker, dead-lettered and replayed
///
/// Twenty orders go through a stream. Some fail once, some always, one does not decode, and a
/// worker dies with orders in hand. Takes a few seconds. Nothing is needed: the broker is a part
/// of this program. With --url it runs on that server instead, cleans up afterwards, and the worker
/// that dies is a process that is killed. Every number told is the broker's own.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  redrive demo\n  redrive demo --url redis://127.0.0.1:6379")]
pub(crate) struct Args {}

#[derive(ClapArgs)]
pub(crate) struct WorkerArgs {
    /// The stream of the demo. The URL comes on stdin: it may hold a password.
    #[arg(long, value_name = "STREAM")]
    stream: StreamKey,
}

/// Tells the story; on a server where a URL was given for it.
pub(crate) async fn run(_: &Args, url: Option<&str>) -> Result<(), Failure> {
    // A broker in memory is in no other process: its first worker is a task.
    story::tell(url.filter(|url| !url.starts_with("memory:"))).await
}

/// Is the worker that is killed in it.
pub(crate) async fn work(args: WorkerArgs) -> Result<(), Failure> {
    worker::first_in_a_process(args.stream).await
}
