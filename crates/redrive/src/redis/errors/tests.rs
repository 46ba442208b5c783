//! Tests: each error of a server or a connection is of its kind, and quotes nothing that it should not.

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
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
            ErrorKind::NoGroup,
            Keep,
        ),
        (
            "READONLY You can't write against a read only replica.",
            ErrorKind::Unavailable,
            Rebuild,
        ),
        (
            "UNBLOCKED the stream key no longer exists",
            ErrorKind::NoGroup,
            Rebuild,
        ),
        (
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
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
            ErrorKind::WritesRefused,
            Keep,
        ),
        (
            "MISCONF Errors writing to the AOF file",
            ErrorKind::WritesRefused,
            Keep,
        ),
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            ErrorKind::WritesRefused,
            Keep,
        ),
        (
            "ERR Error running script (call to f_6): @user_script:1: NOREPLICAS Not enough",
            ErrorKind::WritesRefused,
            Keep,
        ),
        (
            "ERR Script killed by user with SCRIPT KILL. script: 80e5, on @user_script:1.",
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
        (
            "ERR The user executing the script can't run this command or subcommand script: \
             80e5, on @user_script:1.",
            ErrorKind::Denied,
            Keep,
        ),
        ("NOAUTH Authentication required.", ErrorKind::Denied, Keep),
        (
            "ERR Protocol error: unauthenticated multibulk length",
            ErrorKind::Denied,
            Rebuild,
        ),
        (
            "EXECABORT Transaction discarded because of previous errors.",
            ErrorKind::Unavailable,
            Keep,
        ),
        (
            "EXECABORT Transaction discarded because of: NOPERM User w has no permissions",
            ErrorKind::Denied,
            Keep,
        ),
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
            ErrorKind::WritesRefused,
        ),
        (
            "@user_script: 12: -OOM command not allowed",
            ErrorKind::WritesRefused,
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
fn a_denial_is_told_on_one_line_with_the_user_that_is_known() {
    let denial = || server("NOPERM no permissions to access the 'a\u{1b}[2Jb\tc' key");
    let told = error_for(Some("v\tw"), denial(), "reading");
    assert_eq!(
        format!("{told:?}"),
        "permission denied while reading: no permissions to access the \
         'a\\u{1b}[2Jb\\tc' key\n\
         hint: the ACL of the user v\\tw does not allow that: see ACL GETUSER v\\tw"
    );
    assert_eq!(error_for(None, denial(), "reading").cure(), Some(ACL));
    let other = error_for(Some("v"), server("WRONGPASS invalid"), "reading");
    assert!(!other.cure().is_some_and(|cure| cure.contains("ACL")));
}

#[test]
fn a_parse_error_never_quotes_what_it_could_not_parse() {
    let cause = RedisError::from((redis::ErrorKind::Parse, "bad", "secret".to_owned()));
    let error = error(cause, "receiving");
    assert!(std::error::Error::source(&error).is_none());
}
