//! Messages that end their process, on real processes: they are given up, and no other message is.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use redrive::{Broker, Message, Reason, Selection};
use tokio::process::Command;

use crate::rig::{Rig, quick, stream};

/// Set in the processes that run the handlers: where their server is.
const VICTIM: &str = "REDRIVE_TEST_VICTIM_OF_ITS_MESSAGES";
const LEASE: Duration = Duration::from_secs(1);
const POISON: [u32; 2] = [13, 77];

/// Not a test of its own: the worker that `messages_that_abort_their_process_…` starts again and
/// again. Otherwise it returns at once.
#[tokio::test]
async fn victim_of_its_messages() {
    let Ok(url) = std::env::var(VICTIM) else {
        return;
    };
    // Ends with the process that started it, should that forget to kill it.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
    let broker = Broker::connect(&url).await.unwrap();
    let source = redrive::Source::new("orders", "billing").unwrap();
    let (started, done) = (
        broker.producer(stream("started")),
        broker.producer(stream("done")),
    );
    let mut processor = quick(&broker, source)
        .lease(LEASE)
        .build(move |message: Message<u32>| {
            let (started, done) = (started.clone(), done.clone());
            async move {
                let number: u32 = *message;
                started.send(&number).await.unwrap();
                if POISON.contains(&number) {
                    std::process::abort();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
                done.send(&number).await.unwrap();
            }
        })
        .unwrap();
    processor.run_until_idle().await.unwrap();
}

/// How often each number is in a stream.
async fn counted(rig: &Rig, key: &str) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    for (_, fields) in rig.entries(key).await {
        let number = String::from_utf8(fields[1].clone()).unwrap();
        *counts.entry(number.parse().unwrap()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn messages_that_abort_their_process_die_after_three_starts_and_no_other_message_does() {
    let rig = Rig::start().await;
    let ids = rig.add(300).await;
    let mut deaths = 0;
    loop {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "quarantine::victim_of_its_messages"])
            .env(VICTIM, rig.server.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // Waiting would close it, which tells it to end.
        let _stdin = victim.stdin.take();
        if victim.wait().await.unwrap().success() {
            break;
        }
        deaths += 1;
        assert!(deaths <= 6, "more deaths than two messages may cause");
    }
    let (started, done) = (counted(&rig, "started").await, counted(&rig, "done").await);
    let innocent: Vec<u32> = (0..300).filter(|n| !POISON.contains(n)).collect();
    assert_eq!(done.into_keys().collect::<Vec<_>>(), innocent);
    for number in POISON {
        assert!(
            started[&number] <= 3,
            "{number} was started {} times",
            started[&number]
        );
    }
    let mut dead = rig.dlq().find(&Selection::all()).await.unwrap();
    let mut found = Vec::new();
    while let Some(letter) = dead.next().await.unwrap() {
        assert_eq!(letter.reason, Some(Reason::CrashLoop));
        assert_eq!((letter.crashes, letter.attempts), (Some(3), Some(0)));
        found.push(letter.original_id.unwrap());
    }
    found.sort_unstable();
    assert_eq!(found, POISON.map(|number| ids[number as usize]));
    assert!(rig.pending().await.is_empty());
    println!("{deaths} deaths");
}
