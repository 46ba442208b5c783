//! The second Python system, behaviour by behaviour: its messages, its dead letters, inspection, replay, migration.

use std::sync::{Arc, Mutex};

use redrive::{
    DeadLetterLayout, DeadLetterQueue, EntryId, ErrorKind, Fields, Layout, Message, MessagePack,
    Outcome, Processor, Raw, Reason, ReplayOptions, RetryPolicy, Selection, Source,
};
use redrive_testkit::Log;
use serde_json::Value;

use crate::interop::value;
use crate::rig::{Rig, bytes, flattened, quick, stream};

const INBOUND: &str = "sg:stream:inbound";
const QUEUE: &str = "sg:stream:dlq";
/// `{"v": 1, "user": "u1", "blob": b"\x00\xff"}`, binary and text kept apart.
const PAYLOAD: &[u8] = b"\x83\xa1v\x01\xa4user\xa2u1\xa4blob\xc4\x02\x00\xff";

fn source() -> Source {
    Source::new(INBOUND, "inference").unwrap()
}

fn queue(rig: &Rig) -> DeadLetterQueue {
    rig.broker.dead_letters(stream(QUEUE))
}

/// A processor as that system ran its workers, of raw messages, with so many attempts.
fn failing(rig: &Rig, attempts: u32) -> Processor {
    quick(&rig.broker, source())
        .codec(Raw)
        .layout(Layout::Envelope)
        .retry(RetryPolicy::immediate().max_attempts(attempts))
        .build(async |_: Message<Fields>| Outcome::retry("KeyError: 'user_id'"))
        .unwrap()
}

/// A message of that system.
async fn produced(rig: &Rig, data: &[u8]) -> String {
    let fields: [&[u8]; 6] = [
        b"data",
        data,
        b"ts",
        b"1732250000.25",
        b"trace_id",
        b"tr-0001",
    ];
    rig.xadd(INBOUND, &fields).await
}

/// A message with this payload, dead, and the id of its dead letter.
async fn dead(rig: &Rig, data: &[u8]) -> EntryId {
    produced(rig, data).await;
    let totals = failing(rig, 1).run_until_idle().await.unwrap();
    assert_eq!(totals.dead_lettered, 1);
    let (id, _) = rig.entries(QUEUE).await.pop().unwrap();
    id.parse().unwrap()
}

#[tokio::test]
async fn the_payload_is_taken_from_data_whatever_else_is_there_and_a_missing_one_is_empty() {
    let rig = Rig::start().await;
    let others: [&[u8]; 8] = [
        b"payload", b"\x01", b"body", b"\x02", b"data", b"\x07", b"x", b"y",
    ];
    rig.xadd(INBOUND, &others).await;
    let without = rig.xadd(INBOUND, &["ts", "1732250000.25"]).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&seen);
    let mut processor = quick(&rig.broker, source())
        .codec(MessagePack::default())
        .layout(Layout::Envelope)
        .build(move |number: Message<u8>| {
            noting.lock().unwrap().push(*number);
            async {}
        })
        .unwrap();
    let totals = processor.run_until_idle().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [7]);

    // Nothing is not a value of MessagePack: it dies at once, with an empty payload.
    assert_eq!((totals.succeeded, totals.dead_lettered), (1, 1));
    let (_, letter) = rig.entries(QUEUE).await.pop().unwrap();
    let given = [
        "original_stream",
        INBOUND,
        "original_msg_id",
        &without,
        "error",
    ];
    assert_eq!(letter[..5], bytes(&given));
    assert!(letter[5].starts_with(b"undecodable: "));
    let kept = ["data", "", "ts", "1732250000.25", "trace_id", ""];
    assert_eq!(letter[8..], bytes(&kept));
}

#[tokio::test]
async fn a_failure_below_the_limit_stays_pending_for_others_and_writes_no_dead_letter() {
    let rig = Rig::start().await;
    let id = produced(&rig, PAYLOAD).await;
    let mut first = failing(&rig, 3);
    first.run_batches(1).await.unwrap();
    assert_eq!(
        (first.totals().retried, first.totals().dead_lettered),
        (1, 0)
    );
    let pending = "XPENDING sg:stream:inbound inference - + 10";
    let pending: Vec<(String, String, u64, u64)> = rig.ask(pending).await;
    assert_eq!((pending.len(), &pending[0].0), (1, &id));
    assert_eq!(rig.ask::<u64>("EXISTS sg:stream:dlq").await, 0);

    let attempts = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&attempts);
    let mut other = quick(&rig.broker, source())
        .codec(Raw)
        .build(move |message: Message<Fields>| {
            noting
                .lock()
                .unwrap()
                .push((message.id(), message.attempt()));
            async {}
        })
        .unwrap();
    assert_eq!(other.run_until_idle().await.unwrap().succeeded, 1);
    assert_eq!(*attempts.lock().unwrap(), [(id.parse().unwrap(), 2)]);
}

