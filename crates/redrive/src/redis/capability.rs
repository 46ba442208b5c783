//! What the server can do, found out by asking it to: versions mislead, for not every server that
//! speaks this protocol counts them alike.

use redis::{Value, cmd};

use super::connection::Link;
use super::wire;
use crate::error::{Error, ErrorKind};

/// Makes sure of the one thing that everything else is built on: the streams of Redis 6.2.
pub(super) async fn require(link: &Link) -> Result<(), Error> {
    let mut command = cmd("COMMAND");
    // Came in the same release as exclusive ranges in XPENDING, for which there is no such question.
    command.arg("INFO").arg("XAUTOCLAIM");
    let known = match link.send(&command, "asking what the server can do").await {
        Ok(known) => known,
        // A user who may not ask may still be allowed to work: the commands themselves will tell.
        Err(error) if error.kind() == ErrorKind::Denied && is_authenticated(link).await => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    match wire::list(known, "the commands of the server")?.first() {
        Some(Value::Nil) | None => {
            let hint = if is_sentinel(link).await {
                "that is a sentinel: name the service it watches, redis+sentinel://HOST:PORT/SERVICE"
            } else {
                "redrive needs the streams of Redis 6.2 or later, or a server that has them"
            };
            let doing = "asking what the server can do";
            Err(Error::new(ErrorKind::Invalid, doing).hint(hint))
        }
        Some(_) => Ok(()),
    }
}

/// A sentinel speaks the protocol, and has next to none of the commands.
async fn is_sentinel(link: &Link) -> bool {
    let role = link.send(&cmd("ROLE"), "asking the server").await;
    let words = role.and_then(|role| wire::list(role, "the role of a server"));
    let word = words.ok().and_then(|words| words.into_iter().next());
    let word = word.map(|word| wire::text(word, "the role of a server"));
    matches!(word, Some(Ok(word)) if word == "sentinel")
}

async fn is_authenticated(link: &Link) -> bool {
    let mut command = cmd("XLEN");
    command.arg("redrive:nothing");
    match link.send(&command, "asking the server").await {
        Ok(_) => true,
        // NOPERM for this very key is an answer to a user who got in; NOAUTH is not.
        Err(error) => error.cure().is_some_and(|hint| hint.contains("ACL")),
    }
}
