//! Bytes survive: whatever the fields, handler, dead letter, replay and handler again see the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redrive::{
    EntryId, Fields, Layout, Message, Order, Outcome, Page, Raw, ReplayOptions, Selection, Source,
};

use crate::rig::{Rig, flattened, quick, stream};

type Entry = Vec<Vec<u8>>;

/// Takes entries to the dead-letter queue and back, and compares what handlers saw.
async fn there_and_back(rig: &Rig, name: &str, layout: Layout, entries: &[Entry]) {
    let mut originals = BTreeMap::new();
    for entry in entries {
        let id: EntryId = rig.xadd(name, entry).await.parse().unwrap();
        originals.insert(id, entry.clone());
    }
    let source = Source::new(name, "billing").unwrap();
    let pass = async |outcome: Outcome| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seeing = Arc::clone(&seen);
        let mut processor = quick(&rig.broker, source.clone())
            .codec(Raw)
            .layout(layout)
            .build(move |message: Message<Fields>| {
                assert_eq!(*message, *message.fields());
                let lineage = message.lineage().clone();
                let fields = flattened(message.fields());
                seeing.lock().unwrap().push((message.id(), lineage, fields));
                let outcome = outcome.clone();
                async { outcome }
            })
            .unwrap();
        processor.run_until_idle().await.unwrap();
        drop(processor);
        Arc::into_inner(seen).unwrap().into_inner().unwrap()
    };

    let first = pass(Outcome::dead_letter("no")).await;
    assert_eq!(first.len(), entries.len());
    for (id, _, fields) in first {
        assert_eq!(fields, originals[&id]);
    }
    let queue = rig.broker.dead_letters(stream(&format!("{name}:dlq")));
    let listing = queue.list(Page::new(Order::Oldest, 1_000)).await.unwrap();
    let mut dead = BTreeMap::new();
    for letter in listing.dead_letters {
        let original = letter.original_id.unwrap();
        assert_eq!(flattened(&letter.fields), originals[&original]);
        dead.insert(letter.id, original);
    }
    assert_eq!(dead.len(), entries.len());
    let all = (Selection::all(), ReplayOptions::default());
    let report = queue.replay_many(&all.0, &all.1).await.unwrap();
    assert_eq!(report.replayed, entries.len() as u64, "{report:?}");

    let second = pass(Outcome::Ack).await;
    assert_eq!(second.len(), entries.len());
    for (_, lineage, mut fields) in second {
        let from = lineage.replayed_from.unwrap_or_else(|| {
            // The flat layout has no lineage but its mark, a field like any other.
            assert_eq!(layout, Layout::Flat);
            let mark = fields.pop().unwrap();
            assert_eq!(fields.pop().unwrap(), b"replayed_from_dlq");
            String::from_utf8(mark).unwrap().parse().unwrap()
        });
        assert_eq!(fields, originals[&dead[&from]]);
    }
}

fn awkward() -> Vec<Entry> {
    let text = |parts: &[&str]| -> Entry { crate::rig::bytes(parts) };
    let many = (0..10_000_u32).flat_map(|n| [format!("n{n}"), n.to_string()]);
    let big: Vec<u8> = (0..1_048_576_u32).map(|n| n.to_le_bytes()[0]).collect();
    vec![
        vec![b"\xff\xfe".to_vec(), b"\x00\x80\r\n".to_vec()],
        text(&["", ""]),
        text(&["", "value", "name", ""]),
        text(&["same", "1", "same", "2", "same", "1"]),
        vec![b"big".to_vec(), big],
        many.map(String::into_bytes).collect(),
        text(&["attempts", "7", "original_id", "x", "id", "5-5"]),
        text(&[
            "original_stream",
            "elsewhere",
            "failure_reason",
            "mine",
            "dlq_timestamp",
            "0",
        ]),
        text(&["redrive-v", "1"]),
        text(&["redrive-v", "1", "redrive-fields", "0"]),
        text(&["a", "b", "redrive-v", "1", "redrive-fields", "1"]),
        text(&[
            "redrive-packed",
            "no",
            "redrive-id",
            "1-1",
            "redrive-stream",
            "other",
        ]),
    ]
}

#[tokio::test]
async fn awkward_fields_survive_dead_letter_and_replay_in_the_native_layout() {
    let rig = Rig::start().await;
    there_and_back(&rig, "orders", Layout::Native, &awkward()).await;
}

#[tokio::test]
async fn awkward_fields_survive_dead_letter_and_replay_in_the_flat_layout() {
    let rig = Rig::start().await;
    there_and_back(&rig, "orders", Layout::Flat, &awkward()).await;
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => vec(any::<u8>(), 0..12),
        1 => Just(b"redrive-v".to_vec()),
        1 => Just(b"redrive-fields".to_vec()),
        1 => Just(b"original_stream".to_vec()),
        1 => Just(b"1".to_vec()),
        1 => vec(any::<u8>(), 2_000..5_000),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    vec((part(), part()), 1..8)
        .prop_map(|pairs| pairs.into_iter().flat_map(|(n, v)| [n, v]).collect())
}

#[test]
fn random_entries_survive_dead_letter_and_replay() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rig = runtime.block_on(Rig::start());
    let mut runner = TestRunner::new(Config {
        cases: 6,
        max_shrink_iters: 40,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&vec(entry(), 1..12), |entries| {
        let name = redrive_testkit::stream_name("random");
        runtime.block_on(there_and_back(&rig, &name, Layout::Native, &entries));
        Ok(())
    });
    result.unwrap();
    runtime.block_on(async move { drop(rig) });
}
