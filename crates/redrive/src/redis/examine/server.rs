//! What a server tells of itself: its memory, its disk, its time-outs, its replicas and their clocks.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, Value, cmd};
use tokio::time::{Instant, timeout};

use super::{DOING, then, told, told_of};
use crate::doctor::facts::{Eviction, Journal, Replica, ServerFacts, Told};
use crate::error::Error;
use crate::redis::connection::{Address, Link};
use crate::redis::sentinel_server::Server;
use crate::redis::wire;

/// How long a replica may take to say what time it is.
const REPLICA: Duration = Duration::from_secs(2);
/// How many replicas are asked.
const REPLICAS: usize = 16;

/// What is configured, in the order in which it is asked.
const ASKED: [&str; 5] = [
    "maxmemory-policy",
    "maxmemory",
    "appendonly",
    "appendfsync",
    "timeout",
];

pub(in crate::redis) async fn server(link: &Link, address: &Address) -> Result<ServerFacts, Error> {
    let mut ask = Pipeline::new();
    ask.ignore_errors();
    for name in ASKED {
        ask.cmd("CONFIG").arg("GET").arg(name);
    }
    ask.cmd("INFO");
    let mut answers = link.send_all(&ask, DOING).await?.into_iter();
    let mut configured = || -> Result<Told<String>, Error> {
        let answer = told_of(link, answers.next())?;
        Ok(then(answer, |pair| {
            let pair = wire::list(pair, "a setting").ok()?;
            wire::text(pair.into_iter().nth(1)?, "a setting").ok()
        }))
    };
    let (policy, limit) = (configured()?, configured()?);
    let (append_only, fsync) = (configured()?, configured()?);
    let timeout = configured()?;
    let info = then(told_of(link, answers.next())?, |info| {
        wire::text(info, "the server's report").ok()
    });
    let info = Info(info);

    let policy = info.unless(policy, "maxmemory_policy");
    let limit = info.unless(limit, "maxmemory");
    let append_only = match append_only {
        Told::No(why) => info.unless(Told::No(why), "aof_enabled"),
        known => known,
    };
    Ok(ServerFacts {
        eviction: match (policy, limit) {
            (Told::Yes(policy), Told::Yes(limit)) => Told::Yes(Eviction {
                policy,
                limit: limit.parse().unwrap_or(u64::MAX),
            }),
            (Told::No(why), _) | (_, Told::No(why)) => Told::No(why),
        },
        journal: then(append_only, |append_only| {
            Some(Journal {
                append_only: append_only == "yes" || append_only == "1",
                fsync,
            })
        }),
        timeout: then(timeout, |seconds| seconds.parse().ok()),
        replicas: replicas(link, address, &info).await?,
    })
}

/// The report of `INFO`.
struct Info(Told<String>);

impl Info {
    fn value(&self, name: &str) -> Option<&str> {
        let lines = self.0.known()?.lines();
        let mut pairs = lines.filter_map(|line| line.split_once(':'));
        let (_, value) = pairs.find(|(known, _)| *known == name)?;
        Some(value.trim_end())
    }

    /// What was told, else what the report says.
    fn unless(&self, told: Told<String>, name: &str) -> Told<String> {
        match (told, self.value(name)) {
            (Told::No(_), Some(value)) => Told::Yes(value.to_owned()),
            (told, _) => told,
        }
    }

    /// `slave0:ip=10.0.0.2,port=6379,state=online,…`
    fn replicas(&self) -> Vec<Server> {
        let named = (0..REPLICAS).map_while(|n| self.value(&format!("slave{n}")));
        named
            .filter_map(|replica| {
                let part = |name: &str| {
                    let mut parts = replica.split(',');
                    parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
                };
                Some(Server {
                    host: part("ip")?.to_owned(),
                    port: part("port")?.parse().ok()?,
                })
            })
            .collect()
    }
}

async fn replicas(
    link: &Link,
    address: &Address,
    info: &Info,
) -> Result<Told<Vec<Replica>>, Error> {
    let servers = match &info.0 {
        Told::Yes(_) => info.replicas(),
        // It tells less, and may be allowed where the other is not.
        Told::No(_) => match told(link.send(&cmd("ROLE"), DOING).await)? {
            Told::Yes(role) => by_role(role)?,
            Told::No(why) => return Ok(Told::No(why)),
        },
    };
    let mut found = Vec::with_capacity(servers.len());
    for server in servers {
        found.push(Replica {
            ahead_ms: ahead(link, address, &server).await?,
            name: server.to_string(),
        });
    }
    Ok(Told::Yes(found))
}

