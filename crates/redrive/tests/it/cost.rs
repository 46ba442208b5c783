//! What a message costs the server, counted by the server itself.

use std::time::Instant;

use redrive::{Message, Processor};
use redrive_testkit::{commands, diff};

use crate::rig::Rig;

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
