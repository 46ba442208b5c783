//! Looking around on a server that others use too, and bulk operations that are dropped half-way.

use std::time::Duration;

use redrive::{
    EntryId, ErrorKind, GroupState, Message, Reason, ReplayOptions, Selection, Source, Stats,
};

use crate::rig::{Rig, quick, stream};

async fn dead(rig: &Rig, many: u32) -> Vec<EntryId> {
    let ids = rig.add(many).await;
    let mut processor = quick(&rig.broker, rig.source())
        .concurrency(64)
        .build(async |_: Message<u32>| redrive::Outcome::dead_letter("no"))
        .unwrap();
    processor.run_until_idle().await.unwrap();
    ids
}

#[tokio::test]
async fn names_that_are_not_utf_8_are_counted_and_left_out() {
    let rig = Rig::start().await;
    rig.xadd("orders", &["n", "1"]).await;
    let mut redis = rig.server.connect().await;
    for (key, group) in [(&b"\xff"[..], &b"g"[..]), (b"", b"g"), (b"orders", b"\xfe")] {
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(key).arg(group).arg("$");
        let () = create
            .arg("MKSTREAM")
            .query_async(&mut redis)
            .await
            .unwrap();
    }
    let _: () = rig.ask("XGROUP CREATE orders billing 0").await;
    let _: () = rig.ask("SET text 1").await;
    let streams = rig.broker.streams().await.unwrap();
    assert_eq!(
        (streams.names, streams.skipped),
        (vec![stream("orders")], 2)
    );
    let groups = rig.broker.groups(&stream("orders")).await.unwrap();
    assert_eq!(groups.names, [rig.source().group]);
    assert_eq!(groups.skipped, 1);
    let told = rig.broker.groups(&stream("nothing")).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NotFound);
    assert_eq!(told.to_string(), "stream not found: nothing");
}

#[tokio::test]
async fn a_stream_alone_is_told_by_group_or_as_missing_or_without_one() {
    let rig = Rig::start().await;
    let look = async || rig.broker.stream_stats(&stream("orders")).await.unwrap();
    let seen = |all: &[Stats]| -> Vec<(GroupState, Option<String>)> {
        let one = |one: &Stats| (one.state, one.group.as_ref().map(ToString::to_string));
        all.iter().map(one).collect()
    };
    let missing = look().await;
    assert_eq!(seen(&missing), [(GroupState::Missing, None)]);
    let json = serde_json::to_value(&missing[0]).unwrap();
    assert_eq!(
        (&json["state"], &json["group"]),
        (&"missing".into(), &().into())
    );
    rig.add(2).await;
    let alone = look().await;
    assert_eq!(seen(&alone), [(GroupState::NoGroup, None)]);
    assert_eq!(alone[0].stream_length, Some(2));
    for group in ["mailing", "billing"] {
        let _: () = rig.ask(&format!("XGROUP CREATE orders {group} 0")).await;
    }
    let both = look().await;
    let group = |name: &str| (GroupState::Ok, Some(name.to_owned()));
    assert_eq!(seen(&both), [group("billing"), group("mailing")]);
    assert_eq!(both[0].lag, Some(2));
}

#[tokio::test]
async fn what_a_group_that_redrive_never_touched_holds_is_told() {
    let rig = Rig::start().await;
    let pending = async |limit| rig.broker.pending(&rig.source(), EntryId::MIN, limit).await;
    let told = pending(10).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NotFound);
    assert_eq!(told.to_string(), "stream not found: orders");
    let ids = rig.add(3).await;
    let told = pending(10).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NotFound);
    let words = "group not found: billing of the stream orders";
    assert_eq!(told.to_string(), words);
    let _: () = rig.ask("XGROUP CREATE orders mailing 0").await;
    let told = pending(10).await.unwrap_err();
    assert_eq!(told.cure(), Some("its groups are: mailing"));

    let _: () = rig.ask("XGROUP CREATE orders billing 0").await;
    let read = "XREADGROUP GROUP billing python COUNT 3 STREAMS orders >";
    let _: redis::Value = rig.ask(read).await;
    let told = pending(2).await.unwrap();
    assert_eq!(told.len(), 2);
    let mut json = serde_json::to_value(&told[0]).unwrap();
    assert!(json["idle_ms"].take().as_u64().unwrap() < 60_000);
    let wanted = serde_json::json!({
        "id": ids[0].to_string(), "consumer": "python", "idle_ms": null, "deliveries": 1,
        "failures": null, "crashes": null, "due_in_ms": null, "first_failed_at_ms": null,
        "error": null, "own": false,
    });
    assert_eq!(json, wanted);
    assert_eq!(rig.keys().await, ["orders"]);
}

#[tokio::test]
async fn what_waits_for_a_retry_says_when_and_why() {
    let rig = Rig::start().await;
    let id = rig.add(1).await[0];
    let mut processor = quick(&rig.broker, rig.source())
        .build(async |_: Message<u32>| {
            redrive::Outcome::retry_after("the bank is closed", Duration::from_secs(3600))
        })
        .unwrap();
    processor.run_batches(1).await.unwrap();
    let told = rig.broker.pending(&rig.source(), id, 10).await.unwrap();
    assert_eq!((told.len(), told[0].failures), (1, Some(1)));
    assert_eq!(told[0].error.as_deref(), Some("the bank is closed"));
    let due = told[0].due_in_ms.unwrap();
    assert!(due > 3_500_000 && due <= 3_600_000, "{due}");
}

