//! Finding the primary: what sentinels say, and what the servers themselves say to it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use redrive_testkit::{SERVICE, Server, eventually, sentinel_of};

use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::redis::connection::{Address, Link};
use crate::redis::era::Era;
use crate::redis::reader::Reader;
use crate::redis::tls::Tls;

const SOON: Duration = Duration::from_secs(60);

fn address(sentinels: &[&Server]) -> Address {
    let hosts: Vec<String> = sentinels
        .iter()
        .map(|one| format!("127.0.0.1:{}", one.port()))
        .collect();
    let url = format!("redis+sentinel://{}/{SERVICE}", hosts.join(","));
    Address::parse(&url, &Tls::default()).unwrap()
}

/// Which server a link leads to, by a key that tells.
async fn who(link: &Link) -> Result<Value, Error> {
    link.send(cmd("GET").arg("who"), "asking who").await
}

fn is(name: &str) -> Value {
    Value::BulkString(name.as_bytes().to_vec())
}

async fn run(server: &Server, words: &str) {
    let mut words = words.split_whitespace();
    let mut command = cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    let mut connection: MultiplexedConnection = server.connect().await;
    let _: Value = command.query_async(&mut connection).await.unwrap();
}

async fn start() -> Server {
    // A primary waits five seconds for more replicas by default.
    let builder = Server::builder().arg("--repl-diskless-sync-delay", "0");
    builder.start().await
}

async fn in_step(replica: &Server, with: &str) {
    let mut connection = replica.connect().await;
    eventually(SOON, "a replica in step", async || {
        let who: Option<String> = cmd("GET").arg("who").query_async(&mut connection).await?;
        match who.as_deref() {
            Some(who) if who == with => Ok(()),
            other => Err(redis::RedisError::from(std::io::Error::other(format!(
                "{other:?}"
            )))),
        }
    })
    .await;
}

/// A sentinel that was cut off, or is slow, names the old primary when that is a replica already.
/// Who believes it reads what is old and writes nothing.
#[tokio::test]
async fn a_replica_that_a_sentinel_names_is_not_taken_for_the_primary() {
    let (primary, replica) = tokio::join!(start(), start());
    run(&primary, "SET who primary").await;
    run(&replica, &format!("REPLICAOF 127.0.0.1 {}", primary.port())).await;
    in_step(&replica, "primary").await;
    let (behind, right) = tokio::join!(sentinel_of(&replica), sentinel_of(&primary));

    let link = Link::new(address(&[&behind, &right]));
    // What a replica refuses.
    let set = cmd("SET").arg("who").arg("me").clone();
    link.send(&set, "writing").await.unwrap();

    let error = who(&Link::new(address(&[&behind]))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.cure().unwrap().contains("a replica"), "{error:?}");
}

/// One connection finds the new primary while another one still gets answers from the old: acks
/// would go to one server, and renewals to the other.
#[tokio::test]
async fn when_one_connection_has_found_a_new_primary_all_others_follow() {
    let (old, new) = tokio::join!(start(), start());
    for (server, name) in [(&old, "old"), (&new, "new")] {
        run(server, &format!("SET who {name}")).await;
        run(server, &format!("XADD log 1-1 who {name}")).await;
    }
    let sentinel = sentinel_of(&old).await;
    let address = address(&[&sentinel]);
    let link = Link::new(address.clone());
    let reader = Reader::new(address.clone(), Era::default());
    let read = async || {
        let asked = [&b"XREAD"[..], b"STREAMS", b"log", b"0"];
        let read = reader.read(&asked, Duration::ZERO, |entry| entry.fields);
        read.await.unwrap()
    };
    let says = |name| [Fields::from_iter([("who", name)])];
    assert_eq!(who(&link).await.unwrap(), is("old"));
    assert_eq!(read().await, says("old"));

    run(&sentinel, &format!("SENTINEL REMOVE {SERVICE}")).await;
    // Nobody knows of a service at the moment: it was known before, so it may be again.
    let error = who(&link.apart()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let monitor = format!("SENTINEL MONITOR {SERVICE} 127.0.0.1 {} 2", new.port());
    run(&sentinel, &monitor).await;
    assert_eq!(who(&link.apart()).await.unwrap(), is("new"));
    assert_eq!(who(&link).await.unwrap(), is("new"));
    assert_eq!(read().await, says("new"));
}

/// In a failover that somebody wanted, the old primary answers as one for some ten seconds: what was
/// sent to it then was thrown away.
#[tokio::test]
async fn a_connection_that_is_well_leaves_a_primary_that_the_sentinels_have_left() {
    let (old, new) = tokio::join!(start(), start());
    for (server, name) in [(&old, "old"), (&new, "new")] {
        run(server, &format!("SET who {name}")).await;
        run(server, &format!("XADD log 1-1 who {name}")).await;
    }
    let sentinel = sentinel_of(&old).await;
    let link = Link::new(address(&[&sentinel]));
    assert_eq!(who(&link).await.unwrap(), is("old"));
    // Nor is a server left for one that is no primary.
    run(&new, &format!("REPLICAOF 127.0.0.1 {}", old.port())).await;
    in_step(&new, "old").await;
    run(&sentinel, &format!("SENTINEL REMOVE {SERVICE}")).await;
    let monitor = format!("SENTINEL MONITOR {SERVICE} 127.0.0.1 {} 2", new.port());
    run(&sentinel, &monitor).await;
    let set = cmd("SET").arg("who").arg("still old").clone();
    let refused = tokio::time::timeout(Duration::from_secs(3), async {
        let refused = async || link.send(&set, "writing").await.is_err();
        eventually(SOON, "a write that is refused", refused).await;
    });
    assert!(refused.await.is_err());
    run(&new, "REPLICAOF NO ONE").await;
    run(&new, "SET who new").await;
    eventually(SOON, "the new primary", async || match who(&link).await {
        Ok(value) if value == is("new") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// A primary without its replicas refuses writes where it is told to; when it was cut off, another
/// one has taken its place, and only the sentinels know.
#[tokio::test]
async fn a_primary_without_replicas_is_asked_for_again() {
    let (cut_off, new) = tokio::join!(start(), start());
    let sentinel = sentinel_of(&cut_off).await;
    let link = Link::new(address(&[&sentinel]));
    let set = cmd("SET").arg("who").arg("me").clone();
    link.send(&set, "writing").await.unwrap();
    run(&cut_off, "CONFIG SET min-replicas-to-write 1").await;
    // Before the sentinel names another one: a connection in use asks each second, too.
    let error = link.send(&set, "writing").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WritesRefused);
    run(&sentinel, &format!("SENTINEL REMOVE {SERVICE}")).await;
    let monitor = format!("SENTINEL MONITOR {SERVICE} 127.0.0.1 {} 2", new.port());
    run(&sentinel, &monitor).await;
    link.send(&set, "writing").await.unwrap();
}

#[tokio::test]
async fn who_is_no_sentinel_or_knows_no_such_service_is_named() {
    let server = Server::start().await;
    let sentinel = sentinel_of(&server).await;
    let error = who(&Link::new(address(&[&server]))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
    assert!(error.cure().unwrap().contains("26379"), "{error:?}");

    let url = format!("redis+sentinel://127.0.0.1:{}/others", sentinel.port());
    let address = Address::parse(&url, &Tls::default()).unwrap();
    let error = who(&Link::new(address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains("others"), "{error:?}");
}
