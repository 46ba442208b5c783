//! `redrive dlq`: find dead letters, count them, look into them, put them back, remove them, carry them elsewhere.

mod audit;
mod audited;
mod body;
pub(crate) mod bulk;
mod campaign;
mod campaigns;
mod contents;
mod export;
#[cfg(test)]
mod fuzz;
pub(crate) mod groups;
mod import;
mod letter;
mod lineage;
mod list;
mod migration;
mod process;
mod pull;
mod purge;
mod replay;
mod replayed;
mod search;
mod select;
mod shadow;
mod show;
mod stats;
mod steer;
mod undo;

use clap::{Args as ClapArgs, Subcommand};
use redrive::{DeadLetterQueue, StreamKey};

pub(crate) use self::select::Select;
use crate::failure::Failure;
use crate::session::Session;
use crate::terminal::typed;

/// Find, count, show, pull, replay, purge, export and import dead letters
///
/// The dead-letter queue is the one of STREAM (STREAM:dlq), or the one that --dlq names; STREAM
/// then narrows it to what came from that stream.
#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum Dlq {
    List(list::Args),
    Groups(groups::Args),
    Show(show::Args),
    Pull(pull::Args),
    Replay(Box<replay::Args>),
    Shadow(shadow::Args),
    Purge(purge::Args),
    Export(export::Args),
    Import(import::Args),
    Stats(stats::Args),
    Campaigns(campaigns::Args),
    Pause(steer::Pause),
    Resume(steer::Resume),
    Abort(steer::Abort),
    Undo(undo::Args),
    Audit(audit::Args),
}

/// Does it.
pub(crate) async fn run(command: Dlq, session: &mut Session) -> Result<(), Failure> {
    match command {
        Dlq::List(args) => list::run(args, session).await,
        Dlq::Groups(args) => groups::run(args, session).await,
        Dlq::Show(args) => show::run(args, session).await,
        Dlq::Pull(args) => pull::run(args, session).await,
        Dlq::Replay(args) => replay::run(*args, session).await,
        Dlq::Shadow(args) => shadow::run(args, session).await,
        Dlq::Purge(args) => purge::run(args, session).await,
        Dlq::Export(args) => export::run(args, session).await,
        Dlq::Import(args) => import::run(args, session).await,
        Dlq::Stats(args) => stats::run(args, session).await,
        Dlq::Campaigns(args) => campaigns::run(args, session).await,
        Dlq::Pause(args) => steer::pause(args, session).await,
        Dlq::Resume(args) => steer::resume(args, session).await,
        Dlq::Abort(args) => steer::abort(args, session).await,
        Dlq::Undo(args) => undo::run(args, session).await,
        Dlq::Audit(args) => audit::run(args, session).await,
    }
}

/// Which queue.
#[derive(ClapArgs, Debug)]
pub(crate) struct Where {
    /// The stream whose dead letters are meant
    #[arg(value_name = "STREAM")]
    stream: Option<StreamKey>,
    /// The dead-letter queue, where it is not STREAM:dlq
    #[arg(long, value_name = "NAME")]
    dlq: Option<StreamKey>,
}

impl Where {
    /// The name of the queue, and the source stream that it is narrowed to.
    fn names(&self) -> Result<(StreamKey, Option<StreamKey>), Failure> {
        match (&self.dlq, &self.stream) {
            (Some(dlq), stream) => Ok((dlq.clone(), stream.clone())),
            (None, Some(stream)) => Ok((stream.default_dead_letters(), None)),
            (None, None) => Err(Failure::usage("which dead-letter queue?")
                .hint("name the stream, or the queue itself with --dlq")),
        }
    }

    /// As it was typed, for a command that goes on from here.
    fn typed(&self) -> String {
        let stream = self.stream.as_ref().map(|stream| typed(stream.as_str()));
        let dlq = self.dlq.as_ref().map(|dlq| typed(dlq.as_str()));
        let unsayable = || "…".to_owned();
        let words = [
            stream.map(|stream| stream.unwrap_or_else(unsayable)),
            dlq.map(|dlq| format!("--dlq {}", dlq.unwrap_or_else(unsayable))),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// That nothing was found, where.
fn nothing_in(queue: &DeadLetterQueue, narrowed: bool) -> Failure {
    let name = queue.stream();
    if narrowed {
        Failure::nothing(format!("no dead letter in {name} matches"))
            .hint("`redrive dlq list` without filters shows what is there")
    } else {
        Failure::nothing(format!("no dead letters in {name}"))
            .hint("if that is not the queue that you mean, name it with --dlq; on another server or database, with --url")
    }
}

/// That what was named is not there.
fn unknown(what: &str) -> Failure {
    Failure::nothing(what).hint("it was replayed or purged, or its id is of another queue")
}
