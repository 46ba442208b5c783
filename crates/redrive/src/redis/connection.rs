//! Connections: where to, with which credentials, and what happens when one breaks.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo, Pipeline};
use redis::{RedisError, Value};
use tokio::sync::Mutex;

use super::era::{Era, Since};
use super::errors::{self, After};
use super::rights;
use super::scripts::Script;
use super::sentinel::Sentinels;
use super::sentinel_server::Server;
use super::socket::{self, Connected, Whose};
use super::tls::{self, Tls};
use super::{sentinel_url, url};
use crate::error::{Error, ErrorKind};

/// How long a connection may take to be made.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take, beyond what the command itself waits. The library's own default of
/// half a second cuts off what a busy server would still have answered.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// A server, and how to get in.
#[derive(Clone)]
pub(super) struct Address {
    target: Target,
    /// `HOST:PORT` or a path; never the password.
    shown: String,
    user: Option<String>,
}

#[derive(Clone)]
enum Target {
    Server(Arc<Client>),
    /// Whichever is the primary at the moment.
    Primary(Arc<Sentinels>),
}

/// Which primary a connection leads to, as counted by [`Sentinels`]; always the same of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reign(pub(super) u64);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Address {
    /// # Errors
    ///
    /// `Invalid` for a URL or certificates that can never work. The URL is not quoted: it may hold
    /// a password.
    pub(super) fn parse(url: &str, certificates: &Tls) -> Result<Self, Error> {
        if sentinel_url::is_of_sentinels(url) {
            let sentinels = Sentinels::parse(url, certificates)?;
            return Ok(Self {
                shown: sentinels.to_string(),
                user: sentinels.user().map(str::to_owned),
                target: Target::Primary(Arc::new(sentinels)),
            });
        }
        if let Some(wrong) = url::wrong_part(url) {
            return Err(wrong);
        }
        // What the library says of it is left out: it may quote a part.
        let info = url.into_connection_info().map_err(|_| {
            Error::new(ErrorKind::Invalid, "reading the server's URL").hint(
                "a URL looks like redis://USER:PASSWORD@HOST:6379/0, rediss://…, unix:///PATH?db=0",
            )
        })?;
        let shown = info.addr().to_string();
        let user = info.redis_settings().username().map(str::to_owned);
        Ok(Self {
            target: Target::Server(Arc::new(tls::open(info, certificates, &shown)?)),
            shown,
            user,
        })
    }

    /// What a server answered to this user.
    pub(super) fn error(&self, cause: RedisError, doing: impl Into<String>) -> Error {
        errors::error_for(self.user.as_deref(), cause, doing)
    }

    /// A connection to the server; where sentinels are asked, to the one that is the primary now.
    pub(super) async fn connect(&self, whose: Whose) -> Result<(Connected, Reign), Error> {
        let client = match &self.target {
            Target::Server(client) => client,
            Target::Primary(sentinels) => return sentinels.connect(whose).await,
        };
        match socket::connect(client, whose).await {
            Ok(connection) => Ok((connection, Reign::default())),
            Err(cause) => {
                let error = self.error(cause, format!("connecting to {}", self.shown));
                Err(match error.kind() {
                    ErrorKind::Unreachable | ErrorKind::TimedOut => {
                        error.hint("is the server running, and is this its address?")
                    }
                    _ => error,
                })
            }
        }
    }

    /// A connection to another server that this one names, with the same credentials.
    pub(super) async fn beside(&self, server: &Server) -> Result<MultiplexedConnection, Error> {
        let doing = || format!("connecting to {server}");
        let client = match &self.target {
            Target::Primary(sentinels) => sentinels.beside(server)?,
            Target::Server(client) => {
                let known = client.get_connection_info();
                let (host, port) = (server.host.clone(), server.port);
                let address = match known.addr() {
                    ConnectionAddr::TcpTls {
                        insecure,
                        tls_params,
                        ..
                    } => ConnectionAddr::TcpTls {
                        host,
                        port,
                        insecure: *insecure,
                        tls_params: tls_params.clone(),
                    },
                    _ => ConnectionAddr::Tcp(host, port),
                };
                let info = address.into_connection_info();
                let info = info.map(|info| info.set_redis_settings(known.redis_settings().clone()));
                info.and_then(Client::open)
                    .map_err(|cause| self.error(cause, doing()))?
            }
        };
        let config = patient();
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connected: Result<_, RedisError> = connecting.await;
        connected.map_err(|cause| self.error(cause, doing()))
    }

    /// Whether a connection of this reign still leads to where the last one was made to. One that
    /// does not may even answer: an old primary that is cut off does not know that it is old.
    pub(super) async fn is_current(&self, reign: Reign) -> bool {
        match &self.target {
            Target::Server(_) => true,
            Target::Primary(sentinels) => sentinels.is_current(reign).await,
        }
    }

    /// Whether a connection can still be used after this error.
    pub(super) fn after(&self, error: &RedisError) -> After {
        match &self.target {
            Target::Primary(_) if errors::may_be_deposed(error) => After::Rebuild,
            _ => errors::sort(error).1,
        }
    }
}

