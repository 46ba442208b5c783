//! A service under sentinels whose primary dies, is changed and freezes, again and again, under load.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use redrive::{Broker, EntryId, Message, Processor, RetryPolicy, Source, StreamKey};
use redrive_testkit::{Log, SentinelTrio, eventually};
use tokio::sync::oneshot;

/// Far more than a failover takes, on a busy machine too.
const SOON: Duration = Duration::from_secs(120);

/// Adds entries of which both replicas have a copy when this returns: no failover can lose them.
async fn add_safely(trio: &SentinelTrio) -> BTreeSet<EntryId> {
    let mut connection = trio.connect().await;
    let mut adding = redis::pipe();
    for number in 0..200 {
        adding
            .cmd("XADD")
            .arg("orders")
            .arg("*")
            .arg("data")
            .arg(number);
    }
    let ids: Vec<String> = adding.query_async(&mut connection).await.unwrap();
    let mut wait = redis::cmd("WAIT");
    wait.arg(2).arg(20_000);
    let copies: u32 = wait.query_async(&mut connection).await.unwrap();
    assert_eq!(copies, 2);
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

async fn unsettled(connection: &mut MultiplexedConnection) -> RedisResult<u64> {
    let mut command = redis::cmd("XPENDING");
    command.arg("orders").arg("billing");
    let (pending, ..): (u64, redis::Value, redis::Value, redis::Value) =
        command.query_async(connection).await?;
    Ok(pending)
}

/// What the primary has in the end is what asynchronous replication has kept of all that was added:
/// all of it was run, among it everything that both replicas had confirmed, and nothing is pending.
#[tokio::test]
#[ignore = "hurts: run by make chaos"]
async fn a_sentinel_trio_failing_over_ten_times_loses_nothing_that_replicas_had() {
    let trio = SentinelTrio::start().await;
    let (log, _listening) = Log::listen();
    let broker = Broker::connect(&trio.url()).await.unwrap();
    let ran: Arc<Mutex<Vec<EntryId>>> = Arc::default();
    let noting = Arc::clone(&ran);
    let mut processor = Processor::builder(&broker, Source::new("orders", "billing").unwrap())
        .retry(RetryPolicy::immediate())
        .lease(Duration::from_secs(1))
        .block(Duration::from_millis(500))
        .build(move |message: Message<u32>| {
            noting.lock().unwrap().push(message.id());
            async {}
        })
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(async move {
        let signal = async { drop(stopped.await) };
        processor.run_until(signal).await
    });

    // All the time: what is refused, or in doubt, is not sent again.
    let sending = Arc::new(AtomicBool::new(true));
    let (on, producer) = (
        Arc::clone(&sending),
        broker.producer(StreamKey::new("orders").unwrap()),
    );
    let sender = tokio::spawn(async move {
        let mut sent = 0_u32;
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        while on.load(Ordering::Relaxed) {
            sent += u32::from(producer.send(&sent).await.is_ok());
            pace.tick().await;
        }
        sent
    });

    let mut safe = BTreeSet::new();
    for round in 0..10 {
        safe.extend(add_safely(&trio).await);
        match round % 5 {
            1 | 3 => drop(trio.switch_over().await),
            4 => {
                let old = trio.primary().await;
                old.freeze();
                let new = trio.another_than(old).await;
                old.thaw();
                trio.demote(old, new).await;
            }
            _ => drop(trio.fail_over().await),
        }
        let before = ran.lock().unwrap().len();
        eventually(SOON, "it runs again by itself", async || {
            ran.lock().unwrap().len() > before + 50
        })
        .await;
    }
    sending.store(false, Ordering::Relaxed);
    let sent = sender.await.unwrap();
    safe.extend(add_safely(&trio).await);

    let mut connection = trio.connect().await;
    let kept: Vec<(String, Vec<(String, String)>)> = redis::cmd("XRANGE")
        .arg(&["orders", "-", "+"])
        .query_async(&mut connection)
        .await
        .unwrap();
    let kept: BTreeSet<EntryId> = kept.iter().map(|(id, _)| id.parse().unwrap()).collect();
    assert!(safe.is_subset(&kept));
    eventually(SOON, "all run and none pending", async || {
        let ran: BTreeSet<EntryId> = ran.lock().unwrap().iter().copied().collect();
        match (
            kept.difference(&ran).count(),
            unsettled(&mut connection).await,
        ) {
            (0, Ok(0)) => Ok(()),
            other => Err(format!("not run, and pending: {other:?}")),
        }
    })
    .await;
    stop.send(()).unwrap();
    worker.await.unwrap().unwrap();
    let dead: u64 = redis::cmd("EXISTS")
        .arg("orders:dlq")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(dead, 0);
    let consumers: Vec<redis::Value> = redis::cmd("XINFO")
        .arg(&["CONSUMERS", "orders", "billing"])
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(consumers.is_empty(), "{consumers:?}");

    let mut said = log.lines();
    said.retain(|line| !line.starts_with("DEBUG") && !line.contains(" id="));
    let runs = ran.lock().unwrap().len();
    println!(
        "10 failovers: {sent} sent, {} confirmed by replicas, {} kept, {runs} runs, {} lines logged",
        safe.len(),
        kept.len(),
        said.len()
    );
    assert!(said.len() <= 10 * 10, "{said:#?}");
    // About a second of each failover. It was more than half, when a primary that was to go was
    // only left once it refused.
    let lost = sent as usize + safe.len() - kept.len();
    assert!(lost < sent as usize / 4, "{lost} lost");
}
