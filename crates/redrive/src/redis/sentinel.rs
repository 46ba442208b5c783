//! Where the primary of a service is: sentinels are asked one after the other, and what they name
//! has to say itself that it is the primary. Steps as the documentation of Redis describes them for
//! clients of Sentinel.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Client, ProtocolVersion, RedisConnectionInfo, RedisError, Value, cmd};
use tokio::time::{Instant, timeout};

use super::connection::{CONNECT, Reign, patient};
use super::sentinel_server::Server;
use super::sentinel_url::{Login, SentinelUrl};
use super::socket::{self, Connected, Whose};
use super::tls::{self, Tls};
use super::{errors, wire};
use crate::error::{Error, ErrorKind};
use crate::telemetry;

/// How long a sentinel may take to answer, from connecting on: others may know as well.
const ASK: Duration = Duration::from_secs(1);

/// How often a connection that is in use asks whether its primary is still the one. In a failover
/// that somebody wanted, the old primary goes on as one for some ten seconds, and what it takes then
/// is thrown away.
const LOOK: Duration = Duration::from_secs(1);
/// How long a command waits for that.
const LOOKING: Duration = Duration::from_millis(100);

/// The sentinels of a service, and what they last said.
pub(super) struct Sentinels {
    service: String,
    all: Vec<Sentinel>,
    /// How to get in at the primary, wherever it is.
    login: RedisConnectionInfo,
    encrypted: bool,
    certificates: Tls,
    known: Mutex<Known>,
}

struct Sentinel {
    client: Client,
    shown: String,
}

#[derive(Default)]
struct Known {
    /// Which sentinel is asked first: the one that was right last.
    first: usize,
    /// Where the last connection was made to.
    primary: Option<Server>,
    reign: u64,
    /// When it was last made sure of.
    looked: Option<Instant>,
}

/// Why there is no connection yet; what tells most comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Telling {
    /// A sentinel that does not answer says nothing of the others.
    SentinelSilent,
    /// There is no primary at the moment, or it is not known yet.
    NoPrimary,
    /// This sentinel will not tell.
    SentinelRefuses,
    /// The same would come of asking again.
    PrimaryRefuses,
}

impl Sentinels {
    /// # Errors
    ///
    /// `Invalid` for a URL or certificates that can never work.
    pub(super) fn parse(url: &str, certificates: &Tls) -> Result<Self, Error> {
        let url = SentinelUrl::read(url)?;
        let protocol = if url.resp3 {
            ProtocolVersion::RESP3
        } else {
            ProtocolVersion::RESP2
        };
        let login = |login: &Login| {
            let mut info = RedisConnectionInfo::default().set_protocol(protocol);
            if let Some(user) = &login.user {
                info = info.set_username(user);
            }
            match &login.password {
                Some(password) => info.set_password(password),
                None => info,
            }
        };
        let mut all = Vec::with_capacity(url.sentinels.len());
        for (host, port) in &url.sentinels {
            let server = Server {
                host: host.clone(),
                port: *port,
            };
            let info = server.info(url.encrypted, login(&url.sentinel))?;
            let shown = server.to_string();
            let client = tls::open(info, certificates, &shown)?;
            all.push(Sentinel { client, shown });
        }
        Ok(Self {
            login: login(&url.primary).set_db(i64::from(url.database)),
            service: url.service,
            all,
            encrypted: url.encrypted,
            certificates: certificates.clone(),
            known: Mutex::default(),
        })
    }

    /// The user at the primary.
    pub(super) fn user(&self) -> Option<&str> {
        self.login.username()
    }

    /// A client of another server of the service, which is not asked for anything yet.
    pub(super) fn beside(&self, server: &Server) -> Result<Client, Error> {
        let info = server.info(self.encrypted, self.login.clone())?;
        tls::open(info, &self.certificates, &server.to_string())
    }

    /// Whether a connection of this reign still leads to the primary, as far as is known. Now and
    /// then a sentinel is asked; a command waits for its answer, but not long: it may be the
    /// sentinel that is not well.
    pub(super) async fn is_current(self: &Arc<Self>, reign: Reign) -> bool {
        let now = Instant::now();
        let due = {
            let mut known = self.known();
            let due = known.looked.is_none_or(|at| now >= at + LOOK);
            if due {
                known.looked = Some(now);
            }
            due
        };
        if due {
            let sentinels = Arc::clone(self);
            // On its own: who waits may be dropped, or give up, and still wants to know next time.
            let looking = tokio::spawn(async move { sentinels.look().await });
            let _ = timeout(LOOKING, looking).await;
        }
        Reign(self.known().reign) == reign
    }

