//! What the two Python systems left in Redis, byte for byte, goes on under redrive; their workers beside ours.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redrive::{
    DeadLetterLayout, ErrorKind, Fields, Layout, Message, Order, Page, Raw, Reason, ReplayOptions,
    Source,
};
use redrive_testkit::{Server, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::SOON;
use crate::rig::{Entries, Rig, Runs, Worker, bytes, flattened, quick, stream};

const FLAT: &[u8] = include_bytes!("../interop/flat.resp");
const ENVELOPE: &[u8] = include_bytes!("../interop/envelope.resp");

/// Sends the dump as it is; the answer to the last command says that all were executed.
async fn load(server: &Server, dump: &[u8]) {
    let mut socket = TcpStream::connect(("127.0.0.1", server.port()))
        .await
        .unwrap();
    socket.write_all(dump).await.unwrap();
    socket.write_all(b"*1\r\n$4\r\nPING\r\n").await.unwrap();
    let mut answers = Vec::new();
    while !answers.ends_with(b"+PONG\r\n") {
        let read = socket.read_buf(&mut answers).await.unwrap();
        assert_ne!(read, 0, "closed before the end");
    }
    let answers = String::from_utf8_lossy(&answers);
    assert!(
        !answers.lines().any(|line| line.starts_with('-')),
        "{answers}"
    );
}

#[tokio::test]
async fn a_flat_group_goes_on_what_is_idle_at_once_and_what_lives_after_its_foreign_lease() {
    let rig = Rig::start().await;
    let foreign_lease = Duration::from_secs(2);
    let loaded = Instant::now();
    load(&rig.server, FLAT).await;
    let runs = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&runs);
    let mut processor = quick(&rig.broker, Source::new("agent_events", "workers").unwrap())
        .codec(Raw)
        .layout(Layout::Flat)
        .lease(Duration::from_secs(1))
        .foreign_lease(foreign_lease)
        .build(move |message: Message<Fields>| {
            let run = (
                message.id().to_string(),
                message.attempt(),
                loaded.elapsed(),
            );
            noting.lock().unwrap().push((run, message.fields().clone()));
            async {}
        })
        .unwrap();
    let totals = processor.run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.failed), (4, 0));

    let runs = runs.lock().unwrap().clone();
    let stored = rig.entries("agent_events").await;
    assert_eq!(stored.len(), 10);
    let at = |id: &str| {
        let mut found = runs.iter().filter(|((run, ..), _)| run == id);
        let ((_, attempt, at), fields) = found.next().unwrap();
        assert_eq!((*attempt, found.count()), (1, 0));
        let (_, entry) = stored.iter().find(|(entry, _)| entry == id).unwrap();
        assert_eq!(flattened(fields), *entry);
        *at
    };
    let lived = at("1795324222405-0");
    assert!(lived >= foreign_lease - Duration::from_millis(100));
    for id in ["1795324222405-1", "1795324222405-2", "1795324222405-3"] {
        assert!(at(id) < lived);
    }
}

#[tokio::test]
async fn flat_dead_letters_are_listed_and_replayed_with_exactly_their_fields_and_the_mark() {
    let rig = Rig::start().await;
    load(&rig.server, FLAT).await;
    let queue = rig.broker.dead_letters(stream("agent_events:dlq"));
    let listing = queue.list(Page::new(Order::Oldest, 50)).await.unwrap();
    assert_eq!((listing.total, listing.dead_letters.len()), (2, 2));
    let before = rig.entries("agent_events").await;
    for (letter, original) in listing
        .dead_letters
        .iter()
        .zip(["1795324222250-1", "1795324222250-4"])
    {
        assert_eq!(letter.layout, DeadLetterLayout::Flat);
        assert_eq!(letter.reason, Some(Reason::AttemptsExhausted));
        assert_eq!(letter.original_id.unwrap().to_string(), original);
        let replay = ReplayOptions::default();
        let new = queue.replay(letter.id, &replay).await.unwrap();
        let (_, mut expected) = before
            .iter()
            .find(|(id, _)| id == original)
            .unwrap()
            .clone();
        expected.extend(bytes(&["replayed_from_dlq", &letter.id.to_string()]));
        let last = rig.entries("agent_events").await.pop().unwrap();
        assert_eq!(last, (new.to_string(), expected));
    }
    assert_eq!(rig.ask::<u64>("XLEN agent_events:dlq").await, 0);
    assert_eq!(rig.ask::<u64>("XLEN agent_events").await, 12);
}

fn value<'a>(entry: &'a [Vec<u8>], name: &str) -> &'a [u8] {
    let pair = entry.chunks(2).find(|pair| pair[0] == name.as_bytes());
    pair.map_or(&[][..], |pair| &pair[1])
}

