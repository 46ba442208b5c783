//! What went wrong at the server, sorted into the kinds that an engine reacts to.

use std::sync::Arc;

use redis::RedisError;

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
/// raise: `ERR Error running script (call to …): @user_script:3: NOGROUP No such key`.
fn code(error: &RedisError) -> Option<String> {
    let outer = error.code()?;
    let wrapped = error
        .detail()
        .filter(|detail| outer == "ERR" && detail.contains("@user_script"))
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
const RAISED: [&str; 6] = [
    "NOGROUP",
    "WRONGTYPE",
    "OOM",
    "READONLY",
    "NOPERM",
    "MISCONF",
];

fn of_code(code: &str, detail: &str) -> (ErrorKind, After, Option<&'static str>) {
    use After::{Keep, Rebuild};
    match code {
        "NOGROUP" => (ErrorKind::NoGroup, Keep, None),
        "READONLY" | "UNBLOCKED" => (ErrorKind::Unavailable, Rebuild, None),
        "LOADING" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY" | "NOREPLICAS"
        | "EXECABORT" => (ErrorKind::Unavailable, Keep, None),
        "MISCONF" => (
            ErrorKind::Unavailable,
            Keep,
            Some("the server cannot save to disk and refuses writes: see its log"),
        ),
        "OOM" => (
            ErrorKind::Unavailable,
            Keep,
            Some("the server has used up its maxmemory"),
        ),
        "NOAUTH" => (
            ErrorKind::Denied,
            Keep,
            Some("the server wants a password: redis://USER:PASSWORD@HOST"),
        ),
        "WRONGPASS" => (ErrorKind::Denied, Keep, Some("user or password is wrong")),
        "NOPERM" => (
            ErrorKind::Denied,
            Keep,
            Some("this user's ACL does not allow that: see ACL GETUSER"),
        ),
        "WRONGTYPE" => (
            ErrorKind::WrongType,
            Keep,
            Some("that key holds something else than it should: see TYPE"),
        ),
        // The stream is gone, and its groups with it.
        "ERR" if detail.contains("no such key") => (ErrorKind::NoGroup, Keep, None),
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
        _ => error.caused_by(cause),
    }
}

/// The error behind a refusal that a script answered as text: `OOM command not allowed …`.
pub(super) fn refusal(text: &str, doing: impl Into<String>) -> Error {
    let first = text.split_whitespace().next().unwrap_or_default();
    let code = raised(text).unwrap_or(first);
    let (kind, _, hint) = of_code(code, text);
    let error = Error::new(kind, doing.into()).caused_by(text.to_owned());
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::{Value, parse_redis_value};

    fn server(line: &str) -> RedisError {
        let reply = parse_redis_value(format!("-{line}\r\n").as_bytes());
        match reply.unwrap() {
            Value::ServerError(error) => error.into(),
            other => panic!("not an error: {other:?}"),
        }
    }

    #[test]
    fn server_errors_are_sorted_into_their_classes() {
        use After::{Keep, Rebuild};
        for (line, kind, after) in [
            (
                "NOGROUP No such key 'a' or consumer group 'b'",
                ErrorKind::NoGroup,
                Keep,
            ),
            (
                "ERR Error running script (call to f_6): @user_script:17: @user_script: 17: \
                 -NOGROUP No such key 'a' or consumer group 'b'",
                ErrorKind::NoGroup,
                Keep,
            ),
            (
                "ERR Error running script (call to f_6): @user_script:1: NOGROUP No such key 'a'",
                ErrorKind::NoGroup,
                Keep,
            ),
            (
                "ERR Error running script (call to f_6): @user_script:1: WRONGTYPE Operation",
                ErrorKind::WrongType,
                Keep,
            ),
            ("ERR no such key", ErrorKind::NoGroup, Keep),
            (
                "READONLY You can't write against a read only replica.",
                ErrorKind::Unavailable,
                Rebuild,
            ),
            (
                "UNBLOCKED the stream key no longer exists",
                ErrorKind::Unavailable,
                Rebuild,
            ),
            (
                "LOADING Redis is loading the dataset in memory",
                ErrorKind::Unavailable,
                Keep,
            ),
            (
                "MASTERDOWN Link with MASTER is down",
                ErrorKind::Unavailable,
                Keep,
            ),
            (
                "BUSY Redis is busy running a script.",
                ErrorKind::Unavailable,
                Keep,
            ),
            (
                "NOREPLICAS Not enough good replicas to write.",
                ErrorKind::Unavailable,
                Keep,
            ),
            (
                "MISCONF Errors writing to the AOF file",
                ErrorKind::Unavailable,
                Keep,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                ErrorKind::Unavailable,
                Keep,
            ),
            (
                "TRYAGAIN Multiple keys request during rehashing",
                ErrorKind::Unavailable,
                Keep,
            ),
            (
                "CLUSTERDOWN The cluster is down",
                ErrorKind::Unavailable,
                Keep,
            ),
            (
                "ERR max number of clients reached",
                ErrorKind::Unavailable,
                Rebuild,
            ),
            (
                "NOPERM this user has no permissions",
                ErrorKind::Denied,
                Keep,
            ),
            ("NOAUTH Authentication required.", ErrorKind::Denied, Keep),
            (
                "WRONGPASS invalid username-password pair",
                ErrorKind::Denied,
                Keep,
            ),
            (
                "WRONGTYPE Operation against a key",
                ErrorKind::WrongType,
                Keep,
            ),
            (
                "ERR unknown command 'XREADGROUP'",
                ErrorKind::Protocol,
                Keep,
            ),
        ] {
            let (sorted, connection, _) = sort(&server(line));
            assert_eq!((sorted, connection), (kind, after), "{line}");
        }
    }

    #[test]
    fn a_refusal_is_sorted_wherever_its_code_stands() {
        for (text, kind) in [
            (
                "OOM command not allowed when used memory",
                ErrorKind::Unavailable,
            ),
            (
                "@user_script: 12: -OOM command not allowed",
                ErrorKind::Unavailable,
            ),
            ("-WRONGTYPE Operation against a key", ErrorKind::WrongType),
            ("ERR something else", ErrorKind::Protocol),
        ] {
            assert_eq!(refusal(text, "writing").kind(), kind, "{text}");
        }
    }

    #[test]
    fn a_broken_or_silent_connection_is_rebuilt() {
        let broken = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(sort(&broken).0, ErrorKind::Unreachable);
        let silent = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert_eq!(
            (sort(&silent).0, sort(&silent).1),
            (ErrorKind::TimedOut, After::Rebuild)
        );
    }

    /// The library hands out its pointer to the cause instead of the cause: the reason was looked
    /// for in the wrong place, and a wrong certificate was "unreachable" and tried for ever.
    #[test]
    fn a_refused_certificate_is_a_denial_and_not_a_server_that_is_away() {
        let cause = rustls::Error::General("bad signature".to_owned());
        let cause = std::io::Error::new(std::io::ErrorKind::InvalidData, cause);
        let (kind, _, hint) = sort(&RedisError::from(cause));
        assert_eq!(kind, ErrorKind::Denied);
        assert!(hint.is_some_and(|hint| hint.contains("check the CA")));
    }

    #[test]
    fn a_parse_error_never_quotes_what_it_could_not_parse() {
        let cause = RedisError::from((redis::ErrorKind::Parse, "bad", "secret".to_owned()));
        let error = error(cause, "receiving");
        assert!(std::error::Error::source(&error).is_none());
    }
}