/// How a connection is made, and how long its answers may take.
pub(super) fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(ANSWER))
}

/// A connection that is made when it is first used, shared by everybody who holds the link, and
/// made anew after it broke. It never sends anything twice by itself.
///
/// It lives on the runtime of the first call: a link for another runtime is another link.
#[derive(Debug)]
pub(super) struct Link {
    address: Address,
    era: Era,
    live: Mutex<Option<Live>>,
}

struct Live {
    connection: MultiplexedConnection,
    generation: u64,
    reign: Reign,
    since: Since,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.generation)
    }
}

impl Link {
    pub(super) fn new(address: Address) -> Self {
        Self::of(address, Era::default())
    }

    /// A link that is made anew also when another one of the same era broke.
    pub(super) fn of(address: Address, era: Era) -> Self {
        Self {
            address,
            era,
            live: Mutex::new(None),
        }
    }

    /// Another link to the same server, with a connection of its own.
    pub(super) fn apart(&self) -> Self {
        Self::new(self.address.clone())
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), Error> {
        let mut live = self.live.lock().await;
        let current = match live.as_ref() {
            Some(live) => self.era.lasts(live.since) && self.address.is_current(live.reign).await,
            None => false,
        };
        if let Some(live) = live.as_ref().filter(|_| current) {
            return Ok((live.connection.clone(), live.generation));
        }
        *live = None;
        // Before it is made: what breaks meanwhile may break this one, too.
        let since = self.era.now();
        let (Connected { connection, .. }, reign) = self.address.connect(Whose::Library).await?;
        let generation = fastrand::u64(..);
        *live = Some(Live {
            connection: connection.clone(),
            generation,
            reign,
            since,
        });
        Ok((connection, generation))
    }

    /// Forgets a connection that is of no more use, unless another call already has.
    async fn after(&self, error: &RedisError, generation: u64) {
        if self.address.after(error) == After::Rebuild {
            let mut live = self.live.lock().await;
            if let Some(broken) = live.take_if(|live| live.generation == generation) {
                self.era.end(broken.since);
            }
        }
    }

    /// Forgets a connection that has been silent for longer than its user can wait. It may only be slow: the
    /// other links of the era keep theirs.
    pub(super) fn give_up(&self) {
        // Where somebody makes one just now, it is another one already.
        if let Ok(mut live) = self.live.try_lock() {
            *live = None;
        }
    }

    async fn raw(
        &self,
        command: &Cmd,
        doing: &'static str,
    ) -> Result<Result<Value, RedisError>, Error> {
        let (mut connection, generation) = self.connection().await.map_err(|e| e.during(doing))?;
        let answer: Result<Value, RedisError> = command.query_async(&mut connection).await;
        if let Err(error) = &answer {
            self.after(error, generation).await;
        }
        Ok(answer)
    }

    /// One command and its answer.
    pub(super) async fn send(&self, command: &Cmd, doing: &'static str) -> Result<Value, Error> {
        self.raw(command, doing)
            .await?
            .map_err(|cause| self.address.error(cause, doing))
    }

    /// Several commands in one round trip; an error of one is its own answer, as
    /// [`Value::ServerError`].
    pub(super) async fn send_all(
        &self,
        commands: &Pipeline,
        doing: &'static str,
    ) -> Result<Vec<Value>, Error> {
        let (mut connection, generation) = self.connection().await.map_err(|e| e.during(doing))?;
        let answer: Result<Vec<Value>, RedisError> = commands.query_async(&mut connection).await;
        match answer {
            Ok(values) => Ok(values),
            Err(cause) => {
                self.after(&cause, generation).await;
                Err(self.address.error(cause, doing))
            }
        }
    }

