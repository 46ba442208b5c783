//! Blocked reads on connections of ours: every way to a server, replies in pieces, and what is no reply.

use std::time::Duration;

use redrive_testkit::{Server, TlsFiles};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::redis::connection::Address;
use crate::redis::era::Era;
use crate::redis::reader::Reader;
use crate::redis::tls::Tls;

fn reader(url: &str) -> Reader {
    Reader::new(
        Address::parse(url, &Tls::default()).unwrap(),
        Era::default(),
    )
}

/// Reads all that is in the stream `log`.
async fn read(reader: &Reader) -> Result<Vec<Fields>, Error> {
    let words = [&b"XREAD"[..], b"COUNT", b"100", b"STREAMS", b"log", b"0"];
    let read = reader.read(&words, Duration::ZERO, |entry| entry.fields);
    read.await
}

/// Entries of all shapes; all bytes, also those that end lines in the protocol.
fn entries() -> Vec<Fields> {
    vec![
        Fields::from_iter([("data", "$5\r\n*1\r\n")]),
        Fields::from_iter([("data", "")]),
        Fields::from_iter([("", "2"), ("a", ""), ("a", "-ERR no\r\n")]),
        Fields::from_iter([(vec![0xff_u8, 0, 13], vec![10_u8, 13, 0xfe])]),
        Fields::from_iter((0..40).map(|n| (format!("name {n}"), "v".repeat(n)))),
    ]
}

async fn fill(server: &Server, database: i64, entries: &[Fields]) {
    let mut plain = server.connect().await;
    let mut all = redis::pipe();
    all.cmd("SELECT").arg(database);
    for fields in entries {
        all.add_command(crate::redis::add(
            &crate::StreamKey::new("log").unwrap(),
            fields,
        ));
    }
    let _: redis::Value = all.query_async(&mut plain).await.unwrap();
}

#[tokio::test]
async fn every_entry_arrives_in_both_protocols_on_every_socket_and_database() {
    let server = Server::builder()
        .requirepass("secret")
        .acl("reader on >other ~* +@all")
        .start()
        .await;
    fill(&server, 0, &entries()).await;
    let elsewhere = [Fields::from_iter([("database", "3")])];
    fill(&server, 3, &elsewhere).await;
    let (port, plain, unix) = (server.port(), server.url(), server.unix_url());
    for (url, there) in [
        (plain.clone(), &entries()[..]),
        (format!("{plain}?protocol=resp3"), &entries()),
        (format!("{plain}/3"), &elsewhere),
        (format!("{plain}/3?protocol=resp3"), &elsewhere),
        (format!("redis://reader:other@127.0.0.1:{port}"), &entries()),
        (
            format!("redis://reader:other@localhost:{port}/?protocol=resp3"),
            &entries(),
        ),
        (unix.clone(), &entries()),
        (format!("{unix}&db=3&protocol=resp3"), &elsewhere),
    ] {
        let reader = reader(&url);
        let first = read(&reader)
            .await
            .unwrap_or_else(|error| panic!("{url} {error:?}"));
        assert_eq!(first, there, "{url}");
        let id = reader.client_id();
        assert_eq!(read(&reader).await.unwrap(), there, "{url}");
        assert_eq!(reader.is_ours().await, Some(true), "{url}");
        assert!(
            id != 0 && id == reader.client_id(),
            "another connection: {url}"
        );
    }
}

#[tokio::test]
async fn with_tls_the_client_library_reads() {
    let directory = tempfile::tempdir().unwrap();
    let files = TlsFiles::generate(directory.path());
    let server = Server::builder().tls(files.clone()).start().await;
    fill(&server, 0, &entries()).await;
    let tls = Tls {
        ca: Some(std::fs::read(files.ca()).unwrap()),
        ..Tls::default()
    };
    let address = Address::parse(&server.tls_url(), &tls).unwrap();
    let reader = Reader::new(address, Era::default());
    assert_eq!(read(&reader).await.unwrap(), entries());
    assert_eq!(reader.is_ours().await, Some(false));
}

#[tokio::test]
async fn what_a_server_refuses_is_told_as_before_and_the_connection_stays() {
    let server = Server::builder()
        .requirepass("right-secret")
        .acl("blind on >right-secret ~* +@all -xread")
        .start()
        .await;
    let port = server.port();
    for user in [":wrong-secret@", "blind:wrong-secret@", ""] {
        for protocol in ["", "/?protocol=resp3"] {
            let reader = reader(&format!("redis://{user}127.0.0.1:{port}{protocol}"));
            let error = read(&reader).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{user} {error:?}");
            assert!(error.cure().unwrap().contains("password"), "{error:?}");
            assert!(
                !format!("{error} {error:?}").contains("secret"),
                "{error:?}"
            );
            assert_eq!(
                reader.is_ours().await,
                user.is_empty()
                    .then_some(true)
                    .filter(|_| protocol.is_empty())
            );
        }
    }
    let blind = reader(&format!("redis://blind:right-secret@127.0.0.1:{port}"));
    let error = read(&blind).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(
        error.cure().unwrap().contains("of the user blind"),
        "{error:?}"
    );
    assert_eq!(blind.is_ours().await, Some(true));

    let reader = reader(&server.url());
    let words: Vec<&[u8]> = "XREADGROUP GROUP g c STREAMS log >"
        .split(' ')
        .map(str::as_bytes)
        .collect();
    let error = reader.read(&words, Duration::ZERO, drop).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoGroup, "{error:?}");
    let id = reader.client_id();
    assert!(read(&reader).await.unwrap().is_empty());
    assert_eq!(reader.client_id(), id);
}

