//! Random entries through dead-letter queue and replay: every byte as it was.

use std::collections::BTreeMap;

use redrive::{
    Broker, DeadLetterQueue, Fields, Message, Outcome, Processor, Raw, ReplayOptions, Selection,
    Source,
};

use crate::arena::{Arena, DLQ, GROUP, Pairs, STREAM};
use crate::size::size;

const LARGEST: usize = 8 * 1024 * 1024;
/// So many are random at a time: some are large.
const ROUND: usize = 200;

/// Names and values: mostly short, of any bytes, often the same again, sometimes what the layouts use.
fn random_bytes(dice: &mut fastrand::Rng) -> Vec<u8> {
    const KNOWN: [&str; 8] = [
        "",
        "id",
        "attempts",
        "original_id",
        "redrive-v",
        "redrive-fields",
        "redrive-packed",
        "replayed_from_dlq",
    ];
    match dice.u8(..10) {
        0 | 1 => KNOWN[dice.usize(..KNOWN.len())].as_bytes().to_vec(),
        2 => vec![b'a' + dice.u8(..3)],
        3 => dice.u32(..20).to_string().into_bytes(),
        _ => {
            let mut bytes = vec![0; dice.usize(..40)];
            dice.fill(&mut bytes);
            bytes
        }
    }
}

/// 1 to 10,000 fields, and up to 8 MiB: most entries are small, one in a hundred has many fields, one in two hundred
/// one large value.
fn random_entry(dice: &mut fastrand::Rng) -> Pairs {
    let fields = match dice.u8(..100) {
        0 => dice.usize(3_000..=10_000),
        _ => dice.usize(1..=12),
    };
    let mut pairs: Pairs = (0..fields)
        .map(|_| (random_bytes(dice), random_bytes(dice)))
        .collect();
    if dice.u8(..200) == 0 {
        // A kibibyte for all the other fields of an entry with few of them.
        let mut large = vec![0; dice.usize(LARGEST / 8..LARGEST - 1_024)];
        dice.fill(&mut large);
        pairs.truncate(12);
        let at = dice.usize(..pairs.len());
        pairs[at].1 = large;
    }
    // More than one pair that looks like the mark of a dead letter.
    if dice.u8(..20) == 0 {
        let at = dice.usize(..=pairs.len());
        let count = at.to_string().into_bytes();
        pairs.insert(at, (b"redrive-fields".to_vec(), count));
        pairs.insert(at, (b"redrive-v".to_vec(), b"1".to_vec()));
    }
    pairs
}

/// Through the queue and back; answers how many bytes that was.
async fn there_and_back(arena: &mut Arena, queue: &DeadLetterQueue, entries: &[Pairs]) -> usize {
    let _: () = arena.ask(&format!("DEL {STREAM}")).await;
    let mut originals: BTreeMap<String, &Pairs> = BTreeMap::new();
    for entry in entries {
        let mut add = redis::cmd("XADD");
        add.arg(STREAM).arg("*");
        for (name, value) in entry {
            add.arg(&name[..]).arg(&value[..]);
        }
        let id = add.query_async(&mut arena.redis).await.unwrap();
        originals.insert(id, entry);
    }
    let broker = Broker::connect(&arena.server.url()).await.unwrap();
    let mut processor = Processor::builder(&broker, Source::new(STREAM, GROUP).unwrap())
        .codec(Raw)
        .build(async |_: Message<Fields>| Outcome::dead_letter("told to refuse"))
        .unwrap();
    let totals = processor.run_until_idle().await.unwrap();
    assert_eq!(totals.dead_lettered, entries.len() as u64);
    // Which dead letter holds which entry, by what stands there and not by what redrive reads.
    let mut dead: BTreeMap<String, String> = BTreeMap::new();
    for (id, pairs) in arena.entries(DLQ).await {
        let original = pairs.iter().rev().find(|(name, _)| name == b"redrive-id");
        let original = String::from_utf8(original.unwrap().1.clone()).unwrap();
        dead.insert(id, original);
    }
    assert_eq!(dead.len(), entries.len());
    let report = queue
        .replay_many(&Selection::all(), &ReplayOptions::default())
        .await
        .unwrap();
    assert_eq!(report.replayed, entries.len() as u64, "{report:?}");
    let (mut size, mut back) = (0, 0);
    for (id, mut pairs) in arena.entries(STREAM).await {
        if originals.contains_key(&id) {
            continue;
        }
        back += 1;
        let from = pairs
            .iter()
            .rposition(|(name, _)| name == b"redrive-replayed-from");
        let lineage = pairs.split_off(from.unwrap());
        assert_eq!(lineage[1], (b"redrive-replays".to_vec(), b"1".to_vec()));
        assert_eq!(lineage.len(), 2);
        let letter = String::from_utf8(lineage[0].1.clone()).unwrap();
        let original = originals[&dead[&letter]];
        assert!(
            pairs == *original,
            "not the same: {} fields",
            original.len()
        );
        size += pairs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>();
    }
    assert_eq!(back, entries.len());
    size
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn byte_fidelity_of_random_entries_through_dead_letter_queue_and_replay() {
    let many = size(2_000, 100_000);
    let seed = std::env::var("REDRIVE_CHAOS_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("bytes: REDRIVE_CHAOS_SEED={seed} repeats it");
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut arena = Arena::start().await;
    let broker = Broker::connect(&arena.server.url()).await.unwrap();
    let queue = broker.dead_letters(DLQ.parse().unwrap());
    let mut size = 0;
    for _ in 0..many / ROUND {
        let entries: Vec<Pairs> = (0..ROUND).map(|_| random_entry(&mut dice)).collect();
        size += there_and_back(&mut arena, &queue, &entries).await;
    }
    println!(
        "bytes: {many} entries of {} MiB, all identical",
        size / (1 << 20)
    );
}
