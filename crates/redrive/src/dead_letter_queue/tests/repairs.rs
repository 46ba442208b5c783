//! Payloads that are patched, set and migrated on their way back.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;

/// A dead letter of the native layout with these fields.
fn with(own: &[(&str, &[u8])]) -> Fields {
    let own = own
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()));
    let count = own.len().to_string();
    let said = [
        ("redrive-v", "1"),
        ("redrive-fields", &count),
        ("redrive-stream", "orders"),
        ("redrive-reason", "rejected"),
    ];
    let said = said.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    own.chain(said).collect()
}

async fn on_the_stream(queue: &DeadLetterQueue) -> Vec<Fields> {
    let range = IdRange {
        low: EntryId::MIN,
        high: EntryId::MAX,
        order: Order::Oldest,
        limit: 10_000,
    };
    let entries = queue
        .broker
        .backend()
        .entries(&stream("orders"), range)
        .await;
    entries
        .unwrap()
        .into_iter()
        .map(|entry| entry.fields)
        .collect()
}

/// The patch, then what is set, then the migration.
#[tokio::test(start_paused = true)]
async fn a_payload_is_patched_then_set_then_migrated() {
    let packed = b"\x83\xa1a\x01\xa3key\xc4\x01\xff\xa1z\x02";
    let (queue, ids) = queue_of(&[with(&[("data", packed), ("kind", b"old")])]).await;
    let options = ReplayOptions::default()
        .set("data.b=[1]".parse().unwrap())
        .migrate_payload(
            async |letter: DeadLetter, payload: Box<serde_json::value::RawValue>| {
                assert_eq!(letter.fields.get("kind"), Some(&b"new"[..]));
                assert_eq!(
                    payload.get(),
                    r#"{"a":"set","key":{"$bin":"/w=="},"b":[1]}"#
                );
                Ok::<_, BoxError>(payload)
            },
        )
        .set("data.a=set".parse().unwrap())
        .set("kind=new".parse().unwrap())
        .patch(r#"{"a":"patched","b":{},"z":null}"#.parse().unwrap());
    let mut dry = queue.dry_run(&Selection::all(), &options).await.unwrap();
    while dry.step().await.unwrap().is_some() {}
    let after = dry.samples()[0].payload_after.as_ref().unwrap();
    assert_eq!(after.get(), r#"{"a":"set","key":{"$bin":"/w=="},"b":[1]}"#);
    queue.replay(ids[0], &options).await.unwrap();
    let expected = Fields::from_iter([
        (
            "data",
            b"\x83\xa1a\xa3set\xa3key\xc4\x01\xff\xa1b\x91\x01".to_vec(),
        ),
        ("kind", b"new".to_vec()),
        ("redrive-replayed-from", ids[0].to_string().into_bytes()),
        ("redrive-replays", b"1".to_vec()),
    ]);
    assert_eq!(on_the_stream(&queue).await, [expected]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_repaired_stays_and_is_named_with_a_cure() {
    let letters = [
        with(&[("data", br#"{"customer":{"id":1}}"#)]),
        with(&[("data", br#"{"customer":7}"#)]),
        with(&[("data", b"{}")]),
        with(&[("data", b"")]),
        with(&[("data", br#"{"customer":{}}"#)]),
    ];
    let (queue, ids) = queue_of(&letters).await;
    let options = ReplayOptions::default().set("data.customer.id=9".parse().unwrap());
    let mut dry = queue.dry_run(&Selection::all(), &options).await.unwrap();
    while dry.step().await.unwrap().is_some() {}
    let would = dry.report().clone();
    let report = queue
        .replay_many(&Selection::all(), &options)
        .await
        .unwrap();
    assert_eq!((report.replayed, report.failed), (2, 3));
    assert_eq!(would.failures, report.failures);
    for (failure, (id, why)) in report.failures.iter().zip([
        (ids[1], "data.customer is a number, not an object"),
        (ids[2], "data.customer does not exist"),
        (ids[3], "data is a text, not an object"),
    ]) {
        assert_eq!(failure.id, id);
        assert!(failure.error.ends_with(why), "{}", failure.error);
        assert!(failure.hint.is_some());
    }
    let there = on_the_stream(&queue).await;
    let data: Vec<_> = there
        .iter()
        .map(|fields| fields.get("data").unwrap())
        .collect();
    let expected = br#"{"customer":{"id":9}}"#;
    assert_eq!(data, [expected, expected]);
    assert_eq!(queue.length().await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_repair_gives_no_field_a_name_of_redrives_own() {
    let (queue, ids) = queue_of(&[with(&[("n", b"1")])]).await;
    for options in [
        ReplayOptions::default().set("redrive-replays=0".parse().unwrap()),
        ReplayOptions::default().patch(r#"{"redrive-v":"1"}"#.parse().unwrap()),
        ReplayOptions::default()
            .migrate(|_| Ok::<_, BoxError>(Fields::from_iter([("redrive-campaign", "x")]))),
    ] {
        let refused = queue.replay(ids[0], &options).await.unwrap_err();
        assert!(refused.to_string().contains("redrive's own"), "{refused}");
    }
    // All fields together are the payload where there is no other.
    let patch = ReplayOptions::default().patch(r#"{"n":2,"new":"x"}"#.parse().unwrap());
    let migrated = ReplayOptions::default().migrate(|_| Err::<Fields, BoxError>("no".into()));
    let failed = queue.replay(ids[0], &migrated).await.unwrap_err();
    assert!(
        failed.cure().is_some_and(|cure| cure.contains("dry run")),
        "{failed:?}"
    );
    queue.replay(ids[0], &patch).await.unwrap();
    let fields = &on_the_stream(&queue).await[0];
    assert_eq!(
        (fields.get("n"), fields.get("new")),
        (Some(&b"2"[..]), Some(&b"x"[..]))
    );
}

/// What a tombstone could be cured with was not in the report.
#[tokio::test(start_paused = true)]
async fn each_failure_is_named_with_its_cure() {
    let tombstone = Fields::from_iter([
        ("redrive-v", "1"),
        ("redrive-fields", "0"),
        ("redrive-stream", "orders"),
        ("redrive-reason", "trimmed"),
    ]);
    let (queue, _) = queue_of(&[tombstone, Fields::from_iter([("foreign", "entry")])]).await;
    let options = ReplayOptions::default();
    let mut replaying = queue.replaying(&Selection::all(), &options).await.unwrap();
    replaying.step().await.unwrap();
    let told: Vec<_> = replaying
        .last()
        .iter()
        .map(|one| one.hint.clone())
        .collect();
    let report = replaying.into_report();
    let hints: Vec<_> = report.failures.iter().map(|one| one.hint.clone()).collect();
    assert_eq!(hints, told);
    assert!(hints[0].as_ref().unwrap().contains("purge"), "{hints:?}");
    assert_eq!(hints[1].as_deref(), Some("name the target stream"));
}

/// A migration may take up to a thousand together; where they are large, or few match, it gets
/// fewer at a time, so that nothing grows and nothing waits.
#[tokio::test(start_paused = true)]
async fn a_migration_gets_a_thousand_at_a_time_but_no_more_than_about_a_mebibyte() {
    let sizes = async |letters: Vec<Fields>, selection: Selection| {
        let (queue, _) = queue_of(&letters).await;
        let asked = Arc::new(Mutex::new((0, Vec::new())));
        let counting = Arc::clone(&asked);
        let options = ReplayOptions::default().migrate_payload(move |_, payload| {
            counting.lock().unwrap().0 += 1;
            async move { Ok::<_, BoxError>(payload) }
        });
        let mut replaying = queue.replaying(&selection, &options).await.unwrap();
        while replaying.step().await.unwrap().is_some() {
            let mut asked = asked.lock().unwrap();
            let together = std::mem::take(&mut asked.0);
            asked.1.extend((together > 0).then_some(together));
        }
        let report = replaying.into_report();
        assert_eq!(report.replayed, report.selected);
        let asked = asked.lock().unwrap();
        asked.1.clone()
    };
    let small = vec![with(&[("data", b"{}")]); 2_300];
    assert_eq!(
        sizes(small.clone(), Selection::all()).await,
        [1_000, 1_000, 300]
    );
    assert_eq!(
        sizes(small, Selection::all().limit(1_250)).await,
        [1_000, 250]
    );
    let text = Value::from("x".repeat(20_000)).to_string();
    let large = vec![with(&[("data", text.as_bytes())]); 250];
    assert_eq!(sizes(large, Selection::all()).await, [100, 100, 50]);
    let mut few = vec![letter("mails", "undecodable", 0); 3_000];
    few[50] = with(&[("data", b"1")]);
    few[2_050] = with(&[("data", b"1")]);
    assert_eq!(sizes(few, rejected()).await, [1, 1]);
}
