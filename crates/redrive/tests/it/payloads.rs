//! Payloads of dead letters: looked at, changed on the way back, and what cannot be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use redrive::{
    DeadLetterQueue, EntryId, ErrorKind, Fields, Message, MessagePack, Processor, ReplayOptions,
    Selection, Source,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::interop::{ENVELOPE, load, value};
use crate::rig::{Rig, stream};

/// The dead letters that the second Python system left, and their ids.
async fn envelopes() -> (Rig, DeadLetterQueue, [EntryId; 5]) {
    let rig = Rig::start().await;
    load(&rig.server, ENVELOPE).await;
    let queue = rig.broker.dead_letters(stream("sg:stream:dlq"));
    let ids = [0, 1, 2, 3, 4].map(|n| EntryId::new(1_795_324_222_409, n));
    (rig, queue, ids)
}

async fn payload(queue: &DeadLetterQueue, id: EntryId) -> Option<String> {
    let inspected = queue.inspect(id).await.unwrap().unwrap();
    let codec = inspected.codec.map(redrive::PayloadCodec::as_str);
    assert_eq!(codec, inspected.payload.as_ref().map(|_| "msgpack"));
    inspected.payload.map(|payload| payload.get().to_owned())
}

#[tokio::test]
async fn envelopes_are_inspected_whatever_their_payload_is() {
    let (_rig, queue, [rich, nested, broken, old, empty]) = envelopes().await;
    let expected = concat!(
        r#"{"v":1,"platform":"discord","channel":"42","text":"Grüße 😀","#,
        r#""attachments":[{"name":"a.png","bytes":{"$bin":"iVBORw0KGgoA/w=="}}],"#,
        r#""n":1099511627776,"f":1.5,"none":null}"#
    );
    assert_eq!(payload(&queue, rich).await.as_deref(), Some(expected));
    let expected = r#"{"v":1,"to":"42","parts":["a","b"],"nested":{"deep":{"er":[1,2,3]}}}"#;
    assert_eq!(payload(&queue, nested).await.as_deref(), Some(expected));
    let expected = r#"{"v":0,"schema":"old","user":"u1"}"#;
    assert_eq!(payload(&queue, old).await.as_deref(), Some(expected));
    assert_eq!(payload(&queue, empty).await, None);

    // Its bytes are there all the same.
    let inspected = queue.inspect(broken).await.unwrap().unwrap();
    assert!(inspected.payload.is_none() && inspected.codec.is_none());
    let bytes = inspected.dead_letter.fields.get("data");
    assert_eq!(bytes, Some(&b"\xc1\xff\x00not msgpack"[..]));
}

#[tokio::test]
async fn a_payload_is_migrated_in_the_codec_that_it_came_in() {
    let (rig, queue, [rich, _, broken, old, empty]) = envelopes().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&calls);
    let migrating = ReplayOptions::default().migrate_payload(move |letter, payload| {
        counting.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::task::yield_now().await;
            if letter.attempts == Some(4) {
                return Err("not this one");
            }
            let mut envelope: Value = serde_json::from_str(payload.get()).unwrap();
            if envelope["v"] == 0 {
                envelope["v"] = 1.into();
                envelope["avatar"] = serde_json::json!({ "$bin": "AP8=" });
            }
            Ok(envelope)
        }
    });

    // Bytes stay bytes, text stays text, every number what it was; `Value` sorts the keys.
    queue.replay(old, &migrating).await.unwrap();
    let (_, entry) = rig.entries("sg:stream:inbound").await.pop().unwrap();
    let data = b"\x84\xa6avatar\xc4\x02\x00\xff\xa6schema\xa3old\xa4user\xa2u1\xa1v\x01";
    assert_eq!(value(&entry, "data"), data);
    assert_eq!(
        (value(&entry, "ts"), value(&entry, "trace_id")),
        (&b""[..], &b""[..])
    );
    queue.replay(rich, &migrating).await.unwrap();
    let (_, entry) = rig.entries("sg:stream:inbound").await.pop().unwrap();
    let data = value(&entry, "data");
    let kept: [&[u8]; 4] = [
        b"\xa5bytes\xc4\x0a\x89PNG\r\n\x1a\n\x00\xff",
        b"\xa1n\xcf\x00\x00\x01\x00\x00\x00\x00\x00",
        b"\xa1f\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00",
        b"\xa2to\xa242",
    ];
    for part in &kept[..3] {
        assert!(data.windows(part.len()).any(|window| window == *part));
    }
    assert_eq!(value(&entry, "ts"), b"1732250000.25");
    assert_eq!(value(&entry, "trace_id"), b"tr-0002");
    assert_eq!(calls.load(Ordering::Relaxed), 2);

    // What has no payload is refused before anybody's code is asked, and nothing changes.
    let before = rig.ask::<u64>("XLEN sg:stream:inbound").await;
    let refused = queue.replay(broken, &migrating).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "refused while replaying the dead letter {broken}, its payload does not decode, so it \
             cannot be migrated"
        )
    );
    let refused = queue.replay(empty, &migrating).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(
        refused.to_string().contains("payload is empty"),
        "{refused}"
    );
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(rig.ask::<u64>("XLEN sg:stream:inbound").await, before);
    assert_eq!(rig.ask::<u64>("XLEN sg:stream:dlq").await, 3);

    // As it is, it goes back.
    queue
        .replay(broken, &ReplayOptions::default())
        .await
        .unwrap();
    let (_, entry) = rig.entries("sg:stream:inbound").await.pop().unwrap();
    assert_eq!(value(&entry, "data"), b"\xc1\xff\x00not msgpack");
}

