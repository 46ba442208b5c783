//! A server as handler: one request for each message, over connections that are kept.

mod connections;

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use redrive::Source;
use tokio::time::timeout;

use self::connections::{Connections, Connector, Lost, Open};
use crate::configuration::show::without_secrets;
use crate::failure::Failure;
use crate::run::delivery::{Delivery, Form};
use crate::run::ended::{ERROR_LIMIT, Ended, Reason, over};
use crate::run::retry_after;

/// How long a connection may take to be made; at most half of the time-out, so that a server that
/// is not there is not taken for a slow one.
const TO_CONNECT: Duration = Duration::from_secs(10);
/// How much of an answer is read so that its connection can be used again, and for how long.
const READ_AT_MOST: usize = 64 * 1024;
const READ_FOR: Duration = Duration::from_secs(1);
/// Room for all headers of a request.
const MOST_HEADERS: usize = 12;

const ID: HeaderName = HeaderName::from_static("redrive-id");
const STREAM: HeaderName = HeaderName::from_static("redrive-stream");
const GROUP: HeaderName = HeaderName::from_static("redrive-group");
const ATTEMPT: HeaderName = HeaderName::from_static("redrive-attempt");
const TRACE: HeaderName = HeaderName::from_static("traceparent");
const DEAD_LETTER: HeaderName = HeaderName::from_static("redrive-dead-letter");

/// Where messages are posted to.
#[derive(Debug)]
pub(crate) struct Server {
    connections: Connections,
    /// Path and query: what a request asks for.
    path: Uri,
    /// Scheme, host and port: what may be said of the URL.
    origin: String,
    /// The same in each request.
    headers: HeaderMap,
    names: Names,
}

/// Where the names of stream and group come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// They are the same in each request.
    Known,
    OfMessage,
}

impl Server {
    /// The server of a URL, for the messages of a source. `limit` is the time-out of a request.
    pub(crate) fn new(
        url: &str,
        source: &Source,
        limit: Option<Duration>,
    ) -> Result<Self, Failure> {
        let mut server = Self::for_any(url, limit)?;
        server.names = Names::Known;
        for (header, name) in [
            (STREAM, source.stream.as_str()),
            (GROUP, source.group.as_str()),
        ] {
            let value = HeaderValue::from_bytes(name.as_bytes()).map_err(|_| {
                Failure::usage(format!(
                    "the name {name:?} cannot stand in a header of a request"
                ))
                .hint("names with control characters can be handled by a command")
            })?;
            server.headers.insert(header, value);
        }
        Ok(server)
    }