/// In front of a server: passes on what it says in pieces of this size, and no more than so many bytes on a connection.
async fn in_pieces(server: &Server, size: usize, most: usize) -> String {
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://127.0.0.1:{}", door.local_addr().unwrap().port());
    let server = server.port();
    tokio::spawn(async move {
        while let Ok((client, _)) = door.accept().await {
            client.set_nodelay(true).unwrap();
            let (mut asked, mut told) = client.into_split();
            let (mut answered, mut asking) = TcpStream::connect(("127.0.0.1", server))
                .await
                .unwrap()
                .into_split();
            tokio::spawn(async move { tokio::io::copy(&mut asked, &mut asking).await });
            tokio::spawn(async move {
                let mut left = most;
                let mut bytes = vec![0; size];
                while let Ok(many @ 1..) = answered.read(&mut bytes).await {
                    let many = many.min(left);
                    left -= many;
                    if told.write_all(&bytes[..many]).await.is_err() || left == 0 {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_reply_in_pieces_is_whole_and_a_large_one_leaves_nothing_behind() {
    let server = Server::start().await;
    fill(&server, 0, &entries()).await;
    for size in [1, 2, 7, 64] {
        for protocol in ["", "/?protocol=resp3"] {
            let url = in_pieces(&server, size, usize::MAX).await;
            let reader = reader(&format!("{url}{protocol}"));
            for _ in 0..2 {
                assert_eq!(read(&reader).await.unwrap(), entries(), "{size}");
            }
            assert_eq!(reader.is_ours().await, Some(true));
        }
    }
    let large: Vec<Fields> = (1..5_u8)
        .map(|n| Fields::from_iter([(vec![n; 200], vec![n; 3 << 20])]))
        .collect();
    fill(&server, 0, &large).await;
    let all = [entries(), large].concat();
    let reader = reader(&in_pieces(&server, 60_000, usize::MAX).await);
    for _ in 0..2 {
        assert_eq!(read(&reader).await.unwrap(), all);
    }
}

/// A reply that ends in the middle is lost, whole, and the next read has a connection of its own.
#[tokio::test]
async fn a_reply_that_is_cut_off_ends_its_connection() {
    let server = Server::start().await;
    fill(&server, 0, &entries()).await;
    let reader = reader(&in_pieces(&server, 64, 400).await);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let error = read(&reader).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
        assert_eq!(reader.is_ours().await, None);
        ids.push(reader.client_id());
    }
    assert_ne!(ids[0], ids[1]);
}

/// A read that is dropped takes its connection with it: its answer would be taken for that of the next one.
#[tokio::test]
async fn a_read_that_is_given_up_takes_its_connection_with_it() {
    let server = Server::start().await;
    let reader = reader(&server.url());
    assert!(read(&reader).await.unwrap().is_empty());
    let first = reader.client_id();
    let words: Vec<&[u8]> = "XREAD BLOCK 60000 STREAMS log $"
        .split(' ')
        .map(str::as_bytes)
        .collect();
    let waiting = reader.read(&words, Duration::from_secs(60), |entry| entry.fields);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), waiting)
            .await
            .is_err()
    );
    assert_eq!(reader.is_ours().await, None);
    fill(&server, 0, &entries()).await;
    assert_eq!(read(&reader).await.unwrap(), entries());
    assert_ne!(reader.client_id(), first);
}

/// Something that only looks like a server: answers what is asked on connecting, then these bytes.
async fn liar(says: &'static str) -> String {
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://127.0.0.1:{}", door.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = door.accept().await {
            tokio::spawn(async move {
                let mut asked = vec![0; 4_096];
                while let Ok(many @ 1..) = client.read(&mut asked).await {
                    let asked = String::from_utf8_lossy(&asked[..many]).into_owned();
                    let set_up = asked.matches("SETINFO").count();
                    let mut answer = "+OK\r\n".repeat(set_up);
                    if asked.contains("\r\nID\r\n") {
                        answer.push_str(":7\r\n");
                    }
                    if asked.contains("XREAD") {
                        answer.push_str(says);
                    }
                    client.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn what_is_no_reply_is_a_protocol_error_and_what_was_not_asked_for_ends_a_connection() {
    for says in [
        "hunter2\r\n",
        "*1\r\n$99999999999999\r\nhunter2",
        "$3\r\nhunter2\r\n",
        "+hunter2\r\n",
        "*1\r\n$7\r\nhunter2\r\n",
        "#hunter2\r\n",
    ] {
        let reader = reader(&liar(says).await);
        let error = read(&reader).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{says} {error:?}");
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
    let quiet = reader(&liar(">2\r\n+invalidate\r\n*0\r\n*-1\r\n>1\r\n+x\r\n").await);
    for _ in 0..3 {
        assert!(read(&quiet).await.unwrap().is_empty());
        assert_eq!(quiet.is_ours().await, Some(true));
    }
    let ahead = reader(&liar("*-1\r\n*-1\r\n").await);
    assert!(read(&ahead).await.unwrap().is_empty());
    assert_eq!(ahead.is_ours().await, None);
}