#[tokio::test]
async fn unchanged_text_goes_back_as_the_same_bytes() {
    let (rig, queue, [rich, nested, ..]) = envelopes().await;
    let same = ReplayOptions::default()
        .migrate_payload(async |_, payload: Box<RawValue>| Ok::<_, std::io::Error>(payload));
    for id in [rich, nested] {
        let was = queue.get(id).await.unwrap().unwrap();
        let target = was.stream.clone().unwrap();
        queue.replay(id, &same).await.unwrap();
        let (_, entry) = rig.entries(target.as_str()).await.pop().unwrap();
        assert_eq!(value(&entry, "data"), was.fields.get("data").unwrap());
    }
}

#[tokio::test]
async fn a_migration_that_fails_names_its_dead_letter_and_touches_nothing() {
    let (rig, queue, ids) = envelopes().await;
    let before = rig.entries("sg:stream:dlq").await;
    let lengths = async || {
        let inbound = rig.ask::<u64>("XLEN sg:stream:inbound").await;
        (inbound, rig.ask::<u64>("XLEN sg:stream:outbound").await)
    };
    let were = lengths().await;
    let failing = ReplayOptions::default().migrate_payload(async |letter, _| {
        if letter.id == EntryId::new(1_795_324_222_409, 0) {
            return Err("no such user");
        }
        // Beyond what MessagePack holds.
        Ok(RawValue::from_string("18446744073709551616".to_owned()).unwrap())
    });
    let report = queue
        .replay_many(&Selection::all(), &failing)
        .await
        .unwrap();
    assert_eq!((report.selected, report.replayed, report.failed), (5, 0, 5));
    let failures: Vec<EntryId> = report.failures.iter().map(|failure| failure.id).collect();
    assert_eq!(failures, ids);
    let said = |n: usize, what: &str| {
        let error = &report.failures[n].error;
        assert!(
            error.contains(&ids[n].to_string()) && error.ends_with(what),
            "{error}"
        );
    };
    said(0, "its migration failed: no such user");
    said(
        1,
        "does not fit its codec msgpack: an integer beyond 64 bits",
    );
    said(2, "its payload does not decode, so it cannot be migrated");
    said(4, "whose payload is empty");
    assert_eq!(rig.entries("sg:stream:dlq").await, before);
    assert_eq!(lengths().await, were);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Upload {
    name: String,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    retries: u8,
}

/// Typed MessagePack from end to end: sent, failed, looked at, repaired, handled.
#[tokio::test]
async fn message_pack_messages_are_sent_handled_and_repaired() {
    let rig = Rig::start().await;
    let producer = rig
        .broker
        .producer(stream("uploads"))
        .codec(MessagePack::default());
    let upload = Upload {
        name: "a.png".into(),
        bytes: vec![0x89, 0, 0xff],
        retries: 0,
    };
    producer.send(&upload).await.unwrap();
    producer
        .send_fields(Fields::from_iter([("data", "")]))
        .await
        .unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&seen);
    let mut processor = Processor::builder(&rig.broker, Source::new("uploads", "g").unwrap())
        .codec(MessagePack::field("data"))
        .retry(redrive::RetryPolicy::immediate().max_attempts(1))
        .build(move |message: Message<Upload>| {
            let fails = message.retries == 0;
            noting.lock().unwrap().push(message.into_inner());
            async move { !fails }
        })
        .unwrap();
    assert_eq!(processor.run_until_idle().await.unwrap().dead_lettered, 2);

    let queue = rig.broker.dead_letters(stream("uploads:dlq"));
    let letters = queue
        .list(redrive::Page::default())
        .await
        .unwrap()
        .dead_letters;
    let undecodable = letters
        .iter()
        .find(|letter| letter.fields.get("data") == Some(b""));
    let error = undecodable.unwrap().error.as_deref();
    assert_eq!(error, Some("field \"data\": is empty"));

    let repaired = ReplayOptions::default().migrate_payload(async |_, payload| {
        let text = payload.get().replace("\"retries\":0", "\"retries\":1");
        RawValue::from_string(text)
    });
    let report = queue
        .replay_many(&Selection::all(), &repaired)
        .await
        .unwrap();
    assert_eq!((report.replayed, report.failed), (1, 1));
    assert_eq!(processor.run_until_idle().await.unwrap().succeeded, 1);
    let second = seen.lock().unwrap().pop().unwrap();
    assert_eq!(
        second,
        Upload {
            retries: 1,
            ..upload
        }
    );
}