    /// Asks the sentinel that was right last. What it names has to say itself that it is the primary
    /// before anybody leaves the old one.
    async fn look(&self) {
        let (index, primary) = {
            let known = self.known();
            (known.first, known.primary.clone())
        };
        let Some(sentinel) = self.all.get(index) else {
            return;
        };
        match self.ask(sentinel).await {
            Ok(named) if Some(&named) == primary.as_ref() => {}
            Ok(named) => {
                if self.enter(&named, sentinel, Whose::Library).await.is_ok() {
                    self.found(index, named);
                }
            }
            // The next one next time.
            Err(_) => {
                let mut known = self.known();
                if known.first == index {
                    known.first = (index + 1) % self.all.len();
                }
            }
        }
    }

    /// A connection to the primary. Each sentinel is asked once, until one names a server that says
    /// itself that it is the primary.
    ///
    /// # Errors
    ///
    /// The most telling of what went wrong, with the server or sentinel that it went wrong at.
    pub(super) async fn connect(&self, whose: Whose) -> Result<(Connected, Reign), Error> {
        let first = self.known().first;
        let mut failures: Vec<(Telling, Error)> = Vec::new();
        let mut tried: Vec<Server> = Vec::new();
        for turn in 0..self.all.len() {
            let index = (first + turn) % self.all.len();
            let Some(sentinel) = self.all.get(index) else {
                continue;
            };
            match self.ask(sentinel).await {
                // Another one said so already, and it was of no use.
                Ok(named) if tried.contains(&named) => {}
                Ok(named) => match self.enter(&named, sentinel, whose).await {
                    Ok(connection) => return Ok((connection, self.found(index, named))),
                    Err(failure) => {
                        failures.push(failure);
                        tried.push(named);
                    }
                },
                Err(failure) => failures.push(failure),
            }
        }
        Err(self.most_telling(failures))
    }

    /// Where this sentinel thinks the primary is.
    async fn ask(&self, sentinel: &Sentinel) -> Result<Server, (Telling, Error)> {
        let Sentinel { client, shown } = sentinel;
        let doing = || {
            format!(
                "asking the sentinel {shown} for the primary of {}",
                self.service
            )
        };
        let asking = async {
            let mut connection = client
                .get_multiplexed_async_connection_with_config(&patient())
                .await?;
            let mut command = cmd("SENTINEL");
            command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
            command.query_async(&mut connection).await
        };
        let answer: Result<Value, RedisError> = match timeout(ASK, asking).await {
            Ok(answer) => answer,
            Err(_) => {
                let error = Error::new(ErrorKind::TimedOut, doing());
                return Err((Telling::SentinelSilent, error.hint(ARE_THEY)));
            }
        };
        match answer {
            Ok(Value::Nil) => {
                let doing = format!(
                    "service not found: {}, at the sentinel {shown}",
                    self.service
                );
                let hint = "the sentinel watches others: see SENTINEL MASTERS there";
                let error = Error::new(ErrorKind::NotFound, doing).hint(hint);
                Err((Telling::SentinelRefuses, error))
            }
            Ok(answer) => Server::read(answer).map_err(|error| (Telling::SentinelRefuses, error)),
            Err(cause) => {
                // A handshake that fails has a hint of its own.
                let answered = !cause.is_io_error();
                let error = errors::error_for(None, cause, doing());
                Err(match error.kind() {
                    ErrorKind::Unreachable | ErrorKind::TimedOut => {
                        (Telling::SentinelSilent, error.hint(ARE_THEY))
                    }
                    ErrorKind::Denied if answered => {
                        (Telling::SentinelRefuses, error.hint(TO_GET_IN))
                    }
                    ErrorKind::Protocol => (
                        Telling::SentinelRefuses,
                        error.hint("is that a sentinel? its usual port is 26379"),
                    ),
                    _ => (Telling::SentinelRefuses, error),
                })
            }
        }
    }

