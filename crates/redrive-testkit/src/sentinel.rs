//! A service under watch: a primary, two replicas, three sentinels, and failovers on demand.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError, RedisResult};

use crate::builder::Builder;
use crate::server::Server;
use crate::tls::TlsFiles;
use crate::{eventually, fail};

/// The name under which the sentinels watch.
pub const SERVICE: &str = "orders-service";

/// Far more than a failover takes, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(120);

/// A sentinel that watches this server under [`SERVICE`], whether it is a primary or not. Alone it changes nothing:
/// two would have to agree.
///
/// # Panics
///
/// If it does not start.
pub async fn sentinel_of(server: &Server) -> Server {
    let port = server.port().to_string();
    watching(&Access::default(), &port).start().await
}

/// How clients get in at a [`SentinelTrio`]; nothing is asked of them by default.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The password of the primary and its replicas.
    pub password: Option<String>,
    /// The password of the sentinels.
    pub sentinel_password: Option<String>,
    /// Replication, sentinels and clients over TLS.
    pub tls: Option<TlsFiles>,
}

/// Three servers, of which one is the primary, and three sentinels that agree on which.
///
/// A server that does not answer for half a second is taken for dead by two of them, and a replica takes its place
/// within two to four seconds. What the old primary had not passed on to the replica is lost: replication is
/// asynchronous.
#[derive(Debug)]
pub struct SentinelTrio {
    nodes: Vec<Server>,
    sentinels: Vec<Server>,
    access: Access,
}

impl SentinelTrio {
    /// Starts them and returns when all know each other.
    ///
    /// # Panics
    ///
    /// If one of them does not start, or they do not find each other within two minutes.
    pub async fn start() -> Self {
        Self::start_with(Access::default()).await
    }

    /// As [`SentinelTrio::start`], with passwords or TLS.
    ///
    /// # Panics
    ///
    /// As [`SentinelTrio::start`].
    pub async fn start_with(access: Access) -> Self {
        let primary = node(&access).start().await;
        let port = access.port(&primary).to_string();
        let replica = || node(&access).arg("--replicaof", &format!("127.0.0.1 {port}"));
        let (first, second) = tokio::join!(replica().start(), replica().start());
        let nodes = vec![primary, first, second];
        let mut looking = nodes[0].connect().await;
        // A sentinel that looks too early sees no replicas, and looks again after ten seconds.
        eventually(SOON, "two replicas in step", async || {
            let info = info(&mut looking).await?;
            match info.matches("state=online").count() {
                2 => Ok(()),
                _ => Err(odd(&info)),
            }
        })
        .await;
        let sentinel = || watching(&access, &port).start();
        let (one, two, three) = tokio::join!(sentinel(), sentinel(), sentinel());
        let trio = Self {
            nodes,
            sentinels: vec![one, two, three],
            access,
        };
        trio.all_known().await;
        trio
    }

    /// `redis+sentinel://HOST:PORT,HOST:PORT,HOST:PORT/SERVICE` with whatever [`Access`] asks for, or
    /// `rediss+sentinel://…`.
    pub fn url(&self) -> String {
        let access = &self.access;
        let scheme = if access.tls.is_some() {
            "rediss"
        } else {
            "redis"
        };
        let login = access.password.as_ref();
        let login = login.map_or_else(String::new, |password| format!(":{password}@"));
        let query = access.sentinel_password.as_ref();
        let query = query.map_or_else(String::new, |word| format!("?sentinel_password={word}"));
        let sentinels = self.addresses();
        format!("{scheme}+sentinel://{login}{sentinels}/{SERVICE}{query}")
    }

    /// `HOST:PORT` of each sentinel, with commas in between.
    pub fn addresses(&self) -> String {
        let ports = self.sentinels.iter().map(|one| self.access.port(one));
        let hosts: Vec<String> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
        hosts.join(",")
    }

    /// The three servers, first the one that was the primary at the start.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The three sentinels.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// The server that most sentinels call the primary, and that says so itself.
    ///
    /// # Panics
    ///
    /// If they do not agree within two minutes.
    pub async fn primary(&self) -> &Server {
        eventually(SOON, "a primary that the sentinels agree on", async || {
            self.try_primary().await.ok_or("none")
        })
        .await
    }