/// The replicas in the answer of `ROLE`, of a primary: its role, its offset, and them.
fn by_role(role: Value) -> Result<Vec<Server>, Error> {
    let mut role = wire::list(role, "the role of a server")?.into_iter();
    let (word, replicas) = (role.next(), role.nth(1));
    let word = wire::text(word.unwrap_or(Value::Nil), "the role of a server")?;
    if word != "master" {
        return Ok(Vec::new());
    }
    let replicas = wire::list(replicas.unwrap_or(Value::Nil), "replicas")?;
    replicas
        .into_iter()
        .take(REPLICAS)
        .map(Server::read)
        .collect()
}

/// By how many ms the clock of a replica is ahead of the primary's.
async fn ahead(link: &Link, address: &Address, server: &Server) -> Result<Told<i64>, Error> {
    let asking = async {
        let mut connection = address.beside(server).await?;
        let asked = Instant::now();
        let theirs = time(&mut connection)
            .await
            .map_err(|cause| address.error(cause, DOING))?;
        Ok::<_, Error>((asked, theirs))
    };
    let (asked, theirs) = match timeout(REPLICA, asking).await {
        Err(_) => {
            return Ok(Told::No(format!(
                "no answer within {} s",
                REPLICA.as_secs()
            )));
        }
        Ok(Err(error)) => return Ok(Told::No(error.to_string())),
        Ok(Ok(answer)) => answer,
    };
    let ours = link.send(&cmd("TIME"), DOING).await?;
    let passed = asked.elapsed();
    let theirs = wire::clock_ms(wire::list(theirs, "a time")?)?;
    let ours = wire::clock_ms(wire::list(ours, "a time")?)?;
    let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
    Ok(Told::Yes(apart(theirs, ours, passed)))
}

/// How far a clock is ahead of another one that was read up to so many ms later: nothing where that
/// explains it.
fn apart(theirs: u64, ours: u64, passed: u64) -> i64 {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let ahead = signed(theirs).saturating_sub(signed(ours));
    if ahead >= 0 {
        ahead
    } else {
        ahead.saturating_add(signed(passed)).min(0)
    }
}

async fn time(connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
    cmd("TIME").query_async(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_replicas_and_tells_what_could_not_be_asked() {
        let text = "# Memory\r\nmaxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\n# Replication\r\nrole:master\r\n\
             connected_slaves:3\r\nslave0:ip=10.0.0.2,port=6380,state=online,offset=1,lag=0\r\n\
             slave1:ip=fd00::2,port=6381,state=online\r\nslave2:state=online\r\n";
        let info = Info(Told::Yes(text.to_owned()));
        let replicas: Vec<String> = info.replicas().iter().map(ToString::to_string).collect();
        assert_eq!(replicas, ["10.0.0.2:6380", "[fd00::2]:6381"]);
        let no = || Told::No("no".to_owned());
        let told = |text: &str| Told::Yes(text.to_owned());
        assert_eq!(info.unless(no(), "maxmemory_policy"), told("allkeys-lru"));
        assert_eq!(info.unless(told("x"), "maxmemory_policy"), told("x"));
        assert_eq!(info.unless(no(), "nothing"), no());
    }

    #[test]
    fn a_role_names_the_replicas_of_a_primary_alone() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let replica = Value::Array(vec![text("10.0.0.2"), text("6380"), text("9")]);
        let of = |word: &str| {
            Value::Array(vec![
                text(word),
                Value::Int(9),
                Value::Array(vec![replica.clone()]),
            ])
        };
        assert_eq!(by_role(of("master")).unwrap().len(), 1);
        assert!(
            by_role(Value::Array(vec![text("slave"), text("h"), Value::Int(1)]))
                .unwrap()
                .is_empty()
        );
        assert!(by_role(Value::Array(vec![])).is_err());
    }

    #[test]
    fn clocks_are_apart_by_what_waiting_does_not_explain() {
        assert_eq!(apart(1_000, 1_000, 0), 0);
        assert_eq!(apart(600_000, 0, 5), 600_000);
        // The other one was read 400 ms later.
        assert_eq!(apart(1_000, 1_400, 400), 0);
        assert_eq!(apart(1_000, 601_400, 400), -600_000);
    }
}
