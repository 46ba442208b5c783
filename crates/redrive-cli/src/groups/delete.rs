//! `redrive group delete`: a group and what is kept of it, after saying what would be lost.

use clap::Args as ClapArgs;
use redrive::{Broker, Consumer, GroupDeletion, GroupState, Source};
use serde::Serialize;

use super::{Which, many};
use crate::confirm::{self, Consent};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::terminal::note;

/// Delete a group and all that redrive keeps of it
///
/// Says first what would be lost, and asks. The entries of the stream stay, and so do dead letters. What
/// is pending in the group is run by nobody of it any more. Also forgets a group that has vanished: until
/// then it holds `redrive trim` back. A worker that still runs creates the group again: stop it first.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive group delete orders -g audit\n  \
    redrive group delete orders -g audit --yes -o json")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
}

/// What is lost with a group.
#[derive(Serialize)]
struct Loss {
    #[serde(flatten)]
    deletion: GroupDeletion,
    /// What it has not read; unknown where the server does not know, and where it had vanished.
    unread: Option<u64>,
    unread_exact: bool,
    /// The workers that live, and create it again.
    alive: Vec<String>,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let broker = session.broker().await?;
    let source = args.which.source();
    let mut loss = look(&broker, &source).await?;
    if session.consent() == Consent::Asked {
        ask(&loss)?;
    }
    loss.deletion = broker.delete_group(&source).await?;
    if !loss.alive.is_empty() && !session.globals.quiet {
        note(&format!("{}; stop them, and delete it again", lives(&loss)));
    }
    if session.is_silent() {
        return Ok(());
    }
    print(&loss, &mut session.out)
}

async fn look(broker: &Broker, source: &Source) -> Result<Loss, Failure> {
    let mut loss = Loss {
        deletion: broker.group_deletion(source).await?,
        unread: None,
        unread_exact: false,
        alive: Vec::new(),
    };
    if loss.deletion.existed {
        let stats = broker.stats(source).await?;
        if stats.state == GroupState::Ok {
            (loss.unread, loss.unread_exact) = (stats.lag, stats.lag_exact);
        }
        let all = broker.consumers(source).await?.into_iter();
        let alive = |one: &Consumer| one.alive == Some(true);
        loss.alive = all.filter(alive).map(|one| one.name).collect();
    }
    Ok(loss)
}

fn lives(loss: &Loss) -> String {
    let workers = many(
        loss.alive.len() as u64,
        "worker lives and creates",
        "workers live and create",
    );
    format!("{workers} the group again")
}

fn unread(loss: &Loss) -> String {
    match (loss.unread, loss.unread_exact) {
        (None, _) => "how many entries it has not read is not known".to_owned(),
        (Some(unread), true) => format!("it has not read {}", many(unread, "entry", "entries")),
        (Some(unread), false) => {
            format!("it has not read about {}", many(unread, "entry", "entries"))
        }
    }
}

fn ask(loss: &Loss) -> Result<(), Failure> {
    let GroupDeletion {
        stream,
        group,
        pending,
        ..
    } = &loss.deletion;
    let cure = "look first, with `redrive group show`, then say --yes";
    if !loss.deletion.existed {
        let what = format!("forget the group {group} of {stream}, which has vanished");
        let more = ["it no longer holds a trim back, and no longer goes on where it had come to"];
        return confirm::confirm_or(&what, &more.map(str::to_owned), 0, cure);
    }
    let pending = many(
        *pending,
        "entry that is pending",
        "entries that are pending",
    );
    let what = format!("delete the group {group} of {stream} with {pending}");
    let mut more = vec![unread(loss)];
    if !loss.alive.is_empty() {
        more.push(lives(loss));
    }
    more.push("the entries of the stream stay, and so do dead letters".to_owned());
    confirm::confirm_or(&what, &more, 0, cure)
}

fn print(loss: &Loss, out: &mut Output) -> Result<(), Failure> {
    if !out.is_table() {
        return out.document(loss);
    }
    let deletion = &loss.deletion;
    if !deletion.existed {
        out.line("forgotten  it had vanished")?;
        return out.flush();
    }
    let unread = match (loss.unread, loss.unread_exact) {
        (None, _) => "-".to_owned(),
        (Some(unread), true) => unread.to_string(),
        (Some(unread), false) => format!("~{unread}"),
    };
    out.line("deleted  yes")?;
    out.line(&format!("pending  {}", deletion.pending))?;
    out.line(&format!("unread   {unread}"))?;
    out.flush()
}
