//! A service under sentinels: found by its name, followed through failovers, with passwords and over TLS.

use std::fs;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redrive::{Broker, ConnectOptions, EntryId, ErrorKind, Message, Processor, Source};
use redrive_testkit::{Access, Log, SERVICE, SentinelTrio, Server, TlsFiles, eventually};

use crate::SOON;
use crate::rig::{Runs, Worker, quick, stream};

fn source() -> Source {
    Source::new("orders", "billing").unwrap()
}

/// A worker that notes what it is run on; every tenth message fails once.
fn noting_worker(broker: &Broker, runs: &Runs) -> Processor {
    let noting = runs.clone();
    quick(broker, source())
        .lease(Duration::from_secs(1))
        .build(move |message: Message<u32>| {
            let run = noting.note(message.id());
            async move { !message.is_multiple_of(10) || run > 1 }
        })
        .unwrap()
}

/// Adds entries of which each replica has a copy when this returns: no failover can lose them. What a failover
/// that nobody asked for came between is added once more.
async fn add_safely(trio: &SentinelTrio, many: u32) -> Vec<EntryId> {
    let mut adding = redis::pipe();
    for number in 0..many {
        adding
            .cmd("XADD")
            .arg("orders")
            .arg("*")
            .arg("data")
            .arg(number);
    }
    eventually(SOON, "entries that both replicas have", async || {
        let mut connection = trio.connect().await;
        let ids: Vec<String> = adding.query_async(&mut connection).await?;
        let mut wait = redis::cmd("WAIT");
        wait.arg(2).arg(20_000);
        match wait.query_async::<u32>(&mut connection).await? {
            2 => Ok(ids.iter().map(|id| id.parse().unwrap()).collect()),
            _ => Err(redis::RedisError::from(std::io::Error::other(
                "fewer copies",
            ))),
        }
    })
    .await
}

async fn unsettled(connection: &mut MultiplexedConnection) -> redis::RedisResult<u64> {
    let mut command = redis::cmd("XPENDING");
    command.arg("orders").arg("billing");
    let (pending, ..): (u64, redis::Value, redis::Value, redis::Value) =
        command.query_async(connection).await?;
    Ok(pending)
}

