//! Commands in one step: `MULTI`, they, `EXEC`. Written out, as those of the client crate panic
//! where a user may not use `MULTI`.

use redis::{Pipeline, Value, cmd};

use super::connection::Link;
use super::wire;
use crate::error::{Error, ErrorKind};

/// The answers of commands that only read, in one step where the server grants one.
///
/// Where it does not, each runs by itself, and what they tell may differ by what happened between two
/// of them: behind a `MULTI` that this user may not use they have run all the same; a server that
/// refuses writes queues nothing, for a queue takes memory, and is asked again without. An error of
/// one is its own answer.
pub(super) async fn look(
    link: &Link,
    mut commands: Pipeline,
    doing: &'static str,
) -> Result<Vec<Value>, Error> {
    commands.ignore_errors();
    let mut step = Pipeline::new();
    step.ignore_errors();
    step.cmd("MULTI");
    for command in commands.cmd_iter() {
        step.add_command(command.clone());
    }
    step.cmd("EXEC");
    let mut answers = link.send_all(&step, doing).await?.into_iter();
    let multi = answers.next();
    let executed = answers.next_back();
    if let Some(Value::ServerError(_)) = multi {
        return Ok(answers.collect());
    }
    match outcome(link, answers, executed, doing) {
        Err(refused) if refused.kind() == ErrorKind::WritesRefused => {
            link.send_all(&commands, doing).await
        }
        told => told,
    }
}

/// A transaction whose `MULTI` was granted, on a connection of its own: behind `MULTI`, what others
/// send would be queued too. Dropped, the connection goes, and nothing was run.
pub(super) struct Begun {
    alone: Link,
}

/// Begins a transaction to the server of this link.
///
/// # Errors
///
/// `Denied` where this user may not: known before anything follows, which would otherwise be run
/// command by command.
pub(super) async fn begin(link: &Link, doing: &'static str) -> Result<Begun, Error> {
    let alone = link.apart();
    alone.send(&cmd("MULTI"), doing).await?;
    Ok(Begun { alone })
}

impl Begun {
    /// Runs these, and answers what each answered; an error of one while it ran is its own answer.
    ///
    /// # Errors
    ///
    /// What the server refused, of these or `EXEC`: then none was run.
    pub(super) async fn run(
        self,
        mut commands: Pipeline,
        doing: &'static str,
    ) -> Result<Vec<Value>, Error> {
        commands.ignore_errors();
        commands.cmd("EXEC");
        let answers = self.alone.send_all(&commands, doing).await?;
        let mut answers = answers.into_iter();
        let executed = answers.next_back();
        outcome(&self.alone, answers, executed, doing)
    }
}

fn outcome(
    link: &Link,
    mut queued: impl Iterator<Item = Value>,
    executed: Option<Value>,
    doing: &'static str,
) -> Result<Vec<Value>, Error> {
    match executed {
        Some(Value::Array(answers)) => Ok(answers),
        executed => {
            // The command that was refused says why; `EXEC` only says that one was.
            queued.try_for_each(|answer| link.answer(answer, doing).map(drop))?;
            executed
                .map(|executed| link.answer(executed, doing))
                .transpose()?;
            Err(wire::unexpected("a transaction"))
        }
    }
}
