//! What went wrong at the server, sorted into the kinds that an engine reacts to.

use std::sync::Arc;

use redis::RedisError;

use super::rights;
use crate::error::{Error, ErrorKind};

/// Whether a connection can still be used after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The server answered; the connection is in order.
    Keep,
    /// It is broken, in doubt, or leads to a server that is no longer the right one.
    Rebuild,
}

/// The code of a server error, such as `NOGROUP`. Before 7.0 a script wraps what its commands
/// raise: `ERR Error running script (call to …): @user_script:3: NOGROUP No such key`. And so does
/// an `EXEC` that is refused: `EXECABORT Transaction discarded because of: NOPERM …`.
fn code(error: &RedisError) -> Option<String> {
    let outer = error.code()?;
    let wrapped = error
        .detail()
        .filter(|detail| match outer {
            "ERR" => detail.contains("@user_script"),
            outer => outer == "EXECABORT",
        })
        .and_then(raised);
    Some(wrapped.unwrap_or(outer).to_owned())
}

/// The code within a text that a script was given by its commands; before 7.0 it may stand behind
/// where it happened: `@user_script: 12: -OOM command not allowed …`.
fn raised(text: &str) -> Option<&str> {
    let mut words = text
        .split_whitespace()
        .map(|word| word.trim_start_matches('-'));
    words.find(|word| RAISED.contains(word))
}

/// What the commands of a script raise that matters here.
const RAISED: [&str; 7] = [
    "NOGROUP",
    "WRONGTYPE",
    "OOM",
    "READONLY",
    "NOPERM",
    "MISCONF",
    "NOREPLICAS",
];

/// The cure where nobody said who it is.
const PASSWORD: &str = "the server wants a password: redis://USER:PASSWORD@HOST";

/// The cure where a user may not do this.
const ACL: &str = "this user's ACL does not allow that: see ACL GETUSER";

fn of_code(code: &str, detail: &str) -> (ErrorKind, After, Option<&'static str>) {
    use After::{Keep, Rebuild};
    match code {
        "NOGROUP" => (ErrorKind::NoGroup, Keep, None),
        // What a blocked read is told when its stream is deleted, where later servers say NOGROUP. It may
        // be a fallen primary that empties itself: the next read goes to whoever is the primary by then.
        "UNBLOCKED" if detail.contains("stream key no longer exists") => {
            (ErrorKind::NoGroup, Rebuild, None)
        }
        "READONLY" | "UNBLOCKED" => (ErrorKind::Unavailable, Rebuild, None),
        "LOADING" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY" | "EXECABORT" => {
            (ErrorKind::Unavailable, Keep, None)
        }
        "MISCONF" => (
            ErrorKind::WritesRefused,
            Keep,
            Some("the server cannot save to its disk: see its log"),
        ),
        "OOM" => (
            ErrorKind::WritesRefused,
            Keep,
            Some(
                "the server has used up its maxmemory: raise it, or remove what is no longer needed",
            ),
        ),
        "NOREPLICAS" => (
            ErrorKind::WritesRefused,
            Keep,
            Some("fewer replicas are connected than min-replicas-to-write wants"),
        ),
        "NOAUTH" => (ErrorKind::Denied, Keep, Some(PASSWORD)),
        // A command with more words than one that says who it is gets no answer to itself.
        "ERR" if detail.contains("Protocol error: unauthenticated") => {
            (ErrorKind::Denied, Rebuild, Some(PASSWORD))
        }
        "WRONGPASS" => (ErrorKind::Denied, Keep, Some("user or password is wrong")),
        "NOPERM" => (ErrorKind::Denied, Keep, Some(ACL)),
        "WRONGTYPE" => (
            ErrorKind::WrongType,
            Keep,
            Some("that key holds something else than it should: see TYPE"),
        ),
        // A script may run, and a command in it may not.
        "ERR" if detail.contains("The user executing the script can't") => {
            (ErrorKind::Denied, Keep, Some(ACL))
        }
        // The stream is gone, and its groups with it.
        "ERR" if detail.contains("no such key") || detail.contains("requires the key to exist") => {
            (ErrorKind::NoGroup, Keep, None)
        }
        // Somebody ended a script, perhaps not knowing whose it was.
        "ERR" if detail.contains("Script killed by user") => (ErrorKind::Unavailable, Keep, None),
        "ERR" if detail.contains("DB index is out of range") => (
            ErrorKind::Invalid,
            Rebuild,
            Some("the server has no database of this number: see CONFIG GET databases"),
        ),
        "ERR" if detail.contains("max number of clients") => {
            (ErrorKind::Unavailable, Rebuild, None)
        }
        _ => (ErrorKind::Protocol, Keep, None),
    }
}