async fn all_done(trio: &SentinelTrio, runs: &Runs, ids: &[EntryId]) {
    let mut connection = trio.connect().await;
    eventually(SOON, "all run and none pending", async || {
        runs.cover(ids)?;
        match unsettled(&mut connection).await {
            Ok(0) => Ok(()),
            other => Err(format!("pending: {other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_url_of_sentinels_leads_to_the_primary_also_past_those_that_are_down() {
    let trio = SentinelTrio::start().await;
    let broker = Broker::connect(&trio.url()).await.unwrap();
    broker.producer(stream("orders")).send(&1).await.unwrap();
    trio.sentinels()[0].kill9().await;
    let fresh = Broker::connect(&trio.url()).await.unwrap();
    assert_eq!(fresh.stats(&source()).await.unwrap().stream_length, Some(1));
    // Those that are connected need no sentinel.
    trio.sentinels()[1].kill9().await;
    trio.sentinels()[2].kill9().await;
    broker.producer(stream("orders")).send(&2).await.unwrap();

    let error = Broker::connect(&trio.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let said = format!("{error:?}");
    assert!(
        said.contains(&trio.addresses()) && said.contains(SERVICE),
        "{said}"
    );
}

/// One failover because the primary died, one because somebody wanted it: the old one lives on as a
/// replica then, and answers READONLY. What both replicas had is run; nothing stays pending.
#[tokio::test]
async fn a_worker_follows_the_primary_through_two_failovers_and_loses_nothing() {
    let trio = SentinelTrio::start().await;
    let (log, _listening) = Log::listen();
    let broker = Broker::connect(&trio.url()).await.unwrap();
    let runs = Runs::default();
    let worker = Worker::start(noting_worker(&broker, &runs));
    let mut ids = add_safely(&trio, 300).await;
    eventually(SOON, "some runs", async || runs.len() > 50).await;
    trio.fail_over().await;
    ids.extend(add_safely(&trio, 300).await);
    all_done(&trio, &runs, &ids).await;

    // Counted before they are there: all may have run by the time that both replicas have them.
    let enough = runs.len() + 50;
    ids.extend(add_safely(&trio, 300).await);
    eventually(SOON, "some more runs", async || runs.len() > enough).await;
    trio.switch_over().await;
    ids.extend(add_safely(&trio, 300).await);
    all_done(&trio, &runs, &ids).await;
    // What has begun to be sent to a primary that fell is an error; afterwards all is well.
    broker.producer(stream("orders")).send(&1).await.unwrap();
    worker.stop().await;

    let moved = log.with(&["another server is the primary"]);
    // Once for each move, by whichever connection finds out first; what the thread of the renewals
    // says is not heard here. A busy machine may have moved it once more than was asked for.
    let moves = trio.moves().await;
    assert!(moves >= 2, "{moves}");
    assert!((1..=moves).contains(&moved.len()), "{moved:#?}");
    let mut said = log.lines();
    said.retain(|line| !line.starts_with("DEBUG") && !line.contains(" id="));
    println!("{} runs of {}; {said:#?}", runs.len(), ids.len());
    assert!(said.len() <= moves * 10, "{}: {said:#?}", said.len());
}

#[tokio::test]
async fn sentinels_and_servers_have_passwords_of_their_own() {
    let trio = SentinelTrio::start_with(Access {
        password: Some("of-the-servers".to_owned()),
        sentinel_password: Some("of-the-sentinels".to_owned()),
        ..Access::default()
    })
    .await;
    let url = trio.url();
    let broker = Broker::connect(&url).await.unwrap();
    broker.producer(stream("orders")).send(&1).await.unwrap();
    trio.fail_over().await;
    eventually(SOON, "the new primary", async || {
        broker.producer(stream("orders")).send(&2).await
    })
    .await;

    for (wrong, cure) in [
        (
            url.replace("of-the-sentinels", "secret"),
            "sentinel_password",
        ),
        (
            url.replace("?sentinel_password=of-the-sentinels", ""),
            "sentinel_password",
        ),
        (url.replace("of-the-servers", "secret"), "password is wrong"),
    ] {
        let error = Broker::connect(&wrong).await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert_eq!(error.kind(), ErrorKind::Denied, "{said}");
        assert!(error.cure().unwrap().contains(cure), "{said}");
        assert!(
            !said.contains("secret") && !said.contains("of-the"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn primary_and_sentinels_are_reached_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let files = TlsFiles::generate(directory.path());
    let trio = SentinelTrio::start_with(Access {
        tls: Some(files.clone()),
        ..Access::default()
    })
    .await;
    let trusting = ConnectOptions::default().ca(fs::read(files.ca()).unwrap());
    let broker = Broker::connect_with(&trio.url(), &trusting).await.unwrap();
    broker.producer(stream("orders")).send(&1).await.unwrap();
    assert_eq!(
        broker.stats(&source()).await.unwrap().stream_length,
        Some(1)
    );
    let distrusting = Broker::connect(&trio.url()).await.unwrap_err();
    assert_eq!(distrusting.kind(), ErrorKind::Denied, "{distrusting:?}");
    assert!(
        distrusting.cure().unwrap().contains("CA"),
        "{distrusting:?}"
    );
}

#[tokio::test]
async fn a_user_who_may_not_ask_for_the_role_is_told_what_is_missing() {
    let server = Server::builder()
        .acl("narrow on >look ~* &* +@all -role")
        .start()
        .await;
    let sentinel = redrive_testkit::sentinel_of(&server).await;
    let url = format!(
        "redis+sentinel://narrow:look@127.0.0.1:{}/{SERVICE}",
        sentinel.port()
    );
    let error = Broker::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let said = format!("{error:?}").to_lowercase();
    assert!(said.contains("'role'") && said.contains("+role"), "{said}");
}

/// The line in SECURITY.md.
#[tokio::test]
async fn at_a_sentinel_a_user_needs_to_ask_for_the_primary_and_nothing_else() {
    let server = Server::start().await;
    let sentinel = redrive_testkit::sentinel_of(&server).await;
    let mut connection = sentinel.connect().await;
    let line = "ACL SETUSER redrive on >a+long%password -@all +sentinel|get-master-addr-by-name";
    for line in [line, "ACL SETUSER default off"] {
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        let _: String = command.query_async(&mut connection).await.unwrap();
    }
    let url = format!("redis+sentinel://127.0.0.1:{}/{SERVICE}", sentinel.port());
    let login = "sentinel_username=redrive&sentinel_password=a+long%25password";
    let broker = Broker::connect(&format!("{url}?{login}")).await.unwrap();
    broker.producer(stream("orders")).send(&1).await.unwrap();
    let error = Broker::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
}
