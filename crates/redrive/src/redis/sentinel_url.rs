//! The URL of a service that sentinels watch: read part by part, and wrong parts named, not quoted.

use super::url::{self, HOW_TO_ESCAPE, cut, wrong};
use crate::error::Error;

/// The usual port of a sentinel.
const PORT: u16 = 26379;

const FORM: &str = "it looks like redis+sentinel://USER:PASSWORD@HOST:26379,HOST:26379/SERVICE/0";
const PARAMETERS: &str =
    "behind the ? such a URL takes sentinel_username, sentinel_password, protocol";

/// `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB?sentinel_password=…`, read. User,
/// password and database are for the primary.
pub(super) struct SentinelUrl {
    pub(super) encrypted: bool,
    pub(super) sentinels: Vec<(String, u16)>,
    pub(super) service: String,
    pub(super) primary: Login,
    pub(super) sentinel: Login,
    pub(super) database: u32,
    pub(super) resp3: bool,
}

/// How to get in. Never shown: it has no `Debug`.
#[derive(Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Whether sentinels are to be asked where the server is.
pub(super) fn is_of_sentinels(url: &str) -> bool {
    url.split_once(':')
        .is_some_and(|(scheme, _)| scheme.ends_with("+sentinel"))
}

impl SentinelUrl {
    /// # Errors
    ///
    /// `Invalid`, with the part that is wrong.
    pub(super) fn read(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = cut(url, ':');
        let rest = rest.unwrap_or_default().strip_prefix("//");
        let rest = rest.ok_or_else(url::no_slashes)?;
        let (rest, fragment) = cut(rest, '#');
        let (rest, query) = cut(rest, '?');
        let (authority, path) = cut(rest, '/');
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (login, hosts),
            None => ("", authority),
        };
        let sentinels = hosts.split(',').map(host).collect::<Result<Vec<_>, _>>()?;
        let (service, database) = cut(path.unwrap_or_default(), '/');
        if !is_service(service) {
            let hint = format!("{FORM}; a service is letters, digits and .-_; {HOW_TO_ESCAPE}");
            let what = if service.is_empty() {
                "the service in a URL of sentinels, which is missing"
            } else {
                "the service in a URL of sentinels"
            };
            return Err(wrong(what, hint));
        }
        let mut read = Self {
            encrypted: scheme.starts_with("rediss"),
            sentinels,
            service: service.to_owned(),
            primary: login_of(login)?,
            sentinel: Login::default(),
            database: number(database.unwrap_or_default())?,
            resp3: false,
        };
        read.take_parameters(query)?;
        match fragment {
            Some(_) => Err(url::a_fragment()),
            None => Ok(read),
        }
    }

    fn take_parameters(&mut self, query: Option<&str>) -> Result<(), Error> {
        for (name, value) in url::parameters(query) {
            match (name, value) {
                ("sentinel_username", user) => self.sentinel.user = some(user)?,
                ("sentinel_password", password) => self.sentinel.password = some(password)?,
                ("protocol", "2" | "resp2") => self.resp3 = false,
                ("protocol", "3" | "resp3") => self.resp3 = true,
                ("protocol", _) => return Err(url::wrong_protocol()),
                _ => {
                    let what = "the parameters of a URL of sentinels, one of which is unknown";
                    return Err(wrong(what, format!("{PARAMETERS}; {AND_ALSO}")));
                }
            }
        }
        if self.sentinel.user.is_some() && self.sentinel.password.is_none() {
            let what = "the sentinel_username in a URL of sentinels, which has no password";
            return Err(wrong(what, "give sentinel_password too"));
        }
        Ok(())
    }
}

const AND_ALSO: &str =
    "in a user or a password, write % / ? # @ : & as %25 %2F %3F %23 %40 %3A %26";

/// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`.
fn host(text: &str) -> Result<(String, u16), Error> {
    let (host, port) = match text.strip_prefix('[') {
        // An IPv6 address has colons of its own.
        Some(text) => match text.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("none"))),
            None => ("", None),
        },
        None => cut(text, ':'),
    };
    if host.is_empty() || host.contains(['[', ']', '%', ' ']) {
        let what = "the hosts in a URL of sentinels, one of which is missing or no host";
        return Err(wrong(what, format!("{FORM}; {HOW_TO_ESCAPE}")));
    }
    let port = match port.map(str::parse) {
        None => PORT,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => {
            let hint = format!("a port is a number from 1 to 65535; {HOW_TO_ESCAPE}");
            return Err(wrong("a port in a URL of sentinels", hint));
        }
    };
    Ok((host.to_owned(), port))
}