    /// The server of a URL, for messages of any source.
    pub(crate) fn for_any(url: &str, limit: Option<Duration>) -> Result<Self, Failure> {
        let refused = |why: &str| {
            let shown = without_secrets(url);
            Failure::usage(format!("--http cannot be {shown:?}: {why}"))
                .hint("it is a URL like http://127.0.0.1:8080/orders or https://example.com/orders")
        };
        let given: Uri = url.parse().map_err(|_| refused("it is not a URL"))?;
        let (Some(scheme), Some(authority)) = (given.scheme_str(), given.authority()) else {
            return Err(refused("it has no scheme or no host"));
        };
        if authority.host().is_empty() {
            return Err(refused("it has no host"));
        }
        let (user, place) = match authority.as_str().rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority.as_str()),
        };
        let origin = format!("{scheme}://{place}");
        let path = given.path_and_query().map_or("/", |path| path.as_str());
        let to: Uri = format!("{origin}{path}")
            .parse()
            .map_err(|_| refused("it is not a URL"))?;
        let path = given.path_and_query().cloned();
        let path = path.map_or_else(|| Uri::from_static("/"), Uri::from);

        let agent = concat!("redrive/", env!("CARGO_PKG_VERSION"));
        let mut headers = HeaderMap::with_capacity(MOST_HEADERS);
        let host = host(&to).ok_or_else(|| refused("its host is not text"))?;
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if let Some(user) = user {
            let value = basic(user).ok_or_else(|| refused("its user is not text"))?;
            headers.insert(AUTHORIZATION, value);
        }
        let connector = match scheme {
            "http" => Connector::Plain(connector(limit)),
            "https" => {
                let tls = HttpsConnectorBuilder::new().with_native_roots();
                let tls = tls.map_err(|error| {
                    Failure::new(format!("loading the certificates of this system: {error}"))
                        .hint("install them, the package is often called ca-certificates")
                })?;
                let tls = tls.https_only().enable_http1();
                Connector::Tls(tls.wrap_connector(connector(limit)))
            }
            _ => return Err(refused("it begins with neither http:// nor https://")),
        };
        Ok(Self {
            connections: Connections::new(connector, to),
            path,
            origin,
            headers,
            names: Names::OfMessage,
        })
    }

    /// Posts one message: until the server has answered, or until `limit` is over or `cancelled`
    /// resolves; then the connection is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the connection.
    pub(crate) async fn run(
        &self,
        delivery: &Delivery,
        limit: Option<Duration>,
        cancelled: impl Future<Output = ()>,
    ) -> Ended {
        let request = self.request(delivery);
        let answer = tokio::select! {
            biased;
            answer = self.connections.send(request) => answer,
            () = cancelled => return Ended::cancelled(),
            limit = over(limit) => return Ended::timed_out(limit),
        };
        match answer {
            Ok((answer, open)) => self.judged(answer, open).await,
            // Nothing was sent: it says nothing of the message.
            Err(Lost::Unconnected(why)) => {
                Ended::Unavailable(format!("connecting to {}: {why}", self.origin))
            }
            // It may have been handled, or have been the death of the server: that is charged.
            Err(Lost::Unanswered(why)) => {
                let text = format!("no answer from {}: {why}", self.origin);
                Ended::Fail(Reason::new(text, "connection"), None)
            }
        }
    }

    /// What an answer says of its message.
    async fn judged(&self, answer: Response<Incoming>, mut open: Box<Open>) -> Ended {
        let (head, body) = answer.into_parts();
        let text = match body.is_end_stream() {
            true => Vec::new(),
            false => read(body, &mut open).await,
        };
        self.connections.keep(open);
        if head.status.is_success() {
            return Ended::Ack;
        }
        let after = head.headers.get(RETRY_AFTER);
        let after = after.and_then(|value| value.to_str().ok());
        let after = after.and_then(|value| retry_after::delay(value, SystemTime::now()));
        failed(head.status, &text, after)
    }

    fn request(&self, delivery: &Delivery) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(delivery.body.bytes.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        let mut headers = self.headers.clone();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(match delivery.body.form {
                Form::Json => "application/json",
                Form::Bytes => "application/octet-stream",
            }),
        );
        headers.insert(ATTEMPT, delivery.attempt.into());
        let text = |text: String| HeaderValue::from_maybe_shared(Bytes::from(text)).ok();
        let id = text(delivery.id.to_string());
        let dead_letter = delivery.dead_letter.map(|id| id.to_string());
        let dead_letter = dead_letter.and_then(text);
        // What cannot stand in a header is left out.
        let name = |name: &str| match self.names {
            Names::Known => None,
            Names::OfMessage => HeaderValue::from_bytes(name.as_bytes()).ok(),
        };
        let stream = name(delivery.stream.as_str());
        let group = name(delivery.group.as_str());
        let trace = delivery.trace.clone();
        let trace = trace.and_then(|trace| HeaderValue::from_maybe_shared(trace).ok());
        for (name, value) in [
            (ID, id),
            (STREAM, stream),
            (GROUP, group),
            (TRACE, trace),
            (DEAD_LETTER, dead_letter),
        ] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        *request.headers_mut() = headers;
        request
    }
}

/// The host and port of a URL as a header.
fn host(to: &Uri) -> Option<HeaderValue> {
    let usual = match to.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    let name = to.host()?;
    let text = match to.port_u16() {
        Some(port) if port != usual => format!("{name}:{port}"),
        _ => name.to_owned(),
    };
    HeaderValue::try_from(text).ok()
}

fn connector(limit: Option<Duration>) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let most = limit.map_or(TO_CONNECT, |limit| TO_CONNECT.min(limit / 2));
    connector.set_connect_timeout(Some(most));
    connector
}

/// The user and password of a URL as a header.
fn basic(user: &str) -> Option<HeaderValue> {
    let user = match user.contains(':') {
        true => percent_decoded(user),
        false => percent_decoded(&format!("{user}:")),
    };
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(user))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex
            .filter(|hex| *first == b'%' && hex.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    decoded
}