#[tokio::test]
async fn envelopes_are_listed_and_replayed_byte_for_byte_and_an_empty_payload_is_refused() {
    let rig = Rig::start().await;
    load(&rig.server, ENVELOPE).await;
    let queue = rig.broker.dead_letters(stream("sg:stream:dlq"));
    let stored: Entries = rig.entries("sg:stream:dlq").await;
    let listing = queue.list(Page::new(Order::Oldest, 50)).await.unwrap();
    assert_eq!((listing.total, listing.dead_letters.len()), (5, 5));
    let expected = [
        ("KeyError: 'user_id'", "sg:stream:inbound", 3),
        (
            "HTTPStatusError: Server error '503",
            "sg:stream:outbound",
            3,
        ),
        ("ExtraData: ", "sg:stream:inbound", 4),
        ("ValidationError: 1 validation", "sg:stream:inbound", 3),
        ("ValueError: empty payload", "sg:stream:outbound", 3),
    ];
    for ((letter, (_, entry)), (error, source, attempts)) in
        listing.dead_letters.iter().zip(&stored).zip(expected)
    {
        assert_eq!(letter.layout, DeadLetterLayout::Envelope);
        assert_eq!(letter.reason, Some(Reason::AttemptsExhausted));
        assert!(letter.error.as_ref().unwrap().starts_with(error));
        assert_eq!(letter.attempts, Some(attempts));
        // A payload that is no JSON must never make inspection fail.
        let inspected = queue.inspect(letter.id).await.unwrap().unwrap();
        assert_eq!(inspected.payload, None);

        let length = rig.ask::<u64>(&format!("XLEN {source}")).await;
        let replayed = queue.replay(letter.id, &ReplayOptions::default()).await;
        if error.starts_with("ValueError") {
            assert_eq!(replayed.unwrap_err().kind(), ErrorKind::Refused);
            assert_eq!(rig.ask::<u64>(&format!("XLEN {source}")).await, length);
            assert!(queue.get(letter.id).await.unwrap().is_some());
            continue;
        }
        let last = rig.entries(source).await.pop().unwrap();
        let names = ["data", "ts", "trace_id"];
        let three = names.map(|name| [name.as_bytes(), value(entry, name)]);
        let three: Vec<Vec<u8>> = three.concat().into_iter().map(<[u8]>::to_vec).collect();
        assert_eq!(last, (replayed.unwrap().to_string(), three));
    }
    assert_eq!(rig.ask::<u64>("XLEN sg:stream:dlq").await, 1);
}

/// What dies here is laid out as theirs, in their queue, but for what each system says of its own.
#[tokio::test]
async fn what_dies_here_is_written_as_the_second_system_wrote_it() {
    let rig = Rig::start().await;
    load(&rig.server, ENVELOPE).await;
    let theirs: Entries = rig.entries("sg:stream:dlq").await;
    for name in ["sg:stream:inbound", "sg:stream:outbound"] {
        let mut processor = quick(&rig.broker, Source::new(name, "ours").unwrap())
            .codec(Raw)
            .layout(Layout::Envelope)
            .build(async |_: Message<Fields>| false)
            .unwrap();
        assert_eq!(processor.options().dead_letters, stream("sg:stream:dlq"));
        processor.run_until_idle().await.unwrap();
    }
    let all = rig.entries("sg:stream:dlq").await;
    let (before, ours) = all.split_at(theirs.len());
    assert_eq!(before, theirs);
    for (_, their) in &theirs {
        let twin = |(_, our): &&(String, Vec<Vec<u8>>)| our[..4] == their[..4];
        let (_, our) = ours.iter().find(twin).unwrap();
        assert_eq!(
            our[4..8],
            bytes(&["error", "handler returned false", "attempt", "3"])
        );
        assert_eq!(our[8..], their[8..]);
    }
}

#[tokio::test]
async fn an_envelope_group_goes_on_after_its_foreign_lease() {
    let rig = Rig::start().await;
    load(&rig.server, ENVELOPE).await;
    let runs = Runs::default();
    let noting = runs.clone();
    let source = Source::new("sg:stream:inbound", "inference").unwrap();
    let mut processor = quick(&rig.broker, source)
        .codec(Raw)
        .lease(Duration::from_millis(500))
        .foreign_lease(Duration::from_secs(1))
        .build(move |message: Message<Fields>| {
            noting.note(message.id());
            async {}
        })
        .unwrap();
    processor.run_until_idle().await.unwrap();
    let ids: Vec<String> = runs.distinct().iter().map(ToString::to_string).collect();
    assert_eq!(ids, ["1795324222409-0", "1795324222409-1"]);
    assert_eq!(runs.len(), 2);
}

/// A plain worker of the usual kind: reads, handles, acknowledges; it renews nothing, and it dies
/// with its last batch in hand.
async fn plain_worker(rig: &Rig, runs: &Runs, batches: u32) {
    for batch in 0..batches {
        let read = "XREADGROUP GROUP billing plain COUNT 7 BLOCK 10000 STREAMS orders >";
        let read: Vec<(String, Entries)> = rig.ask(read).await;
        for (id, _) in &read[0].1 {
            if batch + 1 < batches {
                runs.note(id.parse().unwrap());
                rig.ask::<u64>(&format!("XACK orders billing {id}")).await;
            }
        }
    }
}

#[tokio::test]
async fn a_plain_consumer_and_redrive_in_one_group_lose_nothing() {
    let rig = Rig::start().await;
    let runs = Runs::default();
    let noting = runs.clone();
    let worker = Worker::start(
        rig.builder()
            .batch(5)
            .lease(Duration::from_millis(500))
            .foreign_lease(Duration::from_secs(2))
            .build(move |message: Message<u32>| {
                let first = noting.note(message.id()) == 1;
                // Some fail once on their way.
                async move { !(first && message.is_multiple_of(10)) }
            })
            .unwrap(),
    );
    eventually(SOON, "the group", async || rig.unsettled().await).await;
    let adding = async {
        let mut ids = Vec::new();
        for _ in 0..30 {
            ids.extend(rig.add(20).await);
        }
        ids
    };
    let (ids, ()) = tokio::join!(adding, plain_worker(&rig, &runs, 6));
    eventually(SOON, "all done", async || {
        runs.cover(&ids)?;
        match rig.pending().await.len() {
            0 => Ok(()),
            pending => Err(format!("{pending} pending")),
        }
    })
    .await;
    worker.stop().await;
    assert_eq!(runs.distinct(), ids);
    assert_eq!(rig.ask::<u64>("EXISTS orders:dlq").await, 0);
}