    /// A connection to what a sentinel named, which has to say that it is the primary: a sentinel
    /// that was cut off names the old one for a while. On the connection that will be used: the next
    /// one could lead to a server that was demoted in between.
    async fn enter(
        &self,
        named: &Server,
        sentinel: &Sentinel,
        whose: Whose,
    ) -> Result<Connected, (Telling, Error)> {
        let doing = || {
            let (service, sentinel) = (&self.service, &sentinel.shown);
            format!(
                "connecting to {named}, the primary of {service} as the sentinel {sentinel} says"
            )
        };
        let fatal = |error| (Telling::PrimaryRefuses, error);
        let info = named.info(self.encrypted, self.login.clone());
        let client = info.and_then(|info| tls::open(info, &self.certificates, &named.to_string()));
        let client = client.map_err(fatal)?;
        let entering = async {
            let mut connected = socket::connect(&client, whose).await?;
            let role = cmd("ROLE").query_async(&mut connected.connection).await?;
            Ok((connected, role))
        };
        let entered: Result<_, RedisError> = match timeout(CONNECT, entering).await {
            Ok(entered) => entered,
            Err(_) => {
                let error = Error::new(ErrorKind::TimedOut, doing()).hint(FAILING_OVER);
                return Err((Telling::NoPrimary, error));
            }
        };
        let (connected, role) = entered.map_err(|cause| {
            let not_allowed = cause.code() == Some("NOPERM");
            let error = errors::error_for(self.user(), cause, doing());
            match error.kind() {
                ErrorKind::Unreachable | ErrorKind::TimedOut => {
                    (Telling::NoPrimary, error.hint(FAILING_OVER))
                }
                // Of all that is asked here, ROLE is what a user may not be allowed.
                ErrorKind::Denied if not_allowed => fatal(error.hint(
                    "a server that a sentinel names is asked for its role: give this user +role",
                )),
                kind if kind.is_transient() => (Telling::NoPrimary, error),
                _ => fatal(error),
            }
        })?;
        if is_primary(role) {
            return Ok(connected);
        }
        let error = Error::new(ErrorKind::Unavailable, doing());
        let hint =
            "it says that it is a replica: a failover is under way, or that sentinel is behind";
        Err((Telling::NoPrimary, error.hint(hint)))
    }

    fn found(&self, index: usize, named: Server) -> Reign {
        let mut known = self.known();
        known.first = index;
        known.looked = Some(Instant::now());
        if known.primary.as_ref() != Some(&named) {
            if let Some(old) = &known.primary {
                telemetry::primary_moved(&self.service, old, &named);
            }
            known.primary = Some(named);
            known.reign += 1;
        }
        Reign(known.reign)
    }

    fn most_telling(&self, failures: Vec<(Telling, Error)>) -> Error {
        // Of equals the first: it comes from the sentinel that was right last.
        let most = failures
            .into_iter()
            .rev()
            .max_by_key(|(telling, _)| *telling);
        match most {
            // One of them has told before: what it will not tell now, another one may, later.
            Some((Telling::SentinelRefuses, error)) if self.known().primary.is_some() => {
                let doing = format!("asking the sentinels of {} for its primary", self.service);
                Error::new(ErrorKind::Unavailable, doing).caused_by(error)
            }
            Some((Telling::SentinelSilent, error)) if self.all.len() > 1 => {
                let doing = format!("asking for the primary: no sentinel answers, of {self}");
                Error::new(error.kind(), doing)
                    .hint(ARE_THEY)
                    .caused_by(error)
            }
            Some((_, error)) => error,
            None => Error::new(ErrorKind::Invalid, "asking for the primary: no sentinels"),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing in here is left half done by a panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ARE_THEY: &str = "are the sentinels running, and are these their addresses?";
const FAILING_OVER: &str = "a failover takes a few seconds; is the address that the sentinel names \
     one that can be reached from here?";
const TO_GET_IN: &str = "a sentinel has users and passwords of its own: \
     ?sentinel_username=USER&sentinel_password=PASSWORD; it must allow SENTINEL";

fn is_primary(role: Value) -> bool {
    let words = wire::list(role, "the role of a server").unwrap_or_default();
    let word = words.into_iter().next();
    let word = word.map(|word| wire::text(word, "the role of a server"));
    matches!(word, Some(Ok(word)) if word == "master")
}

/// The service and where it is watched; never a password.
impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at ", self.service)?;
        for (index, sentinel) in self.all.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", sentinel.shown)?;
        }
        Ok(())
    }
}