    /// One answer of several: an error of its own, or a value.
    pub(super) fn answer(&self, value: Value, doing: &'static str) -> Result<Value, Error> {
        match value {
            Value::ServerError(error) => Err(self.address.error(error.into(), doing)),
            value => Ok(value),
        }
    }

    /// A script by its hash, and by its text where the server does not know it (any more).
    pub(super) async fn eval(
        &self,
        script: &Script,
        call: &Call,
        doing: &'static str,
    ) -> Result<Value, Error> {
        let answer = match self.raw(&call.by_hash(script), doing).await? {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                self.raw(&call.by_text(script), doing).await?
            }
            answer => answer,
        };
        answer.map_err(|cause| {
            let right = cause
                .detail()
                .and_then(|told| rights::named(told, script.text()));
            let error = self.address.error(cause, doing);
            match right {
                Some(right) => error.caused_by(right),
                None => error,
            }
        })
    }
}

/// The keys and arguments of a script.
#[derive(Default)]
pub(super) struct Call {
    keys: Vec<String>,
    /// One behind the other: a call may have thousands.
    args: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Call {
    pub(super) fn new(keys: impl IntoIterator<Item = String>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            ..Self::default()
        }
    }

    /// One more key, behind those of all.
    pub(super) fn key(&mut self, key: String) -> &mut Self {
        self.keys.push(key);
        self
    }

    pub(super) fn arg(&mut self, arg: impl Into<bytes::Bytes>) -> &mut Self {
        self.slice(&arg.into())
    }

    pub(super) fn slice(&mut self, arg: &[u8]) -> &mut Self {
        self.args.extend_from_slice(arg);
        self.ends.push(self.args.len());
        self
    }

    pub(super) fn number(&mut self, number: impl fmt::Display) -> &mut Self {
        // A vector takes whatever is written.
        let _ = write!(self.args, "{number}");
        self.ends.push(self.args.len());
        self
    }

    fn packed(&self, name: &str, script: &str) -> Cmd {
        let keys: usize = self.keys.iter().map(String::len).sum();
        let bytes = name.len() + script.len() + keys + self.args.len();
        let mut command = Cmd::with_capacity(self.keys.len() + self.ends.len() + 3, bytes + 8);
        command.arg(name).arg(script);
        command.arg(self.keys.len()).arg(&self.keys);
        let mut begin = 0;
        for end in &self.ends {
            command.arg(self.args.get(begin..*end).unwrap_or_default());
            begin = *end;
        }
        command
    }

    fn by_hash(&self, script: &Script) -> Cmd {
        self.packed("EVALSHA", script.hash())
    }

    pub(super) fn by_text(&self, script: &Script) -> Cmd {
        self.packed("EVAL", script.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_work_is_refused_without_showing_its_password() {
        for url in [
            "redis://user:hunter2@host:notaport",
            "redis://:hunter2@host/x",
            "redis://",
        ] {
            let Err(error) = Address::parse(url, &Tls::default()) else {
                continue;
            };
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{url}");
        }
        let address =
            Address::parse("redis://user:hunter2@localhost:1/2", &Tls::default()).unwrap();
        assert_eq!(format!("{address:?}"), "localhost:1");
    }

    #[test]
    fn certificates_need_an_encrypted_url_and_come_in_pairs() {
        let tls = Tls {
            ca: Some(b"x".to_vec()),
            ..Tls::default()
        };
        let error = Address::parse("redis://localhost", &tls).unwrap_err();
        assert!(error.cure().unwrap().contains("rediss://"));
        let tls = Tls {
            key: Some(b"x".to_vec()),
            ..Tls::default()
        };
        let error = Address::parse("rediss://localhost", &tls).unwrap_err();
        assert!(error.cure().unwrap().contains("go together"));
        let tls = Tls {
            ca: Some(b"not pem".to_vec()),
            ..Tls::default()
        };
        assert_eq!(
            Address::parse("rediss://localhost", &tls)
                .unwrap_err()
                .kind(),
            ErrorKind::Invalid
        );
    }
}
