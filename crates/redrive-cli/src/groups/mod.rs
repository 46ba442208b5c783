//! `redrive group`: the groups of a stream, made, looked at, removed.

mod create;
mod delete;
mod list;
mod show;

use clap::{Args as ClapArgs, Subcommand};
use redrive::{GroupName, Source, StreamKey};

use crate::failure::Failure;
use crate::session::Session;

/// See, create and delete the groups of a stream
#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum Command {
    List(list::Args),
    Show(show::Args),
    Create(create::Args),
    Delete(delete::Args),
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::List(args) => list::run(args, session).await,
        Command::Show(args) => show::run(args, session).await,
        Command::Create(args) => create::run(args, session).await,
        Command::Delete(args) => delete::run(args, session).await,
    }
}

/// Which group.
#[derive(ClapArgs)]
pub(crate) struct Which {
    /// The stream
    #[arg(value_name = "STREAM")]
    stream: StreamKey,
    /// The group
    #[arg(short, long, value_name = "GROUP")]
    group: GroupName,
}

impl Which {
    pub(crate) fn source(self) -> Source {
        Source {
            stream: self.stream,
            group: self.group,
        }
    }
}

/// So many of something, in words.
pub(crate) fn many(count: u64, one: &str, more: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {more}"),
    }
}
