//! Why the URL of a server cannot work, said by the part that is wrong. Nothing of it is quoted:
//! where a password holds an unescaped `/` or `@`, any part may be a piece of it.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};

pub(super) const HOW_TO_ESCAPE: &str =
    "in a user or a password, write % / ? # @ : as %25 %2F %3F %23 %40 %3A";

/// The first part that is wrong; `None` where none is seen to be.
pub(super) fn wrong_part(url: &str) -> Option<Error> {
    let (scheme, rest) = url.split_once(':')?;
    let Some(rest) = rest.strip_prefix("//") else {
        return Some(no_slashes());
    };
    let (rest, fragment) = cut(rest, '#');
    let (rest, query) = cut(rest, '?');
    let over_tcp = scheme.starts_with("redis") && !scheme.ends_with("unix");
    let part = if over_tcp {
        of_tcp(rest, query)
    } else {
        of_socket(rest, query)
    };
    part.or_else(|| fragment.map(|_| a_fragment()))
}

fn of_tcp(rest: &str, query: Option<&str>) -> Option<Error> {
    let (authority, database) = cut(rest, '/');
    let address = authority.rsplit_once('@').map_or(authority, |(_, at)| at);
    // An IPv6 address stands in brackets and has colons of its own.
    let (host, port) = match address.rsplit_once(']') {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => cut(address, ':'),
    };
    if host.is_empty() {
        return Some(wrong(
            "the host in a server's URL, which is missing",
            "it looks like redis://USER:PASSWORD@HOST:6379/0",
        ));
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        let hint = format!("a port is a number from 1 to 65535; {HOW_TO_ESCAPE}");
        return Some(wrong("the port in a server's URL", hint));
    }
    let database = database.unwrap_or_default().trim_matches('/');
    if !database.is_empty() && !is_number(database) {
        return Some(wrong_database());
    }
    of_query(query, &["protocol"])
}

fn of_socket(path: &str, query: Option<&str>) -> Option<Error> {
    if !path.starts_with('/') {
        return Some(wrong(
            "the path in the URL of a server's socket",
            "it begins with a slash, so that there are three: unix:///run/redis.sock",
        ));
    }
    let database = parameters(query).find(|(name, _)| *name == "db");
    if database.is_some_and(|(_, value)| !is_number(value)) {
        return Some(wrong_database());
    }
    of_query(query, &["db", "user", "pass", "protocol"])
}

fn of_query(query: Option<&str>, known: &[&str]) -> Option<Error> {
    for (name, value) in parameters(query) {
        if !known.contains(&name) {
            let hint = format!("behind the ? such a URL takes {}", known.join(", "));
            let what = "the parameters of a server's URL, one of which is unknown";
            return Some(wrong(what, format!("{hint}; {HOW_TO_ESCAPE}")));
        }
        if name == "protocol" && !["2", "3", "resp2", "resp3"].contains(&value) {
            return Some(wrong_protocol());
        }
    }
    None
}

pub(super) fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.unwrap_or_default().split('&');
    parts
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// What stands before the first of this sign, and what behind it.
pub(super) fn cut(text: &str, sign: char) -> (&str, Option<&str>) {
    match text.split_once(sign) {
        Some((before, behind)) => (before, Some(behind)),
        None => (text, None),
    }
}

fn is_number(text: &str) -> bool {
    // A sign is a number's too, but not a database's.
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u32>().is_ok()
}

fn wrong_database() -> Error {
    let hint = "the database is a number: redis://HOST:6379/0, unix:///PATH?db=0";
    wrong(
        "the number of the database in a server's URL",
        format!("{hint}; {HOW_TO_ESCAPE}"),
    )
}

pub(super) fn no_slashes() -> Error {
    wrong(
        "the URL of a server, which has no // behind its scheme",
        "it looks like redis://HOST:6379/0",
    )
}

pub(super) fn a_fragment() -> Error {
    let what = "the part behind # in a server's URL, where there is none";
    wrong(what, HOW_TO_ESCAPE)
}

pub(super) fn wrong_protocol() -> Error {
    let what = "the protocol in a server's URL";
    wrong(what, "the protocol is 2 or 3")
}

pub(super) fn wrong(what: &'static str, hint: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Invalid, format!("reading {what}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_and_never_quoted() {
        for (url, part) in [
            ("redis:host", "no // behind"),
            ("redis://", "the host"),
            ("redis://u:secret@", "the host"),
            ("redis://u:secret@:6379", "the host"),
            ("redis://u:secret@h:x", "the port"),
            ("redis://u:secret@h:65536", "the port"),
            ("redis://u:secret@[::1]:x", "the port"),
            ("redis://u:sec/ret@h", "the port"),
            ("redis://u:sec?ret@h", "the port"),
            ("redis://u:sec#ret@h", "the port"),
            ("redis://h/x", "the database"),
            ("redis://h/-1", "the database"),
            ("redis://h/0/secret", "the database"),
            ("redis://h?db=3", "the parameters"),
            ("redis://h?secret", "the parameters"),
            ("redis://h?protocol=secret", "the protocol"),
            ("rediss://h#insecure", "behind #"),
            ("unix://host/path", "the path"),
            ("unix:///path?db=x&pass=secret", "the database"),
            ("redis+unix:///path?db=", "the database"),
            ("unix:///path?pass=a&secret", "the parameters"),
        ] {
            let error = wrong_part(url).unwrap_or_else(|| panic!("{url}"));
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let part = part.replace("the database", "the number of the database");
            assert!(error.to_string().contains(&part), "{url}: {error}");
            let said = format!("{error} {error:?}");
            assert!(!said.contains("secret") && !said.contains("sec/"), "{said}");
            assert!(error.cure().is_some());
        }
    }

    #[test]
    fn what_is_right_is_let_through() {
        for url in [
            "redis://h",
            "redis://h:6379/",
            "redis://h/0",
            "redis://u:p%2F@h:1/15?protocol=3",
            "rediss://[::1]:6380/1",
            "redis://[::1]",
            "redis://:p@h?protocol=resp2",
            "unix:///run/redis.sock",
            "unix:///run/redis.sock?db=2&user=u&pass=p%26s",
            "redis+unix:///x?",
        ] {
            assert!(wrong_part(url).is_none(), "{url}");
        }
    }
}