/// What the documentation of Sentinel allows. A piece of a password that was not escaped has an @.
fn is_service(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

fn number(text: &str) -> Result<u32, Error> {
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| {
        let what = "the number of the database in a URL of sentinels";
        wrong(what, format!("{FORM}; {HOW_TO_ESCAPE}"))
    })
}

fn login_of(text: &str) -> Result<Login, Error> {
    let (user, password) = cut(text, ':');
    Ok(Login {
        user: some(user)?,
        password: password.map(some).transpose()?.flatten(),
    })
}

/// A text with its escapes undone; `None` for an empty one. A + is a +.
fn some(text: &str) -> Result<Option<String>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    let not_escaped = || wrong("an escape in a URL of sentinels", AND_ALSO);
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or_else(not_escaped)?;
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| hex);
        bytes.push(byte.ok_or_else(not_escaped)?);
        bytes.extend(rest.bytes());
    }
    let text = String::from_utf8(bytes).map_err(|_| not_escaped())?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn the_usual_form_is_read() {
        let url = "rediss+sentinel://ann:p%40%2Fs@one:1,two,[::1]:3,[::2]/my-service/5\
                   ?sentinel_username=s&sentinel_password=a%26b+c&protocol=3";
        let read = SentinelUrl::read(url).ok().unwrap();
        let hosts: Vec<_> = read.sentinels.iter().map(|(h, p)| (&**h, *p)).collect();
        assert_eq!(
            hosts,
            [("one", 1), ("two", 26379), ("::1", 3), ("::2", 26379)]
        );
        assert_eq!((read.service.as_str(), read.database), ("my-service", 5));
        assert!(read.encrypted && read.resp3);
        assert_eq!(read.primary.user.as_deref(), Some("ann"));
        assert_eq!(read.primary.password.as_deref(), Some("p@/s"));
        assert_eq!(read.sentinel.user.as_deref(), Some("s"));
        assert_eq!(read.sentinel.password.as_deref(), Some("a&b+c"));

        let read = SentinelUrl::read("redis+sentinel://:p@h/s/").ok().unwrap();
        assert!(!read.encrypted && !read.resp3 && read.database == 0);
        assert!(read.primary.user.is_none() && read.sentinel.password.is_none());
        assert_eq!(read.primary.password.as_deref(), Some("p"));
    }

    #[test]
    fn what_is_wrong_is_named_and_never_quoted() {
        for (url, part) in [
            ("redis+sentinel:h/s", "no // behind"),
            ("redis+sentinel://", "the hosts"),
            ("redis+sentinel:///s", "the hosts"),
            ("redis+sentinel://h,/s", "the hosts"),
            ("redis+sentinel://[::1/s", "the hosts"),
            ("redis+sentinel://u:secret%@h%/s", "the hosts"),
            ("redis+sentinel://h:secret/s", "a port"),
            ("redis+sentinel://h:0/s", "a port"),
            ("redis+sentinel://[::1]secret/s", "a port"),
            ("redis+sentinel://u:sec/ret@h/s", "a port"),
            ("redis+sentinel://u:12/secret@h", "the service"),
            (
                "redis+sentinel://h",
                "the service in a URL of sentinels, which is missing",
            ),
            ("redis+sentinel://h/", "which is missing"),
            ("redis+sentinel://h/s%20secret", "the service"),
            ("redis+sentinel://h/s/secret", "the number of the database"),
            ("redis+sentinel://h/s/+1", "the number of the database"),
            ("redis+sentinel://u:secret%@h/s", "an escape"),
            ("redis+sentinel://u:secret%+1@h/s", "an escape"),
            ("redis+sentinel://u:secret%ff@h/s", "an escape"),
            ("redis+sentinel://h/s?password=secret", "the parameters"),
            (
                "redis+sentinel://h/s?sentinel_password=sec&ret",
                "the parameters",
            ),
            (
                "redis+sentinel://h/s?sentinel_username=secret",
                "has no password",
            ),
            ("redis+sentinel://h/s?protocol=secret", "the protocol"),
            ("redis+sentinel://h/s#secret", "behind #"),
        ] {
            let Err(error) = SentinelUrl::read(url) else {
                panic!("{url} was read");
            };
            let said = format!("{error:?} {error}");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            assert!(said.contains(part), "{url}: {said}");
            assert!(!said.contains("sec"), "{url}: {said}");
        }
    }

    #[test]
    fn only_urls_of_sentinels_are_taken_for_such() {
        assert!(is_of_sentinels("redis+sentinel://h/s"));
        assert!(is_of_sentinels("rediss+sentinel:"));
        assert!(!is_of_sentinels("redis://h/+sentinel:"));
        assert!(!is_of_sentinels("h+sentinel"));
    }
}