    /// A connection to [`SentinelTrio::primary`].
    ///
    /// # Panics
    ///
    /// As [`SentinelTrio::primary`].
    pub async fn connect(&self) -> MultiplexedConnection {
        self.primary().await.connect().await
    }

    /// Kills the primary, waits until another one has taken its place, and brings the old one back as a replica of
    /// it, with nothing in it. Returns when the next failover could come.
    ///
    /// # Panics
    ///
    /// If no failover comes about within two minutes.
    pub async fn fail_over(&self) -> &Server {
        let old = self.primary().await;
        old.kill9().await;
        let new = self.another_than(old).await;
        self.bring_back(old, new).await;
        new
    }

    /// How often the primary has changed, also where nobody asked for it: at least as often, for an election whose
    /// failover failed counts as well.
    ///
    /// # Panics
    ///
    /// If no sentinel answers.
    pub async fn moves(&self) -> usize {
        let mut sentinel = self.sentinels[0].connect().await;
        let told: RedisResult<Told> = ask(&mut sentinel, "MASTER").await;
        let epoch = told
            .ok()
            .and_then(|told| told.get("config-epoch")?.parse().ok());
        match epoch {
            Some(epoch) => epoch,
            None => fail("the sentinel does not tell how often the primary has changed"),
        }
    }

    /// Has the sentinels change the primary while it is well: the old one lives on as a replica.
    ///
    /// # Panics
    ///
    /// If no failover comes about within two minutes.
    pub async fn switch_over(&self) -> &Server {
        let old = self.primary().await;
        eventually(SOON, "a failover begins", async || {
            let mut sentinel = self.sentinels[0].connect().await;
            ask::<String>(&mut sentinel, "FAILOVER").await
        })
        .await;
        let new = self.another_than(old).await;
        self.settled(new).await;
        new
    }

