//! What a message costs the server, counted by the server itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::{Value, cmd};
use redrive::{Breaker, Message, Outcome, Processor, RetryPolicy};
use redrive_testkit::{commands, diff};

use crate::rig::Rig;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn ten_thousand_successes_cost_a_few_commands_a_batch_and_no_script() {
    let rig = Rig::start().await;
    rig.add(10_000).await;
    let mut looking = rig.server.connect().await;
    let before = commands(&mut looking).await.unwrap();
    let started = Instant::now();
    let mut processor = Processor::builder(&rig.broker, rig.source())
        .build(async |_: Message<u32>| {})
        .unwrap();
    let totals = processor.run_until_idle().await.unwrap();
    let took = started.elapsed();
    let counted = diff(&before, &commands(&mut looking).await.unwrap());
    assert_eq!(totals.succeeded, 10_000);

    let calls = |name: &str| counted.get(name).copied().unwrap_or(0);
    let path = calls("xreadgroup") + calls("xack");
    let scripts = calls("eval") + calls("evalsha");
    println!("10,000 messages in {took:?}: {counted:?}");
    println!("{path} commands for 100 batches, {scripts} scripts of upkeep");
    // An ack waits for others no longer than 5 ms: on a machine that does something else as well a
    // batch takes longer, and is acknowledged in parts. On a clock that stands still it is never
    // more than three a batch, which `processor::tests::faults` sees.
    let windows = took.as_millis() / 5;
    assert!(
        u128::from(path) <= 200 + windows,
        "{path} in {took:?}: {counted:?}"
    );
    // Upkeep goes by the clock, not by the message: two claim rounds a second, each third of a lease
    // one renewal for each 100 held, and what it takes to come and go.
    let elapsed = took.as_secs() + 1;
    let most = 2 * elapsed + 2 * (elapsed / 10) + 8;
    assert!(scripts <= most, "{scripts} in {took:?}: {counted:?}");
}

/// What scripts call, but for what they call for each message or what comes with the clock.
fn together(counted: &BTreeMap<String, u64>, each: &[&str]) -> u64 {
    let others = ["eval", "evalsha", "xreadgroup", "client|unblock", "time"];
    let counts = counted
        .iter()
        .filter(|(name, _)| !others.contains(&name.as_str()) && !each.contains(&name.as_str()));
    counts.map(|(_, calls)| calls).sum()
}

#[tokio::test]
async fn what_fails_three_times_costs_few_commands_that_are_not_for_many() {
    const MANY: u64 = 1_000;
    let rig = Rig::start().await;
    rig.add(1_000).await;
    let mut looking = rig.server.connect().await;
    let before = commands(&mut looking).await.unwrap();
    let started = Instant::now();
    let mut processor = Processor::builder(&rig.broker, rig.source())
        .concurrency(100)
        .retry(RetryPolicy::immediate())
        .breaker(Breaker::Off)
        .build(async |_: Message<u32>| Outcome::retry("the bank did not answer"))
        .unwrap();
    let totals = processor.run_until_idle().await.unwrap();
    assert_eq!(totals.dead_lettered, MANY);
    let counted = diff(&before, &commands(&mut looking).await.unwrap());
    let calls = |name: &str| counted.get(name).copied().unwrap_or(0);
    let scripts = calls("eval") + calls("evalsha");
    let others = together(&counted, &["xadd"]);
    println!("{scripts} scripts, {others} commands beside: {counted:?}");
    assert_eq!(calls("xadd"), MANY, "{counted:?}");
    // What is run again at once stays with its holder, but for what has no room there: entries are read for the copy
    // into the queue, some together, and few claims have any.
    assert!(calls("xrange") < MANY, "{counted:?}");
    let seconds = started.elapsed().as_secs() + 1;
    assert!(
        calls("zrangebyscore") <= MANY / 25 + 4 * seconds,
        "{counted:?}"
    );
    // A script calls a dozen for all of its messages; those that it does not find among the rows that come
    // together it looks up one by one. Once there were 53 for each message.
    assert!(others <= 12 * scripts + MANY, "{counted:?}");
}

#[tokio::test]
async fn a_sweep_over_what_waits_costs_a_few_commands_a_page() {
    const MANY: u32 = 3_000;
    let rig = Rig::start().await;
    let added = rig.add(MANY).await;
    let mut processor = Processor::builder(&rig.broker, rig.source())
        .concurrency(256)
        .batch(1_000)
        .breaker(Breaker::Off)
        .build(async |_: Message<u32>| Outcome::retry_after("the bank is closed", HOUR))
        .unwrap();
    processor.run_batches(3).await.unwrap();
    assert_eq!(rig.pending().await.len(), MANY as usize);
    // All have been left alone for longer than a lease.
    let owner = rig.pending().await.remove(0).1;
    let mut looking = rig.server.connect().await;
    let mut aging = cmd("XCLAIM");
    let source = rig.source();
    aging.arg(source.stream.as_str()).arg(source.group.as_str());
    aging.arg(owner).arg(0);
    for id in &added {
        aging.arg(id.to_string());
    }
    aging.arg("IDLE").arg(3_600_000).arg("JUSTID");
    let _: Value = aging.query_async(&mut looking).await.unwrap();

    let before = commands(&mut looking).await.unwrap();
    let mut idle = Processor::builder(&rig.broker, rig.source())
        .build(async |_: Message<u32>| {})
        .unwrap();
    assert_eq!(idle.recover().await.unwrap().taken, 0);
    let counted = diff(&before, &commands(&mut looking).await.unwrap());
    println!("{counted:?}");
    let calls = |name: &str| counted.get(name).copied().unwrap_or(0);
    // Nothing is asked for one alone: whether it waits, its state; no entry is read, and all of a page go to their owner
    // together.
    assert_eq!(calls("zscore") + calls("xrange"), 0, "{counted:?}");
    let all: u64 = counted.values().sum();
    // A hundred states are looked at for what others acknowledged.
    assert!(all <= 400, "{all}: {counted:?}");
    assert!(rig.pending().await.iter().all(|row| row.2 < 3_600_000));
}