#[tokio::test]
async fn at_the_limit_an_envelope_goes_to_the_shared_queue_its_source_is_acked_and_it_is_logged() {
    let rig = Rig::start().await;
    let id = produced(&rig, PAYLOAD).await;
    let (log, _listening) = Log::listen();
    let mut processor = failing(&rig, 3);
    assert_eq!(processor.options().dead_letters, stream(QUEUE));
    let totals = processor.run_until_idle().await.unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (3, 1));

    let entries = rig.entries(QUEUE).await;
    let (_, letter) = &entries[0];
    let mut expected = bytes(&["original_stream", INBOUND, "original_msg_id", &id]);
    expected.extend(bytes(&[
        "error",
        "KeyError: 'user_id'",
        "attempt",
        "3",
        "data",
    ]));
    expected.push(PAYLOAD.to_vec());
    expected.extend(bytes(&["ts", "1732250000.25", "trace_id", "tr-0001"]));
    assert_eq!((entries.len(), letter), (1, &expected));

    let pending = "XPENDING sg:stream:inbound inference - + 10";
    assert_eq!(rig.ask::<Vec<redis::Value>>(pending).await, []);
    let lines = log.with(&["WARN", &id, INBOUND, "KeyError: 'user_id'"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[tokio::test]
async fn ts_and_trace_id_are_carried_through_the_queue_and_back() {
    let odd: [&[u8]; 6] = [b"trace_id", b"\xff tr", b"data", PAYLOAD, b"ts", b""];
    for fields in [&odd[..], &[b"data", PAYLOAD]] {
        let rig = Rig::start().await;
        let original = rig.xadd(INBOUND, fields).await;
        failing(&rig, 1).run_until_idle().await.unwrap();
        let (letter, stored) = rig.entries(QUEUE).await.pop().unwrap();
        let trace: &[u8] = if fields.len() == 6 { b"\xff tr" } else { b"" };
        assert_eq!(value(&stored, "original_msg_id"), original.as_bytes());
        assert_eq!(
            (value(&stored, "ts"), value(&stored, "trace_id")),
            (&b""[..], trace)
        );
        let replay = ReplayOptions::default();
        queue(&rig)
            .replay(letter.parse().unwrap(), &replay)
            .await
            .unwrap();
        let (_, back) = rig.entries(INBOUND).await.pop().unwrap();
        let three: [&[u8]; 6] = [b"data", PAYLOAD, b"ts", b"", b"trace_id", trace];
        assert_eq!(back, three);
    }
}

#[tokio::test]
async fn inspecting_tells_where_it_came_from_why_it_died_and_its_payload_decoded() {
    let rig = Rig::start().await;
    let id = dead(&rig, PAYLOAD).await;
    let inspected = queue(&rig).inspect(id).await.unwrap().unwrap();
    let letter = &inspected.dead_letter;
    assert_eq!((letter.id, letter.layout), (id, DeadLetterLayout::Envelope));
    assert_eq!(letter.stream, Some(stream(INBOUND)));
    let (original, _) = rig.entries(INBOUND).await.pop().unwrap();
    assert_eq!(letter.original_id.unwrap().to_string(), original);
    assert_eq!(letter.error.as_deref(), Some("KeyError: 'user_id'"));
    assert_eq!(
        (letter.attempts, letter.reason),
        (Some(1), Some(Reason::AttemptsExhausted))
    );
    let payload = inspected.payload.unwrap();
    assert_eq!(
        payload.get(),
        r#"{"v":1,"user":"u1","blob":{"$bin":"AP8="}}"#
    );
}

#[tokio::test]
async fn a_payload_that_does_not_decode_is_null_and_its_bytes_are_there() {
    let rig = Rig::start().await;
    for poison in [
        &b"\xc1\xff\x00"[..],
        b"\x91",
        b"\x01\x02",
        b"\xc6\xff\xff\xff\xff",
        b"",
    ] {
        let id = dead(&rig, poison).await;
        let inspected = queue(&rig).inspect(id).await.unwrap().unwrap();
        assert!(
            inspected.payload.is_none() && inspected.codec.is_none(),
            "{poison:?}"
        );
        assert_eq!(inspected.dead_letter.fields.get("data"), Some(poison));
    }
}

#[tokio::test]
async fn an_unknown_id_is_nothing_and_not_a_fault() {
    let rig = Rig::start().await;
    let unknown = EntryId::new(5, 7);
    // Of a queue that is there, and of one that is not.
    for _ in 0..2 {
        assert!(queue(&rig).inspect(unknown).await.unwrap().is_none());
        assert_eq!(queue(&rig).get(unknown).await.unwrap(), None);
        dead(&rig, PAYLOAD).await;
    }
}

#[tokio::test]
async fn a_replay_goes_to_the_original_stream_or_another_leaves_the_queue_and_answers_the_new_id() {
    let another = ReplayOptions::default().target(stream("sg:stream:repaired"));
    for (target, options) in [
        (INBOUND, ReplayOptions::default()),
        ("sg:stream:repaired", another),
    ] {
        let rig = Rig::start().await;
        let id = dead(&rig, PAYLOAD).await;
        let letter = queue(&rig).get(id).await.unwrap().unwrap();
        let new = queue(&rig).replay(id, &options).await.unwrap();
        let (added, fields) = rig.entries(target).await.pop().unwrap();
        assert_eq!(
            (added, &fields),
            (new.to_string(), &flattened(&letter.fields))
        );
        assert_eq!(rig.ask::<u64>("XLEN sg:stream:dlq").await, 0);
    }
}

#[tokio::test]
async fn an_empty_payload_an_unknown_id_and_a_failed_migration_touch_nothing_and_say_why() {
    let rig = Rig::start().await;
    let empty = dead(&rig, b"").await;
    let whole = dead(&rig, PAYLOAD).await;
    let look = async || (rig.entries(QUEUE).await, rig.entries(INBOUND).await);
    let before = look().await;
    let same = ReplayOptions::default();
    let failing = ReplayOptions::default()
        .migrate_payload(async |_, _| Err::<Value, _>("no field 'user_id'"));
    let unknown = EntryId::new(5, 7);
    for (id, options, kind, why) in [
        (empty, &same, ErrorKind::Refused, "payload is empty"),
        (
            unknown,
            &same,
            ErrorKind::NotFound,
            "dead letter not found: 5-7",
        ),
        (
            whole,
            &failing,
            ErrorKind::Refused,
            "its migration failed: no field 'user_id'",
        ),
    ] {
        let error = queue(&rig).replay(id, options).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        let told = error.to_string();
        assert!(
            told.contains(why) && told.contains(&id.to_string()),
            "{told}"
        );
        assert_eq!(look().await, before);
    }
}

#[tokio::test]
async fn a_migration_gets_the_decoded_value_and_its_answer_is_encoded_with_binary_and_text_apart() {
    let rig = Rig::start().await;
    let id = dead(&rig, PAYLOAD).await;
    let migrating = ReplayOptions::default().migrate_payload(async |_, payload| {
        let text = payload.get().replace("\"v\":1", "\"v\":2");
        let text = text.replace(
            "\"user\":\"u1\"",
            "\"user\":{\"$bin\":\"dTE=\"},\"name\":\"u1\"",
        );
        serde_json::value::RawValue::from_string(text)
    });
    queue(&rig).replay(id, &migrating).await.unwrap();
    let (_, back) = rig.entries(INBOUND).await.pop().unwrap();
    let data = b"\x84\xa1v\x02\xa4user\xc4\x02u1\xa4name\xa2u1\xa4blob\xc4\x02\x00\xff";
    assert_eq!(value(&back, "data"), data);
    assert_eq!(value(&back, "trace_id"), b"tr-0001");
}

#[tokio::test]
async fn all_are_replayed_at_once_and_those_that_cannot_be_stay() {
    let rig = Rig::start().await;
    for data in [PAYLOAD, b"", b"\xc1", PAYLOAD] {
        dead(&rig, data).await;
    }
    let everything = Selection::all().stream(stream(INBOUND));
    let options = ReplayOptions::default();
    let report = queue(&rig)
        .replay_many(&everything, &options)
        .await
        .unwrap();
    // One that does not decode goes back as it is: only a migration has to read it.
    assert_eq!((report.replayed, report.failed), (3, 1));
    assert_eq!(rig.ask::<u64>("XLEN sg:stream:dlq").await, 1);
    assert_eq!(rig.ask::<u64>("XLEN sg:stream:inbound").await, 7);
}
