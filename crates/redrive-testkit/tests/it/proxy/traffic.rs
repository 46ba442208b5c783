//! What passes without a fault, and faults for everything: partitions, refusals, random resets.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use redrive_testkit::{Fault, Moment, Target, eventually, stream_name};

use super::{Raw, clients, get, pair};
use crate::SOON;

#[tokio::test]
async fn bytes_pass_unchanged_however_they_are_split() {
    let (server, proxy) = pair().await;
    let requests = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\x00\r\n\xff\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n\
        PING inline\r\n*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*2\r\n$7\r\nHGETALL\r\n$1\r\nh\r\n*1\r\n$5\r\nNOSUC\r\n\
        *4\r\n$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nf\r\n$0\r\n\r\n*2\r\n$7\r\nHGETALL\r\n$1\r\nh\r\n*1\r\n$4\r\nQUIT\r\n";
    let answers = |port: u16, pieces: usize| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        for piece in requests.chunks(pieces) {
            stream.write_all(piece).unwrap();
        }
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        // HELLO tells the connection's id.
        let text = String::from_utf8_lossy(&all).into_owned();
        let (before, after) = text.split_once("$2\r\nid\r\n:").unwrap();
        let after = after.split_once("\r\n").unwrap().1;
        format!("{before}{after}")
    };
    let mut connection = server.connect().await;
    let _: () = redis::cmd("HSET")
        .arg("h")
        .arg("f")
        .arg("")
        .query_async(&mut connection)
        .await
        .unwrap();

    let direct = answers(server.port(), requests.len());
    for pieces in [requests.len(), 1, 2, 7] {
        assert_eq!(
            answers(proxy.port(), pieces),
            direct,
            "in pieces of {pieces}"
        );
    }
    assert_eq!(proxy.misunderstood(), 0);
    assert_eq!(proxy.times_seen("HGETALL"), 8);
    assert_eq!(proxy.times_seen("PING"), 4);
}