/// What a status other than success says.
fn failed(status: StatusCode, body: &[u8], after: Option<Duration>) -> Ended {
    let mut text = format!("status {status}");
    let body = String::from_utf8_lossy(body);
    if let Some(line) = body.lines().map(str::trim).find(|line| !line.is_empty()) {
        text.push_str(": ");
        text.push_str(line);
    }
    let reason = Reason::new(text, format!("http {}", status.as_u16()));
    match status.as_u16() {
        400 | 410 | 413 | 415 | 422 => Ended::Reject(reason),
        408 | 425 | 429 | 503 => Ended::Fail(reason, after),
        _ => Ended::Fail(reason, None),
    }
}

/// The beginning of a body. Reads on, within bounds, so that the connection can be used again.
async fn read(mut body: Incoming, open: &mut Open) -> Vec<u8> {
    let (mut beginning, mut seen) = (Vec::new(), 0);
    let reading = async {
        while let Some(frame) = open.part(&mut body).await {
            let Some(data) = frame.data_ref() else {
                continue;
            };
            seen += data.len();
            let room = ERROR_LIMIT.saturating_sub(beginning.len());
            beginning.extend_from_slice(&data[..data.len().min(room)]);
            if seen > READ_AT_MOST {
                break;
            }
        }
    };
    let _ = timeout(READ_FOR, reading).await;
    beginning
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, String> {
        let source = Source::new("orders", "billing").unwrap();
        Server::new(url, &source, None).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn the_host_is_told_with_a_port_that_is_not_the_usual_one() {
        for (url, told) in [
            ("http://host:80/", "host"),
            ("http://host:443/", "host:443"),
            ("https://host:443/", "host"),
            ("https://[::1]:80/", "[::1]:80"),
        ] {
            assert_eq!(host(&url.parse().unwrap()).unwrap(), told, "{url}");
        }
    }

    #[test]
    fn a_url_is_taken_apart_and_its_secrets_are_kept() {
        let plain = server("http://127.0.0.1:8080").unwrap();
        assert_eq!(plain.path, "/");
        assert_eq!(plain.headers[HOST], "127.0.0.1:8080");
        let query = server("http://host?token=b").unwrap();
        assert_eq!(query.path.to_string(), "/?token=b");
        let secret = server("http://us%40er:se%3Acret@host/a?token=b").unwrap();
        assert_eq!(secret.path, "/a?token=b");
        assert_eq!(secret.origin, "http://host");
        assert_eq!(secret.headers[HOST], "host");
        let value = secret.headers[AUTHORIZATION].to_str().unwrap();
        let value = STANDARD
            .decode(value.strip_prefix("Basic ").unwrap())
            .unwrap();
        assert_eq!(value, b"us@er:se:cret");
        assert!(!format!("{secret:?}").contains("cret"));
        for (url, told) in [
            ("ftp://u:hunter2@host/", "neither http:// nor https://"),
            ("host", "no scheme"),
            ("/path", "no scheme"),
            ("http://u:hunter2@", ""),
            ("u:hunter2@host", ""),
            ("http://u:hunter2@host/a b", "not a URL"),
            ("", "not a URL"),
        ] {
            let refused = server(url).unwrap_err();
            assert!(refused.contains(told), "{url}: {refused}");
            assert!(refused.contains("code: Usage"), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn names_that_no_header_holds_are_refused() {
        let source = Source::new("or\nders", "billing").unwrap();
        let refused = Server::new("http://host", &source, None).unwrap_err();
        assert!(format!("{refused:?}").contains("cannot stand in a header"));
        let source = Source::new("órders", "billing").unwrap();
        assert!(Server::new("http://host", &source, None).is_ok());
    }

    #[test]
    fn a_status_is_a_rejection_or_a_failure() {
        let said = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            failed(
                status,
                b"\n \nno such order\nmore",
                Some(Duration::from_secs(7)),
            )
        };
        for status in [400, 410, 413, 415, 422] {
            assert!(matches!(said(status), Ended::Reject(_)), "{status}");
        }
        for status in [408, 425, 429, 503] {
            let Ended::Fail(_, after) = said(status) else {
                panic!("{status}")
            };
            assert_eq!(after, Some(Duration::from_secs(7)), "{status}");
        }
        for status in [300, 302, 401, 403, 404, 409, 418, 500, 501, 502, 504, 599] {
            assert!(matches!(said(status), Ended::Fail(_, None)), "{status}");
        }
        assert_eq!(
            said(500),
            Ended::Fail(
                Reason::new(
                    "status 500 Internal Server Error: no such order",
                    "http 500"
                ),
                None
            )
        );
    }
}
