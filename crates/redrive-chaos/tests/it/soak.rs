//! Hours of mild work with all that happens in it: memory, descriptors, threads, consumers and keys stay flat.
//!
//! A minute in the gate; `REDRIVE_SOAK=1h` by hand.

use std::time::{Duration, Instant};

use redrive::EntryId;
use redrive_chaos::account::Number;
use redrive_chaos::deed::Deed;
use tokio::sync::oneshot;

use crate::SOON;
use crate::arena::{Arena, GROUP, STREAM};
use crate::crew::{Crew, library, redrive, redrive_run};
use crate::flat::{Sample, grown, table};
use crate::target::{Answer, Target};

const A_SECOND: u64 = 150;

/// What message does what: most succeed, some fail once, a few for ever, a few are refused.
fn deed(number: Number) -> Deed {
    match number % 200 {
        0..10 => Deed::Fail(1),
        10 => Deed::Fail(u32::MAX),
        20 => Deed::Reject,
        30..60 => Deed::Sleep(Duration::from_millis(20)),
        _ => Deed::Succeed,
    }
}

/// `REDRIVE_SOAK`: a number and `s`, `m` or `h`.
fn soak_time() -> Duration {
    let Ok(text) = std::env::var("REDRIVE_SOAK") else {
        return Duration::from_secs(60);
    };
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap();
    Duration::from_secs(match unit {
        "s" => number,
        "m" => number * 60,
        "h" => number * 3_600,
        _ => panic!("REDRIVE_SOAK={text}: a number and s, m or h"),
    })
}

/// What Linux tells of a process.
fn process(pid: u32, names: [&'static str; 3], sample: &mut Sample) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let word = line.unwrap().split_whitespace().next().unwrap();
        word.parse().unwrap()
    };
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    sample.insert(names[0], number("VmRSS:"));
    sample.insert(names[1], descriptors as u64);
    sample.insert(names[2], number("Threads:"));
}

async fn sampled(arena: &Arena, crew: &Crew) -> Sample {
    let mut sample = Sample::new();
    let [binary, library] = [&crew.workers[0], &crew.workers[1]];
    let names = ["binary rss_kib", "binary descriptors", "binary threads"];
    process(binary.pid(), names, &mut sample);
    let names = ["library rss_kib", "library descriptors", "library threads"];
    process(library.pid(), names, &mut sample);
    let consumers: Vec<redis::Value> = arena
        .ask(&format!("XINFO CONSUMERS {STREAM} {GROUP}"))
        .await;
    sample.insert("consumers", consumers.len() as u64);
    sample.insert("keys", arena.ask("DBSIZE").await);
    let info: String = arena.ask("INFO memory").await;
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let mut used: u64 = used.unwrap().trim().parse().unwrap();
    // What is kept on purpose, for two days: who was replayed.
    let receipts: Vec<String> = arena.ask("KEYS *:redrive:replayed:*").await;
    for key in receipts {
        let size: Option<u64> = arena.ask(&format!("MEMORY USAGE {key}")).await;
        used = used.saturating_sub(size.unwrap_or(0));
    }
    sample.insert("server_kib", used / 1_024);
    sample
}

/// Drops from the stream what is acknowledged.
async fn trim(arena: &Arena) {
    // In this order: whatever is pending of what was read by then is seen to be.
    let read = arena.last_read().await;
    type Summary = (u64, Option<String>, redis::Value, redis::Value);
    let (_, oldest, _, _): Summary = arena.ask(&format!("XPENDING {STREAM} {GROUP}")).await;
    let parsed = |id: &str| id.parse::<EntryId>().unwrap();
    let read = parsed(&read);
    let before = oldest.map_or(read, |oldest| parsed(&oldest).min(read));
    let _: u64 = arena.ask(&format!("XTRIM {STREAM} MINID {before}")).await;
}

/// An operator's command; nothing to be done is no failure.
async fn operate(arena: &Arena, what: &str) {
    let words = ["dlq", what, STREAM, "--all", "--yes"];
    let ended = redrive(&arena.server.url(), &words).output().await.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(matches!(ended.status.code(), Some(0 | 3 | 4)), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes its time: run by make chaos, REDRIVE_SOAK=1h by hand"]
async fn soak_memory_descriptors_threads_consumers_and_keys_stay_flat() {
    let time = soak_time();
    let every = (time / 48).clamp(Duration::from_secs(1), Duration::from_secs(10));
    let mut arena = Arena::start().await;
    let takes = Duration::from_millis(1);
    let target = Target::answering(&arena.effects, takes, |asked| match deed(asked.number) {
        Deed::Fail(times) if asked.attempt <= times => Answer::Failed,
        Deed::Reject => Answer::Refused,
        _ => Answer::Done,
    })
    .await;
    // The first is sampled, the second too, the third is killed now and then.
    let url = arena.server.url();
    let in_library = library(
        &arena,
        "--lease 1000 --concurrency 8 --batch 32 --backoff 50",
    );
    let crew_command = move |consumer: &str| {
        if consumer == "worker-2" {
            return in_library(consumer);
        }
        let options = "--lease 1s --concurrency 8 --batch 32 --block 1s --backoff 50ms";
        redrive_run(&url, &target, consumer, options)
    };
    let mut crew = Crew::start(3, crew_command);
    crew.joined(&arena).await;
    let mut load = std::mem::take(&mut arena.load);
    let (stop, stopped) = oneshot::channel::<()>();
    let pour_to = arena.server.url();
    let pouring = tokio::spawn(async move {
        let until = async {
            let _ = stopped.await;
        };
        load.pour(&pour_to, 0, A_SECOND, deed, until).await;
        load
    });
    let (began, mut samples) = (Instant::now(), Vec::new());
    let mut tick = tokio::time::interval(every);
    let mut kills = 0;
    while began.elapsed() < time {
        tick.tick().await;
        trim(&arena).await;
        match samples.len() % 6 {
            1 => operate(&arena, "replay").await,
            3 => {
                crew.kill(2, &arena).await;
                kills += 1;
            }
            5 => operate(&arena, "purge").await,
            _ => {}
        }
        // At the same point of the same round each time, between two kills.
        for worker in &mut crew.workers {
            assert_eq!(
                worker.fallen(),
                None,
                "{}: {:#?}",
                worker.consumer,
                worker.said()
            );
        }
        samples.push(sampled(&arena, &crew).await);
    }
    let _ = stop.send(());
    arena.load = pouring.await.unwrap();
    arena.settled(SOON).await;
    crew.stop(&arena).await;
    let sent = arena.load.acknowledged.len();
    println!(
        "soak: {time:?}, {sent} messages, {kills} kills, {} samples",
        samples.len()
    );
    println!("{}", table(&samples));
    let runs = arena.effects.runs().await.unwrap();
    let lost = arena.load.acknowledged.values().filter(|number| {
        let runs = runs.get(number).copied().unwrap_or_default();
        match deed(**number) {
            Deed::Fail(u32::MAX) | Deed::Reject => runs.started == 0,
            _ => runs.succeeded == 0,
        }
    });
    assert_eq!(lost.count(), 0, "lost");
    assert_eq!(grown(&samples), Vec::<String>::new());
}