    /// Waits until sentinels agree on a primary that is not this one.
    ///
    /// # Panics
    ///
    /// If they do not within two minutes.
    pub async fn another_than(&self, old: &Server) -> &Server {
        eventually(SOON, "another primary", async || {
            match self.try_primary().await {
                Some(new) if new.port() != old.port() => Ok(new),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// Starts a killed server again as a replica of the primary. Returns when the next failover could come.
    ///
    /// # Panics
    ///
    /// If it does not come back within two minutes.
    pub async fn bring_back(&self, old: &Server, primary: &Server) {
        old.restart().await;
        self.demote(old, primary).await;
    }

    /// Makes a server that thinks of itself as the primary a replica of the real one, sooner than the sentinels would.
    /// Returns when the next failover could come.
    ///
    /// # Panics
    ///
    /// If it does not become one within two minutes.
    pub async fn demote(&self, old: &Server, primary: &Server) {
        let mut connection = old.connect().await;
        let port = self.access.port(primary);
        let mut command = redis::cmd("REPLICAOF");
        command.arg("127.0.0.1").arg(port);
        let done: RedisResult<()> = command.query_async(&mut connection).await;
        if let Err(error) = done {
            fail(&format!(
                "cannot make a replica of the old primary: {error}"
            ));
        }
        self.settled(primary).await;
    }

    /// Both replicas in step, all sentinels of one mind and content with what they see.
    async fn settled(&self, primary: &Server) {
        let mut looking = primary.connect().await;
        eventually(SOON, "two replicas in step again", async || {
            let info = info(&mut looking).await?;
            match info.matches("state=online").count() {
                2 => Ok(()),
                _ => Err(odd(&info)),
            }
        })
        .await;
        self.all_known().await;
    }

    async fn all_known(&self) {
        for sentinel in &self.sentinels {
            eventually(SOON, "a sentinel that knows all others", async || {
                let mut sentinel = sentinel.connect().await;
                let replicas = well(&mut sentinel, "REPLICAS").await?;
                let sentinels = well(&mut sentinel, "SENTINELS").await?;
                let primary = ask(&mut sentinel, "MASTER").await?;
                match (replicas, sentinels, flags(primary)) {
                    (2, 2, flags) if flags == "master" => Ok(()),
                    other => Err(odd(&format!("{other:?}"))),
                }
            })
            .await;
        }
    }

    async fn try_primary(&self) -> Option<&Server> {
        let mut named: Vec<u16> = Vec::new();
        for sentinel in &self.sentinels {
            // One that was killed on purpose has no say.
            let Ok(mut sentinel) = sentinel.try_connect().await else {
                continue;
            };
            let answer = ask::<(String, u16)>(&mut sentinel, "GET-MASTER-ADDR-BY-NAME").await;
            named.extend(answer.ok().map(|(_, port)| port));
        }
        let agreed = |port: &u16| named.iter().filter(|other| *other == port).count() >= 2;
        let port = named.iter().copied().find(agreed)?;
        let node = self
            .nodes
            .iter()
            .find(|node| self.access.port(node) == port)?;
        let mut connection = node.try_connect().await.ok()?;
        let info = info(&mut connection).await.ok()?;
        info.contains("role:master").then_some(node)
    }
}

impl Access {
    /// Where replicas, sentinels and clients find this server.
    fn port(&self, server: &Server) -> u16 {
        match self.tls {
            None => server.port(),
            Some(_) => server.tls_port(),
        }
    }
}

/// What a sentinel tells of a server, by name.
type Told = HashMap<String, String>;

async fn ask<T: FromRedisValue>(
    sentinel: &mut MultiplexedConnection,
    what: &str,
) -> RedisResult<T> {
    let mut command = redis::cmd("SENTINEL");
    command.arg(what).arg(SERVICE);
    command.query_async(sentinel).await
}

/// How many of these the sentinel has nothing to say against.
async fn well(sentinel: &mut MultiplexedConnection, what: &str) -> RedisResult<usize> {
    let told: Vec<Told> = ask(sentinel, what).await?;
    let down = |flags: &String| flags.contains("down") || flags.contains("disconnected");
    Ok(told
        .into_iter()
        .map(flags)
        .filter(|flags| !down(flags))
        .count())
}

fn flags(mut told: Told) -> String {
    told.remove("flags").unwrap_or_default()
}

fn odd(seen: &str) -> RedisError {
    RedisError::from(std::io::Error::other(seen.to_owned()))
}

async fn info(connection: &mut MultiplexedConnection) -> RedisResult<String> {
    redis::cmd("INFO")
        .arg("replication")
        .query_async(connection)
        .await
}

fn node(access: &Access) -> Builder {
    let mut builder = Server::builder()
        // Replicas wait five seconds for others by default.
        .arg("--repl-diskless-sync-delay", "0")
        .arg("--repl-timeout", "5");
    if let Some(password) = &access.password {
        builder = builder.requirepass(password).arg("--masterauth", password);
    }
    encrypted(builder, access)
}

fn watching(access: &Access, port: &str) -> Builder {
    // Short, for a failover that fails is not tried again within twice the failover time-out.
    let mut config = format!(
        "sentinel monitor {SERVICE} 127.0.0.1 {port} 2\n\
         sentinel down-after-milliseconds {SERVICE} 500\n\
         sentinel failover-timeout {SERVICE} 2000\n\
         sentinel parallel-syncs {SERVICE} 2\n"
    );
    if let Some(password) = &access.password {
        // Writing to a String cannot fail.
        let _ = writeln!(config, "sentinel auth-pass {SERVICE} {password}");
    }
    if let Some(password) = &access.sentinel_password {
        let _ = writeln!(config, "sentinel sentinel-pass {password}");
    }
    let mut builder = Server::builder().sentinel(config);
    if let Some(password) = &access.sentinel_password {
        builder = builder.requirepass(password);
    }
    encrypted(builder, access)
}

fn encrypted(builder: Builder, access: &Access) -> Builder {
    let Some(files) = &access.tls else {
        return builder;
    };
    let path = |path: &Path| path.to_string_lossy().into_owned();
    // To each other they are clients.
    builder
        .tls(files.clone())
        .arg("--tls-replication", "yes")
        .arg("--tls-client-cert-file", &path(files.client_certificate()))
        .arg("--tls-client-key-file", &path(files.client_key()))
}
