//! `redrive group create`: a group before its first worker.

use clap::Args as ClapArgs;
use redrive::{GroupCreation, GroupStart};

use super::Which;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::terminal::note;

/// Create a group, as a worker would that starts
///
/// One that is there is left as it is, and that is said. The stream is created with it where it is
/// missing. A group that has vanished, and of which redrive keeps how far it had come, goes on there
/// whatever --start says: what it had to do is not passed over.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive group create orders -g billing\n  \
    redrive group create orders -g audit --start '$'")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Where it begins: 0 (all entries), $ (new ones), or after an id
    #[arg(long, value_name = "0|$|ID", default_value = "0")]
    start: GroupStart,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let broker = session.broker().await?;
    let source = args.which.source();
    let report = broker.create_group(&source, args.start).await?;
    if !session.globals.quiet {
        tell(&report);
    }
    if session.is_silent() {
        return Ok(());
    }
    print(&report, &mut session.out)
}

/// What somebody may not have meant.
fn tell(report: &GroupCreation) {
    let GroupCreation { stream, group, .. } = report;
    if !report.created {
        note(&format!(
            "the group {group} of {stream} was there already: nothing was changed"
        ));
    }
    if report.stream_created {
        note(&format!(
            "there was no stream {stream}: it was created, empty"
        ));
    }
    if report.resumed {
        note(
            "an earlier group of this name has vanished: this one goes on where that had come to, whatever \
             --start says; `redrive group delete` forgets a group and where it was",
        );
    }
}

fn print(report: &GroupCreation, out: &mut Output) -> Result<(), Failure> {
    if !out.is_table() {
        return out.document(report);
    }
    let created = if report.created {
        "yes"
    } else {
        "no, it was there"
    };
    let last = report.last_delivered_id;
    let last = last.map_or_else(|| "-".to_owned(), |id| id.to_string());
    out.line(&format!("created        {created}"))?;
    out.line(&format!("goes on after  {last}"))?;
    out.flush()
}
