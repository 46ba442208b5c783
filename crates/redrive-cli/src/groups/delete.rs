//! `redrive group delete`: a group and what is kept of it, after saying what would be lost.

use clap::Args as ClapArgs;
use redrive::{Broker, ErrorKind, GroupDeletion, GroupState, InUse, Source};
use serde::Serialize;

use super::{Which, many};
use crate::confirm::{self, Consent};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::terminal::note;

/// Delete a group that nobody needs, and all that redrive keeps of it
///
/// One in which something is pending, or a consumer lives, stays unless --force is given; that is checked
/// in one step with the removal. Says first what would be lost, and asks. The entries of the stream stay,
/// and so do dead letters. A consumer lives that gives signs of life, or, where it is not redrive's, was
/// seen within the last hour. Also forgets a group that has vanished: until then it holds `redrive trim`
/// back. A worker that still runs creates the group again: stop it first.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive group delete orders -g audit --dry-run\n  \
    redrive group delete orders -g audit --yes -o json")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Delete it also where something is pending or a consumer lives: what is pending is lost to the group
    #[arg(long)]
    force: bool,
    /// Say what would be lost, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What is lost with a group.
#[derive(Serialize)]
struct Loss {
    #[serde(flatten)]
    deletion: GroupDeletion,
    /// What it has not read; unknown where the server does not know, and where it had vanished.
    unread: Option<u64>,
    unread_exact: bool,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let broker = session.broker().await?;
    let source = args.which.source();
    let mut loss = look(&broker, &source).await?;
    if args.dry_run {
        if !session.globals.quiet {
            note("a dry run: nothing was changed");
            if let Some(why) = in_use(&loss.deletion) {
                note(&format!("it would stay without --force: {why}"));
            }
        }
        return print(&loss, &mut session.out);
    }
    let how = match args.force {
        true => InUse::Delete,
        false => InUse::Keep,
    };
    if how == InUse::Keep {
        unless_in_use(&loss.deletion)?;
    }
    if session.consent() == Consent::Asked {
        ask(&loss)?;
    }
    loss.deletion = match broker.delete_group(&source, how).await {
        // It has come into use meanwhile: that is told as it would have been before.
        Err(error) if error.kind() == ErrorKind::Refused => {
            unless_in_use(&broker.group_deletion(&source).await?)?;
            return Err(error.into());
        }
        answer => answer?,
    };
    if !session.globals.quiet {
        tell(&loss.deletion);
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
    };
    if loss.deletion.existed {
        let stats = broker.stats(source).await?;
        if stats.state == GroupState::Ok {
            (loss.unread, loss.unread_exact) = (stats.lag, stats.lag_exact);
        }
    }
    Ok(loss)
}

/// How many names stand in a sentence.
const NAMED: usize = 3;

/// Why it is in use, in words.
fn in_use(deletion: &GroupDeletion) -> Option<String> {
    let pending = match deletion.pending {
        0 => None,
        some => Some(many(some, "entry is pending", "entries are pending")),
    };
    let alive = match deletion.alive.len() {
        0 => None,
        some => {
            let lives = many(some as u64, "consumer lives", "consumers live");
            let names = deletion.alive.iter().take(NAMED).map(String::as_str);
            let mut names: Vec<&str> = names.collect();
            if some > NAMED {
                names.push("…");
            }
            Some(format!("{lives} ({})", names.join(", ")))
        }
    };
    let why: Vec<String> = pending.into_iter().chain(alive).collect();
    (!why.is_empty()).then(|| why.join(", and "))
}

fn unless_in_use(deletion: &GroupDeletion) -> Result<(), Failure> {
    let Some(why) = in_use(deletion) else {
        return Ok(());
    };
    let GroupDeletion { stream, group, .. } = deletion;
    let text = format!("the group {group} of {stream} is in use and was not deleted: {why}");
    Err(Failure::new(text).hint(
        "stop its workers and wait until nothing is pending; or say --force: what is pending is then \
         run by nobody of this group",
    ))
}

/// What was lost all the same, and what will come back.
fn tell(deletion: &GroupDeletion) {
    if deletion.pending > 0 {
        let pending = many(deletion.pending, "entry was", "entries were");
        note(&format!(
            "{pending} pending: nobody of this group runs them any more; they are still in {} if nobody \
             trims it",
            deletion.stream
        ));
    }
    if !deletion.alive.is_empty() {
        note(
            "a worker of redrive that still runs creates the group again: stop it, and delete it again",
        );
    }
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
    let cure = "look first, with --dry-run, then say --yes";
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
    more.extend(in_use(&loss.deletion));
    more.push("the entries of the stream stay, and so do dead letters".to_owned());
    confirm::confirm_or(&what, &more, 0, cure)
}

fn print(loss: &Loss, out: &mut Output) -> Result<(), Failure> {
    if !out.is_table() {
        return out.document(loss);
    }
    let deletion = &loss.deletion;
    let removed = if deletion.removed { "yes" } else { "no" };
    if !deletion.existed {
        out.line(&format!("forgotten  {removed}"))?;
        out.line("existed    no, it had vanished")?;
        return out.flush();
    }
    let unread = match (loss.unread, loss.unread_exact) {
        (None, _) => "-".to_owned(),
        (Some(unread), true) => unread.to_string(),
        (Some(unread), false) => format!("~{unread}"),
    };
    out.line(&format!("deleted  {removed}"))?;
    out.line(&format!("pending  {}", deletion.pending))?;
    out.line(&format!("alive    {}", deletion.alive.len()))?;
    out.line(&format!("unread   {unread}"))?;
    out.flush()
}