/// Every step is dropped after another time, until one comes through.
#[tokio::test]
async fn a_bulk_replay_dropped_inside_its_steps_puts_each_back_once_and_counts_it() {
    let rig = Rig::start().await;
    dead(&rig, 1_000).await;
    let queue = rig.dlq();
    let selection = Selection::all().reason(Reason::Rejected);
    let options = ReplayOptions::default();
    let mut replaying = queue.replaying(&selection, &options).await.unwrap();
    let (mut patience, mut dropped) = (Duration::ZERO, 0);
    loop {
        match tokio::time::timeout(patience, replaying.step()).await {
            Ok(step) if step.as_ref().unwrap().is_none() => break,
            Ok(_) => patience = Duration::ZERO,
            Err(_) => {
                dropped += 1;
                patience += Duration::from_micros(700);
            }
        }
    }
    assert!(dropped >= 10, "{dropped}");
    let report = replaying.into_report();
    assert_eq!((report.selected, report.replayed), (1_000, 1_000));
    assert_eq!((report.already, report.failed), (0, 0));
    assert_eq!(rig.ask::<u64>("XLEN orders").await, 2_000);
    assert_eq!(rig.ask::<u64>("XLEN orders:dlq").await, 0);
}

#[tokio::test]
async fn a_purge_dropped_inside_its_steps_counts_what_it_removed() {
    let rig = Rig::start().await;
    dead(&rig, 500).await;
    let queue = rig.dlq();
    let mut purging = queue.purging(&Selection::all()).await.unwrap();
    let mut patience = Duration::ZERO;
    loop {
        match tokio::time::timeout(patience, purging.step()).await {
            Ok(step) if step.as_ref().unwrap().is_none() => break,
            Ok(_) => patience = Duration::ZERO,
            Err(_) => patience += Duration::from_micros(700),
        }
    }
    let report = purging.into_report();
    assert_eq!((report.selected, report.purged), (500, 500));
    assert_eq!(report.missing, []);
}

#[tokio::test]
async fn finding_and_a_dry_run_change_nothing_on_a_server() {
    let rig = Rig::start().await;
    dead(&rig, 250).await;
    let queue = rig.dlq();
    let keys = rig.keys().await;
    let selection = Selection::all().stream(stream("orders")).limit(50);
    let mut found = queue.find(&selection).await.unwrap();
    let mut listed = 0;
    while found.next().await.unwrap().is_some() {
        listed += 1;
    }
    assert_eq!((listed, found.total().await.unwrap()), (50, 250));
    let options = ReplayOptions::default();
    let mut dry = queue.dry_run(&Selection::all(), &options).await.unwrap();
    while dry.step().await.unwrap().is_some() {}
    assert_eq!(dry.report().replayed, 250);
    assert_eq!(rig.ask::<u64>("XLEN orders").await, 250);
    assert_eq!(rig.ask::<u64>("XLEN orders:dlq").await, 250);
    assert_eq!(rig.keys().await, keys);
}

/// An error of a key of the wrong type said that something was, and not what.
#[tokio::test]
async fn a_key_that_is_no_stream_is_named_wherever_a_stream_is_read() {
    let rig = Rig::start().await;
    let _: () = rig.ask("SET text 1").await;
    let _: () = rig.ask("SET orders:dlq 1").await;
    let text = Source::new("text", "billing").unwrap();
    let broker = &rig.broker;
    let queue = broker.dead_letters(stream("text"));
    let mut processor = quick(broker, text.clone())
        .build(async |_: Message<u32>| {})
        .unwrap();
    let told = [
        broker.stats(&text).await.err(),
        broker.stream_stats(&text.stream).await.err(),
        broker.groups(&text.stream).await.err(),
        broker.pending(&text, EntryId::MIN, 1).await.err(),
        broker.producer(text.stream.clone()).send(&1).await.err(),
        queue.find(&Selection::all()).await.err(),
        queue.count(&Selection::all()).await.err(),
        queue.purge(&Selection::all()).await.err(),
        queue.get(EntryId::MIN).await.err(),
        processor.run_until_idle().await.err(),
        processor.recover().await.err(),
    ];
    for (at, error) in told.into_iter().enumerate() {
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::WrongType, "{at}: {error:?}");
        assert!(error.to_string().contains("text"), "{at}: {error}");
    }
    let told = broker.stats(&rig.source()).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::WrongType);
    assert!(told.to_string().contains("(orders:dlq)"), "{told}");
}

/// Behind `MULTI` a server without memory refuses to queue even what only reads: it told nothing at
/// the very time when somebody has to look.
#[tokio::test]
async fn the_numbers_are_told_by_a_server_without_memory_too() {
    let rig = Rig::start().await;
    dead(&rig, 2).await;
    rig.add(3).await;
    let look = async || {
        let group = rig.broker.stats(&rig.source()).await.unwrap();
        let stream = rig.broker.stream_stats(&stream("orders")).await.unwrap();
        (group, stream)
    };
    let (before, _) = look().await;
    let _: () = rig.ask("CONFIG SET maxmemory 1").await;
    let refused = rig.broker.producer(stream("orders")).send(&1).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::WritesRefused);
    let (group, all) = look().await;
    assert_eq!(
        (
            group.state,
            group.stream_length,
            group.dlq_length,
            group.lag
        ),
        (GroupState::Ok, Some(5), 2, Some(3))
    );
    assert_eq!(
        (group.pending_messages, group.dlq_arrivals, group.waiting),
        (before.pending_messages, before.dlq_arrivals, before.waiting)
    );
    assert_eq!((all.len(), all[0].lag), (1, Some(3)));
    // What a command answers is still its own answer.
    let missing = rig.broker.stream_stats(&stream("nothing")).await.unwrap();
    assert_eq!(missing[0].state, GroupState::Missing);
}