#[tokio::test]
async fn big_values_pass_in_both_directions() {
    let (_server, proxy) = pair().await;
    let client = redis::Client::open(proxy.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let value: Vec<u8> = (0..8 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();

    let mut both = redis::pipe();
    both.cmd("SET").arg("big").arg(&value).ignore();
    both.cmd("GET").arg("big");
    let (read,): (Vec<u8>,) = both.query_async(&mut connection).await.unwrap();

    assert!(read == value);
}

#[tokio::test]
async fn commands_are_known_by_name_subcommand_and_script() {
    let (_server, proxy) = pair().await;
    proxy.name_script("return 1", "one");
    let client = redis::Client::open(format!("{}/?protocol=resp3", proxy.url())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let script = redis::Script::new("return 1");
    let one: u64 = script.invoke_async(&mut connection).await.unwrap();
    let mut atomic = redis::pipe();
    atomic.atomic().cmd("INCR").arg("n");
    let (n,): (u64,) = atomic.query_async(&mut connection).await.unwrap();
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../redrive/src/redis/scripts/");
    let text = |name: &str| std::fs::read_to_string(format!("{scripts}{name}.lua")).unwrap();
    let claim = [text("shared"), text("burial"), text("claim")].join("\n");
    for text in [&claim, &text("purge")] {
        let mut eval = redis::cmd("EVAL");
        let _: Result<redis::Value, _> = eval.arg(text).arg(0).query_async(&mut connection).await;
    }

    assert_eq!((one, n), (1, 1));
    for label in [
        "HELLO",
        "CLIENT SETINFO",
        "EVALSHA one",
        "MULTI",
        "MULTI INCR",
        "EXEC",
        "EVAL claim",
        "EVAL purge",
    ] {
        let seen = proxy.seen();
        assert!(proxy.times_seen(label) > 0, "{label} is not in {seen:?}");
    }
    assert_eq!(proxy.connections(), 1);
    assert_eq!(proxy.open_connections(), 1);
    assert_eq!(proxy.misunderstood(), 0);
    proxy.forget_seen();
    assert!(proxy.seen().is_empty());
}

#[tokio::test]
async fn a_partition_stops_everything_and_heals() {
    let (server, proxy) = pair().await;
    let mut client = Raw::to(&proxy);
    client.ask("INCR n", ":1\r\n");

    proxy.partition();
    client.send("INCR n");
    let mut other = Raw::to(&proxy);
    other.send("INCR n");
    client.expect_silence();
    other.expect_silence();
    assert_eq!(get(&server, "n").await.as_deref(), Some("1"));

    proxy.heal();
    client.0.read_exact(&mut [0; 4]).unwrap();
    other.0.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(get(&server, "n").await.as_deref(), Some("3"));
}

#[tokio::test]
async fn new_connections_are_refused_until_they_are_admitted() {
    let (_server, proxy) = pair().await;
    let mut client = Raw::to(&proxy);
    client.ask("PING", "+PONG\r\n");

    for _ in 0..3 {
        proxy.refuse();
        let error = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        client.ask("PING", "+PONG\r\n");

        proxy.admit();
        Raw::to(&proxy).ask("PING", "+PONG\r\n");
    }
}

#[tokio::test]
async fn random_resets_are_the_same_with_the_same_seed() {
    let (_server, proxy) = pair().await;
    let run = |seed| {
        proxy.reset_at_random(5, seed);
        let mut client = Raw::to(&proxy);
        let mut which = Vec::new();
        for n in 0..100 {
            client.send("PING");
            if client.0.read(&mut [0; 100]).is_err() {
                which.push(n);
                client = Raw::to(&proxy);
            }
        }
        proxy.reset_at_random(0, 0);
        which
    };

    let first = run(7);
    assert!((5..50).contains(&first.len()), "{first:?}");
    assert_eq!(run(7), first);
    assert_ne!(run(8), first);
    assert!(proxy.random_resets() >= 2 * first.len() as u64);
}

#[tokio::test]
async fn a_blocked_read_and_the_other_connections_do_not_wait_for_each_other() {
    let (_server, proxy) = pair().await;
    let (mut reader, mut writer) = (Raw::to(&proxy), Raw::to(&proxy));
    let stream = stream_name("orders");
    let held = proxy.arm(Target::next("XREAD"), Moment::Executed, Fault::Hold);

    reader.send(&format!("XREAD BLOCK 0 STREAMS {stream} $"));
    eventually(SOON, "the read has arrived", async || {
        proxy.times_seen("XREAD") == 1
    })
    .await;
    writer.ask("PING", "+PONG\r\n");
    assert!(!held.has_struck(), "a blocked read is not executed");
    // The read may still be on its way to the server, so one entry could come too early for it.
    eventually(SOON, "the read has its reply", async || {
        writer.send(&format!("XADD {stream} * n 1"));
        writer.0.read_exact(&mut [0; 5]).unwrap();
        let mut rest = [0; 100];
        let _ = writer.0.read(&mut rest).unwrap();
        held.has_struck()
    })
    .await;
    held.go_on();
    reader.expect("*1\r\n");
}

#[tokio::test]
async fn dropping_the_proxy_ends_its_connections_and_frees_its_port() {
    let (server, proxy) = pair().await;
    let port = proxy.port();
    let mut client = Raw::to(&proxy);
    client.ask("PING", "+PONG\r\n");

    drop(proxy);

    client.expect_closed();
    let error = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    eventually(SOON, "the server has no client left", async || {
        clients(&server).await == 0
    })
    .await;
}

#[tokio::test]
async fn a_proxy_finds_its_server_again_after_a_restart() {
    let (server, proxy) = pair().await;
    let mut client = Raw::to(&proxy);
    client.ask("PING", "+PONG\r\n");

    server.restart().await;

    client.expect_closed();
    Raw::to(&proxy).ask("PING", "+PONG\r\n");
}