/// The kind of a client library error, and whether its connection may be used again.
pub(super) fn sort(error: &RedisError) -> (ErrorKind, After, Option<&'static str>) {
    if error.is_timeout() {
        return (ErrorKind::TimedOut, After::Rebuild, None);
    }
    if let Some(code) = code(error) {
        return of_code(&code, error.detail().unwrap_or_default());
    }
    match error.kind() {
        redis::ErrorKind::AuthenticationFailed => (
            ErrorKind::Denied,
            After::Rebuild,
            Some("user or password is wrong, or the server wants one"),
        ),
        redis::ErrorKind::InvalidClientConfig => (ErrorKind::Invalid, After::Rebuild, None),
        redis::ErrorKind::Io if is_tls(error) => (
            ErrorKind::Denied,
            After::Rebuild,
            Some(
                "the TLS handshake failed: check the CA, the client certificate and the host name",
            ),
        ),
        redis::ErrorKind::Parse | redis::ErrorKind::UnexpectedReturnType => {
            (ErrorKind::Protocol, After::Rebuild, None)
        }
        _ => (ErrorKind::Unreachable, After::Rebuild, None),
    }
}

/// Whether this may be the answer of a server that is no longer the primary, or is cut off from its
/// replicas: whoever can ask where the primary is should ask again.
pub(super) fn may_be_deposed(error: &RedisError) -> bool {
    let code = code(error);
    matches!(
        code.as_deref(),
        Some("LOADING" | "MASTERDOWN" | "NOREPLICAS")
    )
}

fn is_tls(error: &RedisError) -> bool {
    // The library answers the pointer to the cause as the cause.
    type Shared = Arc<dyn std::error::Error + Send + Sync>;
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Shared>());
    let cause = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| {
        cause
            .get_ref()
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
    })
}

/// The error of a call by this user, as far as the URL says who it is.
pub(super) fn error_for(user: Option<&str>, cause: RedisError, doing: impl Into<String>) -> Error {
    let is_acl = sort(&cause).2 == Some(ACL);
    let error = error(cause, doing);
    match user.filter(|_| is_acl) {
        Some(user) => {
            let user = plain(user);
            error.hint(format!(
                "the ACL of the user {user} does not allow that: see ACL GETUSER {user}"
            ))
        }
        None => error,
    }
}

/// A text of the server, or of a URL, on one line: keys and users may have any characters.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if c.is_control() {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// The error of a call, with what it was doing. The cause is kept only where it cannot hold a
/// payload: the library's parse errors print what they could not parse.
pub(super) fn error(cause: RedisError, doing: impl Into<String>) -> Error {
    let (kind, _, hint) = sort(&cause);
    let error = Error::new(kind, doing.into());
    let error = match hint {
        Some(hint) => error.hint(hint),
        None => error,
    };
    match kind {
        ErrorKind::Protocol if cause.code().is_none() => error,
        // Which command, or which key, is all that helps, and only the server knows.
        ErrorKind::Denied => match cause.detail().map(plain) {
            Some(told) => error.caused_by(told),
            None => error.caused_by(cause),
        },
        _ => error.caused_by(cause),
    }
}

/// The error behind a refusal of an `XADD` that a script answered as text: `OOM command not allowed …`.
pub(super) fn refusal(text: &str, doing: impl Into<String>) -> Error {
    let first = text.split_whitespace().next().unwrap_or_default();
    let code = raised(text).unwrap_or(first);
    let (kind, _, hint) = of_code(code, text);
    let told = match rights::is_unnamed(text) {
        true => rights::refused("xadd"),
        false => plain(text),
    };
    let error = Error::new(kind, doing.into()).caused_by(told);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests;
